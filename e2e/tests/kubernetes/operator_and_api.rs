//! Neither the operator nor the API server is needed for records to flow, and what they miss is made
//! up for.

use std::time::{Duration, Instant};

use headwater_client::{Client, ClientConfig};
use headwater_crds::{Cluster, Topic};
use headwater_e2e::kubernetes::{
    ApiOutage, Kubernetes, NAMESPACE, SHARED, cluster, expect_intact, topic, uid,
};
use headwater_e2e::{Load, seed};
use k8s_openapi::api::core::v1::{Node, Service};
use kube::api::ListParams;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// How an operator ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Its pod is deleted, with no time to stop.
    Deleted,
    /// It loses its Lease, and ends on the spot with everything half done.
    Deposed,
}

const ENDS: [End; 3] = [End::Deposed, End::Deleted, End::Deleted];
const TOPICS: u32 = 20;
/// An operator notices within 2 s that the Lease is another's, so that work must last longer.
const PAUSE_DEPOSED: Duration = Duration::from_millis(130);

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_that_ends_in_the_middle_of_its_work_is_followed_by_one_that_finishes_it() {
    let Some(kube) = Kubernetes::start("").await else {
        return;
    };
    let mut rng = StdRng::seed_from_u64(seed());
    kube.shared().await;
    let restarts = kube.operator_restarts().await;
    for (round, end) in ENDS.into_iter().enumerate() {
        let start = Instant::now();
        let spec = format!("{{clusterRef: {{name: {SHARED}}}, partitions: 2}}");
        let name = |number: u32| format!("ended-{round}-{number}");
        let new = format!("ended-{round}");
        if end == End::Deposed {
            kube.depose_operator().await;
        }
        for number in 0..TOPICS {
            let topic = topic(&name(number), &spec);
            kube.apply(NAMESPACE, &topic).await.unwrap();
            if number == TOPICS / 2 {
                let disk = "{storage: {size: 1Gi}}";
                kube.apply(NAMESPACE, &cluster(&new, disk)).await.unwrap();
            }
            if end == End::Deposed {
                tokio::time::sleep(PAUSE_DEPOSED).await;
            }
        }
        if end == End::Deleted {
            tokio::time::sleep(Duration::from_millis(rng.random_range(0..200))).await;
            kube.kill_operator().await;
        }
        for number in 0..TOPICS {
            kube.ready::<Topic>(NAMESPACE, &name(number)).await;
        }
        // A cluster is formed once, whoever of the two operators did it.
        let id = kube.cluster_id(&new).await;
        let secret = kube.secret(&new).await;
        let formed = (&secret["clusterId"], secret["formed"].as_str());
        assert_eq!(formed, (&id, "true"));
        let took = start.elapsed();
        eprintln!("operator {end:?} among {TOPICS} Topics and a Cluster: all ready after {took:?}");
        if end == End::Deposed {
            assert!(restarts < kube.operator_restarts().await, "it did not end");
        }
        kube.discard_cluster(&new).await;
    }
    each_topic_is_there_once(&kube).await;
}

async fn each_topic_is_there_once(kube: &Kubernetes) {
    let forward = kube.forward(SHARED).await;
    let admin = forward.client().await.admin();
    let mut topics = admin.list_topics(Some(NAMESPACE)).await.unwrap();
    topics.retain(|topic| topic.name.contains("/ended-"));
    assert_eq!(topics.len(), ENDS.len() * TOPICS as usize);
    for found in topics {
        assert_eq!(found.partitions, 2, "{}", found.name);
        let (_, name) = found.name.split_once('/').unwrap();
        kube.delete::<Topic>(NAMESPACE, name).await;
        admin.delete_topic(&found.name, None).await.unwrap();
    }
}

const PARTITIONS: u32 = 3;
/// How long the API server is away.
const OUTAGE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_that_is_away_for_a_minute_stops_no_records() {
    let needs = ", and commands that stop and start the API server";
    let Some(kube) = Kubernetes::start(needs).await else {
        return;
    };
    let Some(mut outage) = ApiOutage::from_env() else {
        return;
    };
    let spec = "{storage: {size: 1Gi}, service: {type: NodePort}}";
    kube.start_cluster("outage", spec).await;
    let of = |name: &str| {
        let spec = format!("{{clusterRef: {{name: outage}}, partitions: {PARTITIONS}}}");
        topic(name, &spec)
    };
    kube.apply(NAMESPACE, &of("before")).await.unwrap();
    kube.ready::<Topic>(NAMESPACE, "before").await;
    let pod = kube.broker("outage").await;
    // A forwarded port leads through the API server; this does not.
    let client = connect(&kube, &node_port(&kube, "outage").await).await;
    let name = format!("{NAMESPACE}/before");
    let load = Load::start_gently(&client, &name, PARTITIONS, 2, Duration::from_millis(1));
    tokio::time::sleep(Duration::from_secs(1)).await;

    outage.begin();
    let begun = Instant::now();
    let mut stored = records(&client, &name).await;
    let mut slowest = u64::MAX;
    while begun.elapsed() < OUTAGE {
        tokio::time::sleep(Duration::from_secs(5)).await;
        let now = records(&client, &name).await;
        slowest = slowest.min(now - stored);
        stored = now;
    }
    outage.end();
    let back = Instant::now();
    kube.apply(NAMESPACE, &of("after")).await.unwrap();
    kube.ready::<Topic>(NAMESPACE, "after").await;
    kube.ready::<Cluster>(NAMESPACE, "outage").await;
    eprintln!(
        "API server away for {:?}: at least {slowest} records in any 5 s; a Topic applied when it \
         was back was ready after {:?}",
        back - begun,
        back.elapsed()
    );
    let history = load.finish().await;

    assert!(0 < slowest, "producing stood still");
    assert_eq!(history.unknown_count(), 0);
    expect_intact(&client, &name, &history).await;
    let now = kube.broker("outage").await;
    assert_eq!(uid(&now), uid(&pod), "the broker was replaced");
    let status = now.status.unwrap().container_statuses.unwrap();
    assert_eq!(status[0].restart_count, 0, "the broker was restarted");
    kube.delete::<Topic>(NAMESPACE, "before").await;
    kube.delete::<Topic>(NAMESPACE, "after").await;
    kube.discard_cluster("outage").await;
}

/// Where a node leads to the Service of a Cluster.
async fn node_port(kube: &Kubernetes, cluster: &str) -> String {
    let service: Service = kube.get(NAMESPACE, cluster).await;
    let ports = service.spec.unwrap().ports.unwrap();
    let port = ports.iter().find(|port| port.port == 7650).unwrap();
    let nodes = kube.everywhere::<Node>().list(&ListParams::default()).await;
    let status = nodes.unwrap().items.swap_remove(0).status.unwrap();
    let addresses = status.addresses.unwrap();
    let address = addresses
        .iter()
        .find(|address| address.type_ == "InternalIP");
    format!("{}:{}", address.unwrap().address, port.node_port.unwrap())
}

/// A node takes a moment to know where a Service leads.
async fn connect(kube: &Kubernetes, endpoint: &str) -> Client {
    let connect = async || Client::connect(ClientConfig::new(endpoint)).await.ok();
    kube.eventually("the node leads to the broker", connect)
        .await
}

/// How many records of a topic can be read.
async fn records(client: &Client, topic: &str) -> u64 {
    let partitions = client.admin().list_partitions(topic).await.unwrap();
    partitions
        .iter()
        .map(|partition| u64::try_from(partition.high_watermark).unwrap())
        .sum()
}
