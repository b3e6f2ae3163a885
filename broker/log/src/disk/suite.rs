//! The contract of [`Disk`], run against every implementation (feature `sim`).
#![expect(clippy::indexing_slicing, reason = "a broken promise should panic")]

use super::{Disk, DiskFile};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Checks one implementation; panics at the first broken promise. `make` returns a fresh, empty data directory.
pub fn run<D: Disk>(make: impl Fn() -> D) {
    let promises: [fn(&dyn Disk); 18] = [
        an_absent_file_is_not_found,
        all_slices_are_written_one_behind_the_other,
        a_read_is_short_only_at_the_end,
        a_gap_reads_as_zeros,
        bytes_that_were_cut_never_come_back,
        allocated_space_reads_as_zeros_and_keeps_what_is_there,
        a_list_is_sorted_and_tells_directories,
        a_rename_replaces_a_file,
        a_rename_takes_a_directory_with_all_it_holds,
        a_link_is_a_second_name_of_the_same_file,
        a_link_never_takes_a_name_that_is_there,
        a_file_goes_with_its_last_name,
        a_removed_file_stays_usable_where_it_is_open,
        handles_of_one_file_see_each_other,
        only_an_empty_directory_is_removed,
        directories_and_files_are_not_mistaken_for_each_other,
        a_path_never_leaves_the_data_directory,
        the_medium_holds_what_was_synced,
    ];
    for promise in promises {
        promise(&make());
    }
    let space = make().space().expect("space is known");
    assert!(
        space.free_bytes <= space.total_bytes && space.total_bytes > 0,
        "{space:?}"
    );
}

fn kind<T>(result: io::Result<T>) -> Option<io::ErrorKind> {
    result.err().map(|error| error.kind())
}

fn create(disk: &dyn Disk, path: &str) -> Arc<dyn DiskFile> {
    disk.open(Path::new(path), true)
        .expect("a file can be made")
}

fn read(file: &dyn DiskFile) -> Vec<u8> {
    let mut bytes = vec![0xaa; file.len().expect("a length") as usize + 10];
    let count = file.read_at(&mut bytes, 0).expect("a read");
    bytes.truncate(count);
    bytes
}

fn an_absent_file_is_not_found(disk: &dyn Disk) {
    let path = Path::new("absent");
    assert_eq!(kind(disk.open(path, false)), Some(io::ErrorKind::NotFound));
    assert_eq!(
        kind(disk.open(Path::new("no/parent"), true)),
        Some(io::ErrorKind::NotFound)
    );
    assert_eq!(kind(disk.remove_file(path)), Some(io::ErrorKind::NotFound));
    assert_eq!(kind(disk.remove_dir(path)), Some(io::ErrorKind::NotFound));
    assert_eq!(
        kind(disk.rename(path, Path::new("b"))),
        Some(io::ErrorKind::NotFound)
    );
    assert_eq!(kind(disk.list(path)), Some(io::ErrorKind::NotFound));
    assert_eq!(kind(disk.sync_dir(path)), Some(io::ErrorKind::NotFound));
    assert!(!disk.exists(path).expect("an answer"));
    assert!(!disk.exists(Path::new("no/parent")).expect("an answer"));
    create(disk, "absent");
    assert!(disk.exists(path).expect("an answer"));
}

fn all_slices_are_written_one_behind_the_other(disk: &dyn Disk) {
    let file = create(disk, "f");
    file.write_at(&[], 0).expect("nothing to write");
    file.write_at(&[&[], &[]], 7).expect("nothing to write");
    assert_eq!(file.len().expect("a length"), 0);
    file.write_at(&[b"", b"head", b"", b"water", b""], 0)
        .expect("a write");
    assert_eq!(read(&*file), b"headwater");
    file.write_at(&[b"WAT"], 4).expect("a write");
    assert_eq!(read(&*file), b"headWATer");
    // More slices than one system call takes, over several pages.
    let pieces: Vec<[u8; 7]> = (0..3000u32).map(|n| [n as u8; 7]).collect();
    let slices: Vec<&[u8]> = pieces.iter().map(|piece| piece.as_slice()).collect();
    file.write_at(&slices, 5).expect("a write");
    assert_eq!(read(&*file)[5..], pieces.concat());
}

