//! The command-line tool finds its way in Kubernetes.

use std::os::unix::fs::symlink;
use std::process::Command;

use headwater_crds::Topic;
use headwater_e2e::Program;
use headwater_e2e::kubernetes::{Kubernetes, NAMESPACE, SHARED, headwater, topic};

#[tokio::test(flavor = "multi_thread")]
async fn one_screen_shows_a_cluster_and_an_imported_context_reaches_it() {
    let Some(kube) = Kubernetes::start("").await else {
        return;
    };
    kube.shared().await;
    let seen = topic(
        "seen",
        &format!("{{clusterRef: {{name: {SHARED}}}, partitions: 2}}"),
    );
    kube.apply(NAMESPACE, &seen).await.unwrap();
    kube.ready::<Topic>(NAMESPACE, "seen").await;
    let home = tempfile::tempdir().unwrap();

    let screen = headwater(home.path(), &["k8s", "status", SHARED, "-n", NAMESPACE]).text();
    for part in [
        "Cluster headwater/shared",
        "seen",
        "shared-0",
        "data-shared-0",
        "1 of 1 ready",
    ] {
        assert!(screen.contains(part), "the screen lacks {part}:\n{screen}");
    }
    let json = headwater(
        home.path(),
        &["k8s", "status", SHARED, "-n", NAMESPACE, "-o", "json"],
    );
    let json: serde_json::Value = serde_json::from_str(&json.text()).unwrap();
    assert_eq!(json["clusters"][0]["name"], SHARED);

    headwater(home.path(), &["context", "import", SHARED, "-n", NAMESPACE]).text();
    let topics = headwater(home.path(), &["topic", "list", "-o", "name"]).text();
    let names: Vec<&str> = topics.lines().collect();
    assert!(names.contains(&"headwater/seen"), "{topics}");
    let cluster = headwater(home.path(), &["doctor"]);
    assert!(
        cluster.succeeded(),
        "{}{}",
        cluster.stdout(),
        cluster.stderr()
    );
    kube.delete::<Topic>(NAMESPACE, "seen").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_finds_it_as_a_plugin() {
    let Some(kube) = Kubernetes::start("").await else {
        return;
    };
    kube.shared().await;
    let folder = tempfile::tempdir().unwrap();
    symlink(Program::Cli.path(), folder.path().join("kubectl-headwater")).unwrap();
    let path = std::env::var("PATH").unwrap();
    let output = Command::new("kubectl")
        .args(["headwater", "status", SHARED, "-n", NAMESPACE])
        .env("PATH", format!("{}:{path}", folder.path().display()))
        .output()
        .unwrap();
    let screen = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert!(screen.contains("Cluster headwater/shared"), "{screen}");
}
