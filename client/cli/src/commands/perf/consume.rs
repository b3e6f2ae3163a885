//! `headwater perf consume`.

use std::time::Instant;

use headwater_client::{Client, Position};

use super::load::{Limit, Pace, Values, send};
use super::produce::empty;
use super::report::Report;
use super::topic::PerfTopic;
use super::{RecordArgs, ReportFormat, TopicArgs, failed};
use crate::failure::Outcome;
use crate::session::Session;
use crate::units::{parse_count, show_count};

/// Read records as fast as possible
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Without --topic, --count records are written first. With it, everything that is there is read.

Examples:
  headwater perf consume --count 1M
  headwater perf consume --topic orders --raw -o json")]
pub(crate) struct Args {
    #[command(flatten)]
    topic: TopicArgs,
    #[command(flatten)]
    record: RecordArgs,
    /// Records to write first, without --topic
    #[arg(long, value_name = "N", default_value = "200k", value_parser = parse_count)]
    count: u64,
    /// Take the batches as stored, without opening them
    #[arg(long)]
    raw: bool,
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
            if args.topic.topic.is_none() {
                fill(&args, &client, topic, session).await?;
            }
            let consumer = client.consumer().topic(&topic.name, Position::Earliest);
            let started = Instant::now();
            let mut consumer = consumer.until_latest(true).build().await.map_err(failed)?;
            let (mut records, mut bytes) = (0, 0);
            if args.raw {
                while let Some(raw) = consumer.next_raw().await.map_err(failed)? {
                    for batch in &raw.batches {
                        records += u64::from(batch.header().record_count);
                        bytes += batch.bytes().len() as u64;
                    }
                }
            } else {
                while let Some(batch) = consumer.next_batch().await.map_err(failed)? {
                    records += batch.records.len() as u64;
                    let size = |bytes: &Option<bytes::Bytes>| bytes.as_ref().map_or(0, |b| b.len());
                    let sizes = batch.records.iter().map(|r| size(&r.key) + size(&r.value));
                    bytes += sizes.sum::<usize>() as u64;
                }
            }
            let elapsed = started.elapsed();
            let opened = if args.raw {
                "batches as stored"
            } else {
                "records opened"
            };
            let report = Report {
                setup: opened.to_owned(),
                record_bytes: bytes.checked_div(records).unwrap_or(0),
                ..empty("consume", topic, &args.record)
            };
            Ok(report.rates(records, bytes, elapsed))
        })
        .await?;
    report.print(args.output)
}

async fn fill(args: &Args, client: &Client, topic: &PerfTopic, session: &Session) -> Outcome {
    session
        .talk
        .note(format!("writing {} records first", show_count(args.count)));
    let producer = client
        .producer(args.record.producer_config())
        .map_err(failed)?;
    let values = Values::new(usize::try_from(args.record.record_size).unwrap_or(usize::MAX));
    let pace = Pace {
        per_second: None,
        in_flight: None,
    };
    let limit = Limit::Count(args.count);
    send(&producer, &topic.name, pace, limit, move |i, _| {
        values.plain(i)
    })
    .await?;
    Ok(())
}
