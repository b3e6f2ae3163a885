use std::collections::HashSet;

use headwater_log::Epochs;

use super::*;
use crate::manifest::Entry;
use crate::store::{StoreError, StoreErrorKind};

const KEY: PartitionKey = PartitionKey {
    topic: Uuid::from_u128(1),
    index: 0,
};
const GRACE_MS: u64 = 60_000;

fn at(offset: u64) -> Offset {
    Offset::new(offset)
}

fn now(ms: u64) -> Now {
    Now {
        monotonic_ms: ms,
        wall_ms: ms as i64,
    }
}

fn policy() -> Policy {
    Policy {
        tiering: true,
        retention: Retention::default(),
        wall_clock_suspect: false,
        retain_interval_ms: 1_000,
        grace_ms: GRACE_MS,
        sweep_interval_ms: 3_600_000,
        clusters: vec![Uuid::from_u128(9)],
    }
}

fn log(log_start: u64, ranges: &[(u64, u64)]) -> LogState {
    let segment = |&(base, end): &(u64, u64)| SealedSegment {
        base_offset: at(base),
        end_offset: at(end),
        size_bytes: 100,
        latest_append_ms: Some(5),
    };
    LogState {
        log_start: at(log_start),
        local_start: at(ranges.first().map_or(log_start, |range| range.0)),
        committed: at(1_000),
        sealed: ranges.iter().map(segment).collect(),
        active_bytes: 10,
    }
}

fn head(number: u64, start: u64, end: u64) -> Head {
    Head {
        number,
        leader_epoch: LeaderEpoch(1),
        start: at(start),
        end: at(end),
    }
}

struct Bench {
    partition: Partition,
    policy: Policy,
    drawn: u128,
}

impl Bench {
    fn new(head: Option<Head>) -> Bench {
        let policy = policy();
        Bench {
            partition: Partition::new(KEY, LeaderEpoch(1), head, now(0), &policy, 0),
            policy,
            drawn: 0,
        }
    }

    fn plan(&mut self, head: Option<Head>, log: &LogState, ms: u64) -> Vec<Action> {
        let drawn = &mut self.drawn;
        let mut draw = || {
            *drawn += 1;
            Uuid::from_u128(*drawn)
        };
        self.partition
            .plan(head, log, &self.policy, now(ms), &mut draw)
    }

    fn finish(&mut self, job: &UploadJob) {
        self.partition.uploaded(job, Ok(uploaded(job)), now(0), 0);
    }
}

fn uploaded(job: &UploadJob) -> Uploaded {
    Uploaded {
        entry: Entry {
            base_offset: job.base_offset,
            leader_epoch: job.leader_epoch,
            upload: job.upload,
            origin: Uuid::from_u128(9),
            start: job.start,
            end: job.end_offset,
            segment_bytes: 100,
            footer_bytes: 10,
            crc: 0,
            max_timestamp_ms: 0,
            latest_append_ms: Some(5),
        },
        epochs: Epochs::default(),
    }
}

fn uploads(actions: &[Action]) -> Vec<UploadJob> {
    let job = |action: &Action| match action {
        Action::Upload(job) => Some(job.clone()),
        _ => None,
    };
    actions.iter().filter_map(job).collect()
}

fn writes(actions: &[Action]) -> Vec<CommitJob> {
    let job = |action: &Action| match action {
        Action::Write(job) => Some(job.clone()),
        _ => None,
    };
    actions.iter().filter_map(job).collect()
}

fn ranges(jobs: &[UploadJob]) -> Vec<(u64, u64)> {
    jobs.iter()
        .map(|job| (job.start.get(), job.end_offset.get()))
        .collect()
}

fn unavailable() -> TierError {
    TierError::Store(StoreError {
        kind: StoreErrorKind::Unavailable,
        action: "write",
        key: "k".to_owned(),
        detail: "no answer".to_owned(),
    })
}

