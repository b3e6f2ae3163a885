//! A store that is away for a while costs nothing but the time until it has everything.

use std::time::{Duration, Instant};

use headwater_client::types::TopicConfig;
use headwater_e2e::{Load, Versitygw, read_all};

use crate::stage::{Credentials, Stage, together};

const PARTITIONS: u32 = 3;
const SMALLEST: u64 = 64 << 10;
/// How long the store is away: twice what health waits before it speaks of it.
const AWAY: Duration = Duration::from_secs(60);
const WINDOW: Duration = Duration::from_secs(5);

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
    let created = admin.create_topic("t", PARTITIONS, TopicConfig::default(), false);
    created.await.unwrap();
    let pause = Duration::from_micros(200);
    let load = Load::start_gently(&client, "t", PARTITIONS, 2, pause);
    let before = rate(&stage).await;

    server.kill();
    let gone = Instant::now();
    let away = rate(&stage).await;
    eprintln!("records a second: {before:.0} with the store, {away:.0} without");
    assert!(
        before / 4.0 < away,
        "{before:.0} with the store, {away:.0} without"
    );
    let finding = stage.finding("TIER_UNAVAILABLE", true).await.unwrap();
    eprintln!(
        "{}: {}; {}",
        finding.reason, finding.message, finding.remedy
    );
    let shown = stage.run(&["tier", "status", "t"]);
    eprintln!("$ headwater tier status t\n{shown}");
    assert!(shown.contains("not reachable"), "{shown}");
    tokio::time::sleep(AWAY.saturating_sub(gone.elapsed())).await;
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
    let faults = history.faults(&read_all(&client, "t").await);
    assert!(
        faults.is_empty(),
        "{} faults: {:#?}",
        faults.len(),
        &faults[..faults.len().min(10)]
    );
    assert_eq!(history.unknown_count(), 0);
    stage.verify();
}

/// Records a second that are stored.
async fn rate(stage: &Stage) -> f64 {
    let stored = async || -> i64 {
        let status = stage.status("t").await;
        status
            .iter()
            .map(|partition| partition.high_watermark)
            .sum()
    };
    let before = stored().await;
    tokio::time::sleep(WINDOW).await;
    (stored().await - before) as f64 / WINDOW.as_secs_f64()
}
