//! Positions, and times above all, on both sides of the border.

use headwater_proto::v1::position::Position;

use super::*;
use crate::position;

const DAY: i64 = 1_357_000_000_000;

/// Three records have each time.
fn time(n: i64) -> i64 {
    DAY + n / 3 * 1_000
}

impl Harness {
    async fn fill_timed(&mut self, range: std::ops::Range<i64>) {
        for first in range.clone().step_by(20) {
            let records = (first..(first + 20).min(range.end)).map(|n| v1::Record {
                value: Some(value(n as usize).into()),
                timestamp_ms: Some(time(n)),
                ..v1::Record::default()
            });
            let request = v1::ProduceRequest {
                topic: "t".to_owned(),
                partition: Some(0),
                records: records.collect(),
                ..v1::ProduceRequest::default()
            };
            self.producer.produce(request).await.unwrap();
        }
    }

    async fn look_up(&mut self, asked: Position) -> (i64, Option<i64>) {
        let question = v1::ListOffsetsPartition {
            partition: 0,
            position: Some(position(asked)),
        };
        let request = v1::ListOffsetsRequest {
            topic: "t".to_owned(),
            partitions: vec![question],
        };
        let answer = self.topics.list_offsets(request).await.unwrap();
        let answer = answer.into_inner().offsets.remove(0);
        assert_eq!(answer.error, None, "{asked:?}");
        (answer.offset, answer.timestamp_ms)
    }

    /// Every time is found at the first record that has it.
    async fn assert_times(&mut self, start: i64, end: i64) {
        for n in (start..end).step_by(7) {
            let first = (n / 3 * 3).max(start);
            let found = self.look_up(Position::TimestampMs(time(n))).await;
            assert_eq!(found, (first, Some(time(n))), "at {n}");
            let behind = (n / 3 + 1) * 3;
            let found = self.look_up(Position::TimestampMs(time(n) + 1)).await;
            let expected = match behind < end {
                true => (behind, Some(time(behind))),
                false => (end, None),
            };
            assert_eq!(found, expected, "behind {n}");
        }
        let before = self.look_up(Position::TimestampMs(0)).await;
        assert_eq!(before, (start, Some(time(start))));
        let after = self.look_up(Position::TimestampMs(DAY * 2)).await;
        assert_eq!(after, (end, None));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn times_are_found_in_the_tier_in_the_overlap_and_on_the_disk() {
    let bucket = Bucket::start().await;
    let mut harness = bucket.broker().await;
    let config = v1::TopicConfig {
        // About a third of what is in the tier is on the disk as well.
        local_retention_bytes: Some(4 * SEGMENT_BYTES),
        ..small_segments()
    };
    harness.create_with("t", 1, config).await.unwrap();
    harness.fill_timed(0..900).await;
    let status = harness
        .settle_if("t", |part| part.local_start_offset > 300)
        .await;
    let part = &status[0];
    assert!(
        Some(part.local_start_offset) < part.tier_end_offset,
        "{part:?}"
    );
    assert!(part.tier_end_offset < Some(900), "{part:?}");
    harness.assert_times(0, 900).await;

    // The same with nothing in memory, and with nothing to be had of the overlap: the disk has that.
    let mut harness = bucket.restart(harness).await;
    let local = harness.tier_of("t").await[0].local_start_offset;
    for key in bucket.segments() {
        let base: i64 = key.rsplit('/').next().unwrap()[..20].parse().unwrap();
        if base >= local {
            bucket.server.lose(&key);
        }
    }
    harness.assert_times(0, 900).await;
    assert_eq!(harness.look_up(Position::LastN(5)).await, (895, None));
    let earliest = Position::Bound(v1::Bound::Earliest.into());
    assert_eq!(harness.look_up(earliest).await, (0, None));
    let data = harness
        .fetch("t", 0, position(Position::TimestampMs(time(100))))
        .await
        .unwrap();
    assert_eq!(data.records[0].offset, 99);

    // Below a log start that lies in the middle of an object nothing is found.
    let request = v1::DeleteRecordsRequest {
        topic: "t".to_owned(),
        partitions: vec![v1::DeleteRecordsPartition {
            partition: 0,
            before_offset: 125,
        }],
    };
    harness.topics.delete_records(request).await.unwrap();
    harness.assert_times(125, 900).await;
    let refused = harness.fetch("t", 0, offset(124)).await.unwrap();
    assert_eq!(refused.error.unwrap().reason, "OFFSET_OUT_OF_RANGE");
    let data = harness.fetch("t", 0, offset(125)).await.unwrap();
    assert_eq!(data.records[0].offset, 125);
    harness.broker.stop().await.unwrap();
}
