//! What the tier makes of a replica: its local copies may go, and its log start follows the tier's
//! planner.
//!
//! ```text
//!   log start        local start       tiered end       high watermark    log end
//!       |  in the tier    |  in the tier    |  on the local  |                |
//!       |  alone          |  and local      |  disk alone    |                |
//! ```
//!
//! `log_start ≤ local_start ≤ log_end`, and `local_start ≤ max(log_start, tiered_end)`: nothing is
//! dropped that is not in the tier.

use headwater_log::planted::{self, Bug};
use headwater_log::{LocalRetention, LogView, SealedSegment};
use headwater_record::{LeaderEpoch, Offset};

use super::Replica;
use super::effect::{Output, TurnContext};

/// What a broker's tier is shown of a replica.
#[derive(Clone)]
pub struct TierView {
    /// First offset that may be read, as far as that is durable: what the tier lets go for it must
    /// not be asked for again after a crash.
    pub log_start: Offset,
    /// First offset on the local disk. At least the log start.
    pub local_start: Offset,
    /// What lies below is committed and on the medium: as far as uploads may go.
    pub limit: Offset,
    /// Offset of the next record.
    pub end: Offset,
    /// The epoch under which this broker leads; `None` while it does not.
    pub leader_epoch: Option<LeaderEpoch>,
    /// To read segments with.
    pub view: LogView,
    /// Sealed segments on the local disk that end at or below `limit`, oldest first.
    pub sealed: Vec<SealedSegment>,
    /// Bytes of the segments behind them.
    pub rest_bytes: u64,
}

impl Replica {
    /// What of the log could be uploaded.
    pub fn tier_view(&self) -> TierView {
        let limit = self.uploadable_end();
        let sealed = self.log.sealed(limit);
        let sealed_end = sealed.last().map_or(Offset::ZERO, |last| last.end_offset);
        TierView {
            log_start: match planted::is(Bug::StartNotDurable) {
                false => self.log.durable_log_start(),
                true => self.log.log_start(),
            },
            local_start: self.log.local_start(),
            limit,
            end: self.log.end(),
            leader_epoch: self.leader_epoch,
            view: self.log.view(),
            rest_bytes: self.log.bytes_from(sealed_end),
            sealed,
        }
    }

    /// Nothing at or above this was ever uploaded from this log: it may still be another record.
    fn uploadable_end(&self) -> Offset {
        match planted::is(Bug::UploadUnsynced) {
            false => self.progress.high_watermark().min(self.log.synced_end()),
            true => self.log.end(),
        }
    }

    pub(super) fn tiered(
        &mut self,
        context: &TurnContext,
        end: Offset,
        eager: bool,
        outputs: &mut Vec<Output>,
    ) {
        // Where the head ends behind that, the log has lost its end, and what is written there now
        // is not what the tier holds.
        let end = end.min(self.uploadable_end());
        self.tiered_end = self.tiered_end.max(end);
        self.eager = eager;
        if (eager || context.storage_full) && !self.failed {
            self.drop_tiered(context, outputs);
        }
    }

    /// Only the leader moves the log start, and never beyond what is committed.
    pub(super) fn retain(&mut self, start: Offset, outputs: &mut Vec<Output>) {
        let committed = self.progress.high_watermark();
        let may_move = self.leader_epoch.is_some() && !self.failed && start <= committed;
        if may_move && start > self.log.log_start() {
            self.move_start(start, outputs);
        }
    }

    /// Whether total retention spans two places, so that the tier's planner decides on it. What is
    /// in the tier alone is known before its head is.
    pub(super) fn is_tiered(&self) -> bool {
        let tier_has_any = self.tiered_end.max(self.log.local_start()) > self.log.log_start();
        self.config.tiering || tier_has_any
    }

    /// Local retention. Copies that are safe in the tier go before produce has to be refused.
    pub(super) fn drop_tiered(&mut self, context: &TurnContext, outputs: &mut Vec<Output>) {
        let keep = if self.eager || context.storage_full {
            LocalRetention {
                ms: None,
                bytes: Some(0),
            }
        } else {
            LocalRetention {
                // No clock is asked for what goes at once.
                ms: self
                    .config
                    .local_retention_ms
                    .filter(|ms| *ms == 0 || !context.wall_clock_suspect),
                bytes: self.config.local_retention_bytes,
            }
        };
        let tiered_end = match planted::is(Bug::DropBeforeHead) {
            false => self.tiered_end,
            true => self.uploadable_end(),
        };
        let Some(to) = self.log.local_plan(context.now, tiered_end, keep) else {
            return;
        };
        assert!(
            to <= tiered_end,
            "local copies up to {to} would go, the tier has them up to {}",
            self.tiered_end
        );
        match self.log.drop_local(to) {
            Ok(job) => outputs.push(Output::MoveStart(job)),
            Err(error) => self.storage_failed(error, outputs),
        }
    }
}
