//! Heads of the tier, tombstones that wait for it, adoption, and the feature level of all that.

use headwater_log::PartitionKey;
use headwater_record::Offset;

use super::*;
use crate::ids::PartitionIdx;
use crate::limits::{TIER_HEADS_PER_COMMAND_MAX, TOMBSTONE_HEADS_MAX};
use crate::metadata::testing::level_1;
use crate::metadata::tier::{
    CommitTierHeads, RestoredFrom, TierHead, TierHeadCommit, TierHeadRefused,
};

fn partition(index: u32) -> PartitionKey {
    topic_id(1).partition(PartitionIdx(index))
}

/// A head of the first leadership.
fn head(number: u64, start: u64, end: u64) -> TierHead {
    TierHead {
        number,
        leader_epoch: LeaderEpoch(0),
        start: Offset::new(start),
        end: Offset::new(end),
    }
}

fn follows(parent: Option<u64>, index: u32, head: TierHead) -> TierHeadCommit {
    TierHeadCommit {
        partition: partition(index),
        parent,
        head,
    }
}

/// Of the broker that leads every partition of [`tiered`].
fn commit(heads: Vec<TierHeadCommit>) -> Command {
    Command::CommitTierHeads(CommitTierHeads {
        broker: BrokerId(1),
        heads,
    })
}

/// One broker, a topic of three partitions, and a head in the first of them.
fn tiered() -> Image {
    let mut image = cluster(1);
    create_topic(&mut image, "orders", 1, 3);
    let command = commit(vec![follows(None, 0, head(4, 10, 20))]);
    let committed = Applied::TierHeads {
        committed: vec![partition(0)],
        refused: vec![],
    };
    assert_eq!(image.apply(&command), Ok(committed));
    image
}

fn tier(image: &Image, index: u32) -> Option<TierHead> {
    image.partition(partition(index)).unwrap().tier
}

#[test]
fn a_head_replaces_the_one_that_it_names_as_its_parent() {
    let mut image = tiered();
    assert_eq!(tier(&image, 0), Some(head(4, 10, 20)));
    let next = head(9, 10, 35);
    let command = commit(vec![follows(Some(4), 0, next)]);
    let before = image.revision();
    image.apply(&command).unwrap();
    assert_eq!(tier(&image, 0), Some(next));
    assert_eq!(image.revision(), Revision(before.0 + 1));
    let topic = image.topic(&name("orders")).unwrap();
    assert_eq!(
        topic.revision,
        Revision(3),
        "what is in the tier is no change of the topic"
    );
    assert_eq!(image.partition(partition(3)), None);
}

