//! `ProduceStream`: batches in, coalesced acks out, in order for each partition.
//!
//! A task reads the client's messages; answers are made where they are sent. Between stands a lane for each
//! partition: what was sent, in order, until it is answered. A batch takes its bytes of the
//! client's credit (checked, never waited for) and of the broker's in-flight budget (waited for:
//! the client's window then closes) and gives both back with its ack.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::Stream;
use headwater_core::replica::{Acks, Order, OrderStream, Outcome, Refusal};
use headwater_log::PartitionKey;
use headwater_proto::v1;
use headwater_proto::v1::produce_stream_request::Message as ClientMessage;
use headwater_proto::v1::produce_stream_response::Message as BrokerMessage;
use headwater_record::{Batch, Compression};
use prost::Message as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::Instant;
use tonic::{Status, Streaming};

use super::{convert, producer, status};
use crate::auth::{Action, Principal};
use crate::error::BrokerError;
use crate::facade::{Broker, Produced, StreamBatch};
use crate::limits::{
    DRAIN_RECONNECT, MESSAGE_BYTES_MAX, STREAM_ACKS_PER_MESSAGE_MAX, STREAM_BATCHES_UNACKED_MAX,
    STREAM_PARTITIONS_MAX,
};
use crate::partition::handle::{StreamReply, StreamSlot};
use crate::partition::read::PartitionRef;

/// A batch until it is answered.
struct InFlight {
    index: u64,
    request_seq: i64,
    bytes: usize,
    records: u32,
    result: Option<Result<Outcome, BrokerError>>,
    /// Its place among [`STREAM_BATCHES_UNACKED_MAX`], given back with the ack.
    _place: OwnedSemaphorePermit,
}

/// The answering side of a lane: what was sent to one partition and is not answered.
struct AckLane {
    topic: String,
    partition: u32,
    in_flight: VecDeque<InFlight>,
}

/// What the two tasks share.
#[derive(Default)]
struct Shared {
    lanes: Vec<AckLane>,
    unacked_bytes: usize,
    /// With `acks: NONE` no offsets are promised.
    hide_offsets: bool,
}

/// Serves one stream: a task reads, and the answers are made where they are sent.
pub(super) fn run(
    broker: Arc<Broker>,
    principal: Principal,
    requests: Streaming<v1::ProduceStreamRequest>,
) -> impl Stream<Item = Result<v1::ProduceStreamResponse, Status>> + Send {
    let (replies, outcomes) = mpsc::unbounded_channel();
    let (control, said) = mpsc::channel(1);
    let (failed, failure) = oneshot::channel();
    let shared = Arc::new(Mutex::new(Shared::default()));
    let answers = Answers {
        broker: broker.clone(),
        shared: shared.clone(),
        outcomes,
        ready: Vec::new(),
        said,
        failure: Some(failure),
    };
    tokio::spawn(async move {
        if let Err(status) = serve(broker, principal, requests, shared, replies, control).await {
            let _ = failed.send(status);
        }
    });
    futures::stream::unfold(answers, |mut answers| async move {
        let answer = answers.next().await?;
        Some((answer, answers))
    })
}

/// Reads until the client ends the stream. The answers end once `replies` is gone, here and with
/// everybody who still has something to answer.
async fn serve(
    broker: Arc<Broker>,
    principal: Principal,
    mut requests: Streaming<v1::ProduceStreamRequest>,
    shared: Arc<Mutex<Shared>>,
    replies: mpsc::UnboundedSender<StreamReply>,
    control: mpsc::Sender<BrokerMessage>,
) -> Result<(), Status> {
    let open = opening(&mut requests).await?;
    let mut reader = Reader {
        stream: broker.open_stream(),
        credit_bytes: broker.settings.limits.produce_stream_credit_bytes,
        acks: convert::acks(open.acks)?,
        compression: convert::compression(open.compression)?,
        default_topic: open.default_topic,
        broker,
        principal,
        shared,
        replies,
        next_index: 0,
        lanes: HashMap::new(),
        places: Arc::new(Semaphore::new(STREAM_BATCHES_UNACKED_MAX)),
    };
    lock(&reader.shared).hide_offsets = reader.acks == Acks::None;
    let opened = BrokerMessage::Opened(v1::ProduceStreamOpened {
        credit_bytes: reader.credit_bytes as i64,
        batch_bytes_max: MESSAGE_BYTES_MAX as i64,
    });
    drop(control.send(opened).await);
    let result = reader.run(&mut requests, &control).await;
    reader.close();
    result
}

