//! A broker's pod may be deleted at any time: what was acknowledged is there when it returns.

use std::time::{Duration, Instant};

use headwater_crds::Topic;
use headwater_e2e::Load;
use headwater_e2e::kubernetes::{Kubernetes, NAMESPACE, expect_intact, topic, uid};
use k8s_openapi::api::core::v1::Pod;
use kube::core::params::DeleteParams;

const PARTITIONS: u32 = 3;

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_deleted_under_load_returns_with_everything_acknowledged() {
    let Some(kube) = Kubernetes::start("").await else {
        return;
    };
    kube.start_cluster("deleted", "{storage: {size: 1Gi}}")
        .await;
    let spec = format!("{{clusterRef: {{name: deleted}}, partitions: {PARTITIONS}}}");
    kube.apply(NAMESPACE, &topic("load", &spec)).await.unwrap();
    kube.ready::<Topic>(NAMESPACE, "load").await;
    let forward = kube.forward("deleted").await;
    let client = forward.client().await;
    let name = format!("{NAMESPACE}/load");
    let load = Load::start_gently(&client, &name, PARTITIONS, 2, Duration::from_millis(1));

    let polite = DeleteParams::default();
    let at_once = DeleteParams::default().grace_period(0);
    for (how, params) in [
        ("politely", &polite),
        ("at once", &at_once),
        ("again", &at_once),
    ] {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let old = uid(&kube.broker("deleted").await);
        let start = Instant::now();
        kube.delete_with::<Pod>(NAMESPACE, "deleted-0", params)
            .await;
        kube.replaced("deleted", &old).await;
        eprintln!(
            "broker deleted {how}: ready again after {:?}",
            start.elapsed()
        );
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let history = load.finish().await;

    eprintln!(
        "{} records acked, {} of unknown outcome",
        history.acked_count(),
        history.unknown_count()
    );
    expect_intact(&client, &name, &history).await;
    assert!(1_000 < history.acked_count(), "there was hardly any load");
    assert_eq!(
        history.unknown_count(),
        0,
        "a new pod is no reason to give up"
    );
    kube.delete::<Topic>(NAMESPACE, "load").await;
    kube.discard_cluster("deleted").await;
}
