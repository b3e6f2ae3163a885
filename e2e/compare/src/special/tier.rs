//! What the tier gives beside opendal alone, and what a cold reader does to producers. Ours only: Kafka ships no store
//! for its tier, and NATS has none.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use headwater_e2e::{BUCKET, BrokerOptions, Versitygw};
use serde_json::Value;

use crate::bench::Bench;
use crate::figures::{Figure, Sample};
use crate::process::{LOAD_CPU, move_to_load_cpu, on_server_cpu, output};
use crate::rounds::{Outcome, Rounds, caught};
use crate::scenarios::BULK;
use crate::systems::Headwater;
use crate::tools::Tools;

const BYTES: u64 = 1 << 30;
const SEGMENT_BYTES: u64 = 16 << 20;
const RECORD_BYTES: u64 = 1 << 10;

/// The topic that goes to the tier, and one that stays on the disk.
const COLD: &str = "cold";
const HOT: &str = "hot";

/// How long an upload of all may take at most.
const PATIENCE: Duration = Duration::from_secs(600);

/// What a server counts that changes something: a store asks the most for these.
const S3_WRITES: [&str; 4] = [
    "s3_PutObject",
    "s3_CreateMultipartUpload",
    "s3_UploadPart",
    "s3_CompleteMultipartUpload",
];

/// Uploads and cold reads, with one partition and with four, on a folder.
pub(crate) fn tier(bench: &mut Bench, rounds: &mut Rounds) {
    beside_floor(bench, rounds, || Ok(None));
}

/// The same on a real S3 server, which shares the load's core.
pub(crate) fn tier_s3(bench: &mut Bench, rounds: &mut Rounds) {
    let program = Tools::versitygw();
    beside_floor(bench, rounds, || {
        let program = program.as_ref().map_err(|error| anyhow!("{error:#}"))?;
        // With an empty bucket.
        let server = Versitygw::run(program);
        move_to_load_cpu(server.pid())?;
        Ok(Some(server))
    });
}

/// Ours and opendal alone, each with a store of its own.
fn beside_floor(
    bench: &mut Bench,
    rounds: &mut Rounds,
    store: impl Fn() -> Result<Option<Versitygw>>,
) {
    // Some segments at least.
    let bytes = (BYTES / bench.divisor()).max(8 * SEGMENT_BYTES);
    for partitions in [1, 4] {
        rounds.measure(&subject(partitions), || {
            tiered(partitions, bytes, SEGMENT_BYTES, store()?.as_ref())
        });
        let Some(floors) = bench.floors() else {
            continue;
        };
        let mut over_a_socket = None;
        rounds.measure(&format!("floor: opendal, {partitions} at once"), || {
            let report = alone(floors, partitions, bytes, store()?.as_ref())?;
            let rate = |name: &str| report[name].as_f64().context("no rate in a report");
            over_a_socket = Some(rate("socket_mib_per_second")?);
            let sample = Sample::from([
                (Figure::UploadMibPerSecond, rate("write_mib_per_second")?),
                (Figure::ColdReadMibPerSecond, rate("read_mib_per_second")?),
            ]);
            Ok((sample, "CRC of each object"))
        });
        let subject = format!("floor: opendal over a socket, {partitions} at once");
        rounds.measure(&subject, || {
            let rate = over_a_socket.context("there are no objects")?;
            let sample = Sample::from([(Figure::ColdReadMibPerSecond, rate)]);
            Ok((sample, "by its reader: CRC of each MiB"))
        });
    }
}

/// Objects and manifests that are written for a GiB, by how many partitions it is spread over. Each partition fills its
/// segments and half of one more, so that the last full one is sealed.
pub(crate) fn requests(bench: &mut Bench, rounds: &mut Rounds) {
    for (partitions, segment_bytes) in [(1, 128 << 20), (100, 8 << 20), (10_000, 64 << 10)] {
        let partitions = (partitions / bench.divisor()).max(1);
        let bytes = (BYTES / bench.divisor()).max(partitions * segment_bytes * 3 / 2);
        rounds.measure(&subject(partitions), || {
            tiered(partitions, bytes, segment_bytes, None)
        });
    }
}

