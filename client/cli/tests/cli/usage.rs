//! What can be said without a broker.

use crate::support::{finish, program, run};

#[test]
fn usage_errors_exit_with_2_and_leave_stdout_alone() {
    let cases: [&[&str]; 19] = [
        &[],
        &["frobnicate"],
        &["produce"],
        &["consume"],
        &["consume", "t", "--max", "some"],
        &["consume", "t", "-o", "xml"],
        &["topic", "create"],
        &["topic", "create", "t", "--partitions", "0"],
        &["topic", "list", "-o", "xml"],
        &["topic", "edit", "t", "--tiering", "maybe"],
        &["tier"],
        &["tier", "status", "-o", "xml"],
        &["produce", "t", "--rate", "0"],
        &["produce", "t", "-H", "no-equals-sign"],
        &["perf", "produce", "--rate", "0"],
        &["k8s"],
        &["k8s", "status", "-o", "xml"],
        &["k8s", "port-forward", "--port", "70000"],
        &["k8s", "unstick", "demo"],
    ];
    for args in cases {
        let run = run(args).exits(2);
        assert_eq!(run.stdout, "", "{args:?}");
        assert!(!run.stderr.is_empty(), "{args:?}");
    }
}

#[test]
fn max_format_and_file_have_no_short_form_and_f_is_follow() {
    run(&["produce", "t", "-f", "x"]).exits(2);
    run(&["consume", "t", "-m", "1"]).exits(2);
    let help = run(&["consume", "--help"]).exits(0).stdout;
    assert!(help.contains("-f, --follow"), "{help}");
    assert!(help.contains("-n, --namespace"), "{help}");
}

#[test]
fn every_shell_gets_a_completion_script() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = run(&["completion", shell]).exits(0).stdout;
        assert!(script.contains("delete-records"), "{shell}");
    }
}

#[test]
fn contexts_are_kept_used_and_forgotten() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("config.yaml");
    let headwater = |args: &[&str]| finish(program().env("HEADWATER_CONTEXTS", &file).args(args));
    headwater(&["context", "add", "home"])
        .exits(2)
        .says("--endpoint HOST:PORT");
    headwater(&["context", "add", "home", "--endpoint", "home:7650"]).exits(0);
    headwater(&[
        "context",
        "add",
        "work",
        "--endpoint",
        "work:1",
        "-n",
        "shop",
    ])
    .exits(0);
    let show = headwater(&["context", "show", "-o", "json"])
        .exits(0)
        .stdout;
    let shown: serde_json::Value = serde_json::from_str(&show).expect("it is JSON");
    assert_eq!(
        (&shown["endpoint"], &shown["namespace"]),
        (&"work:1".into(), &"shop".into())
    );
    headwater(&["context", "use", "home"]).exits(0);
    let list = headwater(&["context", "list"]).exits(0).stdout;
    assert!(list.contains("*   home   home:7650"), "{list}");
    assert_eq!(
        headwater(&["context", "list", "-o", "name"])
            .exits(0)
            .stdout,
        "home\nwork\n"
    );
    headwater(&["context", "remove", "home"]).exits(0);
    headwater(&["context", "use", "home"])
        .exits(3)
        .says("there is no context home");
    let show = headwater(&["context", "show"]).exits(0).stdout;
    assert!(
        show.contains("localhost:7650") && show.contains("the default"),
        "{show}"
    );
}

#[test]
fn the_command_line_wins_over_the_environment() {
    let mut command = program();
    command.env("HEADWATER_ENDPOINT", "127.0.0.1:1");
    finish(command.args(["cluster", "info"]))
        .exits(1)
        .says("127.0.0.1:1")
        .says("HEADWATER_ENDPOINT");
    let flag = ["cluster", "info", "--endpoint", "127.0.0.1:2"];
    finish(command.args(&flag[2..]))
        .exits(1)
        .says("127.0.0.1:2")
        .says("--endpoint");
}

#[test]
fn colour_is_for_terminals_unless_it_is_demanded() {
    let args = ["topic", "list", "--endpoint", "127.0.0.1:1"];
    assert!(!run(&args).exits(1).stderr.contains('\x1b'));
    let coloured = [&args[..], &["--color", "always"]].concat();
    run(&coloured).exits(1).says("\x1b[31merror:");
}

#[test]
fn a_server_that_never_answers_is_a_timeout() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let endpoint = silent.local_addr().expect("it is bound").to_string();
    let patience = ["--timeout", "300ms", "--endpoint", &endpoint];
    run(&[&["topic", "list"][..], &patience].concat())
        .exits(4)
        .says("within 300ms");
    let doctor = run(&[&["doctor"][..], &patience].concat()).exits(1).stdout;
    assert!(
        doctor.contains("✓ tcp") && doctor.contains("✗ metadata"),
        "{doctor}"
    );
}