#[test]
fn a_head_that_cannot_be_is_refused_with_the_reason_and_changes_nothing() {
    let mut image = tiered();
    create_topic(&mut image, "other", 2, 1);
    let check = |broker, commit: TierHeadCommit, why: TierHeadRefused, message: &str| {
        let mut after = image.clone();
        let command = Command::CommitTierHeads(CommitTierHeads {
            broker: BrokerId(broker),
            heads: vec![commit],
        });
        let refused = Applied::TierHeads {
            committed: vec![],
            refused: vec![(commit.partition, why)],
        };
        assert_eq!(after.apply(&command), Ok(refused));
        assert_eq!(after, image, "{why:?}: not even the revision changes");
        assert_eq!(why.to_string(), message);
    };
    let good = follows(Some(4), 0, head(5, 10, 30));

    let gone = "the topic is gone; delete what was uploaded";
    let no_topic = TierHeadCommit {
        partition: topic_id(3).partition(PartitionIdx(0)),
        ..good
    };
    check(1, no_topic, TierHeadRefused::TopicGone, gone);
    let no_partition = follows(None, 3, head(5, 10, 30));
    check(1, no_partition, TierHeadRefused::TopicGone, gone);

    let message = "the broker does not lead the partition; leave the tier to the leader";
    check(2, good, TierHeadRefused::NotLeader, message);

    let mut later = good;
    later.head.leader_epoch = LeaderEpoch(1);
    let current = LeaderEpoch(0);
    let message = "the leader epoch is 0; commit under that one";
    check(1, later, TierHeadRefused::StaleEpoch { current }, message);

    for parent in [None, Some(3), Some(5)] {
        let wrong = TierHeadRefused::WrongParent { current: Some(4) };
        let message = "the present head is 4; begin again from that one";
        check(1, TierHeadCommit { parent, ..good }, wrong, message);
    }
    let first = follows(Some(1), 1, head(5, 10, 30));
    let wrong = TierHeadRefused::WrongParent { current: None };
    let message = "the present head is none; begin again from that one";
    check(1, first, wrong, message);

    for number in [0, 3, 4] {
        let commit = follows(Some(4), 0, head(number, 10, 30));
        let message = "the number is not above the present head's; take the next free one";
        check(1, commit, TierHeadRefused::NumberNotAbove, message);
    }
    for (start, end) in [(9, 30), (10, 19), (31, 30)] {
        let commit = follows(Some(4), 0, head(5, start, end));
        let message = "start or end of the head would move back; offsets in the tier only move \
                       forward";
        check(1, commit, TierHeadRefused::MovesBack, message);
    }
    let first = follows(None, 1, head(5, 31, 30));
    let message = TierHeadRefused::MovesBack.to_string();
    check(1, first, TierHeadRefused::MovesBack, &message);
}

#[test]
fn a_head_of_a_leadership_that_has_ended_is_refused() {
    let mut image = tiered();
    image.apply(&register(1, &[1, 2])).unwrap();
    let stale = follows(Some(4), 0, head(5, 10, 30));
    let Ok(Applied::TierHeads { refused, .. }) = image.apply(&commit(vec![stale])) else {
        panic!("heads are judged");
    };
    let current = LeaderEpoch(1);
    let why = TierHeadRefused::StaleEpoch { current };
    assert_eq!(refused, [(partition(0), why)]);
    let mut fresh = stale;
    fresh.head.leader_epoch = current;
    image.apply(&commit(vec![fresh])).unwrap();
    assert_eq!(tier(&image, 0), Some(fresh.head));
}

#[test]
fn heads_of_one_command_are_judged_one_by_one_in_their_order() {
    let mut image = tiered();
    let before = image.revision();
    let command = commit(vec![
        follows(None, 2, head(1, 0, 10)),
        follows(None, 0, head(7, 10, 30)),
        follows(None, 1, head(1, 0, 0)),
        // The one before it is its parent already.
        follows(Some(1), 2, head(2, 0, 20)),
        follows(Some(1), 2, head(3, 0, 30)),
    ]);
    let wrong = |number| TierHeadRefused::WrongParent {
        current: Some(number),
    };
    let judged = Applied::TierHeads {
        committed: vec![partition(2), partition(1), partition(2)],
        refused: vec![(partition(0), wrong(4)), (partition(2), wrong(2))],
    };
    assert_eq!(image.apply(&command), Ok(judged));
    assert_eq!(tier(&image, 0), Some(head(4, 10, 20)));
    assert_eq!(tier(&image, 1), Some(head(1, 0, 0)));
    assert_eq!(tier(&image, 2), Some(head(2, 0, 20)));
    assert_eq!(image.revision(), Revision(before.0 + 1));
}

#[test]
fn a_command_names_a_bounded_number_of_heads() {
    let mut image = tiered();
    let nothing = Applied::TierHeads {
        committed: vec![],
        refused: vec![],
    };
    let before = image.clone();
    assert_eq!(image.apply(&commit(vec![])), Ok(nothing));
    assert_eq!(image, before);
    let same = follows(None, 1, head(1, 0, 1));
    let most = commit(vec![same; TIER_HEADS_PER_COMMAND_MAX]);
    let bytes = crate::metadata::wire::encode_command(&most).len();
    assert!(bytes < crate::limits::COMMAND_BYTES_MAX, "{bytes}");
    let more = commit(vec![same; TIER_HEADS_PER_COMMAND_MAX + 1]);
    let message = "tier heads of one command are limited to 10000; send several commands";
    refused(&image, more, "LIMIT_EXCEEDED", message);
}

