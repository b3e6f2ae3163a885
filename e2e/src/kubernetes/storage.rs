//! Volumes that can grow, and volumes that cannot, wherever the tests run.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::ResourceExt as _;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::core::params::DeleteParams;
use serde_json::json;

use super::{Kubernetes, NAMESPACE};

/// Marks the default StorageClass.
const IS_DEFAULT: &str = "storageclass.kubernetes.io/is-default-class";

/// Whether claims of a class may grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Growth {
    /// They may.
    Allowed,
    /// The API server refuses it.
    Refused,
}

impl Kubernetes {
    /// Makes a StorageClass like the default one but for growth.
    pub async fn storage_class(&self, name: &str, growth: Growth) {
        let api = self.everywhere::<StorageClass>();
        let classes = api.list(&ListParams::default()).await;
        let classes = classes.expect("StorageClasses can be listed").items;
        let is_default = |class: &StorageClass| {
            let mark = class.annotations().get(IS_DEFAULT);
            mark.is_some_and(|mark| mark == "true")
        };
        let mut class = classes
            .into_iter()
            .find(is_default)
            .expect("there is a default StorageClass");
        class.metadata = kube::core::ObjectMeta {
            name: Some(name.to_owned()),
            ..kube::core::ObjectMeta::default()
        };
        class.allow_volume_expansion = Some(growth == Growth::Allowed);
        self.delete_storage_class(name).await;
        let created = api.create(&PostParams::default(), &class).await;
        created.expect("a StorageClass can be made");
    }

    /// Deletes a StorageClass that was made by a test.
    pub async fn delete_storage_class(&self, name: &str) {
        let api = self.everywhere::<StorageClass>();
        match api.delete(name, &DeleteParams::default()).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => panic!("deleting StorageClass {name}: {error}"),
        }
    }

    /// Does for a claim what a resizer does: volumes of simple provisioners are directories, which
    /// nobody makes larger. Where there is a real one, it comes to the same.
    pub async fn resize_as_asked(&self, claim: &str) {
        let claims = self.api::<PersistentVolumeClaim>(NAMESPACE);
        let found: PersistentVolumeClaim = self.get(NAMESPACE, claim).await;
        let spec = found.spec.unwrap_or_default();
        let requests = spec.resources.and_then(|resources| resources.requests);
        let capacity = json!({"storage": requests.expect("it asks for storage")["storage"]});
        let volume = spec.volume_name.expect("it is bound");
        let (params, volumes) = (
            PatchParams::default(),
            self.everywhere::<PersistentVolume>(),
        );
        let patch = Patch::Merge(json!({"spec": {"capacity": capacity}}));
        let patched = volumes.patch(&volume, &params, &patch).await;
        patched.expect("a volume's capacity can be patched");
        let patch = Patch::Merge(json!({"status": {"capacity": capacity}}));
        let patched = claims.patch_status(claim, &params, &patch).await;
        patched.expect("a claim's status can be patched");
    }
}
