//! An API server for tests: answers by a table, and remembers what was asked.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use headwater_crds::Cluster;
use http::{Request, Response};
use kube::client::Body;
use serde_json::{Value, json};

use crate::brokers::Tonic;
use crate::context::{Context, Settings};
use crate::metrics::Metrics;

/// A request: method, path and body.
pub(crate) type Asked = (String, String, Value);

/// What was asked so far.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<Asked>>>);

impl Log {
    /// Everything that was asked but events and reads.
    pub(crate) fn writes(&self) -> Vec<Asked> {
        let asked = self.0.lock().unwrap().clone();
        let is_write = |asked: &Asked| asked.0 != "GET" && !asked.1.contains("/events");
        asked.into_iter().filter(is_write).collect()
    }

    /// Type, reason and note of each event.
    pub(crate) fn events(&self) -> Vec<[String; 3]> {
        let asked = self.0.lock().unwrap().clone();
        let events = asked
            .into_iter()
            .filter(|(method, path, _)| method == "POST" && path.contains("/events"));
        let text =
            |event: &Value, field: &str| event[field].as_str().unwrap_or_default().to_owned();
        events
            .map(|(_, _, event)| ["type", "reason", "note"].map(|field| text(&event, field)))
            .collect()
    }

    /// `METHOD last-part-of-path` of each write.
    pub(crate) fn summary(&self) -> Vec<String> {
        let last = |path: &str| {
            let parts: Vec<&str> = path.split('/').collect();
            parts[parts.len().saturating_sub(2)..].join("/")
        };
        let writes = self.writes();
        writes
            .iter()
            .map(|(method, path, _)| format!("{method} {}", last(path)))
            .collect()
    }
}

/// A client of an API server that has the objects of `objects`, by path, and says yes to every
/// write.
pub(crate) fn server(objects: Vec<(String, Value)>) -> (kube::Client, Log) {
    let log = Log::default();
    let asked = log.clone();
    let service = tower::service_fn(move |request: Request<Body>| {
        let (asked, objects) = (asked.clone(), objects.clone());
        async move {
            let (head, body) = request.into_parts();
            let bytes = body.collect_bytes().await.unwrap_or_default();
            let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
            let (method, path) = (head.method.to_string(), head.uri.path().to_owned());
            asked
                .0
                .lock()
                .unwrap()
                .push((method.clone(), path.clone(), body.clone()));
            let of = path.strip_suffix("/status").unwrap_or(&path);
            let found = objects.iter().find(|(known, _)| known == of);
            let (status, answer) = match (method.as_str(), found) {
                (_, Some((_, object))) => (200, object.clone()),
                ("GET" | "DELETE", None) => {
                    let gone = json!({
                        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404,
                        "reason": "NotFound", "message": path,
                    });
                    (404, gone)
                }
                (_, None) => (201, body),
            };
            let response = Response::builder().status(status);
            let body = Body::from(answer.to_string().into_bytes());
            Ok::<_, Infallible>(response.body(body).unwrap())
        }
    });
    (kube::Client::new(service, "headwater"), log)
}

/// A context on such a server.
pub(crate) fn context(objects: Vec<(String, Value)>) -> (Arc<Context>, Log) {
    let (client, log) = server(objects);
    let settings = Settings {
        namespace: "headwater".to_owned(),
        cluster_namespaces: vec!["headwater".to_owned()],
        default_image: "docker.io/headwater/headwater:0.1.0".to_owned(),
    };
    let brokers = Arc::new(Tonic::default());
    (
        Context::new(client, settings, brokers, Metrics::default()),
        log,
    )
}

/// A Cluster `demo` that is being deleted, with policy `Delete` and its finalizer.
pub(crate) fn deleted_cluster() -> Cluster {
    serde_json::from_value(json!({
        "apiVersion": "headwater.dev/v1alpha1", "kind": "Cluster",
        "metadata": {
            "name": "demo", "namespace": "headwater", "uid": "u1", "resourceVersion": "7",
            "deletionTimestamp": "2026-01-01T00:00:00Z",
            "finalizers": [headwater_crds::CLUSTER_FINALIZER],
        },
        "spec": {"storage": {"size": "1Gi"}, "deletionPolicy": "Delete"},
    }))
    .unwrap()
}