fn a_read_is_short_only_at_the_end(disk: &dyn Disk) {
    let file = create(disk, "f");
    let bytes: Vec<u8> = (0..20_000u32).map(|n| (n % 251) as u8).collect();
    file.write_at(&[&bytes], 0).expect("a write");
    for (position, count) in [(0, 20_000), (1, 4096), (4095, 2), (8192, 4096), (19_999, 1)] {
        for read in [DiskFile::read_at, DiskFile::read_at_medium] {
            let mut buf = vec![0; count];
            let got = read(&*file, &mut buf, position as u64);
            assert_eq!(got.expect("a read"), count);
            assert_eq!(buf, bytes[position..position + count]);
        }
        let mut buf = vec![0; count];
        match file.read_at_now(&mut buf, position as u64) {
            // Not every file system promises it.
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            Ok(got) => assert_eq!((got, &*buf), (count, &bytes[position..position + count])),
        }
    }
    let mut buf = [0; 100];
    assert_eq!(file.read_at(&mut buf, 19_950).expect("a read"), 50);
    assert_eq!(file.read_at(&mut buf, 20_000).expect("a read"), 0);
    assert_eq!(file.read_at(&mut buf, 1 << 40).expect("a read"), 0);
    for (len, position, wanted) in [
        (0, 0, 0),
        (7_000, 9_000, 7_000),
        (100, 19_950, 50),
        (100, 20_000, 0),
    ] {
        let read = file.read_vec(len, position as u64).expect("a read");
        assert_eq!(read, bytes[position..position + wanted]);
    }
    assert_eq!(file.read_at_medium(&mut buf, 20_000).expect("a read"), 0);
    assert_eq!(file.read_at_medium(&mut [], 0).expect("a read"), 0);
}

fn a_gap_reads_as_zeros(disk: &dyn Disk) {
    let file = create(disk, "f");
    file.write_at(&[b"end"], 9_000).expect("a write");
    let mut expected = vec![0; 9_000];
    expected.extend_from_slice(b"end");
    assert_eq!(read(&*file), expected);
}

fn bytes_that_were_cut_never_come_back(disk: &dyn Disk) {
    let file = create(disk, "f");
    file.write_at(&[&[7; 10_000]], 0).expect("a write");
    file.truncate(5_000).expect("a cut");
    assert_eq!(read(&*file), [7; 5_000]);
    file.truncate(12_000).expect("an extension");
    assert_eq!(read(&*file), [[7; 5_000].as_slice(), &[0; 7_000]].concat());
    file.truncate(0).expect("a cut");
    file.write_at(&[b"x"], 4_999).expect("a write");
    assert_eq!(read(&*file), [[0; 4_999].as_slice(), b"x"].concat());
}

fn allocated_space_reads_as_zeros_and_keeps_what_is_there(disk: &dyn Disk) {
    let file = create(disk, "f");
    file.allocate(0).expect("nothing to allocate");
    file.write_at(&[b"kept"], 0).expect("a write");
    file.allocate(2).expect("nothing to allocate");
    assert_eq!(read(&*file), b"kept");
    file.allocate(9_000).expect("space");
    let bytes = read(&*file);
    assert!(
        bytes.len() == 9_000 || bytes.len() == 4,
        "best effort, got {}",
        bytes.len()
    );
    assert!(bytes.starts_with(b"kept") && bytes[4..].iter().all(|byte| *byte == 0));
}

fn a_list_is_sorted_and_tells_directories(disk: &dyn Disk) {
    let dir = Path::new("d");
    disk.create_dir_all(Path::new("d/b/c"))
        .expect("directories");
    disk.create_dir_all(Path::new("d/b"))
        .expect("no error if it is there");
    create(disk, "d/z");
    create(disk, "d/a");
    let expected =
        [("a", false), ("b", true), ("z", false)].map(|(name, is)| (name.to_owned(), is));
    assert_eq!(disk.list(dir).expect("a list"), expected);
    assert!(
        disk.list(Path::new(""))
            .expect("the root")
            .contains(&("d".to_owned(), true))
    );
    assert_eq!(disk.list(Path::new("d/b/c")).expect("a list"), []);
}

