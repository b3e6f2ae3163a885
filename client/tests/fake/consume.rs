//! ConsumerService: subscriptions with whole batches.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use headwater_proto::v1;
use headwater_proto::v1::consumer_service_server::ConsumerService;
use headwater_proto::v1::position::Position;
use headwater_proto::v1::subscribe_response::Message;
use tokio::sync::mpsc;
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::{FakePartition, Shared, State};

pub(crate) struct Consumer(pub(crate) Arc<Shared>);

type Answer = Result<v1::SubscribeResponse, Status>;

/// An error as brokers answer it.
pub(crate) fn status(code: Code, reason: &str, facts: &[(&str, &str)], retriable: bool) -> Status {
    let mut details = ErrorDetails::new();
    let facts = facts
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_string()));
    details.set_error_info(
        reason,
        "headwater.dev",
        facts.collect::<std::collections::HashMap<_, _>>(),
    );
    if retriable {
        details.set_retry_info(Some(Duration::from_millis(1)));
    }
    Status::with_error_details(code, "the fake says so", details)
}

#[tonic::async_trait]
impl ConsumerService for Consumer {
    type SubscribeStream = Pin<Box<dyn Stream<Item = Answer> + Send>>;

    async fn fetch(
        &self,
        _request: Request<v1::FetchRequest>,
    ) -> Result<Response<v1::FetchResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn subscribe(
        &self,
        request: Request<v1::SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let request = request.into_inner();
        let mut places = Vec::new();
        {
            let mut state = self.0.state();
            for subscription in &request.subscriptions {
                for place in &subscription.partitions {
                    let position = place.position.expect("clients keep offsets").position;
                    let Some(Position::Offset(offset)) = position else {
                        panic!("clients keep offsets")
                    };
                    let until = request
                        .until_latest
                        .then(|| state.topics[&subscription.topic][place.partition as usize].end());
                    let topic = subscription.topic.clone();
                    places.push(Place {
                        topic,
                        partition: place.partition,
                        offset: offset as u64,
                        until,
                    });
                }
            }
            state.subscriptions.push(request);
        }
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(serve(Arc::clone(&self.0), places, sender));
        Ok(Response::new(Box::pin(
            tokio_stream::wrappers::ReceiverStream::new(receiver),
        )))
    }
}

struct Place {
    topic: String,
    partition: i32,
    offset: u64,
    until: Option<u64>,
}

async fn serve(shared: Arc<Shared>, mut places: Vec<Place>, sender: mpsc::Sender<Answer>) {
    let mut draining = shared.draining.subscribe();
    loop {
        let changed = shared.changed.notified();
        let mut progress = false;
        for place in &mut places {
            let answer = read(&mut shared.state(), place);
            let Some(answer) = answer else { continue };
            progress = true;
            let last = answer.is_err();
            if sender.send(answer).await.is_err() || last {
                return;
            }
        }
        if places
            .iter()
            .all(|place| place.until.is_some_and(|until| place.offset >= until))
        {
            return;
        }
        if *draining.borrow_and_update() {
            let message = Message::Draining(v1::SubscribeDraining {
                reconnect_after_ms: 100,
            });
            let _ = sender
                .send(Ok(v1::SubscribeResponse {
                    message: Some(message),
                }))
                .await;
            return;
        }
        if !progress {
            tokio::select! {
                () = changed => {}
                _ = draining.changed() => {}
                () = tokio::time::sleep(Duration::from_millis(20)) => {
                    let message = Message::Heartbeat(v1::SubscribeHeartbeat::default());
                    let answer = v1::SubscribeResponse { message: Some(message) };
                    if sender.send(Ok(answer)).await.is_err() {
                        return;
                    }
                }
            }
        }
    }
}

/// The next batch of a partition, if there is one.
fn read(state: &mut State, place: &mut Place) -> Option<Answer> {
    let log = &state.topics[&place.topic][place.partition as usize];
    let (start, end) = (log.log_start.to_string(), log.end().to_string());
    if place.offset < log.log_start || place.offset > log.end() {
        let facts = [
            ("log_start_offset", start.as_str()),
            ("high_watermark", end.as_str()),
        ];
        return Some(Err(status(
            Code::OutOfRange,
            "OFFSET_OUT_OF_RANGE",
            &facts,
            false,
        )));
    }
    if let Some((from, to)) = log.damaged
        && (from..to).contains(&place.offset)
    {
        let (from, to, partition) = (
            from.to_string(),
            to.to_string(),
            place.partition.to_string(),
        );
        let facts = [
            ("topic", place.topic.as_str()),
            ("partition", partition.as_str()),
            ("from_offset", from.as_str()),
            ("to_offset", to.as_str()),
        ];
        return Some(Err(status(Code::DataLoss, "DATA_LOSS", &facts, false)));
    }
    let batch = batch_at(log, place.offset)?;
    if let Some(fault) = state.subscribe_faults.pop_front()
        && fault.code() != Code::Ok
    {
        return Some(Err(fault));
    }
    let log = &state.topics[&place.topic][place.partition as usize];
    place.offset = batch.1;
    let data = v1::PartitionData {
        topic: place.topic.clone(),
        partition: place.partition,
        log_start_offset: log.log_start as i64,
        high_watermark: log.end() as i64,
        next_offset: batch.1 as i64,
        batches: batch.0,
        ..v1::PartitionData::default()
    };
    Some(Ok(v1::SubscribeResponse {
        message: Some(Message::Data(data)),
    }))
}

fn batch_at(log: &FakePartition, offset: u64) -> Option<(Bytes, u64)> {
    let holds = |batch: &&headwater_record::Batch| batch.header().end_offset().get() > offset;
    let batch = log.batches.iter().find(holds)?;
    Some((batch.bytes().clone(), batch.header().end_offset().get()))
}
