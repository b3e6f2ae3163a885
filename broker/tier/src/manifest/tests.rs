use super::codec::{decode_page, encode_page};
use super::*;

const CLUSTER: Uuid = Uuid::from_u128(1);
const OTHER: Uuid = Uuid::from_u128(9);
const KEY: PartitionKey = PartitionKey {
    topic: Uuid::from_u128(2),
    index: 3,
};

fn at(offset: u64) -> Offset {
    Offset::new(offset)
}

fn entry(start: u64, end: u64) -> Entry {
    Entry {
        base_offset: at(start),
        leader_epoch: LeaderEpoch(1),
        upload: Uuid::from_u128(u128::from(start) + 1_000),
        origin: CLUSTER,
        start: at(start),
        end: at(end),
        segment_bytes: 100,
        footer_bytes: 20,
        crc: 7,
        max_timestamp_ms: -5,
        latest_append_ms: Some(12),
    }
}

fn lineage() -> Epochs {
    Epochs::checked(&[(LeaderEpoch(1), at(0)), (LeaderEpoch(2), at(15))]).unwrap()
}

fn manifest(ranges: &[(u64, u64)]) -> Manifest {
    let mut manifest = Manifest::first(CLUSTER, KEY, LeaderEpoch(1), at(ranges[0].0));
    for &(start, end) in ranges {
        manifest.push(entry(start, end), &lineage());
    }
    manifest.number = 4;
    manifest
}

#[test]
fn a_manifest_reads_back_and_damage_is_noticed() {
    let mut whole = manifest(&[(0, 10), (10, 20)]);
    whole.entries[0].origin = OTHER;
    let bytes = whole.encode();
    assert_eq!(Manifest::decode(&bytes), Ok(whole));
    for at in 0..bytes.len() {
        let mut damaged = bytes.to_vec();
        damaged[at] ^= 1;
        assert!(Manifest::decode(&damaged).is_err(), "byte {at}");
        assert!(Manifest::decode(&bytes[..at]).is_err(), "cut at {at}");
    }
}

#[test]
fn a_page_reads_back_only_as_the_page_that_is_named() {
    let entries = vec![entry(0, 10), entry(10, 20)];
    let bytes = encode_page(&entries, CLUSTER);
    let page = PageRef {
        number: 1,
        upload: OTHER,
        origin: CLUSTER,
        start: at(0),
        end: at(20),
        entries: 2,
        segment_bytes: 200,
        frame_bytes: bytes.len() as u64,
        crc: crc32c::crc32c(&bytes),
        max_timestamp_ms: -5,
        latest_append_ms: Some(12),
    };
    assert_eq!(decode_page(&bytes, &page), Ok(entries));
    let other = encode_page(&[entry(0, 20)], CLUSTER);
    assert!(decode_page(&other, &page).is_err());
}

#[test]
fn entries_that_overlap_or_leave_a_gap_are_refused() {
    for second in [entry(9, 20), entry(11, 20), entry(10, 10)] {
        let mut bad = manifest(&[(0, 10)]);
        bad.entries.push(second);
        bad.end = second.end;
        assert!(Manifest::decode(&bad.encode()).is_err(), "{second:?}");
    }
    let mut twice = manifest(&[(0, 10), (10, 20)]);
    twice.entries[1].upload = twice.entries[0].upload;
    assert_eq!(twice.check(), Err("names an object twice".to_owned()));
    let mut short = manifest(&[(0, 10)]);
    short.end = at(12);
    assert!(short.check().is_err());
}

#[test]
fn what_lies_wholly_below_the_start_is_forgotten() {
    let mut moved = manifest(&[(0, 10), (10, 20), (20, 30)]);
    moved.advance(at(12));
    assert_eq!(moved.entries.len(), 2);
    assert_eq!((moved.start, moved.end), (at(12), at(30)));
    assert_eq!(moved.locate(at(11)), None);
    assert_eq!(moved.locate(at(12)), Some(Place::Entry(&entry(10, 20))));
    moved.check().unwrap();
    moved.advance(at(50));
    assert_eq!(
        (moved.start, moved.end, moved.entries.len()),
        (at(50), at(50), 0)
    );
    moved.push(entry(60, 70), &lineage());
    assert_eq!((moved.start, moved.end), (at(60), at(70)));
    moved.check().unwrap();
}

#[test]
fn every_offset_is_where_its_range_says() {
    let manifest = manifest(&[(5, 10), (10, 20)]);
    assert_eq!(manifest.locate(at(4)), None);
    assert_eq!(manifest.locate(at(5)), Some(Place::Entry(&entry(5, 10))));
    assert_eq!(manifest.locate(at(9)), Some(Place::Entry(&entry(5, 10))));
    assert_eq!(manifest.locate(at(19)), Some(Place::Entry(&entry(10, 20))));
    assert_eq!(manifest.locate(at(20)), None);
}
