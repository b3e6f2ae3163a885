//! What goes from the local disk because it is in the tier, and what never does.

use headwater_log::sim::{Fault, SimOp};

use super::*;

/// Records of each segment.
const RECORDS: u64 = 10;
/// Between the appends of two segments.
const MINUTE_MS: u64 = 60_000;

/// A tiered topic that keeps its local copies as long as the records. The replica's own retention
/// would take all that is sealed at once.
fn tiered() -> ReplicaConfig {
    let mut config = config(Durability::Fsync);
    config.tiering = true;
    config.log.segment_bytes = 64;
    config.log.retention_bytes = Some(1);
    config
}

/// A replica of that many sealed segments, a minute apart, and an active one.
fn filled(config: ReplicaConfig, sealed: u64) -> Bench {
    let mut bench = Bench::new(Durability::Fsync);
    bench.turn([Input::Configure(config)]);
    for _ in 0..=sealed {
        let request = bench.request(batch_of(RECORDS as usize, None));
        bench.append(request);
        bench.sync();
        bench.now.wall_ms += MINUTE_MS as i64;
        bench.now.monotonic_ms += MINUTE_MS;
    }
    let view = bench.replica.tier_view();
    assert_eq!(view.sealed.len() as u64, sealed);
    assert_eq!(
        (view.limit, view.end),
        (segment(sealed + 1), segment(sealed + 1))
    );
    bench
}

/// Where segment `number` begins.
fn segment(number: u64) -> Offset {
    Offset::new(number * RECORDS)
}

impl Bench {
    /// A turn, with what it asks for done: the starts, as numbers of segments, and how many segments
    /// are on the disk.
    fn settle(&mut self, input: Input) -> (u64, u64, usize) {
        let outputs = self.turn([input]);
        for output in outputs {
            if let Output::MoveStart(job) = output {
                job.run().unwrap();
                let outputs = self.turn([Input::StartMoved(job.log_start)]);
                let reclaims = |output: &Output| matches!(output, Output::NeedReclaim);
                assert!(outputs.iter().any(reclaims));
            }
        }
        while self.replica.reclaim(1).unwrap() {}
        let log = self.replica.log();
        (
            log.log_start().get() / RECORDS,
            log.local_start().get() / RECORDS,
            log.segment_count(),
        )
    }
}

fn head(end: u64) -> Input {
    Input::Tiered {
        end: segment(end),
        eager: false,
    }
}

fn eager(end: u64) -> Input {
    Input::Tiered {
        end: segment(end),
        eager: true,
    }
}

fn retain(start: u64) -> Input {
    Input::Retain {
        start: segment(start),
    }
}

#[test]
fn what_is_not_in_the_tier_stays_whatever_asks_for_its_room() {
    let greedy = ReplicaConfig {
        local_retention_ms: Some(0),
        local_retention_bytes: Some(0),
        ..tiered()
    };
    let mut bench = filled(greedy, 4);
    bench.storage_full = true;
    assert_eq!(bench.settle(Input::Tick), (0, 0, 5));
    assert_eq!(bench.settle(eager(0)), (0, 0, 5));
    let within = Input::Tiered {
        end: segment(2).plus(3),
        eager: true,
    };
    assert_eq!(bench.settle(within), (0, 2, 3), "whole segments only");
    assert_eq!(bench.settle(Input::Tick), (0, 2, 3));
    assert_eq!(
        bench.settle(eager(5)),
        (0, 4, 1),
        "never what is appended to"
    );
}

#[test]
fn an_eager_tier_takes_the_local_copies_with_the_head() {
    let mut bench = filled(tiered(), 3);
    assert_eq!(bench.settle(eager(2)), (0, 2, 2));
    assert_eq!(bench.settle(eager(3)), (0, 3, 1));
    let view = bench.replica.tier_view();
    assert_eq!((view.log_start, view.local_start), (segment(0), segment(3)));
    assert!(view.sealed.is_empty());
}

