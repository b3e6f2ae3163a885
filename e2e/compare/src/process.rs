//! Processes: where they run, and what the kernel says that they used. Linux only.

use std::ffi::OsStr;
use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// A GiB for each of the servers and a floor.
const TOUCHED_BYTES: usize = 4 << 30;

/// How long a server may take to serve, or to stop.
const PATIENCE: Duration = Duration::from_secs(120);

/// Servers have one core, what drives them the other.
pub(crate) const SERVER_CPU: &str = "0";
const LOAD_CPU: &str = "1";

/// A command on the servers' core.
pub(crate) fn on_server_cpu(program: impl AsRef<OsStr>) -> Command {
    pinned(SERVER_CPU, program)
}

/// A command on the load's core.
pub(crate) fn on_load_cpu(program: impl AsRef<OsStr>) -> Command {
    pinned(LOAD_CPU, program)
}

/// Moves a process that runs, with all its threads, to the load's core.
pub(crate) fn move_to_load_cpu(pid: u32) -> Result<()> {
    let mut taskset = Command::new("taskset");
    taskset.args(["--all-tasks", "--cpu-list", "--pid", LOAD_CPU]);
    output(taskset.arg(pid.to_string())).map(drop)
}

fn pinned(cpu: &str, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", cpu]).arg(program);
    command
}

/// Writes to as much memory as a run fills with pages of files. A virtual machine gets a page from its host when it is
/// first touched, and may have given it back when it is touched again: that costs whoever happens to touch it.
pub(crate) fn touch_memory() {
    drop(std::hint::black_box(vec![1_u8; TOUCHED_BYTES]));
}

/// Runs a command to its end and returns what it printed.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let Output {
        status,
        stdout,
        stderr,
    } = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{command:?} does not start"))?;
    let (stdout, stderr) = (
        String::from_utf8_lossy(&stdout),
        String::from_utf8_lossy(&stderr),
    );
    ensure!(
        status.success(),
        "{command:?} ended with {status}\n{stdout}\n{stderr}"
    );
    Ok(stdout.into_owned())
}

/// A server process. Killed when dropped.
pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// Starts a server whose output goes to `log`, and waits until it takes connections.
    pub(crate) fn serve(command: &mut Command, log: &Path, port: u16) -> Result<Process> {
        let log_file = fs::File::options().create(true).append(true).open(log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(log_file.try_clone()?)
            .stderr(log_file)
            .spawn()
            .with_context(|| format!("{command:?} does not start"))?;
        let mut process = Process { child };
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = process.child.try_wait()?;
            if ended.is_some() || deadline < Instant::now() {
                bail!(
                    "{command:?} does not serve: {}",
                    fs::read_to_string(log).unwrap_or_default()
                );
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(process)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills it, or asks it to stop, and waits until it has.
    pub(crate) fn end(&mut self, kill: bool) -> Result<()> {
        match kill {
            true => self.kill(),
            false => self.stop(),
        }
    }

    /// Asks it to stop, and waits until it has.
    fn stop(&mut self) -> Result<()> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let deadline = Instant::now() + PATIENCE;
        while self.child.try_wait()?.is_none() {
            ensure!(
                Instant::now() < deadline,
                "process {} does not stop",
                self.pid()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Ends it as a power loss would, but for the page cache.
    fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself, which is as good.
        let _ = self.kill();
    }
}

/// What a process and all below it use.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Usage {
    /// User and system, since the start.
    pub(crate) cpu_seconds: f64,
    pub(crate) resident_mib: f64,
    /// Resident, with shared pages divided among those who share them.
    pub(crate) proportional_mib: f64,
}

/// Asks the kernel.
pub(crate) fn usage(pid: u32) -> Result<Usage> {
    let mut sum = Usage::default();
    for pid in tree(pid)? {
        let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}"));
        let smaps = read("smaps_rollup")?;
        let mib = |name| kib(&smaps, name).map(|kib| kib / 1024.0);
        sum.cpu_seconds += cpu_seconds(&read("stat")?)?;
        sum.resident_mib += mib("Rss:")?;
        sum.proportional_mib += mib("Pss:")?;
    }
    Ok(sum)
}

/// Open descriptors of a process.
pub(crate) fn descriptors(pid: u32) -> Result<usize> {
    Ok(fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}

/// The process and all below it.
fn tree(root: u32) -> Result<Vec<u32>> {
    let mut pids = vec![root];
    let mut at = 0;
    while let Some(pid) = pids.get(at) {
        // Children are kept by the thread that made them.
        for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
            let children = fs::read_to_string(thread?.path().join("children")).unwrap_or_default();
            pids.extend(
                children
                    .split_whitespace()
                    .filter_map(|pid| pid.parse::<u32>().ok()),
            );
        }
        at += 1;
    }
    Ok(pids)
}

/// Linux reports times to programs in this unit on every architecture (`USER_HZ`).
const CLOCK_TICKS_PER_SECOND: f64 = 100.0;

fn cpu_seconds(stat: &str) -> Result<f64> {
    // The second field is the program's name in parentheses and may itself hold spaces.
    let (_, fields) = stat.rsplit_once(')').context("/proc stat without a name")?;
    let times: Vec<f64> = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    ensure!(times.len() == 2, "/proc stat without times");
    Ok(times.iter().sum::<f64>() / CLOCK_TICKS_PER_SECOND)
}

fn kib(smaps: &str, name: &str) -> Result<f64> {
    let line = smaps.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    Ok(kib
        .with_context(|| format!("/proc smaps_rollup without {name}"))?
        .parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_a_name_with_spaces_and_parentheses() {
        let stat = "12 (a) b) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0";
        assert_eq!(cpu_seconds(stat).unwrap(), 3.0);
        assert!(cpu_seconds("12 (a) S 1").is_err());
    }

    #[test]
    fn memory_is_found_by_its_name() {
        let smaps = "7f-80 ---p 0 00:00 0 [rollup]\nRss:        2048 kB\nPss:    1024 kB\n";
        assert_eq!(kib(smaps, "Rss:").unwrap(), 2048.0);
        assert_eq!(kib(smaps, "Pss:").unwrap(), 1024.0);
        assert!(kib(smaps, "Swap:").is_err());
    }

    #[test]
    fn a_tree_holds_its_children() {
        let mut shell = Command::new("sh")
            .args(["-c", "sleep 60 & wait"])
            .spawn()
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while tree(shell.id()).unwrap().len() < 2 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        let pids = tree(shell.id()).unwrap();
        assert_eq!(pids.len(), 2);
        assert!(0.0 < usage(shell.id()).unwrap().resident_mib);
        for pid in pids.into_iter().rev() {
            let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        }
        shell.wait().unwrap();
    }
}
