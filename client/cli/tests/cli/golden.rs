//! Help texts and errors, word for word. `HEADWATER_BLESS=1 cargo test -p headwater-cli` writes
//! the files anew; the diff is the review.

use std::path::Path;

use crate::support::run;

/// Nothing listens on port 1.
const NOBODY: &str = "127.0.0.1:1";

#[track_caller]
fn check(name: &str, got: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/cli/golden")
        .join(name);
    if std::env::var_os("HEADWATER_BLESS").is_some() {
        std::fs::write(&path, got).expect("the file can be written");
    }
    let want = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        got, want,
        "{name} differs; if that is meant, run with HEADWATER_BLESS=1"
    );
}

#[test]
#[cfg(feature = "embedded")]
fn every_command_explains_itself() {
    let commands = [
        "",
        "quickstart",
        "topic",
        "topic create",
        "topic edit",
        "topic delete-records",
        "produce",
        "consume",
        "tail",
        "cluster",
        "tier",
        "tier status",
        "tier verify",
        "tier release",
        "restore",
        "doctor",
        "perf",
        "perf produce",
        "context",
        "context import",
        "k8s",
        "k8s status",
        "k8s port-forward",
        "k8s unstick",
        "completion",
    ];
    for command in commands {
        let mut args: Vec<&str> = command.split_whitespace().collect();
        args.push("--help");
        let help = run(&args).exits(0).stdout;
        let name = if command.is_empty() {
            "headwater"
        } else {
            command
        };
        check(&format!("help-{}.txt", name.replace(' ', "-")), &help);
    }
}

#[test]
fn errors_say_what_why_and_what_to_do() {
    let cases: [(&str, &[&str], i32); 11] = [
        ("nobody-there", &["topic", "list", "--endpoint", NOBODY], 1),
        ("bad-place", &["consume", "t", "--from", "middle"], 2),
        ("bad-time", &["consume", "t", "--from", "@noon"], 2),
        ("bad-template", &["consume", "t", "-o", "template={kye}"], 2),
        (
            "bad-size",
            &["topic", "create", "t", "--segment-bytes", "big"],
            2,
        ),
        (
            "bad-ndjson-separator",
            &["produce", "t", "--format", "ndjson", "--key-separator", ":"],
            2,
        ),
        (
            "no-such-file",
            &["produce", "t", "--file", "/nonexistent/file"],
            3,
        ),
        (
            "no-such-context",
            &["topic", "list", "--context", "moon"],
            3,
        ),
        ("no-kubeconfig", &["k8s", "status"], 3),
        ("k8s-endpoint", &["k8s", "status", "--endpoint", NOBODY], 2),
        ("nothing-to-edit", &["topic", "edit", "orders"], 2),
    ];
    for (name, args, code) in cases {
        let run = run(args).exits(code);
        assert_eq!(run.stdout, "", "{name}: stdout is for data");
        check(&format!("error-{name}.txt"), &run.stderr);
    }
}
