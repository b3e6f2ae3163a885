//! What is deleted, and what is not.

use std::collections::HashSet;

use headwater_log::planted::{self, Bug};
use headwater_tier::{SweepJob, SweepReport, TierError};
use uuid::Uuid;

use crate::bench::{Bench, CLUSTER, KEY, block_on, bytes};

pub(crate) const GRACE_MS: u64 = 60_000;

impl Bench {
    pub(crate) fn sweep_job(&mut self, keep: &[u64], in_progress: &[Uuid]) -> SweepJob {
        SweepJob {
            key: KEY,
            planned_ms: self.store.now_ms(),
            keep: keep.to_vec(),
            in_progress: in_progress.iter().copied().collect::<HashSet<Uuid>>(),
            grace_ms: GRACE_MS,
            clusters: vec![CLUSTER],
            clock: self.draw(),
        }
    }

    fn sweep(&self, job: &SweepJob) -> Result<SweepReport, TierError> {
        let store = self.store.clone();
        block_on(self.tier.sweep(job, &self.watch(), &move || store.now_ms()))
    }
}

#[test]
fn what_no_head_names_goes_once_it_is_older_than_the_grace() {
    let mut bench = Bench::with_pages_of(2);
    bench.fill(5, 1);
    let orphan = bench.upload(50);
    bench.commit(Vec::new(), 30);
    let number = bench.head.unwrap().number;
    let job = bench.sweep_job(&[number], &[]);
    let report = bench.sweep(&job).unwrap();
    assert_eq!(report.deleted, 0, "all is young");
    assert!(report.waiting > 0);
    bench.store.wait(GRACE_MS + 1);
    let before = bench.keys().len();
    let job = bench.sweep_job(&[number], &[]);
    let report = bench.sweep(&job).unwrap();
    // Three segments below the start, the page that held two of them, the orphan, and five manifests.
    assert_eq!((report.deleted, report.waiting), (10, 0));
    assert_eq!(bench.keys().len(), before - 10);
    assert!(bench.store.get(&orphan.entry.object_key(KEY)).is_none());
    bench.forget();
    assert_eq!(bench.read(30, 50, 1 << 20).unwrap().bytes, bytes(30, 50));
}

#[test]
fn heads_within_the_grace_and_uploads_in_progress_stay() {
    let mut bench = Bench::new();
    bench.fill(3, 3);
    let old = bench.head.unwrap();
    let upload = bench.upload(30);
    bench.commit(Vec::new(), 20);
    let new = bench.head.unwrap();
    bench.store.wait(GRACE_MS + 1);
    let job = bench.sweep_job(&[old.number, new.number], &[upload.entry.upload]);
    assert_eq!(bench.sweep(&job).unwrap().deleted, 0);
    bench.forget();
    bench.head = Some(old);
    assert_eq!(bench.read(0, 30, 1 << 20).unwrap().bytes, bytes(0, 30));
}

#[test]
fn a_sweep_that_was_held_up_deletes_nothing() {
    let mut bench = Bench::new();
    bench.fill(1, 1);
    let job = bench.sweep_job(&[1], &[]);
    // Meanwhile the same process has uploaded this, and it has become the head's.
    let uploaded = bench.upload(10);
    bench.commit(vec![uploaded], 0);
    bench.store.wait(2 * GRACE_MS);
    let before = bench.keys();
    assert!(matches!(bench.sweep(&job), Err(TierError::HeldUp { .. })));
    assert_eq!(bench.keys(), before);

    planted::plant(Some(Bug::SweepHeldUp));
    let swept = bench.sweep(&job);
    planted::plant(None);
    assert_eq!(swept.unwrap().deleted, 1, "it would take what is named");
}

#[test]
fn dates_that_were_left_over_go_as_well() {
    let mut bench = Bench::new();
    bench.fill(1, 1);
    let clock = format!("{CLUSTER}/clock/{}", Uuid::from_u128(77));
    block_on(bench.tier.store().put_if_absent(&clock, bytes(0, 5))).unwrap();
    bench.store.wait(GRACE_MS + 1);
    let job = bench.sweep_job(&[1], &[]);
    bench.sweep(&job).unwrap();
    assert!(bench.store.get(&clock).is_none());
}

#[test]
fn a_fenced_cluster_deletes_nothing() {
    let mut bench = Bench::new();
    bench.fill(3, 3);
    bench.commit(Vec::new(), 20);
    bench.store.wait(GRACE_MS + 1);
    let other = headwater_tier::Tier::new(
        std::sync::Arc::new(bench.store.clone()),
        Uuid::from_u128(0xC2),
        headwater_tier::CacheLimits {
            chunk_bytes: 1,
            meta_bytes: 1,
        },
    );
    block_on(other.put_fence(CLUSTER)).unwrap();
    let job = bench.sweep_job(&[2], &[]);
    let before = bench.keys();
    assert!(matches!(bench.sweep(&job), Err(TierError::Fenced { .. })));
    assert_eq!(bench.keys(), before);
}
