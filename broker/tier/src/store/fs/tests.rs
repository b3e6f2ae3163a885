//! File stores: the contract on a real disk and on a simulated one, and what is true after every stop.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::FutureExt as _;
use headwater_log::sim::{Fault, SimDisk, SimOp, Survival};
use headwater_log::{Disk, OsDisk};
use uuid::Uuid;

use super::{EACCES, FsStore, Inline, LEFTOVER_MS, UNSYNCED_BYTES_MAX};
use crate::store::{Store, StoreError, StoreErrorKind, suite};

fn open(disk: &SimDisk) -> FsStore {
    open_as(disk, 1)
}

fn open_as(disk: &SimDisk, owner: u128) -> FsStore {
    let host = Arc::new(Inline::new(|_| None));
    FsStore::open(Arc::new(disk.clone()), host, Uuid::from_u128(owner)).unwrap()
}

/// The work of these stores is done where it stands, so that nothing is ever waited for.
fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("done at once")
}

fn whole(store: &FsStore, key: &str) -> Result<Bytes, StoreError> {
    now(store.read(key, 0..u64::MAX))
}

fn files(disk: &SimDisk) -> Vec<String> {
    let files = disk.files().into_iter();
    files.map(|(path, _)| path.display().to_string()).collect()
}

#[tokio::test]
async fn a_real_directory_keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    let made = AtomicU64::new(0);
    suite::run(async || {
        let number = made.fetch_add(1, Ordering::Relaxed);
        let disk = OsDisk::open_shared(&dir.path().join(number.to_string())).unwrap();
        let host = Arc::new(Inline::new(|_| Some(7)));
        Arc::new(FsStore::open(Arc::new(disk), host, Uuid::from_u128(1)).unwrap()) as Arc<dyn Store>
    })
    .await;
}

#[tokio::test]
async fn a_simulated_directory_keeps_the_contract() {
    suite::run(async || Arc::new(open(&SimDisk::new(1))) as Arc<dyn Store>).await;
}

/// Does `act` on a store with one older object and checks what is there after a stop at every step on the way: the
/// object under `key` is absent or `bytes`, the older one is there, and the key can be taken if and only if it is free.
fn check_every_stop(key: &str, bytes: &Bytes, act: impl Fn(&FsStore) -> Result<(), StoreError>) {
    let disk = SimDisk::new(3);
    let old = Bytes::from_static(b"older");
    let store = open(&disk);
    now(store.put_if_absent("c/t/0/older", old.clone())).unwrap();
    disk.keep_images();
    act(&store).unwrap();
    let images = disk.take_images();
    assert!(8 < images.len(), "each step has its image");
    let survivals = [Survival::Nothing, Survival::Everything]
        .into_iter()
        .chain((0..24).map(Survival::Seeded));
    let mut outcomes = BTreeSet::new();
    for survival in survivals {
        for (step, image) in images.iter().enumerate() {
            let case = format!("step {step}, {survival:?}");
            let after = image.crash(survival);
            let store = open_as(&after, 2);
            assert_eq!(whole(&store, "c/t/0/older").unwrap(), old, "{case}");
            let listed = now(store.list("", None, 10)).unwrap();
            let there = match whole(&store, key) {
                Ok(read) => {
                    assert_eq!(read, bytes, "{case}");
                    true
                }
                Err(error) => {
                    assert_eq!(error.kind, StoreErrorKind::NotFound, "{case}");
                    false
                }
            };
            assert_eq!(listed.len(), 1 + usize::from(there), "{case}");
            let second = now(store.put_if_absent(key, Bytes::from_static(b"second")));
            let kind = second.err().map(|error| error.kind);
            assert_eq!(kind, there.then_some(StoreErrorKind::Exists), "{case}");
            outcomes.insert(there);
        }
        // What was told to be there is there, again and again.
        let mut after = disk.crash(survival);
        for owner in 2..4 {
            let store = open_as(&after, owner);
            assert_eq!(whole(&store, key).unwrap(), bytes, "told, {survival:?}");
            after = after.crash(survival);
        }
    }
    assert_eq!(outcomes.len(), 2, "both ends were seen");
}

#[test]
fn a_stop_at_any_step_of_a_put_leaves_all_of_the_object_or_nothing() {
    let bytes = Bytes::from(vec![9; 10_000]);
    check_every_stop("c/t/1/manifest-1", &bytes, |store| {
        now(store.put_if_absent("c/t/1/manifest-1", bytes.clone()))
    });
    check_every_stop("c/t/0/manifest-1", &bytes, |store| {
        now(store.put_if_absent("c/t/0/manifest-1", bytes.clone()))
    });
}

