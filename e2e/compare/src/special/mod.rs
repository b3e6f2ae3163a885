//! Scenarios that are more than one load on a running server.

mod connections;
mod memory;
mod partitions;
mod restart;
mod tier;

use anyhow::Result;

use crate::bench::Bench;
use crate::figures::Sample;

pub(crate) use connections::connections;
pub(crate) use memory::memory;
pub(crate) use partitions::partitions;
pub(crate) use restart::restart;
pub(crate) use tier::{isolation, requests, tier, tier_s3};

/// What one run says of a subject.
pub(crate) struct Said {
    pub(crate) subject: String,
    pub(crate) sample: Sample,
    pub(crate) verified: &'static str,
}

/// Measures all its subjects once.
pub(crate) type Special = fn(&mut Bench) -> Result<Vec<Said>>;
