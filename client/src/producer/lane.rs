//! What is on its way to one partition: order, sequence numbers, and what may be sent again.
//!
//! A state machine without I/O. The batches that were taken stand in `in_flight` in the order of
//! their sequence numbers, which is the order in which they were handed in:
//!
//! ```text
//! maybe stored …│ certainly not stored …
//! outstanding … │ queued …                  (while the window is whole)
//! ```
//!
//! After a refusal the broker refuses everything later of the window, so the lane waits until all
//! that is outstanding is answered, opens a higher window and sends the rest again in order:
//! unchanged if it may be stored, else under whatever sequence is right then.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use headwater_proto::v1;
use headwater_record::{Batch, ProducerIdentity};

use super::config::ProducerConfig;
use super::delivery::Outcome;
use super::identity::Identity;
use super::queue::{Content, Draft, Ticket};
use crate::backoff::Backoff;
use crate::clock::BootTime;
use crate::error::Error;
use crate::record::BatchAck;

/// An outcome and whom to tell.
pub(super) type Resolved = (Ticket, Outcome);

/// The batches on their way to one partition.
#[derive(Debug)]
pub(super) struct Lane {
    topic: Arc<str>,
    partition: u32,
    idempotent: bool,
    /// Nothing older is sent.
    timeout: Duration,
    in_flight: VecDeque<Sent>,
    identity: Option<Identity>,
    /// Identity that must not be used here again.
    spent: Option<Identity>,
    /// Sequence of the first batch in flight: follows the last one stored.
    front_sequence: i32,
    /// Sequence of the next batch that is taken.
    next_sequence: i32,
    window: u32,
    /// A batch of this window was refused: nothing is sent before all are answered.
    broken: bool,
    repair: Repair,
    /// Why a batch was refused that is sent again, until one is stored.
    refusal: Option<Error>,
    /// Nothing is sent before then.
    pause_until: Option<BootTime>,
    backoff: Backoff,
}

/// What has to be done before a broken lane goes on. The later contains the earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Repair {
    /// Send the same again.
    Resend,
    /// A batch is gone for good: those behind it move up in the sequence.
    Renumber,
    /// The sequence itself is in doubt: go on under another identity.
    Renew,
}

