//! `headwater doctor`: every step between this machine and a stored record.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use headwater_client::types::{Severity, TopicConfig};
use headwater_client::{Client, Error, Position, ProducerConfig, ProducerRecord};
use serde::Serialize;

use crate::failure::{Failure, Outcome};
use crate::output::{Answer, Format, OutputArgs, print};
use crate::place::Place;
use crate::session::Session;
use crate::talk::Paint;
use crate::units::show_duration;

/// Look at every step between this machine and a stored record
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The last steps create a topic of their own with one partition, write a record, read it back and
delete the topic. --read-only leaves them out.")]
pub(crate) struct Args {
    /// Write nothing
    #[arg(long)]
    read_only: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// One step and its outcome.
#[derive(Serialize)]
struct Check {
    step: &'static str,
    ok: bool,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
    took_us: u64,
}

#[derive(Default, Serialize)]
struct Report {
    healthy: bool,
    checks: Vec<Check>,
    #[serde(skip)]
    paint: Option<Paint>,
}

impl Report {
    /// Notes a step; `None` if it failed.
    fn step<T>(
        &mut self,
        step: &'static str,
        since: Instant,
        outcome: Outcome<(T, String)>,
    ) -> Option<T> {
        let took_us = u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX);
        let (value, ok, detail, remedy) = match outcome {
            Ok((value, detail)) => (Some(value), true, detail, None),
            Err(failure) => (
                None,
                false,
                failure.why.unwrap_or(failure.what),
                failure.fix,
            ),
        };
        self.checks.push(Check {
            step,
            ok,
            detail,
            remedy,
            took_us,
        });
        value
    }
}

/// Runs it.
pub(crate) async fn run(args: Args, session: &Session) -> Outcome {
    let paint = matches!(args.output.output, Format::Table).then_some(session.talk.out);
    let mut report = Report {
        paint,
        ..Report::default()
    };
    let done = look(&args, session, &mut report).await;
    report.healthy = done.is_some() && report.checks.iter().all(|check| check.ok);
    print(args.output.output, &report)?;
    match report.checks.iter().find(|check| !check.ok) {
        None => Ok(()),
        Some(check) => Err(Failure::new(format!("step {} failed", check.step))),
    }
}

async fn look(args: &Args, session: &Session, report: &mut Report) -> Option<()> {
    let since = Instant::now();
    let target = session.target().map(|target| {
        let version = env!("CARGO_PKG_VERSION");
        let detail = format!("version {version}, {} from {}", target.place, target.origin);
        (target, detail)
    });
    let target = report.step("client", since, target)?;

    let since = Instant::now();
    let endpoint = session.endpoint(&target.place).await;
    let endpoint = match target.place {
        Place::Endpoint(_) => endpoint.ok()?,
        Place::Kubernetes(_) => {
            let opened = endpoint.map(|endpoint| {
                let detail = format!("{endpoint} leads to a broker's pod");
                (endpoint, detail)
            });
            report.step("tunnel", since, opened)?
        }
    };

    let since = Instant::now();
    let resolved = resolve(&endpoint).await;
    let addresses = report.step("dns", since, resolved)?;

    let since = Instant::now();
    report.step("tcp", since, dial(&addresses, session.timeout).await)?;

    let since = Instant::now();
    let cluster = cluster(session, &endpoint).await;
    let client = report.step("metadata", since, cluster)?;

    let since = Instant::now();
    report.step("health", since, health(&client).await);

    if args.read_only {
        return Some(());
    }
    let topic = format!("doctor-{}", jiff::Timestamp::now().as_microsecond());
    let name = target.topic(&topic);
    let since = Instant::now();
    let created = client
        .admin()
        .create_topic(&name, 1, TopicConfig::default(), false)
        .await;
    let created = created.map(|topic| (topic.topic_id, format!("topic {} created", topic.name)));
    let created = created.map_err(|error| Failure::from_client("create a topic", &error));
    let topic_id = report.step("create", since, created)?;

    let since = Instant::now();
    let produced = report.step("produce", since, produce(&client, &name).await);
    if produced.is_some() {
        let since = Instant::now();
        report.step("fetch", since, fetch(&client, &name, session.timeout).await);
    }
    let since = Instant::now();
    let deleted = client.admin().delete_topic(&name, Some(&topic_id)).await;
    let deleted = deleted.map(|()| ((), "topic deleted".to_owned()));
    let deleted = deleted.map_err(|error| Failure::from_client("delete the topic", &error));
    report.step("clean up", since, deleted)
}

async fn resolve(endpoint: &str) -> Outcome<(Vec<SocketAddr>, String)> {
    let host = endpoint
        .split_once("://")
        .map_or(endpoint, |(_, rest)| rest);
    let host = host.trim_end_matches('/');
    let fix = match host.contains(".svc") {
        true => "is there a Cluster of that name? kubectl get clusters.headwater.dev -A",
        false => "check the name and the port: --endpoint HOST:PORT, such as localhost:7650",
    };
    let found = tokio::net::lookup_host(host).await.map_err(|error| {
        Failure::new("no address")
            .why(format!("{host}: {error}"))
            .fix(fix)
    })?;
    let addresses: Vec<SocketAddr> = found.collect();
    if addresses.is_empty() {
        return Err(Failure::new("no address")
            .why(format!("{host} has no address"))
            .fix(fix));
    }
    let list = addresses
        .iter()
        .map(SocketAddr::to_string)
        .collect::<Vec<_>>()
        .join(", ");
    Ok((addresses, list))
}

