//! A broker of one's own: `headwater quickstart` on a free port and a fresh directory.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};

use crate::support::{Run, program, run, run_with_input};

/// Ends with the test.
pub(crate) struct Broker {
    child: Child,
    pub(crate) endpoint: String,
    /// What quickstart said until it served.
    pub(crate) said: String,
    dir: tempfile::TempDir,
}

impl Broker {
    /// Starts one and waits until it serves.
    pub(crate) fn start() -> Broker {
        Broker::start_in(tempfile::tempdir().expect("a directory"))
    }

    fn start_in(dir: tempfile::TempDir) -> Broker {
        let mut child = quickstart(dir.path(), "127.0.0.1:0")
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut said = String::new();
        let endpoint = loop {
            let before = said.len();
            assert_ne!(
                stdout.read_line(&mut said).expect("it can be read"),
                0,
                "{said}"
            );
            let line = said[before..].trim_end();
            if let Some(rest) = line.strip_prefix("Serving on ") {
                break rest.trim_end_matches(" until Ctrl-C.").to_owned();
            }
        };
        Broker {
            child,
            endpoint,
            said,
            dir,
        }
    }

    /// Runs the program against it.
    pub(crate) fn run(&self, args: &[&str]) -> Run {
        run(&[args, &["--endpoint", &self.endpoint]].concat())
    }

    /// Runs the program against it with `input` on stdin.
    pub(crate) fn run_with_input(&self, args: &[&str], input: &[u8]) -> Run {
        run_with_input(&[args, &["--endpoint", &self.endpoint]].concat(), input)
    }

    /// Ctrl-C; the exit code.
    pub(crate) fn interrupt(&mut self) -> Option<i32> {
        interrupt(&self.child);
        self.child.wait().expect("it ends").code()
    }

    /// Ctrl-C, and the same directory again.
    pub(crate) fn restart(mut self) -> Broker {
        assert_eq!(self.interrupt(), Some(0));
        let dir = std::mem::replace(&mut self.dir, tempfile::tempdir().expect("a directory"));
        Broker::start_in(dir)
    }

    /// Its data directory.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The command that starts a broker.
pub(crate) fn quickstart(dir: &Path, listen: &str) -> std::process::Command {
    let mut command = program();
    command
        .arg("quickstart")
        .arg("--dir")
        .arg(dir)
        .args(["--listen", listen]);
    command
}

/// Ctrl-C.
pub(crate) fn interrupt(child: &Child) {
    let status = std::process::Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(status.expect("there is a kill").success());
}
