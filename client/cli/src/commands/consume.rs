//! `headwater consume` and `headwater tail`.

use std::io::{IsTerminal, Write};
use std::ops::ControlFlow;
use std::time::Instant;

use headwater_client::ConsumerRecord;

use crate::failure::{Exit, Failure, Outcome};
use crate::position::{From, Until};
use crate::records::read::{ReadPlan, Sink, read};
use crate::records::render::{RecordFormat, Renderer};
use crate::session::Session;
use crate::units::{parse_count, show_bytes, show_duration, show_many};

/// Lines are gathered up to this size while more records are at hand.
const OUTPUT_BYTES: usize = 256 << 10;

const EXAMPLES: &str = "\
Examples:
  headwater consume orders                        everything that is there now
  headwater consume orders -f --from end          what comes from now on
  headwater consume orders --from -5              the newest five
  headwater consume orders --from @-1h            the last hour
  headwater consume orders --from @2013-01-01T12:00-05:00 --until @2013-01-02
  headwater consume orders -p 3 --from 100 --until 200
  headwater consume orders -o template='{key}\\t{offset}'
  headwater consume orders -o ndjson > orders.ndjson   (produce --format ndjson takes it back)

Templates: {topic} {partition} {offset} {key} {value} {time} {timestamp_ms} {headers}
{header:NAME}, and \\n \\t \\0 \\\\ {{ }}.";

/// Read records to stdout
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// `name` or `namespace/name`; several may be given
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,
    /// Wait for new records instead of ending at what is there now
    #[arg(short, long)]
    follow: bool,
    /// Where to start: begin, end, -N (the newest N), @TIME, or an offset
    #[arg(
        long,
        value_name = "PLACE",
        default_value = "begin",
        allow_hyphen_values = true
    )]
    from: From,
    /// Where to end: end, @TIME, or an offset; what stands there is not read
    #[arg(long, value_name = "PLACE", allow_hyphen_values = true)]
    until: Option<Until>,
    /// Only these partitions; may be repeated
    #[arg(short, long = "partition", value_name = "N")]
    partitions: Vec<u32>,
    /// Stop after so many records
    #[arg(long, value_name = "N", value_parser = parse_count)]
    max: Option<u64>,
    /// Form of a record: text (its value), pretty, json, ndjson, template=…
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    output: RecordFormat,
}

/// Show the newest records and wait for more
#[derive(Debug, clap::Args)]
pub(crate) struct TailArgs {
    /// `name` or `namespace/name`; several may be given
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,
    /// Where to start: -N (the newest N), begin, end, @TIME, or an offset
    #[arg(
        long,
        value_name = "PLACE",
        default_value = "-10",
        allow_hyphen_values = true
    )]
    from: From,
    /// Only these partitions; may be repeated
    #[arg(short, long = "partition", value_name = "N")]
    partitions: Vec<u32>,
    /// Stop after so many records
    #[arg(long, value_name = "N", value_parser = parse_count)]
    max: Option<u64>,
    /// Form of a record: pretty, text, json, ndjson, template=…
    #[arg(short, long, value_name = "FORMAT", default_value = "pretty")]
    output: RecordFormat,
}

/// Runs `consume`.
pub(crate) async fn run(args: Args, session: &Session) -> Outcome {
    let follow = args.follow;
    let (outcome, shown) = consume(args, session).await?;
    if outcome.is_ok() && shown.records == 0 && !follow && std::io::stdout().is_terminal() {
        session.talk.note("no records there; -f waits for new ones");
    }
    if session.verbose > 0 {
        session.talk.note(shown.summary());
    }
    outcome
}

/// Runs `tail`.
pub(crate) async fn tail(args: TailArgs, session: &Session) -> Outcome {
    let args = Args {
        topics: args.topics,
        follow: true,
        from: args.from,
        until: None,
        partitions: args.partitions,
        max: args.max,
        output: args.output,
    };
    let (outcome, shown) = consume(args, session).await?;
    session.talk.note(session.talk.err.dim(shown.summary()));
    outcome
}

async fn consume(args: Args, session: &Session) -> Outcome<(Outcome, Shown)> {
    let (client, target) = session.connect("read records").await?;
    let plan = ReadPlan {
        topics: args
            .topics
            .iter()
            .map(|topic| target.topic(topic))
            .collect(),
        partitions: args.partitions,
        from: args.from,
        until: args.until,
        follow: args.follow,
    };
    let renderer = Renderer::new(args.output, session.talk.out, plan.topics.len() > 1);
    let mut shown = Shown {
        renderer,
        buffer: Vec::with_capacity(OUTPUT_BYTES + (64 << 10)),
        left: args.max.unwrap_or(u64::MAX),
        records: 0,
        bytes: 0,
        started: Instant::now(),
    };
    if shown.left == 0 {
        return Ok((Ok(()), shown));
    }
    let outcome = tokio::select! {
        outcome = read(&client, &plan, &mut shown) => outcome,
        _ = tokio::signal::ctrl_c() => Err(Failure::new("interrupted").exit(Exit::Interrupt)),
    };
    // What was read before a failure or Ctrl-C is shown all the same.
    let flushed = shown.pause();
    Ok((outcome.and(flushed), shown))
}

/// Shows records on stdout.
struct Shown {
    renderer: Renderer,
    buffer: Vec<u8>,
    left: u64,
    records: u64,
    bytes: u64,
    started: Instant,
}

impl Shown {
    fn summary(&self) -> String {
        let (records, bytes) = (show_many(self.records, "record"), show_bytes(self.bytes));
        format!(
            "{records}, {bytes}, {}",
            show_duration(self.started.elapsed())
        )
    }
}

impl Sink for Shown {
    fn record(&mut self, record: &ConsumerRecord) -> Outcome<ControlFlow<()>> {
        self.renderer.render(&mut self.buffer, record);
        self.records += 1;
        self.left -= 1;
        if self.buffer.len() >= OUTPUT_BYTES {
            self.pause()?;
        }
        Ok(if self.left == 0 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        })
    }

    fn pause(&mut self) -> Outcome {
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.bytes += self.buffer.len() as u64;
        let mut out = std::io::stdout().lock();
        let written = out.write_all(&self.buffer).and_then(|()| out.flush());
        self.buffer.clear();
        Ok(written?)
    }
}
