//! A Cluster resource comes and goes; its data stays until somebody says that it shall not.

use std::time::Duration;

use headwater_crds::{Cluster, Reason, Topic};
use headwater_e2e::History;
use headwater_e2e::kubernetes::{
    Growth, Judged as _, Kubernetes, NAMESPACE, cluster, expect_intact, produce, topic, uid,
};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Secret, Service};
use kube::ResourceExt as _;

const PARTITIONS: u32 = 2;

/// Starts a Cluster with a Topic of the same name, and puts records into it.
async fn start(kube: &Kubernetes, name: &str, spec: &str) -> History {
    kube.start_cluster(name, spec).await;
    let of = format!("{{clusterRef: {{name: {name}}}, partitions: {PARTITIONS}}}");
    kube.apply(NAMESPACE, &topic(name, &of)).await.unwrap();
    kube.ready::<Topic>(NAMESPACE, name).await;
    let forward = kube.forward(name).await;
    produce(&forward.client().await, &full(name), PARTITIONS, 1_000).await
}

async fn intact(kube: &Kubernetes, name: &str, history: &History) {
    let forward = kube.forward(name).await;
    expect_intact(&forward.client().await, &full(name), history).await;
}

async fn discard(kube: &Kubernetes, name: &str) {
    kube.delete::<Topic>(NAMESPACE, name).await;
    kube.discard_cluster(name).await;
}