async fn dial(addresses: &[SocketAddr], timeout: Duration) -> Outcome<((), String)> {
    let mut faults = Vec::new();
    for address in addresses {
        let dialled = tokio::time::timeout(timeout, tokio::net::TcpStream::connect(address)).await;
        match dialled {
            Ok(Ok(_)) => return Ok(((), format!("{address} answers"))),
            Ok(Err(error)) => faults.push(format!("{address}: {error}")),
            Err(_) => faults.push(format!("{address}: no answer within {timeout:?}")),
        }
    }
    Err(Failure::new("no connection").why(faults.join("\n")).fix(
        "is a broker running there? `headwater quickstart` starts one; else look for a firewall, \
         or a missing `kubectl port-forward`",
    ))
}

async fn cluster(session: &Session, endpoint: &str) -> Outcome<(Client, String)> {
    let fix = "something answers there, but not as a Headwater broker: check the port (clients \
               use 7650)";
    let failed = |error: Error| Failure::from_client("ask the cluster", &error).fix(fix);
    let client = Client::connect(session.client_config(endpoint))
        .await
        .map_err(failed)?;
    let cluster = client.admin().cluster().await.map_err(failed)?;
    let detail = format!(
        "cluster {}, broker {}, version {}",
        cluster.cluster_id, cluster.broker_id, cluster.version
    );
    Ok((client, detail))
}

async fn health(client: &Client) -> Outcome<((), String)> {
    let health = client.admin().health().await;
    let health = health.map_err(|error| Failure::from_client("ask for findings", &error))?;
    match health
        .findings
        .iter()
        .find(|finding| finding.severity() == Severity::Critical)
    {
        Some(finding) => Err(Failure::new("not healthy")
            .why(format!("{}: {}", finding.subject, finding.message))
            .fix(finding.remedy.clone())),
        None if health.findings.is_empty() => Ok(((), "no findings".to_owned())),
        None => {
            let count = health.findings.len();
            Ok((
                (),
                format!("{count} findings, none critical; see `headwater cluster health`"),
            ))
        }
    }
}

async fn produce(client: &Client, topic: &str) -> Outcome<((), String)> {
    let failed = |error: Error| Failure::from_client("produce", &error);
    let producer = client.producer(ProducerConfig::new()).map_err(failed)?;
    let record = ProducerRecord::new(topic, "headwater doctor").partition(0);
    let stored = producer
        .send(record)
        .await
        .map_err(failed)?
        .await
        .map_err(failed)?;
    let offset = stored.offset.unwrap_or_default();
    Ok((
        (),
        format!(
            "one record stored at partition {}, offset {offset}",
            stored.partition
        ),
    ))
}

async fn fetch(client: &Client, topic: &str, timeout: Duration) -> Outcome<((), String)> {
    let failed = |error: Error| Failure::from_client("fetch", &error);
    let consumer = client
        .consumer()
        .partition(topic, 0, Position::Earliest)
        .until_latest(true);
    let mut consumer = consumer.build().await.map_err(failed)?;
    let batch = tokio::time::timeout(timeout, consumer.next_batch()).await;
    let late = Failure::new("nothing came back").why(format!("nothing came within {timeout:?}"));
    let batch = batch.map_err(|_| late)?.map_err(failed)?;
    let values = batch
        .iter()
        .flat_map(|batch| &batch.records)
        .map(|record| &record.value);
    match values.flatten().next() {
        Some(value) if value.as_ref() == b"headwater doctor" => {
            Ok(((), "the same record read back".to_owned()))
        }
        other => Err(Failure::new("not what was written").why(format!("it read {other:?}"))),
    }
}

impl Answer for Report {
    fn table(&self) -> String {
        let line = |check: &Check| {
            let took = show_duration(Duration::from_micros(check.took_us));
            let step = format!("{:10}", check.step);
            let (mark, step, took) = match (self.paint, check.ok) {
                (Some(paint), true) => (paint.green("✓"), paint.bold(step), paint.dim(took)),
                (Some(paint), false) => (paint.red("✗"), paint.bold(step), paint.dim(took)),
                (None, ok) => (if ok { "✓" } else { "✗" }.to_owned(), step, took),
            };
            let detail = check.detail.replace('\n', "\n             ");
            let mut line = format!("{mark} {step} {detail}  {took}");
            if let Some(remedy) = &check.remedy {
                line.push_str(&format!("\n  {:10} fix: {remedy}", ""));
            }
            line
        };
        self.checks.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    fn names(&self) -> Vec<String> {
        self.checks
            .iter()
            .map(|check| check.step.to_owned())
            .collect()
    }
}
