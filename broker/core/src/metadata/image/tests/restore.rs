//! Images of clusters that are rebuilt from another's snapshot.

use headwater_record::Offset;
use uuid::Uuid;

use super::*;
use crate::ids::{PartitionIdx, StorageId};
use crate::limits::{BROKER_PARTITIONS_MAX, NUMBER_MAX};
use crate::metadata::tier::{RestoredFrom, TierHead};

/// The new cluster, in the directory of broker 3 of the tests.
fn new_cluster() -> Cluster {
    Cluster {
        id: ClusterId(Uuid::from_u128(0xC2)),
        first_storage: StorageId(Uuid::from_u128(0x53)),
    }
}

/// Two brokers, two topics, a deleted one, producers.
fn snapshot() -> Image {
    let mut image = cluster(2);
    create_topic(&mut image, "orders", 1, 2);
    create_topic(&mut image, "payments", 2, 1);
    create_topic(&mut image, "gone", 3, 1);
    let name = ProducerName::parse("p", "shop").unwrap();
    for command in [
        Command::DeleteTopic(DeleteTopic {
            id: topic_id(3),
            tiered: true,
        }),
        Command::InitNamedProducer { name },
        Command::AllocateProducerIds { count: 1_000 },
    ] {
        image.apply(&command).unwrap();
    }
    image
}

fn restored(next_producer_min: i64) -> Image {
    Image::restored(snapshot(), new_cluster(), ProducerId(next_producer_min))
}

fn head(leader_epoch: u32, start: u64, end: u64) -> TierHead {
    TierHead {
        number: 7,
        leader_epoch: LeaderEpoch(leader_epoch),
        start: Offset::new(start),
        end: Offset::new(end),
    }
}

#[test]
fn a_restored_cluster_has_the_topics_and_nothing_else_of_the_old_one() {
    let (old, mut image) = (snapshot(), restored(0));
    assert_eq!(image.cluster(), Some(new_cluster()));
    let from = RestoredFrom {
        cluster: CLUSTER,
        adopted: false,
    };
    assert_eq!(image.restored_from(), Some(from));
    assert_eq!(
        (image.brokers().count(), image.tombstones().count()),
        (0, 0)
    );
    for (old, topic) in old.topics().zip(image.topics()) {
        let what = |topic: &Topic| (topic.id, topic.name.clone(), topic.partitions.len());
        assert_eq!(what(topic), what(old));
        assert!(topic.partitions.iter().all(|partition| {
            partition.replicas.is_empty()
                && partition.isr.is_empty()
                && partition.leader.is_none()
                && partition.tier.is_none()
                && partition.leader_epoch == LeaderEpoch(1)
        }));
    }
    assert!(image.revision() > old.revision());
    assert_eq!(Image::decode(&image.encode()).as_ref(), Ok(&image));
    let name = ProducerName::parse("p", "shop").unwrap();
    let named = Applied::NamedProducer {
        id: ProducerId(1_002),
        epoch: 0,
    };
    assert_eq!(
        image.apply(&Command::InitNamedProducer { name }),
        Ok(named),
        "an id that no log has seen"
    );
}

#[test]
fn producer_ids_go_on_behind_the_highest_that_is_known() {
    for (at_least, first) in [(0, 1_002), (5_000, 5_000)] {
        let block = Applied::ProducerIds(ProducerId(first)..ProducerId(first + 1));
        let allocate = Command::AllocateProducerIds { count: 1 };
        assert_eq!(restored(at_least).apply(&allocate), Ok(block));
    }
}

