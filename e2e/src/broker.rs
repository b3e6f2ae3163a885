//! A real broker process on a folder and ports of its own.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use headwater_client::{Client, ClientConfig};

use crate::process::forget;
use crate::{Process, Program};

/// How long a broker may take to serve, or to stop.
const PATIENCE: Duration = Duration::from_secs(180);

/// Where a broker keeps its data and what is set.
#[derive(Clone, Debug, Default)]
pub struct BrokerOptions {
    /// Folder for the data; a temporary one if absent.
    pub data_dir: Option<PathBuf>,
    /// Settings, as `key=value`.
    pub settings: Vec<String>,
    /// Variables of its environment. It has none of those of who runs the tests that may be settings or credentials.
    pub environment: Vec<(String, String)>,
    /// Processors that it may run on, as `taskset` takes them; all if absent.
    pub cpus: Option<String>,
}

/// A broker process. Killed when dropped.
pub struct Broker {
    process: Process,
    client_port: u16,
    http_port: u16,
    options: BrokerOptions,
    data_dir: PathBuf,
    /// Log of all processes, and the data unless it is kept elsewhere.
    scratch: tempfile::TempDir,
    /// From the start of the process until it served.
    started_in: Duration,
}

impl Broker {
    /// Starts a broker with the defaults and waits until it serves.
    pub fn start() -> Broker {
        Broker::start_with(BrokerOptions::default())
    }

    /// Starts a broker and waits until it serves.
    pub fn start_with(options: BrokerOptions) -> Broker {
        let scratch = tempfile::tempdir().expect("a temporary folder");
        let data_dir = options
            .data_dir
            .clone()
            .unwrap_or_else(|| scratch.path().join("data"));
        let (client_port, http_port) = (free_port(), free_port());
        let process = spawn(&data_dir, &options, client_port, http_port, scratch.path());
        let started_in = Duration::ZERO;
        let mut broker = Broker {
            process,
            client_port,
            http_port,
            options,
            data_dir,
            scratch,
            started_in,
        };
        broker.wait_ready(Instant::now());
        broker
    }

    /// `host:port` of the gRPC listener; the same after a restart.
    pub fn endpoint(&self) -> String {
        format!("127.0.0.1:{}", self.client_port)
    }

    /// Process id; another one after a restart.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Where the data is.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// How long the present process took from its start until it served.
    pub fn started_in(&self) -> Duration {
        self.started_in
    }

    /// A client that tries again quickly.
    pub async fn client(&self) -> Client {
        let pause = Duration::from_millis(20);
        let config = ClientConfig::new(self.endpoint()).backoff(pause, pause * 5);
        Client::connect(config).await.expect("the broker is ready")
    }

    /// Kills the process as `kill -9` does.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts the process again on the same data and ports, and waits until it serves.
    pub fn restart(&mut self) {
        let start = Instant::now();
        self.process = spawn(
            &self.data_dir,
            &self.options,
            self.client_port,
            self.http_port,
            self.scratch.path(),
        );
        self.wait_ready(start);
    }

    /// Asks the process to stop and waits for its end.
    pub fn stop(&mut self) -> ExitStatus {
        let ended = self.process.stop(PATIENCE);
        ended.unwrap_or_else(|| panic!("the broker does not stop:\n{}", self.log()))
    }

    /// Resident memory, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()))
            .expect("the process is alive and this is Linux");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line
            .and_then(|line| line.trim().strip_suffix(" kB"))
            .expect("VmRSS in kB");
        kib.parse::<u64>().expect("a number") * 1024
    }

    /// Body of an HTTP GET on the listener for metrics and health, if the answer is 200.
    pub fn http_get(&self, path: &str) -> Option<String> {
        http_get(self.http_port, path)
    }

    /// What the processes have logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.scratch.path().join(LOG)).unwrap_or_default()
    }

    fn wait_ready(&mut self, start: Instant) {
        let port = self.http_port;
        let ready = self
            .process
            .wait_until(PATIENCE, || http_get(port, "/readyz").is_some());
        if let Err(why) = ready {
            panic!("the broker is not ready: {why}\n{}", self.log());
        }
        self.started_in = start.elapsed();
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("log of the broker:\n{}", self.log());
        }
    }
}

const LOG: &str = "broker.log";

fn spawn(
    data_dir: &Path,
    options: &BrokerOptions,
    client_port: u16,
    http_port: u16,
    scratch: &Path,
) -> Process {
    let log = File::options()
        .create(true)
        .append(true)
        .open(scratch.join(LOG));
    let mut command = match &options.cpus {
        // Becomes the broker: the process id stays.
        Some(cpus) => {
            let mut command = Command::new("taskset");
            command
                .args(["--cpu-list", cpus])
                .arg(Program::Broker.path());
            command
        }
        None => Command::new(Program::Broker.path()),
    };
    command
        .arg("--form")
        .arg("--data-dir")
        .arg(data_dir)
        .args(["--listen", &format!("127.0.0.1:{client_port}")])
        .args(["--http", &format!("127.0.0.1:{http_port}")])
        .args(
            options
                .settings
                .iter()
                .flat_map(|setting| ["--set", setting]),
        )
        .stdout(Stdio::null())
        .stderr(log.expect("the log can be written"));
    // Settings in the environment of who runs the tests must not take part.
    forget(&mut command, &FORGOTTEN);
    command.envs(options.environment.iter().cloned());
    Process::start(&mut command).expect("the broker can be started")
}

/// Settings of a broker, and what stores take for credentials.
const FORGOTTEN: [&str; 6] = ["HEADWATER_", "AWS_", "AZURE_", "AZBLOB_", "GOOGLE_", "GCE_"];

fn http_get(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )
    .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.starts_with("HTTP/1.1 200").then(|| body.to_owned())
}

/// A port that nobody listens on just now. Not from the range that outgoing connections take
/// theirs from, or a client that reconnects during a restart could take it.
pub fn free_port() -> u16 {
    loop {
        let port = rand::random_range(20_000..32_000);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}
