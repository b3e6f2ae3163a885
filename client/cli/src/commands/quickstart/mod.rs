//! `headwater quickstart`: a broker in this process, a topic, 842 real flights in and out again.

mod broker;
mod flights;

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use headwater_client::types::{Topic, TopicConfig};
use headwater_client::{Admin, Client, ConsumerRecord, Error, ProducerConfig};

use self::broker::LocalBroker;
use self::flights::{ReadBack, SAMPLE, show};
use super::produce::send::{Defaults, Sender};
use crate::failure::{Failure, Outcome};
use crate::output::line;
use crate::position::From;
use crate::records::lines::Source;
use crate::records::parse::LineFormat;
use crate::records::read::{ReadPlan, Sink, read};
use crate::session::Session;
use crate::units::{show_count, show_duration, show_many};

/// The topic.
const TOPIC: &str = "flights";

/// Partitions of the topic.
const PARTITIONS: u32 = 6;

/// Commands to try next, and what they do.
const NEXT: [(&str, &str); 5] = [
    (
        "consume flights --from @2013-01-01T12:00-05:00 -o json",
        "everything from 12:00 on",
    ),
    ("tail flights", "the newest ten, then whatever comes"),
    (
        "produce flights -k N730MQ <<< 'hello'",
        "a record to the partition of that key",
    ),
    ("topic describe flights", "partitions, offsets, settings"),
    ("perf e2e", "latency from producer to consumer"),
];

/// Start a broker here, put 842 real flights in, read them back, keep serving
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The flights left New York on 2013-01-01. The data directory is kept: a second quickstart finds the
topic there and loads nothing twice. Remove the directory to start afresh.")]
pub(crate) struct Args {
    /// Data directory of the broker
    #[arg(long, default_value = "headwater-data")]
    dir: PathBuf,
    /// Address for clients; port 0 takes a free one
    #[arg(long, value_name = "HOST:PORT", default_value = broker::LISTEN_DEFAULT)]
    listen: String,
    /// Address for metrics and health [default: 127.0.0.1:7680, with --listen a free port]
    #[arg(long, value_name = "HOST:PORT")]
    http: Option<String>,
    /// Stop when everything was shown
    #[arg(long)]
    once: bool,
}

/// Runs it.
pub(crate) async fn run(args: Args, session: &Session) -> Outcome {
    let started = Instant::now();
    let stop = broker::stop_signal();
    tokio::pin!(stop);
    let broker = LocalBroker::start(&args.dir, &args.listen, args.http.as_deref()).await?;
    let page = Page {
        session,
        endpoint: broker.endpoint(),
    };
    page.step("broker", started, &format!("listens on {}", page.endpoint))?;
    page.more(&format!("data in {}", args.dir.display()))?;
    let outcome = tokio::select! {
        outcome = tour(&page) => outcome.map(|()| false),
        () = &mut stop => Ok(true),
    };
    if let Ok(false) = outcome
        && !args.once
    {
        page.next_commands()?;
        let failed = tokio::select! {
            () = &mut stop => None,
            failure = broker.failed() => Some(failure),
        };
        if let Some(failure) = failed {
            return Err(failure);
        }
        line("")?;
    }
    let stopping = Instant::now();
    let stopped = broker.stop().await;
    outcome?;
    stopped?;
    page.step(
        "stopped",
        stopping,
        &format!("the data stays in {}", args.dir.display()),
    )
}

/// What the user sees.
struct Page<'a> {
    session: &'a Session,
    endpoint: String,
}

impl Page<'_> {
    /// A step that was done, and how long it took.
    fn step(&self, name: &str, since: Instant, what: &str) -> Outcome {
        let took = show_duration(since.elapsed());
        self.title(
            name,
            &format!("{what}  {}", self.session.talk.out.dim(took)),
        )
    }

    /// Something that a step showed.
    fn title(&self, name: &str, what: &str) -> Outcome {
        let paint = self.session.talk.out;
        let name = paint.bold(format_args!("{name:10}"));
        line(&format!("{} {name} {what}", paint.green("✓")))
    }

    /// More about the last step.
    fn more(&self, text: &str) -> Outcome {
        line(&format!("             {text}"))
    }

    fn next_commands(&self) -> Outcome {
        let paint = self.session.talk.out;
        // As this very program was called, so that the lines can be pasted.
        let program = std::env::args()
            .next()
            .unwrap_or_else(|| "headwater".to_owned());
        line(&format!(
            "\n{} in another terminal:\n",
            paint.bold("Try next")
        ))?;
        if self.endpoint != broker::LISTEN_DEFAULT {
            let export = format!(
                "export {}={}",
                headwater_client::ENDPOINT_ENV,
                self.endpoint
            );
            line(&format!("  {}", paint.cyan(export)))?;
        }
        for (command, about) in NEXT {
            let command = format!("{program} {command}");
            line(&format!("  {}", paint.dim(format_args!("# {about}"))))?;
            line(&format!("  {}", paint.cyan(command)))?;
        }
        line(&format!(
            "\nServing on {} until Ctrl-C.",
            paint.bold(&self.endpoint)
        ))
    }
}

/// Loads the sample and reads it back in four ways.
async fn tour(page: &Page<'_>) -> Outcome {
    let config = page.session.client_config(&page.endpoint);
    let client = Client::connect(config)
        .await
        .map_err(failed("connect to the new broker"))?;
    let admin = client.admin();
    let before = topic(page, &admin).await?;
    if before == 0 {
        load(page, &client).await?;
    }
    read_all(page, &client).await?;
    read_from_noon(page, &client).await?;
    read_last(page, &client).await
}

