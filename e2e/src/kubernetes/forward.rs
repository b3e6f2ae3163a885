//! A port of this machine that leads to a broker.

use std::fs::File;
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use headwater_client::{Client, ClientConfig};
use tempfile::NamedTempFile;
use tokio::time::sleep;

use super::{Kubernetes, NAMESPACE};
use crate::Program;
use crate::free_port;

/// How long a forwarding program may take to listen.
const PATIENCE: Duration = Duration::from_secs(60);

/// A program that forwards a port. It ends when this is dropped.
pub struct Forward {
    program: Child,
    port: u16,
    log: NamedTempFile,
}

impl Kubernetes {
    /// Forwards to a Cluster by `headwater k8s port-forward`, which outlives the pod.
    pub async fn forward(&self, cluster: &str) -> Forward {
        let port = free_port();
        let mut command = Command::new(Program::Cli.path());
        command
            .args(["k8s", "port-forward", cluster, "-n", NAMESPACE, "--port"])
            .arg(port.to_string());
        Forward::start(command, port).await
    }

    /// Forwards to a Cluster's Service by kubectl; ends with the pod that it has chosen.
    pub async fn kubectl_forward(&self, cluster: &str) -> Forward {
        let port = free_port();
        let mut command = Command::new("kubectl");
        command
            .args(["port-forward", "-n", NAMESPACE])
            .args([format!("service/{cluster}"), format!("{port}:7650")]);
        Forward::start(command, port).await
    }
}

impl Forward {
    async fn start(mut command: Command, port: u16) -> Forward {
        let log = NamedTempFile::new().expect("a temporary file");
        let to = |file: &File| Stdio::from(file.try_clone().expect("a file can be shared"));
        let program = command
            .stdin(Stdio::null())
            .stdout(to(log.as_file()))
            .stderr(to(log.as_file()))
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?} cannot be run: {error}"));
        let mut forward = Forward { program, port, log };
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            let ended = forward.program.try_wait().expect("it can be waited for");
            assert!(
                ended.is_none() && Instant::now() < deadline,
                "{command:?} does not listen: {}",
                forward.log()
            );
            sleep(Duration::from_millis(20)).await;
        }
        forward
    }

    /// `host:port` on this machine.
    pub fn endpoint(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// A client that tries again quickly.
    pub async fn client(&self) -> Client {
        connect(&self.endpoint()).await
    }

    /// What the program has said.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log.path()).unwrap_or_default()
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        // It may have ended by itself, which is as good.
        let _ = self.program.kill();
        let _ = self.program.wait();
        if std::thread::panicking() {
            eprintln!("what the port forwarding said:\n{}", self.log());
        }
    }
}

/// A client that tries again quickly.
pub(super) async fn connect(endpoint: &str) -> Client {
    let pause = Duration::from_millis(20);
    let config = ClientConfig::new(endpoint).backoff(pause, pause * 5);
    Client::connect(config).await.expect("a broker is ready")
}
