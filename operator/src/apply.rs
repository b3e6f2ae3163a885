//! The one place that writes to the API server what the operator owns.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::Eviction;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, ObjectMeta, Preconditions};
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams, ValidationDirective};
use kube::core::gvk::GroupVersionKind;
use kube::core::{ApiResource, TypeMeta};
use kube::{Client, Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use headwater_crds::{FIELD_MANAGER, Quantity};

/// Annotation with a digest of what was applied last, so that a child from which something was taken
/// out is seen to differ.
const APPLIED_ANNOTATION: &str = "headwater.dev/applied";

/// How it stands with a child after it was asked for.
pub(crate) enum Ensured {
    /// It is as it shall be.
    Is(Box<DynamicObject>),
    /// An object of that name belongs to somebody else.
    Taken {
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
    },
    /// It belongs to a deleted owner of the same name, and Kubernetes is about to remove it.
    Leaving {
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
    },
}

/// Makes a child what it shall be. Fields that stand in `child` are ours, all others stay as they
/// are. Looks first, so that a child that is so already costs no write, and nobody else's object is
/// taken over.
pub(crate) async fn ensure<K>(client: &Client, owner: &K, child: &Value) -> kube::Result<Ensured>
where
    K: Resource<DynamicType = ()>,
{
    let mut child = child.clone();
    let digest = format!("{:x}", Sha256::digest(child.to_string()));
    child["metadata"]["annotations"][APPLIED_ANNOTATION] = json!(digest);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (kind, name) = (text(&child["kind"]), text(&child["metadata"]["name"]));
    let api = dynamic(client, &child)?;
    if let Some(is) = api.get_opt(&name).await? {
        match whose(&is, owner) {
            Whose::Ours if is_within(&child, &serde_json::to_value(&is).unwrap_or_default()) => {
                return Ok(Ensured::Is(Box::new(is)));
            }
            Whose::Ours => {}
            Whose::Former => return Ok(Ensured::Leaving { kind, name }),
            Whose::Others => return Ok(Ensured::Taken { kind, name }),
        }
    }
    let parameters = PatchParams {
        field_validation: Some(ValidationDirective::Strict),
        ..PatchParams::apply(FIELD_MANAGER).force()
    };
    let applied = api.patch(&name, &parameters, &Patch::Apply(&child)).await?;
    Ok(Ensured::Is(Box::new(applied)))
}

/// The API of a child by what it says of itself.
fn dynamic(client: &Client, child: &Value) -> kube::Result<Api<DynamicObject>> {
    let types: TypeMeta = serde_json::from_value(json!({
        "apiVersion": child["apiVersion"], "kind": child["kind"],
    }))
    .map_err(kube::Error::SerdeError)?;
    let kind = GroupVersionKind::try_from(&types)
        .map_err(|error| kube::Error::Service(format!("a child without a kind: {error}").into()))?;
    let namespace = child["metadata"]["namespace"].as_str().unwrap_or_default();
    let resource = ApiResource::from_gvk(&kind);
    Ok(Api::namespaced_with(client.clone(), namespace, &resource))
}

/// Who an object belongs to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// This owner's, or nobody's and made by us: its owner was deleted and left it as an orphan.
    Ours,
    /// An earlier owner's of the same kind and name.
    Former,
    /// Somebody else's.
    Others,
}

/// Who an object belongs to, seen from `owner`.
pub(crate) fn whose<K: Resource<DynamicType = ()>>(
    object: &impl kube::ResourceExt,
    owner: &K,
) -> Whose {
    let references = object.owner_references();
    let controller = references
        .iter()
        .find(|reference| reference.controller == Some(true));
    let managed = object.labels().get("app.kubernetes.io/managed-by");
    match controller {
        Some(reference) if Some(&reference.uid) == owner.meta().uid.as_ref() => Whose::Ours,
        Some(reference)
            if reference.kind == K::kind(&())
                && Some(&reference.name) == owner.meta().name.as_ref() =>
        {
            Whose::Former
        }
        None if managed.is_some_and(|by| by == FIELD_MANAGER) => Whose::Ours,
        _ => Whose::Others,
    }
}

/// Whether everything that stands in `shall` stands in `is` with the same value. The API server
/// writes quantities in its own way, and leaves out what is empty.
fn is_within(shall: &Value, is: &Value) -> bool {
    match (shall, is) {
        (Value::Object(shall), Value::Object(is)) => shall.iter().all(|(key, value)| {
            let is = is.get(key);
            is.map_or_else(|| is_empty(value), |is| is_within(value, is))
        }),
        (Value::Array(shall), Value::Array(is)) => {
            shall.len() == is.len() && shall.iter().zip(is).all(|(shall, is)| is_within(shall, is))
        }
        (Value::String(shall), Value::String(is)) => shall == is || is_same_amount(shall, is),
        (shall, is) => shall == is,
    }
}

fn is_empty(value: &Value) -> bool {
    value.as_array().is_some_and(Vec::is_empty)
        || value.as_object().is_some_and(|map| map.is_empty())
}

/// Whether two texts are the same quantity, such as `1Gi` and `1024Mi`.
pub(crate) fn is_same_amount(one: &str, other: &str) -> bool {
    let amount = |text: &str| Quantity(text.to_owned()).amount();
    amount(one).is_some_and(|one| Some(one) == amount(other))
}

