//! A broker that is killed, however often and whenever, keeps what it has acknowledged.
#![allow(clippy::print_stderr, reason = "what was measured is for who runs it")]

use std::time::Duration;

use bytes::Bytes;
use headwater_client::types::{Durability, TopicConfig};
use headwater_client::{ProducerConfig, ProducerRecord};
use headwater_e2e::{Broker, Load, everything, read_all, seed};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const PARTITIONS: u32 = 3;

#[tokio::test(flavor = "multi_thread")]
async fn a_few_kills_under_load_lose_and_duplicate_nothing() {
    kill_under_load(3, Durability::Fsync).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_kills_under_load_lose_and_duplicate_nothing() {
    if everything("") {
        kill_under_load(100, Durability::Fsync).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_lose_nothing_in_class_replicated_either() {
    if everything("") {
        kill_under_load(20, Durability::Replicated).await;
    }
}

async fn kill_under_load(kills: u32, durability: Durability) {
    let mut rng = StdRng::seed_from_u64(seed());
    let mut broker = Broker::start();
    let client = broker.client().await;
    let config = TopicConfig {
        durability: Some(durability.into()),
        ..TopicConfig::default()
    };
    client
        .admin()
        .create_topic("killed", PARTITIONS, config, false)
        .await
        .unwrap();
    let load = Load::start(&client, "killed", PARTITIONS, 2);

    let mut restarts = Vec::new();
    for _ in 0..kills {
        tokio::time::sleep(Duration::from_millis(rng.random_range(20..600))).await;
        broker.kill();
        broker.restart();
        restarts.push(broker.started_in());
    }
    // Some more that no kill follows.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let history = load.finish().await;

    let read = read_all(&client, "killed").await;
    let faults = history.faults(&read);
    restarts.sort();
    eprintln!(
        "{kills} kills: {} records acked, {} of unknown outcome, {} read; restarts took {:?} \
         (median) to {:?}",
        history.acked_count(),
        history.unknown_count(),
        read.len(),
        restarts[restarts.len() / 2],
        restarts[restarts.len() - 1],
    );
    assert!(
        faults.is_empty(),
        "{} faults, the first: {:#?}",
        faults.len(),
        &faults[..faults.len().min(10)]
    );
    assert!(1_000 < history.acked_count(), "there was hardly any load");
    assert_eq!(
        history.unknown_count(),
        0,
        "a restart is no reason to give up"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_broker_with_a_gibibyte_is_back_within_a_second() {
    if everything("") {
        let took = restart_with_a_gibibyte(Durability::Fsync).await;
        assert!(took < Duration::from_secs(1), "took {took:?}");
    }
}

/// All of the gibibyte is above the sync mark: it is verified, synced and read again from the
/// medium before anything is served, so the bound is the disk's.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_broker_with_an_unsynced_gibibyte_comes_back() {
    if everything("") {
        restart_with_a_gibibyte(Durability::Replicated).await;
    }
}

async fn restart_with_a_gibibyte(durability: Durability) -> Duration {
    let mut broker = Broker::start();
    let client = broker.client().await;
    let config = TopicConfig {
        durability: Some(durability.into()),
        ..TopicConfig::default()
    };
    let admin = client.admin();
    admin
        .create_topic("large", PARTITIONS, config, false)
        .await
        .unwrap();
    let producer = client.producer(ProducerConfig::new()).unwrap();
    let value = Bytes::from(vec![7; 64 << 10]);
    let records = (1_u32 << 30) / (64 << 10);
    for number in 0..records {
        let record = ProducerRecord::new("large", value.clone()).partition(number % PARTITIONS);
        drop(producer.send(record).await.unwrap());
    }
    producer.close().await.unwrap();

    broker.kill();
    broker.restart();
    eprintln!(
        "restart with 1 GiB of class {durability:?}: {:?}",
        broker.started_in()
    );
    let partitions = admin.list_partitions("large").await.unwrap();
    let held: i64 = partitions
        .iter()
        .map(|partition| partition.high_watermark)
        .sum();
    assert_eq!(held, i64::from(records));
    broker.started_in()
}
