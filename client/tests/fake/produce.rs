//! ProducerService.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;

use futures::Stream;
use headwater_proto::v1;
use headwater_proto::v1::produce_stream_request::Message as In;
use headwater_proto::v1::produce_stream_response::Message as Out;
use headwater_proto::v1::producer_service_server::ProducerService;
use headwater_record::Batch;
use tokio::sync::mpsc;
use tonic::{Request, Response, Status, Streaming};

use super::partition::refusal;
use super::{Arrival, Fault, Shared};

pub(crate) struct Producer(pub(crate) Arc<Shared>);

type Answer = Result<v1::ProduceStreamResponse, Status>;

fn say(message: Out) -> Answer {
    Ok(v1::ProduceStreamResponse {
        message: Some(message),
    })
}

fn ack(partition: i32, result: Result<(u64, bool), v1::Error>, records: u32) -> v1::PartitionAck {
    match result {
        Ok((base, duplicate)) => v1::PartitionAck {
            partition,
            base_offset: base as i64,
            last_offset: (base + u64::from(records)) as i64 - 1,
            append_time_ms: 1,
            duplicate,
            error: None,
        },
        Err(error) => v1::PartitionAck {
            partition,
            base_offset: -1,
            last_offset: -1,
            error: Some(error),
            ..v1::PartitionAck::default()
        },
    }
}

#[tonic::async_trait]
impl ProducerService for Producer {
    type ProduceStreamStream = Pin<Box<dyn Stream<Item = Answer> + Send>>;

    async fn produce(
        &self,
        request: Request<v1::ProduceRequest>,
    ) -> Result<Response<v1::ProduceResponse>, Status> {
        let request = request.into_inner();
        let batch =
            Batch::verify(request.batch, 1 << 30).map_err(|e| Status::internal(e.to_string()))?;
        let partition = request.partition.expect("required with a batch");
        let state = &mut *self.0.state();
        let log = &mut state
            .topics
            .get_mut(&super::topics::full(&request.topic))
            .expect("exists")[partition as usize];
        let end = log.end() as i64;
        let result = match request.expected_offset {
            Some(expected) if expected != end => {
                let mut error = refusal("OFFSET_MISMATCH", false);
                error
                    .metadata
                    .insert("actual_offset".to_owned(), end.to_string());
                Err(error)
            }
            _ => log.append(u64::MAX, 0, &batch, None),
        };
        self.0.changed.notify_waiters();
        let acks = vec![ack(partition, result, batch.header().record_count)];
        Ok(Response::new(v1::ProduceResponse { acks }))
    }

    async fn produce_stream(
        &self,
        request: Request<Streaming<v1::ProduceStreamRequest>>,
    ) -> Result<Response<Self::ProduceStreamStream>, Status> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let shared = Arc::clone(&self.0);
        tokio::spawn(async move {
            let stream = {
                let mut state = shared.state();
                state.next_stream += 1;
                state.next_stream
            };
            let served = Served {
                shared,
                stream,
                sender,
                unanswered: Vec::new(),
                opened: false,
            };
            served.run(request.into_inner()).await;
        });
        let stream = tokio_stream::wrappers::UnboundedReceiverStream::new(receiver);
        Ok(Response::new(Box::pin(stream)))
    }

    async fn init_producer(
        &self,
        request: Request<v1::InitProducerRequest>,
    ) -> Result<Response<v1::InitProducerResponse>, Status> {
        let state = &mut *self.0.state();
        let name = request.into_inner().producer_name;
        let next = state.next_producer;
        let (id, epoch) = match name.is_empty() {
            true => (next, 0),
            false => {
                let named = state.named_producers.entry(name).or_insert((next, -1));
                named.1 += 1;
                *named
            }
        };
        state.next_producer += 1;
        let producer = Some(v1::Producer { id, epoch });
        Ok(Response::new(v1::InitProducerResponse { producer }))
    }
}

struct Served {
    shared: Arc<Shared>,
    stream: u64,
    sender: mpsc::UnboundedSender<Answer>,
    unanswered: Vec<(v1::ProduceStreamAck, i64)>,
    opened: bool,
}

