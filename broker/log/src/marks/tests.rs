use super::*;
use crate::disk::sim::{Fault, SimDisk, SimOp, Survival};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn key(number: u32) -> PartitionKey {
    PartitionKey {
        topic: Uuid::from_u128(u128::from(number / 8) + 1),
        index: number % 8,
    }
}

fn open(disk: &SimDisk, shards: usize) -> MarkStore {
    MarkStore::open(Arc::new(disk.clone()), shards).expect("the mark files open")
}

fn write(store: &MarkStore, number: u32, end: u64) -> Result<(), LogError> {
    store.write(
        store.shard_of(key(number)),
        &[(key(number), Offset::new(end))],
    )
}

fn sync_all(store: &MarkStore) {
    (0..store.shards.len()).for_each(|shard| store.sync(shard).expect("a sync"));
}

fn valid(end: u64) -> MarkState {
    MarkState::Valid {
        synced_end: Offset::new(end),
    }
}

/// A disk with synced marks `end(number)` of partitions 0 to `count`; each has both slots filled, the other one with
/// an end lower by one.
fn with_marks(count: u32, shards: usize, end: impl Fn(u32) -> u64) -> SimDisk {
    let disk = SimDisk::new(7);
    let store = open(&disk, shards);
    for round in [1, 0] {
        (0..count).for_each(|number| write(&store, number, end(number) - round).unwrap());
        sync_all(&store);
    }
    disk
}

#[test]
fn a_synced_mark_is_found_again() {
    let disk = with_marks(300, 3, |number| u64::from(number) + 10);
    let store = open(&disk.crash(Survival::Nothing), 3);
    (0..300).for_each(|number| assert_eq!(store.get(key(number)), valid(u64::from(number) + 10)));
    assert_eq!(store.get(key(300)), MarkState::Absent);
}

#[test]
fn a_shard_is_dirty_from_a_write_to_the_next_sync() {
    let store = open(&SimDisk::new(1), 2);
    let shard = store.shard_of(key(0));
    write(&store, 0, 5).unwrap();
    assert!(store.is_dirty(shard) && !store.is_dirty(1 - shard));
    store.sync(shard).unwrap();
    assert!(!store.is_dirty(shard));
    write(&store, 0, 5).unwrap();
    assert!(
        !store.is_dirty(shard),
        "a mark that says nothing new is not written"
    );
    store.remove(key(0)).unwrap();
    assert!(store.is_dirty(shard));
}

/// What a crash may leave of each partition: the ends synced last, or written since.
#[derive(Clone, Default)]
struct Model {
    synced: BTreeMap<u32, Option<u64>>,
    /// Written since; `None` is a removal.
    since: BTreeMap<u32, Vec<Option<u64>>>,
    /// Synced before: what the older slot may hold while the newer one has been cleared by a removal.
    older: BTreeMap<u32, Vec<u64>>,
}

impl Model {
    fn write(&mut self, number: u32, end: Option<u64>) {
        self.since.entry(number).or_default().push(end);
    }

    fn sync(&mut self) {
        for (number, ends) in std::mem::take(&mut self.since) {
            let last = *ends.last().expect("at least one");
            let before = self.synced.insert(number, last).flatten();
            self.older.entry(number).or_default().extend(before);
        }
    }

    fn check(&self, crashed: &SimDisk, shards: usize, context: &str) {
        let store = open(crashed, shards);
        for number in self.synced.keys().chain(self.since.keys()) {
            let synced = self.synced.get(number).copied().flatten();
            let since = self.since.get(number).cloned().unwrap_or_default();
            match store.get(key(*number)) {
                MarkState::Valid { synced_end } => {
                    let found = Some(synced_end.get());
                    let is_removed = since.contains(&None);
                    let older = self
                        .older
                        .get(number)
                        .is_some_and(|ends| ends.contains(&synced_end.get()));
                    let is_known =
                        found == synced || since.contains(&found) || (is_removed && older);
                    assert!(is_known, "{context}: partition {number} has {found:?}");
                }
                MarkState::Absent | MarkState::Lost => {
                    let may_be_gone = synced.is_none() || since.contains(&None);
                    assert!(may_be_gone, "{context}: partition {number} lost {synced:?}");
                }
            }
        }
    }
}

