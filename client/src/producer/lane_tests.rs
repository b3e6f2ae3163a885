//! What only a clock or a long life brings about.

use headwater_record::{BatchBuilder, Compression, Record};

use super::*;
use crate::config::ClientConfig;
use crate::producer::delivery::BatchDelivery;

const START: BootTime = BootTime(Duration::from_secs(1000));

fn lane() -> Lane {
    let backoff = Backoff::new(&ClientConfig::new("x"));
    let mut lane = Lane::new("t".into(), 0, &ProducerConfig::new(), backoff);
    assert!(lane.adopt(Identity { id: 1, epoch: 0 }));
    lane
}

fn draft(records: u32, created: BootTime) -> Draft {
    let mut builder = BatchBuilder::new(Compression::None);
    for _ in 0..records {
        builder.push(&Record::default()).expect("it is small");
    }
    let (outcome, _delivery) = BatchDelivery::channel();
    let ticket = Ticket {
        id: 0,
        held_bytes: 0,
        outcome,
    };
    Draft {
        ticket,
        content: Content::Records(builder),
        created,
    }
}

/// Takes batches of one record and sends them as requests 0, 1, ...
fn lane_with_sent(count: i64) -> Lane {
    let mut lane = lane();
    for request_seq in 0..count {
        lane.push(draft(1, START)).expect("it can be encoded");
        lane.to_send(START).expect("it is to be sent");
        lane.sent(request_seq);
    }
    lane
}

fn refusal(reason: &str, retriable: bool) -> v1::PartitionAck {
    let error = v1::Error {
        reason: reason.to_owned(),
        retriable,
        ..v1::Error::default()
    };
    v1::PartitionAck {
        error: Some(error),
        ..v1::PartitionAck::default()
    }
}

/// Everything that is sent from now on, as (base sequence, window).
fn send_all(lane: &mut Lane, now: BootTime) -> Vec<(i32, u32)> {
    let mut sent = Vec::new();
    while let Some(batch) = lane.to_send(now) {
        let sequence = batch.header().producer.expect("idempotent").base_sequence;
        lane.sent(1000 + sent.len() as i64);
        sent.push((sequence, lane.window()));
    }
    sent
}

fn reasons(resolved: &[Resolved]) -> Vec<&str> {
    let mut reasons = Vec::new();
    for (_, outcome) in resolved {
        reasons.push(outcome.as_ref().map_or_else(Error::reason, |_| "stored"));
    }
    reasons
}

#[test]
fn after_the_highest_sequence_comes_zero() {
    let mut lane = lane();
    lane.next_sequence = i32::MAX - 1;
    lane.front_sequence = i32::MAX - 1;
    for records in [1, 3, 1] {
        lane.push(draft(records, START)).expect("it can be encoded");
    }
    let sequences: Vec<_> = send_all(&mut lane, START)
        .into_iter()
        .map(|(it, _)| it)
        .collect();
    assert_eq!(sequences, [i32::MAX - 1, i32::MAX, 2]);
}

#[test]
fn nothing_is_sent_at_the_age_of_the_delivery_timeout() {
    let mut lane = lane();
    lane.push(draft(1, START)).expect("it can be encoded");
    let late = START.after(lane.timeout);
    assert!(lane.to_send(late).is_none());
    let mut resolved = Vec::new();
    lane.expire(late, &mut resolved);
    assert_eq!(reasons(&resolved), ["DELIVERY_TIMEOUT"]);
}

#[test]
fn what_hangs_on_an_unanswered_batch_is_in_doubt_with_it() {
    let mut lane = lane_with_sent(2);
    let late = START.after(lane.timeout);
    lane.push(draft(1, late)).expect("it can be encoded");
    let mut resolved = Vec::new();
    lane.expire(late, &mut resolved);
    assert_eq!(reasons(&resolved), ["OUTCOME_UNKNOWN", "OUTCOME_UNKNOWN"]);
    assert!(lane.needs_identity(), "the sequence is in doubt too");
    assert!(
        !lane.adopt(Identity { id: 1, epoch: 0 }),
        "not the same again"
    );
    assert!(lane.adopt(Identity { id: 2, epoch: 0 }));
    assert_eq!(
        send_all(&mut lane, late),
        [(0, 1)],
        "what was never sent goes on"
    );
    resolved.clear();
    lane.answered(0, v1::PartitionAck::default(), late, &mut resolved);
    assert!(
        resolved.is_empty(),
        "an answer that comes late changes nothing"
    );
}

#[test]
fn behind_a_refusal_a_lost_connection_leaves_no_doubt() {
    let mut lane = lane_with_sent(3);
    let mut resolved = Vec::new();
    lane.answered(0, refusal("TIMESTAMP_AHEAD", false), START, &mut resolved);
    lane.disconnected(START, &mut resolved);
    assert_eq!(reasons(&resolved), ["TIMESTAMP_AHEAD"]);
    assert_eq!(
        send_all(&mut lane, START),
        [(0, 1), (1, 1)],
        "they move up in the sequence"
    );
}

#[test]
fn a_retry_waits_and_keeps_its_sequence() {
    let mut lane = lane_with_sent(2);
    let mut resolved = Vec::new();
    lane.answered(
        0,
        refusal("NOT_ENOUGH_REPLICAS", true),
        START,
        &mut resolved,
    );
    assert!(lane.to_send(START).is_none(), "the second is unanswered");
    lane.answered(1, refusal("ORDER_BROKEN", false), START, &mut resolved);
    let until = lane.paused_until(START).expect("it pauses");
    assert!(lane.to_send(START).is_none());
    assert_eq!(send_all(&mut lane, until), [(0, 1), (1, 1)]);
    assert!(resolved.is_empty());
}

#[test]
fn an_unknown_outcome_is_never_tried_again() {
    let mut lane = lane_with_sent(2);
    let mut resolved = Vec::new();
    lane.answered(0, refusal("OUTCOME_UNKNOWN", true), START, &mut resolved);
    lane.answered(1, refusal("ORDER_BROKEN", false), START, &mut resolved);
    assert_eq!(reasons(&resolved), ["OUTCOME_UNKNOWN"]);
    assert!(lane.needs_identity());
}
