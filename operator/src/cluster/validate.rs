//! All the judgement that needs nothing but the resource and what was read: what shall run.

use std::collections::BTreeMap;

use headwater_crds::{Cluster, Quantity, Reason, ResourcesSpec, ValueError, Verdict};
use kube::ResourceExt as _;

use super::dereference::Found;
use crate::context::Settings;

/// Seconds that a broker has to stop when the resource says nothing: leaders are handed over,
/// streams end, every log is closed.
const GRACE_SECONDS_DEFAULT: i64 = 120;
/// How long a broker goes on serving after it was told to stop, so that whoever routes to it notices.
const SHUTDOWN_DELAY_SECONDS: i64 = 5;
/// The longest that connections get to end. What is in flight is answered within milliseconds; what
/// takes longer is a peer that has vanished.
const CONNECTIONS_SECONDS_MAX: i64 = 15;
/// Where the volume is mounted, and the directory in it: a file system has a `lost+found` of its
/// own at its root.
pub(super) const VOLUME_DIR: &str = "/var/lib/headwater";
const DATA_DIR: &str = "/var/lib/headwater/data";
/// Where the Secret is mounted.
pub(super) const SECRET_DIR: &str = "/etc/headwater/internal";
/// Where the Secret with the tier's credentials is mounted.
pub(super) const TIER_CREDENTIALS_DIR: &str = "/etc/headwater/tier-credentials";
/// What a broker may use when the resource says nothing.
const MEMORY_DEFAULT: &str = "512Mi";
const CPU_REQUEST_DEFAULT: &str = "100m";

/// A cluster that can be built.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ValidCluster {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) image: String,
    pub(super) version: String,
    /// The broker's configuration file.
    pub(super) configuration: String,
    pub(super) grace_seconds: i64,
    pub(super) requests: BTreeMap<String, String>,
    pub(super) limits: BTreeMap<String, String>,
    /// The Secret with the tier's credentials, if there is one to mount.
    pub(super) tier_secret: Option<String>,
    /// Where the operator is, for the network policy.
    pub(super) operator_namespace: String,
}

impl ValidCluster {
    /// The configuration as a broker with the new memory limit would see it: the one that is asked
    /// whether it would do still has the old limit.
    pub(super) fn configuration_with_memory(&self) -> String {
        const KEY: &str = "memory.limit_bytes";
        let limit = self.limits.get("memory").cloned();
        let bytes = limit.and_then(|limit| Quantity(limit).amount());
        match bytes {
            Some(bytes) if !self.configuration.contains(KEY) => {
                format!("{}{KEY}: {bytes:.0}\n", self.configuration)
            }
            _ => self.configuration.clone(),
        }
    }
}

/// `spec.paused` is set.
pub(super) fn paused() -> Verdict {
    Verdict::Stalled {
        reason: Reason::Paused,
        message: "paused: brokers go on as they are and no change is applied; set spec.paused to \
                  false to go on"
            .to_owned(),
    }
}

/// Judges a Cluster.
pub(super) fn validate(
    cluster: &Cluster,
    found: &Found,
    settings: &Settings,
) -> Result<ValidCluster, Verdict> {
    let invalid = |message: String| Verdict::Stalled {
        reason: Reason::InvalidSpec,
        message,
    };
    if let Some(secret) = &found.secret
        && !secret.is_usable()
    {
        let name = headwater_crds::internal_secret_name(&cluster.name_any());
        return Err(Verdict::Stalled {
            reason: Reason::NameTaken,
            message: format!(
                "the Secret {name} has no key secret with 64 hexadecimal digits: it is not this \
                 cluster's; delete it or rename it, and the operator makes one"
            ),
        });
    }
    let spec = &cluster.spec;
    let namespace = cluster.namespace().unwrap_or_default();
    let pod = spec.pod.clone().unwrap_or_default();
    for key in pod.labels.keys() {
        if key.starts_with("app.kubernetes.io/") {
            return Err(invalid(format!(
                "spec.pod.labels: {key} is set by the operator; take it out"
            )));
        }
    }
    let tier_secret = tier_secret(cluster, found, &namespace)?;
    let grace_seconds = pod
        .termination_grace_period_seconds
        .unwrap_or(GRACE_SECONDS_DEFAULT);
    let configuration = configuration(cluster, &namespace, grace_seconds).map_err(invalid)?;
    let (requests, limits) = resources(cluster).map_err(invalid)?;
    let (image, version) = image(cluster, found, settings);
    Ok(ValidCluster {
        name: cluster.name_any(),
        namespace,
        image,
        version,
        configuration,
        grace_seconds,
        requests,
        limits,
        tier_secret,
        operator_namespace: settings.namespace.clone(),
    })
}

