//! Services, and who may reach which port.

use std::collections::BTreeMap;

use headwater_crds::{Cluster, ServiceType};
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort,
    NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{CLIENT_PORT, HTTP_PORT, INTERNAL_PORT};
use crate::cluster::validate::ValidCluster;

fn port(name: &str, number: i32) -> ServicePort {
    ServicePort {
        name: Some(name.to_owned()),
        port: number,
        target_port: Some(IntOrString::String(name.to_owned())),
        protocol: Some("TCP".to_owned()),
        // Meshes and gateways read it: HTTP/2 without TLS.
        app_protocol: (name == "grpc").then(|| "kubernetes.io/h2c".to_owned()),
        ..ServicePort::default()
    }
}

/// Where clients connect.
pub(super) fn client_service(cluster: &Cluster, valid: &ValidCluster) -> Service {
    let asked = cluster.spec.service.clone().unwrap_or_default();
    let kind = match asked.service_type.unwrap_or_default() {
        ServiceType::ClusterIP => "ClusterIP",
        ServiceType::NodePort => "NodePort",
        ServiceType::LoadBalancer => "LoadBalancer",
    };
    Service {
        metadata: ObjectMeta {
            annotations: super::unless_empty(asked.annotations),
            ..super::metadata(cluster, valid, &valid.name)
        },
        spec: Some(ServiceSpec {
            type_: Some(kind.to_owned()),
            ports: Some(vec![port("grpc", CLIENT_PORT), port("http", HTTP_PORT)]),
            selector: Some(super::selector_labels(&valid.name)),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

/// Gives every broker a name of its own, ready or not: brokers find each other before they serve.
pub(super) fn headless_service(cluster: &Cluster, valid: &ValidCluster) -> Service {
    Service {
        metadata: super::metadata(cluster, valid, &headless_name(&valid.name)),
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".to_owned()),
            publish_not_ready_addresses: Some(true),
            ports: Some(vec![
                port("grpc", CLIENT_PORT),
                port("internal", INTERNAL_PORT),
            ]),
            selector: Some(super::selector_labels(&valid.name)),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

/// Name of the headless Service.
pub(super) fn headless_name(cluster: &str) -> String {
    format!("{cluster}-brokers")
}

/// Clients come from where the resource says, whoever scrapes from anywhere; the internal port is for the operator and for
/// brokers of the same cluster.
pub(super) fn policy(cluster: &Cluster, valid: &ValidCluster) -> NetworkPolicy {
    let to = |number: i32| NetworkPolicyPort {
        port: Some(IntOrString::Int(number)),
        protocol: Some("TCP".to_owned()),
        end_port: None,
    };
    let labelled = |pairs: &[(&str, &str)]| LabelSelector {
        match_labels: Some(BTreeMap::from_iter(
            pairs
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned())),
        )),
        match_expressions: None,
    };
    let operator = NetworkPolicyPeer {
        namespace_selector: Some(labelled(&[(
            "kubernetes.io/metadata.name",
            &valid.operator_namespace,
        )])),
        pod_selector: Some(labelled(&[("app.kubernetes.io/component", "operator")])),
        ip_block: None,
    };
    let brokers = NetworkPolicyPeer {
        pod_selector: Some(super::label_selector(&valid.name)),
        ..NetworkPolicyPeer::default()
    };
    let service = cluster.spec.service.as_ref();
    let clients = service.map(|service| service.clients_from.clone());
    let clients = clients.unwrap_or_default();
    NetworkPolicy {
        metadata: super::metadata(cluster, valid, &valid.name),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(super::label_selector(&valid.name)),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress: Some(vec![
                NetworkPolicyIngressRule {
                    from: (!clients.is_empty()).then_some(clients),
                    ports: Some(vec![to(CLIENT_PORT)]),
                },
                NetworkPolicyIngressRule {
                    from: None,
                    ports: Some(vec![to(HTTP_PORT)]),
                },
                NetworkPolicyIngressRule {
                    from: Some(vec![operator, brokers]),
                    ports: Some(vec![to(INTERNAL_PORT)]),
                },
            ]),
            egress: None,
        }),
    }
}
