//! Applies what was built, in the order in which it is safe: disk, configuration, children,
//! identity, restart. Decisions are made in the pure files beside it.

use headwater_crds::{Cluster, Reason, Verdict};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Secret};
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use rand::RngCore as _;
use serde_json::json;
use uuid::Uuid;

use super::dereference::{Found, InternalSecret};
use super::validate::ValidCluster;
use super::{Error, build, claims, identity, observe, restart, status};
use crate::apply::{self, Ensured};
use crate::brokers::BrokerError;
use crate::context::Context;
use crate::events;

/// What a reconciliation came to.
pub(super) struct Outcome {
    pub(super) verdict: Verdict,
    /// What runs from now on while the resource says nothing; none: as before.
    pub(super) pinned: Option<Pinned>,
}

/// What runs until the resource asks for something else.
pub(super) struct Pinned {
    pub(super) image: String,
    pub(super) version: String,
}

impl Outcome {
    /// Nothing was applied.
    pub(super) fn refused(verdict: Verdict) -> Outcome {
        Outcome {
            verdict,
            pinned: None,
        }
    }
}

/// Brings the children to what the resource asks, and says how far they are.
pub(super) async fn converge(
    context: &Context,
    cluster: &Cluster,
    valid: &ValidCluster,
    found: &Found,
) -> Result<Outcome, Error> {
    let disk = grow(context, cluster, valid, found).await?;
    if let Some(verdict) = refused_configuration(context, valid, found).await {
        return Ok(Outcome::refused(verdict));
    }
    let secret = match &found.secret {
        Some(secret) => secret.clone(),
        None => create_secret(context, valid).await?,
    };
    let set = match children(context, cluster, valid, found, &disk).await? {
        Ok(set) => set,
        Err(verdict) => return Ok(Outcome::refused(verdict)),
    };
    let verdict = match restarted(context, cluster, &set, found).await? {
        Some(verdict) => verdict,
        None => match identified(context, cluster, &secret, found).await? {
            Some(verdict) => verdict,
            None => observe::obstacle(found).unwrap_or_else(|| serves(found)),
        },
    };
    let pins = pins(cluster, &verdict);
    Ok(Outcome {
        verdict: disk.judge(verdict),
        pinned: pins.then(|| Pinned {
            image: valid.image.clone(),
            version: valid.version.clone(),
        }),
    })
}

/// Whether what was applied is what shall run while nothing is said: what the resource says counts
/// only once it has served, so that taking a bad image out again is enough.
pub(super) fn pins(cluster: &Cluster, verdict: &Verdict) -> bool {
    let spec = &cluster.spec;
    let image = spec
        .image
        .as_ref()
        .and_then(|image| image.reference.as_ref());
    let unsaid = image.is_none() && spec.version.is_none();
    unsaid || matches!(verdict, Verdict::Ready { .. })
}

fn serves(found: &Found) -> Verdict {
    let broker = found.broker.as_ref();
    let id = broker
        .map(|broker| broker.cluster_id.as_str())
        .unwrap_or_default();
    let version = broker
        .map(|broker| broker.version.as_str())
        .unwrap_or_default();
    Verdict::Ready {
        message: format!("1 broker serves, version {version}, cluster {id}"),
    }
}

/// How it stands with the size of the disk.
struct Disk {
    /// What the StatefulSet's template shall ask for.
    template: String,
    /// What there is to say about it.
    verdict: Option<Verdict>,
}

impl Disk {
    /// A disk that cannot grow is for a person, whatever else there is; one that grows keeps an
    /// otherwise finished cluster from being called ready.
    fn judge(self, other: Verdict) -> Verdict {
        match (self.verdict, other) {
            (Some(Verdict::Stalled { reason, message }), Verdict::Ready { .. }) => {
                Verdict::Stalled { reason, message }
            }
            (Some(Verdict::Stalled { reason, message }), other) => Verdict::Stalled {
                reason,
                message: format!("{message}. Besides: {}", other.message()),
            },
            (Some(growing), Verdict::Ready { .. }) => growing,
            (_, other) => other,
        }
    }
}

