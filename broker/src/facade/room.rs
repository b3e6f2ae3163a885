//! What makes room on a full disk.

/// What always helps.
pub(crate) const REMEDY: &str = "delete records or topics, shorten retention, or grow the volume";

/// What a tier has to do with the room on the disk of the data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TierRoom {
    /// It is on the same disk.
    Shared,
    /// It is elsewhere; so many sealed bytes have yet to go there.
    Elsewhere { backlog_bytes: u64 },
}

/// What helps, or comes by itself, with this tier.
pub(super) fn remedy(tier: Option<TierRoom>) -> String {
    match tier {
        None | Some(TierRoom::Elsewhere { backlog_bytes: 0 }) => REMEDY.to_owned(),
        Some(TierRoom::Shared) => format!(
            "{REMEDY}; the tier is on this disk, so what is deleted makes room after tier.gc_grace"
        ),
        Some(TierRoom::Elsewhere { backlog_bytes }) => format!(
            "{} MiB wait for the tier and leave the disk by themselves once they are there; TIER_UNAVAILABLE, or another \
             finding of the tier, says what holds them up. Else {REMEDY}",
            backlog_bytes.div_ceil(1 << 20)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(tier: Option<TierRoom>, words: &[&str]) {
        let remedy = remedy(tier);
        for words in words {
            assert!(remedy.contains(words), "{words}: {remedy}");
        }
    }

    #[test]
    fn what_a_tier_has_to_do_with_a_full_disk_is_part_of_the_remedy() {
        let waits = |backlog_bytes| Some(TierRoom::Elsewhere { backlog_bytes });
        assert_eq!(remedy(None), REMEDY);
        assert_eq!(remedy(waits(0)), REMEDY);
        check(
            waits((40 << 20) + 1),
            &["41 MiB wait for the tier", "TIER_UNAVAILABLE", REMEDY],
        );
        check(Some(TierRoom::Shared), &["after tier.gc_grace", REMEDY]);
    }
}
