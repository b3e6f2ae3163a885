//! Crash images: power loss after every call, damage at every byte.

use std::sync::Arc;

use headwater_log::sim::{Fault, SimDisk, SimOp, Survival};
use headwater_record::{LeaderEpoch, Offset};
use prost::Message as _;

use super::*;
use crate::ids::{BrokerId, PartitionIdx};
use crate::metadata::command::DeleteTopic;
use crate::metadata::testing::{create, form, level_1, register, topic_id};
use crate::metadata::tier::{CommitTierHeads, TierHead, TierHeadCommit};
use crate::metadata::wire::encode_image;

const SEEDS_PER_IMAGE: u64 = 4;

fn open(disk: &SimDisk) -> Result<LocalBackend, MetadataError> {
    LocalBackend::open(Arc::new(disk.clone()))
}

/// A broker's first minutes.
fn commands(topics: u128) -> Vec<Command> {
    let mut commands = vec![form(), register(1, &[1])];
    for number in 1..=topics {
        commands.push(Command::CreateTopic(create(
            &format!("t{number}"),
            number,
            3,
        )));
    }
    commands.push(register(1, &[1, 2]));
    commands
}

fn filled(disk: &SimDisk, topics: u128) -> LocalBackend {
    let mut backend = open(disk).unwrap();
    for command in commands(topics) {
        backend.propose(&command).unwrap();
    }
    backend
}

fn log(disk: &SimDisk) -> Vec<u8> {
    disk.read(Path::new(LOG)).unwrap()
}

/// Opening is refused, and the error names the file.
fn refuses(disk: &SimDisk, file: &str) -> String {
    let before = disk.files();
    let error = open(disk).unwrap_err();
    let MetadataError::Damaged { path, .. } = &error else {
        panic!("it is {error}");
    };
    assert_eq!(path, Path::new(file));
    assert_eq!(disk.files(), before, "what is refused is left alone");
    error.to_string()
}

/// Opens, and finds just this image; so does the next open.
fn finds(disk: &SimDisk, image: &Image) -> MetadataReport {
    let backend = open(disk).unwrap();
    assert_eq!(backend.image(), image);
    let report = *backend.report();
    let again = open(disk).unwrap();
    assert_eq!(again.image(), image);
    let quiet = MetadataReport {
        replayed: again.report().replayed,
        ..MetadataReport::default()
    };
    assert_eq!(again.report(), &quiet, "what was repaired stays repaired");
    report
}

#[test]
fn what_was_accepted_is_there_after_a_restart() {
    let disk = SimDisk::new(1);
    let backend = open(&disk).unwrap();
    assert!(backend.report().created);
    drop(backend);
    let image = filled(&disk, 3).image().clone();
    let report = finds(&disk.crash(Survival::Nothing), &image);
    assert_eq!(
        report,
        MetadataReport {
            replayed: 6,
            ..MetadataReport::default()
        }
    );
}

#[test]
fn what_is_refused_or_changes_nothing_is_not_recorded() {
    let disk = SimDisk::new(1);
    let mut backend = filled(&disk, 1);
    let before = log(&disk);
    assert_eq!(backend.propose(&form()).unwrap(), Applied::Nothing);
    let refused = backend
        .propose(&Command::CreateTopic(create("t1", 9, 1)))
        .unwrap_err();
    assert!(matches!(
        refused,
        MetadataError::Refused(Refused::TopicExists { .. })
    ));
    assert_eq!(log(&disk), before);
}

#[test]
fn commands_proposed_together_are_judged_one_by_one() {
    let disk = SimDisk::new(1);
    let mut backend = open(&disk).unwrap();
    let twice = [commands(2), vec![Command::CreateTopic(create("t1", 9, 1))]].concat();
    let before = disk.ops();
    let answers = backend.propose_all(&twice).unwrap();
    assert_eq!(
        disk.ops() - before,
        4,
        "one write and one sync of the log, and of the mark"
    );
    let accepted: Vec<_> = answers.iter().map(Result::is_ok).collect();
    assert_eq!(accepted, [true, true, true, true, true, false]);
    finds(&disk.crash(Survival::Nothing), backend.image());
}

