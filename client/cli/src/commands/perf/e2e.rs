//! `headwater perf e2e`. Every reader must get every record, once and byte for byte.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hdrhistogram::Histogram;
use headwater_client::{Consumer, Position};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::load::{Limit, Measured, Pace, STAMP_BYTES, Values, histogram, note, send};
use super::produce::{empty, rate};
use super::report::{Latency, Report};
use super::topic::PerfTopic;
use super::{RecordArgs, ReportFormat, SpanArgs, TopicArgs, failed};
use crate::failure::{Exit, Failure, Outcome};
use crate::session::Session;
use crate::units::show_count;

/// Records that are not read back by then, after the last was sent, are lost.
const PATIENCE: Duration = Duration::from_secs(10);

/// Send and read
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  headwater perf e2e                             1,000 records a second for ten seconds
  headwater perf e2e --rate 20k --linger 2ms --record-size 200
  headwater perf e2e --rate 20k --readers 8      fan-out to eight readers")]
pub(crate) struct Args {
    #[command(flatten)]
    topic: TopicArgs,
    #[command(flatten)]
    record: RecordArgs,
    #[command(flatten)]
    span: SpanArgs,
    /// Records a second, open loop
    #[arg(long, value_name = "N", default_value = "1000", value_parser = rate)]
    rate: u64,
    /// Readers, each of which gets every record
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    readers: u16,
    /// Form of the report: text or json
    #[arg(
        short,
        long,
        value_name = "FORMAT",
        default_value = "text",
        hide_possible_values = true
    )]
    output: ReportFormat,
}

/// Runs it.
pub(super) async fn run(args: Args, session: &Session) -> Outcome {
    let (client, target) = session.connect("measure").await?;
    let topic = PerfTopic::open(&args.topic, &client, &target).await?;
    let report = topic
        .during(&client, session, async |topic| {
            let producer = client
                .producer(args.record.producer_config())
                .map_err(failed)?;
            let mut consumers = Vec::new();
            for _ in 0..args.readers {
                let consumer = client.consumer().topic(&topic.name, Position::Latest);
                consumers.push(consumer.build().await.map_err(failed)?);
            }
            let size = usize::try_from(args.record.record_size).unwrap_or(usize::MAX);
            let mut load = async |run: u16, limit: Limit| {
                let load = Load {
                    run,
                    origin: Instant::now(),
                    values: Arc::new(Values::new(size)),
                };
                let values = load.clone();
                let value = move |index, due| values.value(index, due);
                let pace = Pace {
                    per_second: Some(args.rate),
                    in_flight: None,
                };
                let sending = send(&producer, &topic.name, pace, limit, value);
                meet(sending, &mut consumers, load).await
            };
            load(1, Limit::Time(args.span.warm_up)).await?;
            let (records, latency, elapsed) = load(2, args.span.limit()).await?;
            let report = Report {
                rate_target: Some(args.rate),
                readers: Some(args.readers),
                latency_us: Latency::of(&latency),
                ..empty("e2e", topic, &args.record)
            };
            Ok(report.rates(records, records * args.record.record_size, elapsed))
        })
        .await?;
    if report.fell_behind() {
        session
            .talk
            .note("the load fell behind its rate; lower --rate");
    }
    report.print(args.output)
}

/// What is sent in one run, so that a reader can tell whether it got it.
#[derive(Clone)]
struct Load {
    run: u16,
    origin: Instant,
    values: Arc<Values>,
}

/// Bits of a record's number in its stamp; the run is above, the due time below.
const INDEX_BITS: u32 = 48;

impl Load {
    fn value(&self, index: u64, due: Instant) -> Bytes {
        let nanos = due.saturating_duration_since(self.origin).as_nanos() as u64;
        let head = (u64::from(self.run) << INDEX_BITS) | index;
        let stamp = (u128::from(head) << 64) | u128::from(nanos);
        self.values.stamped(index, stamp.to_be_bytes())
    }

    /// Number and due time, if the value is of this run; whether it is as it was sent is for
    /// [`is_whole`](Load::is_whole) to say.
    fn stamp(&self, value: &[u8]) -> Option<(u64, Instant)> {
        let bytes: [u8; STAMP_BYTES] = value.get(..STAMP_BYTES)?.try_into().ok()?;
        let stamp = u128::from_be_bytes(bytes);
        let (head, nanos) = ((stamp >> 64) as u64, stamp as u64);
        let index = head & ((1 << INDEX_BITS) - 1);
        (head >> INDEX_BITS == u64::from(self.run))
            .then(|| (index, self.origin + Duration::from_nanos(nanos)))
    }