impl Served {
    async fn run(mut self, mut requests: Streaming<v1::ProduceStreamRequest>) {
        let mut draining = self.shared.draining.subscribe();
        loop {
            let shared = Arc::clone(&self.shared);
            tokio::select! {
                request = requests.message() => match request {
                    Ok(Some(request)) => if !self.take(request) { return },
                    _gone => return,
                },
                () = shared.changed.notified() => {}
                Ok(()) = draining.changed() => {
                    if *draining.borrow() {
                        let reconnect_after_ms = 20;
                        let say_so = v1::ProduceStreamDraining { reconnect_after_ms };
                        let _ = self.sender.send(say(Out::Draining(say_so)));
                    }
                }
            }
            self.answer();
        }
    }

    /// False to end the stream.
    fn take(&mut self, request: v1::ProduceStreamRequest) -> bool {
        match request.message.expect("set") {
            In::Open(_) => {
                assert!(
                    !std::mem::replace(&mut self.opened, true),
                    "open comes first and once"
                );
                let credit_bytes = self.shared.state().credit_bytes;
                let opened = v1::ProduceStreamOpened {
                    credit_bytes,
                    batch_bytes_max: 64 << 20,
                };
                self.sender.send(say(Out::Opened(opened))).is_ok()
            }
            In::Batch(batch) => self.store(batch),
        }
    }

    fn store(&mut self, asked: v1::ProduceStreamBatch) -> bool {
        assert!(self.opened, "open comes first");
        let bytes = asked.batch.len() as i64;
        let batch =
            Batch::verify(asked.batch.clone(), 1 << 30).expect("clients send valid batches");
        let state = &mut *self.shared.state();
        state.arrivals.push(Arrival {
            stream: self.stream,
            partition: asked.partition,
            window: asked.window,
            bytes: asked.batch,
        });
        let fault = state.faults.pop_front().unwrap_or(Fault::None);
        if let Fault::CutBefore = fault {
            return self.cut();
        }
        let refuse = match fault {
            Fault::Refuse { reason, retriable } => Some(refusal(reason, retriable)),
            _ => None,
        };
        let result = match state.topics.get_mut(&super::topics::full(&asked.topic)) {
            Some(topic) => {
                let log = &mut topic[asked.partition as usize];
                log.append(self.stream, asked.window, &batch, refuse)
            }
            None => Err(refusal("TOPIC_NOT_FOUND", false)),
        };
        if let Fault::CutAfter = fault {
            return self.cut();
        }
        if let Fault::Swallow = fault {
            return true;
        }
        let ack = ack(asked.partition, result, batch.header().record_count);
        let ack = v1::ProduceStreamAck {
            request_seq: asked.request_seq,
            ack: Some(ack),
        };
        self.unanswered.push((ack, bytes));

        let outstanding: i64 = self.unanswered.iter().map(|(_, bytes)| bytes).sum();
        if self.unanswered.len() > 1 {
            state.outstanding_bytes_max = state.outstanding_bytes_max.max(outstanding);
        }
        let mut by_partition = HashMap::new();
        for (ack, _) in &self.unanswered {
            *by_partition
                .entry(ack.ack.as_ref().expect("set").partition)
                .or_insert(0) += 1;
        }
        let most = by_partition.into_values().max().unwrap_or(0);
        state.outstanding_batches_max = state.outstanding_batches_max.max(most);
        true
    }

    fn answer(&mut self) {
        if self.unanswered.is_empty() || self.shared.state().hold_acks {
            return;
        }
        let (acks, bytes): (Vec<_>, Vec<_>) = self.unanswered.drain(..).unzip();
        let acks = v1::ProduceStreamAcks {
            acks,
            credit_bytes: bytes.iter().sum(),
        };
        let _ = self.sender.send(say(Out::Acks(acks)));
        self.shared.changed.notify_waiters();
    }

    fn cut(&self) -> bool {
        let _ = self
            .sender
            .send(Err(Status::unavailable("the fake cuts the stream")));
        false
    }
}
