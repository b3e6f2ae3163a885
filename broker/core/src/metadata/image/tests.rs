//! What commands do, and why they are refused.

mod restore;
mod tier;

use std::ops::Range;

use super::*;
use crate::limits::{PRODUCER_ID_BLOCK_MAX, TOPIC_PARTITIONS_MAX};
use crate::metadata::command::{ConfirmIncarnation, CreateTopic, DeleteTopic, UpdateTopic};
use crate::metadata::testing::{
    CLUSTER, STORAGE, cluster, create, form, incarnation, name, register, topic_id,
};
use crate::metadata::topic_config::Retention;

fn create_topic(image: &mut Image, topic: &str, number: u128, partitions: u32) {
    image
        .apply(&Command::CreateTopic(create(topic, number, partitions)))
        .unwrap();
}

/// A refused command gives that reason and changes nothing.
fn refused(image: &Image, command: Command, reason: &str, message: &str) {
    let mut after = image.clone();
    let error = after.apply(&command).unwrap_err();
    assert_eq!(
        (error.reason(), error.to_string().as_str()),
        (reason, message)
    );
    assert_eq!(&after, image, "a refused command has changed something");
}

fn update(image: &Image, topic: &str, change: impl FnOnce(&mut UpdateTopic)) -> Command {
    let topic = image.topic(&name(topic)).unwrap();
    let mut update = UpdateTopic {
        id: topic.id,
        expected_revision: topic.revision,
        partitions: None,
        config: topic.config.clone(),
    };
    change(&mut update);
    Command::UpdateTopic(update)
}

#[test]
fn nothing_is_accepted_before_the_cluster_is_formed() {
    let image = Image::default();
    let message = "the cluster has not been formed yet; form it and try again";
    refused(&image, register(1, &[1]), "CLUSTER_NOT_FORMED", message);
}

#[test]
fn forming_again_is_nothing_and_forming_another_cluster_is_refused() {
    let mut image = Image::default();
    assert_eq!(image.apply(&form()), Ok(Applied::ClusterFormed));
    assert_eq!(image.apply(&form()), Ok(Applied::Nothing));
    assert_eq!(image.revision(), Revision(1));
    let other = FormCluster {
        cluster: ClusterId(STORAGE.0),
        first_storage: STORAGE,
    };
    let message = format!("this is cluster {CLUSTER} already; it cannot be formed again");
    refused(
        &image,
        Command::FormCluster(other),
        "CLUSTER_ALREADY_FORMED",
        &message,
    );
}

#[test]
fn the_first_broker_is_the_one_that_the_cluster_was_formed_with() {
    let mut image = Image::default();
    image.apply(&form()).unwrap();
    let error = image.apply(&register(2, &[1])).unwrap_err();
    assert_eq!(error.reason(), "NOT_THE_FIRST_STORAGE");
    let applied = image.apply(&register(1, &[1])).unwrap();
    let (broker, epoch) = (BrokerId(1), BrokerEpoch(2));
    let expected = Applied::BrokerRegistered {
        broker,
        epoch,
        rolled_back: false,
        led: vec![],
    };
    assert_eq!(applied, expected);
}

#[test]
fn registering_raises_the_epoch_of_every_partition_that_the_broker_leads() {
    let mut image = cluster(2);
    create_topic(&mut image, "orders", 1, 4);
    let Applied::BrokerRegistered {
        broker,
        epoch,
        rolled_back,
        led,
    } = image.apply(&register(1, &[1, 9])).unwrap()
    else {
        panic!("it is a registration");
    };
    assert_eq!(
        (broker, epoch, rolled_back),
        (BrokerId(1), BrokerEpoch(5), false)
    );
    let topic = image.topic(&name("orders")).unwrap();
    let raised = |index: u32| {
        (
            topic_id(1).partition(crate::ids::PartitionIdx(index)),
            LeaderEpoch(1),
        )
    };
    assert_eq!(led, [raised(0), raised(2)]);
    let epochs: Vec<_> = topic
        .partitions
        .iter()
        .map(|p| (p.leader_epoch.0, p.epoch))
        .collect();
    assert_eq!(epochs, [(1, 1), (0, 0), (1, 1), (0, 0)]);
    assert_eq!(
        topic.revision,
        Revision(4),
        "leaders are no change of the topic"
    );
}

