//! Programs that a user runs.

use std::path::Path;
use std::process::{Command, Output};

use crate::headwater_at_home;

/// A command that has ended.
#[derive(Debug)]
pub struct Ran {
    what: String,
    output: Output,
}

impl Ran {
    /// What it said, if it did what it was asked to.
    #[track_caller]
    pub fn text(self) -> String {
        assert!(
            self.output.status.success(),
            "{} has failed:\n{}{}",
            self.what,
            self.stdout(),
            self.stderr()
        );
        self.stdout()
    }

    /// What it said to people, if it did not do it.
    #[track_caller]
    pub fn refusal(self) -> String {
        assert!(
            !self.output.status.success(),
            "{} should have been refused:\n{}",
            self.what,
            self.stdout()
        );
        self.stderr()
    }

    /// Whether it did what it was asked to.
    pub fn succeeded(&self) -> bool {
        self.output.status.success()
    }

    /// What it said to programs.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }

    /// What it said to people.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }
}

/// Runs `kubectl`.
pub fn kubectl(arguments: &[&str]) -> Ran {
    run(Command::new("kubectl").args(arguments))
}

/// Runs `helm`.
pub fn helm(arguments: &[&str]) -> Ran {
    run(Command::new("helm").args(arguments))
}

/// Runs `headwater` with the settings in `home`.
pub fn headwater(home: &Path, arguments: &[&str]) -> Ran {
    let output = tokio::task::block_in_place(|| headwater_at_home(home, arguments));
    let what = format!("headwater {}", arguments.join(" "));
    Ran { what, output }
}

/// Runs a command to its end while the runtime's other tasks go on.
pub(super) fn run(command: &mut Command) -> Ran {
    let what = format!("{command:?}");
    let output = tokio::task::block_in_place(|| command.output());
    let output = output.unwrap_or_else(|error| panic!("{what} cannot be run: {error}"));
    Ran { what, output }
}