fn a_rename_replaces_a_file(disk: &dyn Disk) {
    let (old, new) = (create(disk, "old"), create(disk, "new"));
    old.write_at(&[b"old"], 0).expect("a write");
    new.write_at(&[b"new"], 0).expect("a write");
    disk.rename(Path::new("new"), Path::new("old"))
        .expect("a rename");
    assert!(!disk.exists(Path::new("new")).expect("an answer"));
    assert_eq!(read(&*create(disk, "old")), b"new");
    assert_eq!(
        read(&*old),
        b"old",
        "the replaced file stays usable where it is open"
    );
    new.write_at(&[b"NEW"], 0)
        .expect("the renamed file does too");
    assert_eq!(read(&*create(disk, "old")), b"NEW");
    let gone = disk.rename(Path::new("old"), Path::new("no/parent"));
    assert_eq!(kind(gone), Some(io::ErrorKind::NotFound));
    assert!(disk.exists(Path::new("old")).expect("an answer"));
}

fn a_rename_takes_a_directory_with_all_it_holds(disk: &dyn Disk) {
    disk.create_dir_all(Path::new("a/b")).expect("directories");
    disk.create_dir_all(Path::new("c")).expect("a directory");
    create(disk, "a/b/f")
        .write_at(&[b"deep"], 0)
        .expect("a write");
    disk.rename(Path::new("a/b"), Path::new("c/d"))
        .expect("a rename");
    assert_eq!(
        read(&*disk.open(Path::new("c/d/f"), false).expect("a file")),
        b"deep"
    );
    assert_eq!(disk.list(Path::new("a")).expect("a list"), []);
    disk.create_dir_all(Path::new("e")).expect("a directory");
    let full = disk.rename(Path::new("e"), Path::new("c"));
    assert_eq!(kind(full), Some(io::ErrorKind::DirectoryNotEmpty));
}

fn a_link_is_a_second_name_of_the_same_file(disk: &dyn Disk) {
    disk.create_dir_all(Path::new("d")).expect("a directory");
    let file = create(disk, "f");
    file.write_at(&[b"one"], 0).expect("a write");
    disk.link(Path::new("f"), Path::new("d/g")).expect("a link");
    file.write_at(&[b"ONE"], 0).expect("a write");
    assert_eq!(read(&*create(disk, "d/g")), b"ONE");
    disk.rename(Path::new("d/g"), Path::new("f"))
        .expect("nothing to do");
    assert!(disk.exists(Path::new("f")).expect("an answer"));
    assert!(
        disk.exists(Path::new("d/g")).expect("an answer"),
        "a rename of a file to its other name does nothing"
    );
}

fn a_link_never_takes_a_name_that_is_there(disk: &dyn Disk) {
    for (path, text) in [("f", b"f"), ("g", b"g")] {
        create(disk, path).write_at(&[text], 0).expect("a write");
    }
    disk.create_dir_all(Path::new("d")).expect("a directory");
    let link = |from, to| kind(disk.link(Path::new(from), Path::new(to)));
    for taken in ["f", "g", "d"] {
        assert_eq!(link("f", taken), Some(io::ErrorKind::AlreadyExists));
    }
    assert_eq!(read(&*create(disk, "g")), b"g");
    assert_eq!(link("absent", "h"), Some(io::ErrorKind::NotFound));
    assert_eq!(link("f", "no/parent"), Some(io::ErrorKind::NotFound));
    assert_eq!(link("d", "h"), Some(io::ErrorKind::PermissionDenied));
    assert_eq!(link("f", "../h"), Some(io::ErrorKind::InvalidInput));
    assert_eq!(link("../f", "h"), Some(io::ErrorKind::InvalidInput));
    assert!(!disk.exists(Path::new("h")).expect("an answer"));
}

fn a_file_goes_with_its_last_name(disk: &dyn Disk) {
    create(disk, "f").write_at(&[b"kept"], 0).expect("a write");
    disk.link(Path::new("f"), Path::new("g")).expect("a link");
    disk.remove_file(Path::new("f")).expect("a removal");
    assert_eq!(read(&*create(disk, "g")), b"kept");
    create(disk, "f");
    disk.rename(Path::new("f"), Path::new("g"))
        .expect("a rename");
    assert_eq!(read(&*create(disk, "g")), b"");
}

