//! Appending records.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use headwater_core::ids::ProducerId;
use headwater_core::names::ProducerName;
use headwater_core::replica::{Acks, Append, Order, OrderStream, Outcome, Refusal, Ticket};
use headwater_log::PartitionKey;
use headwater_record::{
    Batch, BatchBuilder, Compression, Offset, ProducerIdentity, Record, partition_for_key,
};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::Broker;
use crate::auth::{Action, Principal};
use crate::error::BrokerError;
use crate::limits::{MESSAGE_BYTES_MAX, REQUEST_OVERHEAD_BYTES};
use crate::partition::handle::{ReplyRoute, ReplyTo, StreamReply, StreamSlot};
use crate::partition::read::PartitionRef;
use crate::partition::shard::Message;

/// One batch for one partition.
pub struct ProduceRequest {
    /// Where.
    pub partition: PartitionRef,
    /// What, verified.
    pub batch: Batch,
    /// When to answer.
    pub acks: Acks,
    /// Append only if the log ends here.
    pub expected_offset: Option<Offset>,
}

/// Plain records for a topic.
pub struct RecordsRequest {
    /// `name` or `namespace/name`.
    pub topic: String,
    /// `None` lets the partitioner choose for each record.
    pub partition: Option<i32>,
    /// What. A record without a time of its own gets the time of arrival.
    pub records: Vec<(Record, bool)>,
    /// `None` is the topic's setting.
    pub compression: Option<Compression>,
    /// Makes a retry idempotent.
    pub producer: Option<ProducerIdentity>,
    /// When to answer.
    pub acks: Acks,
    /// Append only if the log ends here.
    pub expected_offset: Option<Offset>,
}

/// One batch of a produce stream.
pub struct StreamBatch {
    /// Where.
    pub partition: PartitionRef,
    /// What, verified.
    pub batch: Batch,
    /// When to answer.
    pub acks: Acks,
    /// Append only if the log ends here.
    pub expected_offset: Option<Offset>,
    /// Place in the stream.
    pub order: Order,
    /// Returned with the outcome.
    pub slot: StreamSlot,
    /// Its share of the in-flight budget.
    pub budget: OwnedSemaphorePermit,
}

/// What became of one partition's part.
pub struct Produced {
    /// The partition.
    pub partition: u32,
    /// Where it went, or why not.
    pub result: Result<Outcome, BrokerError>,
}

impl Broker {
    /// Waits until `bytes` more may be held in flight.
    pub async fn produce_budget(&self, bytes: usize) -> OwnedSemaphorePermit {
        let most = self.settings.memory.produce_bytes;
        let wanted = (bytes as u64 + REQUEST_OVERHEAD_BYTES).min(most);
        let permits = u32::try_from(wanted).unwrap_or(u32::MAX);
        let permit = self
            .produce_budget
            .clone()
            .acquire_many_owned(permits)
            .await;
        permit.expect("the budget is never closed")
    }

    /// Checks that bytes are one batch.
    pub fn verify(&self, bytes: Bytes) -> Result<Batch, BrokerError> {
        Ok(Batch::verify(bytes, MESSAGE_BYTES_MAX as usize)?)
    }

    /// Appends one batch and waits for its outcome.
    pub async fn produce(&self, request: ProduceRequest) -> Produced {
        let ProduceRequest {
            partition,
            batch,
            acks,
            expected_offset,
        } = request;
        let budget = self.produce_budget(batch.bytes().len()).await;
        self.storage.charge(batch.bytes().len());
        let (sender, answer) = oneshot::channel();
        let (records, bytes) = (batch.header().record_count, batch.bytes().len());
        let append = Append {
            ticket: Ticket(0),
            batch,
            acks,
            expected_offset,
            order: None,
        };
        let reply = ReplyTo::new(ReplyRoute::Call(sender), Some(budget));
        partition.handle.append(append, reply);
        let result = answer.await.unwrap_or(Err(Refusal::OutcomeUnknown));
        self.metrics.observe_produce(records, bytes, result.is_ok());
        let result = result.map_err(|refusal| BrokerError::Refused {
            topic: partition.topic.to_string(),
            partition: partition.partition,
            refusal,
        });
        Produced {
            partition: partition.partition,
            result,
        }
    }

    /// Builds batches from plain records, one for each partition, and appends them.
    pub async fn produce_records(
        &self,
        principal: &Principal,
        request: RecordsRequest,
    ) -> Result<Vec<Produced>, BrokerError> {
        let (parts, acks, expected) = self.split(principal, request)?;
        let appends = parts.into_iter().map(|(partition, batch)| {
            self.produce(ProduceRequest {
                partition,
                batch,
                acks,
                expected_offset: expected,
            })
        });
        Ok(futures::future::join_all(appends).await)
    }