#[derive(Debug)]
struct Sent {
    ticket: Ticket,
    batch: Batch,
    created: BootTime,
    state: SendState,
    /// An answer was lost, so it may be stored: it is sent again unchanged or not at all.
    maybe_stored: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SendState {
    /// To be sent.
    Queued,
    /// Sent as this request, unanswered.
    Outstanding(i64),
    /// Answered; to be sent again when the lane has settled.
    Refused,
}

impl Lane {
    pub(super) fn new(
        topic: Arc<str>,
        partition: u32,
        config: &ProducerConfig,
        backoff: Backoff,
    ) -> Lane {
        Lane {
            topic,
            partition,
            idempotent: config.idempotent,
            timeout: config.delivery_timeout,
            in_flight: VecDeque::new(),
            identity: None,
            spent: None,
            front_sequence: 0,
            next_sequence: 0,
            window: 0,
            broken: false,
            repair: Repair::Resend,
            refusal: None,
            pause_until: None,
            backoff,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.in_flight.is_empty()
    }

    pub(super) fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    pub(super) fn partition(&self) -> u32 {
        self.partition
    }

    pub(super) fn window(&self) -> u32 {
        self.window
    }

    /// Whether nothing can be sent before [`adopt`](Lane::adopt).
    pub(super) fn needs_identity(&self) -> bool {
        self.idempotent && self.identity.is_none()
    }

    /// Takes an identity on, unless it was used up here before.
    #[must_use]
    pub(super) fn adopt(&mut self, identity: Identity) -> bool {
        assert!(self.needs_identity());
        if self.spent == Some(identity) {
            return false;
        }
        self.identity = Some(identity);
        self.front_sequence = 0;
        self.renumber();
        true
    }

    /// When sending goes on, if it pauses after `now`.
    pub(super) fn paused_until(&self, now: BootTime) -> Option<BootTime> {
        self.pause_until.filter(|until| *until > now)
    }

    /// Whether one more batch may be taken.
    pub(super) fn has_room(&self, batches_max: usize, now: BootTime) -> bool {
        self.may_send(now) && self.in_flight.len() < batches_max
    }

    /// Takes a batch behind all others. What cannot be encoded is resolved at once.
    pub(super) fn push(&mut self, draft: Draft) -> Result<(), Resolved> {
        assert!(!self.needs_identity());
        let producer = self.producer(self.next_sequence);
        let built = match (draft.content, producer) {
            (Content::Records(builder), Some(producer)) => builder.producer(producer).build(),
            (Content::Records(builder), None) => builder.build(),
            (Content::Batch(batch), Some(producer)) => Ok(batch.produced_by(producer)),
            (Content::Batch(batch), None) => Ok(batch),
        };
        let batch = match built {
            Ok(batch) => batch,
            Err(error) => return Err((draft.ticket, Err(error.into()))),
        };
        self.next_sequence = sequence_behind(self.next_sequence, &batch);
        self.in_flight.push_back(Sent {
            ticket: draft.ticket,
            batch,
            created: draft.created,
            state: SendState::Queued,
            maybe_stored: false,
        });
        Ok(())
    }

    /// The next batch to send.
    pub(super) fn to_send(&self, now: BootTime) -> Option<&Batch> {
        if !self.may_send(now) {
            return None;
        }
        let mut sent = self.in_flight.iter();
        let next = sent.find(|sent| sent.state == SendState::Queued)?;
        (now.since(next.created) < self.timeout).then_some(&next.batch)
    }

    /// The batch that [`to_send`](Lane::to_send) gave was sent.
    pub(super) fn sent(&mut self, request_seq: i64) {
        let mut queued = self
            .in_flight
            .iter_mut()
            .filter(|sent| sent.state == SendState::Queued);
        let sent = queued.next().expect("to_send gave a batch");
        sent.state = SendState::Outstanding(request_seq);
    }

    /// The broker's answer to a request. One that nobody waits for any more changes nothing.
    pub(super) fn answered(
        &mut self,
        request_seq: i64,
        ack: v1::PartitionAck,
        now: BootTime,
        resolved: &mut Vec<Resolved>,
    ) {
        let asked = SendState::Outstanding(request_seq);
        let Some(index) = self.in_flight.iter().position(|sent| sent.state == asked) else {
            return;
        };
        match ack.error {
            None => self.stored(index, &ack, resolved),
            Some(error) => self.refused(index, error, resolved),
        }
        self.settle_if_answered(now, resolved);
    }

    /// The connection is gone. What was outstanding may be stored.
    pub(super) fn disconnected(&mut self, now: BootTime, resolved: &mut Vec<Resolved>) {
        self.doubt_outstanding();
        self.broken = true;
        if !self.idempotent {
            self.resolve_doubtful("the connection broke before the answer", resolved);
        }
        self.settle_if_answered(now, resolved);
    }

    /// Gives up what is too old.
    pub(super) fn expire(&mut self, now: BootTime, resolved: &mut Vec<Resolved>) {
        while let Some(front) = self.in_flight.front() {
            if now.since(front.created) < self.timeout {
                return;
            }
            let outstanding = matches!(front.state, SendState::Outstanding(_)) && !self.broken;
            if front.maybe_stored || outstanding {
                // Everything behind it was sent on the assumption that it is stored.
                self.doubt_outstanding();
                self.broken = true;
                self.repair = Repair::Renew;
                let cause = format!("no answer within {:?}", self.timeout);
                self.resolve_doubtful(&cause, resolved);
            } else {
                let front = self.in_flight.pop_front().expect("was looked at above");
                resolved.push((front.ticket, self.not_stored()));
                self.broken = true;
                self.repair = self.repair.max(Repair::Renumber);
            }
            self.settle_if_answered(now, resolved);
        }
    }

    /// The outcome of a batch that is too old and certainly not stored.
    pub(super) fn not_stored(&self) -> Outcome {
        let unreachable = || "the broker could not be reached".to_owned();
        Err(Error::DeliveryTimeout {
            topic: self.topic.to_string(),
            partition: self.partition,
            after: self.timeout,
            cause: self
                .refusal
                .as_ref()
                .map_or_else(unreachable, Error::to_string),
        })
    }

    /// Gives everything up because of `error`.
    pub(super) fn fail(&mut self, error: &Error, resolved: &mut Vec<Resolved>) {
        self.doubt_outstanding();
        self.resolve_doubtful(&error.to_string(), resolved);
        resolved.extend(
            self.in_flight
                .drain(..)
                .map(|sent| (sent.ticket, Err(error.clone()))),
        );
        self.broken = true;
        self.repair = Repair::Renew;
        self.settle(BootTime::now());
    }

    fn may_send(&self, now: BootTime) -> bool {
        !self.broken && !self.needs_identity() && self.paused_until(now).is_none()
    }

    fn stored(&mut self, index: usize, ack: &v1::PartitionAck, resolved: &mut Vec<Resolved>) {
        let sent = self
            .in_flight
            .remove(index)
            .expect("the caller has found it");
        self.front_sequence = sequence_behind(self.front_sequence, &sent.batch);
        self.refusal = None;
        self.backoff.reset();
        let outcome = BatchAck::from_wire(self.partition, ack);
        resolved.push((sent.ticket, Ok(outcome)));
    }

    fn refused(&mut self, index: usize, error: v1::Error, resolved: &mut Vec<Resolved>) {
        self.broken = true;
        let order_broken = error.reason == "ORDER_BROKEN";
        let unknown_producer = error.reason == "UNKNOWN_PRODUCER";
        let outcome_unknown = error.reason == "OUTCOME_UNKNOWN";
        let sequence_lost = unknown_producer
            || matches!(
                error.reason.as_str(),
                "OUT_OF_ORDER_SEQUENCE" | "SEQUENCE_REUSED" | "FENCED"
            );
        let retriable = order_broken || (error.retriable && !outcome_unknown);
        let error = Error::from(error);

        let sent = &mut self.in_flight[index];
        sent.maybe_stored |= outcome_unknown;
        if sequence_lost || (sent.maybe_stored && !retriable) {
            self.repair = Repair::Renew;
        }
        // Refused at the only attempt, a batch of an unknown producer is certainly not stored.
        if retriable || (unknown_producer && !sent.maybe_stored) {
            sent.state = SendState::Refused;
            if !order_broken {
                self.refusal = Some(error);
            }
            return;
        }
        let sent = self
            .in_flight
            .remove(index)
            .expect("the caller has found it");
        self.repair = self.repair.max(Repair::Renumber);
        let error = match sent.maybe_stored {
            true => self.outcome_unknown(&sent.batch, &error.to_string()),
            false => error,
        };
        resolved.push((sent.ticket, Err(error)));
    }

    /// Whatever is outstanding may be stored, unless the window was broken before it.
    fn doubt_outstanding(&mut self) {
        for sent in &mut self.in_flight {
            if matches!(sent.state, SendState::Outstanding(_)) {
                sent.maybe_stored |= !self.broken;
                sent.state = SendState::Refused;
            }
        }
    }

    fn settle_if_answered(&mut self, now: BootTime, resolved: &mut Vec<Resolved>) {
        let outstanding = |sent: &Sent| matches!(sent.state, SendState::Outstanding(_));
        if !self.broken || self.in_flight.iter().any(outstanding) {
            return;
        }
        if self.repair == Repair::Renew {
            self.resolve_doubtful("the broker has lost its place in the sequence", resolved);
        }
        self.settle(now);
    }

    /// All is answered: repairs the sequence and goes on in a higher window.
    fn settle(&mut self, now: BootTime) {
        match std::mem::replace(&mut self.repair, Repair::Resend) {
            Repair::Resend => {}
            Repair::Renumber => self.renumber(),
            Repair::Renew => {
                self.spent = self.identity.take().or(self.spent);
                assert!(self.in_flight.iter().all(|sent| !sent.maybe_stored));
            }
        }
        if self.refusal.is_some() {
            self.pause_until = Some(now.after(self.backoff.next_pause()));
        }
        for sent in &mut self.in_flight {
            sent.state = SendState::Queued;
        }
        self.broken = false;
        self.window += 1;
    }

    /// Numbers what is in flight from `front_sequence` on. What may be stored stands before the
    /// gap that made this necessary, so that its numbers do not change.
    fn renumber(&mut self) {
        let mut sequence = self.front_sequence;
        for index in 0..self.in_flight.len() {
            let producer = self.producer(sequence);
            let sent = &mut self.in_flight[index];
            if let Some(producer) = producer.filter(|it| sent.batch.header().producer != Some(*it))
            {
                assert!(!sent.maybe_stored, "what may be stored is never changed");
                sent.batch = sent.batch.produced_by(producer);
            }
            sequence = sequence_behind(sequence, &sent.batch);
        }
        self.next_sequence = sequence;
    }

    /// Resolves what may be stored: it is never sent again.
    fn resolve_doubtful(&mut self, cause: &str, resolved: &mut Vec<Resolved>) {
        while self.in_flight.front().is_some_and(|sent| sent.maybe_stored) {
            let sent = self.in_flight.pop_front().expect("was looked at above");
            let error = self.outcome_unknown(&sent.batch, cause);
            resolved.push((sent.ticket, Err(error)));
        }
        assert!(
            self.in_flight.iter().all(|sent| !sent.maybe_stored),
            "they stand in front"
        );
    }

    fn outcome_unknown(&self, batch: &Batch, cause: &str) -> Error {
        Error::OutcomeUnknown {
            topic: self.topic.to_string(),
            partition: self.partition,
            records: batch.header().record_count,
            cause: cause.to_owned(),
        }
    }

    fn producer(&self, base_sequence: i32) -> Option<ProducerIdentity> {
        let Identity { id, epoch } = self.identity?;
        Some(ProducerIdentity {
            id,
            epoch,
            base_sequence,
        })
    }
}

/// The sequence number that follows a batch; after the highest comes 0.
fn sequence_behind(sequence: i32, batch: &Batch) -> i32 {
    let next = (i64::from(sequence) + i64::from(batch.header().record_count)) % (1 << 31);
    i32::try_from(next).expect("is below 2^31")
}

#[cfg(test)]
#[path = "lane_tests.rs"]
mod tests;
