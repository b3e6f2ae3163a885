//! An S3 server in this process: objects in memory, conditional writes, multipart uploads, small pages, and faults to
//! order. For every integration test that wants a bucket (`#[path = "…/s3_server/mod.rs"] mod s3_server;`).
#![allow(dead_code, unused_imports, reason = "each test uses a part of it")]

mod bucket;
mod fault;

pub(crate) use fault::{Fault, Strike};

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use s3s::auth::{S3Auth, SecretKey};
use s3s::service::S3ServiceBuilder;
use s3s::{S3Result, s3_error};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use bucket::{Bucket, State};

/// The bucket that is there.
pub(crate) const BUCKET: &str = "tier";

/// A server with one bucket. It ends when this is dropped.
pub(crate) struct S3Server {
    address: SocketAddr,
    access_key: String,
    secret_key: String,
    keys: Keys,
    state: Arc<Mutex<State>>,
    _tasks: JoinSet<()>,
}

/// The one key that is good, which may change.
#[derive(Clone)]
struct Keys(Arc<Mutex<(String, String)>>);

#[async_trait::async_trait]
impl S3Auth for Keys {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        let (good, secret) = self.0.lock().unwrap().clone();
        if access_key == good {
            Ok(SecretKey::from(secret))
        } else {
            Err(s3_error!(InvalidAccessKeyId))
        }
    }
}

impl S3Server {
    pub(crate) async fn start() -> S3Server {
        let (access_key, secret_key) = ("good-key".to_owned(), "good-secret".to_owned());
        let keys = Keys(Arc::new(Mutex::new((
            access_key.clone(),
            secret_key.clone(),
        ))));
        let state = Arc::new(Mutex::new(State::default()));
        let mut builder = S3ServiceBuilder::new(Bucket(state.clone()));
        builder.set_auth(keys.clone());
        let service = builder.build();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let service = service.clone();
                connections.spawn(async move {
                    let served = http1::Builder::new()
                        .timer(TokioTimer::new())
                        .serve_connection(TokioIo::new(stream), service);
                    // A client that goes in the middle is no matter here.
                    drop(served.await);
                });
            }
        });
        S3Server {
            address,
            access_key,
            secret_key,
            keys,
            state,
            _tasks: tasks,
        }
    }

    /// What `tier.url` is for objects below `prefix`.
    pub(crate) fn url(&self, prefix: &str) -> String {
        format!(
            "s3://{BUCKET}/{prefix}?region=us-east-1&endpoint=http://{}",
            self.address
        )
    }

    pub(crate) fn access_key(&self) -> &str {
        &self.access_key
    }

    pub(crate) fn secret_key(&self) -> &str {
        &self.secret_key
    }

    /// Writes the files that `tier.credentials_dir` is to have.
    pub(crate) fn write_credentials(&self, dir: &Path) {
        let (access_key, secret_key) = self.keys.0.lock().unwrap().clone();
        std::fs::write(dir.join("access_key_id"), access_key).unwrap();
        std::fs::write(dir.join("secret_access_key"), secret_key).unwrap();
    }

    /// From now on only this key is good.
    pub(crate) fn rotate_keys(&self, access_key: &str, secret_key: &str) {
        *self.keys.0.lock().unwrap() = (access_key.to_owned(), secret_key.to_owned());
    }

    /// Orders a fault; those ordered first strike first.
    pub(crate) fn inject(&self, fault: Fault) {
        self.state.lock().unwrap().faults.push(fault);
    }

    /// Heals everything.
    pub(crate) fn clear_faults(&self) {
        self.state.lock().unwrap().faults.clear();
    }

    /// From now on conditions on writes are ignored, as old servers do.
    pub(crate) fn ignore_conditions(&self) {
        self.state.lock().unwrap().ignores_conditions = true;
    }

    /// Objects on one page of a listing at most.
    pub(crate) fn set_page(&self, objects: usize) {
        self.state.lock().unwrap().page_objects = objects;
    }

    /// Requests so far of an operation of S3, by its name: `GetObject`.
    pub(crate) fn requests(&self, operation: &str) -> u64 {
        let state = self.state.lock().unwrap();
        state.requests.get(operation).copied().unwrap_or_default()
    }

    /// Keys of all objects, sorted.
    pub(crate) fn keys(&self) -> Vec<String> {
        self.state.lock().unwrap().objects.keys().cloned().collect()
    }

    /// Multipart uploads that were neither completed nor aborted.
    pub(crate) fn uploads(&self) -> usize {
        self.state.lock().unwrap().uploads.len()
    }

    /// Takes an object away behind everybody's back.
    pub(crate) fn lose(&self, key: &str) {
        assert!(self.state.lock().unwrap().objects.remove(key).is_some());
    }

    /// Flips a bit of an object.
    pub(crate) fn corrupt(&self, key: &str, byte: usize) {
        self.state.lock().unwrap().corrupt(key, byte);
    }
}
