//! `headwater perf produce`.

use super::load::{Limit, Pace, Values, send};
use super::report::{Latency, Report};
use super::topic::PerfTopic;
use super::{RecordArgs, ReportFormat, SpanArgs, TopicArgs, failed};
use crate::failure::Outcome;
use crate::session::Session;
use crate::units::{parse_count, show_bytes, show_duration};

const EXAMPLES: &str = "\
Examples:
  headwater perf produce                                  as fast as possible for ten seconds
  headwater perf produce --rate 10k --duration 1m         latency at 10,000 records a second
  headwater perf produce --in-flight 1 --partitions 1     one record at a time
  headwater perf produce --topic orders --count 100k -o json";

/// Send records
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    topic: TopicArgs,
    #[command(flatten)]
    record: RecordArgs,
    #[command(flatten)]
    span: SpanArgs,
    /// Records a second, open loop [default: as fast as possible]
    #[arg(long, value_name = "N", value_parser = rate)]
    rate: Option<u64>,
    /// Records without acknowledgement at most; 1 sends one at a time
    #[arg(long, value_name = "N", value_parser = in_flight)]
    in_flight: Option<usize>,
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

/// A rate of at least one.
pub(super) fn rate(text: &str) -> Result<u64, String> {
    match parse_count(text)? {
        0 => Err("a rate of 0 would never send anything".to_owned()),
        rate => Ok(rate),
    }
}

fn in_flight(text: &str) -> Result<usize, String> {
    match parse_count(text)? {
        count @ 1..=1_000_000 => Ok(count as usize),
        _ => Err("it must be between 1 and 1,000,000".to_owned()),
    }
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
            let pace = Pace {
                per_second: args.rate,
                in_flight: args.in_flight,
            };
            let size = usize::try_from(args.record.record_size).unwrap_or(usize::MAX);
            let load = async |limit: Limit| {
                let values = Values::new(size);
                send(&producer, &topic.name, pace, limit, move |i, _| {
                    values.plain(i)
                })
                .await
            };
            load(Limit::Time(args.span.warm_up)).await?;
            let measured = load(args.span.limit()).await?;
            let report = Report {
                in_flight_max: args.in_flight,
                rate_target: args.rate,
                latency_us: Latency::of(&measured.latency),
                ..empty("produce", topic, &args.record)
            };
            let bytes = measured.records * args.record.record_size;
            Ok(report.rates(measured.records, bytes, measured.elapsed))
        })
        .await?;
    if report.fell_behind() {
        session.talk.note(
            "the load fell behind its rate: latencies count from when records were due, so they \
             grow for as long as it lasts; lower --rate to see what can be sustained",
        );
    }
    report.print(args.output)
}

/// A report without figures.
pub(super) fn empty(kind: &'static str, topic: &PerfTopic, record: &RecordArgs) -> Report {
    let acks = format!("{:?}", record.acks).to_lowercase();
    let compression = format!("{:?}", record.compression).to_lowercase();
    let batch = show_bytes(record.batch_size);
    let linger = show_duration(record.linger);
    Report {
        kind,
        topic: topic.name.clone(),
        partitions: topic.partitions,
        record_bytes: record.record_size,
        rate_target: None,
        in_flight_max: None,
        readers: None,
        setup: format!(
            "acks {acks}, compression {compression}, batches to {batch}, linger {linger}"
        ),
        records: 0,
        bytes: 0,
        elapsed_s: 0.0,
        records_per_s: 0.0,
        mib_per_s: 0.0,
        latency_us: None,
    }
}
