//! Scenarios that are more than one load on a running server.

mod connections;
mod memory;
mod partitions;
mod restart;
mod tier;

use crate::bench::Bench;
use crate::rounds::Rounds;

pub(crate) use connections::connections;
pub(crate) use memory::memory;
pub(crate) use partitions::partitions;
pub(crate) use restart::restart;
pub(crate) use tier::{isolation, requests, tier, tier_s3};

/// Measures all its subjects once.
pub(crate) type Special = fn(&mut Bench, &mut Rounds);