async fn opening(
    requests: &mut Streaming<v1::ProduceStreamRequest>,
) -> Result<v1::ProduceStreamOpen, Status> {
    let first = requests.message().await?;
    match first.and_then(|first| first.message) {
        Some(ClientMessage::Open(open)) => Ok(open),
        _ => Err(BrokerError::invalid("open", "it must be the first message of a stream").into()),
    }
}

fn response(message: BrokerMessage) -> Result<v1::ProduceStreamResponse, Status> {
    Ok(v1::ProduceStreamResponse {
        message: Some(message),
    })
}

/// What a batch takes of the credit: `batch` and `records` as encoded, and nothing around them, so
/// that clients can count the same.
fn charged_bytes(batch: &v1::ProduceStreamBatch) -> usize {
    let records = batch.records.iter().map(|record| record.encoded_len());
    batch.batch.len() + records.sum::<usize>()
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Reader {
    broker: Arc<Broker>,
    principal: Principal,
    shared: Arc<Mutex<Shared>>,
    replies: mpsc::UnboundedSender<StreamReply>,
    stream: OrderStream,
    default_topic: String,
    acks: Acks,
    compression: Option<Compression>,
    credit_bytes: usize,
    next_index: u64,
    places: Arc<Semaphore>,
    lanes: HashMap<(String, i32), Lane>,
}

/// The reader's side of a lane.
struct Lane {
    number: usize,
    /// The partition, as of a revision of the metadata.
    partition: Option<(u64, PartitionRef)>,
    window: u32,
    next_position: u64,
}

impl Reader {
    /// Reads batches until the client ends the stream, or a while after it was told that the broker
    /// stops.
    async fn run(
        &mut self,
        requests: &mut Streaming<v1::ProduceStreamRequest>,
        control: &mpsc::Sender<BrokerMessage>,
    ) -> Result<(), Status> {
        let mut draining = self.broker.draining();
        let mut end = None;
        loop {
            let ended = async {
                match end {
                    Some(end) => tokio::time::sleep_until(end).await,
                    None => drop(draining.wait_for(|draining| *draining).await),
                }
            };
            let message = tokio::select! {
                message = requests.message() => message?,
                () = ended => {
                    if end.is_some() {
                        return Ok(());
                    }
                    end = Some(Instant::now() + DRAIN_RECONNECT);
                    let reconnect_after_ms = DRAIN_RECONNECT.as_millis() as i64;
                    let draining = v1::ProduceStreamDraining { reconnect_after_ms };
                    drop(control.send(BrokerMessage::Draining(draining)).await);
                    continue;
                }
            };
            match message.map(|message| message.message) {
                None => return Ok(()),
                Some(Some(ClientMessage::Batch(batch))) => self.accept(batch).await?,
                Some(_) => {
                    let message = "every message after the first must be `batch`";
                    return Err(BrokerError::invalid("message", message).into());
                }
            }
        }
    }

    /// Takes one batch. Only what breaks the stream's own rules ends the stream; everything else
    /// is an ack with an error.
    async fn accept(&mut self, mut batch: v1::ProduceStreamBatch) -> Result<(), Status> {
        let bytes = charged_bytes(&batch);
        if batch.topic.is_empty() {
            batch.topic.clone_from(&self.default_topic);
        }
        let (lane, window, position) = self.place(&batch)?;
        let slot = StreamSlot {
            lane,
            index: self.next_index,
        };
        self.next_index += 1;
        // Batches so small that they cost no credit are bounded by their number.
        let place = self.places.clone().acquire_owned().await;
        let place = place.expect("the places are never closed");
        self.take_credit(slot, bytes, batch.request_seq, place)?;
        let budget = self.broker.produce_budget(bytes).await;
        let name = (std::mem::take(&mut batch.topic), batch.partition);
        let expected_offset = convert::expected_offset(batch.expected_offset);
        let prepared = match (self.partition(&name), expected_offset) {
            (Ok(partition), Ok(expected)) => self
                .encode(&name.0, batch)
                .map(|batch| (partition, batch, expected)),
            (Err(error), _) | (_, Err(error)) => Err(error),
        };
        match prepared {
            Ok((partition, batch, expected_offset)) => {
                self.count_records(slot, &batch);
                let order = Order {
                    stream: self.stream,
                    window,
                    position,
                };
                let acks = self.acks;
                let batch = StreamBatch {
                    partition,
                    batch,
                    acks,
                    expected_offset,
                    order,
                    slot,
                    budget,
                };
                self.broker.produce_streamed(batch, &self.replies);
            }
            Err(error) => self.refuse(slot, error),
        }
        Ok(())
    }

    /// The batch's place in its partition's order. Positions count what was sent, so whatever is
    /// refused, here or there, leaves a gap that nothing later of the same window gets over.
    fn place(&mut self, batch: &v1::ProduceStreamBatch) -> Result<(usize, u32, u64), Status> {
        let name = (batch.topic.clone(), batch.partition);
        let count = self.lanes.len();
        if count >= STREAM_PARTITIONS_MAX && !self.lanes.contains_key(&name) {
            let message = format!(
                "one stream writes to at most {STREAM_PARTITIONS_MAX} partitions; open another"
            );
            return Err(BrokerError::invalid("batch.partition", message).into());
        }
        let lane = self.lanes.entry(name).or_insert_with(|| {
            lock(&self.shared).lanes.push(AckLane {
                topic: batch.topic.clone(),
                partition: u32::try_from(batch.partition).unwrap_or_default(),
                in_flight: VecDeque::new(),
            });
            Lane {
                number: count,
                partition: None,
                window: batch.window,
                next_position: 0,
            }
        });
        if batch.window > lane.window {
            lane.window = batch.window;
            lane.next_position = 0;
        }
        let position = lane.next_position;
        if batch.window == lane.window {
            lane.next_position += 1;
        }
        Ok((lane.number, batch.window, position))
    }

    fn take_credit(
        &self,
        slot: StreamSlot,
        bytes: usize,
        request_seq: i64,
        place: OwnedSemaphorePermit,
    ) -> Result<(), Status> {
        let mut shared = lock(&self.shared);
        let unacked = shared.unacked_bytes + bytes;
        let credit = self.credit_bytes;
        if unacked > credit && shared.unacked_bytes > 0 {
            return Err(BrokerError::CreditExceeded { unacked, credit }.into());
        }
        shared.unacked_bytes = unacked;
        let in_flight = InFlight {
            index: slot.index,
            request_seq,
            bytes,
            records: 0,
            result: None,
            _place: place,
        };
        shared.lanes[slot.lane].in_flight.push_back(in_flight);
        Ok(())
    }

    fn partition(&mut self, name: &(String, i32)) -> Result<PartitionRef, BrokerError> {
        let revision = self.broker.metadata.revision();
        let lane = self.lanes.get_mut(name).expect("place has made the lane");
        if let Some((cached, partition)) = &lane.partition
            && *cached == revision
        {
            return Ok(partition.clone());
        }
        let (topic, index) = (&name.0, name.1);
        let partition = self
            .broker
            .partition(&self.principal, Action::Produce, topic, index)?;
        lane.partition = Some((revision, partition.clone()));
        Ok(partition)
    }

    fn encode(&self, topic: &str, batch: v1::ProduceStreamBatch) -> Result<Batch, BrokerError> {
        match (batch.batch.is_empty(), batch.records.is_empty()) {
            (false, true) => self.broker.verify(batch.batch),
            (true, false) => {
                let producer = convert::producer(batch.producer, batch.base_sequence)?;
                let records = convert::records(batch.records)?;
                self.broker
                    .build_batch(topic, records, self.compression, producer)
            }
            _ => Err(BrokerError::invalid(
                "batch",
                "set either `records` or `batch`",
            )),
        }
    }

    fn count_records(&self, slot: StreamSlot, batch: &Batch) {
        let mut shared = lock(&self.shared);
        if let Some(last) = shared.lanes[slot.lane].in_flight.back_mut() {
            last.records = batch.header().record_count;
        }
    }

    fn refuse(&self, slot: StreamSlot, error: BrokerError) {
        if let Some(last) = lock(&self.shared).lanes[slot.lane].in_flight.back_mut() {
            last.result = Some(Err(error));
        }
        // Wakes the answers; the outcome is in the lane already.
        drop(self.replies.send(StreamReply {
            slot,
            result: Err(Refusal::OrderBroken),
        }));
    }

    fn close(&mut self) {
        let partitions = self.lanes.drain().filter_map(|(_, lane)| lane.partition);
        let keys: Vec<PartitionKey> = partitions
            .map(|(_, partition)| partition.handle.key)
            .collect();
        self.broker.close_stream(self.stream, keys);
    }
}

/// The answering half of a stream.
struct Answers {
    broker: Arc<Broker>,
    shared: Arc<Mutex<Shared>>,
    outcomes: mpsc::UnboundedReceiver<StreamReply>,
    ready: Vec<StreamReply>,
    /// What the reader has to say besides outcomes.
    said: mpsc::Receiver<BrokerMessage>,
    /// Why the reader ended, if the client did not end it; taken with the last answer.
    failure: Option<oneshot::Receiver<Status>>,
}

impl Answers {
    /// The next message: outcomes, as many together as there are. What broke the stream comes after
    /// everything in flight is answered.
    async fn next(&mut self) -> Option<Result<v1::ProduceStreamResponse, Status>> {
        loop {
            tokio::select! {
                biased;
                Some(message) = self.said.recv() => return Some(response(message)),
                count = self.outcomes.recv_many(&mut self.ready, STREAM_ACKS_PER_MESSAGE_MAX) => {
                    if count == 0 {
                        return self.failure.take()?.await.ok().map(Err);
                    }
                    let ready = std::mem::take(&mut self.ready);
                    let acks = self.collect(ready.into_iter());
                    if !acks.acks.is_empty() {
                        return Some(response(BrokerMessage::Acks(acks)));
                    }
                }
            }
        }
    }

    fn collect(&self, replies: impl Iterator<Item = StreamReply>) -> v1::ProduceStreamAcks {
        let mut shared = lock(&self.shared);
        let hide_offsets = shared.hide_offsets;
        let mut message = v1::ProduceStreamAcks::default();
        for StreamReply { slot, result } in replies {
            let AckLane {
                topic,
                partition,
                in_flight,
            } = &mut shared.lanes[slot.lane];
            if let Some(batch) = in_flight.iter_mut().find(|batch| batch.index == slot.index) {
                let refused = |refusal| BrokerError::Refused {
                    topic: topic.clone(),
                    partition: *partition,
                    refusal,
                };
                batch.result.get_or_insert_with(|| result.map_err(refused));
            }
            let mut credit = 0;
            while let Some(batch) = in_flight.pop_front_if(|batch| batch.result.is_some()) {
                credit += batch.bytes;
                message.acks.push(self.ack(*partition, batch, hide_offsets));
            }
            shared.unacked_bytes -= credit;
            message.credit_bytes += credit as i64;
        }
        message
    }

    fn ack(&self, partition: u32, batch: InFlight, hide_offsets: bool) -> v1::ProduceStreamAck {
        let result = batch
            .result
            .expect("only answered batches are acknowledged");
        let produced = Produced { partition, result };
        let metrics = &self.broker.metrics;
        metrics.observe_produce(batch.records, batch.bytes, produced.result.is_ok());
        if let Err(error) = &produced.result {
            metrics.observe_error(status::reason(error));
        }
        let ack = Some(producer::ack(&produced, hide_offsets));
        v1::ProduceStreamAck {
            request_seq: batch.request_seq,
            ack,
        }
    }
}