#[test]
fn segments_go_up_in_order_and_share_a_manifest() {
    let mut bench = Bench::new(None);
    let log = log(0, &[(0, 10), (10, 20), (20, 30)]);
    let first = uploads(&bench.plan(None, &log, 0));
    assert_eq!(ranges(&first), [(0, 10), (10, 20)], "two at once");
    bench.finish(&first[1]);
    let actions = bench.plan(None, &log, 1);
    assert!(writes(&actions).is_empty(), "the first is not there yet");
    assert_eq!(ranges(&uploads(&actions)), [(20, 30)]);
    bench.finish(&first[0]);
    let write = writes(&bench.plan(None, &log, 2));
    let starts: Vec<u64> = write[0]
        .uploaded
        .iter()
        .map(|done| done.entry.start.get())
        .collect();
    assert_eq!(starts, [0, 10]);
    assert!(
        writes(&bench.plan(None, &log, 3)).is_empty(),
        "one write at a time"
    );
}

#[test]
fn what_the_head_holds_is_not_uploaded_again() {
    let mut bench = Bench::new(Some(head(4, 0, 15)));
    let log = log(0, &[(0, 10), (10, 20)]);
    let actions = bench.plan(Some(head(4, 0, 15)), &log, 0);
    let jobs = uploads(&actions);
    assert_eq!(ranges(&jobs), [(15, 20)], "counts from the head's end");
    assert_eq!(jobs[0].base_offset, at(10), "though the object holds more");
}

#[test]
fn a_failed_upload_is_tried_again_under_another_id_after_a_pause() {
    let mut bench = Bench::new(None);
    let log = log(0, &[(0, 10), (10, 20)]);
    let jobs = uploads(&bench.plan(None, &log, 0));
    bench
        .partition
        .uploaded(&jobs[0], Err(unavailable()), now(0), 0);
    assert!(bench.plan(None, &log, 1).is_empty());
    // The answer of the second one, which was forgotten with the first.
    bench.finish(&jobs[1]);
    let again = uploads(&bench.plan(None, &log, 1_000));
    assert_eq!(ranges(&again), [(0, 10), (10, 20)]);
    let ids: HashSet<Uuid> = jobs.iter().chain(&again).map(|job| job.upload).collect();
    assert_eq!(ids.len(), 4);
    assert!(
        bench
            .partition
            .last_error()
            .unwrap()
            .reason
            .contains("no answer")
    );
}

#[test]
fn a_lost_answer_of_the_metadata_is_found_in_its_head() {
    let mut bench = Bench::new(None);
    let log = log(0, &[(0, 10), (10, 20)]);
    for job in uploads(&bench.plan(None, &log, 0)) {
        bench.finish(&job);
    }
    let write = writes(&bench.plan(None, &log, 1)).remove(0);
    let proposal = bench
        .partition
        .written(&write, Ok(head(1, 0, 20)), now(1), 0);
    assert_eq!(proposal.unwrap().parent, None);
    bench.partition.committed(Some("no answer"), now(1), 0);
    let actions = bench.plan(Some(head(1, 0, 20)), &log, 100_000);
    assert!(uploads(&actions).is_empty() && writes(&actions).is_empty());
}

#[test]
fn after_a_refusal_nothing_goes_on_behind_a_gap() {
    let mut bench = Bench::new(None);
    let log = log(0, &[(0, 10), (10, 20)]);
    let jobs = uploads(&bench.plan(None, &log, 0));
    bench.finish(&jobs[0]);
    let write = writes(&bench.plan(None, &log, 1)).remove(0);
    let written = bench
        .partition
        .written(&write, Ok(head(1, 0, 10)), now(1), 0);
    assert!(written.is_some());
    bench.partition.committed(Some("no answer"), now(1), 0);
    // The second one, which was under way; it has no place as long as the first has none.
    bench.finish(&jobs[1]);
    let actions = bench.plan(None, &log, 100_000);
    assert!(writes(&actions).is_empty());
    assert_eq!(ranges(&uploads(&actions)), [(0, 10), (10, 20)]);
}

