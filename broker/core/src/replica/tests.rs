//! A replica on a simulated disk, turn by turn: what is answered when, and what is refused.

mod tier;

use std::sync::Arc;

use bytes::Bytes;
use headwater_log::sim::SimDisk;
use headwater_log::{
    FileCache, Journal, JournalLimits, Log, LogConfig, LogEnv, MarkStore, Now, PartitionKey,
};
use headwater_record::{
    Batch, BatchBuilder, Compression, LeaderEpoch, Offset, ProducerIdentity, Record,
};
use uuid::Uuid;

use super::*;
use crate::metadata::Durability;

const START_MS: i64 = 1_700_000_000_000;

struct Bench {
    disk: Arc<SimDisk>,
    replica: Replica,
    now: Now,
    storage_full: bool,
    wall_clock_suspect: bool,
    next_ticket: u64,
}

fn config(durability: Durability) -> ReplicaConfig {
    ReplicaConfig {
        durability,
        message_bytes_max: 1 << 20,
        timestamp_ahead_ms_max: 3_600_000,
        min_in_sync: 1,
        background_sync_ms: 10_000,
        tiering: false,
        local_retention_ms: None,
        local_retention_bytes: None,
        log: LogConfig {
            segment_bytes: 1 << 20,
            segment_ms: 86_400_000,
            retention_ms: None,
            retention_bytes: None,
            index_interval_bytes: 4096,
            producers_max: 1_000,
        },
    }
}

impl Bench {
    fn new(durability: Durability) -> Bench {
        let mut bench = Bench::open(Arc::new(SimDisk::new(7)), config(durability));
        bench.turn([lead()]);
        bench
    }

    /// The replica as a broker finds it that starts with this disk. It leads nothing yet.
    fn open(disk: Arc<SimDisk>, config: ReplicaConfig) -> Bench {
        let marks = Arc::new(MarkStore::open(disk.clone(), 1).unwrap());
        let files = Arc::new(FileCache::new(16));
        let (journal, _) = Journal::open(disk.clone(), &marks, 1, JournalLimits::SMALL, 1).unwrap();
        let env = LogEnv {
            disk: disk.clone(),
            marks,
            journal: Arc::new(journal),
            files,
        };
        let key = PartitionKey {
            topic: Uuid::from_u128(1),
            index: 0,
        };
        let now = Now {
            monotonic_ms: 0,
            wall_ms: START_MS,
        };
        let (log, _) = Log::open(&env, key, config.log.clone(), now, false).unwrap();
        Bench {
            disk,
            replica: Replica::new(log, config),
            now,
            storage_full: false,
            wall_clock_suspect: false,
            next_ticket: 0,
        }
    }

    fn turn(&mut self, inputs: impl IntoIterator<Item = Input>) -> Vec<Output> {
        let context = TurnContext {
            now: self.now,
            storage_full: self.storage_full,
            wall_clock_suspect: self.wall_clock_suspect,
        };
        let outputs = self.replica.turn(&context, inputs);
        let publishes = |output: &Output| matches!(output, Output::Published);
        assert!(
            !outputs.iter().skip(1).any(publishes),
            "readers are shown what there is before anybody is answered"
        );
        outputs
    }

    /// One append, and the epochs file if it is the first. Returns answers that came at once.
    fn append(&mut self, append: Append) -> Vec<(u64, Result<Outcome, Refusal>)> {
        let mut outputs = self.turn([Input::Append(append)]);
        while let Some(epoch) = outputs.iter().find_map(|output| match output {
            Output::BeginEpoch(job) => {
                job.run().unwrap();
                Some(job.epoch)
            }
            _ => None,
        }) {
            outputs = self.turn([Input::EpochBegun(epoch)]);
        }
        answers(outputs)
    }

    fn sync(&mut self) -> Vec<(u64, Result<Outcome, Refusal>)> {
        let Some(job) = self.replica.take_sync_job() else {
            return Vec::new();
        };
        job.run().unwrap();
        answers(self.turn([Input::Synced(job.end)]))
    }

    fn request(&mut self, batch: Batch) -> Append {
        self.next_ticket += 1;
        let ticket = Ticket(self.next_ticket);
        Append {
            ticket,
            batch,
            acks: Acks::All,
            expected_offset: None,
            order: None,
        }
    }
}