/// The Secret to mount for the tier. One that is not as it should be holds up every change, and
/// nothing else: the broker goes on with what it has.
fn tier_secret(
    cluster: &Cluster,
    found: &Found,
    namespace: &str,
) -> Result<Option<String>, Verdict> {
    let Some(tier) = &cluster.spec.tier else {
        return Ok(None);
    };
    let Some(secret) = &tier.credentials_secret else {
        return Ok(None);
    };
    let (name, needed) = (&secret.name, tier.secret_keys());
    let there = found.tier_keys.as_ref();
    let lacks = |key: &&&str| !there.is_some_and(|keys| keys.contains(**key));
    let missing: Vec<&str> = needed.iter().filter(lacks).copied().collect();
    if missing.is_empty() {
        return Ok(Some(name.clone()));
    }
    let message = match there {
        None => {
            let files: Vec<String> = needed
                .iter()
                .map(|key| format!("--from-file={key}"))
                .collect();
            format!(
                "there is no Secret {name} in namespace {namespace}, which \
                 spec.tier.credentialsSecret names; create it: `kubectl create secret generic \
                 {name} -n {namespace} {}`",
                files.join(" ")
            )
        }
        Some(_) => format!(
            "the Secret {name}, which spec.tier.credentialsSecret names, has no value for {}; \
             backend {} needs {}: add what is missing",
            missing.join(" and "),
            tier.backend,
            needed.join(" and ")
        ),
    };
    Err(Verdict::Reconciling {
        reason: Reason::TierCredentialsMissing,
        message: format!("{message}; until then nothing of the Cluster is changed"),
    })
}

/// What runs: as asked, else as it was pinned, else the operator's own. A resource that lost its
/// status (it was restored from a backup) finds the pin in what runs.
fn image(cluster: &Cluster, found: &Found, settings: &Settings) -> (String, String) {
    let spec = &cluster.spec;
    let status = cluster.status.as_ref();
    let pinned_version = status.and_then(|status| status.version.clone());
    let own_version = env!("CARGO_PKG_VERSION").to_owned();
    let version = spec
        .version
        .clone()
        .or(pinned_version)
        .unwrap_or(own_version);
    if let Some(reference) = spec
        .image
        .as_ref()
        .and_then(|image| image.reference.clone())
    {
        return (reference, version);
    }
    if spec.version.is_some() {
        return (tagged(&settings.default_image, &version), version);
    }
    let running = || {
        let pod = found
            .stateful_set
            .as_ref()?
            .spec
            .as_ref()?
            .template
            .spec
            .as_ref()?;
        pod.containers.first()?.image.clone()
    };
    let pinned = match status {
        Some(status) => status.image.clone(),
        None => running(),
    };
    (
        pinned.unwrap_or_else(|| settings.default_image.clone()),
        version,
    )
}

/// The same repository at another version. The operator's own version keeps its own tag, which may
/// say more than the version.
fn tagged(reference: &str, version: &str) -> String {
    if version == env!("CARGO_PKG_VERSION") {
        return reference.to_owned();
    }
    let without_digest = reference.split('@').next().unwrap_or(reference);
    let name_at = without_digest.rfind('/').map_or(0, |slash| slash + 1);
    let name_end = without_digest
        .get(name_at..)
        .and_then(|name| name.find(':'))
        .map_or(without_digest.len(), |colon| name_at + colon);
    let repository = without_digest.get(..name_end).unwrap_or(without_digest);
    format!("{repository}:{version}")
}

/// Amounts by the name of the resource.
type Amounts = BTreeMap<String, String>;

/// Requests and limits. A broker divides its memory limit, so there always is one, and it is
/// requested whole: memory that is promised and not there kills brokers. What no pod can have is
/// refused here: an API server may take it, and then there is a StatefulSet that makes no pod.
fn resources(cluster: &Cluster) -> Result<(Amounts, Amounts), String> {
    let ResourcesSpec {
        mut requests,
        mut limits,
    } = cluster.spec.resources.clone().unwrap_or_default();
    let amount = |field: &str, key: &str, quantity: &Quantity| {
        quantity.amount().ok_or_else(|| {
            format!("spec.resources.{field}: {key} is {quantity}; give an amount of 0 or more")
        })
    };
    for (key, quantity) in &limits {
        amount("limits", key, quantity)?;
    }
    let default = || Quantity(MEMORY_DEFAULT.to_owned());
    let memory = limits.entry("memory".to_owned()).or_insert_with(default);
    let memory = memory.clone();
    requests.entry("memory".to_owned()).or_insert(memory);
    requests.entry("cpu".to_owned()).or_insert_with(|| {
        let default = Quantity(CPU_REQUEST_DEFAULT.to_owned());
        let limit = limits.get("cpu");
        let lower = limit.filter(|limit| limit.amount() < default.amount());
        lower.cloned().unwrap_or(default)
    });
    for (key, request) in &requests {
        let asked = amount("requests", key, request)?;
        if let Some(limit) = limits.get(key)
            && limit.amount() < Some(asked)
        {
            return Err(format!(
                "spec.resources: {key} is requested with {request} and limited to {limit}; lower \
                 spec.resources.requests.{key} or raise spec.resources.limits.{key}"
            ));
        }
    }
    let text = |amounts: BTreeMap<String, Quantity>| {
        let amounts = amounts.into_iter();
        amounts.map(|(key, amount)| (key, amount.0)).collect()
    };
    Ok((text(requests), text(limits)))
}

