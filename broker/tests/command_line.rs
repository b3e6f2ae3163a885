//! The binary's exit codes and what it says where.

use std::process::{Command, Output};

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
