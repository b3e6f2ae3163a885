//! What a start finds, crash images, damage at every byte.

use std::sync::Arc;

use headwater_log::sim::{Fault, SimDisk, SimOp, Survival};
use uuid::Uuid;

use super::*;

const CLUSTER: ClusterId = ClusterId(Uuid::from_u128(0xC1));
const STORAGE: StorageId = StorageId(Uuid::from_u128(0x51));
const BOOT: &str = "1b4c0b1e-0000-4000-8000-000000000001";

fn id(number: u128) -> IncarnationId {
    IncarnationId(Uuid::from_u128(number))
}

fn open_at(disk: &SimDisk, boot_id: &str) -> Result<Identity, MetadataError> {
    Identity::open(
        Arc::new(disk.clone()),
        StorageId(Uuid::from_u128(0xBAD)),
        boot_id,
    )
}

fn open(disk: &SimDisk) -> Identity {
    open_at(disk, BOOT).unwrap()
}

fn new(disk: &SimDisk) -> Identity {
    Identity::open(Arc::new(disk.clone()), STORAGE, BOOT).unwrap()
}

/// A directory whose broker 1 runs under incarnation 1.
fn running(disk: &SimDisk) -> Identity {
    let mut identity = new(disk);
    identity.form(CLUSTER).unwrap();
    identity.begin_incarnation(id(1), 1_000).unwrap();
    identity.confirm(id(1), BrokerId(1)).unwrap();
    identity
}

/// Opened is what a start finds, but for the wall time.
fn found(identity: &Identity) -> (bool, bool, bool, Option<&str>) {
    let Opened {
        created,
        clean,
        other_boot,
        poisoned,
        ..
    } = identity.opened();
    (*created, *clean, *other_boot, poisoned.as_deref())
}

#[test]
fn an_empty_directory_gets_an_identity_that_stays() {
    let disk = SimDisk::new(1);
    let identity = new(&disk);
    assert_eq!(found(&identity), (true, false, false, None));
    assert_eq!(
        (identity.storage(), identity.cluster(), identity.broker()),
        (STORAGE, None, None)
    );
    let identity = open(&disk.crash(Survival::Nothing));
    assert_eq!(found(&identity), (false, false, false, None));
    assert_eq!(identity.storage(), STORAGE);
}

#[test]
fn a_registered_broker_knows_all_its_ids() {
    let disk = SimDisk::new(1);
    drop(running(&disk));
    let identity = open(&disk.crash(Survival::Nothing));
    let ids = (identity.storage(), identity.cluster(), identity.broker());
    assert_eq!(ids, (STORAGE, Some(CLUSTER), Some(BrokerId(1))));
    assert_eq!(identity.opened().last_wall_ms, Some(1_000));
}

#[test]
fn a_directory_is_formed_once() {
    let disk = SimDisk::new(1);
    let mut identity = running(&disk);
    identity.form(CLUSTER).unwrap();
    let error = identity.form(ClusterId(STORAGE.0)).unwrap_err().to_string();
    assert_eq!(
        error,
        format!("this is cluster {CLUSTER} already; it cannot be formed again")
    );
}

#[test]
fn a_directory_stays_with_its_broker() {
    let disk = SimDisk::new(1);
    let mut identity = running(&disk);
    identity.begin_incarnation(id(2), 0).unwrap();
    let error = identity
        .confirm(id(2), BrokerId(2))
        .unwrap_err()
        .to_string();
    let expected =
        format!("identity is damaged at byte 0: it says broker 1, the metadata broker 2; {REMEDY}");
    assert_eq!(error, expected);
    assert_eq!(open(&disk).incarnations(), [id(1), id(2)]);
}

#[test]
fn a_stop_is_clean_until_the_next_incarnation() {
    let disk = SimDisk::new(1);
    running(&disk).mark_clean(2_000).unwrap();
    let disk = disk.crash(Survival::Nothing);
    let mut identity = open(&disk);
    assert_eq!(found(&identity), (false, true, false, None));
    assert_eq!(identity.opened().last_wall_ms, Some(2_000));
    identity.begin_incarnation(id(2), 3_000).unwrap();
    assert_eq!(
        found(&open(&disk.crash(Survival::Nothing))),
        (false, false, false, None)
    );
}

#[test]
fn incarnations_are_kept_until_one_is_confirmed() {
    let disk = SimDisk::new(1);
    let mut identity = running(&disk);
    assert_eq!(identity.incarnations(), [id(1)]);
    identity.begin_incarnation(id(2), 0).unwrap();
    let disk = disk.crash(Survival::Nothing);
    let mut identity = open(&disk);
    identity.begin_incarnation(id(3), 0).unwrap();
    identity.begin_incarnation(id(4), 0).unwrap();
    assert_eq!(identity.incarnations(), [id(1), id(2), id(3), id(4)]);
    identity.confirm(id(3), BrokerId(1)).unwrap();
    assert_eq!(
        open(&disk.crash(Survival::Nothing)).incarnations(),
        [id(3), id(4)]
    );
}

