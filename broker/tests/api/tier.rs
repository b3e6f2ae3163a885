//! Records beyond the broker's disk: uploaded, dropped locally, read back as if nothing had happened.

mod budget;
mod health;
mod loss;
mod outage;
mod positions;
mod progress;
mod reading;
mod restart;
mod retention;
mod same_disk;
mod successor;
mod topic_settings;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use headwater_proto::v1;
use headwater_proto::v1::consumer_service_client::ConsumerServiceClient;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tonic::transport::Channel;

use super::s3_server::S3Server;
use super::{Harness, earliest, offset, reason};

/// What is quick enough for a test.
const QUICK: [(&str, &str); 3] = [
    ("tier.commit_interval", "250ms"),
    ("storage.retention_check_interval", "200ms"),
    ("tier.gc_grace", "1m"),
];

/// The tier in the data directory.
const FS: [(&str, &str); 4] = [("tier.url", "fs:"), QUICK[0], QUICK[1], QUICK[2]];

/// The smallest segment that a topic may have.
const SEGMENT_BYTES: i64 = 64 << 10;

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// A bucket, and what a broker needs to know of it.
struct Bucket {
    server: S3Server,
    credentials: TempDir,
}

impl Bucket {
    async fn start() -> Bucket {
        let server = S3Server::start().await;
        let credentials = tempfile::tempdir().unwrap();
        server.write_credentials(credentials.path());
        Bucket {
            server,
            credentials,
        }
    }

    fn settings(&self) -> Vec<(String, String)> {
        let quick = QUICK.map(|(key, text)| (key.to_owned(), text.to_owned()));
        let dir = self.credentials.path().to_str().unwrap().to_owned();
        let mut settings = vec![
            ("tier.url".to_owned(), self.server.url("p")),
            ("tier.credentials_dir".to_owned(), dir),
        ];
        settings.extend(quick);
        settings
    }

    /// A broker with this bucket, on a directory of its own.
    async fn broker(&self) -> Harness {
        let settings = self.settings();
        Harness::start_with(&borrowed(&settings)).await
    }

    /// A stop of the broker, and a start with this bucket.
    async fn restart(&self, harness: Harness) -> Harness {
        let settings = self.settings();
        harness.restart(&borrowed(&settings)).await
    }

    /// A broker with so many records in the topic `t`, all but the last segment in this bucket and none in memory.
    async fn cold(&self, records: usize) -> Harness {
        let mut harness = self.broker().await;
        harness.create_with("t", 1, small_segments()).await.unwrap();
        harness.fill("t", 0, 0..records).await;
        harness.settle("t").await;
        self.restart(harness).await
    }

    /// Keys of the segments' objects, in order.
    fn segments(&self) -> Vec<String> {
        let keys = self.server.keys().into_iter();
        keys.filter(|key| is_segment(key)).collect()
    }
}

fn borrowed(settings: &[(String, String)]) -> Vec<(&str, &str)> {
    let pairs = settings.iter();
    pairs
        .map(|(key, text)| (key.as_str(), text.as_str()))
        .collect()
}

fn small_segments() -> v1::TopicConfig {
    v1::TopicConfig {
        segment_bytes: Some(SEGMENT_BYTES),
        // Copies go as soon as they may.
        local_retention_bytes: Some(0),
        ..v1::TopicConfig::default()
    }
}

/// `<base offset>-<epoch>-<upload>` below the number of a partition.
fn is_segment(key: &str) -> bool {
    let name = key.rsplit('/').next().unwrap_or_default();
    name.len() == 20 + 1 + 10 + 1 + 36 && !key.contains("/page/")
}

/// Files of the tier in a data directory.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut dirs = vec![dir.join("tier")];
    while let Some(dir) = dirs.pop() {
        let Ok(entries) = std::fs::read_dir(dir) else {
            continue;
        };
        for entry in entries.map(Result::unwrap) {
            match entry.file_type().unwrap().is_dir() {
                true => dirs.push(entry.path()),
                false => found.push(entry.path()),
            }
        }
    }
    found.sort();
    found
}

fn segment_files(dir: &Path) -> Vec<PathBuf> {
    let files = files(dir).into_iter();
    files
        .filter(|file| is_segment(file.to_str().unwrap()))
        .collect()
}

fn value(n: usize) -> String {
    format!("{n:06}-{}", "x".repeat(1_000))
}

fn values(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(value).collect()
}

/// No object has the base offset of another: nothing was uploaded twice.
fn assert_no_twins(segments: &[String]) {
    let upload = "-00000000-0000-0000-0000-000000000000".len();
    let ids = segments.iter().map(|key| &key[..key.len() - upload]);
    let distinct: HashSet<&str> = ids.collect();
    assert_eq!(distinct.len(), segments.len(), "{segments:#?}");
}

