//! Processes: where they run, and what the kernel says that they used. Linux only.

use std::error::Error;
use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use headwater_e2e::Process;

use crate::progress::say;

/// What a subject fills with pages of files at most: a GiB of records, and a GiB of objects.
const TOUCHED_BYTES: usize = 2 << 30;

/// How long a server may take to serve, or to stop.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long a load, or reading it back, may take. The slowest takes a third of it.
pub(crate) const LOAD_PATIENCE: Duration = Duration::from_secs(600);

/// Servers have one core, what drives them the other.
pub(crate) const SERVER_CPU: &str = "0";
pub(crate) const LOAD_CPU: &str = "1";

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

/// Writes to as much memory as a subject fills with pages of files. A virtual machine gets a page from its host when it is
/// first touched, and may have given it back when it is touched again, a few seconds after it was freed: that costs whoever
/// happens to touch it several times what writing to it does.
pub(crate) fn touch_memory() {
    drop(std::hint::black_box(vec![1_u8; TOUCHED_BYTES]));
}

/// A program that has not come to its end, and was killed.
#[derive(Debug)]
pub(crate) struct Hung {
    program: String,
    after: Duration,
}

impl fmt::Display for Hung {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Hung { program, after } = self;
        write!(to, "{program} has not ended in {} s", after.as_secs())
    }
}

impl Error for Hung {}

/// Runs a load to its end and returns what it printed.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    output_within(LOAD_PATIENCE, command)
}

/// Runs a command to its end, which comes by then or is made, and returns what it printed. What a command that fails has
/// printed goes to the terminal, not into the error: tables show that.
pub(crate) fn output_within(patience: Duration, command: &mut Command) -> Result<String> {
    let program = name(command);
    let deadline = Instant::now() + patience;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("{program} does not start"))?;
    let stdout = to_the_end(child.stdout.take().context("no pipe to a program")?);
    let stderr = to_the_end(child.stderr.take().context("no pipe to a program")?);
    // Neither waits for a program that somebody else has started, and that holds the pipes still.
    let text = |pipe: Receiver<String>| {
        let left = deadline.saturating_duration_since(Instant::now());
        pipe.recv_timeout(left).unwrap_or_default()
    };
    let (stdout, stderr) = (text(stdout), text(stderr));
    let failed = match ended(&mut child, deadline)? {
        Some(status) if status.success() => return Ok(stdout),
        Some(status) => anyhow::anyhow!("{program} ended with {status}"),
        None => {
            child.kill()?;
            child.wait()?;
            let after = patience;
            Hung { program, after }.into()
        }
    };
    say(format_args!("{failed}: {command:?}\n{stdout}\n{stderr}"));
    Err(failed)
}

/// Reads all that comes, beside the caller.
fn to_the_end(mut pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (send, receive) = channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What has come until then is of use, too.
        let _ = pipe.read_to_end(&mut bytes);
        // Whoever has waited for too long is not there any more.
        let _ = send.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    receive
}

/// Waits until a process ends. `None` if it has not by then.
fn ended(child: &mut Child, deadline: Instant) -> Result<Option<ExitStatus>> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if deadline < Instant::now() {
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// What a command runs, without its folder.
fn name(command: &Command) -> String {
    let mut words = std::iter::once(command.get_program()).chain(command.get_args());
    let mut program = words.next().unwrap_or_default();
    if program == "taskset" {
        program = words.nth(2).unwrap_or(program);
    }
    let path = Path::new(program);
    let name = path.file_name().unwrap_or(program);
    name.to_string_lossy().into_owned()
}

/// Starts a server whose output goes to `log`, and waits until it takes connections.
pub(crate) fn serve(command: &mut Command, log: &Path, port: u16) -> Result<Process> {
    let log_file = fs::File::options().create(true).append(true).open(log)?;
    command
        .stdin(Stdio::null())
        .stdout(log_file.try_clone()?)
        .stderr(log_file);
    let mut process =
        Process::start(command).with_context(|| format!("{} does not start", name(command)))?;
    if let Err(why) = process.wait_until_it_listens(port, PATIENCE) {
        let log = fs::read_to_string(log).unwrap_or_default();
        say(format_args!("{command:?} does not serve: {why}\n{log}"));
        bail!("{} does not serve", name(command));
    }
    Ok(process)
}

/// Kills a server, which is as a power loss would be but for the page cache, or asks it to stop; and waits until it has.
pub(crate) fn end(process: &mut Process, kill: bool) -> Result<()> {
    match kill {
        true => process.kill(),
        false => ensure!(process.stop(PATIENCE).is_some(), "a server does not stop"),
    }
    Ok(())
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
    fn what_a_command_prints_is_returned_and_what_fails_or_hangs_is_an_error() {
        let shell = |script: &str| {
            let mut shell = Command::new("sh");
            shell.args(["-c", script]);
            output_within(Duration::from_millis(300), &mut shell)
        };
        assert_eq!(shell("echo said").unwrap(), "said\n");
        let failed = shell("echo why >&2; exit 3").unwrap_err();
        assert_eq!(failed.to_string(), "sh ended with exit status: 3");
        let hung = shell("exec sleep 60").unwrap_err();
        assert!(hung.is::<Hung>(), "{hung}");
        // Whoever holds the pipe outlives the shell, and is not waited for.
        assert_eq!(shell("sleep 2 & exit 0").unwrap(), "");
    }

    #[test]
    fn a_pinned_command_is_called_what_it_runs() {
        assert_eq!(name(&on_load_cpu("/somewhere/else/java")), "java");
        assert_eq!(name(&Command::new("mvn")), "mvn");
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