fn a_removed_file_stays_usable_where_it_is_open(disk: &dyn Disk) {
    let file = create(disk, "f");
    file.write_at(&[b"still"], 0).expect("a write");
    disk.remove_file(Path::new("f")).expect("a removal");
    assert!(!disk.exists(Path::new("f")).expect("an answer"));
    file.write_at(&[b" here"], 5).expect("a write");
    file.sync().expect("a sync");
    assert_eq!(read(&*file), b"still here");
    assert_eq!(
        read(&*create(disk, "f")),
        b"",
        "a new file of that name is another one"
    );
}

fn handles_of_one_file_see_each_other(disk: &dyn Disk) {
    let (one, other) = (create(disk, "f"), create(disk, "f"));
    one.write_at(&[b"shared"], 0).expect("a write");
    assert_eq!(read(&*other), b"shared");
    other.truncate(2).expect("a cut");
    assert_eq!(one.len().expect("a length"), 2);
}

fn only_an_empty_directory_is_removed(disk: &dyn Disk) {
    disk.create_dir_all(Path::new("d")).expect("a directory");
    create(disk, "d/f");
    let refused = disk.remove_dir(Path::new("d"));
    assert_eq!(kind(refused), Some(io::ErrorKind::DirectoryNotEmpty));
    disk.remove_file(Path::new("d/f")).expect("a removal");
    disk.remove_dir(Path::new("d")).expect("a removal");
    assert!(!disk.exists(Path::new("d")).expect("an answer"));
}

fn directories_and_files_are_not_mistaken_for_each_other(disk: &dyn Disk) {
    let (dir, file) = (Path::new("d"), Path::new("f"));
    disk.create_dir_all(dir).expect("a directory");
    create(disk, "f");
    assert_eq!(
        kind(disk.open(dir, false)),
        Some(io::ErrorKind::IsADirectory)
    );
    assert_eq!(
        kind(disk.open(dir, true)),
        Some(io::ErrorKind::IsADirectory)
    );
    assert_eq!(
        kind(disk.remove_file(dir)),
        Some(io::ErrorKind::IsADirectory)
    );
    assert_eq!(
        kind(disk.remove_dir(file)),
        Some(io::ErrorKind::NotADirectory)
    );
    assert_eq!(kind(disk.list(file)), Some(io::ErrorKind::NotADirectory));
    assert_eq!(
        kind(disk.sync_dir(file)),
        Some(io::ErrorKind::NotADirectory)
    );
    assert_eq!(
        kind(disk.rename(file, dir)),
        Some(io::ErrorKind::IsADirectory)
    );
    assert_eq!(
        kind(disk.rename(dir, file)),
        Some(io::ErrorKind::NotADirectory)
    );
    assert_eq!(
        kind(disk.create_dir_all(file)),
        Some(io::ErrorKind::AlreadyExists)
    );
    assert_eq!(
        kind(disk.open(Path::new("f/g"), true)),
        Some(io::ErrorKind::NotADirectory)
    );
}

fn a_path_never_leaves_the_data_directory(disk: &dyn Disk) {
    for path in ["/tmp/x", "../x", "a/../../x", "./x"] {
        let path = Path::new(path);
        assert_eq!(
            kind(disk.open(path, true)),
            Some(io::ErrorKind::InvalidInput)
        );
        assert_eq!(
            kind(disk.create_dir_all(path)),
            Some(io::ErrorKind::InvalidInput)
        );
        assert_eq!(kind(disk.list(path)), Some(io::ErrorKind::InvalidInput));
        assert_eq!(
            kind(disk.rename(path, Path::new("y"))),
            Some(io::ErrorKind::InvalidInput)
        );
        assert_eq!(
            kind(disk.rename(Path::new("y"), path)),
            Some(io::ErrorKind::InvalidInput)
        );
    }
}

fn the_medium_holds_what_was_synced(disk: &dyn Disk) {
    disk.create_dir_all(Path::new("d")).expect("a directory");
    let file = create(disk, "d/f");
    file.write_at(&[&[3; 9_000]], 100).expect("a write");
    file.sync().expect("a sync");
    disk.sync_dir(Path::new("d")).expect("a sync");
    disk.sync_dir(Path::new("")).expect("a sync");
    let mut buf = [0; 9_100];
    assert_eq!(file.read_at_medium(&mut buf, 0).expect("a read"), 9_100);
    assert_eq!(buf[..100], [0; 100]);
    assert_eq!(buf[100..], [3; 9_000]);
}
