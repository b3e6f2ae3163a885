//! Round trips, determinism, hostile bytes.

use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::ids::{BrokerEpoch, BrokerId, ClusterId, PartitionIdx, Revision};
use crate::metadata::command::{
    Command, ConfirmIncarnation, CreateTopic, DeleteTopic, UpdateTopic,
};
use crate::metadata::image::Image;
use crate::metadata::testing::{
    CLUSTER, cluster, create, form, incarnation, level_1, level_1_bytes, register, topic_id,
};
use crate::metadata::tier::{CommitTierHeads, TierHeadCommit};

fn config() -> impl Strategy<Value = TopicConfig> {
    let retention = prop_oneof![
        Just(None),
        Just(Some(Retention::Unbounded)),
        (1..1_000_000_u64).prop_map(|bound| Some(Retention::Bounded(bound)))
    ];
    let local = prop_oneof![
        Just(None),
        Just(Some(Retention::Unbounded)),
        (0..3_u64).prop_map(|bound| Some(Retention::Bounded(bound)))
    ];
    let durability = prop_oneof![Just(Durability::Fsync), Just(Durability::Replicated)];
    let compression = prop_oneof![Just(Compression::None), Just(Compression::Zstd)];
    (
        retention,
        proptest::option::of(durability),
        proptest::option::of(compression),
        proptest::option::of(0..100_000_u64),
        proptest::option::of(1..3_u32),
        proptest::option::of(any::<bool>()),
        local,
    )
        .prop_map(
            |(retention_ms, durability, compression, ahead, in_sync, tiering, local)| TopicConfig {
                retention_ms,
                durability,
                compression,
                timestamp_ahead_ms_max: ahead,
                min_in_sync_replicas: in_sync,
                tiering,
                local_retention_ms: local,
                local_retention_bytes: local,
                ..TopicConfig::default()
            },
        )
}

/// Heads of few partitions, so that some follow others.
fn head_commit() -> impl Strategy<Value = TierHeadCommit> {
    let head = (1..6_u64, 0..3_u32, 0..4_u64, 0..20_u64);
    let head = head.prop_map(|(number, leader_epoch, start, end)| TierHead {
        number,
        leader_epoch: LeaderEpoch(leader_epoch),
        start: Offset::new(start),
        end: Offset::new(end),
    });
    let parent = proptest::option::of(1..6_u64);
    (0..5_u128, 0..3_u32, parent, head).prop_map(|(topic, index, parent, head)| TierHeadCommit {
        partition: topic_id(topic).partition(PartitionIdx(index)),
        parent,
        head,
    })
}

/// Commands about few things, so that they meet.
fn command() -> impl Strategy<Value = Command> {
    let topics = 0..5_u128;
    prop_oneof![
        1 => Just(form()),
        2 => (1..4_u128, 1..9_u128, 1..9_u128).prop_map(|(broker, a, b)| register(broker, &[a, b])),
        1 => (1..4_u32, 0..20_u64, 1..9_u128).prop_map(|(broker, epoch, number)| {
            Command::ConfirmIncarnation(ConfirmIncarnation {
                broker: BrokerId(broker),
                epoch: BrokerEpoch(epoch),
                incarnation: incarnation(number),
            })
        }),
        6 => (topics.clone(), 0..6_u32, proptest::option::of(0..4_u32), config()).prop_map(
            |(number, partitions, replication_factor, config)| {
                let topic = create(&format!("t{number}"), number, partitions);
                Command::CreateTopic(CreateTopic { replication_factor, config, ..topic })
            }
        ),
        4 => (topics.clone(), 0..30_u64, proptest::option::of(0..9_u32), config()).prop_map(
            |(number, revision, partitions, config)| Command::UpdateTopic(UpdateTopic {
                id: topic_id(number),
                expected_revision: Revision(revision),
                partitions,
                config,
            })
        ),
        2 => (topics.clone(), any::<bool>()).prop_map(|(number, tiered)| {
            Command::DeleteTopic(DeleteTopic { id: topic_id(number), tiered })
        }),
        6 => (1..3_u32, proptest::collection::vec(head_commit(), 0..8)).prop_map(
            |(broker, heads)| Command::CommitTierHeads(CommitTierHeads {
                broker: BrokerId(broker),
                heads,
            })
        ),
        1 => topics.clone().prop_map(|number| Command::ConfirmTierDeleted { id: topic_id(number) }),
        1 => (0..4_u32).prop_map(|level| Command::RaiseFeatureLevel { level: level.min(2) }),
        1 => Just(Command::AdoptTier { cluster: CLUSTER }),
        2 => (topics, 1..4_u32).prop_map(|(number, broker)| {
            Command::ConfirmTopicDeleted { id: topic_id(number), broker: BrokerId(broker) }
        }),
        1 => (0..2_000_u32).prop_map(|count| Command::AllocateProducerIds { count }),
        1 => "[a-c]".prop_map(|name| Command::InitNamedProducer {
            name: ProducerName::parse(&name, "shop").unwrap(),
        }),
    ]
}

fn apply_all(image: &mut Image, commands: &[Command]) {
    for command in commands {
        drop(image.apply(command));
    }
}

