//! Chores of this repository, as programs: `cargo xtask <command>`.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line tool talks on the terminal"
)]

mod codegen;
mod floor;
mod process;
#[cfg(test)]
mod tidy;

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Chores of this repository.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Makes the committed Rust code and descriptors from the .proto files.
    Codegen,
    /// Measures what this machine can do at best, to hold the broker against.
    #[command(subcommand)]
    Floor(floor::Floor),
}

fn main() -> Result<()> {
    match Arguments::parse().command {
        Command::Codegen => codegen::write(repository()),
        Command::Floor(floor) => floor::run(floor),
    }
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