fn delete(tiered: bool) -> Command {
    Command::DeleteTopic(DeleteTopic {
        id: topic_id(1),
        tiered,
    })
}

fn of_the_broker() -> Command {
    Command::ConfirmTopicDeleted {
        id: topic_id(1),
        broker: BrokerId(1),
    }
}

fn of_the_tier() -> Command {
    Command::ConfirmTierDeleted { id: topic_id(1) }
}

#[test]
fn a_tombstone_keeps_the_heads_until_broker_and_tier_have_confirmed_in_either_order() {
    for [first, second] in [
        [of_the_broker(), of_the_tier()],
        [of_the_tier(), of_the_broker()],
    ] {
        let mut image = tiered();
        image.apply(&delete(true)).unwrap();
        let tombstone = image.tombstones().next().unwrap().1.clone();
        assert!(tombstone.tiered);
        assert_eq!(tombstone.heads, [(0, head(4, 10, 20))].into());
        let confirmed = |last| Ok(Applied::TopicDeletionConfirmed { last });
        assert_eq!(image.apply(&first), confirmed(false));
        assert_eq!(image.apply(&first), Ok(Applied::Nothing));
        let left = image.tombstones().next().unwrap().1.clone();
        assert_eq!(left.tiered, !left.heads.is_empty());
        assert_eq!(image.apply(&second), confirmed(true));
        assert_eq!(image.tombstones().count(), 0);
        for confirm in [of_the_broker(), of_the_tier()] {
            assert_eq!(image.apply(&confirm), Ok(Applied::Nothing));
        }
    }
}

#[test]
fn a_tombstone_waits_for_the_tier_where_a_head_or_the_proposer_says_so() {
    let with_head = tiered();
    let mut without = cluster(1);
    create_topic(&mut without, "orders", 1, 3);
    let cases = [
        (&with_head, false, true),
        (&with_head, true, true),
        (&without, true, true),
        (&without, false, false),
    ];
    for (image, proposer, waits) in cases {
        let mut image = image.clone();
        image.apply(&delete(proposer)).unwrap();
        let last = !waits;
        let confirmed = Applied::TopicDeletionConfirmed { last };
        assert_eq!(image.apply(&of_the_broker()), Ok(confirmed), "{proposer}");
    }
}

#[test]
fn heads_of_deleted_topics_are_bounded() {
    let mut image = tiered();
    image.apply(&delete(true)).unwrap();
    let gone = image.tombstones.get_mut(&topic_id(1)).unwrap();
    let most = TOMBSTONE_HEADS_MAX as u32;
    gone.heads = (0..most).map(|index| (index, head(1, 0, 1))).collect();
    create_topic(&mut image, "next", 2, 1);
    let next = topic_id(2).partition(PartitionIdx(0));
    let command = commit(vec![TierHeadCommit {
        partition: next,
        ..follows(None, 0, head(1, 0, 1))
    }]);
    let delete_next = Command::DeleteTopic(DeleteTopic {
        id: topic_id(2),
        tiered: true,
    });
    image.clone().apply(&delete_next).unwrap();
    image.apply(&command).unwrap();
    let message = "partitions of deleted topics that are in the tier are limited to 1000000; \
                   bring back the tier, so that their objects can go";
    refused(&image, delete_next, "LIMIT_EXCEEDED", message);
}