#[test]
fn the_local_start_is_shown_to_readers_before_a_copy_goes() {
    let mut bench = filled(tiered(), 2);
    let outputs = bench.turn([eager(1)]);
    assert!(matches!(
        outputs.as_slice(),
        [Output::Published, Output::MoveStart(job)] if job.local_start == segment(1)
    ));
    assert_eq!(bench.replica.view().local_start(), segment(1));
    assert!(!bench.replica.reclaim(9).unwrap());
    assert_eq!(
        bench.replica.log().segment_count(),
        3,
        "nothing is unlinked before the local start is durable"
    );
}

#[test]
fn local_copies_stay_as_long_as_local_retention_says() {
    let by_age = ReplicaConfig {
        local_retention_ms: Some(3 * MINUTE_MS),
        ..tiered()
    };
    let mut bench = filled(by_age, 4);
    bench.settle(head(4));
    // Appended five, four, three and two minutes ago, of which one minute is not known.
    assert_eq!(bench.settle(Input::Tick), (0, 2, 3));

    let mut bench = filled(tiered(), 4);
    bench.settle(head(4));
    assert_eq!(bench.settle(Input::Tick), (0, 0, 5), "there is no bound");
    let segment_bytes = bench.replica.tier_view().sealed[0].size_bytes;
    let by_size = ReplicaConfig {
        local_retention_bytes: Some(3 * segment_bytes),
        ..tiered()
    };
    bench.turn([Input::Configure(by_size)]);
    assert_eq!(bench.settle(Input::Tick), (0, 2, 3));
}

#[test]
fn while_storage_is_full_everything_that_is_safe_in_the_tier_goes() {
    let mut bench = filled(tiered(), 4);
    bench.settle(head(3));
    assert_eq!(bench.settle(Input::Tick), (0, 0, 5));
    bench.storage_full = true;
    assert_eq!(bench.settle(Input::Tick), (0, 3, 2));
}

#[test]
fn on_a_disk_that_is_too_full_to_roll_the_copies_go_all_the_same() {
    let mut bench = filled(tiered(), 3);
    bench.settle(head(3));
    bench.now.monotonic_ms += 86_400_000;
    bench.storage_full = true;
    let fault = bench.disk.inject(Fault::once(SimOp::Open).full());
    assert_eq!(bench.settle(Input::Tick), (0, 3, 1));
    assert_eq!(bench.disk.struck(fault), 1, "the active segment was due");
}

#[test]
fn a_suspect_wall_clock_sends_no_local_copy_away_by_age() {
    let both = ReplicaConfig {
        local_retention_ms: Some(MINUTE_MS),
        local_retention_bytes: Some(1 << 20),
        ..tiered()
    };
    let mut bench = filled(both.clone(), 4);
    bench.settle(head(4));
    bench.wall_clock_suspect = true;
    assert_eq!(bench.settle(Input::Tick), (0, 0, 5));
    let at_once = ReplicaConfig {
        local_retention_bytes: Some(1),
        ..both.clone()
    };
    bench.turn([Input::Configure(at_once)]);
    assert_eq!(
        bench.settle(Input::Tick),
        (0, 4, 1),
        "bytes need no clock: the active segment is enough"
    );
    let mut bench = filled(both, 4);
    bench.settle(head(4));
    assert_eq!(bench.settle(Input::Tick), (0, 4, 1));
}

#[test]
fn total_retention_of_a_tiered_topic_is_the_planners() {
    let mut bench = filled(tiered(), 4);
    assert_eq!(
        bench.settle(Input::Tick),
        (0, 0, 5),
        "its own retention would leave the active segment"
    );
    bench.settle(eager(2));
    assert_eq!(bench.settle(retain(1)), (1, 2, 3));
    assert_eq!(bench.settle(retain(1)), (1, 2, 3), "it is there already");
    assert_eq!(bench.settle(retain(0)), (1, 2, 3), "it never goes back");
    assert_eq!(
        bench.settle(retain(3)),
        (3, 3, 2),
        "the local start is not left behind"
    );
}

