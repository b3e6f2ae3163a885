//! What can go wrong with the tier, with the facts as fields.

use std::ops::Range;

use headwater_log::LogError;
use headwater_record::Offset;

use crate::store::StoreError;

/// Why an operation on the tier failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TierError {
    /// The store did not do as asked; later it may.
    #[error("object store: {0}")]
    Store(#[from] StoreError),
    /// The records were there and cannot be read: their object is missing, truncated or altered.
    #[error("records {}..{} are lost: object {object} {detail}", range.start, range.end)]
    DataLoss {
        /// Exactly the offsets that cannot be served.
        range: Range<Offset>,
        /// Key of the object.
        object: String,
        /// What is wrong with it.
        detail: String,
    },
    /// A manifest or page is missing or does not verify: what it names cannot be found.
    #[error("object {object} {detail}")]
    Damaged {
        /// Key of the object.
        object: String,
        /// What is wrong with it.
        detail: String,
    },
    /// The offset is not in the tier.
    #[error("offset {asked} is not among {start}..{end}, which the tier holds")]
    NotInTier {
        /// The offset asked for.
        asked: Offset,
        /// First offset in the tier.
        start: Offset,
        /// Offset behind the last.
        end: Offset,
    },
    /// What was read back is not what was written: the object is not used.
    #[error("object {object} was written and reads back otherwise: {detail}")]
    Unverified {
        /// Key of the object.
        object: String,
        /// What differs.
        detail: String,
    },
    /// The local segment could not be read, or is damaged; nothing of it is uploaded.
    #[error("local segment: {0}")]
    Local(#[from] LogError),
    /// A deletion was held up for so long that what it went by may not be so any more.
    #[error("the deletion was held up for {held_up_ms} ms and was given up")]
    HeldUp {
        /// How long, in milliseconds.
        held_up_ms: u64,
    },
    /// Another cluster has taken over this one's objects.
    #[error(
        "the objects of this cluster were adopted by cluster {by}; it writes to the tier no more"
    )]
    Fenced {
        /// The new cluster, as its fence says.
        by: String,
    },
    /// Another process of this cluster has taken its objects over.
    #[error(
        "another process of this cluster has taken its objects over; this one writes to the tier no more"
    )]
    Superseded,
    /// Another cluster was restored from this one's objects and holds them.
    #[error("the objects of this cluster are held by cluster {by}; nothing is deleted")]
    Held {
        /// The new cluster, one of them if there are several.
        by: String,
    },
}
