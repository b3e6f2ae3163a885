//! Reads: limits, time, memory.

use std::sync::Arc;

use futures::future::join_all;
use headwater_tier::TierError;

use crate::bench::{Bench, KEY, at, block_on, bytes, tier};

#[test]
fn nothing_at_or_above_the_limit_is_given() {
    let mut bench = Bench::new();
    bench.fill(4, 2);
    let slice = bench.read(0, 15, 1 << 20).unwrap();
    assert_eq!(slice.bytes, bytes(0, 15));
    let slice = bench.read(5, 5, 1 << 20).unwrap();
    assert_eq!((slice.bytes.len(), slice.next_offset), (0, at(5)));
}

#[test]
fn the_first_record_since_a_time_is_found() {
    let mut bench = Bench::with_pages_of(2);
    bench.fill(7, 3);
    let number = bench.head.unwrap().number;
    let find = |from: u64, ms: i64| {
        block_on(bench.tier.find_time(KEY, number, at(from), ms, 1 << 20)).unwrap()
    };
    for ms in 0..70 {
        assert_eq!(find(0, ms), Some((at(ms as u64), ms)));
        assert_eq!(find(33, ms), Some((at(33.max(ms as u64)), 33.max(ms))));
    }
    assert_eq!(find(0, 70), None);
}

#[test]
fn readers_of_one_chunk_share_one_read() {
    let mut bench = Bench::new();
    bench.fill(2, 2);
    bench.forget();
    let object = bench.object_of(3);
    let before = bench.store.reads(&object);
    let number = bench.head.unwrap().number;
    let reads = (0..20).map(|n| bench.tier.read(KEY, number, at(n % 10), at(10), 1));
    let read = block_on(join_all(reads));
    assert!(read.iter().all(Result::is_ok));
    assert_eq!(
        bench.store.reads(&object) - before,
        2,
        "the footer and the batches"
    );
}

#[test]
fn memory_stays_within_its_bound() {
    let mut bench = Bench::new();
    bench.fill(40, 10);
    let small = tier(&bench.store, 2_000);
    bench.tier = Arc::new(small);
    for from in (0..400).rev() {
        bench.read(from, 400, 1).unwrap();
        assert!(bench.tier.cached_bytes().0 <= 2_000);
    }
}

#[test]
fn an_offset_that_is_not_there_is_said_to_be_so() {
    let mut bench = Bench::new();
    bench.fill(2, 2);
    bench.commit(Vec::new(), 10);
    for from in [3, 20, 25] {
        let error = bench.read(from, 30, 100).unwrap_err();
        assert!(matches!(error, TierError::NotInTier { asked, .. } if asked == at(from)));
    }
}