fn lead() -> Input {
    Input::Lead {
        epoch: LeaderEpoch(1),
        in_sync: 1,
    }
}

fn answers(outputs: Vec<Output>) -> Vec<(u64, Result<Outcome, Refusal>)> {
    let answer = |output| match output {
        Output::Complete(ticket, result) => Some((ticket.0, result)),
        _ => None,
    };
    outputs.into_iter().filter_map(answer).collect()
}

fn batch_of(count: usize, producer: Option<ProducerIdentity>) -> Batch {
    let mut builder = BatchBuilder::new(Compression::None);
    if let Some(producer) = producer {
        builder = builder.producer(producer);
    }
    for index in 0..count {
        let value = Some(Bytes::from(format!("value {index}")));
        let record = Record {
            value,
            timestamp_ms: START_MS,
            ..Record::default()
        };
        builder.push(&record).unwrap();
    }
    builder.build().unwrap()
}

fn stored(result: &Result<Outcome, Refusal>) -> (u64, u64, bool) {
    match result {
        Ok(Outcome::Appended {
            appended,
            duplicate,
        }) => (
            appended.base_offset.get(),
            appended.last_offset.get(),
            *duplicate,
        ),
        other => panic!("expected an append, got {other:?}"),
    }
}

#[test]
fn in_class_fsync_nothing_is_answered_or_visible_before_the_sync() {
    let mut bench = Bench::new(Durability::Fsync);
    let request = bench.request(batch_of(3, None));
    assert!(bench.append(request).is_empty());
    assert_eq!(bench.replica.high_watermark(), Offset::ZERO);
    let answers = bench.sync();
    assert_eq!(answers.len(), 1);
    assert_eq!(stored(&answers[0].1), (0, 2, false));
    assert_eq!(bench.replica.high_watermark(), Offset::new(3));
}

#[test]
fn a_sync_answers_only_what_it_covered() {
    let mut bench = Bench::new(Durability::Fsync);
    let first = bench.request(batch_of(1, None));
    bench.append(first);
    let job = bench.replica.take_sync_job().unwrap();
    let second = bench.request(batch_of(1, None));
    bench.append(second);
    job.run().unwrap();
    let answers = answers(bench.turn([Input::Synced(job.end)]));
    assert_eq!(
        answers
            .iter()
            .map(|(ticket, _)| *ticket)
            .collect::<Vec<_>>(),
        [1]
    );
    assert_eq!(
        bench.sync().len(),
        1,
        "the second was written while the first was synced"
    );
}

#[test]
fn in_class_replicated_the_write_is_enough_and_the_sync_follows_within_its_interval() {
    let mut bench = Bench::new(Durability::Replicated);
    let request = bench.request(batch_of(2, None));
    assert_eq!(stored(&bench.append(request)[0].1), (0, 1, false));
    let wants_sync = |outputs: Vec<Output>| {
        outputs
            .iter()
            .any(|output| matches!(output, Output::NeedSync))
    };
    bench.now.monotonic_ms += 9_999;
    assert!(!wants_sync(bench.turn([Input::Tick])));
    bench.now.monotonic_ms += 1;
    assert!(wants_sync(bench.turn([Input::Tick])));
}

#[test]
fn a_retry_of_an_unsynced_batch_is_not_answered_before_the_sync_either() {
    let mut bench = Bench::new(Durability::Fsync);
    let producer = ProducerIdentity {
        id: 9,
        epoch: 0,
        base_sequence: 0,
    };
    for _ in 0..2 {
        let request = bench.request(batch_of(2, Some(producer)));
        assert!(bench.append(request).is_empty());
    }
    let answers = bench.sync();
    let outcomes: Vec<_> = answers.iter().map(|(_, result)| stored(result)).collect();
    assert_eq!(outcomes, [(0, 1, false), (0, 1, true)]);
    assert_eq!(bench.replica.log().end(), Offset::new(2), "stored once");
}

