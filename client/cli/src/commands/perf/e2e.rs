//! `headwater perf e2e`.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use headwater_client::{Consumer, Position};

use super::load::{Limit, Pace, Values, histogram, note, send};
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
  headwater perf e2e --rate 20k --linger 2ms --record-size 200")]
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
            let consumer = client.consumer().topic(&topic.name, Position::Latest);
            let mut consumer = consumer.build().await.map_err(failed)?;
            let origin = Instant::now();
            let size = usize::try_from(args.record.record_size).unwrap_or(usize::MAX);
            let mut run = 0;
            let mut load = async |limit: Limit| {
                run += 1;
                let (run, values) = (run, Values::new(size));
                let value = move |i, due| values.stamped(i, Stamp { run, due, origin }.bytes());
                let pace = Pace {
                    per_second: Some(args.rate),
                    in_flight: None,
                };
                let sending = send(&producer, &topic.name, pace, limit, value);
                meet(sending, &mut consumer, run, origin).await
            };
            load(Limit::Time(args.span.warm_up)).await?;
            let (records, latency, elapsed) = load(args.span.limit()).await?;
            let report = Report {
                rate_target: Some(args.rate),
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

/// What a value begins with: which run, and when the record was due.
struct Stamp {
    run: u64,
    due: Instant,
    origin: Instant,
}

impl Stamp {
    fn bytes(&self) -> [u8; 16] {
        let nanos = self.due.saturating_duration_since(self.origin).as_nanos() as u64;
        ((u128::from(self.run) << 64) | u128::from(nanos)).to_be_bytes()
    }

    /// When the record was due, if it is of that run.
    fn due(value: &[u8], run: u64, origin: Instant) -> Option<Instant> {
        let bytes: [u8; 16] = value.get(..16)?.try_into().ok()?;
        let stamp = u128::from_be_bytes(bytes);
        let nanos = stamp as u64;
        ((stamp >> 64) as u64 == run).then(|| origin + Duration::from_nanos(nanos))
    }
}

/// Reads while the load is sent, until every record of it was read back.
async fn meet(
    sending: impl Future<Output = Outcome<super::load::Measured>>,
    consumer: &mut Consumer,
    run: u64,
    origin: Instant,
) -> Outcome<(u64, Histogram<u64>, Duration)> {
    tokio::pin!(sending);
    let started = Instant::now();
    let mut latency = histogram();
    let mut sent = None;
    let mut give_up = tokio::time::Instant::now();
    while sent.is_none_or(|sent| latency.len() < sent) {
        tokio::select! {
            measured = &mut sending, if sent.is_none() => {
                sent = Some(measured?.records);
                give_up = tokio::time::Instant::now() + PATIENCE;
            }
            batch = consumer.next_batch() => {
                let now = Instant::now();
                let batch = batch.map_err(failed)?;
                let records = batch.iter().flat_map(|batch| &batch.records);
                for value in records.filter_map(|record| record.value.as_deref()) {
                    if let Some(due) = Stamp::due(value, run, origin) {
                        note(&mut latency, now.saturating_duration_since(due));
                    }
                }
            }
            () = tokio::time::sleep_until(give_up), if sent.is_some() => {
                let (read, sent) = (latency.len(), sent.unwrap_or_default());
                return Err(Failure::new("not every record came back")
                    .why(format!("{} of {} were read", show_count(read), show_count(sent)))
                    .fix("run `headwater cluster health`")
                    .exit(Exit::Partial));
            }
        }
    }
    Ok((latency.len(), latency, started.elapsed()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_tells_its_run_and_when_it_was_due() {
        let origin = Instant::now();
        let due = origin + Duration::from_nanos(123_456_789);
        let bytes = Stamp {
            run: 2,
            due,
            origin,
        }
        .bytes();
        assert_eq!(Stamp::due(&bytes, 2, origin), Some(due));
        assert_eq!(Stamp::due(&bytes, 1, origin), None);
        assert_eq!(Stamp::due(b"short", 2, origin), None);
    }
}
