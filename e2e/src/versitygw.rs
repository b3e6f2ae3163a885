//! A real S3 server: versitygw on a folder and a port of its own.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::{Process, everything, free_port};

/// How it is installed. It needs no C library, so that it can be an image of its own.
const INSTALL: &str = "CGO_ENABLED=0 go install github.com/versity/versitygw/cmd/versitygw@v1.8.0";
/// How long it may take to listen.
const PATIENCE: Duration = Duration::from_secs(30);
/// The bucket of every test. Below the server's folder, a bucket is a folder.
pub const BUCKET: &str = "tier";
/// What it is known as to clients that do not care.
const REGION: &str = "us-east-1";

/// What a client of the server shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Public part.
    pub access: String,
    /// Secret part.
    pub secret: String,
}

impl Account {
    /// An account by name, with a secret that no other has.
    pub fn new(name: &str) -> Account {
        Account {
            access: name.to_owned(),
            secret: format!("{:032x}", rand::random::<u128>()),
        }
    }
}

/// A server process with one empty bucket. Killed when dropped.
pub struct Versitygw {
    program: PathBuf,
    process: Process,
    port: u16,
    root: Account,
    /// Objects, accounts and logs.
    folder: tempfile::TempDir,
}

impl Versitygw {
    /// The program, if everything may run and it is there; otherwise a word about it.
    pub fn program() -> Option<PathBuf> {
        if !everything(" and versitygw") {
            return None;
        }
        let given = std::env::var_os("HEADWATER_VERSITYGW").map(PathBuf::from);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut candidates = given
            .into_iter()
            .chain(std::env::split_paths(&path).map(|folder| folder.join("versitygw")));
        let found = candidates.find(|program| program.is_file());
        if found.is_none() {
            eprintln!(
                "not run: needs versitygw in PATH or named by HEADWATER_VERSITYGW; install it by \
                 `{INSTALL}`"
            );
        }
        found
    }

    /// Starts a server. `None`, and a word about it, if it may not run or is not there.
    pub fn start() -> Option<Versitygw> {
        Some(Versitygw::run(&Versitygw::program()?))
    }

    /// Starts a server of this program.
    pub fn run(program: &Path) -> Versitygw {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for name in ["accounts", "data", "data/tier"] {
            std::fs::create_dir(folder.path().join(name)).expect("a folder can be made");
        }
        let (port, root) = (free_port(), Account::new("root"));
        let process = spawn(program, port, &root, folder.path());
        let mut server = Versitygw {
            program: program.to_owned(),
            process,
            port,
            root,
            folder,
        };
        server.wait_ready();
        server
    }

    /// Of the process that runs now.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Where it listens, as a URL.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The `tier.url` of a prefix in the bucket.
    pub fn url(&self, prefix: &str) -> String {
        let endpoint = self.endpoint();
        format!("s3://{BUCKET}/{prefix}?region={REGION}&endpoint={endpoint}")
    }

    /// Makes an account that may do everything in the bucket.
    pub fn add(&self, account: &Account) {
        let Account { access, secret } = account;
        let user = ["--access", access, "--secret", secret, "--role", "admin"];
        self.admin("create-user", &user);
    }

    /// Takes an account away.
    pub fn remove(&self, account: &Account) {
        self.admin("delete-user", &["--access", &account.access]);
    }

    /// Who may do everything.
    pub fn root(&self) -> &Account {
        &self.root
    }

    /// The bucket's objects as files.
    pub fn bucket(&self) -> PathBuf {
        self.folder.path().join("data").join(BUCKET)
    }

    /// The operation of each request so far, such as `s3_PutObject`.
    pub fn requests(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.folder.path().join(ACCESS_LOG));
        let log = log.expect("the server writes it");
        let words = log.lines().flat_map(str::split_whitespace);
        words
            .filter(|word| word.starts_with("s3_"))
            .map(str::to_owned)
            .collect()
    }

    /// Kills the server as `kill -9` does.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again on the same folder and port.
    pub fn restart(&mut self) {
        self.process = spawn(&self.program, self.port, &self.root, self.folder.path());
        self.wait_ready();
    }

    fn admin(&self, command: &str, arguments: &[&str]) {
        let mut admin = Command::new(&self.program);
        admin
            .args(["admin", "--access", &self.root.access])
            .args(["--secret", &self.root.secret])
            .args(["--endpoint-url", &self.endpoint(), command])
            .args(arguments);
        let output = admin.output().expect("it runs");
        assert!(output.status.success(), "{command}: {output:?}");
    }

    fn wait_ready(&mut self) {
        let listens = self.process.wait_until_it_listens(self.port, PATIENCE);
        if let Err(why) = listens {
            panic!("versitygw: {why}\n{}", self.log());
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join(LOG)).unwrap_or_default()
    }
}

impl Drop for Versitygw {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("log of versitygw:\n{}", self.log());
        }
    }
}

const LOG: &str = "server.log";
const ACCESS_LOG: &str = "requests.log";

fn spawn(program: &Path, port: u16, root: &Account, folder: &Path) -> Process {
    let log = File::options()
        .create(true)
        .append(true)
        .open(folder.join(LOG))
        .expect("the log can be written");
    let errors = log.try_clone().expect("a file can be shared");
    let mut command = Command::new(program);
    command
        .args(["--quiet", "--port", &format!("127.0.0.1:{port}")])
        // An account that was taken away is gone at once.
        .arg("--iam-cache-disable")
        .arg("--iam-dir")
        .arg(folder.join("accounts"))
        .arg("--access-log")
        .arg(folder.join(ACCESS_LOG))
        .arg("posix")
        .arg(folder.join("data"))
        .env("ROOT_ACCESS_KEY", &root.access)
        .env("ROOT_SECRET_KEY", &root.secret)
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors);
    Process::start(&mut command).expect("versitygw can be started")
}