#[test]
fn sequences_epochs_and_bytes_of_a_producer_are_held_to_their_order() {
    let mut bench = Bench::new(Durability::Replicated);
    let at = |id, epoch, base_sequence| {
        Some(ProducerIdentity {
            id,
            epoch,
            base_sequence,
        })
    };
    let mut send = |batch| {
        let request = bench.request(batch);
        bench.append(request).remove(0).1
    };
    assert_eq!(
        send(batch_of(1, at(9, 0, 5))),
        Err(Refusal::UnknownProducer)
    );
    send(batch_of(2, at(9, 0, 0))).unwrap();
    let gap = Refusal::OutOfOrder {
        expected: 2,
        got: 4,
    };
    assert_eq!(send(batch_of(1, at(9, 0, 4))), Err(gap));
    send(batch_of(1, at(9, 1, 0))).unwrap();
    assert_eq!(
        send(batch_of(1, at(9, 0, 2))),
        Err(Refusal::Fenced { current_epoch: 1 })
    );
}

#[test]
fn a_conditional_append_needs_the_offset_unless_it_is_a_retry() {
    let mut bench = Bench::new(Durability::Replicated);
    let producer = Some(ProducerIdentity {
        id: 9,
        epoch: 0,
        base_sequence: 0,
    });
    let mut send = |batch, expected| {
        let mut request = bench.request(batch);
        request.expected_offset = Some(Offset::new(expected));
        bench.append(request).remove(0).1
    };
    let mismatch = Refusal::OffsetMismatch {
        expected: Offset::new(1),
        actual: Offset::ZERO,
    };
    assert_eq!(send(batch_of(1, None), 1), Err(mismatch));
    assert_eq!(stored(&send(batch_of(1, producer), 0)), (0, 0, false));
    assert_eq!(stored(&send(batch_of(1, producer), 0)), (0, 0, true));
    let mismatch = Refusal::OffsetMismatch {
        expected: Offset::ZERO,
        actual: Offset::new(1),
    };
    assert_eq!(
        send(batch_of(1, None), 0),
        Err(mismatch),
        "without identity it is a mismatch"
    );
}

#[test]
fn after_a_refusal_the_rest_of_the_window_is_refused_and_answers_keep_the_order() {
    let mut bench = Bench::new(Durability::Fsync);
    let stream = OrderStream(1);
    let send = |bench: &mut Bench, window, position, batch| {
        let mut request = bench.request(batch);
        request.order = Some(Order {
            stream,
            window,
            position,
        });
        bench.append(request)
    };
    let unknown = Some(ProducerIdentity {
        id: 9,
        epoch: 0,
        base_sequence: 5,
    });
    assert!(send(&mut bench, 0, 0, batch_of(1, None)).is_empty());
    assert!(
        send(&mut bench, 0, 1, batch_of(1, unknown)).is_empty(),
        "refused, but in line"
    );
    assert!(send(&mut bench, 0, 2, batch_of(1, None)).is_empty());
    assert!(send(&mut bench, 1, 0, batch_of(1, None)).is_empty());
    let answers = bench.sync();
    let results: Vec<_> = answers
        .into_iter()
        .map(|(_, result)| result.map(|_| ()))
        .collect();
    let refused = [Err(Refusal::UnknownProducer), Err(Refusal::OrderBroken)];
    assert_eq!(results[0], Ok(()));
    assert_eq!(results[1..3], refused);
    assert_eq!(results[3], Ok(()), "a higher window goes on");
    assert_eq!(bench.replica.log().end(), Offset::new(2));
}

#[test]
fn what_the_topic_forbids_is_refused_before_anything_is_written() {
    let mut bench = Bench::new(Durability::Replicated);
    let mut small = config(Durability::Replicated);
    small.message_bytes_max = 100;
    bench.turn([Input::Configure(small)]);
    let request = bench.request(batch_of(50, None));
    let answer = bench.append(request).remove(0).1;
    assert!(
        matches!(answer, Err(Refusal::TooLarge { max: 100, .. })),
        "{answer:?}"
    );
    bench.now.wall_ms = START_MS - 3_600_001;
    let request = bench.request(batch_of(1, None));
    let answer = bench.append(request).remove(0).1;
    assert!(
        matches!(answer, Err(Refusal::TimestampAhead { .. })),
        "{answer:?}"
    );
    bench.now.wall_ms = START_MS;
    bench.storage_full = true;
    let request = bench.request(batch_of(1, None));
    assert_eq!(bench.append(request).remove(0).1, Err(Refusal::StorageFull));
    assert_eq!(bench.replica.log().end(), Offset::ZERO);
}

