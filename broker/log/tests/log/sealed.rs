//! What the tier is told of sealed segments.

use crate::common::{Bench, KEY, NOW, batch_of, config};
use headwater_log::{Log, Now, producers_after};
use headwater_record::{BatchHeader, LeaderEpoch, Offset, ProducerIdentity, batches};

/// A log of one batch of three records of one of seven producers every 20 seconds; epoch 6 begins within a segment.
fn filled(bench: &Bench, count: u64) -> Log {
    let mut log = bench.open(config());
    for n in 0..count {
        if n == 40 {
            bench.begin(&mut log, 6);
        }
        let identity = ProducerIdentity {
            id: n as i64 % 7,
            epoch: 0,
            base_sequence: n as i32 / 7 * 3,
        };
        let now = Now {
            monotonic_ms: NOW.monotonic_ms,
            wall_ms: NOW.wall_ms + n as i64 * 20_000,
        };
        let epoch = log.last_epoch().unwrap();
        log.append(&batch_of(identity, 3, n as i64), epoch, now)
            .unwrap();
    }
    bench.sync(&mut log);
    log
}

fn headers(log: &Log, from: Offset, end: Offset) -> Vec<BatchHeader> {
    let mut headers = Vec::new();
    let mut next = from;
    while next < end {
        let slice = log.view().read(next, end, 10_000).unwrap();
        next = slice.next_offset;
        headers.extend(batches(slice.bytes).map(|batch| *batch.unwrap().header()));
    }
    headers
}

#[test]
fn sealed_segments_follow_each_other_up_to_the_limit() {
    let bench = Bench::new();
    let log = filled(&bench, 200);
    let sealed = log.sealed(Offset::MAX);
    assert_eq!(sealed.len(), log.segment_count() - 1);
    let mut base = Offset::ZERO;
    for segment in &sealed {
        assert_eq!(segment.base_offset, base);
        let path = Log::dir(KEY).join(format!("{:020}.log", base.get()));
        assert_eq!(
            bench.disk.read(&path).unwrap().len() as u64,
            segment.size_bytes
        );
        // The mark at or behind the end: at most a minute later than the last record.
        let last_ms = NOW.wall_ms + (segment.end_offset.get() as i64 / 3 - 1) * 20_000;
        let latest_ms = segment.latest_append_ms.unwrap();
        assert!((last_ms..=last_ms + 60_000).contains(&latest_ms));
        base = segment.end_offset;
    }
    assert!(base < log.end(), "the active segment is not sealed");
    let limit = sealed[1].end_offset;
    assert_eq!(log.sealed(limit), sealed[..2]);
    assert_eq!(log.sealed(Offset::new(limit.get() - 1)), sealed[..1]);
    assert_eq!(log.sealed(Offset::ZERO), []);
}

#[test]
fn a_segment_that_was_dropped_is_not_offered_again() {
    let bench = Bench::new();
    let mut log = filled(&bench, 200);
    let sealed = log.sealed(Offset::MAX);
    let _not_reclaimed = log.drop_local(sealed[0].end_offset).unwrap();
    assert_eq!(log.sealed(Offset::MAX), sealed[1..]);
    let _not_reclaimed = log.drop_local(sealed[1].base_offset.plus(5)).unwrap();
    assert_eq!(
        log.sealed(Offset::MAX),
        sealed[1..],
        "the one that holds the local start is there"
    );
}

#[test]
fn the_context_of_a_segment_is_what_holds_within_it() {
    let bench = Bench::new();
    let log = filled(&bench, 200);
    let sealed = log.sealed(Offset::MAX);
    let began = Offset::new(120);
    for segment in &sealed {
        let (base, end) = (segment.base_offset, segment.end_offset);
        let context = log.segment_context(base, end).unwrap();
        let expected: Vec<(LeaderEpoch, Offset)> = [
            (LeaderEpoch(5), Offset::ZERO, began),
            (LeaderEpoch(6), began, Offset::MAX),
        ]
        .into_iter()
        .filter(|&(_, start, stop)| start < end && stop > base)
        .map(|(epoch, start, _)| (epoch, start))
        .collect();
        assert_eq!(context.epochs, expected);
        assert!(!context.append_marks.is_empty());
        for (offset, ms) in &context.append_marks {
            assert!((base..end).contains(offset));
            assert_eq!(*ms, NOW.wall_ms + offset.get() as i64 / 3 * 20_000);
        }
        assert_eq!(context.latest_append_ms, segment.latest_append_ms);
    }
    let past = log.segment_context(Offset::ZERO, log.end().plus(1));
    assert!(past.is_err());
}

#[test]
fn a_snapshot_comes_along_if_it_is_there_and_sound() {
    let bench = Bench::new();
    let log = filled(&bench, 200);
    let newest = log.sealed(Offset::MAX).pop().unwrap();
    let (base, end) = (newest.base_offset, newest.end_offset);
    let path = Log::dir(KEY).join(format!("{:020}.producers", end.get()));
    let context = log.segment_context(base, end).unwrap();
    assert_eq!(context.producers, bench.disk.read(&path));
    bench.disk.corrupt(&path, 30, 1);
    assert_eq!(log.segment_context(base, end).unwrap().producers, None);
    let within = Offset::new(end.get() - 1);
    assert_eq!(log.segment_context(base, within).unwrap().producers, None);
}

#[test]
fn the_producer_state_goes_on_from_a_snapshot_by_headers_alone() {
    let bench = Bench::new();
    let log = filled(&bench, 200);
    let sealed = log.sealed(Offset::MAX);
    let [before, newest] = &sealed[sealed.len() - 2..] else {
        panic!("two segments");
    };
    let state = |end: Offset| {
        let context = log.segment_context(Offset::ZERO, end).unwrap();
        context.producers.unwrap()
    };
    let (old, new) = (state(before.end_offset), state(newest.end_offset));
    let between = headers(&log, before.end_offset, newest.end_offset);
    let after = producers_after(Some(&old), between.iter().copied(), 10);
    assert_eq!(after.len(), new.len(), "the same but for append times");
    assert_eq!(producers_after(Some(&new), std::iter::empty(), 10), new);
    let all = headers(&log, Offset::ZERO, newest.end_offset);
    let from_nothing = producers_after(None, all.iter().copied(), 10);
    assert_eq!(from_nothing.len(), new.len());
    assert_eq!(
        producers_after(Some(b"damaged"), all.into_iter(), 10),
        from_nothing
    );
}
