//! Rules of the repository that no compiler checks, each a test: `cargo test -p xtask`.

mod arrows;
mod layout;
mod leftovers;
mod reasons;

use std::fs;
use std::path::{Path, PathBuf};

/// Folders that hold nothing of ours to look at.
const SKIPPED: &[&str] = &[
    ".git",
    "target",
    "data",
    "headwater-data",
    "node_modules",
    "gen",
    "corpus",
];

/// Every text file of ours: path below the repository's top, and content. Sorted by path.
fn files() -> Vec<(PathBuf, String)> {
    let repository = crate::repository();
    let mut found = Vec::new();
    collect(repository, repository, &mut found);
    found.sort();
    assert!(
        50 < found.len(),
        "only {} files found: is {SKIPPED:?} too wide?",
        found.len()
    );
    found
}

fn collect(repository: &Path, folder: &Path, found: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            if !SKIPPED.iter().any(|skipped| entry.file_name() == *skipped) {
                collect(repository, &path, found);
            }
        } else if let Ok(text) = fs::read_to_string(&path) {
            found.push((path.strip_prefix(repository).unwrap().to_path_buf(), text));
        }
    }
}

/// Fails with one line for each finding.
fn expect_none(rule: &str, findings: &[String]) {
    assert!(findings.is_empty(), "{rule}:\n  {}", findings.join("\n  "));
}
