//! Records on their way into batches: what `send` fills and the driver empties.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use headwater_record::{Batch, BatchBuilder, Compression, Record, partition_for_key};
use tokio::sync::{Notify, Semaphore, SemaphorePermit};

use super::config::ProducerConfig;
use super::delivery::{BatchDelivery, Delivery, Outcome};
use super::queue::{Content, Draft, OpenBatch, Queue, Ticket, TopicState, encoded_size_max};
use crate::clock::BootTime;
use crate::error::Error;

/// One part in so many of the topic's limit is left free: what a codec can add to records that do
/// not compress (0.4 % for lz4, less for the others).
const EXPANSION_SHARE: usize = 128;

/// Queues of batches by partition, under one lock that is never held across an await, and the
/// bytes that may be held.
#[derive(Debug)]
pub(super) struct Accumulator {
    config: ProducerConfig,
    state: Mutex<State>,
    /// Bytes that may still be handed in.
    buffer: Semaphore,
    /// Callers that wait for `buffer`: lingering would only hold them up.
    waiting: AtomicUsize,
    /// Wakes the driver.
    work: Notify,
}

#[derive(Debug, Default)]
struct State {
    topics: HashMap<Arc<str>, TopicState>,
    queues: Vec<Queue>,
    /// Queues that were empty and no longer are, for the driver.
    newly_active: Vec<usize>,
    next_ticket: u64,
    /// Every batch without an outcome.
    unresolved: BTreeMap<u64, BatchDelivery>,
    /// Batches with a lower number do not linger.
    flush_before: u64,
    /// First failure since the last flush.
    failure: Option<Error>,
    /// Why nothing is taken any more.
    closed: Option<Error>,
}

/// A batch for the driver, or when there will be one.
#[derive(Debug)]
pub(super) enum Take {
    Draft(Draft),
    /// A batch is open and lingers until then.
    Lingers(BootTime),
    Empty,
}

/// Why a record was not taken.
#[derive(Debug)]
pub(super) enum PushError {
    /// Its topic has to be looked up first.
    UnknownTopic,
    /// It will not do.
    Refused(Error),
}

impl From<Error> for PushError {
    fn from(error: Error) -> PushError {
        PushError::Refused(error)
    }
}

impl Accumulator {
    pub(super) fn new(config: ProducerConfig) -> Accumulator {
        Accumulator {
            buffer: Semaphore::new(config.buffer_bytes_max),
            config,
            state: Mutex::default(),
            waiting: AtomicUsize::new(0),
            work: Notify::new(),
        }
    }

    pub(super) fn config(&self) -> &ProducerConfig {
        &self.config
    }

