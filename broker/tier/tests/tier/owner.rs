//! Another process of the same cluster takes the objects over: on a disk that was attached elsewhere, or on a copy of it.

use headwater_log::planted::{self, Bug};
use headwater_tier::limits::{FENCE_AGE_MS_MAX, OWNERS_KEPT};
use headwater_tier::{FenceWatch, SweepReport, TierError, keys};

use crate::bench::{Bench, CLUSTER, block_on};
use crate::sweep::GRACE_MS;

impl Bench {
    fn sweep_as(&mut self, watch: &FenceWatch, head: u64) -> Result<SweepReport, TierError> {
        let job = self.sweep_job(&[head], &[]);
        let store = self.store.clone();
        block_on(self.tier.sweep(&job, watch, &move || store.now_ms()))
    }

    fn watch_of(&self, broker_epoch: u64) -> Result<FenceWatch, TierError> {
        let watch = FenceWatch::default();
        block_on(watch.take_over(&self.tier, broker_epoch))?;
        Ok(watch)
    }

    fn owners(&self) -> Vec<String> {
        let owners = keys::owner_prefix(CLUSTER);
        let keys = self.store.keys().into_iter();
        keys.filter(|key| key.starts_with(&owners)).collect()
    }
}

fn is_superseded<T>(result: &Result<T, TierError>) -> bool {
    matches!(result, Err(TierError::Superseded))
}

/// The head of a process that goes on beside its successor, and objects of the successor that are older than the grace.
fn beside_a_successor(successor_epoch: u64) -> (Bench, FenceWatch, u64) {
    let mut bench = Bench::new();
    let watch = bench.watch_of(5).unwrap();
    bench.fill(1, 1);
    let head = bench.head.unwrap().number;
    block_on(watch.check(&bench.tier, bench.store.now_ms())).unwrap();
    bench.watch_of(successor_epoch).unwrap();
    let uploaded = bench.upload(10);
    bench.commit(vec![uploaded], 0);
    (bench, watch, head)
}

#[test]
fn who_goes_on_beside_a_successor_deletes_nothing_of_it() {
    // A copy of the data directory may come to the same epoch as the original.
    for successor_epoch in [5, 6] {
        let (mut bench, watch, head) = beside_a_successor(successor_epoch);
        bench.store.wait(GRACE_MS + 1);
        let before = bench.keys();
        assert!(is_superseded(&bench.sweep_as(&watch, head)));
        assert_eq!(bench.keys(), before);
        let now_ms = bench.store.now_ms();
        let head_checked = block_on(watch.check(&bench.tier, now_ms));
        assert!(is_superseded(&head_checked), "nor does it commit a head");
    }
}

#[test]
fn without_the_look_for_an_owner_the_successor_would_lose_an_object() {
    let (mut bench, watch, head) = beside_a_successor(6);
    bench.store.wait(GRACE_MS + 1);
    planted::plant(Some(Bug::OwnerIgnored));
    let swept = bench.sweep_as(&watch, head);
    planted::plant(None);
    assert_eq!(swept.unwrap().deleted, 1);
    bench.forget();
    assert!(bench.read(10, 20, 1 << 20).is_err());
}

#[test]
fn what_a_successor_writes_is_young_until_its_predecessor_has_looked() {
    let (mut bench, watch, head) = beside_a_successor(6);
    let look = |bench: &Bench| {
        let store = bench.store.clone();
        block_on(watch.check_deletion(&bench.tier, &move || store.now_ms()))
    };
    bench.store.wait(FENCE_AGE_MS_MAX / 2 - 1);
    look(&bench).unwrap();
    let report = bench.sweep_as(&watch, head).unwrap();
    assert_eq!((report.deleted, report.waiting), (0, 1), "by the last look");
    bench.store.wait(1);
    assert!(is_superseded(&look(&bench)));
}

#[test]
fn who_was_started_before_the_owner_does_not_take_over_from_it() {
    let bench = Bench::new();
    let successor = bench.watch_of(7).unwrap();
    // Its store was away until now.
    assert!(is_superseded(&bench.watch_of(6)));
    assert!(!FenceWatch::default().is_owner() && successor.is_owner());
    block_on(successor.check(&bench.tier, bench.store.now_ms())).unwrap();
}

#[test]
fn an_owner_whose_bytes_are_not_what_was_sent_counts_for_nobody() {
    let bench = Bench::new();
    bench.watch_of(7).unwrap();
    // An attempt that was read back and given up.
    let attempt = keys::owner(CLUSTER, 2);
    block_on(bench.tier.store().put_if_absent(&attempt, "x".into())).unwrap();
    assert!(is_superseded(&bench.watch_of(6)));
    bench.watch_of(8).unwrap();
    let owners: Vec<String> = (1..=3).map(|n| keys::owner(CLUSTER, n)).collect();
    assert_eq!(bench.owners(), owners);
}

#[test]
fn who_wakes_after_its_successors_are_forgotten_is_superseded_all_the_same() {
    let (mut bench, watch, head) = beside_a_successor(6);
    for epoch in 7..7 + OWNERS_KEPT {
        bench.watch_of(epoch).unwrap();
    }
    let owners = bench.owners();
    let successor = keys::owner(CLUSTER, 2);
    assert!(!owners.contains(&successor), "{:?} is the first", owners[0]);
    bench.store.wait(GRACE_MS + 1);
    assert!(is_superseded(&bench.sweep_as(&watch, head)));
}

#[test]
fn owners_that_are_long_superseded_go() {
    let bench = Bench::new();
    for epoch in 1..=OWNERS_KEPT + 3 {
        bench.watch_of(epoch).unwrap();
    }
    let owners = bench.owners();
    assert_eq!(owners.len() as u64, OWNERS_KEPT);
    assert_eq!(owners[0], keys::owner(CLUSTER, 4));
}
