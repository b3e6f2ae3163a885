//! The broker's pod.

use std::collections::BTreeMap;

use headwater_crds::{Cluster, ImageSpec, PullPolicy};
use k8s_openapi::api::core::v1::{
    Capabilities, ConfigMapVolumeSource, Container, ContainerPort, EnvVar, EnvVarSource,
    HTTPGetAction, KeyToPath, LocalObjectReference, ObjectFieldSelector, PodSecurityContext,
    PodSpec, PodTemplateSpec, Probe, ResourceRequirements, SeccompProfile, SecretVolumeSource,
    SecurityContext, TopologySpreadConstraint, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use sha2::{Digest as _, Sha256};

use super::network::headless_name;
use super::{CLIENT_PORT, CONFIGURATION_FILE, HTTP_PORT, INTERNAL_PORT, VOLUME};
use crate::cluster::validate::{SECRET_DIR, TIER_CREDENTIALS_DIR, VOLUME_DIR, ValidCluster};

/// Where the configuration is mounted.
const CONFIGURATION_DIR: &str = "/etc/headwater/config";
/// Name of the volume with the tier's credentials.
const TIER_CREDENTIALS: &str = "tier-credentials";
/// The image's user.
const USER: i64 = 65532;
/// Annotation by which a changed configuration is a changed template.
pub(super) const CONFIGURATION_ANNOTATION: &str = "headwater.dev/configuration";

/// The template of the broker's pod.
pub(super) fn template(cluster: &Cluster, valid: &ValidCluster) -> PodTemplateSpec {
    let asked = cluster.spec.pod.clone().unwrap_or_default();
    let mut labels = asked.labels.clone();
    labels.extend(super::labels(&valid.name));
    let mut annotations = asked.annotations.clone();
    annotations.insert(
        CONFIGURATION_ANNOTATION.to_owned(),
        digest(&valid.configuration),
    );
    let image = cluster.spec.image.clone().unwrap_or_default();
    let node_selector = super::unless_empty(asked.node_selector);
    let spread = asked.topology_spread_constraints;
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(labels),
            annotations: Some(annotations),
            ..ObjectMeta::default()
        }),
        spec: Some(PodSpec {
            service_account_name: Some(valid.name.clone()),
            automount_service_account_token: Some(false),
            // Variables of Services called headwater-… would be read as settings.
            enable_service_links: Some(false),
            security_context: Some(pod_security()),
            termination_grace_period_seconds: Some(valid.grace_seconds),
            containers: vec![broker(valid, &image)],
            image_pull_secrets: pull_secrets(&image),
            volumes: Some(volumes(valid)),
            node_selector,
            tolerations: (!asked.tolerations.is_empty()).then_some(asked.tolerations),
            affinity: asked.affinity,
            topology_spread_constraints: Some(spread.unwrap_or_else(|| spread_out(&valid.name))),
            priority_class_name: asked.priority_class_name,
            ..PodSpec::default()
        }),
    }
}

fn broker(valid: &ValidCluster, image: &ImageSpec) -> Container {
    let quantities = |amounts: &BTreeMap<String, String>| {
        let pairs = amounts.iter();
        Some(
            pairs
                .map(|(key, amount)| (key.clone(), Quantity(amount.clone())))
                .collect(),
        )
    };
    Container {
        name: "broker".to_owned(),
        image: Some(valid.image.clone()),
        image_pull_policy: image.pull_policy.map(|policy| {
            match policy {
                PullPolicy::Always => "Always",
                PullPolicy::IfNotPresent => "IfNotPresent",
                PullPolicy::Never => "Never",
            }
            .to_owned()
        }),
        command: Some(vec!["/usr/bin/headwater-broker".to_owned()]),
        args: Some(vec![
            "--config".to_owned(),
            format!("{CONFIGURATION_DIR}/{CONFIGURATION_FILE}"),
        ]),
        env: Some(vec![
            field("HEADWATER_NODE_NAME", "metadata.name"),
            EnvVar {
                name: "HEADWATER_LISTEN_ADVERTISED".to_owned(),
                value: Some(format!(
                    "$(HEADWATER_NODE_NAME).{}.{}.svc:{CLIENT_PORT}",
                    headless_name(&valid.name),
                    valid.namespace
                )),
                value_from: None,
            },
        ]),
        ports: Some(vec![
            port("grpc", CLIENT_PORT),
            port("internal", INTERNAL_PORT),
            port("http", HTTP_PORT),
        ]),
        // Both on the HTTP listener, which is there before the log is open and does not depend on
        // the data port: a long recovery or a busy broker is not a dead one.
        liveness_probe: Some(probe("/livez", 10, 6)),
        readiness_probe: Some(probe("/readyz", 1, 2)),
        resources: Some(ResourceRequirements {
            requests: quantities(&valid.requests),
            limits: quantities(&valid.limits),
            claims: None,
        }),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            capabilities: Some(Capabilities {
                drop: Some(vec!["ALL".to_owned()]),
                add: None,
            }),
            ..SecurityContext::default()
        }),
        volume_mounts: Some(volume_mounts(valid)),
        // What a broker says before it ends stands in the pod's status, and so in the Cluster's.
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        ..Container::default()
    }
}

