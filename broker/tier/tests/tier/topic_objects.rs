//! Objects of a topic, one for each change: the newest stay.

use bytes::Bytes;
use headwater_tier::bucket::{self, Snapshot};
use headwater_tier::{CacheLimits, SweepReport, Tier};
use uuid::Uuid;

use crate::bench::{Bench, CLUSTER, KEY, block_on};
use crate::sweep::GRACE_MS;

/// How many stay.
const KEPT: u64 = 4;

impl Bench {
    fn change_topic(&self, revision: u64) {
        let snapshot = Snapshot {
            revision,
            image: Bytes::from(format!("as of {revision}")),
        };
        block_on(self.tier.put_topic(KEY.topic, &snapshot)).unwrap();
    }

    fn trim(&mut self) -> SweepReport {
        let (clock, store) = (self.draw(), self.store.clone());
        let (watch, now_ms) = (self.watch(), move || store.now_ms());
        block_on(
            self.tier
                .trim_topic(KEY.topic, GRACE_MS, clock, &watch, &now_ms),
        )
        .unwrap()
    }

    fn newest_topic(&self) -> u64 {
        let topics = block_on(bucket::topics(self.tier.store(), CLUSTER)).unwrap();
        topics[0].1.found.as_ref().unwrap().revision
    }
}

#[test]
fn all_but_the_newest_few_go_once_they_are_older_than_the_grace() {
    let mut bench = Bench::new();
    for revision in 1..=KEPT {
        bench.change_topic(revision);
    }
    bench.store.wait(GRACE_MS + 1);
    let before = bench.keys();
    assert_eq!(bench.trim(), SweepReport::default());
    assert_eq!(bench.keys(), before, "no more than the newest few");

    for revision in [7, 9, 12] {
        bench.change_topic(revision);
    }
    let report = bench.trim();
    assert_eq!((report.deleted, report.waiting), (3, 0), "three are old");
    for revision in [13, 14] {
        bench.change_topic(revision);
    }
    let report = bench.trim();
    assert_eq!((report.deleted, report.waiting), (1, 1), "one is young");
    bench.store.wait(GRACE_MS + 1);
    assert_eq!(bench.trim().deleted, 1);
    bench.store.wait(GRACE_MS + 1);
    assert_eq!(bench.trim().deleted, 0);
    let left: Vec<String> = [9, 12, 13, 14]
        .map(|revision| format!("{CLUSTER}/{}/topic-{revision:020}", KEY.topic))
        .to_vec();
    assert_eq!(bench.keys(), left, "nothing else is left either");
    assert_eq!(bench.newest_topic(), 14);
}

#[test]
fn replaced_objects_of_a_topic_stay_while_another_cluster_holds_or_has_them() {
    let mut bench = Bench::new();
    for revision in 1..=KEPT + 2 {
        bench.change_topic(revision);
    }
    bench.store.wait(GRACE_MS + 1);
    let limits = CacheLimits {
        chunk_bytes: 1,
        meta_bytes: 1,
    };
    let other = Tier::new(
        std::sync::Arc::new(bench.store.clone()),
        Uuid::from_u128(0xC2),
        limits,
    );
    block_on(other.put_hold(CLUSTER)).unwrap();
    let report = bench.trim();
    assert_eq!((report.deleted, report.held), (0, 2));
    block_on(other.release_hold(CLUSTER, other.cluster())).unwrap();
    block_on(other.put_fence(CLUSTER)).unwrap();
    let (clock, store) = (bench.draw(), bench.store.clone());
    let (watch, now_ms) = (bench.watch(), move || store.now_ms());
    let trim = bench
        .tier
        .trim_topic(KEY.topic, GRACE_MS, clock, &watch, &now_ms);
    assert!(block_on(trim).is_err());
    assert_eq!(bench.newest_topic(), KEPT + 2);
    assert_eq!(bench.keys().len() as u64, KEPT + 2 + 1);
}

#[test]
fn the_snapshot_that_was_put_last_stays_also_where_others_have_higher_revisions() {
    let bench = Bench::new();
    let put = |revision| {
        let image = Bytes::from_static(b"image");
        block_on(bench.tier.put_snapshot(&Snapshot { revision, image })).unwrap();
    };
    // Of a history that another process went on with; then this one was made the owner again.
    (101..120).for_each(put);
    put(5);
    let snapshots = bench.keys().into_iter();
    let snapshots: Vec<String> = snapshots.filter(|key| key.contains("/metadata/")).collect();
    assert_eq!(snapshots.len(), 8, "{snapshots:?}");
    assert!(snapshots[0].ends_with("00005"), "{snapshots:?}");
}
