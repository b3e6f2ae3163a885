//! Instructions of the hot paths, counted by callgrind and held against committed figures: `cargo xtask instructions`.
//!
//! A guard that no busy machine disturbs. It says nothing of caches, the kernel or waiting: those are for
//! `docs/benchmarks.md`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use cargo_metadata::Message;
use clap::Args;

/// What is counted, as `broker/log/benches/instructions.rs` calls it.
const PATHS: [&str; 5] = ["encode", "verify", "open", "append", "read"];

/// The committed figures.
const FIGURES: &str = "broker/log/benches/instructions.json";

/// Further from its figure, in either direction, and a path fails: libraries of C differ from system to system by less.
const MARGIN: f64 = 0.03;

/// Counts instructions.
#[derive(Args)]
pub(crate) struct Instructions {
    /// Writes down what was counted instead of comparing.
    #[arg(long)]
    update: bool,
}

/// Instructions by path.
type Figures = BTreeMap<String, u64>;

/// Counts, and compares or writes down.
pub(crate) fn run(arguments: &Instructions, repository: &Path) -> Result<()> {
    let program = build()?;
    let mut counted = Figures::new();
    for path in PATHS {
        counted.insert(path.to_owned(), count(&program, path)?);
    }
    let file = repository.join(FIGURES);
    if arguments.update {
        std::fs::write(&file, serde_json::to_string_pretty(&counted)? + "\n")?;
        println!("written: {FIGURES}");
        return Ok(());
    }
    let committed: Figures = serde_json::from_str(&std::fs::read_to_string(&file)?)?;
    println!("path    instructions  committed     change");
    for path in PATHS {
        let (now, before) = (counted[path], committed.get(path).copied().unwrap_or(0));
        println!(
            "{path:<7} {now:>12} {before:>10} {:>+9.2} %",
            100.0 * change(now, before)
        );
    }
    let moved: Vec<&str> = PATHS
        .into_iter()
        .filter(|path| moved(counted[*path], committed.get(*path).copied()))
        .collect();
    ensure!(
        moved.is_empty(),
        "further than {} % from its figure: {}. If that is meant, say why and commit what \
         `cargo xtask instructions --update` writes",
        100.0 * MARGIN,
        moved.join(", ")
    );
    Ok(())
}

fn change(now: u64, before: u64) -> f64 {
    now as f64 / before.max(1) as f64 - 1.0
}

fn moved(now: u64, before: Option<u64>) -> bool {
    before.is_none_or(|before| MARGIN < change(now, before).abs())
}

/// Builds what is counted, optimised, and says where it is. Named with the package whose tests are built for release as
/// well, so that both are built with the same features.
fn build() -> Result<PathBuf> {
    let output = crate::cargo()
        .args(["bench", "--locked", "--no-run", "--bench", "instructions"])
        .args(["-p", "headwater-log", "-p", "headwater-core"])
        .arg("--message-format=json-render-diagnostics")
        .stderr(std::process::Stdio::inherit())
        .output()?;
    ensure!(output.status.success(), "building has failed");
    for message in Message::parse_stream(&output.stdout[..]) {
        if let Message::CompilerArtifact(artifact) = message?
            && artifact.target.name == "instructions"
            && let Some(program) = artifact.executable
        {
            return Ok(program.into());
        }
    }
    bail!("cargo named no program")
}

/// Instructions that `measured` takes on one path.
fn count(program: &Path, path: &str) -> Result<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .args(["--collect-atstart=no", "--toggle-collect=*measured*"])
        .arg(program)
        .arg(path)
        .output()
        .context("`cargo xtask instructions` needs valgrind")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{path}: {said}");
    collected(&said).with_context(|| format!("{path}: callgrind has counted nothing: {said}"))
}

/// `==1== Collected : 12345`
fn collected(said: &str) -> Option<u64> {
    let line = said.lines().find_map(|line| line.split_once("Collected :"));
    line?.1.trim().parse().ok().filter(|count| 0 < *count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_callgrind_says_is_understood() {
        let said = "==7== Events    : Ir\n==7== Collected : 123456\n==7== \n";
        assert_eq!(collected(said), Some(123_456));
        assert_eq!(collected("==7== Collected : 0\n"), None);
        assert_eq!(collected("valgrind: no such file\n"), None);
    }

    #[test]
    fn more_and_less_than_the_margin_is_noticed() {
        assert!(!moved(1_029, Some(1_000)) && !moved(971, Some(1_000)));
        assert!(moved(1_031, Some(1_000)) && moved(969, Some(1_000)));
        assert!(moved(1, None));
    }

    #[test]
    fn every_path_has_its_figure() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("..")
            .join(FIGURES);
        let text = std::fs::read_to_string(file).unwrap();
        let figures: Figures = serde_json::from_str(&text).unwrap();
        assert!(PATHS.iter().all(|path| figures.contains_key(*path)));
        assert_eq!(figures.len(), PATHS.len());
    }
}