#[test]
fn power_loss_at_any_moment_leaves_the_synced_mark_or_a_later_one() {
    let disk = SimDisk::new(3);
    let store = open(&disk, 2);
    let mut model = Model::default();
    disk.keep_images();
    for step in 0..120u32 {
        let number = step * 7 % 10;
        let before = model.clone();
        match step % 6 {
            5 => {
                sync_all(&store);
                model.sync();
            }
            4 if step % 18 == 4 => {
                store.remove(key(number)).unwrap();
                model.write(number, None);
            }
            3 if step % 9 == 3 => {
                let end = u64::from(step / 2);
                model.write(number, Some(end));
                store.lower(key(number), Offset::new(end)).unwrap();
            }
            _ => {
                model.write(number, Some(u64::from(step) + 100));
                write(&store, number, u64::from(step) + 100).unwrap();
            }
        }
        let mut during = before;
        for (number, ends) in &model.since {
            during.since.insert(*number, ends.clone());
        }
        for (place, image) in disk.take_images().iter().enumerate() {
            for seed in 0..8 {
                let context = format!("step {step}, image {place}, seed {seed}");
                during.check(&image.crash(Survival::Seeded(seed)), 2, &context);
            }
        }
        for seed in 0..8 {
            let context = format!("after step {step}, seed {seed}");
            model.check(&disk.crash(Survival::Seeded(seed)), 2, &context);
        }
        // A lowered mark is durable though the step was none of `sync`.
        if step % 9 == 3 && step % 6 == 3 {
            let store = open(&disk.crash(Survival::Nothing), 2);
            assert_eq!(
                store.get(key(number)),
                valid(u64::from(step / 2)),
                "step {step}"
            );
        }
    }
}

#[test]
fn a_mark_written_during_a_sync_does_not_count_as_synced() {
    let disk = SimDisk::new(1);
    let store = open(&disk, 1);
    let mark = |end, generation| Mark {
        key: key(0),
        synced_end: Offset::new(end),
        generation,
    };
    {
        let mut shard = store.lock(0);
        shard.write(&mark(1, 1)).unwrap();
        shard.file.sync().unwrap();
        shard.synced(1);
        shard.write(&mark(2, 2)).unwrap();
        let begun = shard.writes();
        shard.write(&mark(3, 3)).unwrap();
        shard.synced(begun);
        assert!(shard.is_dirty());
        shard.write(&mark(4, 4)).unwrap();
    }
    // Whatever became of the slot written last, the durable one is still there.
    for seed in 0..50 {
        let store = open(&disk.crash(Survival::Seeded(seed)), 1);
        assert!(
            matches!(store.get(key(0)), MarkState::Valid { .. }),
            "seed {seed}"
        );
    }
}

#[test]
fn slots_cleared_during_a_sync_are_not_free_after_it() {
    let store = open(&SimDisk::new(1), 1);
    write(&store, 0, 1).unwrap();
    store.sync(0).unwrap();
    write(&store, 1, 1).unwrap();
    let mut shard = store.lock(0);
    let begun = shard.writes();
    shard.remove(key(0)).unwrap();
    shard.synced(begun);
    assert!(shard.is_dirty());
    shard.synced(begun + 1);
    assert!(!shard.is_dirty());
}

#[test]
fn a_mark_that_a_killed_broker_left_in_the_page_cache_becomes_durable_before_it_counts() {
    let disk = SimDisk::new(1);
    let store = open(&disk, 1);
    write(&store, 0, 1).unwrap();
    store.sync(0).unwrap();
    write(&store, 0, 2).unwrap();
    let store = open(&disk, 1);
    assert_eq!(store.get(key(0)), valid(2));
    write(&store, 0, 3).unwrap();
    for seed in 0..1000 {
        let state = open(&disk.crash(Survival::Seeded(seed)), 1).get(key(0));
        assert!(
            [valid(2), valid(3)].contains(&state),
            "seed {seed}: {state:?}"
        );
    }
}