#[test]
fn only_the_cluster_that_it_was_restored_from_is_adopted() {
    let mut image = tiered();
    let adopt = |cluster| Command::AdoptTier { cluster };
    let message =
        format!("this cluster was not restored from cluster {CLUSTER}; name the one it comes from");
    refused(&image, adopt(CLUSTER), "NOT_RESTORED_FROM", &message);
    let from = |adopted| {
        Some(RestoredFrom {
            cluster: CLUSTER,
            adopted,
        })
    };
    image.restored_from = from(false);
    let other = ClusterId(STORAGE.0);
    assert_eq!(
        image.apply(&adopt(other)).unwrap_err().reason(),
        "NOT_RESTORED_FROM"
    );
    assert_eq!(image.apply(&adopt(CLUSTER)), Ok(Applied::TierAdopted));
    assert_eq!(image.restored_from(), from(true));
    assert_eq!(image.apply(&adopt(CLUSTER)), Ok(Applied::Nothing));
}

/// Everything that an image of before the tier must not take.
fn commands_of_the_tier() -> Vec<Command> {
    let mut tiering = create("more", 9, 1);
    tiering.config.tiering = Some(false);
    let mut local_ms = create("more", 9, 1);
    local_ms.config.local_retention_ms = Some(Retention::Bounded(0));
    let settings = UpdateTopic {
        id: topic_id(1),
        expected_revision: Revision(3),
        partitions: None,
        config: crate::metadata::TopicConfig {
            local_retention_bytes: Some(Retention::Unbounded),
            ..crate::metadata::TopicConfig::default()
        },
    };
    vec![
        commit(vec![]),
        of_the_tier(),
        Command::AdoptTier { cluster: CLUSTER },
        delete(true),
        Command::CreateTopic(tiering),
        Command::CreateTopic(local_ms),
        Command::UpdateTopic(settings),
    ]
}

#[test]
fn an_image_of_before_the_tier_takes_nothing_of_it_until_its_level_is_raised() {
    let mut image = level_1();
    let message = "this needs feature level 2, the cluster is at 1; upgrade every broker, then \
                   raise the level";
    for command in commands_of_the_tier() {
        refused(&image, command, "FEATURE_LEVEL_TOO_LOW", message);
    }
    create_topic(&mut image, "plain", 8, 1);
    assert_eq!(image.feature_level(), 1, "and all else goes on as it was");

    let raise = |level| Command::RaiseFeatureLevel { level };
    let message = "feature level 2 is above 1, which is what every broker knows; upgrade them";
    refused(&image, raise(2), "FEATURE_LEVEL_UNKNOWN", message);
    assert_eq!(image.apply(&raise(1)), Ok(Applied::Nothing));
    image.apply(&register(1, &[2, 3])).unwrap();
    let raised = Applied::FeatureLevelRaised { level: 2 };
    assert_eq!(image.apply(&raise(2)), Ok(raised));
    assert_eq!(image.apply(&raise(2)), Ok(Applied::Nothing));
    assert_eq!(image.apply(&raise(1)), Ok(Applied::Nothing));
    assert_eq!(image.feature_level(), 2);
    for command in commands_of_the_tier() {
        let needs_more = |refused: Refused| matches!(refused, Refused::FeatureLevel { .. });
        assert!(!image.clone().apply(&command).is_err_and(needs_more));
    }
}

#[test]
fn a_level_is_raised_only_as_far_as_every_broker_knows() {
    let mut image = cluster(2);
    let message = "feature level 3 is above 2, which is what every broker knows; upgrade them";
    let raise = Command::RaiseFeatureLevel { level: 3 };
    refused(&image, raise.clone(), "FEATURE_LEVEL_UNKNOWN", message);
    let Command::RegisterBroker(mut newer) = register(1, &[1, 2]) else {
        unreachable!()
    };
    newer.feature_level_max = 3;
    image.apply(&Command::RegisterBroker(newer)).unwrap();
    refused(&image, raise.clone(), "FEATURE_LEVEL_UNKNOWN", message);
    let mut empty = Image::default();
    empty.apply(&form()).unwrap();
    refused(&empty, raise, "FEATURE_LEVEL_UNKNOWN", message);
}
