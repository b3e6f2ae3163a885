use super::*;
use crate::disk::suite;

const F: &str = "f";

fn open(disk: &SimDisk, path: &str) -> Arc<dyn DiskFile> {
    disk.open(Path::new(path), true).unwrap()
}

/// A file with 10,000 synced bytes of 1 and its name durable.
fn with_synced_file() -> (SimDisk, Arc<dyn DiskFile>) {
    let disk = SimDisk::new(1);
    disk.put(Path::new(F), &[1; 10_000]);
    let file = open(&disk, F);
    (disk, file)
}

/// What `F` may hold after power loss, over many seeds.
fn outcomes(disk: &SimDisk) -> Vec<Option<Vec<u8>>> {
    (0..300)
        .map(|seed| disk.crash(Survival::Seeded(seed)).read(Path::new(F)))
        .collect()
}

#[test]
fn the_simulated_disk_keeps_the_contract() {
    suite::run(|| SimDisk::new(0));
}

#[test]
fn synced_bytes_survive_every_crash() {
    let (disk, _file) = with_synced_file();
    assert!(
        outcomes(&disk)
            .iter()
            .all(|bytes| *bytes == Some(vec![1; 10_000]))
    );
}

#[test]
fn unsynced_pages_are_kept_or_lost_or_torn_each_on_its_own() {
    let (disk, file) = with_synced_file();
    file.write_at(&[&[2; 10_000]], 0).unwrap();
    let outcomes: Vec<Vec<u8>> = outcomes(&disk).into_iter().flatten().collect();
    assert_eq!(outcomes.len(), 300);
    let mixed = |bytes: &[u8]| bytes.contains(&1) && bytes.contains(&2);
    let page = |bytes: &Vec<u8>, number: usize| bytes[number * 4096..][..1808].to_vec();
    assert!(
        outcomes
            .iter()
            .all(|bytes| bytes.iter().all(|byte| [1, 2].contains(byte)))
    );
    assert!(
        outcomes
            .iter()
            .any(|b| page(b, 0).contains(&2) && !page(b, 2).contains(&2))
    );
    assert!(
        outcomes
            .iter()
            .any(|b| !page(b, 0).contains(&2) && page(b, 2).contains(&2))
    );
    assert!(
        outcomes.iter().any(|bytes| mixed(&page(bytes, 1))),
        "no page was torn"
    );
    assert_eq!(
        disk.crash(Survival::Everything).read(Path::new(F)),
        Some(vec![2; 10_000])
    );
}

#[test]
fn a_page_may_survive_as_it_was_between_two_writes() {
    let survivors: Vec<u8> = (0..100)
        .map(|seed| {
            let disk = SimDisk::new(seed);
            disk.put(Path::new(F), &[1]);
            let file = open(&disk, F);
            file.write_at(&[&[2]], 0).unwrap();
            file.write_at(&[&[3]], 0).unwrap();
            disk.crash(Survival::Nothing).read(Path::new(F)).unwrap()[0]
        })
        .collect();
    assert!(
        [1, 2, 3].iter().all(|byte| survivors.contains(byte)),
        "{survivors:?}"
    );
}

#[test]
fn an_unsynced_length_may_be_any_between() {
    let (disk, file) = with_synced_file();
    file.write_at(&[&[2; 5_000]], 10_000).unwrap();
    let lens: Vec<usize> = outcomes(&disk).iter().flatten().map(Vec::len).collect();
    assert!(lens.contains(&10_000) && lens.contains(&15_000));
    assert!(lens.iter().any(|len| (10_001..15_000).contains(len)));
    assert!(lens.iter().all(|len| (10_000..=15_000).contains(len)));
    file.sync().unwrap();
    assert!(
        outcomes(&disk)
            .iter()
            .flatten()
            .all(|bytes| bytes.len() == 15_000)
    );
}

#[test]
fn an_unsynced_cut_may_be_lost_and_a_synced_one_never() {
    let (disk, file) = with_synced_file();
    file.truncate(3).unwrap();
    let lens: Vec<usize> = outcomes(&disk).iter().flatten().map(Vec::len).collect();
    assert!(lens.contains(&3) && lens.contains(&10_000));
    file.sync().unwrap();
    assert!(
        outcomes(&disk)
            .iter()
            .flatten()
            .all(|bytes| *bytes == [1; 3])
    );
}

#[test]
fn a_name_is_durable_only_when_its_directory_was_synced() {
    let disk = SimDisk::new(1);
    let file = open(&disk, F);
    file.write_at(&[b"data"], 0).unwrap();
    file.sync().unwrap();
    let found = outcomes(&disk);
    assert!(found.contains(&None) && found.contains(&Some(b"data".to_vec())));
    disk.sync_dir(Path::new("")).unwrap();
    assert!(
        outcomes(&disk)
            .iter()
            .all(|bytes| *bytes == Some(b"data".to_vec()))
    );

    disk.remove_file(Path::new(F)).unwrap();
    assert!(
        outcomes(&disk).iter().any(Option::is_some),
        "the removal is not durable yet"
    );
    disk.sync_dir(Path::new("")).unwrap();
    assert!(outcomes(&disk).iter().all(Option::is_none));
}