    /// Waits until `bytes` more may be held. Forgotten when the record is in a batch, the permit
    /// is given back when that is resolved.
    pub(super) async fn reserve(&self, bytes: usize) -> Result<SemaphorePermit<'_>, Error> {
        let limit = self.config.buffer_bytes_max;
        if bytes > limit {
            return Err(Error::RecordTooLarge {
                bytes,
                limit,
                limit_name: "buffer_bytes_max",
            });
        }
        // Fits: `buffer_bytes_max` is at most 2 GiB.
        let permits = bytes as u32;
        if let Ok(permit) = self.buffer.try_acquire_many(permits) {
            return Ok(permit);
        }
        let _waiting = Waiting::count(&self.waiting);
        self.work.notify_one();
        let permit = self.buffer.acquire_many(permits).await;
        permit.map_err(|_closed| self.state().closed.clone().unwrap_or(Error::Closed))
    }

    /// Adds a record to the open batch of its partition; `held_bytes` were reserved for it.
    pub(super) fn push(
        &self,
        topic: &Arc<str>,
        partition: Option<u32>,
        record: &Record,
        held_bytes: usize,
    ) -> Result<Delivery, PushError> {
        let state = &mut *self.state();
        let topic_limit = state.topic(topic)?.batch_bytes_max;
        let limit = self
            .config
            .batch_bytes_max
            .min(topic_limit - topic_limit / EXPANSION_SHARE);
        let size_max = encoded_size_max(record);
        let has_room = |open: &OpenBatch| open.builder.size_bytes() + size_max <= limit;
        let queue = state.route(topic, partition, record.key.as_deref(), has_room)?;
        if !state.queues[queue].open.as_ref().is_some_and(has_room) {
            state.queues[queue].close();
        }
        if let Some(open) = &mut state.queues[queue].open {
            open.builder.push(record).map_err(Error::from)?;
            open.ticket.held_bytes += held_bytes;
        } else {
            let mut builder = BatchBuilder::new(self.config.compression);
            builder.push(record).map_err(Error::from)?;
            if self.config.compression == Compression::None {
                check_size(builder.size_bytes(), topic_limit)?;
            }
            let ticket = state.ticket(held_bytes);
            state.mark_active(queue);
            let created = BootTime::now();
            state.queues[queue].open = Some(OpenBatch {
                ticket,
                builder,
                created,
            });
        }
        let open = state.queues[queue].open.as_ref().expect("was opened above");
        let index = u32::try_from(open.builder.len() - 1).expect("2 GiB hold fewer records");
        let batch = state.unresolved[&open.ticket.id].clone();
        let full = open.builder.size_bytes() >= limit;
        if full {
            state.queues[queue].close();
        }
        if index == 0 || full {
            self.work.notify_one();
        }
        Ok(Delivery {
            batch,
            topic: Arc::clone(topic),
            index,
        })
    }

    /// Adds a finished batch behind everything that its partition has; its size was reserved.
    pub(super) fn push_batch(
        &self,
        topic: &Arc<str>,
        partition: u32,
        batch: Batch,
    ) -> Result<BatchDelivery, PushError> {
        let state = &mut *self.state();
        let bytes = batch.bytes().len();
        check_size(bytes, state.topic(topic)?.batch_bytes_max)?;
        let queue = state.route(topic, Some(partition), None, |_| true)?;
        let ticket = state.ticket(bytes);
        let delivery = state.unresolved[&ticket.id].clone();
        state.mark_active(queue);
        state.queues[queue].close();
        let draft = Draft {
            ticket,
            content: Content::Batch(batch),
            created: BootTime::now(),
        };
        state.queues[queue].closed.push_back(draft);
        self.work.notify_one();
        Ok(delivery)
    }

    /// What a topic is like, as just heard.
    pub(super) fn learn_topic(&self, topic: &Arc<str>, partitions: u32, batch_bytes_max: usize) {
        let state = &mut *self.state();
        let known = state
            .topics
            .entry(Arc::clone(topic))
            .or_insert_with(|| TopicState {
                partitions,
                batch_bytes_max,
                fresh: true,
                queues: HashMap::new(),
                sticky: rand::random_range(0..partitions),
            });
        known.partitions = partitions;
        known.batch_bytes_max = batch_bytes_max;
        known.sticky = known.sticky.min(partitions - 1);
        known.fresh = true;
    }

    /// After such a refusal the next record of the topic looks it up first.
    pub(super) fn doubt_topic_after(&self, topic: &str, reason: &str) {
        if matches!(
            reason,
            "TOPIC_NOT_FOUND" | "PARTITION_NOT_FOUND" | "RECORD_TOO_LARGE"
        ) && let Some(known) = self.state().topics.get_mut(topic)
        {
            known.fresh = false;
        }
    }

    /// All topics that were written to.
    pub(super) fn topics(&self) -> Vec<Arc<str>> {
        self.state().topics.keys().cloned().collect()
    }

    /// Waits until there may be something new to do.
    pub(super) async fn work(&self) {
        self.work.notified().await;
    }

    /// Queues that were empty and no longer are, since the last call.
    pub(super) fn newly_active(&self) -> Vec<usize> {
        std::mem::take(&mut self.state().newly_active)
    }

    /// Topic and partition of a queue.
    pub(super) fn place(&self, queue: usize) -> (Arc<str>, u32) {
        let queue = &self.state().queues[queue];
        (Arc::clone(&queue.topic), queue.partition)
    }

    /// The next batch of a queue that is due at `now`.
    pub(super) fn take(&self, queue: usize, now: BootTime) -> Take {
        let state = &mut *self.state();
        let flush_before = state.flush_before;
        let queue = &mut state.queues[queue];
        if let Some(draft) = queue.closed.pop_front() {
            return Take::Draft(draft);
        }
        let Some(open) = &queue.open else {
            return Take::Empty;
        };
        let due = open.created.after(self.config.linger);
        let at_once = open.ticket.id < flush_before || self.waiting.load(Ordering::Relaxed) > 0;
        if due > now && !at_once {
            return Take::Lingers(due);
        }
        queue.close();
        Take::Draft(queue.closed.pop_front().expect("the open batch was closed"))
    }

    /// Takes batches of a queue that were created before `created`.
    pub(super) fn take_older(&self, queue: usize, created: BootTime) -> Vec<Ticket> {
        let queue = &mut self.state().queues[queue];
        if queue
            .open
            .as_ref()
            .is_some_and(|open| open.created < created)
        {
            queue.close();
        }
        let count = queue
            .closed
            .iter()
            .take_while(|draft| draft.created < created)
            .count();
        queue
            .closed
            .drain(..count)
            .map(|draft| draft.ticket)
            .collect()
    }

    /// Whether a queue has nothing.
    pub(super) fn is_empty(&self, queue: usize) -> bool {
        let queue = &self.state().queues[queue];
        queue.open.is_none() && queue.closed.is_empty()
    }

    /// Tells everybody who waits for the batch, and gives its bytes back.
    pub(super) fn resolve(&self, ticket: Ticket, outcome: Outcome) {
        {
            let state = &mut *self.state();
            state.unresolved.remove(&ticket.id);
            if let Err(error) = &outcome {
                state.failure.get_or_insert_with(|| error.clone());
            }
        }
        // Nobody waits: then flush reports failures.
        let _ = ticket.outcome.send(outcome);
        self.buffer.add_permits(ticket.held_bytes);
    }

    /// Everything handed in so far, no longer lingering.
    pub(super) fn start_flush(&self) -> Vec<BatchDelivery> {
        let state = &mut *self.state();
        state.flush_before = state.next_ticket;
        self.work.notify_one();
        state.unresolved.values().cloned().collect()
    }

    /// The first failure since it was asked for.
    pub(super) fn take_failure(&self) -> Option<Error> {
        self.state().failure.take()
    }

    /// Takes nothing any more, because of `error`; what is there is still sent.
    pub(super) fn close(&self, error: Error) {
        let state = &mut *self.state();
        state.closed.get_or_insert(error);
        state.flush_before = u64::MAX;
        self.buffer.close();
        self.work.notify_one();
    }

    /// Whether nothing is taken any more.
    pub(super) fn is_closed(&self) -> bool {
        self.state().closed.is_some()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic under the lock is a broken invariant; the state is whole all the same.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// A topic that can be written to.
    fn topic(&mut self, topic: &Arc<str>) -> Result<&mut TopicState, PushError> {
        if let Some(error) = &self.closed {
            return Err(PushError::Refused(error.clone()));
        }
        let known = self.topics.get_mut(topic).filter(|known| known.fresh);
        known.ok_or(PushError::UnknownTopic)
    }

    /// The queue that a record goes to. Without partition and key it goes where a batch is open
    /// and `has_room`.
    fn route(
        &mut self,
        topic: &Arc<str>,
        partition: Option<u32>,
        key: Option<&[u8]>,
        has_room: impl Fn(&OpenBatch) -> bool,
    ) -> Result<usize, PushError> {
        let State { topics, queues, .. } = self;
        let known = topics.get_mut(topic).ok_or(PushError::UnknownTopic)?;
        let partition = match (partition, key) {
            (Some(partition), _) if partition < known.partitions => partition,
            (Some(partition), _) => {
                return Err(PushError::Refused(Error::NoSuchPartition {
                    topic: topic.to_string(),
                    partition,
                    partitions: known.partitions,
                }));
            }
            (None, Some(key)) => partition_for_key(key, known.partitions),
            (None, None) => known.stick(queues, has_room),
        };
        let queue = *known.queues.entry(partition).or_insert_with(|| {
            let topic = Arc::clone(topic);
            queues.push(Queue {
                topic,
                partition,
                closed: VecDeque::new(),
                open: None,
            });
            queues.len() - 1
        });
        Ok(queue)
    }

    fn ticket(&mut self, held_bytes: usize) -> Ticket {
        let id = self.next_ticket;
        self.next_ticket += 1;
        let (outcome, delivery) = BatchDelivery::channel();
        self.unresolved.insert(id, delivery);
        Ticket {
            id,
            held_bytes,
            outcome,
        }
    }

    /// Must be called before the first batch is put into an empty queue.
    fn mark_active(&mut self, queue: usize) {
        let Queue { closed, open, .. } = &self.queues[queue];
        if closed.is_empty() && open.is_none() {
            self.newly_active.push(queue);
        }
    }
}

/// Whether a topic takes a batch of so many bytes.
fn check_size(bytes: usize, limit: usize) -> Result<(), Error> {
    let limit_name = "the topic's message_bytes_max";
    match bytes > limit {
        true => Err(Error::RecordTooLarge {
            bytes,
            limit,
            limit_name,
        }),
        false => Ok(()),
    }
}

/// Counts a waiting caller for as long as it lives: a future may be dropped at any await.
struct Waiting<'a>(&'a AtomicUsize);

impl Waiting<'_> {
    fn count(counter: &AtomicUsize) -> Waiting<'_> {
        counter.fetch_add(1, Ordering::Relaxed);
        Waiting(counter)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
