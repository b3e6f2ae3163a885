use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus_client::registry::Registry;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use super::{AdminState, Readiness, serve};
use crate::metrics::Metrics;

struct Server {
    address: SocketAddr,
    readiness: watch::Sender<Readiness>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<std::io::Result<()>>,
}

async fn start() -> Server {
    let mut registry = Registry::default();
    Metrics::register(&mut registry);
    let (readiness, watched) = watch::channel(Readiness::NotReady("opening logs".to_owned()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let state = AdminState {
        registry: Arc::new(registry),
        readiness: watched,
    };
    let (stop, stopped) = oneshot::channel();
    let stopped = async { stopped.await.unwrap() };
    let task = tokio::spawn(serve(listener, state, stopped));
    Server {
        address,
        readiness,
        stop,
        task,
    }
}

/// Status and body.
async fn get(server: &Server, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (
        head.split(' ').nth(1).unwrap().parse().unwrap(),
        body.to_owned(),
    )
}

#[tokio::test]
async fn readiness_follows_and_liveness_does_not() {
    let server = start().await;
    assert_eq!(
        get(&server, "/readyz").await,
        (503, "opening logs\n".to_owned())
    );
    assert_eq!(get(&server, "/livez").await, (200, "ok\n".to_owned()));
    server.readiness.send_replace(Readiness::Ready);
    assert_eq!(get(&server, "/readyz").await, (200, "ready\n".to_owned()));
    server
        .readiness
        .send_replace(Readiness::NotReady("stopping".to_owned()));
    assert_eq!(
        get(&server, "/readyz").await,
        (503, "stopping\n".to_owned())
    );
    assert_eq!(get(&server, "/livez").await, (200, "ok\n".to_owned()));
}

#[tokio::test]
async fn metrics_and_version_are_there_and_nothing_else() {
    let server = start().await;
    let (status, text) = get(&server, "/metrics").await;
    assert_eq!(status, 200);
    assert!(
        text.contains("headwater_produced_records_total 0\n"),
        "{text}"
    );
    assert!(text.ends_with("# EOF\n"));
    let version = format!("{{\"version\":\"{}\"}}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(get(&server, "/version").await, (200, version));
    assert_eq!(get(&server, "/").await.0, 404);
}

#[tokio::test]
async fn a_client_that_says_nothing_does_not_hold_up_the_stop() {
    let server = start().await;
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    silent.write_all(b"GET /metr").await.unwrap();
    // The server has taken the connection once it answers a later one.
    get(&server, "/livez").await;
    let begun = Instant::now();
    server.stop.send(()).unwrap();
    server.task.await.unwrap().unwrap();
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
}
