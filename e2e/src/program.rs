//! The programs under test, built once, as cargo builds them for everyone.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

/// A program of this repository.
#[derive(Clone, Copy, Debug)]
pub enum Program {
    /// `headwater-broker`.
    Broker,
    /// `headwater`, the command-line tool.
    Cli,
}

impl Program {
    /// Where it was built.
    pub fn path(self) -> PathBuf {
        BUILT.join(match self {
            Program::Broker => "headwater-broker",
            Program::Cli => "headwater",
        })
    }
}

/// The folder that holds the programs, in the profile of this test. Building is quick when
/// nothing has changed, and makes sure that no old program is tested.
static BUILT: LazyLock<PathBuf> = LazyLock::new(|| {
    // <target>/<profile>/deps/<test>, or <target>/<profile>/<program>
    let program = std::env::current_exe().expect("this program has a path");
    let mut folder = program
        .parent()
        .expect("a program is in a folder")
        .to_owned();
    if folder.ends_with("deps") {
        folder.pop();
    }
    let target = folder
        .parent()
        .expect("a profile is inside of a target folder");
    let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    build
        .args([
            "build",
            "--quiet",
            "--locked",
            "-p",
            "headwater-broker",
            "-p",
            "headwater-cli",
        ])
        .arg("--target-dir")
        .arg(target)
        .current_dir(repository());
    if !cfg!(debug_assertions) {
        build.arg("--release");
    }
    let status = build.status().expect("cargo runs");
    assert!(
        status.success(),
        "building the programs under test has failed"
    );
    folder
});

/// Runs `headwater` against a broker, with settings of nobody else, and waits for its end.
pub fn headwater(endpoint: &str, arguments: &[&str]) -> Output {
    let nobody = tempfile::tempdir().expect("a temporary folder");
    Command::new(Program::Cli.path())
        .arg("--endpoint")
        .arg(endpoint)
        .args(arguments)
        .env("XDG_CONFIG_HOME", nobody.path())
        .env_remove("HEADWATER_CONTEXTS")
        .output()
        .expect("headwater runs")
}

/// The committed day of flights, one record a line.
pub fn sample_day() -> PathBuf {
    repository().join("examples/data/flights-2013-01-01.ndjson")
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the crate is inside of the repository")
}
