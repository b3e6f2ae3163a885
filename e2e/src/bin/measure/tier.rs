//! What the tier costs and gives: uploads and cold reads beside opendal alone, requests, and what a cold reader does to
//! producers.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use headwater_client::Position;
use headwater_e2e::{Broker, BrokerOptions, headwater};
use serde_json::Value;

const BYTES: u64 = 1 << 30;
const SEGMENT_BYTES: u64 = 16 << 20;
const RECORD_BYTES: u64 = 1 << 10;

/// How long an upload of all may take at most.
const PATIENCE: Duration = Duration::from_secs(600);

/// Rates in MiB/s.
#[derive(Clone, Copy)]
struct Rates {
    up: f64,
    down: f64,
    /// Calls of the store that write, for each GiB.
    writes_per_gib: f64,
}

/// The section about the tier.
pub(crate) fn measure(floors: &Path, runs: usize) -> Result<String> {
    let mut text = "### Tier\n\n1 GiB in segments of 16 MiB on the disk, then uploaded to a directory on the same disk \
                    (`tier.url` fs),\neach object read back to be verified, the local copies dropped, and all of it read \
                    by one consumer\nfrom the beginning. The floor writes and reads the same bytes through opendal's fs \
                    alone, verifies them\nlikewise, and sends them to nobody. Aim: 0.7 of the floor.\n\n\
                    | | up MiB/s | to the floor | cold read MiB/s | to the floor | writes/GiB |\n\
                    |---|---|---|---|---|---|\n"
        .to_owned();
    for partitions in [1, 4] {
        let (mut ours, mut floor) = (Vec::new(), Vec::new());
        for run in 1..=runs {
            eprintln!("tier, {partitions} partitions, run {run} of {runs}");
            ours.push(tiered(partitions)?);
            floor.push(alone(floors, partitions)?);
        }
        let of =
            |rates: &[Rates], figure: fn(&Rates) -> f64| crate::table::spread(rates, figure, 1);
        let middle =
            |rates: &[Rates], figure: fn(&Rates) -> f64| crate::table::median(rates, figure);
        let up: fn(&Rates) -> f64 = |rates| rates.up;
        let down: fn(&Rates) -> f64 = |rates| rates.down;
        text += &format!(
            "| broker, {partitions} partitions | {} | {:.2} | {} | {:.2} | {:.0} |\n\
             | floor, {partitions} at once | {} | 1.00 | {} | 1.00 | |\n",
            of(&ours, up),
            middle(&ours, up) / middle(&floor, up),
            of(&ours, down),
            middle(&ours, down) / middle(&floor, down),
            middle(&ours, |rates| rates.writes_per_gib),
            of(&floor, up),
            of(&floor, down),
        );
    }
    text += &requests()?;
    text += &isolation(runs)?;
    Ok(text)
}

fn settings(tier: &Path) -> Vec<String> {
    vec![
        format!("tier.url=fs://{}", tier.display()),
        "tier.commit_interval=250ms".to_owned(),
        "storage.retention_check_interval=100ms".to_owned(),
    ]
}

/// A topic filled on a broker without a tier, then opened by one with a tier.
fn tiered(partitions: usize) -> Result<Rates> {
    let scratch = tempfile::tempdir()?;
    let data_dir = scratch.path().join("data");
    fill(&data_dir, partitions, BYTES, SEGMENT_BYTES)?;
    let started = Instant::now();
    let options = BrokerOptions {
        data_dir: Some(data_dir),
        settings: settings(&scratch.path().join("tier")),
    };
    let broker = Broker::start_with(options);
    let uploaded = settle(&broker)?;
    let up = uploaded as f64 / f64::from(1 << 20) / started.elapsed().as_secs_f64();
    let writes = writes(&broker);
    let started = Instant::now();
    let read = read_all(&broker)?;
    Ok(Rates {
        up,
        down: read as f64 / f64::from(1 << 20) / started.elapsed().as_secs_f64(),
        writes_per_gib: writes * (1_u64 << 30) as f64 / uploaded as f64,
    })
}

fn fill(data_dir: &Path, partitions: usize, bytes: u64, segment_bytes: u64) -> Result<()> {
    let options = BrokerOptions {
        data_dir: Some(data_dir.to_owned()),
        settings: Vec::new(),
    };
    let mut broker = Broker::start_with(options);
    let (partitions, segment_bytes) = (partitions.to_string(), segment_bytes.to_string());
    let create = [
        "topic",
        "create",
        "cold",
        "--partitions",
        &partitions,
        "--segment-bytes",
        &segment_bytes,
    ];
    run(&broker, &create)?;
    let count = (bytes / RECORD_BYTES).to_string();
    let produce = [
        "perf",
        "produce",
        "--topic",
        "cold",
        "--count",
        &count,
        "--warm-up",
        "0ms",
    ];
    run(&broker, &produce)?;
    broker.stop();
    Ok(())
}

fn run(broker: &Broker, arguments: &[&str]) -> Result<Value> {
    let arguments = [arguments, &["-o", "json"]].concat();
    let output = headwater(&broker.endpoint(), &arguments);
    ensure!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(serde_json::from_slice(&output.stdout).unwrap_or_default())
}