fn full(name: &str) -> String {
    format!("{NAMESPACE}/{name}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_deleted_and_applied_again_is_the_same_with_the_same_data() {
    let Some(kube) = Kubernetes::start("").await else {
        return;
    };
    let spec = "{storage: {size: 1Gi}}";
    let history = start(&kube, "again", spec).await;
    let id = kube.cluster_id("again").await;
    let claim: PersistentVolumeClaim = kube.get(NAMESPACE, "data-again-0").await;
    let resource: Cluster = kube.get(NAMESPACE, "again").await;
    assert!(
        resource.finalizers().is_empty(),
        "{:?}",
        resource.finalizers()
    );

    kube.delete::<Cluster>(NAMESPACE, "again").await;
    kube.await_gone::<Pod>(NAMESPACE, "again-0").await;
    kube.await_gone::<StatefulSet>(NAMESPACE, "again").await;
    kube.await_gone::<Service>(NAMESPACE, "again").await;
    kube.await_gone::<ConfigMap>(NAMESPACE, "again").await;
    let message = kube
        .not_ready::<Topic>(NAMESPACE, "again", Reason::ClusterNotFound)
        .await;
    assert!(message.contains("create it"), "{message}");
    let kept: PersistentVolumeClaim = kube.get(NAMESPACE, "data-again-0").await;
    assert_eq!(uid(&kept), uid(&claim));
    assert!(kept.metadata.deletion_timestamp.is_none());
    assert_eq!(kube.secret("again").await["clusterId"], id);

    kube.start_cluster("again", spec).await;
    assert_eq!(kube.cluster_id("again").await, id);
    kube.ready::<Topic>(NAMESPACE, "again").await;
    intact(&kube, "again", &history).await;
    discard(&kube, "again").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_with_policy_delete_leaves_neither_claim_nor_secret() {
    let Some(kube) = Kubernetes::start("").await else {
        return;
    };
    let spec = "{storage: {size: 1Gi}, deletionPolicy: Delete}";
    start(&kube, "dropped", spec).await;
    let resource: Cluster = kube.get(NAMESPACE, "dropped").await;
    assert_eq!(resource.finalizers(), [headwater_crds::CLUSTER_FINALIZER]);

    kube.delete::<Cluster>(NAMESPACE, "dropped").await;
    kube.await_gone::<Cluster>(NAMESPACE, "dropped").await;
    kube.await_gone::<Pod>(NAMESPACE, "dropped-0").await;
    kube.await_gone::<PersistentVolumeClaim>(NAMESPACE, "data-dropped-0")
        .await;
    kube.await_gone::<Secret>(NAMESPACE, "dropped-internal")
        .await;
    kube.delete::<Topic>(NAMESPACE, "dropped").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_configuration_restarts_the_broker_once_and_announces_it() {
    let Some(kube) = Kubernetes::start("").await else {
        return;
    };
    let history = start(&kube, "changed", "{storage: {size: 1Gi}}").await;
    let before = kube.broker("changed").await;
    let spec = "{storage: {size: 1Gi}, config: {limits.connections_max: 500}, pod: {labels: \
                {team: orders}, annotations: {example.com/note: kept}, tolerations: [{key: \
                example.com/brokers, operator: Exists}], terminationGracePeriodSeconds: 45, \
                nodeSelector: {kubernetes.io/os: linux}, serviceAccountAnnotations: \
                {example.com/identity: orders}}, resources: {requests: {cpu: 50m}, limits: \
                {memory: 384Mi}}}";
    kube.apply(NAMESPACE, &cluster("changed", spec))
        .await
        .unwrap();
    let after = kube.replaced("changed", &uid(&before)).await;
    kube.ready::<Cluster>(NAMESPACE, "changed").await;
    kube.await_event::<Cluster>(NAMESPACE, "changed", "BrokerRestarting")
        .await;

    let spec = after.spec.as_ref().unwrap();
    assert_eq!(after.labels()["team"], "orders");
    assert_eq!(after.annotations()["example.com/note"], "kept");
    let tolerations = spec.tolerations.iter().flatten();
    let mut keys = tolerations.filter_map(|toleration| toleration.key.as_deref());
    assert!(keys.any(|key| key == "example.com/brokers"));
    assert_eq!(spec.termination_grace_period_seconds, Some(45));
    assert_eq!(
        spec.node_selector.as_ref().unwrap()["kubernetes.io/os"],
        "linux"
    );
    let resources = spec.containers[0].resources.as_ref().unwrap();
    assert_eq!(resources.requests.as_ref().unwrap()["cpu"].0, "50m");
    assert_eq!(resources.requests.as_ref().unwrap()["memory"].0, "384Mi");
    assert_eq!(resources.limits.as_ref().unwrap()["memory"].0, "384Mi");
    let configuration: ConfigMap = kube.get(NAMESPACE, "changed").await;
    let file = &configuration.data.unwrap()["broker.yaml"];
    assert!(file.contains("limits.connections_max: '500'"), "{file}");

    // Once, and not again.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(kube.broker("changed").await.uid(), after.uid());
    let told = kube
        .events::<Cluster>(NAMESPACE, "changed", "BrokerRestarting")
        .await;
    assert_eq!(told.len(), 1, "{told:?}");
    intact(&kube, "changed", &history).await;
    discard(&kube, "changed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_cluster_goes_on_unchanged_until_it_is_paused_no_more() {
    let Some(kube) = Kubernetes::start("").await else {
        return;
    };
    kube.start_cluster("paused", "{storage: {size: 1Gi}}").await;
    let before = kube.broker("paused").await;
    let spec = |paused: bool| {
        let change = "config: {limits.connections_max: 400}";
        cluster(
            "paused",
            &format!("{{storage: {{size: 1Gi}}, paused: {paused}, {change}}}"),
        )
    };
    kube.apply(NAMESPACE, &spec(true)).await.unwrap();
    let message = kube
        .not_ready::<Cluster>(NAMESPACE, "paused", Reason::Paused)
        .await;
    assert!(message.contains("set spec.paused to false"), "{message}");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(kube.broker("paused").await.uid(), before.uid());
    kube.apply(NAMESPACE, &spec(false)).await.unwrap();
    kube.replaced("paused", &uid(&before)).await;
    kube.ready::<Cluster>(NAMESPACE, "paused").await;
    kube.discard_cluster("paused").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_larger_disk_is_a_larger_claim_under_the_same_pod() {
    let Some(kube) = Kubernetes::start("").await else {
        return;
    };
    kube.storage_class("e2e-grows", Growth::Allowed).await;
    let sized = |size: &str| format!("{{storage: {{size: {size}, className: e2e-grows}}}}");
    let history = start(&kube, "grown", &sized("1Gi")).await;
    let before = kube.broker("grown").await;

    kube.apply(NAMESPACE, &cluster("grown", &sized("2Gi")))
        .await
        .unwrap();
    let grows = |cluster: &Cluster| {
        let verdict = cluster.verdict();
        verdict.is_some_and(|ready| {
            let message = "claim data-grown-0 has 1Gi and grows to 2Gi";
            ready.reason == Reason::ResizingClaim.as_str() && ready.message.contains(message)
        })
    };
    kube.await_condition(NAMESPACE, "grown", "says that its claim grows", grows)
        .await;
    let asks = |claim: &PersistentVolumeClaim| {
        let resources = claim.spec.as_ref().unwrap().resources.as_ref().unwrap();
        resources.requests.as_ref().unwrap()["storage"].0 == "2Gi"
    };
    kube.await_condition(NAMESPACE, "data-grown-0", "asks for 2Gi", asks)
        .await;
    kube.resize_as_asked("data-grown-0").await;
    kube.ready::<Cluster>(NAMESPACE, "grown").await;
    kube.await_event::<Cluster>(NAMESPACE, "grown", "ClaimGrown")
        .await;
    let template = |set: &StatefulSet| {
        let templates = set
            .spec
            .as_ref()
            .unwrap()
            .volume_claim_templates
            .as_ref()
            .unwrap();
        let resources = templates[0]
            .spec
            .as_ref()
            .unwrap()
            .resources
            .as_ref()
            .unwrap();
        resources.requests.as_ref().unwrap()["storage"].0 == "2Gi"
    };
    kube.await_condition(NAMESPACE, "grown", "makes claims of 2Gi", template)
        .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let after = kube.broker("grown").await;
    assert_eq!(after.uid(), before.uid(), "the broker was restarted");
    intact(&kube, "grown", &history).await;

    let refusal = kube
        .apply(NAMESPACE, &cluster("grown", &sized("1Gi")))
        .await
        .unwrap_err();
    assert!(
        refusal.message.contains("spec.storage.size can only grow"),
        "{refusal:?}"
    );
    discard(&kube, "grown").await;
    kube.delete_storage_class("e2e-grows").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storage_class_that_refuses_growth_is_named_and_everything_else_goes_on() {
    let Some(kube) = Kubernetes::start("").await else {
        return;
    };
    kube.storage_class("e2e-fixed", Growth::Refused).await;
    let spec = |size: &str, more: &str| {
        let storage = format!("storage: {{size: {size}, className: e2e-fixed}}");
        cluster("fixed", &format!("{{{storage}{more}}}"))
    };
    kube.apply(NAMESPACE, &spec("1Gi", "")).await.unwrap();
    kube.ready::<Cluster>(NAMESPACE, "fixed").await;
    let before = kube.broker("fixed").await;
    kube.apply(NAMESPACE, &spec("2Gi", "")).await.unwrap();
    let reason = Reason::ClaimNotResizable;
    let message = kube.not_ready::<Cluster>(NAMESPACE, "fixed", reason).await;
    for part in [
        "data-fixed-0",
        "e2e-fixed",
        "1Gi",
        "2Gi",
        "allowVolumeExpansion",
    ] {
        assert!(message.contains(part), "{message} lacks {part}");
    }
    assert_eq!(kube.broker("fixed").await.uid(), before.uid());

    // A topic can be made, and another change is applied.
    let of = "{clusterRef: {name: fixed}}";
    kube.apply(NAMESPACE, &topic("fixed", of)).await.unwrap();
    kube.ready::<Topic>(NAMESPACE, "fixed").await;
    let change = ", config: {limits.connections_max: 300}";
    kube.apply(NAMESPACE, &spec("2Gi", change)).await.unwrap();
    kube.replaced("fixed", &uid(&before)).await;
    kube.not_ready::<Cluster>(NAMESPACE, "fixed", reason).await;
    discard(&kube, "fixed").await;
    kube.delete_storage_class("e2e-fixed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_was_lost_is_said_to_be_lost_and_never_a_new_cluster() {
    let Some(kube) = Kubernetes::start("").await else {
        return;
    };
    start(&kube, "lost", "{storage: {size: 1Gi}}").await;
    let id = kube.cluster_id("lost").await;
    let claim: PersistentVolumeClaim = kube.get(NAMESPACE, "data-lost-0").await;
    kube.delete::<PersistentVolumeClaim>(NAMESPACE, "data-lost-0")
        .await;
    kube.delete::<Pod>(NAMESPACE, "lost-0").await;
    let another = |found: &PersistentVolumeClaim| found.uid() != claim.uid();
    kube.await_condition(NAMESPACE, "data-lost-0", "is another", another)
        .await;
    let message = kube
        .not_ready::<Cluster>(NAMESPACE, "lost", Reason::StorageLost)
        .await;
    for part in [&id, "data-lost-0", "lost-internal"] {
        assert!(message.contains(part), "{message} lacks {part}");
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    kube.not_ready::<Cluster>(NAMESPACE, "lost", Reason::StorageLost)
        .await;
    let secret = kube.secret("lost").await;
    assert_eq!(
        (&secret["clusterId"], secret["formed"].as_str()),
        (&id, "true")
    );

    // What the message offers is what a person can do.
    kube.delete::<Secret>(NAMESPACE, "lost-internal").await;
    let begun_anew = async || {
        let found: Option<Secret> = kube.find(NAMESPACE, "lost-internal").await;
        let formed = found?.data?.contains_key("formed");
        formed.then_some(())
    };
    kube.eventually("the cluster begins anew", begun_anew).await;
    kube.ready::<Cluster>(NAMESPACE, "lost").await;
    assert_ne!(kube.cluster_id("lost").await, id);
    discard(&kube, "lost").await;
}
