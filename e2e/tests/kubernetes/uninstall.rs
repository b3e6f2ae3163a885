//! The operator may go and come back; neither data nor anybody's deletion waits for it.

use std::time::{Duration, Instant};

use headwater_crds::{Cluster, Topic};
use headwater_e2e::kubernetes::{
    Kubernetes, NAMESPACE, SHARED, cluster, expect_intact, headwater, kubectl, produce, topic, uid,
};
use kube::ResourceExt as _;

/// Longer than a deletion that waits for nobody takes.
const AT_ONCE: Duration = Duration::from_secs(30);

const PARTITIONS: u32 = 2;

fn of_shared(name: &str, more: &str) -> String {
    let reference = format!("{{name: {SHARED}, namespace: {NAMESPACE}}}");
    topic(name, &format!("{{clusterRef: {reference}{more}}}"))
}

/// The shared Cluster, which takes topics of a namespace besides its own.
async fn share_with(kube: &Kubernetes, namespace: &str) {
    let also = format!("[{NAMESPACE}, {namespace}]");
    let spec = format!("{{storage: {{size: 1Gi}}, topicNamespaces: {also}}}");
    kube.apply(NAMESPACE, &cluster(SHARED, &spec))
        .await
        .unwrap();
    kube.ready::<Cluster>(NAMESPACE, SHARED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_uninstalled_and_installed_again_harms_nothing_and_nothing_waits_for_it() {
    let Some(kube) = Kubernetes::start("").await else {
        return;
    };
    let spec = "{storage: {size: 1Gi}, topicNamespaces: [\"*\"]}";
    let resource = kube.start_cluster(SHARED, spec).await;
    let name = format!("{NAMESPACE}/survives");
    let survives = of_shared("survives", &format!(", partitions: {PARTITIONS}"));
    kube.apply(NAMESPACE, &survives).await.unwrap();
    let dropped = of_shared("dropped-later", ", deletionPolicy: Delete");
    kube.apply(NAMESPACE, &dropped).await.unwrap();
    let before: Topic = kube.ready(NAMESPACE, "survives").await;
    kube.ready::<Topic>(NAMESPACE, "dropped-later").await;
    let pod = kube.broker(SHARED).await;
    let forward = kube.forward(SHARED).await;
    let client = forward.client().await;
    let mut history = produce(&client, &name, PARTITIONS, 500).await;

    let left = kube
        .with_namespace("left", async |left: &str| {
            for number in 0..3 {
                let kept = of_shared(&format!("kept-{number}"), "");
                kube.apply(left, &kept).await.unwrap();
                kube.ready::<Topic>(left, &format!("kept-{number}")).await;
            }
            kube.uninstall(&[]).await;
            let start = Instant::now();
            kube.delete_namespace(left).await;
            let took = start.elapsed();
            eprintln!("a namespace of Topics is gone without an operator after {took:?}");
            left.to_owned()
        })
        .await;
    assert_eq!(
        client.admin().list_topics(Some(&left)).await.unwrap().len(),
        3
    );

    // Brokers serve on without an operator.
    history.merge(produce(&client, &name, PARTITIONS, 500).await);
    let kept: Cluster = kube.get(NAMESPACE, SHARED).await;
    assert_eq!((kept.uid(), &kept.spec), (resource.uid(), &resource.spec));
    // What it would have deleted is nobody's to wait for.
    let released: Topic = kube.get(NAMESPACE, "dropped-later").await;
    assert!(
        released.finalizers().is_empty(),
        "{:?}",
        released.finalizers()
    );
    goes_at_once(&kube, NAMESPACE, "dropped-later").await;
    let stays = client
        .admin()
        .get_topic(&format!("{NAMESPACE}/dropped-later"))
        .await;
    stays.expect("the records stay");

    let start = Instant::now();
    kube.install();
    // It has changes to look at: the topics of the namespace that is gone are no longer taken.
    kube.shared().await;
    eprintln!(
        "an operator that is installed again acts after {:?}",
        start.elapsed()
    );
    let after: Topic = kube.ready(NAMESPACE, "survives").await;
    assert_eq!(after.uid(), before.uid());
    let id = |topic: &Topic| topic.status.as_ref().unwrap().topic_id.clone();
    assert_eq!(id(&after), id(&before));
    assert_eq!(
        kube.broker(SHARED).await.uid(),
        pod.uid(),
        "the broker was restarted"
    );
    expect_intact(&client, &name, &history).await;

    kube.delete::<Topic>(NAMESPACE, "survives").await;
    for topic in client.admin().list_topics(Some(&left)).await.unwrap() {
        client
            .admin()
            .delete_topic(&topic.name, None)
            .await
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_an_operator_that_was_removed_by_force_is_unstuck() {
    let Some(kube) = Kubernetes::start("").await else {
        return;
    };
    kube.shared().await;
    kube.with_namespace("stuck", async |stuck: &str| {
        share_with(&kube, stuck).await;
        kube.apply(stuck, &of_shared("stuck", ", deletionPolicy: Delete"))
            .await
            .unwrap();
        kube.ready::<Topic>(stuck, "stuck").await;
        kube.uninstall(&["--no-hooks"]).await;
        kubectl(&[
            "delete",
            "-n",
            stuck,
            "--wait=false",
            "topics.headwater.dev/stuck",
        ])
        .text();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let waiting: Topic = kube.get(stuck, "stuck").await;
        assert_eq!(waiting.finalizers(), [headwater_crds::TOPIC_FINALIZER]);

        let home = tempfile::tempdir().unwrap();
        let unstick = |more: &str| headwater(home.path(), &["k8s", "unstick", "-n", stuck, more]);
        let said = unstick("--dry-run").text();
        assert!(
            said.contains("stuck/stuck") || said.contains("/stuck,"),
            "{said}"
        );
        assert_eq!(uid(&kube.get::<Topic>(stuck, "stuck").await), uid(&waiting));
        unstick("--yes").text();
        kube.await_gone::<Topic>(stuck, "stuck").await;

        let forward = kube.forward(SHARED).await;
        let admin = forward.client().await.admin();
        let kept = admin.get_topic(&format!("{stuck}/stuck")).await;
        kept.expect("the records stay");
        admin
            .delete_topic(&format!("{stuck}/stuck"), None)
            .await
            .unwrap();
    })
    .await;
    kube.install();
    kube.shared().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_of_topics_with_policy_delete_goes_with_their_records() {
    let Some(kube) = Kubernetes::start("").await else {
        return;
    };
    kube.shared().await;
    let name = kube
        .with_namespace("tidy", async |tidy: &str| {
            share_with(&kube, tidy).await;
            kube.apply(tidy, &of_shared("gone", ", deletionPolicy: Delete"))
                .await
                .unwrap();
            kube.ready::<Topic>(tidy, "gone").await;
            tidy.to_owned()
        })
        .await;
    let forward = kube.forward(SHARED).await;
    let admin = forward.client().await.admin();
    assert_eq!(admin.list_topics(Some(&name)).await.unwrap(), []);
    kube.shared().await;
}

async fn goes_at_once(kube: &Kubernetes, namespace: &str, name: &str) {
    let start = Instant::now();
    kube.delete::<Topic>(namespace, name).await;
    kube.await_gone::<Topic>(namespace, name).await;
    assert!(
        start.elapsed() < AT_ONCE,
        "{name} took {:?}",
        start.elapsed()
    );
}
