//! How fast segments go to a real S3 server and come back, and how many requests that takes.

use std::time::Instant;

use headwater_e2e::{Versitygw, read_all};

use crate::flights::many;
use crate::stage::{Credentials, Stage, alone};

const MIB: u64 = 1 << 20;
/// Partitions, and bytes of a segment.
const SUBJECTS: [(usize, u64); 3] = [(1, MIB), (4, MIB), (1, 32 * MIB)];
/// What changes something, and what a store asks the most for.
const WRITES: [&str; 4] = [
    "s3_PutObject",
    "s3_CreateMultipartUpload",
    "s3_UploadPart",
    "s3_CompleteMultipartUpload",
];

#[tokio::test(flavor = "multi_thread")]
async fn uploads_and_cold_reads_are_measured() {
    let Some(mut server) = Versitygw::start() else {
        return;
    };
    let _turn = alone().await;
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("flights.ndjson");
    let flights = many();
    std::fs::write(&file, &flights).unwrap();
    let mut table = "| partitions | segments | up | cold read | puts | puts for a GB |\n\
                     | --- | --- | --- | --- | --- | --- |\n"
        .to_owned();
    for (partitions, segment_bytes) in SUBJECTS {
        if flights.len() as u64 <= segment_bytes {
            continue;
        }
        let row = measure(&server, file.to_str().unwrap(), partitions, segment_bytes).await;
        table.push_str(&row);
        server.kill();
        server = Versitygw::start().unwrap();
    }
    eprintln!("{table}");
}

async fn measure(server: &Versitygw, file: &str, partitions: usize, segment_bytes: u64) -> String {
    let credentials = Credentials::new(server.root());
    let mut stage = Stage::in_bucket(&server.url("e2e"), &credentials, segment_bytes);
    let count = partitions.to_string();
    stage.run(&[
        "topic",
        "create",
        "flights",
        "--partitions",
        &count,
        "--tiering=false",
    ]);
    stage.run(&["produce", "flights", "--file", file]);
    assert_eq!(stage.metric("headwater_tier_segments_uploaded_total"), 0.0);

    // A topic that was not tiered so far is, from its beginning on.
    let before = puts(server);
    let start = Instant::now();
    stage.run(&["topic", "edit", "flights", "--tiering=true"]);
    let status = stage.settled("flights").await;
    let up = start.elapsed();
    let puts = puts(server) - before;
    let segments: i64 = status
        .iter()
        .map(|partition| partition.tiered_segments)
        .sum();
    let bytes: i64 = status.iter().map(|partition| partition.tiered_bytes).sum();

    // Nothing is in any cache of the broker's.
    assert!(stage.broker.stop().success());
    stage.broker.restart();
    let client = stage.broker.client().await;
    let start = Instant::now();
    let records = read_all(&client, "flights").await;
    let down = start.elapsed();
    let ends: i64 = status
        .iter()
        .map(|partition| partition.high_watermark)
        .sum();
    assert_eq!(records.len() as i64, ends);
    let read = stage.metric("headwater_tier_read_bytes_total");
    assert!(
        bytes as f64 <= read,
        "{read} of {bytes} bytes came from the tier"
    );

    let speed = |elapsed: std::time::Duration| bytes as f64 / 1e6 / elapsed.as_secs_f64();
    format!(
        "| {partitions} | {segments} of {} MiB | {:.0} MB/s | {:.0} MB/s | {puts} | {:.0} |\n",
        segment_bytes >> 20,
        speed(up),
        speed(down),
        puts as f64 / (bytes as f64 / 1e9),
    )
}

fn puts(server: &Versitygw) -> usize {
    let requests = server.requests();
    let is_put = |request: &&String| WRITES.contains(&request.as_str());
    requests.iter().filter(is_put).count()
}
