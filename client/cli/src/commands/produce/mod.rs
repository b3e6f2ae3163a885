//! `headwater produce`.

pub(crate) mod send;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use clap::ValueEnum;
use headwater_client::{Acks, Header, ProducerConfig};

use self::send::{Defaults, Sender};
use super::topic::CompressionArg;
use crate::failure::{Exit, Failure, Outcome};
use crate::records::lines::Source;
use crate::records::parse::LineFormat;
use crate::session::Session;
use crate::units::{
    parse_bytes, parse_count, parse_duration, show_bytes, show_count, show_duration, show_many,
};

/// The SDK's bound of a record's time on its way.
const DELIVERY_TIMEOUT_MAX: Duration = Duration::from_secs(120);

/// What the SDK may take longer than its delivery timeout to say what became of a record.
const SETTLE_MARGIN: Duration = Duration::from_secs(5);

const EXAMPLES: &str = "\
Examples:
  echo hello | headwater produce greetings
  headwater produce orders -k customer-7 -H source=web < order.txt
  headwater produce orders --key-separator : < lines
  headwater produce flights --file flights.ndjson
  headwater consume flights -o ndjson | headwater produce flights-copy --format ndjson

A line of NDJSON: {\"timestamp_ms\":1357035300000,\"key\":\"N14228\",\"value\":{…},\"headers\":[…]}
Only value is required. An object or array is stored byte for byte as it stands in the line, a
string as its text, null as no value; value_base64 and key_base64 hold any bytes.";

/// Form of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum InputFormat {
    /// A record a line: its value, or key and value with --key-separator
    Text,
    /// A JSON object a line
    Ndjson,
}

/// When a batch is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum AcksArg {
    /// When every in-sync replica has stored it
    All,
    /// When the leader has stored it
    Leader,
    /// At once, before it is stored
    None,
}

impl From<AcksArg> for Acks {
    fn from(acks: AcksArg) -> Acks {
        match acks {
            AcksArg::All => Acks::All,
            AcksArg::Leader => Acks::Leader,
            AcksArg::None => Acks::None,
        }
    }
}

/// Send records from stdin or a file
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// `name` or `namespace/name`
    topic: String,
    /// Read this file instead of stdin
    #[arg(long, value_name = "PATH")]
    file: Option<PathBuf>,
    /// Form of the input: text or ndjson [default: ndjson for files named .ndjson or .jsonl, else text]
    #[arg(long, value_name = "FORMAT", hide_possible_values = true)]
    format: Option<InputFormat>,
    /// What stands between key and value in a line of text
    #[arg(long, value_name = "TEXT")]
    key_separator: Option<String>,
    /// Key of every record that has none of its own
    #[arg(short, long)]
    key: Option<String>,
    /// Header of every record; may be repeated
    #[arg(short = 'H', long = "header", value_name = "NAME=VALUE", value_parser = header)]
    headers: Vec<(String, String)>,
    /// Partition of every record [default: by key]
    #[arg(short, long, value_name = "N")]
    partition: Option<u32>,
    /// When a record counts as sent: all (stored by every in-sync replica), leader or none
    #[arg(long, default_value = "all", hide_possible_values = true)]
    acks: AcksArg,
    /// Codec of the batches: none, gzip, snappy, lz4 or zstd
    #[arg(
        long,
        value_name = "CODEC",
        default_value = "none",
        hide_possible_values = true
    )]
    compression: CompressionArg,
    /// Size of a batch before compression
    #[arg(long, value_name = "SIZE", default_value = "256KiB", value_parser = parse_bytes)]
    batch_size: u64,
    /// How long a batch waits for more records
    #[arg(long, value_name = "TIME", default_value = "0ms", value_parser = parse_duration)]
    linger: std::time::Duration,
    /// Send so many records a second, not more
    #[arg(long, value_name = "N", value_parser = parse_count)]
    rate: Option<u64>,
    /// Stop after so many records
    #[arg(long, value_name = "N", value_parser = parse_count)]
    max: Option<u64>,
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write it as NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

impl Args {
    fn line_format(&self) -> Outcome<LineFormat> {
        let by_name = || {
            let extension = self.file.as_ref().and_then(|path| path.extension());
            match extension.and_then(|extension| extension.to_str()) {
                Some("ndjson" | "jsonl") if self.key_separator.is_none() => InputFormat::Ndjson,
                _ => InputFormat::Text,
            }
        };
        match (self.format.unwrap_or_else(by_name), &self.key_separator) {
            (InputFormat::Ndjson, Some(_)) => {
                Err(Failure::usage("--key-separator is for lines of text")
                    .why("a line of NDJSON has its key in a field of its own")
                    .fix("leave --key-separator or --format ndjson out"))
            }
            (_, Some(separator)) if separator.is_empty() => {
                Err(Failure::usage("--key-separator is empty")
                    .fix("give the text between key and value, such as --key-separator :"))
            }
            (InputFormat::Ndjson, None) => Ok(LineFormat::Ndjson),
            (InputFormat::Text, separator) => Ok(LineFormat::Text {
                key_separator: separator.clone(),
            }),
        }
    }
}

