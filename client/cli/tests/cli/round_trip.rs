//! Records in and out, and what everything exits with.

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

use crate::broker::{Broker, interrupt, quickstart};
use crate::support::{finish, program, run};

const SAMPLE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../examples/data/flights-2013-01-01.ndjson"
);

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn quickstart_shows_the_flights_and_finds_them_again() {
    let broker = Broker::start();
    let parts = [
        "842 of 842 flights read back",
        "545 records from 12:00",
        "LGA → DTW",
    ];
    for part in parts {
        assert!(
            broker.said.contains(part),
            "{part:?} is not in:\n{}",
            broker.said
        );
    }
    // It shows how a tier works, in a folder of its own directory.
    let status = broker.run(&["tier", "status"]).exits(0).stdout;
    assert!(
        status.starts_with("tier          fs:\nstate         reachable\n"),
        "{status}"
    );
    assert!(broker.dir().join("tier").is_dir());
    let again = broker.restart();
    let parts = [
        "is there already, with 842 records",
        "842 of 842 flights read back",
    ];
    for part in parts {
        assert!(
            again.said.contains(part),
            "{part:?} is not in:\n{}",
            again.said
        );
    }
    // The port and the directory are taken now.
    let other = tempfile::tempdir().expect("a directory");
    finish(&mut quickstart(other.path(), &again.endpoint))
        .exits(1)
        .says("cannot listen on")
        .says("--listen 127.0.0.1:0");
    finish(&mut quickstart(again.dir(), "127.0.0.1:0"))
        .exits(1)
        .says("in use")
        .says("--dir");
}

#[test]
fn quickstart_once_ends_by_itself() {
    let dir = tempfile::tempdir().expect("a directory");
    let run = finish(quickstart(dir.path(), "127.0.0.1:0").arg("--once")).exits(0);
    assert!(run.stdout.contains("✓ stopped"), "{}", run.stdout);
    assert!(!run.stdout.contains("Serving on"), "{}", run.stdout);
}

#[test]
fn an_export_is_byte_equal_and_copies_a_topic() {
    let broker = Broker::start();
    let sample = std::fs::read_to_string(SAMPLE).expect("the sample is there");
    for topic in ["a", "b"] {
        broker
            .run(&["topic", "create", topic])
            .exits(0)
            .says("created with 6 partitions");
    }
    broker
        .run(&["produce", "a", "--file", SAMPLE])
        .exits(0)
        .says("842 records");
    let export = broker
        .run(&["consume", "a", "-o", "ndjson"])
        .exits(0)
        .stdout;
    assert_eq!(sorted(&export), sorted(&sample));
    // The same keys go to the same partitions in the same order.
    let input = export.as_bytes();
    broker
        .run_with_input(&["produce", "b", "--format", "ndjson"], input)
        .exits(0);
    for partition in 0..6 {
        let partition = partition.to_string();
        let read = |topic| {
            broker
                .run(&["consume", topic, "-p", &partition, "-o", "ndjson"])
                .exits(0)
                .stdout
        };
        assert_eq!(read("a"), read("b"));
    }
}

