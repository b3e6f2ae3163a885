//! An API server that says what it is told to, and opens tunnels as a kubelet would.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tungstenite::protocol::Role;
use tungstenite::{Message, WebSocket};

use crate::support::{Run, finish, program};

/// What there is at a path; `None` is 404, as for kinds that are not known.
type Objects = dyn Fn(&str) -> Option<Value> + Send + Sync;

/// The server, and a kubeconfig that leads to it.
pub(crate) struct Api {
    dir: tempfile::TempDir,
    state: Arc<State>,
}

struct State {
    objects: Box<Objects>,
    asked: Mutex<Vec<String>>,
    /// Where the tunnels to a pod end.
    backends: Mutex<HashMap<String, SocketAddr>>,
    tunnels: Mutex<Vec<TcpStream>>,
}

impl Api {
    /// Starts one; it ends with the tests.
    pub(crate) fn start(objects: impl Fn(&str) -> Option<Value> + Send + Sync + 'static) -> Api {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let state = Arc::new(State {
            objects: Box::new(objects),
            asked: Mutex::default(),
            backends: Mutex::default(),
            tunnels: Mutex::default(),
        });
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                std::thread::spawn(move || state.serve(stream));
            }
        });
        let dir = tempfile::tempdir().expect("a directory");
        let kubeconfig = format!(
            "current-context: here\n\
             contexts: [{{name: here, context: {{cluster: c, user: u, namespace: shop}}}}]\n\
             clusters: [{{name: c, cluster: {{server: 'http://{address}'}}}}]\n\
             users: [{{name: u, user: {{}}}}]\n"
        );
        std::fs::write(dir.path().join("kubeconfig"), kubeconfig).expect("it can be written");
        Api { dir, state }
    }

    /// The file.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.dir.path().join("kubeconfig")
    }

    /// The program, with the kubeconfig and contexts of its own.
    pub(crate) fn command(&self) -> Command {
        let mut command = program();
        command.env("KUBECONFIG", self.kubeconfig());
        command.env("HEADWATER_CONTEXTS", self.dir.path().join("contexts.yaml"));
        command
    }

    /// Runs it to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Run {
        finish(self.command().args(args))
    }

    /// Every request so far: method, path, body.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.state.asked.lock().expect("no panic").clone()
    }

    /// Where tunnels to a pod end. Those to other pods are forbidden.
    pub(crate) fn backend(&self, pod: &str, address: SocketAddr) {
        let mut backends = self.state.backends.lock().expect("no panic");
        backends.insert(pod.to_owned(), address);
    }

    /// Ends all tunnels, as when their pod ends.
    pub(crate) fn cut(&self) {
        for tunnel in self.state.tunnels.lock().expect("no panic").drain(..) {
            // It may have ended already.
            let _ = tunnel.shutdown(Shutdown::Both);
        }
    }
}

impl State {
    /// Answers one request after the other.
    fn serve(&self, stream: TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
        let mut writer = stream;
        loop {
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                if reader.read_line(&mut head).unwrap_or(0) == 0 {
                    return;
                }
            }
            let length = header(&head, "content-length").and_then(|value| value.parse().ok());
            let mut body = vec![0; length.unwrap_or(0)];
            if reader.read_exact(&mut body).is_err() {
                return;
            }
            let mut words = head.split(' ');
            let (method, target) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
            let path = target.split('?').next().unwrap_or_default();
            let asked = format!("{method} {path} {}", String::from_utf8_lossy(&body));
            let asked = asked.trim().to_owned();
            self.asked.lock().expect("no panic").push(asked);
            if let Some(path) = path.strip_suffix("/portforward") {
                let pod = path.rsplit('/').next().unwrap_or_default();
                return self.tunnel(writer, pod, &head);
            }
            let (status, text) = match (self.objects)(path) {
                Some(value) => ("200 OK", value.to_string()),
                None => ("404 Not Found", "404 page not found\n".to_owned()),
            };
            let head = format!(
                "HTTP/1.1 {status}\r\ncontent-type: application/json\r\n\
                 content-length: {}\r\n\r\n",
                text.len()
            );
            if writer.write_all((head + &text).as_bytes()).is_err() {
                return;
            }
        }
    }

    /// Carries bytes between a websocket and the pod's backend: channel 0 is data, 1 is errors, and
    /// each begins with the port.
    fn tunnel(&self, mut client: TcpStream, pod: &str, head: &str) {
        let backend = self.backends.lock().expect("no panic").get(pod).copied();
        let Some(backend) = backend else {
            // The client may have gone.
            let _ = client.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n");
            return;
        };
        let key = header(head, "sec-websocket-key").expect("a websocket");
        let accept = tungstenite::handshake::derive_accept_key(key.as_bytes());
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\
             connection: Upgrade\r\nsec-websocket-protocol: v4.channel.k8s.io\r\n\
             sec-websocket-accept: {accept}\r\n\r\n"
        );
        client.write_all(answer.as_bytes()).expect("it is open");
        let mut to_backend = TcpStream::connect(backend).expect("the backend listens");
        let mut from_backend = to_backend.try_clone().expect("a second handle");
        let handle = to_backend.try_clone().expect("a third handle");
        self.tunnels.lock().expect("no panic").push(handle);
        let writer = client.try_clone().expect("a second handle");
        let mut writer = WebSocket::from_raw_socket(writer, Role::Server, None);
        std::thread::spawn(move || {
            let port = 7650_u16.to_le_bytes();
            for channel in [0, 1] {
                let first = vec![channel, port[0], port[1]];
                writer.send(Message::binary(first)).expect("it is open");
            }
            let mut buffer = [0; 32 * 1024];
            while let Ok(length @ 1..) = from_backend.read(&mut buffer) {
                let data = [&[0], &buffer[..length]].concat();
                if writer.send(Message::binary(data)).is_err() {
                    return;
                }
            }
            // The client may have gone first.
            let _ = writer.close(None);
        });
        let mut reader = WebSocket::from_raw_socket(client, Role::Server, None);
        while let Ok(Message::Binary(data)) = reader.read() {
            if data.first() == Some(&0) && to_backend.write_all(&data[1..]).is_err() {
                break;
            }
        }
        let _ = to_backend.shutdown(Shutdown::Both);
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(": ")?;
        key.eq_ignore_ascii_case(name).then_some(value)
    })
}
