//! Chores of this repository, as programs: `cargo xtask <command>`.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line tool talks on the terminal"
)]

mod chart;
mod codegen;
mod floor;
mod image;
mod instructions;
mod process;
#[cfg(test)]
mod tidy;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};

/// Chores of this repository.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Makes the committed Rust code and descriptors from the .proto files.
    Codegen,
    /// Measures what this machine can do at best, to hold the broker against.
    Floor(floor::Arguments),
    /// Measures a broker beside its peers and the floors, and writes docs/benchmarks.md.
    Compare {
        /// For the program that measures: --only S1,S7, --runs 3, --quick, --help.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Counts the instructions of the hot paths and compares them with the committed figures.
    Instructions(instructions::Instructions),
    /// Builds the programs statically and packs them as a container image, without Docker.
    Image(image::Image),
}

fn main() -> Result<()> {
    match Arguments::parse().command {
        Chore::Codegen => codegen::write(repository()),
        Chore::Floor(floor) => floor::run(floor),
        Chore::Compare { arguments } => compare(&arguments),
        Chore::Instructions(arguments) => instructions::run(&arguments, repository()),
        Chore::Image(image) => image::run(&image, repository()),
    }
}

/// Starts the program that measures, which knows the broker; this one must not, or it could not be
/// built when the generated code is broken. Everything is built optimised first.
fn compare(arguments: &[String]) -> Result<()> {
    let cargo = |arguments: &[&str]| -> Result<()> {
        let mut command = self::cargo();
        command.args(arguments);
        let status = command.status()?;
        ensure!(status.success(), "cargo {} has failed", arguments.join(" "));
        Ok(())
    };
    cargo(&["build", "--release", "--locked", "--package", "xtask"])?;
    // <target>/debug/xtask runs this, <target>/release/xtask is measured.
    let own = std::env::current_exe()?;
    let target = own
        .ancestors()
        .nth(2)
        .context("cargo puts programs two folders deep")?;
    let floors = target.join("release/xtask");
    let floors = floors
        .to_str()
        .context("the target folder's name is not UTF-8")?;
    let package = ["--release", "--locked", "--package", "headwater-compare"];
    let mut run = vec!["run"];
    run.extend(package);
    run.extend(["--", "--floors", floors]);
    run.extend(arguments.iter().map(String::as_str));
    cargo(&run)
}

/// Cargo in the repository, as people start it. What it says of this program to this program is not handed on: build
/// scripts that look at it (ring's does) would run once more, and all that depends on them be built once more.
fn cargo() -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.current_dir(repository());
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&*name);
        }
    }
    command
}

/// The top folder of the repository.
fn repository() -> &'static Path {
    static ROOT: std::sync::LazyLock<PathBuf> = std::sync::LazyLock::new(|| {
        let mut root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        root.pop();
        root
    });
    &ROOT
}