/// The broker's configuration file: what the operator decides, the topic defaults, and the rest.
fn configuration(cluster: &Cluster, namespace: &str, grace_seconds: i64) -> Result<String, String> {
    let spec = &cluster.spec;
    // At most half of what is left after the delay: the other half is for closing the logs.
    let connections_seconds =
        CONNECTIONS_SECONDS_MAX.min((grace_seconds - SHUTDOWN_DELAY_SECONDS) / 2);
    let mut keys: BTreeMap<&str, String> = BTreeMap::from([
        ("log.format", "json".to_owned()),
        ("data_dir", DATA_DIR.to_owned()),
        ("default_namespace", namespace.to_owned()),
        ("internal.secret_file", format!("{SECRET_DIR}/secret")),
        ("shutdown_delay", format!("{SHUTDOWN_DELAY_SECONDS}s")),
        ("shutdown_grace", format!("{connections_seconds}s")),
    ]);
    let defaults = spec.topic_defaults.clone().unwrap_or_default();
    let retention = defaults.retention.unwrap_or_default();
    let amount = |field: &str, value: Result<i64, ValueError>, unit: &str, unbounded: &str| {
        let value = value.map_err(|error| format!("spec.topicDefaults.{field}: {error}"))?;
        Ok::<_, String>(match value {
            -1 => unbounded.to_owned(),
            value => format!("{value}{unit}"),
        })
    };
    if let Some(partitions) = defaults.partitions {
        keys.insert("topics.partitions", partitions.to_string());
    }
    if let Some(time) = retention.time {
        let text = amount("retention.time", time.value(), "ms", "forever")?;
        keys.insert("topics.retention_time", text);
    }
    if let Some(size) = retention.size {
        let text = amount("retention.size", size.value(), "", "unlimited")?;
        keys.insert("topics.retention_bytes", text);
    }
    if let Some(bytes) = defaults.max_message_bytes {
        let text = amount("maxMessageBytes", bytes.value(), "", "")?;
        keys.insert("topics.message_bytes_max", text);
    }
    if let Some(tiering) = defaults.tiering {
        keys.insert("topics.tiering", tiering.to_string());
    }
    let local_retention = defaults.local_retention.unwrap_or_default();
    if let Some(time) = local_retention.time {
        let text = amount("localRetention.time", time.value(), "ms", "forever")?;
        keys.insert("topics.local_retention_time", text);
    }
    if let Some(size) = local_retention.size {
        let text = amount("localRetention.size", size.value(), "", "unlimited")?;
        keys.insert("topics.local_retention_bytes", text);
    }
    if let Some(tier) = &spec.tier {
        keys.insert("tier.url", tier.url());
        if tier.credentials_secret.is_some() {
            keys.insert("tier.credentials_dir", TIER_CREDENTIALS_DIR.to_owned());
        }
    }
    let word = |value: serde_json::Result<serde_json::Value>| {
        let word = value.ok()?.as_str()?.to_owned();
        Some(word)
    };
    if let Some(word) = defaults
        .durability
        .and_then(|value| word(serde_json::to_value(value)))
    {
        keys.insert("topics.durability", word);
    }
    if let Some(word) = defaults
        .compression
        .and_then(|value| word(serde_json::to_value(value)))
    {
        keys.insert("topics.compression", word);
    }
    for (key, text) in &spec.config {
        keys.insert(key, text.0.clone());
    }
    let yaml = serde_yaml::to_string(&keys).map_err(|error| format!("spec.config: {error}"))?;
    Ok(format!(
        "# Written by the operator from the Cluster resource.\n{yaml}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_version_is_another_tag_of_the_same_repository() {
        let check = |reference: &str, tag: &str| assert_eq!(tagged(reference, "9.1.0"), tag);
        check(
            "docker.io/headwater/headwater:0.1.0",
            "docker.io/headwater/headwater:9.1.0",
        );
        check("localhost:5000/headwater", "localhost:5000/headwater:9.1.0");
        check(
            "localhost:5000/headwater:a@sha256:0",
            "localhost:5000/headwater:9.1.0",
        );
    }

    #[test]
    fn the_own_version_keeps_the_tag_that_the_operator_was_given() {
        let own = env!("CARGO_PKG_VERSION");
        assert_eq!(
            tagged("example.com/hw:0.1.0-abc", own),
            "example.com/hw:0.1.0-abc"
        );
    }
}
