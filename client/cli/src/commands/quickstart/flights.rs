//! The sample, and the check that what comes back is what went in.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::LazyLock;

use headwater_client::ConsumerRecord;
use serde::Deserialize;

use crate::failure::{Failure, Outcome};
use crate::records::read::Sink;
use crate::records::render::{RecordFormat, Renderer};
use crate::talk::Paint;
use crate::units::show_count;

/// 842 flights that left New York on 2013-01-01, one a line.
pub(super) const SAMPLE: &str =
    include_str!("../../../../../examples/data/flights-2013-01-01.ndjson");

/// 12:00 of that day in New York, in milliseconds since the epoch.
pub(super) const NOON_MS: i64 = 1_357_059_600_000;

/// An aircraft that flew four times that day.
const KEY: &str = "N730MQ";

/// Line to its place in the sample.
static PLACES: LazyLock<HashMap<&str, usize>> = LazyLock::new(|| {
    SAMPLE
        .lines()
        .enumerate()
        .map(|(place, line)| (line, place))
        .collect()
});

/// What the value of a record says.
#[derive(Deserialize)]
struct Flight<'a> {
    carrier: &'a str,
    flight: u32,
    origin: &'a str,
    dest: &'a str,
    sched_dep: &'a str,
}

/// One line for people; records that are no flights as they are.
pub(super) fn show(record: &ConsumerRecord) -> String {
    let value = record.value.as_deref().unwrap_or_default();
    let key = String::from_utf8_lossy(record.key.as_deref().unwrap_or(b"-"));
    let place = format!("{}/{}", record.partition, record.offset);
    let what = match serde_json::from_slice::<Flight<'_>>(value) {
        Ok(Flight {
            carrier,
            flight,
            origin,
            dest,
            sched_dep,
        }) => {
            let time = sched_dep.get(11..16).unwrap_or(sched_dep);
            format!("{time}  {carrier} {flight:<5} {origin} → {dest}")
        }
        Err(_) => String::from_utf8_lossy(value).escape_debug().to_string(),
    };
    format!("{place:>6}  {key:<7} {what}")
}

/// Everything that was read, compared with the sample as it comes.
pub(super) struct ReadBack {
    renderer: Renderer,
    line: Vec<u8>,
    /// Which lines of the sample came back.
    seen: Vec<bool>,
    /// Records that are not of the sample.
    others: u64,
    /// Place in the sample of each key's latest record.
    latest: HashMap<Vec<u8>, usize>,
    /// Whether every key's records came in the order of the sample.
    ordered: bool,
    of_key: Vec<ConsumerRecord>,
}

impl Default for ReadBack {
    fn default() -> ReadBack {
        ReadBack {
            renderer: Renderer::new(RecordFormat::Ndjson, Paint::PLAIN, false),
            line: Vec::new(),
            seen: vec![false; SAMPLE.lines().count()],
            others: 0,
            latest: HashMap::new(),
            ordered: true,
            of_key: Vec::new(),
        }
    }
}

impl Sink for ReadBack {
    fn record(&mut self, record: &ConsumerRecord) -> Outcome<ControlFlow<()>> {
        self.line.clear();
        self.renderer.render(&mut self.line, record);
        let line = std::str::from_utf8(&self.line)
            .unwrap_or_default()
            .trim_end();
        match PLACES.get(line) {
            Some(place) if !self.seen[*place] => {
                self.seen[*place] = true;
                let key = record.key.as_deref().unwrap_or_default().to_vec();
                let before = self.latest.insert(key, *place);
                self.ordered &= before.is_none_or(|before| before < *place);
            }
            _ => self.others += 1,
        }
        if record.key.as_deref() == Some(KEY.as_bytes()) {
            self.of_key.push(record.clone());
        }
        Ok(ControlFlow::Continue(()))
    }

    fn pause(&mut self) -> Outcome {
        Ok(())
    }
}

/// What reading everything showed.
pub(super) struct Verdict {
    pub(super) summary: String,
    /// What a user should know, if anything.
    pub(super) note: Option<String>,
    /// One key's records.
    pub(super) key: Option<KeyStory>,
}

/// One key's records in their order.
pub(super) struct KeyStory {
    pub(super) summary: String,
    pub(super) records: Vec<ConsumerRecord>,
}

impl ReadBack {
    /// Fails if a key's records changed their order.
    pub(super) fn verdict(self) -> Outcome<Verdict> {
        if !self.ordered {
            return Err(Failure::new("the flights came back in another order")
                .why("the records of one key must keep the order in which they were sent")
                .fix("this is a fault of Headwater: please report it"));
        }
        let back = self.seen.iter().filter(|seen| **seen).count();
        let summary = format!(
            "{} of {} flights read back, each byte for byte, each key in order",
            show_count(back as u64),
            show_count(self.seen.len() as u64),
        );
        let mut notes = Vec::new();
        if back < self.seen.len() {
            notes.push(
                "an earlier load was cut short, or records were deleted; remove the data \
                 directory to start afresh"
                    .to_owned(),
            );
        }
        if self.others > 0 {
            notes.push(format!("and {} other records", show_count(self.others)));
        }
        let key = self.of_key.first().map(|first| KeyStory {
            summary: format!(
                "{KEY}, {} records, all in partition {}",
                self.of_key.len(),
                first.partition
            ),
            records: self.of_key.clone(),
        });
        Ok(Verdict {
            summary,
            note: (!notes.is_empty()).then(|| notes.join("; ")),
            key,
        })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::records::parse::LineFormat;

    fn records() -> Vec<ConsumerRecord> {
        let record = |(offset, line): (usize, &str)| {
            let parsed = LineFormat::Ndjson.parse(line.as_bytes()).unwrap().unwrap();
            ConsumerRecord {
                topic: "flights".into(),
                partition: 0,
                offset: offset as u64,
                timestamp_ms: parsed.timestamp_ms.unwrap(),
                key: parsed.key,
                value: parsed.value,
                headers: Vec::new(),
            }
        };
        SAMPLE.lines().enumerate().map(record).collect()
    }

    fn verdict(records: &[ConsumerRecord]) -> Outcome<Verdict> {
        let mut back = ReadBack::default();
        for record in records {
            assert!(back.record(record).unwrap().is_continue());
        }
        back.verdict()
    }

    #[test]
    fn the_whole_sample_is_recognised_and_its_key_told() {
        let verdict = verdict(&records()).unwrap();
        assert!(
            verdict.summary.starts_with("842 of 842 flights"),
            "{}",
            verdict.summary
        );
        assert_eq!(verdict.note, None);
        assert_eq!(verdict.key.unwrap().records.len(), 4);
    }

    #[test]
    fn missing_changed_and_foreign_records_are_noticed() {
        let mut records = records();
        records.pop();
        records[0].value = Some(Bytes::from_static(b"{}"));
        let verdict = verdict(&records).unwrap();
        assert!(
            verdict.summary.starts_with("840 of 842"),
            "{}",
            verdict.summary
        );
        assert!(verdict.note.unwrap().contains("1 other records"));
    }

    #[test]
    fn a_key_out_of_order_is_a_failure() {
        let mut records = records();
        records.reverse();
        assert!(verdict(&records).is_err());
    }

    #[test]
    fn a_flight_is_shown_in_a_line_and_anything_else_as_it_is() {
        let mut record = records().swap_remove(0);
        assert_eq!(show(&record), "   0/0  N14228  05:15  UA 1545  EWR → IAH");
        record.value = Some(Bytes::from_static(b"hi\x07"));
        assert_eq!(show(&record), "   0/0  N14228  hi\\u{7}");
    }
}