#[test]
fn with_any_bit_flipped_every_partition_has_its_mark_or_the_one_before() {
    let disk = with_marks(5, 1, |_| 100);
    let path = shard_path(0);
    let bytes = disk.read(&path).unwrap();
    for place in 0..bytes.len() * 8 {
        let (byte, bit) = (place / 8, (place % 8) as u8);
        // All of them in the release build.
        let in_use = byte % 4096 < 6 * slot::SLOT_BYTES;
        if cfg!(debug_assertions) && (!in_use || byte as u8 % 8 != bit) {
            continue;
        }
        let damaged = disk.snapshot();
        damaged.corrupt(&path, byte as u64, bit);
        let store = open(&damaged, 1);
        let found: Vec<MarkState> = (0..5).map(|number| store.get(key(number))).collect();
        let is_newest = |state: &&MarkState| **state == valid(100);
        assert!(
            found.iter().filter(is_newest).count() >= 4,
            "byte {byte}: {found:?}"
        );
        assert!(
            found
                .iter()
                .all(|state| [valid(99), valid(100)].contains(state)),
            "{found:?}"
        );
    }
}

#[test]
fn with_both_slots_bad_a_partition_counts_as_lost_until_settled() {
    let disk = with_marks(5, 1, |_| 100);
    // Pairs are taken in order.
    for side in [0, 1] {
        disk.corrupt(&shard_path(0), shard::slot_position(2, side) + 9, 0);
    }
    let store = open(&disk, 1);
    let states = |store: &MarkStore| (0..6).map(|n| store.get(key(n))).collect::<Vec<_>>();
    let lost = [
        valid(100),
        valid(100),
        MarkState::Lost,
        valid(100),
        valid(100),
        MarkState::Lost,
    ];
    assert_eq!(states(&store), lost, "nobody can tell whose the slots were");

    // The engine opens what it has, marks it anew, and settles; a crash before that finds the loss or the mark.
    disk.keep_images();
    write(&store, 2, 70).unwrap();
    store.settle().unwrap();
    for image in disk.take_images() {
        for seed in 0..10 {
            let store = open(&image.crash(Survival::Seeded(seed)), 1);
            let state = store.get(key(2));
            assert!(
                [MarkState::Lost, valid(70)].contains(&state),
                "seed {seed}: {state:?}"
            );
        }
    }
    let settled = [
        valid(100),
        valid(100),
        valid(70),
        valid(100),
        valid(100),
        MarkState::Absent,
    ];
    assert_eq!(states(&store), settled);
    assert_eq!(states(&open(&disk.crash(Survival::Nothing), 1)), settled);
}

#[test]
fn a_cut_file_loses_marks_as_lost_and_never_as_absent() {
    let disk = with_marks(70, 1, |_| 100);
    let path = shard_path(0);
    let len = disk.read(&path).unwrap().len() as u64;
    assert_eq!(len, 2 * shard::PAGE_PAIR_BYTES);
    for cut in (1..len).filter(|cut| cut % shard::PAGE_PAIR_BYTES != 0) {
        // All of them in the release build.
        if cfg!(debug_assertions) && cut % 64 != 0 && cut % 61 != 0 {
            continue;
        }
        let damaged = disk.snapshot();
        damaged.truncate(&path, cut);
        let store = open(&damaged, 1);
        for number in 0..70 {
            let state = store.get(key(number));
            let known = [valid(100), valid(99), MarkState::Lost];
            assert!(
                known.contains(&state),
                "cut at {cut}: partition {number} is {state:?}"
            );
        }
        store.settle().unwrap();
        let store = open(&damaged.crash(Survival::Nothing), 1);
        assert_eq!(store.get(key(99)), MarkState::Absent, "cut at {cut}");
    }
}

#[test]
fn a_lowered_mark_stays_low_whichever_slot_is_damaged() {
    let disk = with_marks(1, 1, |_| 100);
    open(&disk, 1).lower(key(0), Offset::new(40)).unwrap();
    for side in [0, 1] {
        let damaged = disk.crash(Survival::Nothing);
        damaged.corrupt(&shard_path(0), shard::slot_position(0, side), 0);
        assert_eq!(open(&damaged, 1).get(key(0)), valid(40));
    }
}