/// Runs commands, and power fails after every call: what was acknowledged is there, and what is
/// there is some prefix of what was proposed.
fn survives_power_loss_at_every_call(topics: u128, compact_bytes: u64) -> usize {
    let disk = SimDisk::new(7);
    disk.keep_images();
    let mut backend = open(&disk).unwrap();
    backend.compact_bytes = compact_bytes;
    let mut prefixes = vec![encode_image(&Image::default())];
    let mut images = 0;
    let mut check = |taken: Vec<SimDisk>, acknowledged: usize, prefixes: &[Vec<u8>]| {
        for image in taken {
            let survivals = (0..SEEDS_PER_IMAGE).map(Survival::Seeded);
            for survival in survivals.chain([Survival::Nothing, Survival::Everything]) {
                images += 1;
                let crashed = image.crash(survival);
                let opened = open(&crashed).unwrap_or_else(|error| panic!("{survival:?}: {error}"));
                let revision = opened.image().revision().0 as usize;
                assert!(
                    revision >= acknowledged,
                    "{survival:?}: {revision} < {acknowledged}"
                );
                assert_eq!(
                    encode_image(opened.image()),
                    prefixes[revision],
                    "{survival:?}"
                );
                finds(&crashed, opened.image());
            }
        }
    };
    check(disk.take_images(), 0, &prefixes);
    for command in commands(topics) {
        let acknowledged = prefixes.len() - 1;
        backend.propose(&command).unwrap();
        backend.compact_bytes = compact_bytes;
        prefixes.push(encode_image(backend.image()));
        check(disk.take_images(), acknowledged, &prefixes);
        check(vec![disk.snapshot()], acknowledged + 1, &prefixes);
    }
    images
}

#[test]
fn power_loss_at_any_call_loses_nothing_that_was_acknowledged() {
    let images = survives_power_loss_at_every_call(4, u64::MAX);
    assert!(images > 200, "{images}");
}

#[test]
fn power_loss_at_any_call_of_a_compaction_loses_nothing_that_was_acknowledged() {
    let images = survives_power_loss_at_every_call(4, 0);
    assert!(images > 500, "{images}");
}

#[test]
fn power_loss_during_recovery_loses_nothing_either() {
    let disk = SimDisk::new(3);
    let image = filled(&disk, 2).image().clone();
    let torn = [log(&disk), vec![9; 100]].concat();
    disk.put(Path::new(LOG), &torn);
    disk.keep_images();
    drop(open(&disk).unwrap());
    let images = disk.take_images();
    assert!(images.len() > 4);
    for step in images {
        for seed in 0..SEEDS_PER_IMAGE {
            assert_eq!(
                open(&step.crash(Survival::Seeded(seed))).unwrap().image(),
                &image
            );
        }
    }
}

#[test]
fn metadata_of_level_1_goes_on_and_is_raised() {
    let disk = SimDisk::new(1);
    let mut backend = LocalBackend::create_with(Arc::new(disk.clone()), level_1()).unwrap();
    backend.propose(&register(1, &[2, 3])).unwrap();
    let tiered = DeleteTopic {
        id: topic_id(1),
        tiered: true,
    };
    let tiered = Command::DeleteTopic(tiered);
    let error = backend.propose(&tiered).unwrap_err();
    assert!(matches!(
        error,
        MetadataError::Refused(Refused::FeatureLevel {
            needed: 2,
            present: 1
        })
    ));
    backend
        .propose(&Command::RaiseFeatureLevel { level: 2 })
        .unwrap();
    backend.propose(&tiered).unwrap();
    assert_eq!(backend.image().feature_level(), 2);
    finds(&disk.crash(Survival::Nothing), backend.image());
}