/// Latency of producers, alone and while a reader takes everything from the disk, or from the tier, again and again.
pub(crate) fn isolation(bench: &mut Bench, rounds: &mut Rounds) {
    let bytes = (BYTES / bench.divisor()).max(8 * SEGMENT_BYTES);
    let duration = format!("{}s", bench.count(8));
    let cold_and_hot = caught(|| {
        let scratch = tempfile::tempdir()?;
        let headwater = filled(scratch.path(), 4, bytes, SEGMENT_BYTES, None)?;
        settle(&headwater)?;
        let hot = ["topic", "create", HOT, "--partitions", "4"];
        headwater.command(&[&hot[..], &["--tiering=false"]].concat())?;
        fill(&headwater, HOT, bytes, BULK.batch_bytes)?;
        Ok((headwater, scratch))
    });
    let subjects = [
        ("Headwater, alone", None),
        ("Headwater, beside a hot reader", Some(HOT)),
        ("Headwater, beside a cold reader", Some(COLD)),
    ];
    for (subject, topic) in subjects {
        rounds.measure(subject, || {
            let (headwater, _) = cold_and_hot
                .as_ref()
                .map_err(|error| anyhow!("{error:#}"))?;
            let sample = match topic {
                None => produce(headwater, &duration),
                Some(topic) => produce_beside(headwater, &duration, topic),
            };
            Ok((sample?, ""))
        });
    }
}

/// While somebody reads a topic from the beginning, again and again.
fn produce_beside(headwater: &Headwater, duration: &str, topic: &str) -> Result<Sample> {
    let stop = AtomicBool::new(false);
    thread::scope(|threads| {
        let reader = threads.spawn(|| -> Result<()> {
            while !stop.load(Ordering::Relaxed) {
                read_all(headwater, topic)?;
            }
            Ok(())
        });
        let sample = produce(headwater, duration);
        stop.store(true, Ordering::Relaxed);
        reader.join().expect("the reader does not panic")?;
        sample
    })
}

fn produce(headwater: &Headwater, duration: &str) -> Result<Sample> {
    let produce = ["perf", "produce", "--rate", "5000", "--duration", duration];
    let report = headwater.command(&[&produce[..], &["--durability", "fsync"]].concat())?;
    let latency = |name: &str| {
        let latency = report["latency_us"][name].as_f64();
        latency.context("no latency in the report")
    };
    Ok(Sample::from([
        (Figure::P50Us, latency("p50")?),
        (Figure::P99Us, latency("p99")?),
    ]))
}

/// A topic filled on a broker without a tier, then opened by one with a tier.
fn tiered(partitions: u64, bytes: u64, segment_bytes: u64, server: Option<&Versitygw>) -> Outcome {
    let scratch = tempfile::tempdir()?;
    let headwater = filled(scratch.path(), partitions, bytes, segment_bytes, server)?;
    // Uploads begin before it serves.
    let opened = Instant::now() - headwater.broker.started_in();
    let uploaded = settle(&headwater)?;
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let up = mib(uploaded) / opened.elapsed().as_secs_f64();
    let writes = match server {
        None => writes(&headwater),
        Some(server) => s3_writes(server),
    };
    let writes = writes * (1_u64 << 30) as f64 / uploaded as f64;
    let read = read_all(&headwater, COLD)?;
    let sample = Sample::from([
        (Figure::UploadMibPerSecond, up),
        (Figure::ColdReadMibPerSecond, read),
        (Figure::WritesPerGib, writes),
    ]);
    Ok((sample, "count; CRC of each batch, by the SDK"))
}

fn subject(partitions: u64) -> String {
    match partitions {
        1 => "Headwater, 1 partition".to_owned(),
        many => format!("Headwater, {many} partitions"),
    }
}

/// A broker with a tier on a directory that one without has filled.
fn filled(
    scratch: &Path,
    partitions: u64,
    bytes: u64,
    segment_bytes: u64,
    server: Option<&Versitygw>,
) -> Result<Headwater> {
    let data_dir = Some(scratch.join("data"));
    let mut without = Headwater::start(BrokerOptions {
        data_dir: data_dir.clone(),
        ..BrokerOptions::default()
    });
    let (partitions, segment) = (partitions.to_string(), segment_bytes.to_string());
    let create = ["topic", "create", COLD, "--partitions", &partitions];
    without.command(&[&create[..], &["--segment-bytes", &segment]].concat())?;
    // Several batches to a segment: one that is larger than a segment has it for itself, and leaves it open.
    fill(
        &without,
        COLD,
        bytes,
        (segment_bytes / 4).min(BULK.batch_bytes),
    )?;
    without.broker.stop();
    drop(without);
    let mut settings = vec![
        "tier.commit_interval=250ms".to_owned(),
        "storage.retention_check_interval=100ms".to_owned(),
    ];
    match server {
        None => settings.push(format!("tier.url=fs://{}", scratch.join("tier").display())),
        Some(server) => {
            let folder = scratch.join("credentials");
            fs::create_dir(&folder)?;
            fs::write(folder.join("access_key_id"), &server.root().access)?;
            fs::write(folder.join("secret_access_key"), &server.root().secret)?;
            settings.push(format!("tier.url={}", server.url("compare")));
            settings.push(format!("tier.credentials_dir={}", folder.display()));
            // On a disk that both share copies go as soon as they may; elsewhere by retention.
            settings.push("topics.local_retention_time=0s".to_owned());
        }
    }
    Ok(Headwater::start(BrokerOptions {
        data_dir,
        settings,
        ..BrokerOptions::default()
    }))
}