#[test]
fn every_part_of_a_record_survives_in_every_form() {
    let broker = Broker::start();
    broker
        .run(&["topic", "create", "t", "--partitions", "1"])
        .exits(0);
    let lines = concat!(
        "{\"timestamp_ms\":7,\"key\":\"k\",\"value\":{\"a\": [1,  2]},\"headers\":[{\"name\":\"h\",\"value\":\"x\"}]}\n",
        "{\"timestamp_ms\":8,\"key\":null,\"value\":null}\n",
        "{\"timestamp_ms\":9,\"key_base64\":\"/w==\",\"value\":\"two\\nlines\"}\n",
    );
    broker
        .run_with_input(&["produce", "t", "--format", "ndjson"], lines.as_bytes())
        .exits(0);
    assert_eq!(
        broker
            .run(&["consume", "t", "-o", "ndjson"])
            .exits(0)
            .stdout,
        lines
    );
    let json = broker
        .run(&["consume", "t", "-o", "json", "--max", "1"])
        .exits(0)
        .stdout;
    let json: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
    assert_eq!(
        (&json["partition"], &json["offset"]),
        (&0.into(), &0.into())
    );
    let template = [
        "consume",
        "t",
        "-o",
        "template={offset}:{key}:{header:h}",
        "--max",
        "1",
    ];
    assert_eq!(broker.run(&template).exits(0).stdout, "0:k:x\n");
    let text = [
        "produce",
        "t",
        "--key-separator",
        "=",
        "-H",
        "a=b",
        "--compression",
        "zstd",
    ];
    broker.run_with_input(&text, b"left=right=more\n").exits(0);
    let last = [
        "consume",
        "t",
        "--from",
        "-1",
        "-o",
        "template={key} {value} {headers}",
    ];
    let shown = "left right=more [{\"name\":\"a\",\"value\":\"b\"}]\n";
    assert_eq!(broker.run(&last).exits(0).stdout, shown);
}

#[test]
fn every_place_to_start_and_to_end_is_found() {
    let broker = Broker::start();
    let count = |args: &[&str]| {
        let args = [&["consume", "flights"], args].concat();
        broker.run(&args).exits(0).stdout.lines().count()
    };
    assert_eq!(count(&[]), 842);
    assert_eq!(count(&["--from", "end"]), 0);
    assert_eq!(count(&["--from", "-5"]), 5);
    assert_eq!(count(&["--from", "-5", "-p", "3"]), 5);
    assert_eq!(count(&["--max", "7"]), 7);
    assert_eq!(count(&["-p", "3", "--from", "10", "--until", "20"]), 10);
    assert_eq!(count(&["-f", "--until", "10"]), 60);
    assert_eq!(count(&["-f", "--from", "end", "--until", "10"]), 0);
    let noon = "@2013-01-01T12:00-05:00";
    assert_eq!(count(&["--from", noon]) + count(&["--until", noon]), 842);
    let first = broker
        .run(&[
            "consume", "flights", "--from", noon, "-o", "json", "--max", "1",
        ])
        .exits(0)
        .stdout;
    assert!(first.contains("\"timestamp_ms\":1357059600000"), "{first}");
}

#[test]
fn a_follower_sees_what_comes_and_ctrl_c_ends_it_with_130() {
    let broker = Broker::start();
    broker.run(&["topic", "create", "t"]).exits(0);
    let mut child = program()
        .args(["tail", "t", "-o", "text", "--endpoint", &broker.endpoint])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
    for value in ["one", "two"] {
        broker
            .run_with_input(&["produce", "t"], value.as_bytes())
            .exits(0);
        let mut line = String::new();
        stdout.read_line(&mut line).expect("it can be read");
        assert_eq!(line.trim_end(), value);
    }
    interrupt(&child);
    let mut said = String::new();
    let mut stderr = child.stderr.take().expect("it is piped");
    stderr.read_to_string(&mut said).expect("it can be read");
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    assert!(said.contains("2 records"), "{said}");
}

