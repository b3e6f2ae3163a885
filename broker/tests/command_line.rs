//! The binary's exit codes, its signals, and what it says where.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headwater-broker"));
    command.env_clear().args(arguments);
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn the_settings_are_printed_on_standard_output() {
    let output = run(&["--set", "topics.partitions=6", "--print-config"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let printed = text(&output.stdout);
    let line = "  partitions: 6  # flag --set topics.partitions\n";
    assert!(printed.contains(line), "{printed}");
    assert!(printed.contains("# Memory: "), "{printed}");
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn wrong_flags_and_settings_exit_with_two_and_speak_on_standard_error() {
    for arguments in [
        ["--no-such-flag", ""],
        ["--set", "topics.partitons=6"],
        ["--listen", "here"],
        ["--config", "/no/such/file"],
    ] {
        let output = run(&arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert_eq!(text(&output.stdout), "");
        assert_ne!(text(&output.stderr), "");
    }
}

/// Starts a broker and waits until it serves. Gives the process and what it goes on to say.
fn serve(data_dir: &Path, more: &[&str]) -> (Child, impl Iterator<Item = String>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headwater-broker"));
    command.env_clear().stderr(Stdio::piped());
    command.arg("--data-dir").arg(data_dir);
    command.args(["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
    let mut child = command.args(more).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap())
        .lines()
        .map(Result::unwrap);
    let mut before = Vec::new();
    while let Some(line) = lines.next() {
        if line.contains("serving") {
            return (child, lines);
        }
        before.push(line);
    }
    panic!("it ended with {:?}, saying {before:#?}", child.wait());
}

#[test]
fn a_signal_stops_it_cleanly_and_the_data_directory_opens_again() {
    let directory = tempfile::tempdir().unwrap();
    let starts = [(Signal::TERM, &["--form"][..]), (Signal::INT, &[])];
    for (signal, more) in starts {
        let (mut child, rest) = serve(directory.path(), more);
        kill_process(Pid::from_child(&child), signal).unwrap();
        let rest: Vec<String> = rest.collect();
        assert_eq!(
            child.wait().unwrap().code(),
            Some(0),
            "after {signal:?}: {rest:#?}"
        );
    }
}

#[test]
fn a_data_directory_of_no_cluster_is_refused_with_the_remedy() {
    let directory = tempfile::tempdir().unwrap();
    let data_dir = directory.path().to_str().unwrap();
    let output = run(&[
        "--data-dir",
        data_dir,
        "--listen",
        "127.0.0.1:0",
        "--http",
        "127.0.0.1:0",
    ]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("--form"),
        "{}",
        text(&output.stderr)
    );
}
