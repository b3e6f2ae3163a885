//! The program as its users meet it: arguments in, stdout, stderr and exit code out.

#[cfg(feature = "embedded")]
mod broker;
mod golden;
#[cfg(feature = "embedded")]
mod round_trip;
mod support;
mod usage;