#[test]
fn the_number_of_unconfirmed_incarnations_is_bounded() {
    let disk = SimDisk::new(1);
    let mut identity = running(&disk);
    for number in 1..INCARNATIONS_MAX as u128 {
        identity.begin_incarnation(id(1 + number), 0).unwrap();
    }
    let error = identity
        .begin_incarnation(id(9_999), 0)
        .unwrap_err()
        .to_string();
    let expected = "incarnations that the metadata has not confirmed are limited to 1024; bring \
                    the metadata quorum back";
    assert_eq!(error, expected);
    assert_eq!(open(&disk).incarnations().len(), INCARNATIONS_MAX);
    let len = disk.read(Path::new(FILE)).unwrap().len();
    assert!(len < IDENTITY_BYTES_MAX, "{len}");
}

#[test]
fn starts_that_fail_once_they_are_registered_do_not_use_the_incarnations_up() {
    let disk = SimDisk::new(1);
    drop(running(&disk));
    let other = "1b4c0b1e-0000-4000-8000-000000000002";
    let starts = 2 * INCARNATIONS_MAX as u128;
    for number in 2..starts {
        let mut identity = open_at(&disk, other).unwrap();
        identity.begin_incarnation(id(number), 0).unwrap();
        identity.registered(id(number)).unwrap();
    }
    let identity = open_at(&disk.crash(Survival::Nothing), other).unwrap();
    assert!(identity.incarnations().contains(&id(starts - 1)));
    assert!(identity.incarnations().len() <= 3);
    assert!(identity.opened().other_boot, "what was found stays");
}

#[test]
fn another_boot_is_reported_until_a_registration_is_confirmed() {
    let disk = SimDisk::new(1);
    drop(running(&disk));
    let other = "1b4c0b1e-0000-4000-8000-000000000002";
    for number in 2..4 {
        let mut identity = open_at(&disk, other).unwrap();
        assert_eq!(found(&identity), (false, false, true, None));
        identity.begin_incarnation(id(number), 0).unwrap();
    }
    let mut identity = open_at(&disk, other).unwrap();
    identity.confirm(id(3), BrokerId(1)).unwrap();
    assert!(!open_at(&disk, other).unwrap().opened().other_boot);
    assert!(
        open_at(&disk, "").unwrap().opened().other_boot,
        "a host that cannot tell may have"
    );
}

#[test]
fn poison_is_reported_until_a_registration_is_confirmed() {
    let disk = SimDisk::new(1);
    let mut identity = running(&disk);
    Identity::poison(&disk, "sync topics/x: EIO").unwrap();
    Identity::poison(&disk, "a later one").unwrap();
    let crashed = disk.crash(Survival::Nothing);
    for _ in 0..2 {
        let expected = (false, false, false, Some("sync topics/x: EIO"));
        assert_eq!(found(&open(&crashed)), expected);
    }
    identity.begin_incarnation(id(2), 0).unwrap();
    identity.confirm(id(2), BrokerId(1)).unwrap();
    assert_eq!(open(&disk.crash(Survival::Nothing)).opened().poisoned, None);
}

#[test]
fn a_long_reason_is_cut() {
    let disk = SimDisk::new(1);
    drop(running(&disk));
    Identity::poison(&disk, &"x".repeat(5_000)).unwrap();
    let poisoned = open(&disk).opened().poisoned.clone().unwrap();
    assert_eq!(poisoned.len(), POISON_REASON_BYTES_MAX);
}

/// Opening is refused with an error that names the file.
fn refuses(disk: &SimDisk, about: &str) -> String {
    let before = disk.files();
    let error = open_at(disk, BOOT)
        .err()
        .unwrap_or_else(|| panic!("{about}: it was opened"));
    let MetadataError::Damaged { path, .. } = &error else {
        panic!("{about}: {error}");
    };
    assert_eq!(path, Path::new(FILE));
    assert_eq!(disk.files(), before, "what is refused is left alone");
    error.to_string()
}

#[test]
fn a_flipped_bit_or_a_missing_byte_anywhere_refuses_to_start() {
    let disk = SimDisk::new(1);
    drop(running(&disk));
    for byte in 0..disk.read(Path::new(FILE)).unwrap().len() as u64 {
        for bit in 0..8 {
            let damaged = disk.snapshot();
            damaged.corrupt(Path::new(FILE), byte, bit);
            refuses(&damaged, &format!("bit {bit} of byte {byte}"));
        }
        let damaged = disk.snapshot();
        damaged.truncate(Path::new(FILE), byte);
        let message = refuses(&damaged, &format!("cut at {byte}"));
        assert!(message.contains("restore the file"), "{message}");
    }
    let longer = disk.snapshot();
    let len = disk.read(Path::new(FILE)).unwrap().len() as u64;
    longer.truncate(Path::new(FILE), len + 1);
    refuses(&longer, "extended");
}

