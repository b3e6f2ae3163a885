//! Servers that stand for two clouds, in memory, on ports of their own. Killed when dropped.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use headwater_e2e::{Process, everything, free_port};

/// Container and bucket.
const BUCKET: &str = "tier";
/// How long one may take to listen.
const PATIENCE: Duration = Duration::from_secs(60);

/// One that runs.
struct Server {
    _process: Process,
    port: u16,
}

impl Server {
    /// Starts a program and waits until it listens; `None`, and a word about it, if it may not run or is not there.
    fn start(
        program: &str,
        install: &str,
        arguments: impl Fn(u16) -> Vec<String>,
    ) -> Option<Server> {
        if !everything(&format!(" and {program}")) {
            return None;
        }
        let port = free_port();
        let mut command = Command::new(program);
        command
            .args(arguments(port))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let Ok(mut process) = Process::start(&mut command) else {
            eprintln!("not run: needs {program} in PATH; install it by `{install}`");
            return None;
        };
        let listens = process.wait_until_it_listens(port, PATIENCE);
        listens.unwrap_or_else(|why| panic!("{program}: {why}"));
        Some(Server {
            _process: process,
            port,
        })
    }
}

/// The account that every azurite knows, from its documentation.
const ACCOUNT: &str = "devstoreaccount1";
const ACCOUNT_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// Azure Blob Storage.
pub(crate) struct Azurite(Server);

impl Azurite {
    pub(crate) fn start() -> Option<Azurite> {
        let arguments = |port: u16| {
            let port = port.to_string();
            let words = ["--blobHost", "127.0.0.1", "--blobPort", &port];
            let more = [
                "--inMemoryPersistence",
                "--skipApiVersionCheck",
                "--disableTelemetry",
            ];
            words
                .iter()
                .chain(&more)
                .map(|word| word.to_string())
                .collect()
        };
        let server = Server::start("azurite-blob", "npm install azurite@3.35.0", arguments)?;
        // A broker makes no containers; a signed request does, and node is there with azurite.
        let port = server.port.to_string();
        let made = Command::new("node")
            .args(["-e", MAKE_CONTAINER, &port, ACCOUNT, ACCOUNT_KEY, BUCKET])
            .status();
        assert!(made.expect("node runs").success());
        Some(Azurite(server))
    }

    pub(crate) fn url(&self, prefix: &str) -> String {
        let port = self.0.port;
        format!(
            "azblob://{BUCKET}/{prefix}?account={ACCOUNT}&endpoint=http://127.0.0.1:{port}/{ACCOUNT}"
        )
    }

    pub(crate) fn account(&self) -> &'static str {
        ACCOUNT
    }

    pub(crate) fn account_key(&self) -> &'static str {
        ACCOUNT_KEY
    }
}

/// "Authorize with Shared Key" of Azure's documentation, for one request.
const MAKE_CONTAINER: &str = r"
const [port, account, key, container] = process.argv.slice(1);
const date = new Date().toUTCString(), version = '2021-12-02';
const resource = `/${account}/${account}/${container}\nrestype:container`;
const text = 'PUT' + '\n'.repeat(12) + `x-ms-date:${date}\nx-ms-version:${version}\n${resource}`;
const mac = require('crypto').createHmac('sha256', Buffer.from(key, 'base64')).update(text);
const headers = {
  'x-ms-date': date, 'x-ms-version': version, 'content-length': '0',
  authorization: `SharedKey ${account}:${mac.digest('base64')}`,
};
const path = `/${account}/${container}?restype=container`;
require('http').request({ host: '127.0.0.1', port, method: 'PUT', path, headers },
  (answer) => process.exit(answer.statusCode === 201 ? 0 : 1)).end();
";

/// Google Cloud Storage, and the service that gives tokens for it.
pub(crate) struct FakeGcs {
    server: Server,
    credential: String,
    /// What is exchanged for a token.
    _subject: tempfile::NamedTempFile,
}

impl FakeGcs {
    /// What a token is given for.
    pub(crate) const SUBJECT: &str = "somebody-whose-name-is-a-secret";

    pub(crate) fn start() -> Option<FakeGcs> {
        let install = "go install github.com/fsouza/fake-gcs-server@v1.56.1";
        let server = Server::start("fake-gcs-server", install, |port| {
            let address = format!("127.0.0.1:{port}");
            let port = port.to_string();
            let words = [
                "-scheme",
                "http",
                "-backend",
                "memory",
                "-host",
                "127.0.0.1",
            ];
            let more = ["-port", &port, "-public-host", &address];
            words
                .iter()
                .chain(&more)
                .map(|word| word.to_string())
                .collect()
        })?;
        make_bucket(server.port);
        let subject = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(subject.path(), FakeGcs::SUBJECT).unwrap();
        let credential = serde_json::json!({
            "type": "external_account",
            "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/p",
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": format!("http://127.0.0.1:{}/token", serve(TOKEN.to_owned())),
            "credential_source": { "file": subject.path(), "format": { "type": "text" } },
        });
        Some(FakeGcs {
            server,
            credential: credential.to_string(),
            _subject: subject,
        })
    }

    pub(crate) fn url(&self, prefix: &str) -> String {
        let port = self.server.port;
        format!("gcs://{BUCKET}/{prefix}?endpoint=http://127.0.0.1:{port}")
    }

    pub(crate) fn credential(&self) -> &str {
        &self.credential
    }
}

fn make_bucket(port: u16) {
    let body = format!("{{\"name\":\"{BUCKET}\"}}");
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    write!(
        stream,
        "POST /storage/v1/b?project=p HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// fake-gcs-server asks for none, but a client of Google does not do without.
const TOKEN: &str = r#"{"access_token":"token","token_type":"Bearer","expires_in":3600,
    "issued_token_type":"urn:ietf:params:oauth:token-type:access_token"}"#;

/// Gives everybody the same answer, until the process ends; says on which port.
pub(crate) fn serve(body: String) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            // The request is small and comes at once.
            let _ = stream.read(&mut [0; 16 << 10]);
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\
                 Content-Length: {}\r\n\r\n{body}",
                body.len()
            );
        }
    });
    port
}
