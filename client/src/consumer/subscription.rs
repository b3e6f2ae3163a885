//! The stream behind a consumer: opened where the partitions stand, and again when it ends.

use std::time::Duration;

use headwater_proto::v1;
use headwater_proto::v1::subscribe_response::Message;
use tokio::time::Instant;
use tonic::Streaming;

use super::partition::Reading;
use crate::admin::{partition_number, wire_offset};
use crate::backoff::Backoff;
use crate::error::Error;
use crate::transport::Transport;

/// How often the broker is to say that it is there, at least.
const HEARTBEAT_MAX: Duration = Duration::from_secs(5);

/// Heartbeats that may be missed before nobody is thought to be there.
const HEARTBEATS_MISSED: u32 = 3;

/// What a subscription brings.
#[derive(Debug)]
pub(super) enum Event {
    /// Records of one partition, or its error.
    Data(v1::PartitionData),
    /// A sign of life, with every partition's place.
    Heartbeat(Vec<v1::PartitionData>),
}

/// A stream that is opened when needed.
#[derive(Debug)]
pub(super) struct Subscription {
    transport: Transport,
    message_bytes_max: u32,
    until_latest: bool,
    stream: Option<Streaming<v1::SubscribeResponse>>,
    backoff: Backoff,
    /// When the next stream may be opened: a time, for a caller that drops its calls waits for it over many of them.
    open_at: Instant,
}

impl Subscription {
    pub(super) fn new(
        transport: Transport,
        backoff: Backoff,
        message_bytes_max: u32,
        until_latest: bool,
    ) -> Subscription {
        Subscription {
            transport,
            message_bytes_max,
            until_latest,
            stream: None,
            backoff,
            open_at: Instant::now(),
        }
    }

    /// Ends the stream: the next one is opened at once, where the partitions stand then.
    pub(super) fn restart(&mut self) {
        self.stream = None;
    }

    /// The next event; `None` after a transient failure, when the stream has to be opened again.
    /// May be dropped without losing any.
    ///
    /// # Errors
    ///
    /// What the broker will say again. The stream is opened again with the next call.
    pub(super) async fn next(&mut self, readings: &[Reading]) -> Result<Option<Event>, Error> {
        match self.try_next(readings).await {
            Ok(event) => Ok(event),
            Err(error) => {
                self.stream = None;
                self.pause();
                if !error.is_transient() {
                    return Err(error);
                }
                tracing::info!(%error, "the subscription has ended; connecting again");
                Ok(None)
            }
        }
    }

    async fn try_next(&mut self, readings: &[Reading]) -> Result<Option<Event>, Error> {
        let stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                tokio::time::sleep_until(self.open_at).await;
                let request = self.request(readings);
                let mut service = self.transport.consumer_service();
                self.transport
                    .opening(service.subscribe(request))
                    .await?
                    .into_inner()
            }
        };
        let stream = self.stream.insert(stream);
        // Heartbeats come more often, so that silence means that nobody is there.
        let silence_max = self.transport.request_timeout();
        let message = match tokio::time::timeout(silence_max, stream.message()).await {
            Ok(answer) => answer.map_err(|status| self.transport.error(status))?,
            Err(_elapsed) => return Err(self.transport.timeout()),
        };
        let Some(message) = message else {
            self.stream = None;
            self.pause();
            return Ok(None);
        };
        self.backoff.reset();
        match message.message {
            Some(Message::Data(data)) => Ok(Some(Event::Data(data))),
            Some(Message::Heartbeat(heartbeat)) => Ok(Some(Event::Heartbeat(heartbeat.partitions))),
            Some(Message::Draining(draining)) => {
                tracing::info!("the broker is about to stop; connecting again");
                self.stream = None;
                let pause_ms = u64::try_from(draining.reconnect_after_ms).unwrap_or(0);
                self.open_at = Instant::now() + Duration::from_millis(pause_ms);
                Ok(None)
            }
            None => Err(Error::protocol("a subscription holds an empty message")),
        }
    }

    fn pause(&mut self) {
        self.open_at = Instant::now() + self.backoff.next_pause();
    }

    fn request(&self, readings: &[Reading]) -> v1::SubscribeRequest {
        let mut subscriptions: Vec<v1::Subscription> = Vec::new();
        for reading in readings.iter().filter(|reading| reading.is_wanted()) {
            let offset = v1::position::Position::Offset(wire_offset(reading.position));
            let place = v1::PartitionPosition {
                partition: partition_number(reading.partition),
                position: Some(v1::Position {
                    position: Some(offset),
                }),
            };
            match subscriptions.last_mut() {
                Some(last) if *last.topic == *reading.full_name => last.partitions.push(place),
                _ => subscriptions.push(v1::Subscription {
                    topic: reading.full_name.to_string(),
                    start: None,
                    partitions: vec![place],
                }),
            }
        }
        let heartbeat = HEARTBEAT_MAX.min(self.transport.request_timeout() / HEARTBEATS_MISSED);
        v1::SubscribeRequest {
            subscriptions,
            heartbeat_interval_ms: heartbeat.as_millis() as i32,
            until_latest: self.until_latest,
            encoding: v1::Encoding::Batches.into(),
            max_bytes: i32::try_from(self.message_bytes_max).unwrap_or(i32::MAX),
            ..v1::SubscribeRequest::default()
        }
    }
}
