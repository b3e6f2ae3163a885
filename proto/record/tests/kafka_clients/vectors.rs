//! The shape of a vectors directory, which `clients/kafka-vectors` describes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use headwater_record::{BatchHeader, Header, Record};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
pub(crate) struct Vectors {
    pub(crate) made_by: String,
    pub(crate) records: BTreeMap<String, Vec<RecordVector>>,
    pub(crate) batches: Vec<BatchVector>,
    pub(crate) partitions: Vec<PartitionVector>,
}

#[derive(Serialize, Deserialize, Debug, PartialEq)]
pub(crate) struct BatchVector {
    pub(crate) file: String,
    pub(crate) compression: String,
    pub(crate) base_offset: i64,
    pub(crate) leader_epoch: i32,
    pub(crate) max_timestamp_ms: i64,
    pub(crate) append_time: bool,
    pub(crate) transactional: bool,
    pub(crate) control: bool,
    pub(crate) producer_id: i64,
    pub(crate) producer_epoch: i16,
    pub(crate) base_sequence: i32,
    pub(crate) last_sequence: i32,
    pub(crate) records: String,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct RecordVector {
    timestamp_ms: i64,
    key: Option<String>,
    value: Option<String>,
    headers: Vec<HeaderVector>,
}

#[derive(Serialize, Deserialize)]
struct HeaderVector {
    name: String,
    value: Option<String>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct PartitionVector {
    pub(crate) key: String,
    pub(crate) partitions: u32,
    pub(crate) partition: u32,
}

impl Vectors {
    pub(crate) fn committed_dir() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
    }

    pub(crate) fn load(dir: &Path) -> Vectors {
        let json = fs::read(dir.join("vectors.json")).expect("vectors.json is there");
        serde_json::from_slice(&json).expect("vectors.json has the expected shape")
    }

    pub(crate) fn save(&self, dir: &Path) {
        let json = serde_json::to_vec_pretty(self).expect("vectors serialise");
        fs::write(dir.join("vectors.json"), json).expect("vectors.json can be written");
    }

    pub(crate) fn records_named(&self, name: &str) -> Vec<Record> {
        self.records[name]
            .iter()
            .map(RecordVector::to_record)
            .collect()
    }
}

impl BatchVector {
    pub(crate) fn of(file: &str, records: &str, header: &BatchHeader) -> BatchVector {
        let producer = header.producer;
        BatchVector {
            file: file.to_owned(),
            compression: header.compression().to_string(),
            base_offset: header.base_offset.to_i64(),
            leader_epoch: header.leader_epoch.0 as i32,
            max_timestamp_ms: header.max_timestamp_ms,
            append_time: header.has_append_time(),
            transactional: header.is_transactional(),
            control: header.is_control(),
            producer_id: producer.map_or(-1, |producer| producer.id),
            producer_epoch: producer.map_or(-1, |producer| producer.epoch),
            base_sequence: producer.map_or(-1, |producer| producer.base_sequence),
            last_sequence: header.last_sequence().unwrap_or(-1),
            records: records.to_owned(),
        }
    }
}

impl RecordVector {
    pub(crate) fn to_record(&self) -> Record {
        let header = |header: &HeaderVector| Header {
            name: header.name.clone(),
            value: header.value.as_deref().map(bytes_from_hex),
        };
        Record {
            key: self.key.as_deref().map(bytes_from_hex),
            value: self.value.as_deref().map(bytes_from_hex),
            headers: self.headers.iter().map(header).collect(),
            timestamp_ms: self.timestamp_ms,
        }
    }
}

/// Lower-case hex; `6162*3` is `616261626162`.
pub(crate) fn bytes_from_hex(hex: &str) -> Bytes {
    let (hex, times) = match hex.split_once('*') {
        Some((hex, times)) => (hex, times.parse().expect("a repeat count")),
        None => (hex, 1),
    };
    let once: Vec<u8> = (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex digits"))
        .collect();
    once.repeat(times).into()
}
