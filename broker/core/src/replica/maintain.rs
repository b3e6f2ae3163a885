//! Everything but appends and the tier: leadership, settings, the log start, background sync,
//! retention.

use headwater_log::LogError;
use headwater_record::{LeaderEpoch, Offset};

use super::effect::{Outcome, Output, Refusal, Ticket, TurnContext};
use super::{Replica, ReplicaConfig};

impl Replica {
    pub(super) fn lead(&mut self, epoch: LeaderEpoch, in_sync: usize, outputs: &mut Vec<Output>) {
        assert!(
            self.leader_epoch.is_none_or(|now| now <= epoch),
            "leader epochs never go back"
        );
        self.leader_epoch = Some(epoch);
        self.progress.set_in_sync(in_sync);
        // Whoever had this disk before may have stopped between moving the start and unlinking.
        if self.log.waits_for_reclaim() {
            outputs.push(Output::NeedReclaim);
        }
    }

    pub(super) fn configure(&mut self, config: ReplicaConfig, outputs: &mut Vec<Output>) {
        self.log.set_config(config.log.clone());
        if self.progress.change_durability(config.durability) {
            outputs.push(Output::NeedSync);
        }
        self.config = config;
    }

    pub(super) fn synced(&mut self, context: &TurnContext, end: Offset, outputs: &mut Vec<Output>) {
        self.sync_running = false;
        if self.failed {
            return;
        }
        self.log.synced(end);
        self.progress.synced(end);
        if end < self.log.end() {
            self.unsynced_since_ms
                .get_or_insert(context.now.monotonic_ms);
        }
        self.sync_if_due(context, outputs);
    }

    pub(super) fn delete_records(
        &mut self,
        ticket: Ticket,
        before: Option<Offset>,
        outputs: &mut Vec<Output>,
    ) {
        let high_watermark = self.progress.high_watermark();
        let before = before.unwrap_or(high_watermark);
        let refusal = if self.leader_epoch.is_none() {
            Some(Refusal::NotLeader)
        } else if self.failed {
            Some(Refusal::StorageFailed)
        } else if before > high_watermark {
            Some(Refusal::AboveHighWatermark {
                asked: before,
                high_watermark,
            })
        } else {
            None
        };
        if let Some(refusal) = refusal {
            outputs.push(Output::Complete(ticket, Err(refusal)));
            return;
        }
        self.pending_starts.push_back((before, ticket));
        if before > self.log.log_start() {
            self.move_start(before, outputs);
        } else if !self.start_job_running {
            self.answer_starts(self.log.log_start(), outputs);
        }
    }

    pub(super) fn move_start(&mut self, to: Offset, outputs: &mut Vec<Output>) {
        match self.log.advance_start(to) {
            Ok(job) => {
                self.start_job_running = true;
                outputs.push(Output::MoveStart(job));
            }
            Err(error) => self.storage_failed(error, outputs),
        }
    }

    /// A log start is durable; segments below it may go.
    pub(super) fn start_moved(&mut self, start: Offset, outputs: &mut Vec<Output>) {
        if self.failed {
            return;
        }
        // Jobs run in order, so the last one has run when the log's own start is reported.
        self.start_job_running = start < self.log.log_start();
        self.answer_starts(start, outputs);
        outputs.push(Output::NeedReclaim);
    }

    fn answer_starts(&mut self, start: Offset, outputs: &mut Vec<Output>) {
        while let Some((_, ticket)) = self.pending_starts.pop_front_if(|(to, _)| *to <= start) {
            outputs.push(Output::Complete(ticket, Ok(Outcome::StartMoved(start))));
        }
    }

    pub(super) fn tick(&mut self, context: &TurnContext, outputs: &mut Vec<Output>) {
        if self.failed || self.leader_epoch.is_none() {
            return;
        }
        match self.log.roll_if_due(context.now) {
            Err(error) if !error.is_full() => return self.storage_failed(error, outputs),
            // On a full disk it rolls later; retention is what makes room.
            Ok(_) | Err(_) => {}
        }
        self.sync_if_due(context, outputs);
        if self.is_tiered() {
            return self.drop_tiered(context, outputs);
        }
        if context.wall_clock_suspect {
            return;
        }
        let committed = self.progress.high_watermark();
        if let Some(start) = self.log.retention_plan(context.now, committed) {
            self.move_start(start, outputs);
        }
    }

    /// Class `replicated` answers before it syncs, but leaves nothing unsynced for long.
    fn sync_if_due(&self, context: &TurnContext, outputs: &mut Vec<Output>) {
        let since = self.unsynced_since_ms;
        let due = since.is_some_and(|since| {
            context.now.monotonic_ms.saturating_sub(since) >= self.config.background_sync_ms
        });
        if due && !self.sync_running {
            outputs.push(Output::NeedSync);
        }
    }

    /// Unlinks at most `segments_max` segments below the log start; returns whether more remain.
    pub fn reclaim(&mut self, segments_max: usize) -> Result<bool, LogError> {
        if self.failed {
            Ok(false)
        } else {
            self.log.reclaim(segments_max)
        }
    }

    pub(super) fn storage_failed(&mut self, error: LogError, outputs: &mut Vec<Output>) {
        outputs.push(Output::StorageFailed(error));
        self.fail_all(outputs);
    }
}