#[test]
fn too_few_replicas_refuse_acks_all_and_hold_the_high_watermark() {
    let mut bench = Bench::new(Durability::Replicated);
    let mut strict = config(Durability::Replicated);
    strict.min_in_sync = 2;
    bench.turn([Input::Configure(strict)]);
    let request = bench.request(batch_of(1, None));
    let refused = Refusal::NotEnoughReplicas { in_sync: 1, min: 2 };
    assert_eq!(bench.append(request).remove(0).1, Err(refused));
    let mut request = bench.request(batch_of(1, None));
    request.acks = Acks::Leader;
    bench.append(request).remove(0).1.unwrap();
    assert_eq!(bench.replica.high_watermark(), Offset::ZERO);
}

#[test]
fn when_storage_fails_what_was_written_is_unknown_and_nothing_more_is_taken() {
    let mut bench = Bench::new(Durability::Fsync);
    let request = bench.request(batch_of(1, None));
    bench.append(request);
    let job = bench.replica.take_sync_job().unwrap();
    let failed = answers(bench.turn([Input::Abandon]));
    assert_eq!(failed, [(1, Err(Refusal::OutcomeUnknown))]);
    assert!(
        answers(bench.turn([Input::Synced(job.end)])).is_empty(),
        "a late sync is not believed"
    );
    let request = bench.request(batch_of(1, None));
    assert_eq!(
        bench.append(request).remove(0).1,
        Err(Refusal::StorageFailed)
    );
}

#[test]
fn deleted_records_are_answered_when_the_new_start_is_durable() {
    let mut bench = Bench::new(Durability::Replicated);
    let request = bench.request(batch_of(5, None));
    bench.append(request);
    let delete = |bench: &mut Bench, before: Option<u64>| {
        bench.next_ticket += 1;
        let ticket = Ticket(bench.next_ticket);
        bench.turn([Input::DeleteRecords {
            ticket,
            before: before.map(Offset::new),
        }])
    };
    let above = Refusal::AboveHighWatermark {
        asked: Offset::new(6),
        high_watermark: Offset::new(5),
    };
    assert_eq!(answers(delete(&mut bench, Some(6))), [(2, Err(above))]);
    let outputs = delete(&mut bench, Some(3));
    let job = outputs.into_iter().find_map(|output| match output {
        Output::MoveStart(job) => Some(job),
        _ => None,
    });
    let job = job.expect("the log start moves");
    job.run().unwrap();
    let done = answers(bench.turn([Input::StartMoved(job.log_start)]));
    assert_eq!(done, [(3, Ok(Outcome::StartMoved(Offset::new(3))))]);
    assert_eq!(bench.replica.log().log_start(), Offset::new(3));
    let again = answers(delete(&mut bench, Some(2)));
    assert_eq!(
        again,
        [(4, Ok(Outcome::StartMoved(Offset::new(3))))],
        "it never goes back"
    );
}

#[test]
fn whoever_hears_of_a_stored_record_finds_it() {
    for durability in [Durability::Fsync, Durability::Replicated] {
        let mut bench = Bench::new(durability);
        let first = bench.request(batch_of(1, None));
        bench.append(first);
        bench.sync();
        let append = bench.request(batch_of(1, None));
        let mut outputs = bench.turn([Input::Append(append)]);
        if let Some(job) = bench.replica.take_sync_job() {
            job.run().unwrap();
            outputs = match durability {
                Durability::Fsync => bench.turn([Input::Synced(job.end)]),
                Durability::Replicated => outputs,
            };
        }
        let place = |wanted: fn(&Output) -> bool| outputs.iter().position(wanted);
        let published = place(|output| matches!(output, Output::Published)).unwrap();
        let answered = place(|output| matches!(output, Output::Complete(..))).unwrap();
        assert!(published < answered, "{durability:?}");
    }
}
