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
    if !everything("") {
        return;
    }
    let mut broker = Broker::start();
    let client = broker.client().await;
    let config = TopicConfig {
        durability: Some(Durability::Replicated.into()),
        ..TopicConfig::default()
    };
    client
        .admin()
        .create_topic("large", PARTITIONS, config, false)
        .await
        .unwrap();
    let producer = client.producer(ProducerConfig::new()).unwrap();
    let value = Bytes::from(vec![7; 64 << 10]);
    for number in 0..(1_u32 << 30) / (64 << 10) {
        let record = ProducerRecord::new("large", value.clone()).partition(number % PARTITIONS);
        drop(producer.send(record).await.unwrap());
    }
    producer.close().await.unwrap();

    broker.kill();
    broker.restart();
    eprintln!("restart with 1 GiB after a kill: {:?}", broker.started_in());
    assert!(
        broker.started_in() < Duration::from_secs(1),
        "took {:?}",
        broker.started_in()
    );
}
