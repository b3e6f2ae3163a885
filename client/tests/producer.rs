//! The producer against a broker that refuses, cuts and stalls.

mod fake;

use std::time::Duration;

use fake::{Fake, Fault};
use futures::future::join_all;
use headwater_client::{
    Batch, BatchBuilder, Compression, Delivery, Error, Producer, ProducerConfig, ProducerRecord,
    Record,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::timeout;

/// Every record is a batch of its own, so that faults hit single records.
fn one_by_one() -> ProducerConfig {
    ProducerConfig::new().batch_bytes_max(1)
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|index| format!("r{index}")).collect()
}

async fn send_all(producer: &Producer, values: &[String]) -> Vec<Delivery> {
    let mut deliveries = Vec::new();
    for value in values {
        let record = ProducerRecord::new("t", value.clone()).partition(0);
        deliveries.push(producer.send(record).await.expect("it is taken"));
    }
    deliveries
}

/// Sends records through faults; returns the broken-off reasons, `""` for a success.
async fn reasons(fake: &Fake, config: ProducerConfig, count: usize) -> Vec<String> {
    let producer = fake.client().producer(config).expect("valid");
    let deliveries = send_all(&producer, &names(count)).await;
    let outcomes = timeout(Duration::from_secs(20), join_all(deliveries))
        .await
        .expect("in time");
    let reason = |outcome: Result<_, Error>| match outcome {
        Ok(_) => String::new(),
        Err(error) => error.reason().to_owned(),
    };
    outcomes.into_iter().map(reason).collect()
}

fn retriable(reason: &'static str) -> Fault {
    Fault::Refuse {
        reason,
        retriable: true,
    }
}

fn fatal(reason: &'static str) -> Fault {
    Fault::Refuse {
        reason,
        retriable: false,
    }
}

#[tokio::test]
async fn records_get_the_offsets_of_their_order() {
    let fake = Fake::start(1).await;
    let config = ProducerConfig::new().linger(Duration::from_millis(5));
    let producer = fake.client().producer(config).expect("valid");
    let deliveries = send_all(&producer, &names(1000)).await;
    for (index, delivery) in deliveries.into_iter().enumerate() {
        let metadata = delivery.await.expect("it is stored");
        assert_eq!(metadata.offset, Some(index as u64));
        assert!(!metadata.duplicate);
    }
    assert_eq!(fake.values(0), names(1000));
    assert!(fake.state().arrivals.len() < 100, "records share batches");
}

#[tokio::test]
async fn a_refused_batch_and_all_behind_it_come_again_in_order_and_unchanged() {
    let fake = Fake::start(1).await;
    fake.hold_acks(true);
    fake.set_faults([Fault::None, retriable("NOT_ENOUGH_REPLICAS")]);
    let producer = fake.client().producer(one_by_one()).expect("valid");
    let deliveries = send_all(&producer, &names(5)).await;
    fake.until("all have arrived", |state| state.arrivals.len() == 5)
        .await;
    fake.hold_acks(false);
    for delivery in deliveries {
        delivery.await.expect("it is stored in the end");
    }
    assert_eq!(fake.values(0), names(5));
    let arrivals = fake.state().arrivals.clone();
    let (first, second) = arrivals.split_at(5);
    let bytes = |arrivals: &[fake::Arrival]| -> Vec<_> {
        arrivals
            .iter()
            .map(|arrival| arrival.bytes.clone())
            .collect()
    };
    assert_eq!(bytes(&first[1..]), bytes(second));
    assert!(second.iter().all(|again| again.window > first[0].window));
}

#[tokio::test]
async fn what_may_be_stored_is_sent_again_unchanged_and_stored_once() {
    let fake = Fake::start(1).await;
    fake.hold_acks(true);
    fake.set_faults([Fault::None, Fault::None, Fault::CutAfter]);
    let producer = fake.client().producer(one_by_one()).expect("valid");
    let deliveries = send_all(&producer, &names(3)).await;
    fake.until("all have arrived twice", |state| state.arrivals.len() == 6)
        .await;
    fake.hold_acks(false);
    for delivery in deliveries {
        assert!(delivery.await.expect("it is stored").duplicate);
    }
    let arrivals = fake.state().arrivals.clone();
    for (first, again) in arrivals.iter().zip(&arrivals[3..]) {
        assert_eq!(first.bytes, again.bytes);
    }
    assert_eq!(fake.values(0), names(3));
}

