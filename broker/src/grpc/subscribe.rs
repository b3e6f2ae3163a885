//! `Subscribe`: an endless fetch. Each message is read only when the connection has taken the one
//! before, so a reader that stops reading holds one message and no more.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use headwater_proto::v1;
use headwater_proto::v1::subscribe_response::Message;
use headwater_record::Offset;
use tokio::sync::Notify;
use tonic::Status;

use super::{consumer, convert, status};
use crate::auth::Principal;
use crate::error::BrokerError;
use crate::facade::{Broker, FetchBudget, FetchEntry, FetchRequest, FetchedPartition, Payload};
use crate::limits::{
    DRAIN_RECONNECT, HEARTBEAT_DEFAULT, HEARTBEAT_MIN, REQUEST_PARTITIONS_MAX, SUBSCRIBE_BYTES,
};
use crate::partition::read::{PartitionRef, Position};

/// A partition on its way.
struct Cursor {
    partition: PartitionRef,
    next_offset: Offset,
    /// Stop here, if the stream ends at all.
    until: Option<Offset>,
}

struct Subscription {
    broker: Arc<Broker>,
    principal: Principal,
    cursors: Vec<Cursor>,
    /// Where the next look around begins, so that no partition waits for ever.
    turn: usize,
    /// Topics that were subscribed to as a whole: partitions that are added to them join.
    topics: Vec<String>,
    revision: u64,
    records_left: Option<i64>,
    records: bool,
    bytes_max: usize,
    heartbeat: Duration,
    ended: bool,
    /// Of the message that is on its way.
    budget: FetchBudget,
}

/// Looks everything up, then streams.
pub(super) async fn start(
    broker: Arc<Broker>,
    principal: Principal,
    request: v1::SubscribeRequest,
) -> Result<impl Stream<Item = Result<v1::SubscribeResponse, Status>> + Send, Status> {
    let subscription = Subscription::open(broker, principal, request).await?;
    Ok(futures::stream::unfold(
        subscription,
        |mut subscription| async move {
            let message = subscription.next().await?;
            Some((message, subscription))
        },
    ))
}

impl Subscription {
    async fn open(
        broker: Arc<Broker>,
        principal: Principal,
        request: v1::SubscribeRequest,
    ) -> Result<Subscription, BrokerError> {
        convert::check_count("subscriptions", request.subscriptions.len())?;
        let heartbeat = convert::size("heartbeat_interval_ms", request.heartbeat_interval_ms, 0)?;
        let heartbeat = match heartbeat {
            0 => HEARTBEAT_DEFAULT,
            ms => Duration::from_millis(ms as u64).max(HEARTBEAT_MIN),
        };
        let bytes_max = broker.settings.limits.subscribe_buffer_bytes;
        let asked = convert::size("max_bytes", request.max_bytes, SUBSCRIBE_BYTES)?;
        let records = consumer::encoding(request.encoding)?;
        let records_left = match request.max_records {
            0 => None,
            count if count > 0 && records => Some(count),
            _ => {
                let message = "it counts plain records and must not be negative";
                return Err(BrokerError::invalid("max_records", message));
            }
        };
        let revision = broker.metadata.revision();
        let mut topics = Vec::new();
        let mut questions = Vec::new();
        for subscription in request.subscriptions {
            let whole = subscription.partitions.is_empty();
            if whole {
                topics.push(subscription.topic.clone());
            }
            questions.extend(asked_partitions(&broker, &principal, subscription)?);
        }
        convert::check_count("subscriptions.partitions", questions.len())?;
        let partitions: Vec<_> = questions
            .iter()
            .map(|(partition, _)| partition.clone())
            .collect();
        let resolved = broker
            .resolve(questions.into_iter().map(Ok).collect())
            .await;
        let mut cursors = Vec::with_capacity(partitions.len());
        for (partition, resolved) in partitions.into_iter().zip(resolved) {
            let resolved = resolved?;
            let until = request
                .until_latest
                .then_some(resolved.bounds.high_watermark);
            cursors.push(Cursor {
                partition,
                next_offset: resolved.offset,
                until,
            });
        }
        Ok(Subscription {
            bytes_max: asked.min(bytes_max),
            topics: if request.until_latest {
                Vec::new()
            } else {
                topics
            },
            turn: 0,
            ended: false,
            budget: FetchBudget::default(),
            broker,
            principal,
            cursors,
            revision,
            records_left,
            records,
            heartbeat,
        })
    }

    /// The next message; `None` at the end.
    async fn next(&mut self) -> Option<Result<v1::SubscribeResponse, Status>> {
        self.budget = FetchBudget::default();
        if self.ended {
            return None;
        }
        let mut draining = self.broker.draining();
        let mut waiter: Option<Arc<Notify>> = None;
        let heartbeat = tokio::time::sleep(self.heartbeat);
        tokio::pin!(heartbeat);
        loop {
            if *draining.borrow() {
                self.ended = true;
                let reconnect_after_ms = DRAIN_RECONNECT.as_millis() as i64;
                let draining = v1::SubscribeDraining { reconnect_after_ms };
                return Some(message(Message::Draining(draining)));
            }
            self.join_new_partitions();
            if let Some(data) = self.read().await {
                return Some(data.map_err(|error| status::status(&error)));
            }
            if self.is_done() {
                return None;
            }
            match waiter.take() {
                // What came before the waiter stood in line would wake nobody: look once more.
                None => {
                    let waiter = waiter.insert(Arc::new(Notify::new()));
                    let handles = self.cursors.iter().map(|cursor| &cursor.partition.handle);
                    handles.for_each(|handle| handle.watch(waiter));
                }
                Some(waiter) => tokio::select! {
                    () = waiter.notified() => {}
                    () = &mut heartbeat => {
                        return Some(message(Message::Heartbeat(self.places())));
                    }
                    _ = draining.changed() => {}
                },
            }
        }
    }

