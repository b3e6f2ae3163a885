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

/// An image that the program of feature level 1 has written, in hexadecimal: broker 1, topic
/// `orders` with settings, the tombstone of another, producers. Frozen.
pub(super) const LEVEL_1: &str = "\
    080110081a240a10000000000000000000000000000000c1121000000000000000000000000000000051223b\
    08011210000000000000000000000000000000511a0862726f6b65722d312205302e312e3028083210000000\
    0000000000000000000000010238012a520a1000000000000000000000000000007001120e64656661756c74\
    2f6f72646572731a070880b89929280220012a0c0a01011001180122010128012a0c0a010110011801220101\
    28013080d095ffbc31380332250a1000000000000000000000000000007002120c64656661756c742f676f6e\
    6518012201013a0b0a0673686f702f7010e907400248ea07";

/// The bytes of [`LEVEL_1`].
pub(super) fn level_1_bytes() -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&LEVEL_1[at..at + 2], 16).unwrap();
    (0..LEVEL_1.len()).step_by(2).map(byte).collect()
}

/// A cluster from before the tier.
pub(super) fn level_1() -> Image {
    Image::decode(&level_1_bytes()).unwrap()
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