/// Waits until all sealed segments are in the tier, and only there; says how many bytes that is.
fn settle(broker: &Broker) -> Result<u64> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let status = run(broker, &["tier", "status"])?;
        let partitions = status["partitions"]
            .as_array()
            .context("no partitions in the status")?;
        let sum =
            |name: &str| -> u64 { partitions.iter().filter_map(|one| one[name].as_u64()).sum() };
        let local = partitions
            .iter()
            .all(|one| one["local_start_offset"] == one["tier_end_offset"]);
        if sum("backlog_segments") == 0 && sum("tiered_bytes") > 0 && local {
            return Ok(sum("tiered_bytes"));
        }
        ensure!(Instant::now() < deadline, "not settled: {status}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Reads the topic from the beginning, batches as stored; says how many bytes that was.
fn read_all(broker: &Broker) -> Result<u64> {
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let client = broker.client().await;
        let consumer = client
            .consumer()
            .topic("cold", Position::Earliest)
            .until_latest(true);
        let mut consumer = consumer.build().await?;
        let mut bytes = 0;
        while let Some(raw) = consumer.next_raw().await? {
            bytes += raw
                .batches
                .iter()
                .map(|batch| batch.bytes().len() as u64)
                .sum::<u64>();
        }
        Ok(bytes)
    })
}

fn alone(floors: &Path, at_once: usize) -> Result<Rates> {
    let output = Command::new(floors)
        .args(["floor", "store", "--bytes", &BYTES.to_string()])
        .args([
            "--object-bytes",
            &SEGMENT_BYTES.to_string(),
            "--at-once",
            &at_once.to_string(),
        ])
        .output()?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let report: Value = serde_json::from_slice(&output.stdout)?;
    let rate = |name: &str| {
        report[name]
            .as_f64()
            .context("a figure is missing in a report")
    };
    Ok(Rates {
        up: rate("write_mib_per_second")?,
        down: rate("read_mib_per_second")?,
        writes_per_gib: 0.0,
    })
}

/// Objects and manifests that were written.
fn writes(broker: &Broker) -> f64 {
    let made = |operation: &str| {
        let name = format!("headwater_tier_requests_total{{operation=\"{operation}\"}}");
        metric(broker, &name)
    };
    made("create") + made("put")
}

fn metric(broker: &Broker, name: &str) -> f64 {
    let page = broker.http_get("/metrics").unwrap_or_default();
    let line = page.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.trim().parse().ok())
        .unwrap_or_default()
}

/// Requests that write, by the number of partitions that the same bytes are spread over.
fn requests() -> Result<String> {
    let mut text = "\nObjects and manifests that are written for a GiB, where each partition has filled its \
                    segments:\n\n| partitions | segments | writes/GiB | up MiB/s |\n|---|---|---|---|\n"
        .to_owned();
    for (partitions, segment_bytes) in [(1, 128 << 20), (100, 8 << 20), (10_000, 64 << 10)] {
        eprintln!("tier, requests of {partitions} partitions");
        let scratch = tempfile::tempdir()?;
        let data_dir = scratch.path().join("data");
        // Half a segment more, so that the last full one is sealed.
        let bytes = BYTES.max(partitions as u64 * segment_bytes * 3 / 2);
        fill(&data_dir, partitions, bytes, segment_bytes)?;
        let started = Instant::now();
        let broker = Broker::start_with(BrokerOptions {
            data_dir: Some(data_dir),
            settings: settings(&scratch.path().join("tier")),
        });
        let uploaded = settle(&broker)?;
        let up = uploaded as f64 / f64::from(1 << 20) / started.elapsed().as_secs_f64();
        let writes = writes(&broker);
        let each = writes * (1_u64 << 30) as f64 / uploaded as f64;
        text += &format!(
            "| {partitions} | {} KiB | {each:.0} | {up:.1} |\n",
            segment_bytes >> 10
        );
    }
    Ok(text)
}

/// Latency of producers while a reader takes everything from the tier, again and again.
fn isolation(runs: usize) -> Result<String> {
    let scratch = tempfile::tempdir()?;
    let data_dir = scratch.path().join("data");
    fill(&data_dir, 4, BYTES, SEGMENT_BYTES)?;
    let broker = Broker::start_with(BrokerOptions {
        data_dir: Some(data_dir),
        settings: settings(&scratch.path().join("tier")),
    });
    settle(&broker)?;
    let produce = [
        "perf",
        "produce",
        "--rate",
        "5000",
        "--duration",
        "8s",
        "--record-size",
        "1KiB",
    ];
    let p99 = || -> Result<f64> {
        let report = run(&broker, &produce)?;
        report["latency_us"]["p99"]
            .as_f64()
            .context("no p99 in the report")
    };
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for run in 1..=runs {
        eprintln!("tier, producers beside a cold reader, run {run} of {runs}");
        without.push(p99()?);
        let stop = std::sync::atomic::AtomicBool::new(false);
        let reading = std::thread::scope(|threads| {
            threads.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    if let Err(error) = read_all(&broker) {
                        eprintln!("the reader: {error:#}");
                        return;
                    }
                }
            });
            let measured = p99();
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            measured
        });
        with.push(reading?);
    }
    let (quiet, beside) = (
        crate::table::median(&without, |us| *us),
        crate::table::median(&with, |us| *us),
    );
    Ok(format!(
        "\nFsynced produce at 5,000 records/s, p99 with the spread of {runs} runs: {} µs alone, {} µs while one \
         consumer\nreads the tier as fast as it can on the same two cores: {:.1} times.\n",
        crate::table::spread(&without, |us| *us, 0),
        crate::table::spread(&with, |us| *us, 0),
        beside / quiet
    ))
}