#[test]
fn a_rename_between_directories_is_atomic_and_needs_both_synced() {
    let disk = SimDisk::new(1);
    disk.put(Path::new("a/f"), b"data");
    disk.put(Path::new("b/other"), b"");
    disk.rename(Path::new("a/f"), Path::new("b/f")).unwrap();
    let places = |disk: &SimDisk| -> Vec<bool> {
        let places = (0..50).map(|seed| {
            let after = disk.crash(Survival::Seeded(seed));
            let found = ["a/f", "b/f"].map(|path| after.read(Path::new(path)).is_some());
            assert!(found[0] != found[1], "seed {seed}: {found:?}");
            found[1]
        });
        places.collect()
    };
    disk.sync_dir(Path::new("b")).unwrap();
    assert!(places(&disk).contains(&true) && places(&disk).contains(&false));
    disk.sync_dir(Path::new("a")).unwrap();
    assert!(!places(&disk).contains(&false));
}

#[test]
fn a_link_is_durable_when_the_directory_of_the_new_name_was_synced() {
    let disk = SimDisk::new(1);
    disk.put(Path::new("a/f"), b"data");
    disk.put(Path::new("b/other"), b"");
    disk.link(Path::new("a/f"), Path::new("b/f")).unwrap();
    let found = |disk: &SimDisk, path: &str| -> Vec<bool> {
        let after = (0..50).map(|seed| disk.crash(Survival::Seeded(seed)));
        after
            .map(|after| after.read(Path::new(path)).is_some())
            .collect()
    };
    disk.sync_dir(Path::new("a")).unwrap();
    let linked = found(&disk, "b/f");
    assert!(linked.contains(&true) && linked.contains(&false));
    assert!(!found(&disk, "a/f").contains(&false), "the old name stays");
    disk.sync_dir(Path::new("b")).unwrap();
    disk.remove_file(Path::new("a/f")).unwrap();
    disk.sync_dir(Path::new("a")).unwrap();
    let after = disk.crash(Survival::Nothing);
    assert_eq!(after.read(Path::new("a/f")), None);
    assert_eq!(after.read(Path::new("b/f")), Some(b"data".to_vec()));
}

#[test]
fn a_file_takes_its_space_once_and_until_its_last_name_goes() {
    let disk = SimDisk::new(1);
    disk.put(Path::new("f"), &[1; 4096]);
    disk.set_capacity(3 * 4096);
    let free = |disk: &SimDisk| disk.space().unwrap().free_bytes / 4096;
    disk.link(Path::new("f"), Path::new("g")).unwrap();
    assert_eq!(free(&disk), 2);
    disk.remove_file(Path::new("f")).unwrap();
    assert_eq!(free(&disk), 2);
    let crashed = disk.crash(Survival::Everything);
    for disk in [disk, crashed] {
        disk.remove_file(Path::new("g")).unwrap();
        assert_eq!(free(&disk), 3);
    }
}

#[test]
fn a_link_that_was_ordered_to_fail_leaves_no_name() {
    let disk = SimDisk::new(1);
    disk.put(Path::new("f"), b"data");
    let fault = disk.inject(Fault::once(SimOp::Link).on_path("g"));
    disk.link(Path::new("f"), Path::new("g")).unwrap_err();
    assert_eq!(disk.struck(fault), 1);
    assert_eq!(disk.read(Path::new("g")), None);
    disk.link(Path::new("f"), Path::new("g")).unwrap();
}

#[test]
fn a_durable_change_brings_along_the_earlier_ones_of_its_names() {
    let disk = SimDisk::new(1);
    disk.put(Path::new("a/f"), b"first");
    disk.put(Path::new("b/other"), b"");
    disk.rename(Path::new("a/f"), Path::new("b/f")).unwrap();
    open(&disk, "a/f").write_at(&[b"second"], 0).unwrap();
    disk.sync_dir(Path::new("a")).unwrap();
    let after = disk.crash(Survival::Nothing);
    assert_eq!(after.read(Path::new("b/f")), Some(b"first".to_vec()));
    assert_eq!(after.read(Path::new("a/f")), Some(vec![]));
}

#[test]
fn after_a_failed_sync_a_good_one_makes_nothing_durable() {
    let mut lost = 0;
    for seed in 0..20 {
        let disk = SimDisk::new(seed);
        disk.put(Path::new(F), &[1; 4]);
        let file = open(&disk, F);
        file.write_at(&[&[2; 4]], 0).unwrap();
        let fault = disk.inject(Fault::once(SimOp::Sync).on_path(F));
        let error = file.sync().unwrap_err();
        assert_eq!(
            error.raw_os_error(),
            Some(rustix::io::Errno::IO.raw_os_error())
        );
        file.sync().unwrap();
        assert_eq!(disk.struck(fault), 1);

        let mut cached = [0; 4];
        file.read_at(&mut cached, 0).unwrap();
        assert_eq!(cached, [2; 4], "the page cache hides the loss");
        let on_medium = disk.crash(Survival::Everything).read(Path::new(F)).unwrap();
        let mut seen = [0; 4];
        file.read_at_medium(&mut seen, 0).unwrap();
        assert_eq!(seen.to_vec(), on_medium, "a read past the cache shows it");
        lost += u32::from(on_medium == [1; 4]);
    }
    assert!((1..20).contains(&lost), "{lost} of 20 lost");
}

