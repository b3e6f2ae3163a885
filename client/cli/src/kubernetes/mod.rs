//! The way to Kubernetes: which API server, the brokers' pods, and tunnels to them.

pub(crate) mod brokers;
mod config;
mod failure;
pub(crate) mod forward;
pub(crate) mod lease;

use std::fmt::Debug;
use std::path::PathBuf;
use std::time::Duration;

use headwater_crds::Cluster;
use kube::api::{Api, ListParams};
use kube::core::NamespaceResourceScope;
use kube::{Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;

pub(crate) use self::failure::Refusal;

use crate::failure::{Exit, Failure, Outcome};

/// An API server that cannot be connected to by then will not be.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Which Kubernetes.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "Kubernetes options")]
pub(crate) struct KubeArgs {
    /// Context of the kubeconfig [default: its current one]
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) kube_context: Option<String>,
    /// The kubeconfig [env: KUBECONFIG] [default: ~/.kube/config]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
}

/// A connection to an API server.
#[derive(Clone)]
pub(crate) struct Kubernetes {
    client: Client,
    /// Who it is, for people.
    whom: String,
    /// Context of the kubeconfig; `None` inside of a pod.
    context: Option<String>,
    /// Namespace when none is given.
    namespace: String,
    /// How long one request may take.
    timeout: Duration,
}

impl Debug for Kubernetes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Kubernetes").field(&self.whom).finish()
    }
}

impl Kubernetes {
    /// Reads the kubeconfig and makes a client; nothing is sent yet.
    pub(crate) async fn connect(args: &KubeArgs, timeout: Duration) -> Outcome<Kubernetes> {
        // Another part of the program may have installed it already, which is as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (mut config, context) = config::read(args).await?;
        config.connect_timeout = Some(timeout.min(CONNECT_TIMEOUT));
        let whom = match &context {
            Some(context) => format!("{} of kube context {context}", config.cluster_url),
            None => config.cluster_url.to_string(),
        };
        let namespace = config.default_namespace.clone();
        let client = Client::try_from(config).map_err(|error| {
            Failure::new("cannot use the kubeconfig").why(failure::chain(&error))
        })?;
        Ok(Kubernetes {
            client,
            whom,
            context,
            namespace,
            timeout,
        })
    }

    /// Context of the kubeconfig; `None` inside of a pod.
    pub(crate) fn context(&self) -> Option<&str> {
        self.context.as_deref()
    }

    /// The namespace given, else that of the kubeconfig's context.
    pub(crate) fn namespace(&self, given: Option<&str>) -> String {
        given.unwrap_or(&self.namespace).to_owned()
    }

    /// Resources of one namespace, or of all.
    pub(crate) fn api<K>(&self, namespace: Option<&str>) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        match namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        }
    }

    /// Waits for the answer to a request, not too long.
    pub(crate) async fn ask<T>(
        &self,
        doing: &str,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, Refusal> {
        match tokio::time::timeout(self.timeout, request).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(Refusal::new(doing, &error, &self.whom)),
            Err(_) => Err(Refusal::late(doing, self.timeout, &self.whom)),
        }
    }

    /// All of a kind in one namespace, or in all.
    pub(crate) async fn list<K>(
        &self,
        what: &str,
        namespace: Option<&str>,
        params: &ListParams,
    ) -> Result<Vec<K>, Refusal>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
        K: Clone + Debug + DeserializeOwned,
    {
        let api = self.api::<K>(namespace);
        let list = self.ask(&format!("list {what}"), api.list(params)).await?;
        Ok(list.items)
    }

    /// The Clusters of one namespace, or of all.
    ///
    /// # Errors
    /// If Kubernetes does not know the resource, too.
    pub(crate) async fn clusters(&self, namespace: Option<&str>) -> Outcome<Vec<Cluster>> {
        let params = ListParams::default();
        let listed = self.list("Clusters", namespace, &params).await;
        listed.map_err(|refusal| match refusal.missing {
            true => Failure::new("Headwater is not installed in this Kubernetes")
                .exit(Exit::NotFound)
                .why(format!("{} knows no clusters.headwater.dev", self.whom))
                .fix(
                    "install the chart: helm install headwater charts/headwater -n headwater \
                     --create-namespace\nor name another Kubernetes with --kube-context NAME",
                ),
            false => refusal.failure,
        })
    }

    /// The Cluster of that name, or the only one of the namespace.
    pub(crate) async fn cluster(&self, namespace: &str, name: Option<&str>) -> Outcome<Cluster> {
        let clusters = self.clusters(Some(namespace)).await?;
        choose(clusters, namespace, name)
    }
}

/// The Cluster of that name, or the only one.
fn choose(mut clusters: Vec<Cluster>, namespace: &str, name: Option<&str>) -> Outcome<Cluster> {
    let names: Vec<String> = clusters.iter().map(|cluster| cluster.name_any()).collect();
    let found = match name {
        Some(name) => names.iter().position(|known| known == name),
        None if names.len() > 1 => {
            return Err(Failure::usage("which Cluster?")
                .why(format!("namespace {namespace} has {}", names.join(", ")))
                .fix("name one of them"));
        }
        None => (!names.is_empty()).then_some(0),
    };
    match found {
        Some(index) => Ok(clusters.swap_remove(index)),
        None => Err(no_cluster(namespace, name, &names)),
    }
}

/// There is no such Cluster in the namespace.
pub(crate) fn no_cluster(namespace: &str, name: Option<&str>, known: &[String]) -> Failure {
    let what = match name {
        Some(name) => format!("there is no Cluster {name} in namespace {namespace}"),
        None => format!("there is no Cluster in namespace {namespace}"),
    };
    let failure = Failure::new(what).exit(Exit::NotFound);
    let failure = match known {
        [] => failure,
        known => failure.why(format!("its Clusters are {}", known.join(", "))),
    };
    failure.fix("`headwater k8s status -A` shows the Clusters of all namespaces; -n names one")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clusters(names: &[&str]) -> Vec<Cluster> {
        let cluster = |name: &&str| {
            serde_json::from_value(serde_json::json!({
                "apiVersion": "headwater.dev/v1alpha1", "kind": "Cluster",
                "metadata": {"name": name, "namespace": "shop"},
                "spec": {"storage": {"size": "1Gi"}},
            }))
            .unwrap()
        };
        names.iter().map(cluster).collect()
    }

    #[test]
    fn a_cluster_need_not_be_named_if_it_is_the_only_one() {
        let check = |names: &[&str], name: Option<&str>, chosen: Result<&str, Exit>| {
            let got = choose(clusters(names), "shop", name);
            let got = got.map(|cluster| cluster.name_any());
            assert_eq!(got.as_deref().map_err(|failure| failure.exit), chosen);
        };
        check(&["a"], None, Ok("a"));
        check(&["a", "b"], Some("b"), Ok("b"));
        check(&["a", "b"], None, Err(Exit::Usage));
        check(&["a", "b"], Some("c"), Err(Exit::NotFound));
        check(&[], None, Err(Exit::NotFound));
    }
}
