//! Sends parsed records at a rate, and counts what became of each.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use headwater_client::{Delivery, Error, Header, Producer, ProducerRecord, RecordMetadata};
use indicatif::ProgressBar;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::failure::Outcome;
use crate::records::lines::Handover;
use crate::records::parse::ParsedRecord;

/// Deliveries that are remembered at most; the producer's own buffer bounds their bytes.
const DELIVERIES_MAX: usize = 1 << 17;

/// What a record has that does not say otherwise.
pub(crate) struct Defaults {
    /// The topic.
    pub(crate) topic: Arc<str>,
    /// `None` is by key.
    pub(crate) partition: Option<u32>,
    /// For records without one.
    pub(crate) key: Option<Bytes>,
    /// Come before the record's own.
    pub(crate) headers: Vec<Header>,
}

/// Sends and counts.
pub(crate) struct Sender {
    producer: Producer,
    defaults: Defaults,
    per_second: Option<u64>,
    bar: ProgressBar,
    started: Instant,
    handed_over: u64,
    deliveries: VecDeque<Delivery>,
    sent: Sent,
}

/// What became of the records.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    /// Stored, as far as the chosen acks tell.
    pub(crate) acked: u64,
    /// Of the lines.
    pub(crate) bytes: u64,
    /// Stored records by partition.
    pub(crate) partitions: BTreeMap<u32, u64>,
    /// The first failure.
    pub(crate) error: Option<Error>,
    /// From the start to the last outcome.
    pub(crate) elapsed: Duration,
}

impl Sent {
    /// Stored records a second.
    pub(crate) fn per_second(&self) -> u64 {
        (self.acked as f64 / self.elapsed.as_secs_f64().max(1e-6)) as u64
    }
}

impl Sender {
    /// `bar` counts bytes if it has a length, else records.
    pub(crate) fn new(
        producer: Producer,
        defaults: Defaults,
        per_second: Option<u64>,
        bar: ProgressBar,
    ) -> Sender {
        Sender {
            producer,
            defaults,
            per_second,
            bar,
            started: Instant::now(),
            handed_over: 0,
            deliveries: VecDeque::new(),
            sent: Sent::default(),
        }
    }

    /// Sends until the records end, one cannot be read, or one cannot be stored. May be dropped
    /// in the middle; [`Sender::settle`] then counts what was handed over.
    pub(crate) async fn pump(
        &mut self,
        handovers: &mut mpsc::Receiver<Outcome<Handover>>,
    ) -> Outcome {
        while self.sent.error.is_none() {
            let handover = tokio::select! {
                biased;
                handover = handovers.recv() => handover,
                outcome = async { self.deliveries.front_mut().expect("not empty").await },
                    if !self.deliveries.is_empty() =>
                {
                    self.deliveries.pop_front();
                    self.sent.count(outcome);
                    continue;
                }
            };
            let Some(handover) = handover else {
                return Ok(());
            };
            let handover = handover?;
            let records = handover.records.len() as u64;
            for record in handover.records {
                self.send(record).await;
                if self.sent.error.is_some() {
                    return Ok(());
                }
            }
            self.sent.bytes += handover.bytes;
            self.bar.inc(if self.bar.length().is_some() {
                handover.bytes
            } else {
                records
            });
        }
        Ok(())
    }

    /// Waits for what is on its way, at most `patience` without any outcome, and says what became
    /// of everything.
    pub(crate) async fn settle(mut self, patience: Duration) -> Sent {
        while let Some(mut delivery) = self.deliveries.pop_front() {
            let outcome = tokio::time::timeout(patience, &mut delivery).await;
            // Of others that are unknown the broker has said so: what comes after them may still be told.
            let nobody_answers = outcome.is_err();
            self.sent
                .count(outcome.unwrap_or(Err(Error::OutcomeUnknown {
                    topic: self.defaults.topic.to_string(),
                    partition: self.defaults.partition.unwrap_or(0),
                    records: u32::try_from(self.deliveries.len() + 1).unwrap_or(u32::MAX),
                    cause: format!("no answer within {patience:?}"),
                })));
            if nobody_answers {
                break;
            }
        }
        self.sent.elapsed = self.started.elapsed();
        self.sent
    }

    async fn send(&mut self, record: ParsedRecord) {
        if let Some(per_second) = self.per_second {
            let due = Duration::from_secs_f64(self.handed_over as f64 / per_second as f64);
            tokio::time::sleep_until(self.started + due).await;
        }
        self.handed_over += 1;
        let mut headers = self.defaults.headers.clone();
        headers.extend(record.headers);
        let record = ProducerRecord {
            topic: self.defaults.topic.clone(),
            partition: self.defaults.partition,
            key: record.key.or_else(|| self.defaults.key.clone()),
            value: record.value,
            headers,
            timestamp_ms: record.timestamp_ms,
        };
        match self.producer.send(record).await {
            Ok(delivery) => self.deliveries.push_back(delivery),
            Err(error) => self.sent.count(Err(error)),
        }
        loop {
            let full = self.deliveries.len() > DELIVERIES_MAX;
            let Some(front) = self.deliveries.front_mut() else {
                break;
            };
            let outcome = match full {
                true => front.await,
                false => match front.now_or_never() {
                    Some(outcome) => outcome,
                    None => break,
                },
            };
            self.deliveries.pop_front();
            self.sent.count(outcome);
        }
    }
}

impl Sent {
    fn count(&mut self, outcome: Result<RecordMetadata, Error>) {
        match outcome {
            Ok(metadata) => {
                self.acked += 1;
                *self.partitions.entry(metadata.partition).or_default() += 1;
            }
            Err(error) => {
                self.error.get_or_insert(error);
            }
        }
    }
}