#[test]
fn a_stop_at_any_step_of_an_upload_leaves_all_of_the_object_or_nothing() {
    let bytes: Bytes = (0..50_000u32).map(|n| (n % 253) as u8).collect();
    check_every_stop("c/t/1/segment", &bytes, |store| {
        let mut writer = now(store.create("c/t/1/segment"))?;
        let mut rest = bytes.clone();
        while !rest.is_empty() {
            let piece = rest.split_to(rest.len().min(17_000));
            now(writer.write(piece))?;
        }
        now(writer.close())
    });
}

#[test]
fn a_stop_at_any_step_of_a_delete_leaves_all_of_the_object_or_nothing() {
    let disk = SimDisk::new(5);
    let store = open(&disk);
    let bytes = Bytes::from(vec![4; 5_000]);
    now(store.put_if_absent("c/t/0/k", bytes.clone())).unwrap();
    now(store.put_if_absent("c/t/other", bytes.clone())).unwrap();
    disk.keep_images();
    now(store.delete("c/t/0/k")).unwrap();
    let images = disk.take_images();
    for seed in 0..24 {
        for image in &images {
            let store = open_as(&image.crash(Survival::Seeded(seed)), 2);
            match whole(&store, "c/t/0/k") {
                Ok(read) => assert_eq!(read, bytes),
                Err(error) => assert_eq!(error.kind, StoreErrorKind::NotFound),
            }
            assert_eq!(whole(&store, "c/t/other").unwrap(), bytes);
        }
        let store = open_as(&disk.crash(Survival::Seeded(seed)), 2);
        let gone = whole(&store, "c/t/0/k").unwrap_err();
        assert_eq!(gone.kind, StoreErrorKind::NotFound, "it stays deleted");
    }
}

#[test]
fn a_step_that_fails_is_told_and_leaves_no_temporary() {
    let bytes = Bytes::from(vec![1; 5_000]);
    let ops = [SimOp::Write, SimOp::Sync, SimOp::CreateDir, SimOp::SyncDir];
    for op in ops {
        let disk = SimDisk::new(1);
        let store = open(&disk);
        let fault = disk.inject(Fault::once(op));
        let error = now(store.put_if_absent("a/b", bytes.clone())).unwrap_err();
        assert_eq!(error.kind, StoreErrorKind::Unavailable, "{op:?}: {error}");
        assert_eq!(disk.struck(fault), 1);
        let left = files(&disk);
        assert!(left.iter().all(|file| file == "a/b"), "{op:?}: {left:?}");
        let mut writer = now(store.create("a/c")).unwrap();
        disk.inject(Fault::once(op));
        let written = now(writer.write(bytes.clone())).and_then(|()| now(writer.close()));
        assert!(written.is_err(), "{op:?}");
        let left = files(&disk);
        assert!(
            !left.iter().any(|file| file.starts_with("tmp/")),
            "{left:?}"
        );
    }
}

#[test]
fn a_file_system_without_hard_links_can_do_no_tier_and_a_folder_that_is_closed_may_be_opened() {
    const EPERM: i32 = 1;
    const EOPNOTSUPP: i32 = 95;
    let cases = [
        (EPERM, StoreErrorKind::Unsupported),
        (EOPNOTSUPP, StoreErrorKind::Unsupported),
        (EACCES, StoreErrorKind::Denied),
    ];
    for (errno, kind) in cases {
        let disk = SimDisk::new(1);
        let store = open(&disk);
        let every = Fault::once(SimOp::Link).times(u64::MAX).with_errno(errno);
        disk.inject(every);
        let put = now(store.put_if_absent("a/b", Bytes::from_static(b"x")));
        let mut writer = now(store.create("a/c")).unwrap();
        now(writer.write(Bytes::from_static(b"x"))).unwrap();
        for failed in [put, now(writer.close())] {
            let error = failed.unwrap_err();
            assert_eq!(error.kind, kind, "{error}");
            let says_why = error.to_string().contains("makes no hard links");
            assert_eq!(says_why, kind == StoreErrorKind::Unsupported, "{error}");
        }
        assert!(files(&disk).is_empty());
    }
}