#[tokio::test]
async fn a_batch_that_was_stored_before_the_cut_is_a_duplicate() {
    let fake = Fake::start(1).await;
    fake.set_faults([Fault::CutAfter]);
    let producer = fake.client().producer(one_by_one()).expect("valid");
    let delivery = send_all(&producer, &names(1)).await.remove(0);
    let metadata = delivery.await.expect("it is stored");
    assert!(metadata.duplicate);
    assert_eq!(fake.values(0), names(1));
    let arrivals = fake.state().arrivals.clone();
    assert_eq!(arrivals[0].bytes, arrivals[1].bytes);
}

#[tokio::test]
async fn a_batch_refused_for_good_fails_alone() {
    let fake = Fake::start(1).await;
    fake.set_faults([Fault::None, fatal("TIMESTAMP_AHEAD")]);
    let outcomes = reasons(&fake, one_by_one(), 6).await;
    assert_eq!(outcomes, ["", "TIMESTAMP_AHEAD", "", "", "", ""]);
    assert_eq!(fake.values(0), ["r0", "r2", "r3", "r4", "r5"]);
}

#[tokio::test]
async fn a_forgotten_producer_goes_on_under_another_identity() {
    let fake = Fake::start(1).await;
    let producer = fake.client().producer(one_by_one()).expect("valid");
    for delivery in send_all(&producer, &names(3)).await {
        delivery.await.expect("it is stored");
    }
    fake.state().topics.get_mut("default/t").expect("exists")[0]
        .producers
        .clear();
    for delivery in send_all(&producer, &["after".to_owned()]).await {
        delivery
            .await
            .expect("refused at its only attempt, it may be sent under a new identity");
    }
    assert_eq!(fake.values(0), ["r0", "r1", "r2", "after"]);
}

#[tokio::test]
async fn what_may_be_stored_is_not_sent_under_another_identity() {
    let fake = Fake::start(1).await;
    let producer = fake.client().producer(one_by_one()).expect("valid");
    send_all(&producer, &names(1))
        .await
        .remove(0)
        .await
        .expect("it is stored");
    fake.set_faults([Fault::CutBefore, fatal("UNKNOWN_PRODUCER")]);
    let error = send_all(&producer, &["x".to_owned()])
        .await
        .remove(0)
        .await
        .expect_err("in doubt");
    assert!(
        matches!(error, Error::OutcomeUnknown { records: 1, .. }),
        "{error:?}"
    );
    send_all(&producer, &["y".to_owned()])
        .await
        .remove(0)
        .await
        .expect("it is stored");
    assert_eq!(fake.values(0), ["r0", "y"]);
}

#[tokio::test]
async fn a_fenced_name_stops_its_producer_and_is_not_taken_back() {
    let fake = Fake::start(1).await;
    let config = one_by_one().name("orders-writer");
    let old = fake.client().producer(config.clone()).expect("valid");
    send_all(&old, &names(1))
        .await
        .remove(0)
        .await
        .expect("it is stored");
    let new = fake.client().producer(config).expect("valid");
    send_all(&new, &["new".to_owned()])
        .await
        .remove(0)
        .await
        .expect("it is stored");
    let error = send_all(&old, &["old".to_owned()])
        .await
        .remove(0)
        .await
        .expect_err("fenced");
    assert_eq!(error.reason(), "FENCED");
    let error = old
        .send(ProducerRecord::new("t", "x"))
        .await
        .expect_err("fenced for good");
    assert_eq!(error.reason(), "FENCED");
    assert_eq!(fake.values(0), ["r0", "new"]);
    assert_eq!(fake.state().named_producers["orders-writer"].1, 1);
}

#[tokio::test]
async fn without_idempotence_nothing_is_sent_twice() {
    let fake = Fake::start(1).await;
    fake.set_faults([Fault::CutBefore]);
    let outcomes = reasons(&fake, one_by_one().idempotent(false), 1).await;
    assert_eq!(outcomes, ["OUTCOME_UNKNOWN"]);
    assert_eq!(fake.state().arrivals.len(), 1);
}

#[tokio::test]
async fn the_credit_is_never_exceeded() {
    let fake = Fake::start(4).await;
    fake.state().credit_bytes = 10_000;
    let config = ProducerConfig::new().batch_bytes_max(3000);
    let producer = fake.client().producer(config).expect("valid");
    for index in 0..500_usize {
        // One batch is larger than the credit: it goes alone.
        let size = if index == 250 {
            20_000
        } else {
            index * 7 % 2500
        };
        let record = ProducerRecord::new("t", vec![b'x'; size]).key(index.to_string());
        drop(producer.send(record).await.expect("it is taken"));
    }
    producer.flush().await.expect("all are stored");
    let state = fake.state();
    assert!(
        state.outstanding_bytes_max <= 10_000,
        "{}",
        state.outstanding_bytes_max
    );
    let stored: usize = state.topics["default/t"]
        .iter()
        .map(|log| log.values().len())
        .sum();
    assert_eq!(stored, 500);
}

