//! Where a cluster is: at an address, or in a Kubernetes that tunnels lead into.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::contexts::Context;
use crate::kubernetes::KubeArgs;

/// Where a cluster is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// `host:port`.
    Endpoint(String),
    /// A Cluster resource.
    Kubernetes(InKubernetes),
}

/// A Cluster resource, and the way to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct InKubernetes {
    /// Name of the Cluster.
    pub(crate) cluster: String,
    /// Its namespace.
    pub(crate) namespace: String,
    /// Context of the kubeconfig; absent inside of a pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) context: Option<String>,
    /// The kubeconfig; absent is the one that kubectl would use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) kubeconfig: Option<PathBuf>,
}

impl InKubernetes {
    /// Which Kubernetes.
    pub(crate) fn args(&self) -> KubeArgs {
        KubeArgs {
            kube_context: self.context.clone(),
            kubeconfig: self.kubeconfig.clone(),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Endpoint(endpoint) => endpoint.fmt(f),
            Place::Kubernetes(InKubernetes {
                cluster,
                namespace,
                context,
                ..
            }) => {
                write!(f, "Cluster {namespace}/{cluster}")?;
                match context {
                    Some(context) => write!(f, " of kube context {context}"),
                    None => Ok(()),
                }
            }
        }
    }
}

/// A context as it stands in the file.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Written {
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    endpoint: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kubernetes: Option<InKubernetes>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
}

impl TryFrom<Written> for Context {
    type Error = String;

    fn try_from(written: Written) -> Result<Context, String> {
        let Written {
            name,
            endpoint,
            kubernetes,
            namespace,
        } = written;
        let place = match (endpoint, kubernetes) {
            (Some(endpoint), None) => Place::Endpoint(endpoint),
            (None, Some(kubernetes)) => Place::Kubernetes(kubernetes),
            _ => {
                return Err(format!(
                    "context {name} must have one of endpoint and kubernetes"
                ));
            }
        };
        Ok(Context {
            name,
            place,
            namespace,
        })
    }
}

impl From<Context> for Written {
    fn from(context: Context) -> Written {
        let (endpoint, kubernetes) = match context.place {
            Place::Endpoint(endpoint) => (Some(endpoint), None),
            Place::Kubernetes(kubernetes) => (None, Some(kubernetes)),
        };
        Written {
            name: context.name,
            endpoint,
            kubernetes,
            namespace: context.namespace,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A context of a Cluster.
    pub(crate) fn demo() -> Context {
        Context {
            name: "demo".to_owned(),
            place: Place::Kubernetes(InKubernetes {
                cluster: "demo".to_owned(),
                namespace: "shop".to_owned(),
                context: Some("kind".to_owned()),
                kubeconfig: None,
            }),
            namespace: Some("shop".to_owned()),
        }
    }

    #[test]
    fn files_without_kubernetes_are_read_as_before() {
        let context: Context = serde_yaml::from_str("name: home\nendpoint: home:7650\n").unwrap();
        assert_eq!(context.place, Place::Endpoint("home:7650".to_owned()));
        assert_eq!(context.namespace, None);
    }

    #[test]
    fn a_cluster_resource_is_written_for_people() {
        let text = "name: demo\nkubernetes:\n  cluster: demo\n  namespace: shop\n  \
                    context: kind\nnamespace: shop\n";
        assert_eq!(serde_yaml::to_string(&demo()).unwrap(), text);
        assert_eq!(serde_yaml::from_str::<Context>(text).unwrap(), demo());
        assert_eq!(
            demo().place.to_string(),
            "Cluster shop/demo of kube context kind"
        );
    }

    #[test]
    fn a_context_is_in_one_place_and_has_no_unknown_keys() {
        let check = |text: &str, part: &str| {
            let error = serde_yaml::from_str::<Context>(text)
                .unwrap_err()
                .to_string();
            assert!(error.contains(part), "{error}");
        };
        check("name: a\n", "one of endpoint and kubernetes");
        let both = "name: a\nendpoint: b:1\nkubernetes: {cluster: c, namespace: d}\n";
        check(both, "one of endpoint and kubernetes");
        check("name: a\nendpoind: b:1\n", "endpoind");
        check(
            "name: a\nkubernetes: {cluster: c, namespase: d}\n",
            "namespase",
        );
    }
}