#[test]
fn heads_that_are_all_refused_are_not_recorded() {
    let disk = SimDisk::new(1);
    let mut backend = filled(&disk, 1);
    let before = log(&disk);
    let refused = TierHeadCommit {
        partition: topic_id(9).partition(PartitionIdx(0)),
        parent: None,
        head: TierHead {
            number: 1,
            leader_epoch: LeaderEpoch(0),
            start: Offset::ZERO,
            end: Offset::ZERO,
        },
    };
    let commit = |heads| {
        Command::CommitTierHeads(CommitTierHeads {
            broker: BrokerId(1),
            heads,
        })
    };
    let judged = backend.propose(&commit(vec![refused])).unwrap();
    assert!(matches!(judged, Applied::TierHeads { committed, .. } if committed.is_empty()));
    assert_eq!(log(&disk), before);
    let mut good = refused;
    good.partition = topic_id(1).partition(PartitionIdx(0));
    good.head.leader_epoch = LeaderEpoch(1);
    backend.propose(&commit(vec![refused, good])).unwrap();
    finds(&disk.crash(Survival::Nothing), backend.image());
}

#[test]
fn new_metadata_begins_with_the_image_that_it_is_given_and_never_over_other_metadata() {
    let disk = SimDisk::new(1);
    let image = level_1();
    let backend = LocalBackend::create_with(Arc::new(disk.clone()), image.clone()).unwrap();
    assert!(backend.report().created);
    drop(backend);
    finds(&disk.crash(Survival::Nothing), &image);
    let before = disk.files();
    let error = LocalBackend::create_with(Arc::new(disk.clone()), Image::default()).unwrap_err();
    let message = "metadata/log is there already; give an empty data directory";
    assert_eq!(error.to_string(), message);
    assert_eq!(disk.files(), before);
}

#[test]
fn power_loss_while_a_restored_directory_gets_its_metadata_leaves_all_of_it_or_a_refusal() {
    let disk = SimDisk::new(7);
    disk.create_dir_all(Path::new("topics")).unwrap();
    disk.sync_dir(Path::new("")).unwrap();
    disk.keep_images();
    let image = level_1();
    drop(LocalBackend::create_with(Arc::new(disk.clone()), image.clone()).unwrap());
    let (mut whole, mut refused) = (0, 0);
    for step in disk.take_images() {
        let survivals = (0..SEEDS_PER_IMAGE).map(Survival::Seeded);
        for survival in survivals.chain([Survival::Nothing, Survival::Everything]) {
            match open(&step.crash(survival)) {
                Ok(backend) => {
                    assert_eq!(backend.image(), &image, "{survival:?}");
                    whole += 1;
                }
                Err(error) => {
                    assert!(matches!(error, MetadataError::Damaged { .. }), "{error}");
                    refused += 1;
                }
            }
        }
    }
    assert!(whole > 10 && refused > 10, "{whole} {refused}");
    finds(&disk.crash(Survival::Nothing), &image);
}

#[test]
fn a_flipped_bit_anywhere_below_the_mark_refuses_to_start() {
    let disk = SimDisk::new(1);
    drop(filled(&disk, 2));
    let len = log(&disk).len() as u64;
    for byte in 0..len {
        let damaged = disk.snapshot();
        damaged.corrupt(Path::new(LOG), byte, (byte % 8) as u8);
        let message = refuses(&damaged, LOG);
        assert!(message.contains("restore the data directory"), "{message}");
    }
}

#[test]
fn a_log_cut_anywhere_below_the_mark_refuses_to_start() {
    let disk = SimDisk::new(1);
    drop(filled(&disk, 2));
    for len in 0..log(&disk).len() as u64 {
        let damaged = disk.snapshot();
        damaged.truncate(Path::new(LOG), len);
        refuses(&damaged, LOG);
    }
    disk.remove_file(Path::new(LOG)).unwrap();
    let message = refuses(&disk, LOG);
    assert!(message.starts_with("metadata/log is damaged at byte 0: the file is missing"));
}