#[tokio::test]
async fn no_more_batches_are_on_their_way_than_the_leader_remembers() {
    let fake = Fake::start(1).await;
    fake.hold_acks(true);
    let producer = fake.client().producer(one_by_one()).expect("valid");
    let deliveries = send_all(&producer, &names(100)).await;
    fake.until("the lane is full", |state| state.arrivals.len() >= 16)
        .await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(fake.state().arrivals.len(), 16);
    fake.hold_acks(false);
    join_all(deliveries)
        .await
        .into_iter()
        .for_each(|it| drop(it.expect("it is stored")));
    assert_eq!(fake.state().outstanding_batches_max, 16);
    assert_eq!(fake.values(0), names(100));
}

#[tokio::test]
async fn send_waits_while_the_buffer_is_full() {
    let fake = Fake::start(1).await;
    fake.hold_acks(true);
    let config = ProducerConfig::new().buffer_bytes_max(10_000);
    let producer = fake.client().producer(config).expect("valid");
    let mut taken = 0;
    loop {
        let record = ProducerRecord::new("t", vec![b'x'; 1000]);
        match timeout(Duration::from_millis(100), producer.send(record)).await {
            Ok(delivery) => drop(delivery.expect("it is taken")),
            Err(_elapsed) => break,
        }
        taken += 1;
        assert!(taken <= 10, "more than the buffer holds");
    }
    assert!(taken >= 8, "{taken}");
    fake.hold_acks(false);
    let record = ProducerRecord::new("t", vec![b'x'; 1000]);
    let waiting = timeout(Duration::from_secs(5), producer.send(record))
        .await
        .expect("there is room");
    waiting.expect("it is taken").await.expect("it is stored");
    let error = producer
        .send(ProducerRecord::new("t", vec![0; 20_000]))
        .await
        .expect_err("never");
    assert_eq!(error.reason(), "RECORD_TOO_LARGE");
}

#[tokio::test]
async fn what_is_always_refused_ends_at_the_delivery_timeout_as_not_stored() {
    let fake = Fake::start(1).await;
    fake.set_faults(vec![retriable("NOT_ENOUGH_REPLICAS"); 10_000]);
    let config = one_by_one().delivery_timeout(Duration::from_millis(300));
    let producer = fake.client().producer(config).expect("valid");
    let deliveries = send_all(&producer, &names(20)).await;
    let outcomes = timeout(Duration::from_secs(10), join_all(deliveries))
        .await
        .expect("in time");
    for outcome in outcomes {
        let error = outcome.expect_err("it was refused each time");
        assert!(matches!(error, Error::DeliveryTimeout { .. }), "{error:?}");
        assert!(error.to_string().contains("NOT_ENOUGH_REPLICAS"), "{error}");
    }
    fake.set_faults([]);
    send_all(&producer, &["next".to_owned()])
        .await
        .remove(0)
        .await
        .expect("it goes on");
    assert_eq!(fake.values(0), ["next"]);
}

#[tokio::test]
async fn what_is_never_answered_ends_at_the_delivery_timeout_as_unknown() {
    let fake = Fake::start(1).await;
    fake.set_faults([Fault::Swallow]);
    let config = one_by_one().delivery_timeout(Duration::from_millis(300));
    let producer = fake.client().producer(config).expect("valid");
    let delivery = send_all(&producer, &names(1)).await.remove(0);
    let error = timeout(Duration::from_secs(5), delivery)
        .await
        .expect("in time")
        .expect_err("lost");
    assert!(matches!(error, Error::OutcomeUnknown { .. }), "{error:?}");
    send_all(&producer, &["next".to_owned()])
        .await
        .remove(0)
        .await
        .expect("it goes on");
    assert_eq!(fake.values(0), ["r0", "next"]);
}

#[tokio::test]
async fn a_full_broker_is_tried_until_it_has_room() {
    let fake = Fake::start(1).await;
    fake.set_faults(vec![retriable("STORAGE_FULL"); 4]);
    assert_eq!(reasons(&fake, one_by_one(), 3).await, ["", "", ""]);
    assert_eq!(fake.values(0), names(3));
}