#[test]
fn behind_a_gap_that_nobody_can_read_the_tier_goes_on() {
    let mut bench = Bench::new(Some(head(4, 0, 10)));
    // Tiering was off; retention has taken 10 to 30.
    let gap = log(30, &[(30, 40)]);
    let jobs = uploads(&bench.plan(Some(head(4, 0, 10)), &gap, 0));
    assert_eq!(ranges(&jobs), [(30, 40)]);
    let mut bench = Bench::new(Some(head(4, 0, 10)));
    let readable = log(20, &[(30, 40)]);
    assert!(uploads(&bench.plan(Some(head(4, 0, 10)), &readable, 0)).is_empty());
}

#[test]
fn nothing_is_uploaded_while_tiering_is_off_and_the_start_still_moves() {
    let mut bench = Bench::new(Some(head(4, 0, 10)));
    bench.policy.tiering = false;
    let actions = bench.plan(Some(head(4, 0, 10)), &log(5, &[(10, 20)]), 0);
    assert!(uploads(&actions).is_empty());
    assert_eq!(writes(&actions)[0].log_start, at(5));
}

#[test]
fn a_sweep_waits_for_the_grace_and_keeps_heads_that_were_replaced_within_it() {
    let mut bench = Bench::new(Some(head(4, 0, 10)));
    bench.policy.tiering = false;
    let log = log(0, &[]);
    let sweeps = |actions: Vec<Action>| {
        actions.into_iter().find_map(|action| match action {
            Action::Sweep(job) => Some(job),
            _ => None,
        })
    };
    assert!(sweeps(bench.plan(Some(head(4, 0, 10)), &log, GRACE_MS - 1)).is_none());
    let moved = Some(head(5, 3, 10));
    let job = sweeps(bench.plan(moved, &log, GRACE_MS)).unwrap();
    assert_eq!(job.keep, [4, 5]);
    bench
        .partition
        .swept(&job, Ok(SweepReport::default()), now(GRACE_MS), 0);
    bench.partition.sweep_at_ms = 0;
    let job = sweeps(bench.plan(moved, &log, 2 * GRACE_MS)).unwrap();
    assert_eq!(job.keep, [5]);
}

#[test]
fn a_sweep_keeps_the_pages_of_a_manifest_under_way_however_long_it_takes() {
    let in_progress = |bug| {
        let mut bench = Bench::new(Some(head(4, 0, 10)));
        let log = log(0, &[(0, 10), (10, 20)]);
        let jobs = uploads(&bench.plan(Some(head(4, 0, 10)), &log, 0));
        bench.finish(&jobs[0]);
        let write = writes(&bench.plan(Some(head(4, 0, 10)), &log, 1));
        planted::plant(bug);
        let actions = bench.plan(Some(head(4, 0, 10)), &log, 2 * GRACE_MS);
        planted::plant(None);
        let sweep = actions.into_iter().find_map(|action| match action {
            Action::Sweep(job) => Some(job),
            _ => None,
        });
        let pages: Vec<Uuid> = write[0].pages().collect();
        (sweep.unwrap().in_progress, pages)
    };
    let (kept, pages) = in_progress(None);
    assert_eq!(pages.len(), 1);
    assert!(pages.iter().all(|page| kept.contains(page)), "{kept:?}");
    let (kept, pages) = in_progress(Some(Bug::SweepForgetsPages));
    assert!(!kept.contains(&pages[0]));
}

#[test]
fn a_fenced_partition_does_nothing_more() {
    let mut bench = Bench::new(None);
    let log = log(0, &[(0, 10)]);
    let jobs = uploads(&bench.plan(None, &log, 0));
    let fenced = TierError::Fenced { by: "x".to_owned() };
    bench.partition.uploaded(&jobs[0], Err(fenced), now(0), 0);
    assert!(bench.plan(None, &log, u64::MAX / 2).is_empty());
    assert!(bench.partition.is_fenced());
}
