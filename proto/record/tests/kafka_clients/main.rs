//! Batches of Apache's own Java client read by this crate, and the other way around.

mod vectors;

use std::fs;
use std::path::Path;
use std::process::Command;

use headwater_record::{
    Batch, BatchBuilder, Compression, LeaderEpoch, Offset, ProducerIdentity, Record, StoredRecord,
    partition_for_key,
};
use vectors::{BatchVector, PartitionVector, Vectors, bytes_from_hex};

const DECODED_BYTES_MAX: usize = 1 << 20;

fn batch_of(
    compression: Compression,
    producer: Option<ProducerIdentity>,
    records: &[Record],
) -> Batch {
    let mut builder = BatchBuilder::new(compression);
    if let Some(producer) = producer {
        builder = builder.producer(producer);
    }
    for record in records {
        builder.push(record).expect("the record fits");
    }
    builder.build().expect("the batch builds")
}

#[test]
fn batches_of_the_java_client_read_as_it_wrote_them() {
    let dir = Vectors::committed_dir();
    let vectors = Vectors::load(&dir);
    assert_eq!(vectors.batches.len(), 21);
    for expected in &vectors.batches {
        let bytes = fs::read(dir.join(&expected.file)).expect("the vector is there");
        let batch = Batch::verify(bytes.into(), usize::MAX)
            .unwrap_or_else(|error| panic!("{}: {error}", expected.file));
        let got = BatchVector::of(&expected.file, &expected.records, batch.header());
        assert_eq!(&got, expected);

        let records = batch
            .records(DECODED_BYTES_MAX)
            .unwrap_or_else(|error| panic!("{}: {error}", expected.file));
        let wanted: Vec<StoredRecord> = vectors
            .records_named(&expected.records)
            .into_iter()
            .zip(0..)
            .map(|(mut record, place)| {
                if expected.append_time {
                    record.timestamp_ms = expected.max_timestamp_ms;
                }
                StoredRecord {
                    offset: batch.header().base_offset.plus(place),
                    record,
                }
            })
            .collect();
        assert_eq!(records, wanted, "{}", expected.file);
    }
}

#[test]
fn uncompressed_batches_are_the_java_clients_byte_for_byte() {
    let dir = Vectors::committed_dir();
    let vectors = Vectors::load(&dir);
    for name in ["corners", "large", "many"] {
        let ours = batch_of(Compression::None, None, &vectors.records_named(name))
            .stamped(Offset::ZERO, LeaderEpoch::UNSTAMPED);
        let theirs = fs::read(dir.join(format!("{name}-none.batch"))).expect("the vector is there");
        assert!(ours.bytes() == &theirs, "{name}");
    }
}

#[test]
fn keys_land_where_the_java_client_puts_them() {
    let vectors = Vectors::load(&Vectors::committed_dir());
    assert_eq!(vectors.partitions.len(), 40);
    for PartitionVector {
        key,
        partitions,
        partition,
    } in vectors.partitions
    {
        let got = partition_for_key(&bytes_from_hex(&key), partitions);
        assert_eq!(got, partition, "{key} in {partitions}");
    }
}

#[test]
#[expect(clippy::print_stderr, reason = "the test says that it did not run")]
fn the_java_client_reads_our_batches() {
    if std::env::var_os("HEADWATER_E2E").is_none_or(|value| value != "1") {
        eprintln!("not run: needs HEADWATER_E2E=1, a JDK and Maven");
        return;
    }
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kafka-clients");
    fs::create_dir_all(&dir).expect("the directory can be made");
    write_ours(&dir);
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../clients/kafka-vectors");
    let output = Command::new("mvn")
        .args(["-q", "-B", "compile", "exec:java"])
        .arg(format!("-Dexec.args=verify {}", dir.display()))
        .current_dir(project)
        .output()
        .expect("Maven starts");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("verified 17 batches"),
        "{output:?}"
    );
}

/// The committed records in batches of ours, with all header fields that we write.
fn write_ours(dir: &Path) {
    let mut ours = Vectors::load(&Vectors::committed_dir());
    ours.made_by = "headwater-record".to_owned();
    ours.batches.clear();
    let add = |file: String, name: &str, batch: Batch| {
        fs::write(dir.join(&file), batch.bytes()).expect("the batch can be written");
        BatchVector::of(&file, name, batch.header())
    };
    let codecs = [
        Compression::None,
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ];
    let mut batches = Vec::new();
    for codec in codecs {
        for name in ["corners", "large", "many"] {
            let batch = batch_of(codec, None, &ours.records_named(name));
            batches.push(add(format!("{name}-{codec}.batch"), name, batch));
        }
    }
    for (file, base_sequence) in [("idempotent", 0), ("sequence-wraps", i32::MAX - 2)] {
        let producer = ProducerIdentity {
            id: 4711,
            epoch: 3,
            base_sequence,
        };
        let batch = batch_of(
            Compression::Lz4,
            Some(producer),
            &ours.records_named("corners"),
        )
        .stamped(Offset::new(1 << 40), LeaderEpoch(12));
        batches.push(add(format!("{file}.batch"), "corners", batch));
    }
    ours.batches = batches;
    ours.partitions.extend((0..200u32).map(|number| {
        let key = number.pow(2).to_le_bytes().repeat(number as usize % 5);
        let hex = key.iter().map(|byte| format!("{byte:02x}")).collect();
        PartitionVector {
            partition: partition_for_key(&key, 12),
            key: hex,
            partitions: 12,
        }
    }));
    ours.save(dir);
}
