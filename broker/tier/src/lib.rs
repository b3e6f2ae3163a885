//! Sealed segments to object storage, and back.
//!
//! A partition's leader uploads each sealed segment as one object, names it in a new manifest, and has that manifest
//! made the partition's head by the metadata; only then may the local copy go. `docs/format/tier.md` has the keys, the
//! bytes, and what is true after a stop between any two steps. This crate decides with time, randomness and the store
//! as arguments, so that the simulator runs this very code.
#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

pub mod bucket;
mod commit;
mod error;
mod fence;
mod fetch;
mod frame;
mod hold;
pub mod keys;
pub mod limits;
mod manifest;
mod object;
mod owner;
mod partition;
mod retain;
pub mod store;
mod sweep;
mod tier;
mod upload;
mod verify;
mod wire;

pub use commit::CommitJob;
pub use error::TierError;
pub use fence::FenceWatch;
pub use hold::Hold;
pub use manifest::{Entry, Head, Manifest, PageRef, decode_page};
pub use object::{Footer, IndexPlace};
pub use partition::{Action, Failure, LogState, Partition, Policy, Proposal};
pub use retain::{RetainJob, Retention};
pub use store::{Listed, ObjectMeta, ObjectWriter, Store, StoreError, StoreErrorKind};
pub use sweep::{SweepJob, SweepReport};
pub use tier::{CacheLimits, Tier};
pub use upload::{SegmentSource, UploadJob, Uploaded};
pub use verify::{Depth, Problem, ProblemKind};
