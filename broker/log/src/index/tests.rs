use super::*;
use headwater_record::{LeaderEpoch, Offset};

fn header(base_offset: u64, max_timestamp_ms: i64) -> BatchHeader {
    BatchHeader {
        base_offset: Offset::new(base_offset),
        size_bytes: 100,
        leader_epoch: LeaderEpoch(1),
        crc: 0,
        attributes: 0,
        last_offset_delta: 0,
        base_timestamp_ms: max_timestamp_ms,
        max_timestamp_ms,
        producer: None,
        record_count: 1,
    }
}

/// Batches of 100 bytes and one record, with timestamps that go up and down.
fn index(batches: u64, interval_bytes: u32) -> SegmentIndex {
    let mut index = SegmentIndex::new(interval_bytes);
    for n in 0..batches {
        index.note(n, n * 100, &header(n, timestamp(n)));
    }
    index
}

fn timestamp(n: u64) -> i64 {
    (n + n % 7 * 10) as i64
}

#[test]
fn an_offset_is_found_from_the_entry_at_or_before_it() {
    let index = index(1_000, 1_000);
    assert_eq!(index.entries.len(), 99);
    for n in 0..1_000 {
        let (entry, next) = index.at_offset(n);
        assert!(u64::from(entry.relative_offset) <= n);
        assert!(n - u64::from(entry.relative_offset) < 10);
        assert_eq!(entry.position, entry.relative_offset * 100);
        assert!(next.is_none_or(|next| next > n * 100));
    }
}

#[test]
fn nothing_before_the_entry_for_a_time_is_as_late() {
    let index = index(1_000, 1_000);
    for asked in 0..1_100 {
        let entry = index.at_time(asked);
        let before = 0..u64::from(entry.relative_offset);
        assert!(before.map(timestamp).all(|ms| ms < asked), "{asked}");
    }
    assert_eq!(
        index.max_timestamp_ms,
        (0..1_000).map(timestamp).max().unwrap()
    );
}

#[test]
fn a_full_index_keeps_every_other_entry_and_stays_right() {
    let batches = 5 * INDEX_ENTRIES_MAX as u64;
    let index = index(batches, 1);
    assert!(index.entries.len() <= INDEX_ENTRIES_MAX);
    for n in (0..batches).step_by(37) {
        let (entry, _) = index.at_offset(n);
        assert!(u64::from(entry.relative_offset) <= n);
        assert!(n - u64::from(entry.relative_offset) <= 16, "{n} {entry:?}");
        let before = 0..u64::from(index.at_time(timestamp(n)).relative_offset);
        assert!(
            before
                .rev()
                .take(100)
                .map(timestamp)
                .all(|ms| ms < timestamp(n))
        );
    }
}

#[test]
fn zeros_and_flipped_bits_are_no_entry() {
    assert_eq!(OffsetEntry::decode(&[0; OffsetEntry::BYTES]), None);
    assert_eq!(TimeEntry::decode(&[0; TimeEntry::BYTES]), None);
    let offset = OffsetEntry {
        relative_offset: 7,
        position: 900,
    };
    let time = TimeEntry {
        relative_offset: 7,
        max_before_ms: -5,
    };
    let mut bytes = Vec::new();
    offset.encode(&mut bytes);
    time.encode(&mut bytes);
    let (first, second) = bytes.split_at_mut(OffsetEntry::BYTES);
    assert_eq!(OffsetEntry::decode(first), Some(offset));
    assert_eq!(TimeEntry::decode(second), Some(time));
    for bit in 0..first.len() * 8 {
        first[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(OffsetEntry::decode(first), None);
        first[bit / 8] ^= 1 << (bit % 8);
    }
    for bit in 0..second.len() * 8 {
        second[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(TimeEntry::decode(second), None);
        second[bit / 8] ^= 1 << (bit % 8);
    }
}
