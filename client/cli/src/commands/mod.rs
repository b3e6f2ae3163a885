//! One file per command.

pub(crate) mod cluster;
pub(crate) mod completion;
pub(crate) mod consume;
pub(crate) mod context;
pub(crate) mod doctor;
pub(crate) mod k8s;
pub(crate) mod perf;
pub(crate) mod produce;
#[cfg(feature = "embedded")]
pub(crate) mod quickstart;
#[cfg(feature = "embedded")]
pub(crate) mod restore;
pub(crate) mod tier;
pub(crate) mod topic;