/// Runs it.
pub(crate) async fn run(args: Args, session: &Session) -> Outcome {
    let format = args.line_format()?;
    if args.rate == Some(0) {
        return Err(Failure::usage("--rate 0 would never send anything")
            .fix("leave --rate out to send as fast as possible"));
    }
    let source = match &args.file {
        Some(path) => Source::open(path)?,
        None => Source::stdin(),
    };
    let (client, target) = session.connect("send records").await?;
    let topic = target.topic(&args.topic);
    let doing = format!("send records to {topic}");
    let failed = |error| Failure::from_client(&doing, &error);
    // Told before anything is read.
    client.admin().get_topic(&topic).await.map_err(failed)?;
    let config = ProducerConfig::new()
        .acks(args.acks.into())
        .compression(args.compression.into())
        .batch_bytes_max(usize::try_from(args.batch_size).unwrap_or(usize::MAX))
        .linger(args.linger)
        .delivery_timeout(session.timeout.min(DELIVERY_TIMEOUT_MAX));
    let producer = client.producer(config).map_err(failed)?;
    let header = |(name, value): (String, String)| Header {
        name,
        value: Some(value.into()),
    };
    let defaults = Defaults {
        topic: topic.clone().into(),
        partition: args.partition,
        key: args.key.map(Bytes::from),
        headers: args.headers.into_iter().map(header).collect(),
    };
    if args.file.is_none() && std::io::stdin().is_terminal() {
        session.talk.note("one record a line; Ctrl-D ends");
    }
    let bar = session.talk.progress(source.size_bytes);
    let mut sender = Sender::new(producer, defaults, args.rate, bar.clone());
    let mut handovers = source.start(format, args.max);
    let interrupt = tokio::signal::ctrl_c();
    let (pumped, interrupted) = tokio::select! {
        pumped = sender.pump(&mut handovers) => (pumped, false),
        _ = interrupt => (Ok(()), true),
    };
    let sent = sender.settle(session.timeout + SETTLE_MARGIN).await;
    bar.finish_and_clear();
    if sent.acked > 0 || sent.error.is_none() {
        let done = match args.acks {
            AcksArg::None => "sent to",
            AcksArg::Leader | AcksArg::All => "stored in",
        };
        let (records, bytes) = (show_many(sent.acked, "record"), show_bytes(sent.bytes));
        let (elapsed, rate) = (show_duration(sent.elapsed), show_count(sent.per_second()));
        let note = format!("{records} ({bytes}) {done} {topic} in {elapsed}, {rate}/s");
        session.talk.note(note);
    }
    let failure = match (sent.error, pumped) {
        (Some(error), _) => Failure::from_client(&doing, &error),
        (None, Err(failure)) => failure,
        (None, Ok(())) if interrupted => {
            return Err(Failure::new("interrupted").exit(Exit::Interrupt));
        }
        (None, Ok(())) => return Ok(()),
    };
    match sent.acked {
        0 => Err(failure),
        acked => {
            let why = failure.why.clone().unwrap_or_default();
            let stored = show_many(acked, "record");
            Err(failure
                .why(format!("{why}\nstored all the same: {stored}"))
                .exit(Exit::Partial))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Cli, Command};
    use clap::Parser;

    fn format(args: &[&str]) -> Outcome<LineFormat> {
        let args = ["headwater", "produce", "t"].iter().chain(args);
        match Cli::try_parse_from(args).unwrap().command {
            Command::Produce(args) => args.line_format(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_form_of_the_input_follows_the_files_name_unless_it_is_given() {
        let text = LineFormat::Text {
            key_separator: None,
        };
        assert_eq!(format(&[]).unwrap(), text);
        assert_eq!(format(&["--file", "a.ndjson"]).unwrap(), LineFormat::Ndjson);
        assert_eq!(
            format(&["--file", "a.ndjson", "--format", "text"]).unwrap(),
            text
        );
        assert_eq!(format(&["--format", "ndjson"]).unwrap(), LineFormat::Ndjson);
    }

    #[test]
    fn separators_are_for_text_only() {
        let separated = LineFormat::Text {
            key_separator: Some(":".into()),
        };
        assert_eq!(format(&["--key-separator", ":"]).unwrap(), separated);
        let failure = format(&["--key-separator", ":", "--format", "ndjson"]).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert_eq!(
            format(&["--key-separator", ""]).unwrap_err().exit,
            Exit::Usage
        );
    }

    #[test]
    fn a_header_needs_an_equals_sign() {
        assert_eq!(header("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert!(header("a").is_err());
    }
}
