//! The program as its users meet it: arguments in, stdout, stderr and exit code out.

mod api_server;
#[cfg(feature = "embedded")]
mod broker;
mod golden;
mod kubernetes;
#[cfg(feature = "embedded")]
mod restore;
#[cfg(feature = "embedded")]
mod round_trip;
mod support;
mod tier;
mod usage;
