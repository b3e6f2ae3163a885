//! A manifest that cannot work is refused, or its resource says why; whoever reads it knows what to
//! change, and what was changed back is good again by itself.

use headwater_crds::{Cluster, Reason, Topic};
use headwater_e2e::kubernetes::{
    Kubernetes, NAMESPACE, Refusal, SHARED, cluster, expect_intact, produce, topic,
};
use kube::ResourceExt as _;

/// What is wrong, and what must be said.
enum Said {
    /// By the API server.
    Refused(&'static str),
    /// In `Ready`, with its reason.
    Reported(Reason, &'static str),
}
use Said::{Refused, Reported};

const CLUSTERS: &[(&str, &str, Said)] = &[
    (
        "three-brokers",
        "{replicas: 3, storage: {size: 1Gi}}",
        Refused("spec.replicas must be 1"),
    ),
    ("no-disk", "{}", Refused("spec.storage: Required value")),
    (
        "small-disk",
        "{storage: {size: 500Mi}}",
        Refused("spec.storage.size must be at least 1Gi"),
    ),
    (
        "no-size",
        "{storage: {size: large}}",
        Refused("spec.storage.size"),
    ),
    (
        "misspelt",
        "{storage: {sise: 1Gi, size: 1Gi}}",
        Refused("spec.storage.sise: field not declared in schema"),
    ),
    (
        "own-folder",
        "{storage: {size: 1Gi}, config: {data_dir: /elsewhere}}",
        Refused("spec.config cannot set data_dir"),
    ),
    (
        "twice",
        "{storage: {size: 1Gi}, config: {topics.partitions: 3}}",
        Refused("spec.config cannot set what spec.topicDefaults has a field for"),
    ),
    (
        "no-bucket",
        "{storage: {size: 1Gi}, tier: {backend: gcs}}",
        Refused("spec.tier.bucket: Required value"),
    ),
    (
        "no-region",
        "{storage: {size: 1Gi}, tier: {backend: s3, bucket: logs}}",
        Refused("spec.tier.region is required for backend s3 without endpoint"),
    ),
    (
        "region-of-none",
        "{storage: {size: 1Gi}, tier: {backend: gcs, bucket: logs, region: eu-west-1}}",
        Refused("spec.tier.region is for backend s3 only; take it out"),
    ),
    (
        "nobodys-container",
        "{storage: {size: 1Gi}, tier: {backend: azblob, bucket: logs}}",
        Refused("spec.tier.account is required for backend azblob without credentialsSecret"),
    ),
    (
        "half-an-endpoint",
        "{storage: {size: 1Gi}, tier: {backend: s3, bucket: logs, endpoint: \"minio:9000\"}}",
        Refused("spec.tier.endpoint"),
    ),
    (
        "own-tier",
        "{storage: {size: 1Gi}, config: {tier.url: \"s3://logs\"}}",
        Refused("spec.config cannot set tier.url or tier.credentials_dir"),
    ),
    (
        "1st",
        "{storage: {size: 1Gi}}",
        Refused("a DNS label of at most 44 characters"),
    ),
    (
        "own-label",
        "{storage: {size: 1Gi}, pod: {labels: {app.kubernetes.io/name: mine}}}",
        Reported(
            Reason::InvalidSpec,
            "app.kubernetes.io/name is set by the operator; take it out",
        ),
    ),
    (
        "nowhere",
        "{storage: {size: 1Gi}, pod: {nodeSelector: {example.com/none: here}}}",
        Reported(
            Reason::Unschedulable,
            "change spec.resources, spec.pod or spec.storage",
        ),
    ),
    (
        "unknown-key",
        "{storage: {size: 1Gi}, config: {limits.conections_max: 10}}",
        Reported(Reason::BrokerFailing, "limits.conections_max"),
    ),
];

const TOPICS: &[(&str, &str, Said)] = &[
    (
        "no-cluster",
        "{partitions: 1}",
        Refused("spec.clusterRef: Required value"),
    ),
    (
        "none",
        "{clusterRef: {name: shared}, partitions: 0}",
        Refused("spec.partitions in body should be greater than or equal to 1"),
    ),
    (
        "weeks",
        "{clusterRef: {name: shared}, retention: {time: 2w}}",
        Refused("spec.retention.time"),
    ),
    (
        "own-retention",
        "{clusterRef: {name: shared}, config: {retention_ms: 1000}}",
        Refused("everything else has a field of its own in spec"),
    ),
    (
        "nobody",
        "{clusterRef: {name: nobody}}",
        Reported(Reason::ClusterNotFound, "there is no Cluster nobody"),
    ),
    (
        "elsewhere",
        "{clusterRef: {name: shared, namespace: default}}",
        Reported(Reason::ClusterNotOperated, "add it to clusterNamespaces"),
    ),
    (
        "three-copies",
        "{clusterRef: {name: shared}, replicationFactor: 3}",
        Reported(Reason::InvalidSpec, "has 1 broker; unset it"),
    ),
    (
        "two-in-sync",
        "{clusterRef: {name: shared}, minInSyncReplicas: 2}",
        Reported(Reason::InvalidSpec, "unset it or lower it to 1"),
    ),
    (
        "huge",
        "{clusterRef: {name: shared}, maxMessageBytes: 1Gi}",
        Reported(Reason::Refused, "16"),
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn bad_clusters_are_refused_or_say_what_to_change() {
    let Some(kube) = Kubernetes::start("").await else {
        return;
    };
    // All at once, for each takes a while to fail.
    for (name, spec, said) in CLUSTERS {
        expect(
            name,
            kube.apply(NAMESPACE, &cluster(name, spec)).await,
            said,
        );
    }
    for (name, _, said) in CLUSTERS {
        if let Reported(reason, part) = said {
            let message = kube.not_ready::<Cluster>(NAMESPACE, name, *reason).await;
            assert!(message.contains(part), "{name}: {message} lacks {part}");
            // Corrected, it starts as if nothing had been.
            kube.start_cluster(name, "{storage: {size: 1Gi}}").await;
            kube.discard_cluster(name).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_topics_are_refused_or_say_what_to_change() {
    let Some(kube) = Kubernetes::start("").await else {
        return;
    };
    kube.shared().await;
    for (name, spec, said) in TOPICS {
        expect(name, kube.apply(NAMESPACE, &topic(name, spec)).await, said);
        if let Reported(reason, part) = said {
            let message = kube.not_ready::<Topic>(NAMESPACE, name, *reason).await;
            assert!(message.contains(part), "{name}: {message} lacks {part}");
            kube.delete::<Topic>(NAMESPACE, name).await;
        }
    }
    // A topic does not move to another cluster.
    let of = |cluster: &str| topic("moved", &format!("{{clusterRef: {{name: {cluster}}}}}"));
    kube.apply(NAMESPACE, &of(SHARED)).await.unwrap();
    let refusal = kube.apply(NAMESPACE, &of("another")).await.unwrap_err();
    assert!(refusal.message.contains("spec.clusterRef"), "{refusal:?}");
    kube.delete::<Topic>(NAMESPACE, "moved").await;
}

#[track_caller]
fn expect(name: &str, applied: Result<(), Refusal>, said: &Said) {
    match (applied, said) {
        (Err(refusal), Refused(part)) => {
            assert!(
                refusal.message.contains(part),
                "{name}: {refusal:?} lacks {part}"
            );
        }
        (Ok(()), Reported(..)) => {}
        (Ok(()), Refused(part)) => panic!("{name} was accepted and should be refused: {part}"),
        (Err(refusal), Reported(..)) => panic!("{name} should be accepted: {refusal:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_topic_is_good_again_when_it_is_corrected() {
    let Some(kube) = Kubernetes::start("").await else {
        return;
    };
    kube.shared().await;
    let of = |more: &str| {
        topic(
            "mended",
            &format!("{{clusterRef: {{name: {SHARED}}}{more}}}"),
        )
    };
    kube.apply(NAMESPACE, &of(", replicationFactor: 3"))
        .await
        .unwrap();
    kube.not_ready::<Topic>(NAMESPACE, "mended", Reason::InvalidSpec)
        .await;
    kube.apply(NAMESPACE, &of("")).await.unwrap();
    kube.ready::<Topic>(NAMESPACE, "mended").await;
    kube.delete::<Topic>(NAMESPACE, "mended").await;

    // One that names a Cluster that comes later waits for it.
    let early = topic("early", "{clusterRef: {name: later}}");
    kube.apply(NAMESPACE, &early).await.unwrap();
    kube.not_ready::<Topic>(NAMESPACE, "early", Reason::ClusterNotFound)
        .await;
    kube.start_cluster("later", "{storage: {size: 1Gi}}").await;
    kube.ready::<Topic>(NAMESPACE, "early").await;
    kube.delete::<Topic>(NAMESPACE, "early").await;
    kube.discard_cluster("later").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_recovers_from_every_bad_change_by_a_good_one() {
    let Some(kube) = Kubernetes::start("").await else {
        return;
    };
    let good = "{storage: {size: 1Gi}}";
    let with = |more: &str| cluster("mended", &format!("{{storage: {{size: 1Gi}}, {more}}}"));
    // With no broker to ask, one that cannot start says why in its last words.
    let little = with("resources: {limits: {memory: 16Mi}}");
    kube.apply(NAMESPACE, &little).await.unwrap();
    let reason = Reason::BrokerFailing;
    let message = kube.not_ready::<Cluster>(NAMESPACE, "mended", reason).await;
    expect_minimum(&message);
    kube.start_cluster("mended", good).await;
    let of = topic("mended-topic", "{clusterRef: {name: mended}}");
    kube.apply(NAMESPACE, &of).await.unwrap();
    kube.ready::<Topic>(NAMESPACE, "mended-topic").await;
    let forward = kube.forward("mended").await;
    let client = forward.client().await;
    let name = format!("{NAMESPACE}/mended-topic");
    let mut history = produce(&client, &name, 1, 100).await;
    let before = kube.broker("mended").await;

    // A configuration that the broker would refuse does not reach it.
    kube.apply(NAMESPACE, &with("config: {limits.conections_max: 10}"))
        .await
        .unwrap();
    let reason = Reason::InvalidConfiguration;
    let message = kube.not_ready::<Cluster>(NAMESPACE, "mended", reason).await;
    assert!(message.contains("limits.conections_max"), "{message}");
    history.merge(produce(&client, &name, 1, 100).await);
    kube.start_cluster("mended", good).await;
    assert_eq!(
        kube.broker("mended").await.uid(),
        before.uid(),
        "the broker was restarted"
    );

    let image = "image: {reference: \"docker.io/headwater/headwater:none\", pullPolicy: Never}";
    kube.apply(NAMESPACE, &with(image)).await.unwrap();
    let reason = Reason::ImagePullFailed;
    let message = kube.not_ready::<Cluster>(NAMESPACE, "mended", reason).await;
    assert!(
        message.contains("headwater:none") && message.contains("spec.image"),
        "{message}"
    );
    kube.start_cluster("mended", good).await;
    expect_intact(&client, &name, &history).await;

    // A running broker is asked first, with the memory that it would have.
    kube.apply(NAMESPACE, &little).await.unwrap();
    let reason = Reason::InvalidConfiguration;
    let message = kube.not_ready::<Cluster>(NAMESPACE, "mended", reason).await;
    expect_minimum(&message);
    kube.start_cluster("mended", good).await;
    history.merge(produce(&client, &name, 1, 100).await);
    expect_intact(&client, &name, &history).await;
    kube.delete::<Topic>(NAMESPACE, "mended-topic").await;
    kube.discard_cluster("mended").await;
}

/// A message about too little memory says how much is needed.
fn expect_minimum(message: &str) {
    let names_minimum = message.contains("need at least") && message.contains("MiB");
    assert!(names_minimum, "{message}");
}