    fn is_done(&self) -> bool {
        let at_end = |cursor: &Cursor| cursor.until.is_some_and(|end| cursor.next_offset >= end);
        self.records_left == Some(0) || self.cursors.iter().all(at_end)
    }

    /// Data of the next partition in turn that has any.
    async fn read(&mut self) -> Option<Result<v1::SubscribeResponse, BrokerError>> {
        for step in 0..self.cursors.len() {
            let index = (self.turn + step) % self.cursors.len();
            let cursor = &self.cursors[index];
            let limit = cursor.until.unwrap_or(Offset::new(i64::MAX as u64));
            let behind = match cursor.partition.bounds() {
                Ok(bounds) => cursor.next_offset < bounds.high_watermark.min(limit),
                Err(error) => return Some(self.fail(error)),
            };
            if !behind || self.records_left == Some(0) {
                continue;
            }
            self.turn = index + 1;
            let entry = FetchEntry {
                partition: cursor.partition.clone(),
                position: Position::Offset(cursor.next_offset.to_i64()),
                leader_epoch: None,
                bytes_max: self.bytes_max,
            };
            let fetch = FetchRequest {
                entries: vec![Ok(entry)],
                bytes_min: 0,
                bytes_max: self.bytes_max,
                wait: Duration::ZERO,
                records: self.records,
            };
            let (mut fetched, budget) = self.broker.fetch(fetch).await;
            self.budget = budget;
            let fetched = fetched.pop().expect("one entry, one answer");
            return Some(self.deliver(index, fetched));
        }
        None
    }

    fn deliver(
        &mut self,
        index: usize,
        mut fetched: FetchedPartition,
    ) -> Result<v1::SubscribeResponse, BrokerError> {
        if let Err(error) = fetched.result {
            return self.fail(error);
        }
        let cursor = &mut self.cursors[index];
        if let Ok(Payload::Records(records)) = &mut fetched.result {
            if let Some(end) = cursor.until {
                records.retain(|stored| stored.offset < end);
            }
            if let Some(left) = &mut self.records_left {
                let keep = usize::try_from(*left).unwrap_or(usize::MAX);
                if records.len() > keep {
                    records.truncate(keep);
                    if let Some(last) = records.last() {
                        fetched.next_offset = last.offset.plus(1);
                    }
                }
                *left -= records.len() as i64;
            }
        }
        cursor.next_offset = fetched.next_offset;
        let partition = cursor.partition.partition as i32;
        let data = consumer::data(&cursor.partition.topic, partition, fetched);
        self.ended = self.is_done();
        message_ok(Message::Data(data))
    }

    /// A partition that cannot be read ends the stream; the status says which and why.
    fn fail(&mut self, error: BrokerError) -> Result<v1::SubscribeResponse, BrokerError> {
        self.ended = true;
        self.broker.metrics.observe_error(status::reason(&error));
        Err(error)
    }

    fn join_new_partitions(&mut self) {
        let revision = self.broker.metadata.revision();
        if std::mem::replace(&mut self.revision, revision) == revision {
            return;
        }
        let mut known: HashMap<Arc<str>, usize> = HashMap::new();
        for cursor in &self.cursors {
            *known.entry(cursor.partition.topic.clone()).or_default() += 1;
        }
        for topic in &self.topics {
            let Ok(partitions) = self.broker.consume_topic(&self.principal, topic) else {
                continue;
            };
            let count = partitions
                .first()
                .and_then(|first| known.get(&first.topic))
                .copied();
            let added = partitions.into_iter().skip(count.unwrap_or_default());
            let room = REQUEST_PARTITIONS_MAX.saturating_sub(self.cursors.len());
            self.cursors
                .extend(added.take(room).map(|partition| Cursor {
                    partition,
                    next_offset: Offset::ZERO,
                    until: None,
                }));
        }
    }

    fn places(&self) -> v1::SubscribeHeartbeat {
        let place = |cursor: &Cursor| {
            let fetched = FetchedPartition {
                bounds: cursor.partition.bounds().ok(),
                next_offset: cursor.next_offset,
                result: Ok(Payload::Batches(bytes::Bytes::new())),
            };
            let partition = cursor.partition.partition as i32;
            consumer::data(&cursor.partition.topic, partition, fetched)
        };
        v1::SubscribeHeartbeat {
            partitions: self.cursors.iter().map(place).collect(),
        }
    }
}

fn asked_partitions(
    broker: &Broker,
    principal: &Principal,
    subscription: v1::Subscription,
) -> Result<Vec<(PartitionRef, Position)>, BrokerError> {
    let start = match subscription.start {
        None => Position::Earliest,
        start => convert::position(start)?,
    };
    if subscription.partitions.is_empty() {
        let partitions = broker.consume_topic(principal, &subscription.topic)?;
        return Ok(partitions
            .into_iter()
            .map(|partition| (partition, start))
            .collect());
    }
    let one = |asked: v1::PartitionPosition| {
        let partition =
            broker.consume_partition(principal, &subscription.topic, asked.partition)?;
        let position = match asked.position {
            None => start,
            position => convert::position(position)?,
        };
        Ok((partition, position))
    };
    subscription.partitions.into_iter().map(one).collect()
}

fn message(message: Message) -> Result<v1::SubscribeResponse, Status> {
    Ok(v1::SubscribeResponse {
        message: Some(message),
    })
}

fn message_ok(message: Message) -> Result<v1::SubscribeResponse, BrokerError> {
    Ok(v1::SubscribeResponse {
        message: Some(message),
    })
}