#[test]
fn slots_of_removed_partitions_are_used_again() {
    let disk = with_marks(64, 1, |_| 100);
    let store = open(&disk, 1);
    for round in 1..20 {
        let topic = key((round - 1) * 64).topic;
        assert_eq!(store.get(key((round - 1) * 64)), valid(100));
        store.remove_topic(topic).unwrap();
        assert_eq!(store.get(key((round - 1) * 64)), MarkState::Absent);
        ((round - 1) * 64 + 8..round * 64).for_each(|n| store.remove(key(n)).unwrap());
        sync_all(&store);
        (round * 64..(round + 1) * 64).for_each(|n| write(&store, n, 100).unwrap());
        sync_all(&store);
    }
    assert_eq!(
        disk.read(&shard_path(0)).unwrap().len() as u64,
        shard::PAGE_PAIR_BYTES
    );
}

#[test]
fn marks_move_to_their_shard_when_the_number_of_shards_changes() {
    for (before, after) in [(1, 3), (3, 1), (4, 2), (2, 5)] {
        let disk = with_marks(40, before, |number| u64::from(number) + 100);
        disk.keep_images();
        open(&disk, after);
        let mut images = disk.take_images();
        images.push(disk.snapshot());
        for (place, image) in images.iter().enumerate() {
            for (seed, shards) in [(1, before), (2, after), (3, 7)] {
                let store = open(&image.crash(Survival::Seeded(seed)), shards);
                for number in 0..40 {
                    let state = store.get(key(number));
                    let context = format!("{before} to {after}, image {place}, seed {seed}");
                    assert_eq!(state, valid(u64::from(number) + 100), "{context}");
                }
            }
        }
        let names: Vec<PathBuf> = disk.files().into_iter().map(|(path, _)| path).collect();
        assert_eq!(names, (0..after).map(shard_path).collect::<Vec<_>>());
    }
}

#[test]
fn a_retired_file_with_unreadable_slots_is_kept_until_settled() {
    let disk = with_marks(40, 2, |_| 100);
    for side in [0, 1] {
        disk.corrupt(&shard_path(1), shard::slot_position(0, side), 0);
    }
    let lost = (0..40)
        .filter(|n| open(&disk, 1).get(key(*n)) == MarkState::Lost)
        .count();
    assert_eq!(lost, 1);
    assert!(disk.read(&shard_path(1)).is_some());

    let store = open(&disk, 1);
    let lost = (0..40)
        .find(|n| store.get(key(*n)) == MarkState::Lost)
        .expect("one is lost");
    disk.keep_images();
    write(&store, lost, 70).unwrap();
    store.settle().unwrap();
    for image in disk.take_images() {
        for seed in 0..50 {
            let state = open(&image.crash(Survival::Seeded(seed)), 1).get(key(lost));
            assert!(
                [MarkState::Lost, valid(70)].contains(&state),
                "seed {seed}: {state:?}"
            );
        }
    }
    assert!(disk.read(&shard_path(1)).is_none());
    assert_eq!(open(&disk, 1).get(key(41)), MarkState::Absent);
}

#[test]
fn after_a_failed_sync_nothing_is_written_any_more() {
    let mut seen = Vec::new();
    for seed in 0..10 {
        let disk = SimDisk::new(seed);
        let store = open(&disk, 1);
        store.lower(key(0), Offset::new(100)).unwrap();
        write(&store, 0, 200).unwrap();
        let fault = disk.inject(Fault::once(SimOp::Sync));
        assert!(matches!(
            store.sync(0),
            Err(LogError::Io { action: "sync", .. })
        ));
        assert_eq!(disk.struck(fault), 1);
        assert!(matches!(store.sync(0), Err(LogError::Failed)));
        assert!(matches!(write(&store, 0, 300), Err(LogError::Failed)));
        assert!(matches!(
            store.lower(key(0), Offset::ZERO),
            Err(LogError::Failed)
        ));
        // The next start sees what the medium holds, not what the page cache does.
        let on_medium = open(&disk.crash(Survival::Nothing), 1).get(key(0));
        assert_eq!(open(&disk, 1).get(key(0)), on_medium, "seed {seed}");
        seen.push(on_medium);
    }
    assert!(
        seen.contains(&valid(100)) && seen.contains(&valid(200)),
        "{seen:?}"
    );
}

