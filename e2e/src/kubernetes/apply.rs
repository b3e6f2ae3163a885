//! Resources as YAML, applied as a user applies them.

use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, TypeMeta};
use kube::core::params::DeleteParams;
use serde::Deserialize as _;
use serde_json::Value;

use super::{Kubernetes, Object};

/// Who the user is, for the API server.
const FIELD_MANAGER: &str = "e2e";

/// Why the API server did not take a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub code: u16,
    /// What it said.
    pub message: String,
}

impl Kubernetes {
    /// Applies one or more documents, server side, as the only manager of what they say. What they
    /// do not say any more goes away; what somebody else manages is a conflict.
    ///
    /// # Errors
    /// When the API server refuses one of them.
    pub async fn apply(&self, namespace: &str, yaml: &str) -> Result<(), Refusal> {
        for document in serde_yaml::Deserializer::from_str(yaml) {
            let document = Value::deserialize(document).expect("a test's own YAML can be read");
            self.apply_one(namespace, &document).await?;
        }
        Ok(())
    }

    async fn apply_one(&self, namespace: &str, document: &Value) -> Result<(), Refusal> {
        let types: TypeMeta = serde_json::from_value(document.clone()).expect("it has a kind");
        let kind = GroupVersionKind::try_from(&types).expect("its apiVersion can be read");
        let resource = ApiResource::from_gvk(&kind);
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), namespace, &resource);
        let name = document["metadata"]["name"]
            .as_str()
            .expect("it has a name");
        let params = PatchParams::apply(FIELD_MANAGER).validation_strict();
        match api.patch(name, &params, &Patch::Apply(document)).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) => Err(Refusal {
                code: status.code,
                message: status.message.clone(),
            }),
            Err(error) => panic!("applying {name}: {error}"),
        }
    }

    /// Changes a resource as `kubectl patch --type=merge` does.
    pub async fn patch<K: Object>(&self, namespace: &str, name: &str, patch: Value) {
        let (api, params) = (self.api::<K>(namespace), PatchParams::default());
        if let Err(error) = api.patch(name, &params, &Patch::Merge(patch)).await {
            panic!("patching {name}: {error}");
        }
    }

    /// Asks for the deletion of a resource and does not wait for it. That it is gone is as well.
    pub async fn delete<K: Object>(&self, namespace: &str, name: &str) {
        self.delete_with::<K>(namespace, name, &DeleteParams::default())
            .await;
    }

    /// The same with parameters, such as no time to stop.
    pub async fn delete_with<K: Object>(&self, namespace: &str, name: &str, params: &DeleteParams) {
        match self.api::<K>(namespace).delete(name, params).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => panic!("deleting {name}: {error}"),
        }
    }

    /// A resource that must be there.
    pub async fn get<K: Object>(&self, namespace: &str, name: &str) -> K {
        let found = self.api::<K>(namespace).get(name).await;
        found.unwrap_or_else(|error| panic!("getting {name}: {error}"))
    }

    /// A resource that may be there.
    pub async fn find<K: Object>(&self, namespace: &str, name: &str) -> Option<K> {
        let found = self.api::<K>(namespace).get_opt(name).await;
        found.unwrap_or_else(|error| panic!("getting {name}: {error}"))
    }
}