#[tokio::test]
async fn a_broker_that_restarts_loses_and_doubles_nothing() {
    let mut fake = Fake::start(1).await;
    let producer = fake.client().producer(one_by_one()).expect("valid");
    let mut deliveries = send_all(&producer, &names(50)).await;
    fake.until("some have arrived", |state| !state.arrivals.is_empty())
        .await;
    fake.stop().await;
    let more: Vec<String> = (50..100).map(|index| format!("r{index}")).collect();
    deliveries.extend(send_all(&producer, &more).await);
    fake.start_again().await;
    let outcomes = timeout(Duration::from_secs(20), join_all(deliveries))
        .await
        .expect("in time");
    outcomes
        .into_iter()
        .for_each(|outcome| drop(outcome.expect("it is stored")));
    assert_eq!(fake.values(0), names(100));
}

#[tokio::test]
async fn a_draining_broker_gets_nothing_more_on_that_stream() {
    let fake = Fake::start(1).await;
    let producer = fake.client().producer(one_by_one()).expect("valid");
    send_all(&producer, &names(1))
        .await
        .remove(0)
        .await
        .expect("it is stored");
    fake.shared.draining.send_replace(true);
    fake.until("it connects again", |state| state.next_stream == 2)
        .await;
    fake.shared.draining.send_replace(false);
    send_all(&producer, &["x".to_owned()])
        .await
        .remove(0)
        .await
        .expect("on another stream");
    let arrivals = fake.state().arrivals.clone();
    assert_ne!(arrivals[0].stream, arrivals[1].stream);
}

#[tokio::test]
async fn flush_tells_of_failures_that_nobody_waited_for() {
    let fake = Fake::start(1).await;
    fake.set_faults([fatal("TIMESTAMP_AHEAD")]);
    let config = one_by_one().linger(Duration::from_secs(60));
    let producer = fake.client().producer(config).expect("valid");
    drop(send_all(&producer, &names(2)).await);
    assert_eq!(
        producer.flush().await.expect_err("one failed").reason(),
        "TIMESTAMP_AHEAD"
    );
    producer.flush().await.expect("it was told once");
    assert_eq!(fake.values(0), ["r1"]);
}

#[tokio::test]
async fn close_sends_what_lingers_and_refuses_more() {
    let fake = Fake::start(1).await;
    let config = ProducerConfig::new().linger(Duration::from_secs(60));
    let producer = fake.client().producer(config).expect("valid");
    drop(send_all(&producer, &names(3)).await);
    let clone = producer.clone();
    producer.close().await.expect("all are stored");
    assert_eq!(fake.values(0), names(3));
    let error = clone
        .send(ProducerRecord::new("t", "x"))
        .await
        .expect_err("closed");
    assert!(matches!(error, Error::Closed));
}

#[tokio::test]
async fn keys_go_where_kafka_puts_them() {
    let fake = Fake::start(7).await;
    let producer = fake
        .client()
        .producer(ProducerConfig::new())
        .expect("valid");
    // From Kafka's own UtilsTest: murmur2 of these keys, made positive, modulo 7.
    let hashes: [(&str, i32); 5] = [
        ("21", -973_932_308),
        ("foobar", -790_332_482),
        ("a-little-bit-long-string", -985_981_536),
        ("a-little-bit-longer-string", -1_486_304_829),
        (
            "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
            -58_897_971,
        ),
    ];
    for (key, hash) in hashes {
        let record = ProducerRecord::new("t", "v").key(key);
        let metadata = producer
            .send(record)
            .await
            .expect("taken")
            .await
            .expect("stored");
        assert_eq!(metadata.partition, (hash & 0x7fff_ffff) as u32 % 7, "{key}");
    }
}

#[tokio::test]
async fn records_without_a_key_fill_a_batch_before_they_move_on() {
    let fake = Fake::start(4).await;
    let config = ProducerConfig::new()
        .batch_bytes_max(2000)
        .linger(Duration::from_secs(60));
    let producer = fake.client().producer(config).expect("valid");
    for _ in 0..400 {
        let record = ProducerRecord::new("t", vec![b'x'; 100]);
        drop(producer.send(record).await.expect("taken"));
    }
    producer.flush().await.expect("all are stored");
    let state = fake.state();
    let batches: Vec<_> = state.topics["default/t"]
        .iter()
        .map(|log| log.batches.len())
        .collect();
    assert!(state.arrivals.len() < 40, "batches are full: {batches:?}");
    let (least, most) = (batches.iter().min(), batches.iter().max());
    assert!(
        most.zip(least)
            .is_some_and(|(most, least)| most - least <= 1),
        "{batches:?}"
    );
}