/// Waits until something is so.
pub(super) async fn until(what: &str, mut so: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !so().await {
        assert!(started.elapsed() < PATIENCE, "it did not come: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

impl Harness {
    /// Appends records in batches of ten.
    async fn fill(&mut self, topic: &str, partition: i32, range: std::ops::Range<usize>) {
        let values: Vec<String> = range.map(value).collect();
        for some in values.chunks(10) {
            let some: Vec<&str> = some.iter().map(String::as_str).collect();
            self.produce(topic, partition, &some).await;
        }
    }

    async fn tier_of(&mut self, topic: &str) -> Vec<v1::PartitionTierStatus> {
        let request = v1::GetTierStatusRequest {
            topics: vec![topic.to_owned()],
        };
        let status = self.tier.get_tier_status(request).await.unwrap();
        status.into_inner().partitions
    }

    /// Waits until everything sealed is in the tier, and until nothing but the active segment is left on the disk.
    async fn settle(&mut self, topic: &str) -> Vec<v1::PartitionTierStatus> {
        self.settle_if(topic, |partition| partition.local_bytes <= SEGMENT_BYTES)
            .await
    }

    /// Waits until everything sealed is in the tier.
    async fn upload(&mut self, topic: &str) -> Vec<v1::PartitionTierStatus> {
        self.settle_if(topic, |_| true).await
    }

    async fn settle_if(
        &mut self,
        topic: &str,
        so: impl Fn(&v1::PartitionTierStatus) -> bool,
    ) -> Vec<v1::PartitionTierStatus> {
        let started = Instant::now();
        loop {
            let status = self.tier_of(topic).await;
            let settled = status.iter().all(|partition| {
                partition.backlog_segments == 0
                    && partition.uploading_segments == 0
                    && so(partition)
            });
            if settled {
                return status;
            }
            assert!(started.elapsed() < PATIENCE, "not settled: {status:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Reads on from a position until an error or the end; how far it came, and what stopped it.
    async fn read_on(
        &mut self,
        topic: &str,
        partition: i32,
        from: i64,
    ) -> (Vec<String>, i64, Option<v1::Error>) {
        let (mut values, mut next) = (Vec::new(), from);
        loop {
            let data = self.fetch(topic, partition, offset(next)).await.unwrap();
            if data.error.is_some() || data.records.is_empty() {
                return (values, next, data.error);
            }
            let texts = data.records.iter().map(|record| {
                let value = record.value.clone().unwrap().to_vec();
                String::from_utf8(value).unwrap()
            });
            values.extend(texts);
            next = data.next_offset;
        }
    }

    /// What a metric without labels says now.
    pub(super) async fn metric(&self, name: &str) -> f64 {
        let mut stream = TcpStream::connect(self.broker.http_address())
            .await
            .unwrap();
        let request = "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let mut samples = answer.lines().filter_map(|line| line.split_once(' '));
        let sample = samples.find(|(sample, _)| *sample == name);
        let (_, value) = sample.unwrap_or_else(|| panic!("no {name} in {answer}"));
        value.parse().unwrap()
    }

    /// A client with a connection of its own: what waits on others is not before it.
    async fn reader(&self) -> ConsumerServiceClient<Channel> {
        let address = format!("http://{}", self.broker.client_address());
        let channel = Channel::from_shared(address).unwrap().connect().await;
        ConsumerServiceClient::new(channel.unwrap()).max_decoding_message_size(usize::MAX)
    }

    async fn finding(&mut self, reason: &str) -> Option<v1::Finding> {
        let request = v1::GetHealthRequest::default();
        let health = self.cluster.get_health(request).await.unwrap();
        let findings = health.into_inner().findings;
        findings
            .into_iter()
            .find(|finding| finding.reason == reason)
    }

    async fn verify(&mut self, checksums: bool) -> (Vec<v1::TierProblem>, v1::VerifyTierSummary) {
        use v1::verify_tier_response::Event;
        let request = v1::VerifyTierRequest {
            checksums,
            ..v1::VerifyTierRequest::default()
        };
        let mut told = self.tier.verify_tier(request).await.unwrap().into_inner();
        let mut problems = Vec::new();
        let mut summary = None;
        while let Some(message) = told.message().await.unwrap() {
            match message.event.unwrap() {
                Event::Progress(_) => {}
                Event::Problem(problem) => problems.push(problem),
                Event::Summary(last) => summary = Some(last),
            }
        }
        (problems, summary.unwrap())
    }

    async fn configure(&mut self, topic: &str, config: v1::TopicConfig) {
        let topic = v1::Topic {
            name: topic.to_owned(),
            config: Some(config),
            ..v1::Topic::default()
        };
        let request = v1::UpdateTopicRequest {
            topic: Some(topic),
            ..v1::UpdateTopicRequest::default()
        };
        self.topics.update_topic(request).await.unwrap();
    }
}
