//! Producers that keep sending while a broker comes and goes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use headwater_client::{Client, Delivery, Error, Producer, ProducerConfig, ProducerRecord};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::History;

/// Records of one sender that wait for their acks: enough to keep several batches on their way.
const IN_FLIGHT_MAX: usize = 2_000;

/// Senders in the background.
pub struct Load {
    senders: JoinSet<History>,
    stop: watch::Sender<bool>,
}

impl Load {
    /// Starts `senders` idempotent producers, each of which sends to all partitions in turn.
    pub fn start(client: &Client, topic: &str, partitions: u32, senders: usize) -> Load {
        Load::start_gently(client, topic, partitions, senders, Duration::ZERO)
    }

    /// The same with a pause after each record, for a load that lasts long.
    pub fn start_gently(
        client: &Client,
        topic: &str,
        partitions: u32,
        senders: usize,
        pause: Duration,
    ) -> Load {
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        for sender in 0..senders {
            let (client, topic, stopped) = (client.clone(), Arc::from(topic), stopped.clone());
            tasks.spawn(send(client, topic, partitions, sender, pause, stopped));
        }
        Load {
            senders: tasks,
            stop,
        }
    }

    /// Ends the senders, waits for all outcomes, and says what was promised.
    pub async fn finish(self) -> History {
        self.stop.send_replace(true);
        let mut history = History::default();
        for sender in self.senders.join_all().await {
            history.merge(sender);
        }
        history
    }
}

async fn send(
    client: Client,
    topic: Arc<str>,
    partitions: u32,
    sender: usize,
    pause: Duration,
    stopped: watch::Receiver<bool>,
) -> History {
    let start = || {
        client
            .producer(ProducerConfig::new())
            .expect("the defaults work")
    };
    let mut producer: Producer = start();
    let mut history = History::default();
    let mut waiting: VecDeque<(Bytes, Delivery)> = VecDeque::new();
    for (number, partition) in (0..partitions).cycle().enumerate() {
        if *stopped.borrow() {
            break;
        }
        let value = Bytes::from(format!("{sender}-{number}"));
        let record = ProducerRecord::new(topic.clone(), value.clone()).partition(partition);
        match producer.send(record).await {
            Ok(delivery) => waiting.push_back((value, delivery)),
            Err(error) => panic!("a record was refused: {error}"),
        }
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        if IN_FLIGHT_MAX <= waiting.len() {
            let (value, delivery) = waiting.pop_front().expect("it is not empty");
            if settle(&mut history, value, delivery.await) {
                producer = start();
            }
        }
    }
    for (value, delivery) in waiting {
        settle(&mut history, value, delivery.await);
    }
    history
}

/// Writes the outcome down. True if the producer has to be replaced.
fn settle(
    history: &mut History,
    value: Bytes,
    outcome: Result<headwater_client::RecordMetadata, Error>,
) -> bool {
    match outcome {
        Ok(metadata) => {
            let offset = metadata.offset.expect("acks are asked for");
            history.acked(metadata.partition, offset, value);
            false
        }
        Err(Error::OutcomeUnknown { .. }) => {
            history.unknown();
            true
        }
        Err(error) => panic!("a record has failed: {error}"),
    }
}