#[test]
fn a_log_start_beyond_the_high_watermark_is_ignored() {
    let mut bench = filled(tiered(), 2);
    assert_eq!(bench.settle(retain(4)), (0, 0, 3));
    assert!(bench.turn([retain(4)]).is_empty());
    assert_eq!(bench.settle(retain(3)).0, 3);
}

#[test]
fn a_replica_that_does_not_lead_moves_no_log_start() {
    let mut bench = filled(tiered(), 2);
    bench.replica.leader_epoch = None;
    assert!(bench.turn([retain(1)]).is_empty());
    assert_eq!(bench.replica.log().log_start(), Offset::ZERO);
}

#[test]
fn with_tiering_turned_off_the_planner_stays_until_nothing_is_in_the_tier() {
    let mut bench = filled(tiered(), 4);
    bench.settle(head(2));
    let off = ReplicaConfig {
        tiering: false,
        local_retention_ms: Some(0),
        ..tiered()
    };
    bench.turn([Input::Configure(off)]);
    assert_eq!(
        bench.settle(Input::Tick),
        (0, 2, 3),
        "what is in the tier alone is still read, and the rest is not in it"
    );
    bench.storage_full = true;
    assert_eq!(bench.settle(Input::Tick), (0, 2, 3));
    bench.storage_full = false;
    // From here on nothing is in the tier, and its own retention takes all that is sealed.
    assert_eq!(bench.settle(retain(2)), (2, 2, 3));
    assert_eq!(bench.settle(Input::Tick), (4, 4, 1));
}

#[test]
fn a_replica_that_has_not_heard_of_a_head_yet_leaves_what_is_in_the_tier_alone() {
    let mut bench = filled(tiered(), 4);
    bench.settle(eager(2));
    let Bench { replica, .. } = bench;
    let off = ReplicaConfig {
        tiering: false,
        ..tiered()
    };
    bench.replica = Replica::new(replica.log, off);
    bench.turn([Input::Lead {
        epoch: LeaderEpoch(2),
        in_sync: 1,
    }]);
    assert_eq!(bench.settle(Input::Tick), (0, 2, 3));
}

#[test]
fn a_head_that_ends_behind_the_log_vouches_for_nothing_that_is_written_later() {
    let mut bench = filled(tiered(), 1);
    bench.settle(eager(9));
    assert_eq!(bench.settle(Input::Tick), (0, 1, 1));
    for _ in 0..3 {
        let request = bench.request(batch_of(RECORDS as usize, None));
        bench.append(request);
        bench.sync();
    }
    assert_eq!(
        bench.settle(Input::Tick),
        (0, 2, 3),
        "the tier had these two segments when the head came, or the log has lost its end"
    );
}

#[test]
fn a_failed_replica_drops_nothing() {
    let mut bench = filled(tiered(), 2);
    bench.turn([Input::Abandon]);
    assert!(bench.turn([eager(2), retain(1), Input::Tick]).is_empty());
    assert_eq!(bench.replica.log().local_start(), Offset::ZERO);
}

#[test]
fn what_a_stop_kept_from_being_reclaimed_goes_at_the_next_start() {
    let mut bench = filled(tiered(), 3);
    let outputs = bench.turn([eager(3)]);
    let job = outputs.into_iter().find_map(|output| match output {
        Output::MoveStart(job) => Some(job),
        _ => None,
    });
    // The broker stops when the start has moved and before the segments are unlinked.
    job.expect("all that is sealed may go").run().unwrap();
    let disk = bench.disk.clone();
    drop(bench);
    let mut bench = Bench::open(disk, tiered());
    let outputs = bench.turn([lead()]);
    assert!(matches!(
        outputs[..],
        [Output::Published, Output::NeedReclaim]
    ));
    while bench.replica.reclaim(1).unwrap() {}
    let log = bench.replica.log();
    assert_eq!((log.local_start(), log.segment_count()), (segment(3), 1));
}
