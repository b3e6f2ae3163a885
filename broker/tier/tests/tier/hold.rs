//! Another cluster was restored from this one's objects: what is deleted then, and what is not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use headwater_tier::limits::FENCE_AGE_MS_MAX;
use headwater_tier::{CacheLimits, FenceWatch, SweepReport, Tier, TierError};
use uuid::Uuid;

use crate::bench::{Bench, CLUSTER, KEY, block_on};
use crate::sweep::GRACE_MS;

const HOLDER: Uuid = Uuid::from_u128(0xC2);

/// The tier of the cluster that was restored.
fn restored(bench: &Bench, cluster: Uuid) -> Tier {
    let limits = CacheLimits {
        chunk_bytes: 1,
        meta_bytes: 1,
    };
    Tier::new(Arc::new(bench.store.clone()), cluster, limits)
}

/// Three segments of which two are garbage, old enough to go; and the number of the head.
fn with_garbage() -> Bench {
    let mut bench = Bench::new();
    bench.fill(3, 3);
    bench.commit(Vec::new(), 20);
    bench.store.wait(GRACE_MS + 1);
    bench
}

fn sweep(bench: &mut Bench, watch: &FenceWatch) -> Result<SweepReport, TierError> {
    let job = bench.sweep_job(&[2], &[]);
    let store = bench.store.clone();
    block_on(bench.tier.sweep(&job, watch, &move || store.now_ms()))
}

fn delete_topic(bench: &Bench, watch: &FenceWatch) -> Result<usize, TierError> {
    let store = bench.store.clone();
    let now_ms = move || store.now_ms();
    block_on(
        bench
            .tier
            .delete_topic(CLUSTER, KEY.topic, 1_000, watch, &now_ms),
    )
}

#[test]
fn what_another_cluster_holds_stays_and_goes_when_it_is_released() {
    let mut bench = with_garbage();
    let (one, other) = (
        restored(&bench, HOLDER),
        restored(&bench, Uuid::from_u128(0xC3)),
    );
    for tier in [&one, &other] {
        block_on(tier.put_hold(CLUSTER)).unwrap();
        block_on(tier.put_hold(CLUSTER)).unwrap();
        assert!(block_on(tier.is_hold_listed(CLUSTER)).unwrap());
    }
    let watch = bench.watch();
    let before = bench.keys();
    let report = sweep(&mut bench, &watch).unwrap();
    // Two segments and a manifest.
    assert_eq!((report.deleted, report.waiting, report.held), (0, 0, 3));
    let error = delete_topic(&bench, &watch).unwrap_err();
    assert!(
        matches!(error, TierError::Held { ref by } if *by == HOLDER.to_string()),
        "{error}"
    );
    assert_eq!(bench.keys(), before);

    let release = |holder| block_on(bench.tier.release_hold(CLUSTER, holder)).unwrap();
    assert!(release(HOLDER));
    assert!(!release(HOLDER), "it is released");
    bench.store.wait(FENCE_AGE_MS_MAX);
    assert_eq!(sweep(&mut bench, &watch).unwrap().held, 3, "another holds");
    assert!(block_on(bench.tier.release_hold(CLUSTER, other.cluster())).unwrap());
    bench.store.wait(FENCE_AGE_MS_MAX);
    let report = sweep(&mut bench, &watch).unwrap();
    assert_eq!((report.deleted, report.held), (3, 0));
    assert!(delete_topic(&bench, &watch).unwrap() > 0);
    assert_eq!(bench.keys(), [""; 0]);
}

#[test]
fn a_held_cluster_goes_on_uploading_and_reading() {
    let mut bench = with_garbage();
    block_on(restored(&bench, HOLDER).put_hold(CLUSTER)).unwrap();
    let watch = bench.watch();
    let uploaded = bench.upload(30);
    let now_ms = bench.store.now_ms();
    block_on(watch.check(&bench.tier, now_ms)).unwrap();
    bench.commit(vec![uploaded], 20);
    assert_eq!(bench.head.unwrap().number, 3);
    assert_eq!(bench.read(20, 40, 1 << 20).unwrap().next_offset.get(), 40);
}

#[test]
fn a_hold_without_a_name_holds_as_well() {
    let mut bench = with_garbage();
    let key = format!("{CLUSTER}/hold-somebody");
    block_on(bench.tier.store().put_if_absent(&key, Bytes::new())).unwrap();
    let watch = bench.watch();
    let report = sweep(&mut bench, &watch).unwrap();
    assert_eq!((report.deleted, report.held), (0, 3));
    let holds = block_on(bench.tier.holds(CLUSTER)).unwrap();
    assert_eq!(holds[0].holder, "somebody");
    assert!(holds[0].since_ms.is_some());
}

#[test]
fn a_hold_that_was_put_behind_the_last_look_counts_from_the_next_one_on() {
    let mut bench = with_garbage();
    let watch = bench.watch();
    let now_ms = bench.store.now_ms();
    assert_eq!(
        block_on(watch.look_for_holds(&bench.tier, now_ms)).unwrap(),
        []
    );
    block_on(restored(&bench, HOLDER).put_hold(CLUSTER)).unwrap();
    bench.store.wait(FENCE_AGE_MS_MAX / 2 - 1);
    assert_eq!(sweep(&mut bench, &watch).unwrap().deleted, 3);

    let mut bench = with_garbage();
    let watch = bench.watch();
    let now_ms = bench.store.now_ms();
    block_on(watch.look_for_holds(&bench.tier, now_ms)).unwrap();
    block_on(restored(&bench, HOLDER).put_hold(CLUSTER)).unwrap();
    bench.store.wait(FENCE_AGE_MS_MAX / 2);
    assert_eq!(sweep(&mut bench, &watch).unwrap().held, 3);
}

#[test]
fn what_was_held_up_behind_its_look_is_not_deleted() {
    let bench = with_garbage();
    // Each look takes so long that the one before it is too old at the end.
    for (pause_ms, is_given_up) in [(FENCE_AGE_MS_MAX / 3, false), (FENCE_AGE_MS_MAX, true)] {
        let watch = bench.watch();
        let clock = Arc::new(AtomicU64::new(bench.store.now_ms()));
        let now_ms = move || clock.fetch_add(pause_ms, Ordering::Relaxed);
        let checked = block_on(watch.check_deletion(&bench.tier, &now_ms));
        match is_given_up {
            false => checked.unwrap(),
            true => {
                let error = checked.unwrap_err();
                assert!(matches!(error, TierError::HeldUp { .. }), "{error}");
            }
        }
    }
}
