//! The values of the chart and their defaults. What stands here as documentation is what
//! `values.schema.json` and the table in the chart's README say.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Something that Kubernetes defines and judges.
type Object = Map<String, Value>;

/// Values of the chart.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Values {
    global: Global,
    /// Name of the application in labels and names, instead of the chart's.
    #[schemars(length(max = 40))]
    name_override: String,
    /// What the names of all resources begin with, instead of release and chart.
    #[schemars(length(max = 40))]
    fullname_override: String,
    /// Labels of every resource of the chart.
    common_labels: BTreeMap<String, String>,
    image: Image,
    /// Secrets with logins for the registry, as in a Pod. For the operator's own pods; brokers have
    /// `spec.image.pullSecrets` of their Cluster.
    image_pull_secrets: Vec<SecretName>,
    /// Image of brokers whose Cluster names none, as a whole reference. Empty: the operator's own.
    /// A Cluster that exists keeps what it runs.
    broker_image: String,
    /// Namespaces whose Clusters are operated, and the only ones in which the operator may touch
    /// workloads. They must exist. Empty: the release's own. Topics are watched in all namespaces.
    #[schemars(
        inner(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")),
        extend("uniqueItems" = true)
    )]
    cluster_namespaces: Vec<String>,
    /// How many operators run. One of them acts, by a Lease; a second one shortens a failover.
    #[schemars(range(min = 0, max = 10))]
    replicas: i32,
    /// What is logged: error, warn, info, debug or trace, or directives by module.
    #[schemars(length(min = 1))]
    log_level: String,
    /// Form of a log line: json or text.
    log_format: LogFormat,
    /// More variables of the operator, as in a container.
    extra_env: Vec<Variable>,
    /// More arguments of the operator.
    extra_args: Vec<String>,
    crds: Crds,
    rbac: Rbac,
    service_account: ServiceAccount,
    /// CPU and memory of the operator.
    resources: Object,
    /// Labels that a node must have, for all pods of the chart.
    node_selector: BTreeMap<String, String>,
    /// Taints that all pods of the chart tolerate.
    tolerations: Vec<Object>,
    /// Where pods of the chart may or should run, as in a Pod.
    affinity: Object,
    /// How several operators spread, as in a Pod.
    topology_spread_constraints: Vec<Object>,
    /// PriorityClass of all pods of the chart.
    priority_class_name: String,
    /// Annotations of the operator's pods.
    pod_annotations: BTreeMap<String, String>,
    /// Labels of the operator's pods.
    pod_labels: BTreeMap<String, String>,
    metrics: Metrics,
    uninstall_hook: UninstallHook,
    test: Test,
}

impl Default for Values {
    fn default() -> Values {
        let resources = json!({
            "requests": {"cpu": "10m", "memory": "32Mi"},
            "limits": {"memory": "128Mi"},
        });
        Values {
            global: Global::default(),
            name_override: String::new(),
            fullname_override: String::new(),
            common_labels: BTreeMap::new(),
            image: Image::default(),
            image_pull_secrets: Vec::new(),
            broker_image: String::new(),
            cluster_namespaces: Vec::new(),
            replicas: 1,
            log_level: "info".to_owned(),
            log_format: LogFormat::Json,
            extra_env: Vec::new(),
            extra_args: Vec::new(),
            crds: Crds::default(),
            rbac: Rbac::default(),
            service_account: ServiceAccount::default(),
            resources: resources.as_object().cloned().unwrap_or_default(),
            node_selector: BTreeMap::new(),
            tolerations: Vec::new(),
            affinity: Object::new(),
            topology_spread_constraints: Vec::new(),
            priority_class_name: String::new(),
            pod_annotations: BTreeMap::new(),
            pod_labels: BTreeMap::new(),
            metrics: Metrics::default(),
            uninstall_hook: UninstallHook::default(),
            test: Test::default(),
        }
    }
}

/// What a parent chart shares with its subcharts. Open: a parent may share more than is read here.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
struct Global {
    /// Registry of every image, instead of `image.registry`.
    image_registry: String,
}

