//! The comparison works, from the peers' registries to the document: a short S1 of all three systems.
#![allow(clippy::print_stderr, reason = "the test says if it did not run")]

use std::path::Path;
use std::process::Command;

use serde_json::Value;

const SYSTEMS: [&str; 3] = ["Headwater, replicated", "Kafka", "NATS"];

const FIGURES: [&str; 7] = [
    "records_per_second",
    "mib_per_second",
    "cpu_us_per_record",
    "p50_us",
    "p99_us",
    "resident_mib",
    "proportional_mib",
];

#[test]
fn a_short_bulk_produce_of_all_systems_has_every_figure_and_is_verified() {
    if !headwater_e2e::everything(", a JDK, Maven, Go, taskset and two cores") {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = Command::new(env!("CARGO_BIN_EXE_headwater-compare"))
        .args(["--quick", "--only", "S1", "--no-floors", "--output"])
        .arg(folder.path())
        .output()
        .expect("it starts");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let results = read(&folder.path().join("benchmarks/results.json"));
    let results: Value = serde_json::from_str(&results).expect("it is JSON");
    let rows = results["scenarios"]["S1"]["rows"]
        .as_array()
        .expect("S1 has rows");
    for system in SYSTEMS {
        let row = rows
            .iter()
            .find(|row| row["subject"] == system)
            .unwrap_or_else(|| panic!("{system} is missing"));
        assert!(
            row["verified"]
                .as_str()
                .is_some_and(|said| said.starts_with("count")),
            "{row}"
        );
        for figure in FIGURES {
            let value = row["samples"][0][figure].as_f64();
            assert!(value.is_some_and(|value| 0.0 < value), "{system}: {figure}");
        }
    }
    let document = read(&folder.path().join("benchmarks.md"));
    assert!(document.contains("## S1: Bulk produce"), "{document}");
    let plot = read(&folder.path().join("benchmarks/S1.svg"));
    assert!(plot.contains("Headwater, replicated"), "{plot}");
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