/// Grows the claim if it is smaller than asked.
async fn grow(
    context: &Context,
    cluster: &Cluster,
    valid: &ValidCluster,
    found: &Found,
) -> Result<Disk, Error> {
    let wanted = &cluster.spec.storage.size.0;
    let claim = build::claim_name(&valid.name);
    let as_asked = |verdict| Disk {
        template: wanted.clone(),
        verdict,
    };
    let growing = |capacity: &str| Verdict::Reconciling {
        reason: Reason::ResizingClaim,
        message: format!("claim {claim} has {capacity} and grows to {wanted}"),
    };
    match claims::plan(found.claim.as_ref(), wanted) {
        claims::Step::Nothing => Ok(as_asked(None)),
        claims::Step::Growing { capacity } => Ok(as_asked(Some(growing(&capacity)))),
        claims::Step::Grow { from } => {
            let api: Api<PersistentVolumeClaim> =
                Api::namespaced(context.client.clone(), &valid.namespace);
            let patch = json!({"spec": {"resources": {"requests": {"storage": wanted}}}});
            match api
                .patch(&claim, &PatchParams::default(), &Patch::Merge(patch))
                .await
            {
                Ok(_) => {
                    let note = format!("claim {claim} from {from} to {wanted}");
                    events::normal(context, cluster, "ClaimGrown", note).await;
                    Ok(as_asked(Some(growing(&from))))
                }
                Err(kube::Error::Api(refusal)) if matches!(refusal.code, 403 | 422) => {
                    let class = found
                        .claim
                        .as_ref()
                        .and_then(|claim| claim.spec.as_ref()?.storage_class_name.clone())
                        .unwrap_or_default();
                    let message = format!(
                        "claim {claim} cannot grow from {from} to {wanted} in StorageClass {class}: \
                         {}; use a class with allowVolumeExpansion, or declare another Cluster with \
                         a larger disk",
                        refusal.message
                    );
                    Ok(Disk {
                        template: from,
                        verdict: Some(Verdict::Stalled {
                            reason: Reason::ClaimNotResizable,
                            message,
                        }),
                    })
                }
                Err(error) => Err(error.into()),
            }
        }
    }
}

/// Asks a broker that answers whether it would start with a configuration that is new to it.
async fn refused_configuration(
    context: &Context,
    valid: &ValidCluster,
    found: &Found,
) -> Option<Verdict> {
    let set = found.stateful_set.as_ref()?;
    let same_file = build::configuration_of(set) == Some(&build::digest(&valid.configuration));
    let memory = build::memory_of(set).zip(valid.limits.get("memory"));
    if same_file && memory.is_some_and(|(is, shall)| apply::is_same_amount(is, shall)) {
        return None;
    }
    let endpoint = found.endpoint.as_ref().filter(|_| found.broker.is_some())?;
    let checked = context
        .brokers
        .check_configuration(endpoint, valid.configuration_with_memory());
    let problems = checked.await.ok().filter(|problems| !problems.is_empty())?;
    Some(Verdict::Stalled {
        reason: Reason::InvalidConfiguration,
        message: format!(
            "the broker would not start with this configuration, so nothing was changed: {}",
            problems.join("; ")
        ),
    })
}

async fn create_secret(context: &Context, valid: &ValidCluster) -> Result<InternalSecret, Error> {
    let mut bytes = [0; 32];
    rand::rng().fill_bytes(&mut bytes);
    let secret: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let object = build::internal_secret(&valid.name, &valid.namespace, &secret);
    let api: Api<Secret> = Api::namespaced(context.client.clone(), &valid.namespace);
    // Created, never applied: if one is there by now, it wins.
    let created = api.create(&PostParams::default(), &object).await?;
    Ok(InternalSecret {
        version: created.resource_version(),
        secret,
        ..InternalSecret::default()
    })
}