#[test]
fn a_reader_that_has_enough_ends_the_program_silently() {
    let broker = Broker::start();
    let mut child = program()
        .args(["consume", "flights", "-f", "--endpoint", &broker.endpoint])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    drop(child.stdout.take());
    // The first write may have happened before; more records make another.
    broker
        .run(&["produce", "flights", "--file", SAMPLE])
        .exits(0);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn exit_codes_tell_what_happened() {
    let broker = Broker::start();
    let cases: [(&[&str], i32, &str); 12] = [
        (&["consume", "nope"], 3, "topic list"),
        (&["produce", "nope"], 3, "topic create default/nope"),
        (&["topic", "describe", "nope"], 3, "TOPIC_NOT_FOUND"),
        (&["consume", "flights", "-p", "9"], 3, "partition"),
        (
            &["consume", "flights", "-p", "0", "--from", "99999"],
            1,
            "--from begin",
        ),
        (&["topic", "create", "flights"], 1, "exists already"),
        (
            &["topic", "create", "flights", "--if-not-exists"],
            0,
            "there already",
        ),
        (&["topic", "create", "bad name"], 1, "bad name"),
        (
            &["topic", "delete", "flights"],
            2,
            "default/flights with 842 records",
        ),
        (
            &["topic", "delete-records", "flights", "--before", "end"],
            2,
            "--yes",
        ),
        (
            &["topic", "add-partitions", "flights", "--to", "3", "--yes"],
            1,
            "flights",
        ),
        (
            &["produce", "flights", "-p", "9", "--file", SAMPLE],
            3,
            "partition",
        ),
    ];
    for (args, code, says) in cases {
        broker.run(args).exits(code).says(says);
    }
}

#[test]
fn records_before_a_bad_line_are_stored_and_it_is_said() {
    let broker = Broker::start();
    broker
        .run(&["topic", "create", "t", "--partitions", "1"])
        .exits(0);
    let mut input = b"{\"value\":1}\n".repeat(5000);
    input.extend_from_slice(b"broken\n{\"value\":2}\n");
    broker
        .run_with_input(&["produce", "t", "--format", "ndjson"], &input)
        .exits(5)
        .says("cannot read line 5001 of stdin")
        .says("stored all the same: 5,000 records");
    assert_eq!(
        broker.run(&["consume", "t"]).exits(0).stdout,
        "1\n".repeat(5000)
    );
}

#[test]
fn topics_are_changed_emptied_and_deleted() {
    let broker = Broker::start();
    let json = |args: &[&str]| -> serde_json::Value {
        let args = [args, &["-o", "json"]].concat();
        serde_json::from_str(&broker.run(&args).exits(0).stdout).expect("it is JSON")
    };
    let created = json(&[
        "topic",
        "create",
        "t",
        "--retention",
        "1d",
        "--partitions",
        "2",
    ]);
    assert_eq!(created["config"]["retention_ms"], 86_400_000);
    let edited = json(&[
        "topic",
        "edit",
        "t",
        "--retention",
        "default",
        "--segment-age",
        "1h",
    ]);
    assert_eq!(edited["config"]["retention_ms"], serde_json::Value::Null);
    assert_eq!(edited["config"]["segment_ms"], 3_600_000);
    let grown = json(&["topic", "add-partitions", "t", "--to", "4", "--yes"]);
    assert_eq!(grown["partitions"], 4);
    broker
        .run(&[
            "topic",
            "delete-records",
            "flights",
            "--before",
            "end",
            "--yes",
        ])
        .exits(0);
    assert_eq!(broker.run(&["consume", "flights"]).exits(0).stdout, "");
    broker
        .run(&["topic", "delete", "t", "flights", "--yes"])
        .exits(0);
    assert_eq!(
        broker.run(&["topic", "list", "-o", "name"]).exits(0).stdout,
        ""
    );
}

#[test]
fn doctor_and_health_are_green_and_perf_measures() {
    let broker = Broker::start();
    let doctor = broker.run(&["doctor"]).exits(0).stdout;
    assert!(
        doctor.contains("✓ fetch") && !doctor.contains('✗'),
        "{doctor}"
    );
    broker.run(&["cluster", "health"]).exits(0);
    let e2e = [
        "perf",
        "e2e",
        "--rate",
        "200",
        "--count",
        "100",
        "--warm-up",
        "100ms",
    ];
    let report = broker
        .run(&[&e2e[..], &["-o", "json"]].concat())
        .exits(0)
        .stdout;
    let report: serde_json::Value = serde_json::from_str(&report).expect("it is JSON");
    assert_eq!(
        (&report["records"], &report["latency_us"]["samples"]),
        (&100.into(), &100.into())
    );
    let topics = broker.run(&["topic", "list", "-o", "name"]).exits(0).stdout;
    assert_eq!(topics, "default/flights\n", "perf and doctor clean up");
    let blind = run(&["doctor", "--endpoint", "127.0.0.1:1"]).exits(1);
    assert!(blind.stdout.contains("✗ tcp"), "{}", blind.stdout);
}
