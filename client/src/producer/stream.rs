//! One produce stream: its credit, and the task that drains its answers.

use std::time::Duration;

use headwater_proto::v1;
use headwater_proto::v1::produce_stream_request::Message as Request;
use headwater_proto::v1::produce_stream_response::Message as Response;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Streaming;

use super::config::Acks;
use crate::backoff::Backoff;
use crate::error::Error;
use crate::task::Task;
use crate::transport::Transport;

/// Answers that are received and not yet handled, at most. They are small and handled at once.
const EVENTS_MAX: usize = 256;

/// What the broker says on a stream.
#[derive(Debug)]
pub(super) enum Event {
    /// Outcomes of batches.
    Acks(v1::ProduceStreamAcks),
    /// The broker is about to stop: finish what is outstanding, then connect again after this.
    Draining(Duration),
    /// The stream has ended.
    Ended(Error),
}

/// An open stream.
#[derive(Debug)]
pub(super) struct ProduceStream {
    /// Unbounded, but never holds more than the credit.
    requests: mpsc::UnboundedSender<v1::ProduceStreamRequest>,
    events: mpsc::Receiver<Event>,
    /// Bytes that may be unacknowledged.
    credit_bytes: i64,
    /// Bytes that are. `outstanding_bytes <= credit_bytes`, or it is a single batch.
    outstanding_bytes: i64,
    /// Set when the broker is about to stop: nothing more is sent.
    draining: Option<Duration>,
    /// Answers have to be taken from the connection as they come, or their small frames use up
    /// h2's budget for unread ones.
    _drain: Task<()>,
}

impl ProduceStream {
    /// Opens a stream, trying again after transient failures, the first time after `pause`.
    pub(super) async fn open(
        transport: Transport,
        acks: Acks,
        pause: Duration,
        mut backoff: Backoff,
    ) -> Result<ProduceStream, Error> {
        let mut pause = pause;
        loop {
            tokio::time::sleep(pause).await;
            match ProduceStream::open_once(&transport, acks).await {
                Err(error) if error.is_transient() => {
                    tracing::debug!(%error, "no produce stream yet");
                    pause = backoff.next_pause();
                }
                result => return result,
            }
        }
    }

    async fn open_once(transport: &Transport, acks: Acks) -> Result<ProduceStream, Error> {
        let (requests, receiver) = mpsc::unbounded_channel();
        let open = v1::ProduceStreamOpen {
            acks: v1::Acks::from(acks).into(),
            ..v1::ProduceStreamOpen::default()
        };
        let open = v1::ProduceStreamRequest {
            message: Some(Request::Open(open)),
        };
        requests.send(open).expect("the receiver is at hand");
        let mut service = transport.producer_service();
        let (mut answers, opened) = transport
            .opening(async {
                let receiver = UnboundedReceiverStream::new(receiver);
                let mut answers = service.produce_stream(receiver).await?.into_inner();
                let opened = answers.message().await?;
                Ok((answers, opened))
            })
            .await?;
        let Some(Response::Opened(opened)) = opened.and_then(|opened| opened.message) else {
            return Err(Error::protocol(
                "a produce stream does not begin with Opened",
            ));
        };
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        let transport = transport.clone();
        let drain = Task::spawn(async move {
            loop {
                let event = next_event(&transport, &mut answers).await;
                let last = matches!(event, Event::Ended(_));
                if sender.send(event).await.is_err() || last {
                    return;
                }
            }
        });
        Ok(ProduceStream {
            requests,
            events,
            credit_bytes: opened.credit_bytes,
            outstanding_bytes: 0,
            draining: None,
            _drain: drain,
        })
    }

    /// What the broker says next.
    pub(super) async fn next_event(&mut self) -> Event {
        match self.events.recv().await {
            Some(event) => event,
            None => Event::Ended(Error::Closed),
        }
    }

    /// The next event if it is there already.
    pub(super) fn try_next_event(&mut self) -> Option<Event> {
        self.events.try_recv().ok()
    }

    /// Whether a batch of so many bytes may be sent now.
    pub(super) fn has_credit(&self, bytes: usize) -> bool {
        let fits = self.outstanding_bytes.saturating_add(wire_size(bytes)) <= self.credit_bytes;
        self.draining.is_none() && (fits || self.outstanding_bytes == 0)
    }

    /// Sends a batch that there is credit for.
    pub(super) fn send(&mut self, batch: v1::ProduceStreamBatch) {
        let bytes = batch.batch.len();
        assert!(self.has_credit(bytes));
        self.outstanding_bytes += wire_size(bytes);
        // If the stream has ended, an event says so and all that is outstanding is sent again.
        let _ = self.requests.send(v1::ProduceStreamRequest {
            message: Some(Request::Batch(batch)),
        });
    }

    /// The broker gives credit back.
    pub(super) fn credit(&mut self, bytes: i64) {
        self.outstanding_bytes = self.outstanding_bytes.saturating_sub(bytes.max(0)).max(0);
    }

    /// The broker is about to stop.
    pub(super) fn drain(&mut self, pause: Duration) {
        self.draining = Some(pause);
    }

    /// Whether, and how long to pause for, everything is answered before the broker stops.
    pub(super) fn drained(&self) -> Option<Duration> {
        self.draining.filter(|_| self.outstanding_bytes == 0)
    }
}

async fn next_event(
    transport: &Transport,
    answers: &mut Streaming<v1::ProduceStreamResponse>,
) -> Event {
    let message = match answers.message().await {
        Ok(Some(answer)) => answer.message,
        Ok(None) => return Event::Ended(Error::protocol("the broker ended the stream")),
        Err(status) => return Event::Ended(transport.error(status)),
    };
    match message {
        Some(Response::Acks(acks)) => Event::Acks(acks),
        Some(Response::Draining(draining)) => {
            let pause_ms = u64::try_from(draining.reconnect_after_ms).unwrap_or(0);
            Event::Draining(Duration::from_millis(pause_ms))
        }
        Some(Response::Opened(_)) | None => Event::Ended(Error::protocol(
            "a produce stream holds neither acks nor draining",
        )),
    }
}

fn wire_size(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

impl From<Acks> for v1::Acks {
    fn from(acks: Acks) -> v1::Acks {
        match acks {
            Acks::None => v1::Acks::None,
            Acks::Leader => v1::Acks::Leader,
            Acks::All => v1::Acks::All,
        }
    }
}