/// Applies every child. A verdict instead of the StatefulSet says what is in the way.
async fn children(
    context: &Context,
    cluster: &Cluster,
    valid: &ValidCluster,
    found: &Found,
    disk: &Disk,
) -> Result<Result<StatefulSet, Verdict>, Error> {
    for child in build::around_the_pod(cluster, valid)? {
        if let Err(verdict) = ensure(context, cluster, &child).await? {
            return Ok(Err(verdict));
        }
    }
    let replacing = Verdict::Reconciling {
        reason: Reason::ResizingClaim,
        message: "the StatefulSet is replaced for the new size; the pod goes on".to_owned(),
    };
    if let Some(set) = &found.stateful_set
        && claims::is_another_template(
            set,
            &disk.template,
            cluster.spec.storage.class_name.as_deref(),
        )
        && apply::whose(set, cluster) == apply::Whose::Ours
    {
        let api: Api<StatefulSet> = Api::namespaced(context.client.clone(), &valid.namespace);
        if set.metadata.deletion_timestamp.is_none() {
            let orphan = DeleteParams::orphan().preconditions(apply::uid_of(set));
            api.delete(&valid.name, &orphan).await?;
        }
        return Ok(Err(replacing));
    }
    let set = build::stateful_set(cluster, valid, &disk.template);
    Ok(
        match ensure(context, cluster, &serde_json::to_value(set)?).await? {
            Ok(object) => Ok(object.try_parse().map_err(|error| {
                kube::Error::Service(format!("the StatefulSet cannot be read: {error}").into())
            })?),
            Err(verdict) => Err(verdict),
        },
    )
}

/// One child, or why it cannot be.
async fn ensure(
    context: &Context,
    cluster: &Cluster,
    child: &serde_json::Value,
) -> Result<Result<kube::api::DynamicObject, Verdict>, Error> {
    Ok(
        match apply::ensure(&context.client, cluster, child).await? {
            Ensured::Is(object) => Ok(*object),
            Ensured::Taken { kind, name } => Err(Verdict::Stalled {
                reason: Reason::NameTaken,
                message: format!(
                    "{kind} {name} exists and is not this operator's; remove it, or declare the Cluster \
                 under another name"
                ),
            }),
            Ensured::Leaving { kind, name } => Err(Verdict::Reconciling {
                reason: Reason::Applying,
                message: format!("waits for {kind} {name} of the former Cluster to go"),
            }),
        },
    )
}

/// Replaces the pod if it was made from an older template. A verdict says that this is under way.
async fn restarted(
    context: &Context,
    cluster: &Cluster,
    set: &StatefulSet,
    found: &Found,
) -> Result<Option<Verdict>, Error> {
    let (name, uid) = match restart::plan(set, found.pod.as_ref()) {
        restart::Step::Nothing => return Ok(None),
        restart::Step::Wait => {
            return Ok(Some(Verdict::Reconciling {
                reason: Reason::Applying,
                message: "waits for the StatefulSet's controller".to_owned(),
            }));
        }
        restart::Step::Evict { pod, uid } => (pod, uid),
    };
    let namespace = cluster.namespace().unwrap_or_default();
    let restarting = |message| Verdict::Reconciling {
        reason: Reason::Restarting,
        message,
    };
    match apply::evict(&context.client, &namespace, &name, &uid).await {
        Ok(()) => {
            let change = restart::change(set, found.pod.as_ref());
            let note = format!("pod {name} is evicted and made again for {change}");
            events::normal(context, cluster, "BrokerRestarting", note.clone()).await;
            Ok(Some(restarting(note)))
        }
        // Another pod by now: the next look tells.
        Err(kube::Error::Api(refusal)) if matches!(refusal.code, 404 | 409) => {
            Ok(Some(restarting(format!("pod {name} is being replaced"))))
        }
        // 500: more than one disruption budget covers the pod.
        Err(kube::Error::Api(refusal)) if matches!(refusal.code, 429 | 500) => {
            Ok(Some(Verdict::Reconciling {
                reason: Reason::EvictionRefused,
                message: format!(
                    "pod {name} must be made again for a change, and its eviction is refused: {}; the \
                 operator tries again, and `kubectl get poddisruptionbudgets` shows who refuses",
                    refusal.message
                ),
            }))
        }
        Err(error) => Err(error.into()),
    }
}