#[test]
fn a_full_disk_is_told_and_hurts_nothing_that_is_there() {
    let disk = SimDisk::new(1);
    let store = open(&disk);
    now(store.put_if_absent("a", Bytes::from(vec![1; 5_000]))).unwrap();
    disk.set_capacity(16_384);
    let error = now(store.put_if_absent("b", Bytes::from(vec![2; 50_000]))).unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Unavailable, "{error}");
    assert_eq!(files(&disk), ["a"]);
}

#[test]
fn leftovers_go_when_they_are_an_hour_old_and_not_before() {
    let disk = SimDisk::new(1);
    for name in ["tmp/old", "tmp/young", "tmp/unknown"] {
        disk.put(Path::new(name), b"half of it");
    }
    let times = |path: &Path| match path.to_str().unwrap() {
        "tmp/old" => Some(1_000),
        "tmp/young" => Some(1_001),
        "tmp/unknown" => None,
        _ => Some(1_000 + LEFTOVER_MS),
    };
    let host = Arc::new(Inline::new(times));
    FsStore::open(Arc::new(disk.clone()), host, Uuid::from_u128(9)).unwrap();
    assert_eq!(files(&disk), ["tmp/unknown", "tmp/young"]);
}

#[test]
fn an_upload_whose_file_was_taken_for_a_leftover_fails_and_shows_nothing() {
    let disk = SimDisk::new(1);
    let store = open(&disk);
    let mut writer = now(store.create("a/b")).unwrap();
    now(writer.write(Bytes::from_static(b"slow"))).unwrap();
    let temporary = files(&disk).pop().unwrap();
    disk.remove_file(Path::new(&temporary)).unwrap();
    assert!(now(writer.close()).is_err());
    assert!(now(store.list("", None, 10)).unwrap().is_empty());
}

#[test]
fn brokers_that_share_a_directory_do_not_get_into_each_others_way() {
    let disk = SimDisk::new(1);
    let (one, other) = (open_as(&disk, 1), open_as(&disk, 2));
    let mut first = now(one.create("a/1")).unwrap();
    let mut second = now(other.create("a/2")).unwrap();
    now(first.write(Bytes::from_static(b"one"))).unwrap();
    now(second.write(Bytes::from_static(b"two"))).unwrap();
    now(second.close()).unwrap();
    now(first.close()).unwrap();
    assert_eq!(whole(&other, "a/1").unwrap(), "one");
    assert_eq!(whole(&one, "a/2").unwrap(), "two");
    let taken = now(other.put_if_absent("a/1", Bytes::new())).unwrap_err();
    assert_eq!(taken.kind, StoreErrorKind::Exists);
}

#[test]
fn folders_go_with_their_last_object() {
    let disk = SimDisk::new(1);
    let store = open(&disk);
    for key in ["c/t/0/a", "c/t/0/b", "c/u/0/a"] {
        now(store.put_if_absent(key, Bytes::from_static(b"x"))).unwrap();
    }
    now(store.delete("c/t/0/a")).unwrap();
    assert!(disk.exists(Path::new("c/t/0")).unwrap());
    now(store.delete("c/t/0/b")).unwrap();
    assert!(!disk.exists(Path::new("c/t")).unwrap());
    assert!(disk.exists(Path::new("c/u/0")).unwrap());
    now(store.delete("c/u/0/a")).unwrap();
    assert!(!disk.exists(Path::new("c")).unwrap());
}

#[test]
fn a_big_upload_is_synced_on_the_way() {
    let disk = SimDisk::new(1);
    let store = open(&disk);
    let mut writer = now(store.create("a")).unwrap();
    let before = disk.ops();
    now(writer.write(Bytes::from(vec![0; UNSYNCED_BYTES_MAX as usize]))).unwrap();
    assert_eq!(disk.ops() - before, 2, "a write and a sync");
    now(writer.write(Bytes::from_static(b"little"))).unwrap();
    assert_eq!(disk.ops() - before, 3, "a write");
    now(writer.close()).unwrap();
}

#[test]
fn an_object_where_a_folder_was_to_be_is_no_taken_key() {
    let disk = SimDisk::new(1);
    let store = open(&disk);
    now(store.put_if_absent("a", Bytes::new())).unwrap();
    let error = now(store.put_if_absent("a/b", Bytes::new())).unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Other, "{error}");
    assert!(
        error
            .to_string()
            .contains("an object has the name of a folder")
    );
}
