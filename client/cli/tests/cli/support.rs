//! Runs the program.

#[cfg(feature = "embedded")]
use std::io::Write;
use std::process::{Command, Stdio};

/// What a run left behind.
pub(crate) struct Run {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// `None` if a signal ended it.
    pub(crate) code: Option<i32>,
}

/// The program, away from the user's own settings and from any terminal.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headwater"));
    for name in ["ENDPOINT", "CONTEXT", "NAMESPACE", "LOG"] {
        command.env_remove(format!("HEADWATER_{name}"));
    }
    command.env("HEADWATER_CONTEXTS", "/nonexistent/headwater/config.yaml");
    command.env("KUBECONFIG", "/nonexistent/kubeconfig");
    command.env_remove("KUBERNETES_SERVICE_HOST");
    command
        .env("COLUMNS", "100")
        .env("TZ", "UTC")
        .stdin(Stdio::null());
    command
}

/// Runs it to its end.
pub(crate) fn run(args: &[&str]) -> Run {
    finish(program().args(args))
}

/// Runs it to its end with `input` on stdin.
#[cfg(feature = "embedded")]
pub(crate) fn run_with_input(args: &[&str], input: &[u8]) -> Run {
    let mut child = program()
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    let input = input.to_vec();
    let writer = std::thread::spawn(move || {
        // A program that ends early does not read everything.
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().expect("the program ends");
    writer.join().expect("the writer ends");
    Run::from(output)
}

/// Runs a prepared command to its end.
pub(crate) fn finish(command: &mut Command) -> Run {
    Run::from(command.output().expect("the program starts"))
}

impl From<std::process::Output> for Run {
    fn from(output: std::process::Output) -> Run {
        Run {
            stdout: String::from_utf8(output.stdout).expect("stdout is UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("stderr is UTF-8"),
            code: output.status.code(),
        }
    }
}

impl Run {
    /// Asserts the exit code, and shows what was said otherwise.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Run {
        assert_eq!(
            self.code,
            Some(code),
            "stdout: {}\nstderr: {}",
            self.stdout,
            self.stderr
        );
        self
    }

    /// Asserts what stderr says.
    #[track_caller]
    pub(crate) fn says(self, part: &str) -> Run {
        assert!(
            self.stderr.contains(part),
            "{part:?} is not in stderr:\n{}",
            self.stderr
        );
        self
    }
}
