//! Bugs that can be planted, by name.

use headwater_log::planted::Bug;

/// Every bug, by the name of the command line.
pub const BUGS: &[(&str, Bug)] = &[
    ("drop-before-head", Bug::DropBeforeHead),
    ("skip-verify", Bug::SkipVerify),
    ("skip-verify-manifest", Bug::SkipVerifyManifest),
    ("head-of-any-epoch", Bug::HeadOfAnyEpoch),
    ("head-of-any-parent", Bug::HeadOfAnyParent),
    ("reuse-upload", Bug::ReuseUpload),
    ("sweep-by-listing", Bug::SweepByListing),
    ("sweep-forgets-replaced", Bug::SweepForgetsReplaced),
    ("sweep-forgets-uploads", Bug::SweepForgetsUploads),
    ("sweep-forgets-grace", Bug::SweepForgetsGrace),
    ("sweep-at-once", Bug::SweepAtOnce),
    ("owner-ignored", Bug::OwnerIgnored),
    ("owner-of-any-epoch", Bug::OwnerOfAnyEpoch),
    ("manifest-taken", Bug::ManifestTaken),
    ("page-twice", Bug::PageTwice),
    ("upload-from-start", Bug::UploadFromStart),
    ("manifest-gap", Bug::ManifestGap),
    ("refused-leaves-gap", Bug::RefusedLeavesGap),
    ("retain-counts-twice", Bug::RetainCountsTwice),
    ("retain-counts-gone", Bug::RetainCountsGone),
    ("read-skips-crc", Bug::ReadSkipsCrc),
    ("upload-unsynced", Bug::UploadUnsynced),
    ("start-not-durable", Bug::StartNotDurable),
    ("fence-ignored", Bug::FenceIgnored),
    ("frame-unsynced", Bug::FrameUnsynced),
    ("checkpoint-unsynced", Bug::CheckpointUnsynced),
];

/// A bug by its name.
pub fn by_name(name: &str) -> Option<Bug> {
    BUGS.iter()
        .find(|(known, _)| *known == name)
        .map(|(_, bug)| *bug)
}
