//! What the operator costs, measured and printed.

use std::time::{Duration, Instant};

use headwater_crds::Topic;
use headwater_e2e::kubernetes::{Counters, Judged as _, Kubernetes, NAMESPACE, SHARED, topic};
use kube::api::ListParams;

const TOPICS: usize = 200;
/// How long nothing is done.
const STEADY: Duration = Duration::from_secs(60);
/// Nothing was written for this long: what was begun is done.
const QUIET: Duration = Duration::from_secs(5);

const REQUESTS: &str = "headwater_operator_kubernetes_requests_total";
const RECONCILIATIONS: &str = "headwater_operator_reconciliations_total";

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_is_small_quick_and_silent_when_nothing_changes() {
    let Some(kube) = Kubernetes::start("").await else {
        return;
    };
    kube.shared().await;
    quiet(&kube).await;
    let idle_bytes = kube.operator_memory_bytes().await;
    let before = kube.counters().await;
    let (applied, ready) = many_topics(&kube).await;
    quiet(&kube).await;
    let after = kube.counters().await;
    let busy_bytes = kube.operator_memory_bytes().await;

    let reconciliations = grown(&before, &after, RECONCILIATIONS, &[]);
    let requests = grown(&before, &after, REQUESTS, &[]);
    let leases = grown(&before, &after, REQUESTS, &["resource=\"leases\""]);
    let writes = after.writes() - before.writes();

    let begun = kube.counters().await;
    tokio::time::sleep(STEADY).await;
    let ended = kube.counters().await;
    let steady_writes = ended.writes() - begun.writes();
    let steady_calls = grown(&begun, &ended, REQUESTS, &[]);
    let steady_leases = grown(&begun, &ended, REQUESTS, &["resource=\"leases\""]);

    eprintln!("| figure | value |\n| --- | --- |");
    let row = |figure: &str, value: String| eprintln!("| {figure} | {value} |");
    row(
        "image",
        format!("{:.1} MB", kube.image_bytes() as f64 / 1e6),
    );
    row("operator's memory, idle", mebibytes(idle_bytes));
    row(
        &format!("operator's memory, {TOPICS} Topics"),
        mebibytes(busy_bytes),
    );
    row(
        &format!("{TOPICS} Topics applied"),
        format!("{applied:.1?}"),
    );
    row(
        &format!("{TOPICS} Topics all Ready, from the first apply on"),
        format!("{ready:.1?}"),
    );
    row("reconciliations for them", format!("{reconciliations}"));
    row(
        "API calls for them, but for the Lease",
        format!("{}", requests - leases),
    );
    row(
        "API calls for a reconciliation",
        format!("{:.2}", (requests - leases) / reconciliations),
    );
    row(
        "writes for a Topic",
        format!("{:.2}", writes / TOPICS as f64),
    );
    row(
        "writes in 60 s without a change, but for the Lease",
        format!("{steady_writes}"),
    );
    row(
        "other API calls in these 60 s",
        format!("{}", steady_calls - steady_leases),
    );

    eprintln!("\nAPI calls for {TOPICS} Topics by method and resource:\n");
    for (call, count) in after.since(&before) {
        if let Some(labels) = call.strip_prefix(REQUESTS) {
            eprintln!("{count:>6} {labels}");
        }
    }

    discard(&kube).await;
    let wrong = ended.since(&begun);
    assert_eq!(steady_writes, 0.0, "in the steady state: {wrong:#?}");
    assert!(busy_bytes < 128 << 20, "{}", mebibytes(busy_bytes));
    assert!(ready < Duration::from_secs(120), "{ready:?}");
}

/// Applies many Topics; how long the applying took, and how long until all were ready.
async fn many_topics(kube: &Kubernetes) -> (Duration, Duration) {
    let spec = format!("{{clusterRef: {{name: {SHARED}}}}}");
    let start = Instant::now();
    let one = async |number: usize| {
        let yaml = topic(&format!("many-{number}"), &spec);
        kube.apply(NAMESPACE, &yaml).await.unwrap();
    };
    futures::future::join_all((0..TOPICS).map(one)).await;
    let applied = start.elapsed();
    kube.eventually("all Topics are ready", async || {
        let ready = many(kube)
            .await
            .iter()
            .filter(|topic| topic.is_ready())
            .count();
        (ready == TOPICS).then_some(())
    })
    .await;
    (applied, start.elapsed())
}

async fn many(kube: &Kubernetes) -> Vec<Topic> {
    let listed = kube
        .api::<Topic>(NAMESPACE)
        .list(&ListParams::default())
        .await;
    let mut topics = listed.unwrap().items;
    topics.retain(|topic| topic.metadata.name.as_deref().unwrap().starts_with("many-"));
    topics
}

/// Waits until the operator has written nothing for a while.
async fn quiet(kube: &Kubernetes) {
    let mut written = kube.counters().await.writes();
    let mut since = Instant::now();
    let start = since;
    while since.elapsed() < QUIET {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = kube.counters().await.writes();
        if now != written {
            (written, since) = (now, Instant::now());
        }
        assert!(
            start.elapsed() < Duration::from_secs(120),
            "the operator writes on and on"
        );
    }
}

fn grown(before: &Counters, after: &Counters, name: &str, labels: &[&str]) -> f64 {
    after.sum(name, labels) - before.sum(name, labels)
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

/// Deletes the Topics and their topics.
async fn discard(kube: &Kubernetes) {
    let forward = kube.forward(SHARED).await;
    let admin = forward.client().await.admin();
    for number in 0..TOPICS {
        let name = format!("many-{number}");
        kube.delete::<Topic>(NAMESPACE, &name).await;
        admin
            .delete_topic(&format!("{NAMESPACE}/{name}"), None)
            .await
            .unwrap();
    }
}
