//! Appending: what is accepted, and when it is answered.

use headwater_log::{Appended, ProducerCheck};
use headwater_record::{LeaderEpoch, Offset};

use super::effect::{Acks, Append, Outcome, Output, Refusal, Ticket, TurnContext};
use super::{Input, Replica};
use crate::limits::PRODUCER_BATCHES_UNACKED_MAX;

/// An append that waits for its answer. Refusals wait in the same line, so that answers leave in
/// the order in which the batches came.
pub(super) struct Pending {
    ticket: Ticket,
    result: Result<Outcome, Refusal>,
    /// Answer when the partition is stored up to here. `ZERO` for refusals.
    needs: Offset,
    /// Whose count of unacknowledged batches goes down with the answer.
    producer_id: Option<i64>,
}

impl Replica {
    pub(super) fn append(
        &mut self,
        context: &TurnContext,
        append: Append,
        outputs: &mut Vec<Output>,
    ) {
        if let Some(waiting) = &mut self.epoch_pending {
            waiting.push_back(append);
            return;
        }
        if let Some(epoch) = self.leader_epoch
            && self.log.last_epoch() != Some(epoch)
            && !self.failed
        {
            outputs.push(Output::BeginEpoch(self.log.begin_epoch(epoch)));
            self.epoch_pending = Some([append].into());
            return;
        }
        let Append {
            ticket,
            ref batch,
            acks,
            order,
            ..
        } = append;
        let producer_id = batch.header().producer.map(|producer| producer.id);
        let result = self.try_append(context, &append, outputs);
        if let (Ok(_), Some(order)) = (&result, order) {
            self.windows.advance(order);
        }
        let needs = match &result {
            Ok(Outcome::Appended { appended, .. }) => appended.last_offset.plus(1),
            Ok(Outcome::StartMoved(_)) => unreachable!("an append does not move the log start"),
            Err(_) => Offset::ZERO,
        };
        let counted = producer_id.filter(|_| result.is_ok());
        if let Some(id) = counted {
            *self.unacked.entry(id).or_default() += 1;
        }
        let pending = Pending {
            ticket,
            result,
            needs,
            producer_id: counted,
        };
        match acks {
            Acks::None => self.answer(pending, outputs),
            Acks::Leader => self.pending_leader.push_back(pending),
            Acks::All => self.pending_all.push_back(pending),
        }
    }

    /// Judges one batch and writes it.
    fn try_append(
        &mut self,
        context: &TurnContext,
        append: &Append,
        outputs: &mut Vec<Output>,
    ) -> Result<Outcome, Refusal> {
        let Some(epoch) = self.leader_epoch else {
            return Err(Refusal::NotLeader);
        };
        if self.failed {
            return Err(Refusal::StorageFailed);
        }
        if let Some(order) = append.order
            && !self.windows.is_next(order)
        {
            return Err(Refusal::OrderBroken);
        }
        self.check_batch(context, append)?;
        if let Some(duplicate) = self.check_sequence(context, append)? {
            return Ok(Outcome::Appended {
                appended: duplicate,
                duplicate: true,
            });
        }
        if let Some(expected) = append.expected_offset
            && expected != self.log.end()
        {
            return Err(Refusal::OffsetMismatch {
                expected,
                actual: self.log.end(),
            });
        }
        if context.storage_full {
            return Err(Refusal::StorageFull);
        }
        let (in_sync, min) = (self.progress.in_sync(), self.config.min_in_sync);
        if append.acks == Acks::All && in_sync < min {
            return Err(Refusal::NotEnoughReplicas { in_sync, min });
        }
        self.write(context, append, epoch, outputs)
    }

    /// What can be said from the batch and the topic's settings alone.
    fn check_batch(&self, context: &TurnContext, append: &Append) -> Result<(), Refusal> {
        let header = append.batch.header();
        if header.is_control() {
            return Err(Refusal::ControlBatch);
        }
        if header.is_transactional() {
            return Err(Refusal::Transactional);
        }
        let max = self.config.message_bytes_max;
        if header.size_bytes > max {
            return Err(Refusal::TooLarge {
                got: header.size_bytes,
                max,
            });
        }
        let ahead_ms_max = self.config.timestamp_ahead_ms_max;
        let latest_ms = context.now.wall_ms.saturating_add_unsigned(ahead_ms_max);
        if header.max_timestamp_ms > latest_ms {
            return Err(Refusal::TimestampAhead {
                timestamp_ms: header.max_timestamp_ms,
                ahead_ms_max,
            });
        }
        Ok(())
    }