/// Brings Secret and disk to the same cluster. A verdict says that they are not, or not yet.
async fn identified(
    context: &Context,
    cluster: &Cluster,
    secret: &InternalSecret,
    found: &Found,
) -> Result<Option<Verdict>, Error> {
    let (Some(broker), Some(endpoint)) = (&found.broker, &found.endpoint) else {
        return Ok(None);
    };
    let name = cluster.name_any();
    let claim = build::claim_name(&name);
    let mut version = secret.version.clone();
    let step = identity::plan(&name, &claim, secret, broker);
    let step = match step {
        identity::Step::Choose => {
            let cluster_id = Uuid::new_v4().to_string();
            let chosen = json!({"clusterId": cluster_id});
            version = remember(context, cluster, version, chosen).await?;
            identity::Step::Form {
                cluster_id,
                storage_id: broker.storage_id.clone(),
            }
        }
        step => step,
    };
    let forming = |message| {
        Ok(Some(Verdict::Reconciling {
            reason: Reason::Forming,
            message,
        }))
    };
    match step {
        identity::Step::Agreed | identity::Step::Choose => Ok(None),
        identity::Step::Stop(verdict) => Ok(Some(verdict)),
        identity::Step::Remember { cluster_id } => {
            let taken = json!({"clusterId": cluster_id, "formed": "true"});
            remember(context, cluster, version, taken).await?;
            if secret.cluster_id.as_ref() != Some(&cluster_id) {
                let note = format!("cluster {cluster_id}, as the volume of claim {claim} says");
                events::normal(context, cluster, "ClusterAdopted", note).await;
            }
            forming(format!("cluster {cluster_id} is found on the disk"))
        }
        identity::Step::Form {
            cluster_id,
            storage_id,
        } => {
            let Ok(uuid) = cluster_id.parse::<Uuid>() else {
                return Ok(Some(Verdict::Stalled {
                    reason: Reason::ClusterIdMismatch,
                    message: format!(
                        "clusterId in the Secret {} is `{cluster_id}`, which is no UUID; remove the \
                         key, and the operator chooses one",
                        status::secret_name(cluster)
                    ),
                }));
            };
            match context.brokers.form(endpoint, uuid, storage_id).await {
                Ok(id) => {
                    let formed = json!({"formed": "true"});
                    remember(context, cluster, version, formed).await?;
                    let note = format!("cluster {cluster_id} with broker {id} as its first voter");
                    events::normal(context, cluster, "ClusterFormed", note).await;
                    forming(format!("cluster {cluster_id} is formed and opens"))
                }
                Err(error @ BrokerError::Refused { .. }) => Ok(Some(Verdict::Stalled {
                    reason: Reason::StorageLost,
                    message: format!("the broker refuses to form cluster {cluster_id}: {error}"),
                })),
                Err(error) => forming(format!(
                    "cluster {cluster_id} cannot be formed yet: {error}"
                )),
            }
        }
    }
}

/// Writes into the Secret, and gives its new version.
async fn remember(
    context: &Context,
    cluster: &Cluster,
    version: Option<String>,
    data: serde_json::Value,
) -> Result<Option<String>, Error> {
    let namespace = cluster.namespace().unwrap_or_default();
    let api: Api<Secret> = Api::namespaced(context.client.clone(), &namespace);
    // Refused if the Secret has changed since it was looked at.
    let patch = Patch::Merge(json!({"metadata": {"resourceVersion": version}, "stringData": data}));
    let name = status::secret_name(cluster);
    let patched = api.patch(&name, &PatchParams::default(), &patch).await?;
    Ok(patched.resource_version())
}
