//! Records that are checked.

use bytes::Bytes;
use headwater_client::{Client, ProducerConfig, ProducerRecord};

use crate::{History, read_all};

/// Faults of a history that are shown.
const FAULTS_MAX: usize = 10;

/// Sends `count` records that no other call sends, to all partitions in turn, and waits until all
/// are acknowledged.
pub async fn produce(client: &Client, topic: &str, partitions: u32, count: u32) -> History {
    let producer = client
        .producer(ProducerConfig::new())
        .expect("the defaults work");
    let sender = rand::random::<u64>();
    let mut sent = Vec::new();
    for number in 0..count {
        let value = Bytes::from(format!("{sender:x}-{number}"));
        let record = ProducerRecord::new(topic, value.clone()).partition(number % partitions);
        let delivery = producer.send(record).await.expect("it is accepted");
        sent.push((value, delivery));
    }
    let mut history = History::default();
    for (value, delivery) in sent {
        let stored = delivery.await.expect("it is stored");
        let offset = stored.offset.expect("acks are asked for");
        history.acked(stored.partition, offset, value);
    }
    producer.close().await.expect("all is stored");
    history
}

/// Reads a topic from its start: everything acknowledged is there, once, where it was put.
pub async fn expect_intact(client: &Client, topic: &str, history: &History) {
    let faults = history.faults(&read_all(client, topic).await);
    assert!(
        faults.is_empty(),
        "{} faults in {topic}, the first: {:#?}",
        faults.len(),
        &faults[..faults.len().min(FAULTS_MAX)]
    );
}
