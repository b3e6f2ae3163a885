//! Total retention, over pages and tail.

use headwater_log::Now;
use headwater_log::planted::{self, Bug};
use headwater_record::Offset;
use headwater_tier::{RetainJob, Retention};

use crate::bench::{Bench, KEY, SEGMENT, at, block_on};

impl Bench {
    fn retain(
        &self,
        log_start: u64,
        ms: Option<u64>,
        bytes: Option<u64>,
        wall_ms: i64,
    ) -> Option<Offset> {
        self.retain_beside((1_000, 0), log_start, ms, bytes, wall_ms)
    }

    /// With so many bytes in a local segment from an offset on, which is not sealed.
    fn retain_beside(
        &self,
        (local_start, active_bytes): (u64, u64),
        log_start: u64,
        ms: Option<u64>,
        bytes: Option<u64>,
        wall_ms: i64,
    ) -> Option<Offset> {
        let job = RetainJob {
            key: KEY,
            head: self.head,
            log_start: at(log_start),
            local_start: at(local_start),
            sealed: Vec::new(),
            active_bytes,
            committed: at(1_000),
            retention: Retention { ms, bytes },
            now: Now {
                monotonic_ms: 0,
                wall_ms,
            },
        };
        block_on(self.tier.retain(&job)).unwrap()
    }

    fn bytes_from(&self, offset: u64) -> u64 {
        let entries = self.entries();
        let left = entries.iter().filter(|entry| entry.end > at(offset));
        left.map(|entry| entry.segment_bytes).sum()
    }
}

#[test]
fn bytes_are_kept_to_the_segment_wherever_it_stands() {
    for pages_of in [2, 3, 5, 1_000] {
        let mut bench = Bench::with_pages_of(pages_of);
        bench.fill(17, 1);
        for log_start in (0..170).step_by(5) {
            let total = bench.bytes_from(log_start);
            for kept in (0..total + 200).step_by(97) {
                let start = bench.retain(log_start, None, Some(kept), 0);
                let first = log_start / SEGMENT * SEGMENT;
                let ends = (first + SEGMENT..=170).step_by(SEGMENT as usize);
                let expected = ends.take_while(|&end| bench.bytes_from(end) >= kept).last();
                assert_eq!(
                    start,
                    expected.map(at),
                    "{pages_of} from {log_start} keep {kept}"
                );
            }
        }
    }
}

#[test]
fn age_takes_whole_segments_and_pages_in_part() {
    for pages_of in [2, 3, 1_000] {
        let mut bench = Bench::with_pages_of(pages_of);
        bench.fill(8, 1);
        // A segment's records were appended at its end's offset, in milliseconds.
        for wall_ms in 0..200 {
            let old = (wall_ms as u64).saturating_sub(50) / SEGMENT * SEGMENT;
            let expected = Some(old.min(80)).filter(|&old| old > 0).map(at);
            assert_eq!(
                bench.retain(0, Some(50), None, wall_ms),
                expected,
                "{pages_of} {wall_ms}"
            );
        }
    }
}

#[test]
fn what_two_objects_hold_counts_once() {
    let mut bench = Bench::new();
    bench.fill(2, 1);
    // The segment from 10 on grew after a crash and went up once more; it counts from 20 on.
    let mut grown = bench.upload(10);
    grown.entry.start = at(20);
    grown.entry.end = at(25);
    bench.commit(vec![grown], 0);
    let segment_bytes = bench.entries()[1].segment_bytes;
    let kept = Some(segment_bytes + 1);
    assert_eq!(
        bench.retain(0, None, kept, 0),
        None,
        "one segment and a bit stay"
    );
    assert_eq!(bench.retain(0, None, Some(segment_bytes), 0), Some(at(10)));

    planted::plant(Some(Bug::RetainCountsOverlap));
    let start = bench.retain(0, None, kept, 0);
    planted::plant(None);
    assert_eq!(start, Some(at(10)), "less than was asked for would stay");
}

#[test]
fn what_the_tier_has_of_the_active_segment_counts_once() {
    let mut bench = Bench::new();
    bench.fill(3, 1);
    let last = bench.entries()[2].segment_bytes;
    let kept = Some(2 * last);
    // Uploaded when it was sealed, and after a restart the active one again.
    let start = bench.retain_beside((20, last), 0, None, kept, 0);
    assert_eq!(start, Some(at(10)), "20..30 is no third segment");
    let start = bench.retain_beside((30, last), 0, None, kept, 0);
    assert_eq!(start, Some(at(20)), "30.. is one");
}
