//! Flights go in by the command line, leave the broker's disk, and come back as they went in.

use std::path::Path;
use std::time::Instant;

use headwater_e2e::{Account, Versitygw, everything, sample_day};

use crate::flights::{many, timestamp_ms};
use crate::s3_server::S3Server;
use crate::stage::{Credentials, SMALLEST, Stage, together};

const MIB: u64 = 1 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn flights_come_back_from_s3_as_they_went_in() {
    let Some(server) = Versitygw::start() else {
        return;
    };
    let _turn = together().await;
    let credentials = Credentials::new(server.root());
    let stage = Stage::in_bucket(&server.url("e2e"), &credentials, MIB);
    there_and_back(stage, 1, &many(), &server.url("e2e")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flights_of_four_partitions_come_back_from_s3_as_they_went_in() {
    let Some(server) = Versitygw::start() else {
        return;
    };
    let _turn = together().await;
    let credentials = Credentials::new(server.root());
    let stage = Stage::in_bucket(&server.url("e2e"), &credentials, MIB);
    there_and_back(stage, 4, &many(), &server.url("e2e")).await;
}

/// On a server of another make: s3s, which keeps objects in memory and enforces conditions on writes.
#[tokio::test(flavor = "multi_thread")]
async fn flights_come_back_from_s3s_as_they_went_in() {
    if !everything("") {
        return;
    }
    let _turn = together().await;
    let server = S3Server::start().await;
    let credentials = Credentials::new(&Account {
        access: server.access_key().to_owned(),
        secret: server.secret_key().to_owned(),
    });
    let url = server.url("e2e");
    let stage = Stage::in_bucket(&url, &credentials, MIB);
    there_and_back(stage, 1, &many(), &url).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flights_come_back_from_a_folder_as_they_went_in() {
    if !everything("") {
        return;
    }
    let _turn = together().await;
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::on_folder(folder.path(), MIB);
    there_and_back(stage, 4, &many(), &url(folder.path())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_of_flights_comes_back_from_a_folder_as_it_went_in() {
    let _turn = together().await;
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::on_folder(folder.path(), SMALLEST);
    let day = std::fs::read_to_string(sample_day()).unwrap();
    there_and_back(stage, 1, &day, &url(folder.path())).await;
}

fn url(folder: &Path) -> String {
    format!("fs://{}", folder.display())
}

pub(crate) async fn there_and_back(mut stage: Stage, partitions: usize, text: &str, url: &str) {
    let source: Vec<&str> = text.lines().collect();
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("flights.ndjson");
    std::fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap();
    stage.run(&[
        "topic",
        "create",
        "flights",
        "--partitions",
        &partitions.to_string(),
    ]);
    let start = Instant::now();
    stage.run(&["produce", "flights", "--file", file]);
    let produced = start.elapsed();
    let status = stage.settled("flights").await;
    let tiered: i64 = status
        .iter()
        .map(|partition| partition.tiered_segments)
        .sum();
    eprintln!(
        "{} flights in {partitions} partitions: in {produced:.1?} in, in {:.1?} in the tier, in \
         {tiered} segments",
        source.len(),
        start.elapsed(),
    );

    // The disk has the active segments and nothing more.
    assert_eq!(stage.local_segments(), partitions);
    for partition in &status {
        assert_eq!(partition.log_start_offset, 0, "{partition:?}");
        assert_eq!(partition.tier_start_offset, Some(0), "{partition:?}");
        let end = partition.tier_end_offset.unwrap();
        assert_eq!(partition.local_start_offset, end, "{partition:?}");
        assert!(end < partition.high_watermark, "{partition:?}");
        assert!(partition.tiering && partition.last_error.is_empty());
    }
    says_so(&stage, partitions, url);
    same(&stage, partitions, &source);

    // Nor is anything of it lost by a restart, nor uploaded again.
    let objects = stage.verify();
    assert!(stage.broker.stop().success());
    stage.broker.restart();
    same(&stage, partitions, &source);
    assert_eq!(stage.verify(), objects);
    since(&stage, &source);
}

/// What people see.
fn says_so(stage: &Stage, partitions: usize, url: &str) {
    let shown = stage.run(&["tier", "status", "flights"]);
    let verified = stage.verify();
    eprintln!("$ headwater tier status flights\n{shown}$ headwater tier verify\n{verified}");
    assert!(
        shown.contains(url) && shown.contains("reachable"),
        "{shown}"
    );
    for partition in 0..partitions {
        assert!(
            shown.contains(&format!("default/flights/{partition}")),
            "{shown}"
        );
    }
}

/// All lines are there, in each partition in the source's order.
fn same(stage: &Stage, partitions: usize, source: &[&str]) {
    let mut all = Vec::new();
    for partition in 0..partitions {
        let number = partition.to_string();
        let part = stage.run(&["consume", "flights", "-p", &number, "-o", "ndjson"]);
        let mut rest = source.iter();
        let mut count = 0;
        for line in part.lines() {
            assert!(
                rest.any(|expected| *expected == line),
                "partition {partition}, record {count}, is out of order or was never written: {line}"
            );
            count += 1;
        }
        assert!(0 < count, "partition {partition} is empty");
        all.push(part);
    }
    let mut found: Vec<&str> = all.iter().flat_map(|part| part.lines()).collect();
    let mut expected = source.to_vec();
    found.sort_unstable();
    expected.sort_unstable();
    assert!(
        found == expected,
        "{} of {} lines",
        found.len(),
        expected.len()
    );
}

/// A time that is in the tier is found there.
fn since(stage: &Stage, source: &[&str]) {
    let from_ms = timestamp_ms(source[source.len() / 2]);
    let from = format!("@{from_ms}");
    let found = stage.run(&["consume", "flights", "--from", &from, "-o", "ndjson"]);
    let mut found: Vec<&str> = found.lines().collect();
    let later = source.iter().filter(|line| from_ms <= timestamp_ms(line));
    let mut expected: Vec<&str> = later.copied().collect();
    found.sort_unstable();
    expected.sort_unstable();
    assert!(
        found == expected,
        "{} of {} lines",
        found.len(),
        expected.len()
    );
}