proptest! {
    #[test]
    fn every_command_reads_back_as_it_was(command in command()) {
        prop_assert_eq!(decode_command(&encode_command(&command)), Ok(command));
    }

    #[test]
    fn the_same_commands_lead_to_the_same_bytes_also_over_a_snapshot(
        commands in proptest::collection::vec(command(), 0..60),
        cut in 0..60_usize,
    ) {
        let mut straight = cluster(2);
        apply_all(&mut straight, &commands);
        let cut = cut.min(commands.len());
        let mut first = cluster(2);
        apply_all(&mut first, &commands[..cut]);
        let bytes = encode_image(&first);
        let mut resumed = decode_image(&bytes).unwrap();
        prop_assert_eq!(&resumed, &first);
        apply_all(&mut resumed, &commands[cut..]);
        prop_assert_eq!(encode_image(&resumed), encode_image(&straight));
        prop_assert_eq!(resumed, straight);
    }

    #[test]
    fn hostile_bytes_are_refused_or_read_but_never_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        drop(decode_command(&bytes));
        drop(decode_image(&bytes));
    }

    #[test]
    fn a_damaged_image_is_refused_or_read_but_never_panics(
        commands in proptest::collection::vec(command(), 0..40),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut image = cluster(3);
        apply_all(&mut image, &commands);
        let mut bytes = encode_image(&image);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(mut read) = decode_image(&bytes) {
            apply_all(&mut read, &commands);
        }
    }
}

/// An envelope as a later version may write it.
#[derive(Clone, PartialEq, prost::Message)]
struct LaterEnvelope {
    #[prost(uint32, tag = "1")]
    feature_level: u32,
    #[prost(bytes = "vec", tag = "900")]
    body: Vec<u8>,
}

#[test]
fn a_command_of_a_higher_feature_level_is_never_skipped() {
    let later = LaterEnvelope {
        feature_level: 3,
        body: vec![1],
    }
    .encode_to_vec();
    let newer = WireError::Newer {
        what: "feature level",
        found: 3,
        known: 2,
    };
    assert_eq!(decode_command(&later), Err(newer));
}

#[test]
fn an_unknown_command_of_a_known_level_is_never_skipped() {
    let unknown = LaterEnvelope {
        feature_level: 1,
        body: vec![1],
    }
    .encode_to_vec();
    let malformed = WireError::Malformed("the command is unknown".to_owned());
    assert_eq!(decode_command(&unknown), Err(malformed));
}

#[test]
fn the_persisted_bytes_of_a_command_are_frozen() {
    let bytes = encode_command(&Command::AllocateProducerIds { count: 1_000 });
    assert_eq!(bytes, [0x08, 1, 0x4A, 3, 0x08, 0xE8, 0x07]);
    let name = ProducerName::parse("shop/p", "").unwrap();
    let bytes = encode_command(&Command::InitNamedProducer { name });
    assert_eq!(bytes, b"\x08\x01\x52\x08\x0A\x06shop/p");
    let bytes = encode_command(&Command::RaiseFeatureLevel { level: 2 });
    assert_eq!(bytes, [0x08, 2, 0x6A, 2, 0x08, 2]);
    let id = topic_id(1);
    let bytes = encode_command(&Command::ConfirmTierDeleted { id });
    let prefix = [0x08, 2, 0x62, 18, 0x0A, 16];
    assert_eq!(bytes, [&prefix[..], id.0.as_bytes()].concat());
    let cluster = ClusterId(id.0);
    let bytes = encode_command(&Command::AdoptTier { cluster });
    let prefix = [0x08, 2, 0x72, 18, 0x0A, 16];
    assert_eq!(bytes, [&prefix[..], id.0.as_bytes()].concat());
    let bytes = encode_command(&Command::CommitTierHeads(CommitTierHeads {
        broker: BrokerId(1),
        heads: vec![TierHeadCommit {
            partition: id.partition(PartitionIdx(3)),
            parent: Some(4),
            head: TierHead {
                number: 5,
                leader_epoch: LeaderEpoch(6),
                start: Offset::new(7),
                end: Offset::new(8),
            },
        }],
    }));
    let prefix = [0x08, 2, 0x5A, 36, 0x08, 1, 0x12, 32, 0x0A, 16];
    let rest = [
        0x10, 3, 0x18, 4, 0x22, 8, 0x08, 5, 0x10, 6, 0x18, 7, 0x20, 8,
    ];
    assert_eq!(bytes, [&prefix[..], id.0.as_bytes(), &rest].concat());
}

#[test]
fn a_command_asks_for_no_higher_level_than_it_needs() {
    let level = |command: Command| encode_command(&command)[1];
    let delete = |tiered| {
        let id = topic_id(1);
        Command::DeleteTopic(DeleteTopic { id, tiered })
    };
    let mut tiering = create("t", 1, 1);
    assert_eq!(level(Command::CreateTopic(tiering.clone())), 1);
    tiering.config.tiering = Some(true);
    assert_eq!(level(Command::CreateTopic(tiering)), 2);
    assert_eq!((level(delete(false)), level(delete(true))), (1, 2));
    assert_eq!(level(Command::RaiseFeatureLevel { level: 3 }), 3);
}

#[test]
fn an_image_of_level_1_reads_and_is_written_as_it_was() {
    let image = level_1();
    assert_eq!((image.feature_level(), image.revision()), (1, Revision(8)));
    let topic = image.topic_by_id(topic_id(1)).unwrap();
    assert_eq!(topic.config.durability, Some(Durability::Replicated));
    assert!(
        topic
            .partitions
            .iter()
            .all(|partition| partition.tier.is_none())
    );
    let (_, tombstone) = image.tombstones().next().unwrap();
    assert!(!tombstone.tiered && tombstone.heads.is_empty());
    assert_eq!(image.restored_from(), None);
    assert_eq!(image.encode(), level_1_bytes());
}
