//! What the tests of the metadata share.

use uuid::Uuid;

use super::command::{Command, CreateTopic, FEATURE_LEVEL, FormCluster, RegisterBroker};
use super::image::Image;
use super::topic_config::TopicConfig;
use crate::ids::{ClusterId, IncarnationId, StorageId, TopicId};
use crate::names::TopicName;

pub(super) const CLUSTER: ClusterId = ClusterId(Uuid::from_u128(0xC1));
pub(super) const STORAGE: StorageId = StorageId(Uuid::from_u128(0x51));

pub(super) fn form() -> Command {
    Command::FormCluster(FormCluster {
        cluster: CLUSTER,
        first_storage: STORAGE,
    })
}

pub(super) fn incarnation(number: u128) -> IncarnationId {
    IncarnationId(Uuid::from_u128(0x100 + number))
}

/// Registers broker `number`, from 1, with a directory and a name of its own.
pub(super) fn register(number: u128, incarnations: &[u128]) -> Command {
    Command::RegisterBroker(RegisterBroker {
        storage: StorageId(Uuid::from_u128(0x50 + number)),
        incarnations: incarnations.iter().copied().map(incarnation).collect(),
        node_name: format!("broker-{number}"),
        version: "0.1.0".to_owned(),
        feature_level_max: FEATURE_LEVEL,
    })
}

pub(super) fn topic_id(number: u128) -> TopicId {
    TopicId(Uuid::from_u128(0x7000 + number))
}

pub(super) fn name(name: &str) -> TopicName {
    TopicName::parse(name, "default").unwrap()
}

pub(super) fn create(topic: &str, number: u128, partitions: u32) -> CreateTopic {
    CreateTopic {
        id: topic_id(number),
        name: name(topic),
        default_namespace: "default".to_owned(),
        partitions,
        replication_factor: None,
        config: TopicConfig::default(),
        create_time_ms: 1_700_000_000_000,
    }
}

/// A formed cluster of that many brokers.
pub(super) fn cluster(brokers: u128) -> Image {
    let mut image = Image::default();
    image.apply(&form()).unwrap();
    for number in 1..=brokers {
        image.apply(&register(number, &[number])).unwrap();
    }
    image
}