#[test]
fn a_failed_write_leaves_some_of_its_bytes() {
    let counts: Vec<usize> = (0..50)
        .map(|seed| {
            let disk = SimDisk::new(seed);
            let file = open(&disk, F);
            disk.inject(Fault::once(SimOp::Write));
            file.write_at(&[&[1; 100]], 0).unwrap_err();
            file.write_at(&[b"x"], 0).unwrap();
            file.len().unwrap() as usize
        })
        .collect();
    assert!(counts.iter().any(|count| *count < 10) && counts.iter().any(|count| *count > 90));
}

#[test]
fn a_fault_strikes_the_calls_that_were_asked_for_and_counts_them() {
    let disk = SimDisk::new(1);
    let (one, other) = (open(&disk, "one"), open(&disk, "other"));
    let fault = disk.inject(
        Fault::once(SimOp::Write)
            .on_path("one")
            .after(1)
            .times(2)
            .full(),
    );
    other.write_at(&[b"x"], 0).unwrap();
    one.write_at(&[b"x"], 0).unwrap();
    let error = one.write_at(&[b"x"], 0).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    one.write_at(&[b"x"], 0).unwrap_err();
    one.write_at(&[b"x"], 0).unwrap();
    assert_eq!(disk.struck(fault), 2);
    disk.inject(Fault::every());
    assert!(disk.list(Path::new("")).is_err() && one.sync().is_err());
    disk.clear_faults();
    one.sync().unwrap();
}

#[test]
fn a_full_disk_takes_what_fits_and_space_comes_back_with_removal() {
    let disk = SimDisk::new(1);
    disk.set_capacity(3 * 4096);
    let file = open(&disk, F);
    let error = file.write_at(&[&[1; 5 * 4096]], 0).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert_eq!(file.len().unwrap(), 3 * 4096);
    assert_eq!(
        disk.space().unwrap(),
        DiskSpace {
            total_bytes: 3 * 4096,
            free_bytes: 0
        }
    );
    file.write_at(&[&[2; 4096]], 4096).unwrap();
    assert!(open(&disk, "g").allocate(1).is_err());

    disk.remove_file(Path::new(F)).unwrap();
    assert_eq!(
        disk.space().unwrap().free_bytes,
        0,
        "an open file keeps its space"
    );
    drop(file);
    assert_eq!(disk.space().unwrap().free_bytes, 3 * 4096);
    open(&disk, "g").allocate(2 * 4096).unwrap();
    assert_eq!(disk.space().unwrap().free_bytes, 4096);
}

#[test]
fn damage_from_outside_shows_in_cache_and_medium() {
    let (disk, file) = with_synced_file();
    disk.corrupt(Path::new(F), 5_000, 3);
    let mut byte = [0];
    file.read_at(&mut byte, 5_000).unwrap();
    assert_eq!(byte, [1 ^ 8]);
    disk.truncate(Path::new(F), 5_001);
    assert!(
        outcomes(&disk)
            .iter()
            .flatten()
            .all(|bytes| bytes.len() == 5_001)
    );
    assert_eq!(
        disk.crash(Survival::Nothing).read(Path::new(F)).unwrap()[5_000],
        1 ^ 8
    );
}

#[test]
fn an_image_is_kept_after_every_change_and_stays_as_it_was() {
    let disk = SimDisk::new(1);
    disk.keep_images();
    let file = open(&disk, F);
    file.write_at(&[b"one"], 0).unwrap();
    file.read_at(&mut [0], 0).unwrap();
    file.write_at(&[b"two"], 0).unwrap();
    let read = |image: &SimDisk| image.read(Path::new(F)).unwrap();
    let images: Vec<Vec<u8>> = disk.take_images().iter().map(read).collect();
    assert_eq!(images, [b"".as_slice(), b"one", b"two"]);
    assert!(disk.take_images().is_empty());
}

#[test]
fn the_same_seed_replays_the_same_disk() {
    let play = |seed| {
        let disk = SimDisk::new(seed);
        for number in 0..200u32 {
            let file = open(&disk, &format!("f{}", number % 7));
            file.write_at(&[&number.to_be_bytes()], u64::from(number * 13))
                .unwrap();
            if number % 11 == 0 {
                file.sync().unwrap();
            }
            if number % 31 == 0 {
                disk.sync_dir(Path::new("")).unwrap();
            }
        }
        disk.crash(Survival::Seeded(seed)).files()
    };
    assert_eq!(play(5), play(5));
    assert_ne!(play(5), play(6));
}
