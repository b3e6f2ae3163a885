//! Processes that end with the test.

use std::io;
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

/// Between two looks at a process that is waited for.
const LOOK_INTERVAL: Duration = Duration::from_millis(2);

/// A process. Killed when dropped.
pub struct Process(Child);

impl Process {
    /// Starts it.
    pub fn start(command: &mut Command) -> io::Result<Process> {
        Ok(Process(command.spawn()?))
    }

    /// Its id.
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Waits until it serves; the error says why it does not.
    pub fn wait_until(
        &mut self,
        patience: Duration,
        mut serves: impl FnMut() -> bool,
    ) -> Result<(), String> {
        let deadline = Instant::now() + patience;
        while !serves() {
            if let Some(status) = self.0.try_wait().expect("it can be waited for") {
                return Err(format!("it has ended with {status}"));
            }
            if deadline < Instant::now() {
                return Err(format!("it does not serve within {patience:?}"));
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
        Ok(())
    }

    /// Waits until it takes connections; the error says why it does not.
    pub fn wait_until_it_listens(&mut self, port: u16, patience: Duration) -> Result<(), String> {
        self.wait_until(patience, || {
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
        })
    }

    /// Kills it as `kill -9` does.
    pub fn kill(&mut self) {
        self.0.kill().expect("the process can be killed");
        self.0.wait().expect("the process can be waited for");
    }

    /// Asks it to stop, and waits for its end; `None` if it does not end.
    pub fn stop(&mut self, patience: Duration) -> Option<ExitStatus> {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it is alive");
        let deadline = Instant::now() + patience;
        loop {
            let ended = self.0.try_wait().expect("it can be waited for");
            if ended.is_some() || deadline < Instant::now() {
                return ended;
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself, which is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Keeps variables of whoever runs the tests from a program, by the beginnings of their names.
pub(crate) fn forget(command: &mut Command, beginnings: &[&str]) {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if beginnings
            .iter()
            .any(|beginning| text.starts_with(beginning))
        {
            command.env_remove(&name);
        }
    }
}
