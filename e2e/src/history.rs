//! What was promised, and whether what is read keeps it.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use headwater_client::{Client, ConsumerRecord, Position};

/// Records by what became of them. Values are unique over the whole history.
#[derive(Debug, Default)]
pub struct History {
    /// Acknowledged: value, by partition and offset.
    acked: BTreeMap<(u32, u64), Bytes>,
    /// Two values were given the same place, which is wrong whatever is read.
    collisions: Vec<String>,
    /// Sent, and not known to be stored.
    unknown: u64,
}

impl History {
    /// The broker said that this record is stored there.
    pub fn acked(&mut self, partition: u32, offset: u64, value: Bytes) {
        if let Some(other) = self.acked.insert((partition, offset), value.clone()) {
            self.collisions.push(format!(
                "{partition}/{offset} acked for {other:?} and {value:?}"
            ));
        }
    }

    /// The sender gave up without knowing.
    pub fn unknown(&mut self) {
        self.unknown += 1;
    }

    /// How many were acknowledged.
    pub fn acked_count(&self) -> usize {
        self.acked.len()
    }

    /// How many have an unknown outcome.
    pub fn unknown_count(&self) -> u64 {
        self.unknown
    }

    /// Joins the history of another sender.
    pub fn merge(&mut self, other: History) {
        for ((partition, offset), value) in other.acked {
            self.acked(partition, offset, value);
        }
        self.collisions.extend(other.collisions);
        self.unknown += other.unknown;
    }

    /// What is wrong with `read`, all records of all partitions in the order they came in: acked
    /// records that are lost or moved, duplicates, gaps and jumps in the offsets.
    pub fn faults(&self, read: &[ConsumerRecord]) -> Vec<String> {
        let mut faults = self.collisions.clone();
        let mut next: HashMap<u32, u64> = HashMap::new();
        let mut seen: HashMap<&[u8], (u32, u64)> = HashMap::new();
        let mut found: BTreeMap<(u32, u64), &Bytes> = BTreeMap::new();
        for record in read {
            let place = (record.partition, record.offset);
            let expected = next
                .insert(record.partition, record.offset + 1)
                .unwrap_or(0);
            if record.offset != expected {
                faults.push(format!(
                    "{place:?} was read where offset {expected} was due"
                ));
            }
            let Some(value) = &record.value else {
                faults.push(format!("{place:?} has no value"));
                continue;
            };
            if let Some(first) = seen.insert(value, place) {
                faults.push(format!("{value:?} is at {first:?} and again at {place:?}"));
            }
            found.insert(place, value);
        }
        for (place, value) in &self.acked {
            match found.get(place) {
                None => faults.push(format!("{value:?}, acked at {place:?}, is lost")),
                Some(other) if *other != value => {
                    faults.push(format!(
                        "{value:?} was acked at {place:?}, which holds {other:?}"
                    ));
                }
                Some(_) => {}
            }
        }
        faults
    }
}

/// All records of a topic from the start up to the present end, in the order they came in.
pub async fn read_all(client: &Client, topic: &str) -> Vec<ConsumerRecord> {
    let consumer = client
        .consumer()
        .topic(topic, Position::Earliest)
        .until_latest(true);
    let mut consumer = consumer.build().await.expect("the topic can be read");
    let mut records = Vec::new();
    while let Some(batch) = consumer.next_batch().await.expect("the topic can be read") {
        records.extend(batch.records);
    }
    records
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn record(offset: u64, value: &'static str) -> ConsumerRecord {
        ConsumerRecord {
            topic: Arc::from("t"),
            partition: 0,
            offset,
            timestamp_ms: 0,
            key: None,
            value: Some(Bytes::from(value)),
            headers: Vec::new(),
        }
    }

    fn check(acked: &[(u64, &'static str)], read: &[(u64, &'static str)], faults: &[&str]) {
        let mut history = History::default();
        for (offset, value) in acked {
            history.acked(0, *offset, Bytes::from(*value));
        }
        let read: Vec<_> = read
            .iter()
            .map(|(offset, value)| record(*offset, value))
            .collect();
        let found = history.faults(&read);
        assert_eq!(found.len(), faults.len(), "{found:?}");
        for (found, part) in found.iter().zip(faults) {
            assert!(found.contains(part), "{found} does not contain {part}");
        }
    }

    #[test]
    fn a_true_history_has_no_faults() {
        check(&[(0, "a"), (2, "c")], &[(0, "a"), (1, "b"), (2, "c")], &[]);
    }

    #[test]
    fn loss_is_seen() {
        check(&[(0, "a"), (1, "b")], &[(0, "a")], &["is lost"]);
    }

    #[test]
    fn a_duplicate_is_seen() {
        check(&[(0, "a")], &[(0, "a"), (1, "a")], &["and again"]);
    }

    #[test]
    fn a_gap_is_seen() {
        check(&[], &[(0, "a"), (2, "b")], &["was due"]);
    }

    #[test]
    fn a_moved_record_is_seen() {
        check(&[(0, "a")], &[(0, "b"), (1, "a")], &["which holds"]);
    }

    #[test]
    fn one_place_for_two_records_is_seen() {
        check(&[(0, "a"), (0, "b")], &[(0, "b")], &["acked for"]);
    }
}