#[test]
fn the_error_says_where_the_damage_begins() {
    let disk = SimDisk::new(1);
    drop(filled(&disk, 0));
    let last = log(&disk).len() as u64 - 1;
    disk.corrupt(Path::new(LOG), last, 0);
    let message = refuses(&disk, LOG);
    let bytes = log(&disk);
    let message_bytes = encode_command(&register(1, &[1, 2])).len();
    let frame = bytes.len() - frame::FRAME_HEADER_BYTES - message_bytes;
    let expected =
        format!("metadata/log is damaged at byte {frame}: a frame's CRC-32C differs; {REMEDY}");
    assert_eq!(message, expected);
}

#[test]
fn damage_to_one_slot_of_the_mark_changes_nothing() {
    let disk = SimDisk::new(1);
    let image = filled(&disk, 2).image().clone();
    let mark = disk.read(Path::new(MARK)).unwrap();
    let mut lost = 0;
    for byte in 0..mark.len() as u64 {
        let damaged = disk.snapshot();
        damaged.corrupt(Path::new(MARK), byte, (byte % 8) as u8);
        lost += u64::from(finds(&damaged, &image).mark_slot_lost);
    }
    assert_eq!(lost, 80, "each byte of both slots counts");
    // A crash while one is written leaves it torn.
    for len in 0..mark.len() as u64 {
        let damaged = disk.snapshot();
        damaged.truncate(Path::new(MARK), len);
        match len {
            0..40 => drop(refuses(&damaged, MARK)),
            _ => assert!(finds(&damaged, &image).mark_slot_lost),
        }
    }
    disk.remove_file(Path::new(MARK)).unwrap();
    refuses(&disk, MARK);
}

#[test]
fn metadata_that_vanished_as_a_whole_refuses_to_start() {
    for left in ["topics", "marks"] {
        let disk = SimDisk::new(1);
        disk.create_dir_all(Path::new(left)).unwrap();
        let error = refuses(&disk, LOG);
        let expected = format!(
            "metadata/log is damaged at byte 0: the file is missing, but {left} is there; {REMEDY}"
        );
        assert_eq!(error, expected);
    }
}

#[test]
fn a_torn_write_above_the_mark_is_cut_with_a_report() {
    let disk = SimDisk::new(1);
    let image = filled(&disk, 1).image().clone();
    let whole = log(&disk);
    let mut next = Vec::new();
    let message = encode_command(&Command::AllocateProducerIds { count: 7 });
    push_frame(&mut next, image.revision().0 + 1, &message);
    for len in 1..next.len() {
        let torn = disk.snapshot();
        torn.put(
            Path::new(LOG),
            &[&whole[..], &next[..len], &[0; 3]].concat(),
        );
        let report = finds(&torn, &image);
        assert_eq!(report.cut_bytes, len as u64 + 3);
        let nonzero = next[..len].iter().filter(|byte| **byte != 0).count();
        assert_eq!(report.cut_nonzero_bytes, nonzero as u64);
        assert_eq!(log(&torn), whole);
    }
    for byte in 0..next.len() {
        let flipped = disk.snapshot();
        let mut tail = next.clone();
        tail[byte] ^= 1 << (byte % 8);
        flipped.put(Path::new(LOG), &[&whole[..], &tail[..]].concat());
        finds(&flipped, &image);
    }
    // Whole, but never acknowledged: it may stay.
    disk.put(Path::new(LOG), &[whole, next].concat());
    let mut with_next = image;
    with_next
        .apply(&Command::AllocateProducerIds { count: 7 })
        .unwrap();
    finds(&disk, &with_next);
}

#[test]
fn a_newer_version_stops_with_an_error_and_is_not_cut() {
    #[derive(Clone, PartialEq, prost::Message)]
    struct LaterEnvelope {
        #[prost(uint32, tag = "1")]
        feature_level: u32,
    }
    let disk = SimDisk::new(1);
    let image = filled(&disk, 1).image().clone();
    let mut bytes = log(&disk);
    let message = LaterEnvelope { feature_level: 3 }.encode_to_vec();
    push_frame(&mut bytes, image.revision().0 + 1, &message);
    disk.put(Path::new(LOG), &bytes);
    let expected = "metadata/log was written by a newer version: feature level 3, this one knows \
                    up to 2; start that version or a newer one";
    assert_eq!(open(&disk).unwrap_err().to_string(), expected);
    assert_eq!(log(&disk), bytes);
}

