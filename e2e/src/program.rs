//! The programs under test, built once, as cargo builds them for everyone.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

use crate::process::forget;

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

/// The folder that cargo builds into, of which [`BUILT`] is a part: `<target>/<profile>`, or
/// `<target>/<triple>/<profile>` where a triple was named.
pub(crate) fn target_folder() -> PathBuf {
    target_of(&BUILT)
}

fn target_of(profile: &Path) -> PathBuf {
    let folder = profile.parent().expect("a profile is inside of a folder");
    match std::env::var_os("CARGO_BUILD_TARGET") {
        Some(triple) if folder.ends_with(&triple) => folder.join(".."),
        _ => folder.to_owned(),
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
    let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // As the tests of all packages, or the image, build them: with other packages come other features of libraries, and
    // everything would be built once more.
    let build_as: &[&str] = match cfg!(debug_assertions) {
        true => &["test", "--no-run", "--workspace"],
        false => &[
            "build",
            "--release",
            "--package=headwater-broker",
            "--package=headwater-cli",
            "--package=headwater-operator",
        ],
    };
    build
        .args(build_as)
        .args(["--quiet", "--locked", "--target-dir"])
        .arg(target_of(&folder))
        .current_dir(repository());
    // What cargo says of the test to the test: build scripts that look at it (ring's does) would run again for the
    // programs, then again for the tests, and all that depends on them with them.
    forget(&mut build, &["CARGO_PKG_", "CARGO_MANIFEST_"]);
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
    let endpoint = ["--endpoint", endpoint];
    headwater_at_home(nobody.path(), &[&endpoint, arguments].concat())
}

/// Runs `headwater` with the settings in `home` and no others, and waits for its end.
pub fn headwater_at_home(home: &Path, arguments: &[&str]) -> Output {
    let mut headwater = Command::new(Program::Cli.path());
    forget(&mut headwater, &["HEADWATER_"]);
    headwater
        .args(arguments)
        .env("XDG_CONFIG_HOME", home)
        .output()
        .expect("headwater runs")
}

/// The committed day of flights, one record a line.
pub fn sample_day() -> PathBuf {
    repository().join("examples/data/flights-2013-01-01.ndjson")
}

/// The file with all flights of 2013, one record a line, as `HEADWATER_FLIGHTS` names it; without it
/// a word that what needs all of them does not run.
pub fn all_flights() -> Option<PathBuf> {
    let given = std::env::var_os("HEADWATER_FLIGHTS").map(PathBuf::from);
    if given.is_none() {
        eprintln!("not run: needs the whole file of flights, named by HEADWATER_FLIGHTS");
    }
    given
}

pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the crate is inside of the repository")
}