#[test]
fn a_full_disk_refuses_a_new_partition_and_keeps_marking_the_old_ones() {
    let disk = SimDisk::new(1);
    disk.set_capacity(shard::PAGE_PAIR_BYTES);
    let store = open(&disk, 1);
    (0..64).for_each(|number| write(&store, number, 1).unwrap());
    assert!(write(&store, 64, 1).is_err_and(|error| error.is_full()));
    assert_eq!(store.get(key(64)), MarkState::Absent);
    (0..64).for_each(|number| write(&store, number, 2).unwrap());
    sync_all(&store);
    disk.set_capacity(1 << 20);
    write(&store, 64, 1).unwrap();
    sync_all(&store);
    assert_eq!(
        open(&disk.crash(Survival::Nothing), 1).get(key(64)),
        valid(1)
    );
}

#[test]
fn a_mark_whose_write_failed_is_written_again() {
    let disk = SimDisk::new(1);
    let store = open(&disk, 1);
    disk.inject(Fault::once(SimOp::Write));
    assert!(write(&store, 0, 5).is_err());
    write(&store, 0, 5).unwrap();
    sync_all(&store);
    assert_eq!(
        open(&disk.crash(Survival::Nothing), 1).get(key(0)),
        valid(5)
    );
}

#[test]
fn a_slot_of_a_later_version_is_refused_by_name() {
    let disk = with_marks(1, 1, |_| 100);
    let mut bytes = disk.read(&shard_path(0)).unwrap();
    bytes[4] = 9;
    let crc = crc32c::crc32c(&bytes[4..64]).to_le_bytes();
    bytes[..4].copy_from_slice(&crc);
    disk.put(&shard_path(0), &bytes);
    let error = MarkStore::open(Arc::new(disk), 1)
        .err()
        .expect("refused")
        .to_string();
    assert!(
        error.contains("marks/shard-0") && error.contains("version 9"),
        "{error}"
    );
}

#[test]
fn files_that_are_not_ours_are_left_alone() {
    let disk = with_marks(3, 1, |_| 100);
    for name in ["marks/shard-01", "marks/shard-x", "marks/note"] {
        disk.put(Path::new(name), b"not a mark file");
    }
    let store = open(&disk, 1);
    assert_eq!(store.get(key(1)), valid(100));
    assert_eq!(store.get(key(50)), MarkState::Absent);
    assert_eq!(disk.files().len(), 4);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn hostile_files_never_panic_and_are_usable_after(
        pieces in prop::collection::vec((0u64..20_000, prop::collection::vec(any::<u8>(), 1..200)), 0..20),
        cut in prop::option::of(0u64..16_384),
        shards in 1usize..4,
    ) {
        let disk = with_marks(70, 2, |_| 100);
        let mut bytes = disk.read(&shard_path(0)).unwrap();
        for (position, piece) in pieces {
            for (place, byte) in piece.iter().enumerate() {
                let len = bytes.len() as u64;
                bytes[((position + place as u64) % len) as usize] = *byte;
            }
        }
        disk.put(&shard_path(0), &bytes);
        if let Some(cut) = cut {
            disk.truncate(&shard_path(0), cut);
        }
        let store = open(&disk, shards);
        for number in 0..70 {
            let state = store.get(key(number));
            let known = [valid(99), valid(100), MarkState::Lost, MarkState::Absent];
            prop_assert!(known.contains(&state), "{state:?}");
            write(&store, number, 500).unwrap();
        }
        store.settle().unwrap();
        let store = open(&disk.crash(Survival::Nothing), shards);
        (0..70).for_each(|number| assert_eq!(store.get(key(number)), valid(500)));
    }
}
