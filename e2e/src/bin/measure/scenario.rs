//! What is measured against what.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use headwater_e2e::{Broker, headwater};
use serde_json::Value;

/// Subjects that do the same work, the floor last.
pub(crate) struct Scenario {
    pub(crate) title: &'static str,
    pub(crate) about: &'static str,
    pub(crate) subjects: &'static [Subject],
    /// What is compared: throughput (more is better) or median latency (less is better).
    pub(crate) by: Measure,
}

/// What a scenario is about.
#[derive(Clone, Copy)]
pub(crate) enum Measure {
    Throughput,
    Latency,
}

/// Something to measure.
pub(crate) enum Subject {
    /// A fresh broker, and `headwater perf` with these arguments.
    Broker {
        name: &'static str,
        perf: &'static [&'static str],
    },
    /// `xtask floor` with these arguments.
    Floor {
        name: &'static str,
        floor: &'static [&'static str],
    },
}

pub(crate) const ALL: &[Scenario] = &[
    Scenario {
        title: "Bulk produce",
        about: "2 GiB in records of 1 KiB and batches of 1 MiB over one connection, as fast as \
                possible. The floor is a loopback socket, CRC-32C and a file write, with the same \
                batches made once beforehand; the broker's load makes, encodes and checksums its \
                records, on the same two cores. Aim: 0.5 of the floor's throughput in class \
                replicated, which like the floor acknowledges before fsync.",
        subjects: &[
            Subject::Broker {
                name: "broker, class replicated",
                perf: &[
                    "produce",
                    "--durability",
                    "replicated",
                    "--batch-size",
                    "1000KiB",
                    "--count",
                    "2097152",
                    "--warm-up",
                    "0ms",
                ],
            },
            Subject::Broker {
                name: "broker, class fsync",
                perf: &[
                    "produce",
                    "--durability",
                    "fsync",
                    "--batch-size",
                    "1000KiB",
                    "--count",
                    "2097152",
                    "--warm-up",
                    "0ms",
                ],
            },
            Subject::Floor {
                name: "floor: socket and write",
                floor: &["socket-write", "--bytes", "2147483648"],
            },
        ],
        by: Measure::Throughput,
    },
    Scenario {
        title: "One record at a time",
        about: "20,000 records of 1 KiB, each sent when the one before is acknowledged. The floor \
                is an echo of the same size through stock tonic. Aim: 1.5 times the p50 of the \
                echo on a stream, in class replicated.",
        subjects: &[
            Subject::Broker {
                name: "broker, class replicated",
                perf: &[
                    "produce",
                    "--durability",
                    "replicated",
                    "--partitions",
                    "1",
                    "--in-flight",
                    "1",
                    "--count",
                    "20000",
                    "--warm-up",
                    "0ms",
                ],
            },
            Subject::Broker {
                name: "broker, class fsync",
                perf: &[
                    "produce",
                    "--durability",
                    "fsync",
                    "--partitions",
                    "1",
                    "--in-flight",
                    "1",
                    "--count",
                    "5000",
                    "--warm-up",
                    "0ms",
                ],
            },
            Subject::Floor {
                name: "floor: echo, unary",
                floor: &["echo", "--mode", "unary"],
            },
            Subject::Floor {
                name: "floor: echo, stream",
                floor: &["echo", "--mode", "bidi"],
            },
        ],
        by: Measure::Latency,
    },
    Scenario {
        title: "Bulk consume",
        about: "1 GiB in records of 1 KiB, written just before, read as fast as possible, batches \
                as stored. CPU time is the broker's for writing and reading together. The floor \
                is that of bulk produce: the same bytes over a socket, and then written.",
        subjects: &[
            Subject::Broker {
                name: "broker",
                perf: &[
                    "consume",
                    "--raw",
                    "--durability",
                    "replicated",
                    "--batch-size",
                    "1000KiB",
                    "--count",
                    "1048576",
                ],
            },
            Subject::Floor {
                name: "floor: socket and write",
                floor: &["socket-write", "--bytes", "1073741824"],
            },
        ],
        by: Measure::Throughput,
    },
];

/// One run. Times are in the units that their names say; memory is that of the server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) mib_per_s: f64,
    pub(crate) records_per_s: f64,
    pub(crate) cpu_s_per_gib: f64,
    pub(crate) cpu_us_per_record: f64,
    pub(crate) resident_mib: f64,
    /// Absent where nothing is acknowledged.
    pub(crate) p50_us: Option<f64>,
    pub(crate) p99_us: Option<f64>,
}

impl Subject {
    pub(crate) fn measure(&self, floors: &Path) -> Result<Sample> {
        match self {
            Subject::Broker { perf, .. } => broker(perf),
            Subject::Floor { floor, .. } => self::floor(floors, floor),
        }
    }
}

fn broker(perf: &[&str]) -> Result<Sample> {
    let broker = Broker::start();
    let cpu_before = broker.cpu_seconds();
    let arguments = [&["perf"], perf, &["-o", "json"]].concat();
    let output = headwater(&broker.endpoint(), &arguments);
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let report: Value = serde_json::from_slice(&output.stdout)?;
    let cpu = broker.cpu_seconds() - cpu_before;
    let latency = &report["latency_us"];
    Ok(Sample {
        mib_per_s: number(&report["mib_per_s"])?,
        records_per_s: number(&report["records_per_s"])?,
        cpu_s_per_gib: cpu / (number(&report["bytes"])? / f64::from(1 << 30)),
        cpu_us_per_record: cpu * 1e6 / number(&report["records"])?,
        resident_mib: broker.resident_bytes() as f64 / f64::from(1 << 20),
        p50_us: latency["p50"].as_f64(),
        p99_us: latency["p99"].as_f64(),
    })
}

fn floor(floors: &Path, arguments: &[&str]) -> Result<Sample> {
    let output = Command::new(floors).arg("floor").args(arguments).output()?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let report: Value = serde_json::from_slice(&output.stdout)?;
    let cpu = number(&report["server_cpu_seconds"])?;
    Ok(Sample {
        mib_per_s: number(&report["mib_per_second"])?,
        records_per_s: number(&report["records_per_second"])?,
        cpu_s_per_gib: number(&report["server_cpu_seconds_per_gib"])?,
        cpu_us_per_record: cpu * 1e6 / number(&report["records"])?,
        resident_mib: number(&report["server_resident_bytes"])? / f64::from(1 << 20),
        p50_us: report["p50_us"].as_f64(),
        p99_us: report["p99_us"].as_f64(),
    })
}

fn number(value: &Value) -> Result<f64> {
    value.as_f64().context("a figure is missing in a report")
}
