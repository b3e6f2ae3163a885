//! Who may depend on whom. THINK HARD ABOUT THE LAYERS BEFORE CHANGING THE TABLE.
//!
//! A crate exists to keep a dependency out; ARCHITECTURE.md gives the reasons.

use cargo_metadata::{DependencyKind, MetadataCommand};

/// What one crate may use, not counting its tests.
struct Rule {
    krate: &'static str,
    /// Crates of this repository.
    ours: &'static [&'static str],
    /// Crates of others.
    others: Others,
}

enum Others {
    /// These and no more: for crates that must stay deterministic, or lean.
    Only(&'static [&'static str]),
    /// Anything but these: for the edges, where the libraries come and go.
    AnyBut(&'static [&'static str]),
}
use Others::{AnyBut, Only};

const KUBERNETES: &[&str] = &["kube", "k8s-openapi", "schemars", "opendal"];
/// `cli` and `e2e` talk to brokers through the SDK and never by hand.
const WIRE: &[&str] = &["opendal", "tonic", "tonic-prost", "prost"];

const TABLE: &[Rule] = &[
    Rule {
        krate: "headwater-record",
        ours: &[],
        others: Only(&[
            "bytes",
            "crc32c",
            "flate2",
            "lz4_flex",
            "snap",
            "thiserror",
            "zstd",
        ]),
    },
    Rule {
        krate: "headwater-proto",
        ours: &[],
        others: Only(&["bytes", "prost", "prost-types", "tonic", "tonic-prost"]),
    },
    Rule {
        krate: "headwater-log",
        ours: &["headwater-record"],
        // rustix: the system calls that the standard library lacks, for the one disk file.
        others: Only(&["bytes", "crc32c", "rustix", "thiserror", "tracing", "uuid"]),
    },
    Rule {
        krate: "headwater-core",
        ours: &["headwater-log", "headwater-record"],
        // prost: for messages that the core itself keeps on disk, never for the wire contract.
        // strsim: an unknown topic is refused with the nearest name that exists.
        others: Only(&[
            "bytes",
            "crc32c",
            "prost",
            "strsim",
            "thiserror",
            "tracing",
            "uuid",
        ]),
    },
    Rule {
        krate: "headwater-tier",
        ours: &["headwater-log", "headwater-record"],
        // opendal: object stores, behind the one trait `Store`. prost: for messages that the tier itself keeps in objects.
        others: Only(&[
            "async-trait",
            "bytes",
            "crc32c",
            "futures",
            "opendal",
            "prost",
            "quick_cache",
            "thiserror",
            "tracing",
            "uuid",
        ]),
    },
    Rule {
        krate: "headwater-broker",
        ours: &[
            "headwater-core",
            "headwater-log",
            "headwater-proto",
            "headwater-record",
            "headwater-tier",
        ],
        // opendal: the stores are opened here, with their credentials and layers.
        others: AnyBut(&["kube", "k8s-openapi", "schemars"]),
    },
    Rule {
        krate: "headwater-client",
        ours: &["headwater-proto", "headwater-record"],
        others: AnyBut(KUBERNETES),
    },
    Rule {
        krate: "headwater-cli",
        // broker: feature `embedded`, for `quickstart`. crds: for `k8s`.
        ours: &["headwater-broker", "headwater-client", "headwater-crds"],
        others: AnyBut(WIRE),
    },
    Rule {
        krate: "headwater-e2e",
        ours: &["headwater-client", "headwater-crds"],
        others: AnyBut(WIRE),
    },
    Rule {
        krate: "headwater-compare",
        ours: &["headwater-client", "headwater-e2e"],
        others: AnyBut(WIRE),
    },
    Rule {
        krate: "headwater-crds",
        ours: &[],
        // serde_json: the macro of kube makes use of it.
        others: Only(&[
            "k8s-openapi",
            "kube",
            "schemars",
            "serde",
            "serde_json",
            "serde_yaml",
            "strum",
            "thiserror",
        ]),
    },
    Rule {
        krate: "headwater-operator",
        // core: names and limits, for the operator must judge as the brokers do.
        ours: &["headwater-core", "headwater-crds", "headwater-proto"],
        others: AnyBut(&["opendal"]),
    },
    Rule {
        krate: "headwater-sim",
        ours: &[
            "headwater-core",
            "headwater-log",
            "headwater-record",
            "headwater-tier",
        ],
        // Nothing that has threads, clocks or dice of its own.
        others: Only(&[
            "anyhow",
            "async-trait",
            "bytes",
            "clap",
            "crc32c",
            "futures",
            "uuid",
        ]),
    },
    // Chores may use anything of others, and of ours only types: floors must not run our code.
    Rule {
        krate: "xtask",
        ours: &["headwater-crds"],
        others: AnyBut(&[]),
    },
];

#[test]
fn dependencies_follow_the_table() {
    let metadata = MetadataCommand::new()
        .manifest_path(crate::repository().join("Cargo.toml"))
        .no_deps()
        .exec()
        .unwrap();
    let members: Vec<_> = metadata
        .packages
        .iter()
        .map(|package| package.name.as_str())
        .collect();

    let mut findings = Vec::new();
    for package in &metadata.packages {
        let Some(rule) = TABLE
            .iter()
            .find(|rule| rule.krate == package.name.as_str())
        else {
            findings.push(format!("{} has no row in the table", package.name));
            continue;
        };
        for dependency in &package.dependencies {
            if dependency.kind == DependencyKind::Development {
                continue;
            }
            let name = dependency.name.as_str();
            let allowed = if members.contains(&name) {
                rule.ours.contains(&name)
            } else {
                match rule.others {
                    Only(allowed) => allowed.contains(&name),
                    AnyBut(banned) => !banned.contains(&name),
                }
            };
            if !allowed {
                findings.push(format!("{} must not use {name}", package.name));
            }
        }
    }
    super::expect_none(
        "dependencies against the table in xtask/src/tidy/arrows.rs",
        &findings,
    );
}
