//! The operator has the rights that it needs, and no others.

use headwater_e2e::kubernetes::{Kubernetes, NAMESPACE};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::api::PostParams;

const USER: &str = "system:serviceaccount:headwater:headwater-operator";
const OWN: Option<&str> = Some(NAMESPACE);
const OTHER: Option<&str> = Some("default");
/// All namespaces, or a resource that is in none.
const ALL: Option<&str> = None;

/// Verbs, `resource` or `resource/subresource`, and its group, by place.
type Right = (
    &'static str,
    &'static str,
    &'static str,
    Option<&'static str>,
);

const MAY: &[Right] = &[
    ("get list watch patch", "topics", "headwater.dev", ALL),
    ("patch", "topics/status", "headwater.dev", ALL),
    ("get list watch patch", "clusters", "headwater.dev", OWN),
    ("patch", "clusters/status", "headwater.dev", OWN),
    ("get create patch delete", "statefulsets", "apps", OWN),
    ("get list watch create patch", "services", "", OWN),
    ("get list watch create patch", "configmaps", "", OWN),
    ("get list watch", "pods", "", OWN),
    ("create", "pods/eviction", "", OWN),
    (
        "get list watch patch delete",
        "persistentvolumeclaims",
        "",
        OWN,
    ),
    ("get create patch delete", "secrets", "", OWN),
    ("get create update", "leases", "coordination.k8s.io", OWN),
    ("create patch", "events", "events.k8s.io", ALL),
];

const MAY_NOT: &[Right] = &[
    // Secrets are fetched by name.
    ("list watch update deletecollection", "secrets", "", OWN),
    ("get list watch create patch delete", "secrets", "", OTHER),
    // Specs are people's, and so is the end of a resource.
    (
        "create update delete deletecollection",
        "topics",
        "headwater.dev",
        ALL,
    ),
    (
        "create update delete deletecollection",
        "clusters",
        "headwater.dev",
        OWN,
    ),
    ("get list watch patch", "clusters", "headwater.dev", OTHER),
    // Brokers are restarted by eviction and by nothing else.
    ("create patch update delete", "pods", "", OWN),
    ("create", "pods/exec", "", OWN),
    ("create", "pods/portforward", "", OWN),
    ("get", "pods/log", "", OWN),
    ("get list watch", "pods", "", OTHER),
    ("create", "pods/eviction", "", OTHER),
    // Claims are made by the StatefulSet's controller.
    ("create", "persistentvolumeclaims", "", OWN),
    ("get list patch delete", "persistentvolumeclaims", "", OTHER),
    (
        "get list create patch delete",
        "statefulsets",
        "apps",
        OTHER,
    ),
    ("get list create patch delete", "configmaps", "", OTHER),
    ("get create update", "leases", "coordination.k8s.io", OTHER),
    ("get list watch patch", "nodes", "", ALL),
    ("list watch patch delete", "namespaces", "", ALL),
    ("get list create patch", "persistentvolumes", "", ALL),
    ("create patch", "roles", "rbac.authorization.k8s.io", OWN),
    (
        "create patch",
        "clusterroles",
        "rbac.authorization.k8s.io",
        ALL,
    ),
    (
        "patch update delete",
        "customresourcedefinitions",
        "apiextensions.k8s.io",
        ALL,
    ),
    ("create", "serviceaccounts/token", "", OWN),
    ("impersonate", "users", "", ALL),
];

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_may_do_what_it_needs_and_nothing_else() {
    let Some(kube) = Kubernetes::start("").await else {
        return;
    };
    let mut wrong = Vec::new();
    for (rights, expected) in [(MAY, true), (MAY_NOT, false)] {
        for right in rights {
            for verb in right.0.split(' ') {
                if allowed(&kube, verb, right).await != expected {
                    let (_, resource, group, place) = right;
                    let may = if expected { "may not" } else { "may" };
                    let place = place.unwrap_or("all namespaces");
                    wrong.push(format!("{may} {verb} {resource}.{group} in {place}"));
                }
            }
        }
    }
    assert_eq!(wrong, [""; 0]);
}

async fn allowed(kube: &Kubernetes, verb: &str, right: &Right) -> bool {
    let (_, resource, group, namespace) = right;
    let (resource, subresource) = match resource.split_once('/') {
        Some((resource, subresource)) => (resource, Some(subresource.to_owned())),
        None => (*resource, None),
    };
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: Some(USER.to_owned()),
            groups: Some(vec![
                "system:serviceaccounts".to_owned(),
                format!("system:serviceaccounts:{NAMESPACE}"),
                "system:authenticated".to_owned(),
            ]),
            resource_attributes: Some(ResourceAttributes {
                verb: Some(verb.to_owned()),
                group: Some((*group).to_owned()),
                resource: Some(resource.to_owned()),
                subresource,
                namespace: namespace.map(str::to_owned),
                ..ResourceAttributes::default()
            }),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    };
    let reviews = kube.everywhere::<SubjectAccessReview>();
    let answer = reviews.create(&PostParams::default(), &review).await;
    answer.unwrap().status.unwrap().allowed
}