fn pod_security() -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: Some(USER),
        run_as_group: Some(USER),
        fs_group: Some(USER),
        // A volume with a million files is not walked at every start.
        fs_group_change_policy: Some("OnRootMismatch".to_owned()),
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".to_owned(),
            localhost_profile: None,
        }),
        ..PodSecurityContext::default()
    }
}

fn volume_mounts(valid: &ValidCluster) -> Vec<VolumeMount> {
    let mut mounts = vec![
        mount(VOLUME, VOLUME_DIR, false),
        mount("config", CONFIGURATION_DIR, true),
        mount("internal", SECRET_DIR, true),
    ];
    if valid.tier_secret.is_some() {
        mounts.push(mount(TIER_CREDENTIALS, TIER_CREDENTIALS_DIR, true));
    }
    mounts
}

fn volumes(valid: &ValidCluster) -> Vec<Volume> {
    let mut volumes = vec![
        Volume {
            name: "config".to_owned(),
            config_map: Some(ConfigMapVolumeSource {
                name: valid.name.clone(),
                ..ConfigMapVolumeSource::default()
            }),
            ..Volume::default()
        },
        Volume {
            name: "internal".to_owned(),
            secret: Some(SecretVolumeSource {
                secret_name: Some(headwater_crds::internal_secret_name(&valid.name)),
                items: Some(vec![KeyToPath {
                    key: "secret".to_owned(),
                    path: "secret".to_owned(),
                    mode: None,
                }]),
                // Readable by the group that the volume is given, and by nobody else.
                default_mode: Some(0o440),
                optional: None,
            }),
            ..Volume::default()
        },
    ];
    volumes.extend(valid.tier_secret.as_ref().map(|name| Volume {
        name: TIER_CREDENTIALS.to_owned(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(name.clone()),
            items: None,
            default_mode: Some(0o440),
            // A Secret that was deleted must not hold up the pod: the broker itself says what it
            // lacks.
            optional: Some(true),
        }),
        ..Volume::default()
    }));
    volumes
}

fn pull_secrets(image: &ImageSpec) -> Option<Vec<LocalObjectReference>> {
    let names = image.pull_secrets.iter().cloned();
    let secrets: Vec<_> = names.map(|name| LocalObjectReference { name }).collect();
    (!secrets.is_empty()).then_some(secrets)
}

/// Brokers of a cluster on different zones and nodes where that is possible.
fn spread_out(cluster: &str) -> Vec<TopologySpreadConstraint> {
    ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
        .map(|key| TopologySpreadConstraint {
            max_skew: 1,
            topology_key: key.to_owned(),
            when_unsatisfiable: "ScheduleAnyway".to_owned(),
            label_selector: Some(super::label_selector(cluster)),
            ..TopologySpreadConstraint::default()
        })
        .into()
}

fn field(name: &str, path: &str) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value: None,
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                api_version: None,
                field_path: path.to_owned(),
            }),
            ..EnvVarSource::default()
        }),
    }
}

fn port(name: &str, number: i32) -> ContainerPort {
    ContainerPort {
        name: Some(name.to_owned()),
        container_port: number,
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    }
}

fn mount(name: &str, path: &str, read_only: bool) -> VolumeMount {
    VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    }
}

fn probe(path: &str, period_seconds: i32, failure_threshold: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String("http".to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period_seconds),
        failure_threshold: Some(failure_threshold),
        timeout_seconds: Some(5),
        ..Probe::default()
    }
}

/// The first digits of the SHA-256.
pub(in crate::cluster) fn digest(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