#[test]
fn the_first_broker_of_a_restored_cluster_leads_every_partition() {
    let mut image = restored(0);
    let error = image.apply(&register(1, &[1])).unwrap_err();
    assert_eq!(error.reason(), "NOT_THE_FIRST_STORAGE");
    let applied = image.apply(&register(3, &[1])).unwrap();
    let epoch = BrokerEpoch(image.revision().0);
    let led = |topic, index| {
        (
            topic_id(topic).partition(PartitionIdx(index)),
            LeaderEpoch(2),
        )
    };
    let expected = Applied::BrokerRegistered {
        broker: BrokerId(3),
        epoch,
        rolled_back: false,
        led: vec![led(1, 0), led(1, 1), led(2, 0)],
    };
    assert_eq!(applied, expected);
    let own = [BrokerId(3)];
    for partition in image.topics().flat_map(|topic| &topic.partitions) {
        assert_eq!(
            (&partition.replicas[..], &partition.isr[..]),
            (&own[..], &own[..])
        );
        assert_eq!(partition.leader, Some(BrokerId(3)));
    }
    assert_eq!(image.broker(BrokerId(3)).unwrap().replicas, 3);
    assert_eq!(Image::decode(&image.encode()).as_ref(), Ok(&image));

    image.apply(&register(4, &[1])).unwrap();
    assert_eq!(image.broker(BrokerId(4)).unwrap().replicas, 0);
    let again = image.apply(&register(3, &[1, 2])).unwrap();
    let Applied::BrokerRegistered { led, .. } = again else {
        panic!("it is a registration");
    };
    assert_eq!(led.len(), 3);
}

#[test]
fn a_head_that_the_snapshot_did_not_see_raises_the_leader_epoch_above_its_own() {
    let mut image = restored(0);
    let key = topic_id(1).partition(PartitionIdx(1));
    for (epoch, expected) in [(0, 1), (5, 6)] {
        assert!(image.set_tier_head(key, head(epoch, 10, 20)));
        let partition = image.partition(key).unwrap();
        assert_eq!(partition.tier, Some(head(epoch, 10, 20)));
        assert_eq!(partition.leader_epoch, LeaderEpoch(expected));
    }
    let before = image.clone();
    let absent = topic_id(1).partition(PartitionIdx(2));
    assert!(!image.set_tier_head(absent, head(0, 10, 20)));
    assert!(!image.set_tier_head(key, head(0, 21, 20)));
    assert!(!image.set_tier_head(key, head(NUMBER_MAX, 10, 20)));
    assert_eq!(image, before);
}

#[test]
fn a_topic_that_is_deleted_before_any_broker_is_there_leaves_nothing_behind() {
    let mut image = restored(0);
    let delete = Command::DeleteTopic(DeleteTopic {
        id: topic_id(1),
        tiered: false,
    });
    image.apply(&delete).unwrap();
    assert_eq!(image.tombstones().count(), 0);
    assert_eq!(Image::decode(&image.encode()).as_ref(), Ok(&image));
}

#[test]
fn more_partitions_than_a_broker_takes_are_not_given_to_one() {
    let mut large = cluster(2);
    for number in 1..=11 {
        let topic = CreateTopic {
            replication_factor: Some(1),
            ..create(&format!("t{number}"), number, TOPIC_PARTITIONS_MAX)
        };
        large.apply(&Command::CreateTopic(topic)).unwrap();
    }
    let partitions: usize = large.topics().map(|topic| topic.partitions.len()).sum();
    assert!(partitions > BROKER_PARTITIONS_MAX);
    let image = Image::restored(large, new_cluster(), ProducerId(0));
    let message = "partitions on one broker are limited to 100000; restore fewer topics";
    refused(&image, register(3, &[1]), "LIMIT_EXCEEDED", message);
}

#[test]
fn a_topic_alone_reads_back_and_takes_its_place_in_another_image() {
    let old = snapshot();
    let orders = old.topic_by_id(topic_id(1)).unwrap().clone();
    let alone = old.with_topic_alone(topic_id(1));
    let alone = Image::decode(&alone.encode()).unwrap();
    assert_eq!(alone.topics().count(), 1);
    assert_eq!(
        (alone.cluster(), alone.revision()),
        (old.cluster(), old.revision())
    );

    let mut image = old.clone();
    let renamed = Topic {
        id: topic_id(9),
        revision: Revision(1_000),
        ..orders.clone()
    };
    assert_eq!(image.take_topic(&renamed), Some(topic_id(1)));
    assert_eq!(image.topic_by_id(topic_id(1)), None);
    assert_eq!(image.topic_by_id(topic_id(9)).unwrap().name, orders.name);
    assert_eq!(image.revision(), Revision(1_000));
    image.forget_topic(topic_id(9));
    assert_eq!(image.topic(&orders.name), None);
}