    fn is_whole(&self, index: u64, value: &[u8]) -> bool {
        let sent = self.values.plain(index);
        value.get(STAMP_BYTES..) == Some(sent.get(STAMP_BYTES..).unwrap_or_default())
    }
}

/// Reads while the load is sent, until every reader has every record of it.
async fn meet(
    sending: impl Future<Output = Outcome<Measured>>,
    consumers: &mut Vec<Consumer>,
    load: Load,
) -> Outcome<(u64, Histogram<u64>, Duration)> {
    let started = Instant::now();
    let (count, sent) = watch::channel(None);
    // A task each, for they are independent of each other as consumers in the field are.
    let mut readers = JoinSet::new();
    for consumer in consumers.drain(..) {
        readers.spawn(Reader::new(consumer, load.clone()).read(sent.clone()));
    }
    let records = sending.await?.records;
    count.send_replace(Some(records));
    let mut latency = histogram();
    while let Some(reader) = readers.join_next().await {
        let reader = reader
            .map_err(|error| Failure::new("a reader has stopped").why(error.to_string()))??;
        latency
            .add(&reader.latency)
            .expect("all have the same bounds");
        consumers.push(reader.consumer);
    }
    Ok((records, latency, started.elapsed()))
}

/// One consumer, and what it has got of a run.
struct Reader {
    consumer: Consumer,
    load: Load,
    /// By a record's number.
    seen: Vec<bool>,
    latency: Histogram<u64>,
}

impl Reader {
    fn new(consumer: Consumer, load: Load) -> Reader {
        Reader {
            consumer,
            load,
            seen: Vec::new(),
            latency: histogram(),
        }
    }

    /// Reads until it has all that was sent, however many that turn out to be.
    async fn read(mut self, mut sent: watch::Receiver<Option<u64>>) -> Outcome<Reader> {
        let mut give_up = tokio::time::Instant::now();
        let mut wanted = None;
        while wanted.is_none_or(|wanted| self.latency.len() < wanted) {
            tokio::select! {
                changed = sent.changed(), if wanted.is_none() => {
                    changed.map_err(|_| Failure::new("the load has stopped"))?;
                    wanted = *sent.borrow();
                    give_up = tokio::time::Instant::now() + PATIENCE;
                }
                batch = self.consumer.next_batch() => {
                    let now = Instant::now();
                    for record in batch.map_err(failed)?.iter().flat_map(|batch| &batch.records) {
                        self.take(record.value.as_deref().unwrap_or_default(), now)?;
                    }
                }
                () = tokio::time::sleep_until(give_up), if wanted.is_some() => {
                    let (read, sent) = (self.latency.len(), wanted.unwrap_or_default());
                    return Err(Failure::new("not every record came back")
                        .why(format!("{} of {} were read", show_count(read), show_count(sent)))
                        .fix("run `headwater cluster health`")
                        .exit(Exit::Partial));
                }
            }
        }
        Ok(self)
    }

    /// Counts a record, once and only if it is as it was sent.
    fn take(&mut self, value: &[u8], now: Instant) -> Outcome {
        let Some((index, due)) = self.load.stamp(value) else {
            return Ok(());
        };
        let place = usize::try_from(index).unwrap_or(usize::MAX);
        if self.seen.len() <= place {
            self.seen.resize(place + 1, false);
        }
        if std::mem::replace(&mut self.seen[place], true) {
            return Err(Failure::new(format!("record {index} came twice")));
        }
        if !self.load.is_whole(index, value) {
            return Err(Failure::new(format!(
                "record {index} is not as it was sent"
            )));
        }
        note(&mut self.latency, now.saturating_duration_since(due));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(run: u16) -> Load {
        Load {
            run,
            origin: Instant::now(),
            values: Arc::new(Values::new(100)),
        }
    }

    #[test]
    fn a_stamp_tells_its_run_its_number_and_when_it_was_due() {
        let load = load(2);
        let due = load.origin + Duration::from_nanos(123_456_789);
        let value = load.value(7, due);
        assert_eq!(load.stamp(&value), Some((7, due)));
        let other = Load {
            run: 1,
            ..load.clone()
        };
        assert_eq!(other.stamp(&value), None);
        assert_eq!(load.stamp(b"short"), None);
    }

    #[test]
    fn a_value_that_was_changed_is_found_out() {
        let load = load(1);
        let mut value = load.value(7, load.origin).to_vec();
        assert!(load.is_whole(7, &value));
        assert!(!load.is_whole(8, &value));
        value[50] ^= 1;
        assert!(!load.is_whole(7, &value));
    }
}
