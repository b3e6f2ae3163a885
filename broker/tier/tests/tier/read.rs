//! Reads: limits, time, memory.

use std::pin::pin;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::join_all;
use headwater_log::{LogError, ReadSlice, SegmentContext};
use headwater_record::{Batch, BatchBuilder, Compression, Offset, Record};
use headwater_tier::limits::CHUNK_BYTES;
use headwater_tier::{SegmentSource, TierError, UploadJob, Uploaded};

use crate::bench::{BATCH, Bench, EPOCH, KEY, at, block_on, bytes, tier};

/// A segment of four chunks.
const WIDE_END: u64 = 60;

fn wide_batch(base: u64) -> Batch {
    let mut builder = BatchBuilder::new(Compression::None);
    for offset in base..base + BATCH {
        let record = Record {
            value: Some(vec![offset as u8; 60_000].into()),
            timestamp_ms: offset as i64,
            ..Record::default()
        };
        builder.push(&record).unwrap();
    }
    builder.build().unwrap().stamped(at(base), EPOCH)
}

struct Wide;

#[async_trait]
impl SegmentSource for Wide {
    async fn context(&mut self) -> Result<SegmentContext, LogError> {
        Ok(SegmentContext {
            epochs: vec![(EPOCH, Offset::ZERO)],
            ..SegmentContext::default()
        })
    }

    async fn read(&mut self, from: Offset) -> Result<ReadSlice, LogError> {
        Ok(ReadSlice {
            bytes: wide_batch(from.get()).bytes().clone(),
            next_offset: from.plus(BATCH),
        })
    }
}

fn upload_wide(bench: &mut Bench) -> Uploaded {
    let job = UploadJob {
        key: KEY,
        leader_epoch: EPOCH,
        base_offset: at(0),
        end_offset: at(WIDE_END),
        start: at(0),
        upload: bench.draw(),
    };
    block_on(bench.tier.upload(&job, &mut Wide)).unwrap()
}

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
fn what_was_read_ahead_is_read_without_the_store() {
    let mut bench = Bench::new();
    let uploaded = vec![upload_wide(&mut bench), bench.upload(60), bench.upload(70)];
    bench.commit(uploaded, 0);
    let objects = [0, 60, 70].map(|offset| bench.object_of(offset));
    let number = bench.head.unwrap().number;
    let fresh = |bench: &mut Bench| bench.tier = Arc::new(tier(&bench.store, 8 << 20));
    let reads = |bench: &Bench| objects.each_ref().map(|object| bench.store.reads(object));
    let ahead = |bench: &Bench, from, bytes| {
        block_on(bench.tier.read_ahead(KEY, number, at(from), bytes));
    };

    // As many chunks as was asked for, and no more.
    fresh(&mut bench);
    let before = reads(&bench);
    ahead(&bench, 0, 2 * CHUNK_BYTES);
    assert_eq!(reads(&bench)[0] - before[0], 3, "the footer and two chunks");
    let before = reads(&bench);
    let slice = bench.read(0, 80, 1 << 20).unwrap();
    let expected: Bytes = [0, 5, 10]
        .iter()
        .flat_map(|&base| wide_batch(base).bytes().to_vec())
        .collect();
    assert_eq!(slice.bytes, expected);
    assert_eq!(reads(&bench), before);
    bench.read(40, 80, 1).unwrap();
    assert!(reads(&bench)[0] > before[0], "this was not read ahead");

    // Over the end of the object, to the next one.
    fresh(&mut bench);
    ahead(&bench, 55, CHUNK_BYTES);
    let before = reads(&bench);
    let slice = bench.read(55, 70, 1 << 20).unwrap();
    let expected: Bytes = [&wide_batch(55).bytes()[..], &bytes(60, 70)[..]]
        .concat()
        .into();
    assert_eq!(slice.bytes, expected);
    assert_eq!(reads(&bench), before);
    bench.read(70, 80, 1).unwrap();
    assert_eq!(
        reads(&bench)[2] - before[2],
        2,
        "the footer and the batches"
    );
}

#[test]
fn what_is_read_keeps_nothing_alive_of_which_it_is_a_small_part() {
    let mut bench = Bench::new();
    let uploaded = vec![upload_wide(&mut bench)];
    bench.commit(uploaded, 0);
    bench.tier = Arc::new(tier(&bench.store, 8 << 20));
    let slice = bench.read(0, WIDE_END, 1).unwrap();
    assert_eq!(slice.bytes, wide_batch(0).bytes());
    assert!(slice.bytes.is_unique(), "the chunk belongs to the cache");
}

#[test]
fn searches_take_turns_to_open_what_may_be_large_and_reads_do_not_wait_for_them() {
    let mut bench = Bench::new();
    bench.fill(3, 3);
    let number = bench.head.unwrap().number;
    let tier = bench.tier.clone();
    let other = block_on(tier.opening().lock());
    let mut search = pin!(tier.find_time(KEY, number, at(0), 7, 1 << 20));
    block_on(async {
        // The store has answered all of it long before.
        for _ in 0..100 {
            assert!(futures::poll!(search.as_mut()).is_pending());
        }
    });
    assert_eq!(bench.read(0, 30, 1 << 20).unwrap().bytes, bytes(0, 30));
    drop(other);
    assert_eq!(block_on(search).unwrap(), Some((at(7), 7)));
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