#[tokio::test]
async fn finished_batches_take_their_place_in_the_sequence() {
    let fake = Fake::start(1).await;
    let producer = fake
        .client()
        .producer(ProducerConfig::new())
        .expect("valid");
    let batch = |value: &'static str| -> Batch {
        let mut builder = BatchBuilder::new(Compression::Lz4);
        let record = Record {
            value: Some(value.into()),
            ..Record::default()
        };
        builder.push(&record).expect("it is small");
        builder.build().expect("it is not empty")
    };
    drop(send_all(&producer, &names(2)).await);
    let delivery = producer
        .send_batch("t", 0, batch("b0"))
        .await
        .expect("taken");
    drop(send_all(&producer, &["r2".to_owned()]).await);
    assert_eq!(delivery.await.expect("stored").base_offset, Some(2));
    producer.flush().await.expect("all are stored");
    assert_eq!(fake.values(0), ["r0", "r1", "b0", "r2"]);
}

#[tokio::test]
async fn what_is_wrong_at_once_is_said_at_once() {
    let fake = Fake::start(2).await;
    let producer = fake
        .client()
        .producer(ProducerConfig::new())
        .expect("valid");
    let error = producer
        .send(ProducerRecord::new("nope", "v"))
        .await
        .expect_err("no topic");
    assert_eq!(error.reason(), "TOPIC_NOT_FOUND");
    let record = ProducerRecord::new("t", "v").partition(2);
    let error = producer.send(record).await.expect_err("no partition");
    assert!(
        matches!(error, Error::NoSuchPartition { partitions: 2, .. }),
        "{error:?}"
    );
    let error = fake
        .client()
        .producer(ProducerConfig::new().batches_in_flight_max(17))
        .expect_err("the leader remembers 16");
    assert!(matches!(error, Error::InvalidConfig { .. }));
}

#[tokio::test]
async fn a_conditional_append_happens_only_at_its_offset() {
    let fake = Fake::start(1).await;
    let client = fake.client();
    let records = || {
        vec![Record {
            value: Some("v".into()),
            ..Record::default()
        }]
    };
    let ack = client
        .append("t", 0, Some(0), records())
        .await
        .expect("it is empty");
    assert_eq!((ack.base_offset, ack.last_offset), (Some(0), Some(0)));
    let error = client
        .append("t", 0, Some(0), records())
        .await
        .expect_err("it is not");
    let broker = error.broker().expect("the broker's word");
    assert_eq!(broker.reason, "OFFSET_MISMATCH");
    assert_eq!(broker.metadata["actual_offset"], "1");
}

/// Random faults: whatever was acknowledged is stored once and in order, and so is all else that
/// was stored.
#[expect(clippy::print_stdout, reason = "a failure needs its seed")]
async fn storm(seed: u64) {
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let fake = Fake::start(3).await;
    let fault = |rng: &mut StdRng| match rng.random_range(0..100) {
        0..6 => Fault::CutBefore,
        6..12 => Fault::CutAfter,
        12..20 => retriable("NOT_ENOUGH_REPLICAS"),
        20..23 => fatal("TIMESTAMP_AHEAD"),
        _ => Fault::None,
    };
    fake.set_faults((0..300).map(|_| fault(&mut rng)).collect::<Vec<_>>());
    let config = ProducerConfig::new().batch_bytes_max(rng.random_range(1..600));
    let producer = fake.client().producer(config).expect("valid");
    let mut deliveries = Vec::new();
    for index in 0..600 {
        let partition = rng.random_range(0..3);
        let record = ProducerRecord::new("t", format!("r{index}")).partition(partition);
        deliveries.push((
            index,
            partition,
            producer.send(record).await.expect("taken"),
        ));
        if rng.random_bool(0.05) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    for (index, partition, delivery) in deliveries {
        let outcome = timeout(Duration::from_secs(60), delivery)
            .await
            .expect("in time");
        let values = fake.values(partition as usize);
        match outcome {
            Ok(metadata) => {
                let offset = metadata.offset.expect("acks all") as usize;
                assert_eq!(values[offset], format!("r{index}"));
            }
            Err(Error::OutcomeUnknown { .. }) => {}
            Err(error) => {
                assert_eq!(error.reason(), "TIMESTAMP_AHEAD");
                assert!(
                    !values.contains(&format!("r{index}")),
                    "refused and yet stored"
                );
            }
        }
    }
    for partition in 0..3 {
        let numbers: Vec<u32> = fake
            .values(partition)
            .iter()
            .map(|value| value[1..].parse().expect("a number"))
            .collect();
        assert!(
            numbers.is_sorted_by(|a, b| a < b),
            "doubled or out of order: {numbers:?}"
        );
    }
}

#[tokio::test]
async fn a_storm_of_faults_neither_doubles_nor_reorders() {
    for _ in 0..5 {
        storm(rand::random()).await;
    }
}

#[tokio::test]
async fn the_same_storm_again() {
    storm(20_130_101).await;
}