/// The image of the operator.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Image {
    /// Host of the registry; empty leaves it to the nodes.
    registry: String,
    /// Name of the image in the registry.
    #[schemars(length(min = 1))]
    repository: String,
    /// Tag. Empty: the chart's appVersion.
    #[schemars(regex(pattern = r"^([A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?$"))]
    tag: String,
    /// Digest, `sha256:...`; it is used instead of the tag.
    #[schemars(regex(pattern = r"^(sha256:[0-9a-f]{64})?$"))]
    digest: String,
    /// When the node pulls the image: Always, IfNotPresent or Never.
    pull_policy: PullPolicy,
}

impl Default for Image {
    fn default() -> Image {
        Image {
            registry: "docker.io".to_owned(),
            repository: "headwater/headwater".to_owned(),
            tag: String::new(),
            digest: String::new(),
            pull_policy: PullPolicy::IfNotPresent,
        }
    }
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
enum PullPolicy {
    Always,
    IfNotPresent,
    Never,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum LogFormat {
    Json,
    Text,
}

/// Names a Secret.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SecretName {
    /// Its name.
    #[schemars(length(min = 1))]
    name: String,
}

/// A variable, as in a container.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Variable {
    /// Its name.
    #[schemars(length(min = 1))]
    name: String,
    /// Its value, a string: numbers need quotes.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    value: String,
    /// Where its value comes from.
    #[serde(default, skip_serializing_if = "Object::is_empty")]
    value_from: Object,
}

/// The definitions of Cluster and Topic.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Crds {
    /// Install the definitions of Cluster and Topic, and upgrade them.
    install: bool,
    /// Leave them when the release is uninstalled. Deleting them deletes every Cluster and Topic:
    /// brokers stop, volumes stay.
    keep: bool,
}

impl Default for Crds {
    fn default() -> Crds {
        Crds {
            install: true,
            keep: true,
        }
    }
}

/// Rights.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Rbac {
    /// Create the operator's roles and bind them.
    create: bool,
    /// Let those who may view or edit a namespace view or edit its Clusters and Topics: adds to the
    /// ClusterRoles view, edit and admin.
    aggregate: bool,
}

impl Default for Rbac {
    fn default() -> Rbac {
        Rbac {
            create: true,
            aggregate: true,
        }
    }
}

/// The operator's ServiceAccount.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct ServiceAccount {
    /// Create the operator's ServiceAccount.
    create: bool,
    /// Its name. Empty: the operator's; or default, if none is created.
    name: String,
    /// Its annotations.
    annotations: BTreeMap<String, String>,
}

impl Default for ServiceAccount {
    fn default() -> ServiceAccount {
        ServiceAccount {
            create: true,
            name: String::new(),
            annotations: BTreeMap::new(),
        }
    }
}

/// How the operator's metrics are found.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Metrics {
    service: MetricsService,
    pod_monitor: PodMonitor,
}

/// A Service for metrics.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct MetricsService {
    /// Create a Service for the operator's metrics, `http://...:7680/metrics`.
    enabled: bool,
}

/// What the Prometheus operator reads.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct PodMonitor {
    /// Create a PodMonitor; the Prometheus operator's definitions must be there.
    enabled: bool,
    /// Labels by which Prometheus chooses it.
    labels: BTreeMap<String, String>,
    /// How often to scrape, such as `30s`. Empty: as Prometheus has it.
    #[schemars(regex(pattern = r"^([0-9]+(ms|s|m|h))*$"))]
    interval: String,
}

/// What runs before the release is uninstalled.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct UninstallHook {
    /// Take the finalizers off all Topics and Clusters before the operator goes, so that no
    /// namespace waits for it for ever. Nothing that they hold is deleted.
    enabled: bool,
}

impl Default for UninstallHook {
    fn default() -> UninstallHook {
        UninstallHook { enabled: true }
    }
}

/// What `helm test` does.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Test {
    /// Cluster that `helm test` writes a record to and reads it back from. It must be in the
    /// release's namespace, or in the first of `clusterNamespaces` if that is not one of them.
    #[schemars(length(max = 44), regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    cluster: String,
}

impl Default for Test {
    fn default() -> Test {
        Test {
            cluster: "demo".to_owned(),
        }
    }
}
