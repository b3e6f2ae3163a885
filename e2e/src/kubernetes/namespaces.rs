//! Namespaces of a test's own.

use std::panic::AssertUnwindSafe;

use futures::FutureExt as _;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::PostParams;
use kube::core::params::DeleteParams;
use serde_json::json;

use super::Kubernetes;

impl Kubernetes {
    /// Runs a test with a namespace of its own, which enforces restricted Pod Security. However the
    /// test ends, the namespace is deleted, and is really gone when this returns.
    pub async fn with_namespace<T>(&self, name: &str, test: impl AsyncFnOnce(&str) -> T) -> T {
        let namespace = format!("e2e-{name}-{:04x}", rand::random::<u16>());
        self.create_namespace(&namespace).await;
        let outcome = AssertUnwindSafe(test(&namespace)).catch_unwind().await;
        match outcome {
            Ok(value) => {
                self.delete_namespace(&namespace).await;
                value
            }
            Err(panic) => {
                // Whether it goes is not what this test has failed for.
                let _ = AssertUnwindSafe(self.delete_namespace(&namespace))
                    .catch_unwind()
                    .await;
                std::panic::resume_unwind(panic)
            }
        }
    }

    pub(super) async fn create_namespace(&self, name: &str) {
        let namespace: Namespace = serde_json::from_value(json!({"metadata": {
            "name": name,
            "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
        }}))
        .expect("it is one");
        let api = self.everywhere::<Namespace>();
        if let Err(error) = api.create(&PostParams::default(), &namespace).await {
            panic!("creating namespace {name}: {error}");
        }
    }

    /// Whether there is such a namespace.
    pub async fn is_namespace(&self, name: &str) -> bool {
        let found = self.everywhere::<Namespace>().get_opt(name).await;
        found.expect("namespaces can be read").is_some()
    }

    /// Deletes a namespace and waits until it is gone. One that is gone already is as well.
    pub async fn delete_namespace(&self, name: &str) {
        let api = self.everywhere::<Namespace>();
        match api.delete(name, &DeleteParams::default()).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => panic!("deleting namespace {name}: {error}"),
        }
        let gone = async || match api.get_opt(name).await {
            Ok(None) => Ok(()),
            Ok(Some(namespace)) => Err(format!("{:#?}", namespace.status)),
            Err(error) => Err(error.to_string()),
        };
        self.until(&format!("namespace {name} goes"), name, gone)
            .await;
    }
}