#[test]
fn the_same_incarnation_again_changes_nothing() {
    let mut image = cluster(1);
    create_topic(&mut image, "orders", 1, 1);
    let before = image.topic(&name("orders")).cloned();
    let applied = image.apply(&register(1, &[1])).unwrap();
    let (broker, epoch) = (BrokerId(1), BrokerEpoch(2));
    let expected = Applied::BrokerRegistered {
        broker,
        epoch,
        rolled_back: false,
        led: vec![],
    };
    assert_eq!(applied, expected);
    assert_eq!(image.topic(&name("orders")).cloned(), before);
}

#[test]
fn a_disk_that_does_not_know_the_recorded_incarnation_was_rolled_back() {
    let mut image = cluster(1);
    let confirm = |incarnation_number, epoch| {
        Command::ConfirmIncarnation(ConfirmIncarnation {
            broker: BrokerId(1),
            epoch: BrokerEpoch(epoch),
            incarnation: incarnation(incarnation_number),
        })
    };
    assert_eq!(
        image.apply(&confirm(7, 2)),
        Ok(Applied::IncarnationConfirmed)
    );
    let message = "broker 1 is registered under epoch 2, not 1";
    refused(&image, confirm(8, 1), "BROKER_EPOCH_STALE", message);
    for (known, expected) in [(&[7, 8][..], false), (&[1, 8][..], true)] {
        let mut image = image.clone();
        let applied = image.apply(&register(1, known)).unwrap();
        let Applied::BrokerRegistered { rolled_back, .. } = applied else {
            panic!("it is a registration");
        };
        assert_eq!(rolled_back, expected, "{known:?}");
    }
}

#[test]
fn a_node_name_belongs_to_one_data_directory() {
    let image = cluster(1);
    let Command::RegisterBroker(mut other) = register(2, &[2]) else {
        unreachable!()
    };
    other.node_name = "broker-1".to_owned();
    let message = "node name broker-1 belongs to broker 1 with another data directory; give this \
                   broker its own name, or the directory back";
    refused(
        &image,
        Command::RegisterBroker(other),
        "NODE_NAME_TAKEN",
        message,
    );
}

#[test]
fn a_registration_out_of_bounds_is_refused() {
    let image = cluster(1);
    let check = |change: fn(&mut crate::metadata::RegisterBroker), reason: &str| {
        let Command::RegisterBroker(mut register) = register(1, &[1, 2]) else {
            unreachable!()
        };
        change(&mut register);
        let error = image
            .clone()
            .apply(&Command::RegisterBroker(register))
            .unwrap_err();
        assert_eq!(error.reason(), reason, "{error}");
    };
    check(|register| register.incarnations.clear(), "INVALID_FIELD");
    check(
        |register| register.incarnations = vec![incarnation(3); 1_025],
        "INVALID_FIELD",
    );
    check(|register| register.node_name.clear(), "INVALID_FIELD");
    check(
        |register| register.node_name = "n".repeat(254),
        "INVALID_FIELD",
    );
    check(
        |register| register.version = "v".repeat(65),
        "INVALID_FIELD",
    );
    check(|register| register.feature_level_max = 0, "BROKER_TOO_OLD");
}

#[test]
fn partitions_are_spread_over_the_brokers() {
    let mut image = cluster(4);
    create_topic(&mut image, "a", 1, 4);
    create_topic(&mut image, "b", 2, 1);
    let replicas = |topic: &str| -> Vec<Vec<u32>> {
        let topic = image.topic(&name(topic)).unwrap();
        let numbers = |p: &Partition| p.replicas.iter().map(|id| id.0).collect();
        topic.partitions.iter().map(numbers).collect()
    };
    assert_eq!(replicas("a"), [[1, 2, 3], [2, 3, 4], [3, 4, 1], [4, 1, 2]]);
    assert_eq!(replicas("b"), [[2, 3, 4]]);
    let third = &image.topic(&name("a")).unwrap().partitions[2];
    assert_eq!(third.leader, Some(BrokerId(3)));
    assert_eq!(third.isr, [BrokerId(1), BrokerId(3), BrokerId(4)]);
    let counts: Vec<_> = image.brokers().map(|broker| broker.replicas).collect();
    assert_eq!(counts, [3, 4, 4, 4]);
}