#[test]
fn a_full_disk_refuses_and_the_next_command_is_accepted_once_there_is_space() {
    let disk = SimDisk::new(1);
    let mut backend = filled(&disk, 1);
    let before = backend.image().clone();
    let fault = disk.inject(Fault::once(SimOp::Write).on_path(LOG).full());
    let command = Command::CreateTopic(create("t2", 2, 3));
    let error = backend.propose(&command).unwrap_err();
    assert!(error.is_full(), "{error}");
    assert_eq!(disk.struck(fault), 1);
    assert_eq!(backend.image(), &before);
    backend.propose(&command).unwrap();
    finds(&disk.crash(Survival::Nothing), backend.image());
}

#[test]
fn after_a_failed_sync_nothing_more_is_accepted() {
    for path in [LOG, MARK] {
        let disk = SimDisk::new(1);
        let mut backend = filled(&disk, 1);
        let before = backend.image().clone();
        let fault = disk.inject(Fault::once(SimOp::Sync).on_path(path));
        let command = Command::CreateTopic(create("t2", 2, 3));
        assert!(matches!(
            backend.propose(&command),
            Err(MetadataError::Io { .. })
        ));
        assert_eq!(disk.struck(fault), 1);
        assert!(matches!(
            backend.propose(&command),
            Err(MetadataError::Failed)
        ));
        assert_eq!(backend.image(), &before, "nobody is shown what may be lost");
    }
}

#[test]
fn compaction_keeps_the_image_and_waits_while_the_disk_is_full() {
    let disk = SimDisk::new(1);
    drop(filled(&disk, 3));
    // A log that was just made goes by the name that it had while it was new.
    let mut backend = open(&disk).unwrap();
    backend.compact_bytes = 0;
    let fault = disk.inject(Fault::once(SimOp::Write).on_path(LOG_NEW).full());
    backend
        .propose(&Command::AllocateProducerIds { count: 1 })
        .unwrap();
    assert_eq!((disk.struck(fault), backend.generation), (1, 1));
    finds(&disk.crash(Survival::Nothing), backend.image());

    let long = log(&disk).len();
    backend.compact_bytes = 0;
    backend
        .propose(&Command::AllocateProducerIds { count: 1 })
        .unwrap();
    assert_eq!(backend.generation, 2);
    assert!(log(&disk).len() < long);
    backend
        .propose(&Command::AllocateProducerIds { count: 1 })
        .unwrap();
    let report = finds(&disk.crash(Survival::Nothing), backend.image());
    assert_eq!(report.replayed, 1);
}

#[test]
fn a_compaction_that_fails_takes_nothing_back_but_ends_the_backend() {
    for op in [SimOp::Sync, SimOp::Rename, SimOp::SyncDir] {
        let disk = SimDisk::new(1);
        drop(filled(&disk, 3));
        // A log that was just made goes by the name that it had while it was new.
        let mut backend = open(&disk).unwrap();
        backend.compact_bytes = 0;
        let fault = match op {
            SimOp::Sync => Fault::once(op).on_path(LOG_NEW),
            _ => Fault::once(op),
        };
        let fault = disk.inject(fault);
        backend
            .propose(&Command::AllocateProducerIds { count: 1 })
            .unwrap();
        assert_eq!(disk.struck(fault), 1, "{op:?}");
        let more = backend.propose(&Command::AllocateProducerIds { count: 1 });
        assert!(matches!(more, Err(MetadataError::Failed)));
        for survival in [Survival::Nothing, Survival::Everything] {
            finds(&disk.crash(survival), backend.image());
        }
    }
}
