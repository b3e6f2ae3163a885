//! A store that is away for minutes costs nothing but the time until it has everything.

use std::time::{Duration, Instant};

use headwater_client::types::TopicConfig;
use headwater_client::{Client, ConsumerRecord, Position};
use headwater_e2e::{Load, Versitygw, read_all};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::stage::{Credentials, SMALLEST, Stage, together};

const PARTITIONS: u32 = 3;
/// How long the store is away: so long that all that waits for it waits many times, health speaks of it, and what a
/// reader at the end is sent was never in the tier.
const AWAY: Duration = Duration::from_secs(180);
const WINDOW: Duration = Duration::from_secs(5);
/// What of the rate before must be left. The load is paced, far below what a broker takes, so that nothing is to be seen
/// of an outage that holds up no producer; other tests share the machine, now these and then those, and may take half.
const RATE_SHARE_MIN: f64 = 0.5;
/// The longest that a reader at the end may hear nothing, with records coming all the time: as little as the other tests
/// allow, and far below the time limit of a request to the store.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// Copies stay for a moment, so that a reader at the end who is late when the store goes does not have to wait for it.
const LOCAL_RETENTION_MS: i64 = 5_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_stops_no_producer_and_gets_everything_later() {
    let Some(mut server) = Versitygw::start() else {
        return;
    };
    let _turn = together().await;
    let credentials = Credentials::new(server.root());
    let stage = Stage::in_bucket(&server.url("e2e"), &credentials, SMALLEST);
    let client = stage.broker.client().await;
    let admin = client.admin();
    let config = TopicConfig {
        local_retention_ms: Some(LOCAL_RETENTION_MS),
        ..TopicConfig::default()
    };
    let created = admin.create_topic("t", PARTITIONS, config, false);
    created.await.unwrap();
    let tail = Tail::start(&client).await;
    let pause = Duration::from_micros(200);
    let load = Load::start_gently(&client, "t", PARTITIONS, 2, pause);
    let stored_first = stored(&stage).await;
    tokio::time::sleep(WINDOW).await;
    let stored_before = stored(&stage).await;
    let before = (stored_before - stored_first) / WINDOW.as_secs_f64();

    server.kill();
    let gone = Instant::now();
    let finding = stage.finding("TIER_UNAVAILABLE", true).await.unwrap();
    eprintln!(
        "{}: {}; {}",
        finding.reason, finding.message, finding.remedy
    );
    let shown = stage.run(&["tier", "status", "t"]);
    eprintln!("$ headwater tier status t\n{shown}");
    assert!(shown.contains("not reachable"), "{shown}");
    tokio::time::sleep(AWAY.saturating_sub(gone.elapsed())).await;
    let away = (stored(&stage).await - stored_before) / gone.elapsed().as_secs_f64();
    eprintln!("records a second: {before:.0} with the store, {away:.0} without");
    assert!(
        before * RATE_SHARE_MIN < away,
        "{before:.0} with the store, {away:.0} without"
    );
    let behind = stage.status("t").await;
    let backlog: i32 = behind
        .iter()
        .map(|partition| partition.backlog_segments)
        .sum();
    assert!(0 < backlog, "{behind:#?}");
    let end = |partition: &headwater_client::types::PartitionTierStatus| {
        partition.tier_end_offset.unwrap_or_default()
    };
    for partition in &behind {
        assert!(
            partition.local_start_offset <= end(partition),
            "{partition:#?}"
        );
    }

    server.restart();
    let back = Instant::now();
    let history = load.finish().await;
    stage.settled("t").await;
    eprintln!(
        "{backlog} segments behind; all in the tier {:.1?} after it came back",
        back.elapsed()
    );
    stage.finding("TIER_UNAVAILABLE", false).await;
    let (followed, silence) = tail.take(history.acked_count()).await;
    eprintln!("the reader at the end heard nothing for {silence:.1?} at most");
    assert!(silence < SILENCE_MAX, "silence of {silence:?}");
    assert_eq!(history.unknown_count(), 0);
    for read in [followed, read_all(&client, "t").await] {
        let faults = history.faults(&read);
        assert!(
            faults.is_empty(),
            "{} faults: {:#?}",
            faults.len(),
            &faults[..faults.len().min(10)]
        );
    }
    stage.verify();
}

/// Records that are stored.
async fn stored(stage: &Stage) -> f64 {
    let status = stage.status("t").await;
    let stored: i64 = status
        .iter()
        .map(|partition| partition.high_watermark)
        .sum();
    stored as f64
}

/// A reader at the end.
struct Tail {
    reading: JoinHandle<()>,
    read: mpsc::UnboundedReceiver<(Instant, Vec<ConsumerRecord>)>,
}

impl Tail {
    /// Begins with the topic's first record.
    async fn start(client: &Client) -> Tail {
        let consumer = client.consumer().topic("t", Position::Earliest);
        let mut consumer = consumer.build().await.unwrap();
        let (reads, read) = mpsc::unbounded_channel();
        let reading = tokio::spawn(async move {
            while let Some(batch) = consumer.next_batch().await.unwrap() {
                if reads.send((Instant::now(), batch.records)).is_err() {
                    return;
                }
            }
        });
        Tail { reading, read }
    }

    /// So many records, and the longest time between two of them.
    async fn take(mut self, count: usize) -> (Vec<ConsumerRecord>, Duration) {
        let mut all = Vec::new();
        let mut silence = Duration::ZERO;
        let mut heard: Option<Instant> = None;
        while all.len() < count {
            let next = tokio::time::timeout(SILENCE_MAX, self.read.recv()).await;
            let (at, records) = next
                .unwrap_or_else(|_| panic!("{} of {count} records came", all.len()))
                .expect("it reads until it is told to end");
            silence = silence.max(heard.map_or(Duration::ZERO, |heard| at - heard));
            heard = Some(at);
            all.extend(records);
        }
        self.reading.abort();
        (all, silence)
    }
}