fn fill(headwater: &Headwater, topic: &str, bytes: u64, batch_bytes: u64) -> Result<()> {
    let (count, batch) = ((bytes / RECORD_BYTES).to_string(), batch_bytes.to_string());
    let produce = ["perf", "produce", "--topic", topic, "--count", &count];
    let options = ["--warm-up", "0ms", "--batch-size", &batch];
    headwater.command(&[&produce[..], &options].concat())?;
    Ok(())
}

/// Waits until all sealed segments are in the tier, and only there; says how many bytes that is.
fn settle(headwater: &Headwater) -> Result<u64> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let asked = Instant::now();
        let status = headwater.command(&["tier", "status"])?;
        let partitions = status["partitions"]
            .as_array()
            .context("no partitions in the status")?;
        let sum =
            |name: &str| -> u64 { partitions.iter().filter_map(|one| one[name].as_u64()).sum() };
        // Whatever has not filled a segment has nothing in the tier.
        let gone = partitions.iter().all(|one| {
            let tier_end = one.get("tier_end_offset");
            tier_end.is_none_or(|end| *end == one["local_start_offset"])
        });
        if sum("backlog_segments") == 0 && sum("tiered_bytes") > 0 && gone {
            return Ok(sum("tiered_bytes"));
        }
        ensure!(Instant::now() < deadline, "not settled: {}", status["tier"]);
        // The answer is long where there are many partitions, and asking must not be what is measured.
        thread::sleep(Duration::from_millis(50).max(4 * asked.elapsed()));
    }
}

/// Reads a topic from the beginning, batches as stored; says at how many MiB/s.
fn read_all(headwater: &Headwater, topic: &str) -> Result<f64> {
    let consume = ["perf", "consume", "--topic", topic, "--raw"];
    let report = headwater.command(&consume)?;
    report["mib_per_s"]
        .as_f64()
        .context("no rate in the report")
}

/// On the core of the servers, as the broker that it stands beside; its reader on the load's, as our consumer.
fn alone(floors: &Path, at_once: u64, bytes: u64, server: Option<&Versitygw>) -> Result<Value> {
    let mut floor = on_server_cpu(floors);
    floor
        .args(["floor", "store", "--bytes", &bytes.to_string()])
        .args(["--object-bytes", &SEGMENT_BYTES.to_string()])
        .args(["--at-once", &at_once.to_string()])
        .args(["--reader-cpus", LOAD_CPU]);
    if let Some(server) = server {
        floor
            .args(["--s3-endpoint", &server.endpoint(), "--s3-bucket", BUCKET])
            .env("AWS_ACCESS_KEY_ID", &server.root().access)
            .env("AWS_SECRET_ACCESS_KEY", &server.root().secret);
    }
    Ok(serde_json::from_str(&output(&mut floor)?)?)
}

/// Requests that changed something, by the server's log.
fn s3_writes(server: &Versitygw) -> f64 {
    let requests = server.requests();
    let writes = requests
        .iter()
        .filter(|request| S3_WRITES.contains(&request.as_str()));
    writes.count() as f64
}

/// Objects and manifests that were written.
fn writes(headwater: &Headwater) -> f64 {
    let page = headwater.broker.http_get("/metrics").unwrap_or_default();
    let made = |operation: &str| -> f64 {
        let name = format!("headwater_tier_requests_total{{operation=\"{operation}\"}}");
        let line = page.lines().find_map(|line| line.strip_prefix(&name));
        line.and_then(|rest| rest.trim().parse().ok())
            .unwrap_or_default()
    };
    made("create") + made("put")
}
