//! Round trips, determinism, hostile bytes.

use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::ids::{BrokerEpoch, BrokerId, Revision};
use crate::metadata::command::{
    Command, ConfirmIncarnation, CreateTopic, DeleteTopic, UpdateTopic,
};
use crate::metadata::image::Image;
use crate::metadata::testing::{cluster, create, form, incarnation, register, topic_id};

fn config() -> impl Strategy<Value = TopicConfig> {
    let retention = prop_oneof![
        Just(None),
        Just(Some(Retention::Unbounded)),
        (1..1_000_000_u64).prop_map(|bound| Some(Retention::Bounded(bound)))
    ];
    let durability = prop_oneof![Just(Durability::Fsync), Just(Durability::Replicated)];
    let compression = prop_oneof![Just(Compression::None), Just(Compression::Zstd)];
    (
        retention,
        proptest::option::of(durability),
        proptest::option::of(compression),
        proptest::option::of(0..100_000_u64),
        proptest::option::of(1..3_u32),
    )
        .prop_map(
            |(retention_ms, durability, compression, ahead, in_sync)| TopicConfig {
                retention_ms,
                durability,
                compression,
                timestamp_ahead_ms_max: ahead,
                min_in_sync_replicas: in_sync,
                ..TopicConfig::default()
            },
        )
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
        2 => topics.clone().prop_map(|number| {
            Command::DeleteTopic(DeleteTopic { id: topic_id(number) })
        }),
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
        feature_level: 2,
        body: vec![1],
    }
    .encode_to_vec();
    let newer = WireError::Newer {
        what: "feature level",
        found: 2,
        known: 1,
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
}