/// Makes sure of the topic; says how many records it holds.
async fn topic(page: &Page<'_>, admin: &Admin) -> Outcome<u64> {
    let since = Instant::now();
    match admin
        .create_topic(TOPIC, PARTITIONS, TopicConfig::default(), false)
        .await
    {
        Ok(Topic {
            name, partitions, ..
        }) => {
            page.step(
                "topic",
                since,
                &format!("{name} created with {partitions} partitions"),
            )?;
            Ok(0)
        }
        Err(error) if Failure::topic_exists(&error) => {
            let partitions = admin
                .list_partitions(TOPIC)
                .await
                .map_err(failed("find the topic"))?;
            let held =
                |p: &headwater_client::types::Partition| p.high_watermark - p.log_start_offset;
            let held = u64::try_from(partitions.iter().map(held).sum::<i64>()).unwrap_or(0);
            let what = format!(
                "{TOPIC} is there already, with {} records",
                show_count(held)
            );
            page.step("topic", since, &what)?;
            if held > 0 {
                page.more("nothing is loaded twice; remove the data directory to start afresh")?;
            }
            Ok(held)
        }
        Err(error) => Err(failed("create the topic")(error)),
    }
}

async fn load(page: &Page<'_>, client: &Client) -> Outcome {
    let since = Instant::now();
    let producer = client
        .producer(ProducerConfig::new())
        .map_err(failed("send the flights"))?;
    let defaults = Defaults {
        topic: TOPIC.into(),
        partition: None,
        key: None,
        headers: Vec::new(),
    };
    let bar = indicatif::ProgressBar::hidden();
    let mut sender = Sender::new(producer, defaults, None, bar);
    let mut records = Source::text("the sample", SAMPLE).start(LineFormat::Ndjson, None);
    sender.pump(&mut records).await?;
    let sent = sender.settle(page.session.timeout).await;
    if let Some(error) = sent.error {
        return Err(failed("send the flights")(error));
    }
    let what = format!(
        "{} flights of 2013-01-01 stored and synced, keyed by tail number",
        show_count(sent.acked)
    );
    page.step("produce", since, &what)?;
    let counts: Vec<_> = (0..PARTITIONS)
        .map(|partition| {
            sent.partitions
                .get(&partition)
                .copied()
                .unwrap_or(0)
                .to_string()
        })
        .collect();
    page.more(&format!("per partition: {}", counts.join(", ")))
}

async fn read_all(page: &Page<'_>, client: &Client) -> Outcome {
    let since = Instant::now();
    let mut back = ReadBack::default();
    read(client, &plan(From::Begin), &mut back).await?;
    let verdict = back.verdict()?;
    page.step("consume", since, &verdict.summary)?;
    if let Some(note) = verdict.note {
        page.more(&page.session.talk.out.yellow(note))?;
    }
    let Some(key) = verdict.key else {
        return Ok(());
    };
    page.title("one key", &key.summary)?;
    for record in &key.records {
        page.more(&show(record))?;
    }
    Ok(())
}

async fn read_from_noon(page: &Page<'_>, client: &Client) -> Outcome {
    let since = Instant::now();
    let noon_ms = flights::NOON_MS;
    let mut later = Later {
        from_ms: noon_ms,
        count: 0,
        first: None,
    };
    read(client, &plan(From::Time(noon_ms)), &mut later).await?;
    let what = format!(
        "{} from 12:00 (New York) on, found by timestamp",
        show_many(later.count, "record")
    );
    page.step("by time", since, &what)?;
    match later.first {
        Some(first) => page.more(&show(&first)),
        None => Ok(()),
    }
}

async fn read_last(page: &Page<'_>, client: &Client) -> Outcome {
    let since = Instant::now();
    let mut last = Kept::default();
    read(client, &plan(From::Last(5)), &mut last).await?;
    page.step("the last 5", since, "by timestamp, over all partitions")?;
    for record in &last.records {
        page.more(&show(record))?;
    }
    Ok(())
}

fn plan(from: From) -> ReadPlan {
    ReadPlan {
        topics: vec![TOPIC.to_owned()],
        partitions: Vec::new(),
        from,
        until: None,
        follow: false,
    }
}

/// Counts the records of a time and later. Reading by time starts each partition at the first of
/// them; behind it, older ones may stand among them.
struct Later {
    from_ms: i64,
    count: u64,
    first: Option<ConsumerRecord>,
}

impl Sink for Later {
    fn record(&mut self, record: &ConsumerRecord) -> Outcome<ControlFlow<()>> {
        if record.timestamp_ms >= self.from_ms {
            self.count += 1;
            if self
                .first
                .as_ref()
                .is_none_or(|first| record.timestamp_ms < first.timestamp_ms)
            {
                self.first = Some(record.clone());
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn pause(&mut self) -> Outcome {
        Ok(())
    }
}

/// Keeps what was read, which is little.
#[derive(Default)]
struct Kept {
    records: Vec<ConsumerRecord>,
}

impl Sink for Kept {
    fn record(&mut self, record: &ConsumerRecord) -> Outcome<ControlFlow<()>> {
        self.records.push(record.clone());
        Ok(ControlFlow::Continue(()))
    }

    fn pause(&mut self) -> Outcome {
        Ok(())
    }
}

fn failed(doing: &str) -> impl Fn(Error) -> Failure {
    move |error| Failure::from_client(doing, &error)
}

/// A graceful stop that takes longer is not waited for.
const STOP_MAX: Duration = Duration::from_secs(15);
