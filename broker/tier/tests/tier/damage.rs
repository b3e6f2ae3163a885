//! Damage: told for its range alone, never served, found by verifying.

use bytes::{Bytes, BytesMut};
use headwater_tier::{Depth, ProblemKind, TierError};

use crate::bench::{Bench, KEY, at, block_on, bytes};

fn flip(bytes: &Bytes, at: usize) -> Bytes {
    let mut bytes = BytesMut::from(&bytes[..]);
    bytes[at] ^= 0x20;
    bytes.freeze()
}

/// Objects around the damaged one read as ever; in it the error names it and a range within it.
fn check_loss(bench: &Bench, object: &str) {
    assert_eq!(bench.read(0, 10, 1 << 20).unwrap().bytes, bytes(0, 10));
    assert_eq!(bench.read(20, 30, 1 << 20).unwrap().bytes, bytes(20, 30));
    for from in 10..20 {
        match bench.read(from, 30, 1) {
            Ok(slice) => {
                let base = from / 5 * 5;
                assert_eq!(slice.bytes, bytes(base, base + 5));
            }
            Err(TierError::DataLoss {
                range,
                object: lost,
                ..
            }) => {
                assert_eq!(lost, object);
                assert!(range.contains(&at(from)), "{range:?} {from}");
                assert!(at(10) <= range.start && range.end <= at(20), "{range:?}");
            }
            Err(error) => panic!("{error}"),
        }
    }
    // What lies before the damage is given; the trouble shows to whoever reads on.
    let slice = bench.read(0, 30, 1 << 20).unwrap();
    assert_eq!(slice.bytes, bytes(0, slice.next_offset.get()));
}

fn problems(bench: &Bench, depth: Depth) -> Vec<(u64, ProblemKind)> {
    let entries = block_on(bench.tier.entries_to_verify(KEY, bench.head.unwrap())).unwrap();
    let problem = |entry| block_on(bench.tier.verify_entry(KEY, &entry, depth));
    let problems = entries.into_iter().filter_map(problem);
    problems
        .map(|problem| (problem.range.start.get(), problem.kind))
        .collect()
}

#[test]
fn a_flip_anywhere_in_an_object_loses_at_most_its_range() {
    let mut bench = Bench::with_pages_of(2);
    bench.fill(3, 1);
    let object = bench.object_of(10);
    let whole = bench.store.get(&object).unwrap();
    for byte in 0..whole.len() {
        bench.store.damage(&object, Some(flip(&whole, byte)));
        bench.forget();
        check_loss(&bench, &object);
        assert_eq!(
            problems(&bench, Depth::Checksum),
            [(10, ProblemKind::Checksum)]
        );
        assert_eq!(problems(&bench, Depth::Length), []);
    }
}

#[test]
fn a_cut_anywhere_in_an_object_loses_at_most_its_range() {
    let mut bench = Bench::new();
    bench.fill(3, 3);
    let object = bench.object_of(10);
    let whole = bench.store.get(&object).unwrap();
    for len in 0..whole.len() {
        bench.store.damage(&object, Some(whole.slice(..len)));
        bench.forget();
        check_loss(&bench, &object);
        assert_eq!(problems(&bench, Depth::Length), [(10, ProblemKind::Length)]);
    }
}

#[test]
fn a_missing_object_loses_its_range_alone() {
    let mut bench = Bench::new();
    bench.fill(3, 3);
    let object = bench.object_of(10);
    bench.store.damage(&object, None);
    bench.forget();
    check_loss(&bench, &object);
    let error = bench.read(13, 30, 1).unwrap_err();
    assert!(matches!(error, TierError::DataLoss { range, .. } if range == (at(10)..at(20))));
    assert_eq!(
        problems(&bench, Depth::Length),
        [(10, ProblemKind::Missing)]
    );
    let number = bench.head.unwrap().number;
    let found = block_on(bench.tier.find_time(KEY, number, at(0), 13, 1 << 20)).unwrap();
    assert_eq!(found, Some((at(20), 20)), "a search by time passes over it");
}

#[test]
fn an_object_with_a_damaged_footer_is_read_from_its_beginning() {
    let mut bench = Bench::new();
    bench.fill(3, 3);
    let entry = bench.entries()[1];
    let object = entry.object_key(KEY);
    let whole = bench.store.get(&object).unwrap();
    let in_footer = entry.segment_bytes as usize + 20;
    bench.store.damage(&object, Some(flip(&whole, in_footer)));
    bench.forget();
    assert_eq!(bench.read(0, 30, 1 << 20).unwrap().bytes, bytes(0, 30));
    assert_eq!(bench.read(17, 30, 1).unwrap().bytes, bytes(15, 20));
}

#[test]
fn a_damaged_manifest_or_page_is_told_by_its_key() {
    let mut bench = Bench::with_pages_of(2);
    bench.fill(3, 1);
    for part in ["/manifest/00000000000000000003", "/page/"] {
        let keys = bench.store.keys();
        let key = keys.iter().find(|key| key.contains(part)).unwrap();
        let whole = bench.store.get(key).unwrap();
        bench.store.damage(key, Some(flip(&whole, whole.len() / 2)));
        bench.forget();
        let error = bench.read(0, 30, 1).unwrap_err();
        assert!(matches!(error, TierError::Damaged { object, .. } if object == *key));
        bench.store.damage(key, Some(whole));
    }
}