/// Replaces the status of a resource of ours, if it says something new.
pub(crate) async fn status<K, S>(
    api: &Api<K>,
    object: &K,
    old: Option<&S>,
    new: &S,
) -> kube::Result<()>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
    S: Serialize + PartialEq,
{
    if old == Some(new) {
        return Ok(());
    }
    let whole = json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        // With the UID: never the status of another object of that name.
        "metadata": {"name": object.name_any(), "uid": object.uid()},
        "status": new,
    });
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    api.patch_status(&object.name_any(), &parameters, &Patch::Apply(whole))
        .await?;
    Ok(())
}

/// Whether an object has a finalizer.
pub(crate) fn has_finalizer<K: Resource>(object: &K, finalizer: &str) -> bool {
    let present = object.meta().finalizers.iter().flatten();
    present.into_iter().any(|present| present == finalizer)
}

/// What is gone already is as wanted.
pub(crate) fn or_gone<T>(result: kube::Result<T>) -> kube::Result<()> {
    match result {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(error),
    }
}

/// That only the object that was looked at is meant, and no other of its name.
pub(crate) fn uid_of<K: Resource>(object: &K) -> kube::api::Preconditions {
    kube::api::Preconditions {
        uid: object.meta().uid.clone(),
        resource_version: None,
    }
}

/// Evicts the pod that has this UID, and no other of that name. `Api::evict` of kube 5.0 writes the
/// precondition under a name that the API server drops.
pub(crate) async fn evict(
    client: &Client,
    namespace: &str,
    pod: &str,
    uid: &str,
) -> kube::Result<()> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let eviction = Eviction {
        metadata: ObjectMeta {
            name: Some(pod.to_owned()),
            ..ObjectMeta::default()
        },
        delete_options: Some(DeleteOptions {
            preconditions: Some(Preconditions {
                uid: Some(uid.to_owned()),
                resource_version: None,
            }),
            ..DeleteOptions::default()
        }),
    };
    let answer: Value = pods
        .create_subresource("eviction", pod, &PostParams::default(), &eviction)
        .await?;
    tracing::debug!(pod, uid, %answer, "evicted");
    Ok(())
}

/// Puts a finalizer on or takes it off; off an object that is gone is no error. Refused if somebody
/// else has changed the resource since.
pub(crate) async fn finalizer<K>(
    api: &Api<K>,
    object: &K,
    finalizer: &str,
    wanted: bool,
) -> kube::Result<()>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
{
    let mut finalizers = object.finalizers().to_vec();
    if has_finalizer(object, finalizer) == wanted {
        return Ok(());
    }
    if wanted {
        finalizers.push(finalizer.to_owned());
    } else {
        finalizers.retain(|present| present != finalizer);
    }
    let patch = json!({"metadata": {
        "finalizers": finalizers,
        "resourceVersion": object.resource_version(),
    }});
    let (name, parameters) = (object.name_any(), PatchParams::default());
    or_gone(api.patch(&name, &parameters, &Patch::Merge(patch)).await)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_as_it_shall_be_if_nothing_that_we_said_is_different() {
        let shall = json!({"spec": {"ports": [{"name": "grpc", "port": 7650}]}});
        let mut is = json!({
            "spec": {"ports": [{"name": "grpc", "port": 7650, "nodePort": 1}], "type": "ClusterIP"},
            "status": {},
        });
        assert!(is_within(&shall, &is));
        is["spec"]["ports"][0]["port"] = json!(1);
        assert!(!is_within(&shall, &is));
        is["spec"]["ports"] = json!([]);
        assert!(!is_within(&shall, &is));
        let asked = json!({"limits": {"cpu": "0.5", "memory": "1024Mi"}, "tolerations": []});
        assert!(is_within(
            &asked,
            &json!({"limits": {"cpu": "500m", "memory": "1Gi"}})
        ));
        assert!(!is_within(
            &asked,
            &json!({"limits": {"cpu": "500m", "memory": "2Gi"}})
        ));
    }

    #[test]
    fn an_object_of_the_same_name_is_ours_or_somebody_elses() {
        let cluster: headwater_crds::Cluster = serde_json::from_value(json!({
            "metadata": {"name": "demo", "uid": "1"}, "spec": {"storage": {"size": "1Gi"}},
        }))
        .unwrap();
        let check = |metadata: Value, expected| {
            let object: DynamicObject =
                serde_json::from_value(json!({"metadata": metadata})).unwrap();
            assert_eq!(whose(&object, &cluster), expected, "{metadata}");
        };
        let owned = |kind: &str, uid: &str| {
            json!({"ownerReferences": [{
                "apiVersion": "headwater.dev/v1alpha1", "kind": kind, "name": "demo", "uid": uid,
                "controller": true,
            }]})
        };
        check(owned("Cluster", "1"), Whose::Ours);
        check(owned("Cluster", "0"), Whose::Former);
        check(owned("Deployment", "0"), Whose::Others);
        check(
            json!({"labels": {"app.kubernetes.io/managed-by": FIELD_MANAGER}}),
            Whose::Ours,
        );
        check(
            json!({"labels": {"app.kubernetes.io/managed-by": "Helm"}}),
            Whose::Others,
        );
        check(json!({}), Whose::Others);
    }
}