#[test]
fn a_topic_that_cannot_be_is_refused_with_the_reason() {
    let mut image = cluster(1);
    create_topic(&mut image, "shop/orders", 1, 1);
    create_topic(&mut image, "default/a.b", 2, 1);
    let check = |topic: CreateTopic, reason: &str, message: &str| {
        refused(&image, Command::CreateTopic(topic), reason, message);
    };
    check(
        create("shop/orders", 3, 1),
        "TOPIC_EXISTS",
        "topic shop/orders exists already",
    );
    let message = format!("topic id {} is in use; draw another", topic_id(1));
    check(create("other", 1, 1), "TOPIC_ID_USED", &message);
    let message = "topic default/shop.orders and topic shop/orders would have the same Kafka \
                   name; choose another";
    check(create("shop.orders", 3, 1), "TOPIC_NAME_COLLIDES", message);
    let message = "topic a/b and topic default/a.b would have the same Kafka name; choose another";
    check(create("a/b", 3, 1), "TOPIC_NAME_COLLIDES", message);
    check(
        create("x", 3, 0),
        "INVALID_FIELD",
        "partitions is \"0\"; give 1 to 10000",
    );
    let many = create("x", 3, TOPIC_PARTITIONS_MAX + 1);
    check(
        many,
        "INVALID_FIELD",
        "partitions is \"10001\"; give 1 to 10000",
    );
    let factor = |factor| CreateTopic {
        replication_factor: Some(factor),
        ..create("x", 3, 1)
    };
    check(
        factor(0),
        "INVALID_FIELD",
        "replication_factor is \"0\"; give 1 to 15",
    );
    check(
        factor(16),
        "INVALID_FIELD",
        "replication_factor is \"16\"; give 1 to 15",
    );
    let message = "replication_factor is 2, there are 1 brokers; ask for fewer or add brokers";
    check(factor(2), "NOT_ENOUGH_BROKERS", message);
    let mut config = create("x", 3, 1);
    config.config.segment_bytes = Some(1);
    check(
        config,
        "INVALID_CONFIG",
        "segment_bytes is 1; give 65536 to 2147483647",
    );
}

#[test]
fn a_broker_takes_a_bounded_number_of_partitions() {
    let mut image = cluster(1);
    for number in 1..=10 {
        create_topic(
            &mut image,
            &format!("t{number}"),
            number,
            TOPIC_PARTITIONS_MAX,
        );
    }
    let message = "partitions on one broker are limited to 100000; delete topics, add brokers, or \
                   ask for fewer partitions";
    refused(
        &image,
        Command::CreateTopic(create("x", 99, 1)),
        "LIMIT_EXCEEDED",
        message,
    );
    image
        .apply(&Command::DeleteTopic(DeleteTopic {
            id: topic_id(3),
            tiered: false,
        }))
        .unwrap();
    create_topic(&mut image, "x", 99, 1);
}

#[test]
fn a_topic_grows_and_takes_settings_in_one_step() {
    let mut image = cluster(1);
    create_topic(&mut image, "orders", 1, 2);
    let grow = update(&image, "orders", |update| {
        update.partitions = Some(5);
        update.config.retention_ms = Some(Retention::Bounded(1_000));
    });
    let applied = image.apply(&grow).unwrap();
    let expected = Applied::TopicUpdated {
        id: topic_id(1),
        config_changed: true,
        added: 2..5,
    };
    assert_eq!(applied, expected);
    let topic = image.topic(&name("orders")).unwrap();
    assert_eq!(
        (topic.partitions.len(), topic.revision),
        (5, image.revision())
    );
    assert_eq!(topic.config.retention_ms, Some(Retention::Bounded(1_000)));
    assert_eq!(image.broker(BrokerId(1)).unwrap().replicas, 5);

    let message = "revision is 4, the request expects 3; read it again and retry";
    refused(&image, grow, "REVISION_MISMATCH", message);
    let same = update(&image, "orders", |_| {});
    assert_eq!(image.apply(&same), Ok(Applied::Nothing));
    let shrink = update(&image, "orders", |update| update.partitions = Some(4));
    let message = "the topic has 5 partitions and cannot shrink to 4; create another topic and \
                   move the records";
    refused(&image, shrink, "PARTITIONS_SHRINK", message);
    let bad = update(&image, "orders", |update| {
        update.config.min_in_sync_replicas = Some(2)
    });
    let message = "min_in_sync_replicas is 2; give 1 to 1 (the replication factor)";
    refused(&image, bad, "INVALID_CONFIG", message);
}

