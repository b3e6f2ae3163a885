//! Bugs to choose at run time, for the simulator to prove that it would find them (feature `planted`).
//!
//! Without the feature, and with it as long as nobody plants one, [`is`] is false.

/// A bug that somebody could make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// Local copies go as soon as their segment could be uploaded.
    DropBeforeHead,
    /// An uploaded object is not read back.
    SkipVerify,
    /// A manifest or page is not read back.
    SkipVerifyManifest,
    /// The metadata does not look at the leader epoch of a head.
    HeadOfAnyEpoch,
    /// The metadata does not look at the parent of a head, nor at its number.
    HeadOfAnyParent,
    /// An upload that failed is tried again under its key.
    ReuseUpload,
    /// What a listing has is deleted, whatever the manifests name.
    SweepByListing,
    /// What the head replaced lately named may be deleted.
    SweepForgetsReplaced,
    /// What is being uploaded may be deleted.
    SweepForgetsUploads,
    /// A sweep takes the pages of a manifest under way.
    SweepForgetsPages,
    /// What is young may be deleted.
    SweepForgetsGrace,
    /// A new leader deletes at once.
    SweepAtOnce,
    /// A sweep that was held up goes on as planned.
    SweepHeldUp,
    /// Whether another process has taken the objects over is not looked for.
    OwnerIgnored,
    /// A process takes the objects over from one that was started behind it.
    OwnerOfAnyEpoch,
    /// A manifest whose number is taken counts as written.
    ManifestTaken,
    /// Two pages of one manifest have one key.
    PageTwice,
    /// Only what is above the log start is read for an upload.
    UploadFromStart,
    /// An index of other batches counts if the segment is as long.
    TrustOldIndex,
    /// Uploads are named in any order.
    ManifestGap,
    /// After a refusal the segments behind a gap are uploaded on.
    RefusedLeavesGap,
    /// What is local and in the tier counts twice for retention.
    RetainCountsTwice,
    /// A page of which a part has gone counts whole.
    RetainCountsGone,
    /// Bytes that two objects hold count twice.
    RetainCountsOverlap,
    /// Batches out of the tier are not verified.
    ReadSkipsCrc,
    /// What is not synced yet is uploaded.
    UploadUnsynced,
    /// A log start that may still be lost counts for the tier.
    StartNotDurable,
    /// The cluster's fence is not looked for.
    FenceIgnored,
    /// A frame of the journal counts before it is synced.
    FrameUnsynced,
    /// A checkpoint frees frames whose segments it has not synced.
    CheckpointUnsynced,
}

#[cfg(feature = "planted")]
mod choice {
    use super::Bug;
    use std::cell::Cell;

    thread_local! {
        static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    /// Plants a bug in what runs on this thread, or takes it out.
    pub fn plant(bug: Option<Bug>) {
        PLANTED.set(bug);
    }

    /// Whether this bug is planted.
    #[must_use]
    pub fn is(bug: Bug) -> bool {
        PLANTED.get() == Some(bug)
    }
}

#[cfg(feature = "planted")]
pub use choice::{is, plant};

/// Whether this bug is planted: never.
#[cfg(not(feature = "planted"))]
#[must_use]
#[inline(always)]
pub fn is(_: Bug) -> bool {
    false
}
