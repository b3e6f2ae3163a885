//! Uploads and manifests.

use headwater_tier::{CommitJob, keys};

use crate::bench::{Bench, CLUSTER, EPOCH, KEY, at, block_on, bytes};

#[test]
fn what_was_uploaded_reads_back_over_objects_and_pages() {
    for pages_of in [1, 2, 3, 1_000] {
        for at_once in [1, 2, 7, 20] {
            let mut bench = Bench::with_pages_of(pages_of);
            bench.fill(20, at_once);
            bench.forget();
            assert_eq!(bench.entries().len(), 20, "{pages_of} {at_once}");
            let slice = bench.read(0, 200, usize::MAX >> 8).unwrap();
            assert_eq!(slice.next_offset, at(200));
            assert_eq!(
                slice.bytes,
                bytes(0, 200),
                "pages of {pages_of}, {at_once} at once"
            );
            for from in (0..200).step_by(7) {
                let slice = bench.read(from, 200, 1).unwrap();
                let base = from / 5 * 5;
                assert_eq!(slice.bytes, bytes(base, base + 5), "at least one batch");
            }
        }
    }
}

#[test]
fn a_thousand_entries_become_a_page() {
    let mut bench = Bench::new();
    bench.fill(1_001, 200);
    let manifest = block_on(bench.tier.manifest(KEY, bench.head.unwrap().number)).unwrap();
    assert_eq!((manifest.pages.len(), manifest.entries.len()), (1, 1));
    bench.forget();
    let slice = bench.read(9_990, 10_010, 1 << 20).unwrap();
    assert_eq!(slice.bytes, bytes(9_990, 10_010), "across the page's end");
}

#[test]
fn a_number_that_is_taken_is_passed_over_and_the_parent_stays() {
    let mut bench = Bench::new();
    bench.fill(1, 1);
    let uploaded = bench.upload(10);
    let job = CommitJob {
        key: KEY,
        leader_epoch: EPOCH,
        parent: bench.head,
        log_start: at(0),
        uploaded: vec![uploaded],
        page: bench.draw(),
    };
    // Written twice: as if the first answer had been lost.
    let first = block_on(bench.tier.write_manifest(&job)).unwrap();
    let second = block_on(bench.tier.write_manifest(&job)).unwrap();
    assert_eq!((first.number, second.number), (2, 3));
    bench.forget();
    let manifest = block_on(bench.tier.manifest(KEY, 3)).unwrap();
    assert_eq!(manifest.parent, Some(1));
    assert_eq!(manifest.head(), second);
}

#[test]
fn what_lies_below_the_log_start_is_named_no_more() {
    let mut bench = Bench::with_pages_of(2);
    bench.fill(5, 1);
    let head = bench.commit(Vec::new(), 33);
    assert_eq!((head.start, head.end), (at(33), at(50)));
    let starts: Vec<u64> = bench
        .entries()
        .iter()
        .map(|entry| entry.start.get())
        .collect();
    assert_eq!(starts, [30, 40]);
    assert!(bench.read(32, 50, 100).is_err());
    let slice = bench.read(33, 50, 1).unwrap();
    assert_eq!(slice.bytes, bytes(30, 35), "the batch that holds it");
    assert_eq!(
        bench
            .store
            .get(&keys::manifest(CLUSTER, KEY, 1))
            .map(|_| ()),
        Some(())
    );
}