#[test]
fn a_deleted_topic_leaves_a_tombstone_until_every_broker_has_confirmed() {
    let mut image = cluster(2);
    create_topic(&mut image, "orders", 1, 2);
    let delete = Command::DeleteTopic(DeleteTopic {
        id: topic_id(1),
        tiered: false,
    });
    let deleted = Applied::TopicDeleted {
        id: topic_id(1),
        partitions: 2,
    };
    assert_eq!(image.apply(&delete), Ok(deleted));
    assert_eq!(image.topic(&name("orders")), None);
    assert_eq!(image.topic_by_id(topic_id(1)), None);
    let message = format!(
        "there is no topic with id {}; it may just have been deleted",
        topic_id(1)
    );
    refused(&image, delete, "TOPIC_NOT_FOUND", &message);
    let again = Command::CreateTopic(create("orders", 1, 1));
    let message = format!("topic id {} is in use; draw another", topic_id(1));
    refused(&image, again, "TOPIC_ID_USED", &message);

    let confirm = |broker| Command::ConfirmTopicDeleted {
        id: topic_id(1),
        broker: BrokerId(broker),
    };
    let confirmed = |last| Ok(Applied::TopicDeletionConfirmed { last });
    assert_eq!(image.apply(&confirm(1)), confirmed(false));
    assert_eq!(image.apply(&confirm(1)), Ok(Applied::Nothing));
    assert_eq!(image.tombstones().count(), 1);
    assert_eq!(image.apply(&confirm(2)), confirmed(true));
    assert_eq!(image.tombstones().count(), 0);
    create_topic(&mut image, "orders", 2, 1);
}

#[test]
fn producer_ids_are_nobody_elses() {
    let mut image = cluster(1);
    let allocate = |count| Command::AllocateProducerIds { count };
    let block = |range: Range<i64>| {
        Ok(Applied::ProducerIds(
            ProducerId(range.start)..ProducerId(range.end),
        ))
    };
    assert_eq!(image.apply(&allocate(1_000)), block(1..1_001));
    assert_eq!(image.apply(&allocate(1)), block(1_001..1_002));
    for count in [0, PRODUCER_ID_BLOCK_MAX + 1] {
        let message = format!("count is \"{count}\"; give 1 to 1000000");
        refused(&image, allocate(count), "INVALID_FIELD", &message);
    }
    let init = Command::InitNamedProducer {
        name: ProducerName::parse("p", "shop").unwrap(),
    };
    let named = |id, epoch| {
        Ok(Applied::NamedProducer {
            id: ProducerId(id),
            epoch,
        })
    };
    assert_eq!(image.apply(&init), named(1_002, 0));
    assert_eq!(image.apply(&init), named(1_002, 1));
    assert_eq!(image.apply(&allocate(1)), block(1_003..1_004));
    let name = ProducerName::parse("shop/p", "").unwrap();
    image.named_producers.get_mut(&name).unwrap().epoch = i16::MAX;
    assert_eq!(
        image.apply(&init),
        named(1_004, 0),
        "a name outlives the epochs of an id"
    );
    image.next_producer = ProducerId(i64::MAX - 5);
    assert_eq!(
        image.apply(&allocate(10)).unwrap_err().reason(),
        "LIMIT_EXCEEDED"
    );
}

#[test]
fn an_unknown_name_brings_up_those_that_look_like_it() {
    let mut image = cluster(1);
    for (number, topic) in (1..).zip(["orders", "order", "shop/orders", "payments", "zebra"]) {
        create_topic(&mut image, topic, number, 1);
    }
    let nearest = |topic: &str| image.nearest_topics(&name(topic));
    assert_eq!(nearest("ordres"), ["default/orders", "default/order"]);
    assert_eq!(nearest("web/orders"), ["default/orders", "shop/orders"]);
    assert_eq!(nearest("paymnts"), ["default/payments"]);
    assert!(nearest("unheard-of").is_empty());
}