#[test]
fn a_missing_identity_with_data_beside_it_refuses_to_start() {
    for dir in DATA_DIRS {
        let disk = SimDisk::new(1);
        disk.create_dir_all(Path::new(dir)).unwrap();
        let message = refuses(&disk, dir);
        let expected = format!(
            "identity is damaged at byte 0: the file is missing, but {dir} is there; {REMEDY}"
        );
        assert_eq!(message, expected);
    }
}

#[test]
fn a_newer_version_stops_with_an_error() {
    let disk = SimDisk::new(1);
    drop(running(&disk));
    let mut bytes = disk.read(Path::new(FILE)).unwrap();
    bytes[8] = 2;
    let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[..16]), &bytes[20..]);
    bytes[16..20].copy_from_slice(&crc.to_le_bytes());
    disk.put(Path::new(FILE), &bytes);
    let expected = "identity was written by a newer version: format 2, this one knows up to 1; \
                    start that version or a newer one";
    assert_eq!(open_at(&disk, BOOT).err().unwrap().to_string(), expected);
}

#[test]
fn power_loss_at_any_call_leaves_the_identity_of_before_or_after() {
    type Step = fn(&mut Identity);
    let steps: [Step; 5] = [
        |identity| identity.form(CLUSTER).unwrap(),
        |identity| identity.begin_incarnation(id(1), 1).unwrap(),
        |identity| identity.confirm(id(1), BrokerId(1)).unwrap(),
        |identity| identity.mark_clean(2).unwrap(),
        |identity| identity.begin_incarnation(id(2), 3).unwrap(),
    ];
    let disk = SimDisk::new(5);
    let mut identity = new(&disk);
    disk.keep_images();
    for (number, step) in steps.into_iter().enumerate() {
        let before = identity.state.clone();
        step(&mut identity);
        let after = identity.state.clone();
        let images = disk.take_images();
        assert!(images.len() >= 6);
        for image in images {
            for seed in 0..8 {
                let state = open(&image.crash(Survival::Seeded(seed))).state;
                assert!(
                    state == before || state == after,
                    "step {number}, seed {seed}: {state:?}"
                );
            }
        }
        assert_eq!(
            open(&disk.crash(Survival::Nothing)).state,
            after,
            "step {number}"
        );
    }
}

#[test]
fn power_loss_while_the_first_identity_is_made_leaves_an_empty_directory_or_it() {
    let disk = SimDisk::new(5);
    disk.keep_images();
    drop(new(&disk));
    for image in disk.take_images() {
        for seed in 0..8 {
            let opened = open(&image.crash(Survival::Seeded(seed)));
            assert_eq!(
                opened.opened().created,
                opened.storage() != STORAGE,
                "seed {seed}"
            );
        }
    }
}

#[test]
fn what_could_not_be_written_is_not_taken_for_written() {
    for op in [SimOp::Write, SimOp::Sync, SimOp::Rename, SimOp::SyncDir] {
        let disk = SimDisk::new(1);
        let mut identity = running(&disk);
        let fault = disk.inject(Fault::once(op));
        assert!(identity.begin_incarnation(id(2), 0).is_err());
        assert_eq!(disk.struck(fault), 1, "{op:?}");
        assert_eq!(identity.incarnations(), [id(1)]);
        drop(open(&disk.crash(Survival::Seeded(1))));
    }
}

#[test]
fn after_a_failed_sync_nothing_is_tried_again() {
    let failing = [
        (SimOp::Write, false, true),
        (SimOp::Sync, false, true),
        (SimOp::Rename, false, true),
        (SimOp::SyncDir, false, true),
        // A full disk is no such thing, but for a sync: what was written before may be gone.
        (SimOp::Write, true, false),
        (SimOp::Rename, true, false),
        (SimOp::Sync, true, true),
        (SimOp::SyncDir, true, true),
        // Nor is a lack of descriptors.
        (SimOp::Open, false, false),
    ];
    for (op, full, is_final) in failing {
        let disk = SimDisk::new(1);
        let mut identity = running(&disk);
        let fault = Fault::once(op);
        disk.inject(match full {
            true => fault.full(),
            false => fault,
        });
        let error = identity.begin_incarnation(id(2), 0).unwrap_err();
        assert_eq!(error.is_final(), is_final, "{op:?} {full:?}: {error}");
        let again = identity.begin_incarnation(id(3), 0);
        match is_final {
            true => assert!(matches!(again, Err(MetadataError::Failed)), "{op:?}"),
            false => again.unwrap(),
        }
        let clean = identity.mark_clean(0);
        assert_eq!(clean.is_err(), is_final, "{op:?}: nor does it stop cleanly");
    }
}