    #[expect(
        clippy::type_complexity,
        reason = "the two answers of one private step"
    )]
    fn split(
        &self,
        principal: &Principal,
        request: RecordsRequest,
    ) -> Result<(Vec<(PartitionRef, Batch)>, Acks, Option<Offset>), BrokerError> {
        let image = self.image();
        let topic = self.topic(&image, principal, Action::Produce, &request.topic)?;
        let partitions = topic.partitions.len() as u32;
        let keyless = self.next_partition.fetch_add(1, Ordering::Relaxed) % u64::from(partitions);
        let compression = request.compression.unwrap_or(self.compression_of(topic));
        let now_ms = self.clock.now().wall_ms;
        let mut builders: BTreeMap<i32, BatchBuilder> = BTreeMap::new();
        for (mut record, has_time) in request.records {
            if !has_time {
                record.timestamp_ms = now_ms;
            }
            let partition = request.partition.unwrap_or_else(|| match &record.key {
                Some(key) => partition_for_key(key, partitions) as i32,
                None => keyless as i32,
            });
            let builder = builders
                .entry(partition)
                .or_insert_with(|| batch_builder(compression, request.producer));
            builder.push(&record)?;
        }
        let parts = builders.into_iter().map(|(partition, builder)| {
            Ok((self.partition_of(topic, partition)?, builder.build()?))
        });
        let parts = parts.collect::<Result<_, BrokerError>>()?;
        Ok((parts, request.acks, request.expected_offset))
    }

    /// Builds one batch from plain records; the flag says whether a record has a time of its own.
    pub fn build_batch(
        &self,
        topic: &str,
        records: Vec<(Record, bool)>,
        compression: Option<Compression>,
        producer: Option<ProducerIdentity>,
    ) -> Result<Batch, BrokerError> {
        let compression = match compression {
            Some(compression) => compression,
            None => {
                let name = self.topic_name("topic", topic)?;
                self.image()
                    .topic(&name)
                    .map(|topic| self.compression_of(topic))
                    .unwrap_or_default()
            }
        };
        let mut builder = batch_builder(compression, producer);
        let now_ms = self.clock.now().wall_ms;
        for (mut record, has_time) in records {
            if !has_time {
                record.timestamp_ms = now_ms;
            }
            builder.push(&record)?;
        }
        Ok(builder.build()?)
    }

    /// A name for a new produce stream.
    pub fn open_stream(&self) -> OrderStream {
        OrderStream(self.next_stream.fetch_add(1, Ordering::Relaxed))
    }

    /// Hands one batch of a stream on; its outcome comes by `replies`, in order for each
    /// partition.
    pub fn produce_streamed(
        &self,
        batch: StreamBatch,
        replies: &mpsc::UnboundedSender<StreamReply>,
    ) {
        let StreamBatch {
            partition,
            batch,
            acks,
            expected_offset,
            order,
            slot,
            budget,
        } = batch;
        self.storage.charge(batch.bytes().len());
        let append = Append {
            ticket: Ticket(0),
            batch,
            acks,
            expected_offset,
            order: Some(order),
        };
        let route = ReplyRoute::Stream(replies.clone(), slot);
        partition
            .handle
            .append(append, ReplyTo::new(route, Some(budget)));
    }

    /// A stream that wrote to these partitions has ended.
    pub fn close_stream(&self, stream: OrderStream, keys: impl IntoIterator<Item = PartitionKey>) {
        for key in keys {
            let shard = self.registry.shard(self.storage.shard_of(key));
            shard.send(Message::StreamClosed { key, stream });
        }
    }

    /// A producer identity: a new one, or the next epoch of a named producer.
    pub async fn init_producer(&self, name: &str) -> Result<(ProducerId, i16), BrokerError> {
        if name.is_empty() {
            return Ok((self.metadata.allocate_producer_id().await?, 0));
        }
        let name =
            ProducerName::parse(name, &self.settings.default_namespace).map_err(|source| {
                BrokerError::Name {
                    field: "producer_name",
                    source,
                }
            })?;
        self.metadata.init_named_producer(name).await
    }
}

fn batch_builder(compression: Compression, producer: Option<ProducerIdentity>) -> BatchBuilder {
    let builder = BatchBuilder::new(compression);
    match producer {
        Some(producer) => builder.producer(producer),
        None => builder,
    }
}