    /// Idempotence: where the batch was stored before, if it was.
    fn check_sequence(
        &self,
        context: &TurnContext,
        append: &Append,
    ) -> Result<Option<Appended>, Refusal> {
        match self.log.check_producer(&append.batch, context.now) {
            ProducerCheck::Fresh => {}
            ProducerCheck::Duplicate(appended) => return Ok(Some(appended)),
            ProducerCheck::SequenceReused { base_sequence } => {
                return Err(Refusal::SequenceReused { base_sequence });
            }
            ProducerCheck::OutOfOrder { expected, got } => {
                return Err(Refusal::OutOfOrder { expected, got });
            }
            ProducerCheck::Fenced { current_epoch } => {
                return Err(Refusal::Fenced { current_epoch });
            }
            ProducerCheck::Unknown => return Err(Refusal::UnknownProducer),
            ProducerCheck::TooManyProducers { max } => {
                return Err(Refusal::TooManyProducers { max });
            }
        }
        let max = PRODUCER_BATCHES_UNACKED_MAX;
        match append.batch.header().producer {
            Some(producer)
                if self
                    .unacked
                    .get(&producer.id)
                    .is_some_and(|&count| count >= max) =>
            {
                Err(Refusal::TooManyUnacked { max })
            }
            _ => Ok(None),
        }
    }

    fn write(
        &mut self,
        context: &TurnContext,
        append: &Append,
        epoch: LeaderEpoch,
        outputs: &mut Vec<Output>,
    ) -> Result<Outcome, Refusal> {
        match self.log.append(&append.batch, epoch, context.now) {
            Ok(appended) => {
                self.progress.written(self.log.end());
                self.unsynced_since_ms
                    .get_or_insert(context.now.monotonic_ms);
                Ok(Outcome::Appended {
                    appended,
                    duplicate: false,
                })
            }
            Err(error) if error.is_full() => Err(Refusal::StorageFull),
            Err(error) => {
                outputs.push(Output::StorageFailed(error));
                self.fail_all(outputs);
                Err(Refusal::StorageFailed)
            }
        }
    }

    /// The epochs file names the present epoch: what has waited for it can be appended.
    pub(super) fn epoch_begun(
        &mut self,
        context: &TurnContext,
        epoch: LeaderEpoch,
        outputs: &mut Vec<Output>,
    ) {
        if self.failed {
            return;
        }
        self.log.epoch_begun(epoch);
        for append in self.epoch_pending.take().unwrap_or_default() {
            // A leadership may have followed another while the file was synced; the first append
            // then waits once more, and those behind it with it.
            self.apply(context, Input::Append(append), outputs);
        }
    }

    /// Answers what has become durable, and asks for a sync if something still waits for one.
    pub(super) fn complete(&mut self, outputs: &mut Vec<Output>) {
        self.progress.advance(self.config.min_in_sync);
        let stored = self.progress.stored_end();
        while let Some(pending) = self
            .pending_leader
            .pop_front_if(|next| next.needs <= stored)
        {
            self.answer(pending, outputs);
        }
        let committed = self.progress.high_watermark();
        while let Some(pending) = self
            .pending_all
            .pop_front_if(|next| next.needs <= committed)
        {
            self.answer(pending, outputs);
        }
        let waiting = !self.pending_leader.is_empty() || !self.pending_all.is_empty();
        if waiting && !self.sync_running && !self.failed && stored < self.log.end() {
            outputs.push(Output::NeedSync);
        }
    }

    fn answer(&mut self, pending: Pending, outputs: &mut Vec<Output>) {
        if let Some(id) = pending.producer_id
            && let std::collections::hash_map::Entry::Occupied(mut count) = self.unacked.entry(id)
        {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
        outputs.push(Output::Complete(pending.ticket, pending.result));
    }

    /// Storage has failed: nobody is told that anything is stored from here on.
    pub(super) fn fail_all(&mut self, outputs: &mut Vec<Output>) {
        self.failed = true;
        let waiting = self
            .pending_leader
            .drain(..)
            .chain(self.pending_all.drain(..));
        outputs.extend(waiting.map(|pending| {
            let result = pending.result.and(Err(Refusal::OutcomeUnknown));
            Output::Complete(pending.ticket, result)
        }));
        let never_written = self.epoch_pending.take().unwrap_or_default();
        outputs.extend(
            never_written
                .into_iter()
                .map(|append| Output::Complete(append.ticket, Err(Refusal::StorageFailed))),
        );
        outputs.extend(
            self.pending_starts
                .drain(..)
                .map(|(_, ticket)| Output::Complete(ticket, Err(Refusal::OutcomeUnknown))),
        );
        self.unacked.clear();
    }
}
