//! The internal listener: waiting to be formed, the secret, and what the operator may.

use std::path::Path;
use std::time::Duration;

use headwater_broker::Running;
use headwater_broker::config::Settings;
use headwater_proto::internal::v1::broker_service_client::BrokerServiceClient;
use headwater_proto::internal::v1::{
    BrokerState, CheckConfigurationRequest, FormClusterRequest, GetBrokerRequest, GetBrokerResponse,
};
use headwater_proto::v1::cluster_service_client::ClusterServiceClient;
use headwater_proto::v1::topic_service_client::TopicServiceClient;
use headwater_proto::v1::{ListTopicsRequest, WatchMetadataRequest};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

const SECRET: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const CLUSTER: &str = "11111111-2222-4333-8444-555555555555";

type Authenticated =
    InterceptedService<Channel, Box<dyn FnMut(Request<()>) -> Result<Request<()>, Status> + Send>>;

/// A broker that starts, on a port known beforehand.
struct Starting {
    dir: TempDir,
    port: u16,
    broker: JoinHandle<anyhow::Result<Running>>,
}

fn settings(dir: &Path, port: u16) -> Settings {
    let secret = dir.join("secret");
    std::fs::write(&secret, SECRET).unwrap();
    Settings::embedded(&[
        ("data_dir", dir.join("data").to_str().unwrap()),
        ("listen.client", "127.0.0.1:0"),
        ("listen.http", "127.0.0.1:0"),
        ("listen.internal", &format!("127.0.0.1:{port}")),
        ("internal.secret_file", secret.to_str().unwrap()),
        ("shutdown_grace", "1s"),
        ("disk_guard.reserve_bytes", "1MiB"),
        ("memory.limit_bytes", "512MiB"),
    ])
    .unwrap()
}

fn start_on(dir: TempDir) -> Starting {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let settings = settings(dir.path(), port);
    let broker = tokio::spawn(headwater_broker::start(settings));
    Starting { dir, port, broker }
}

fn start() -> Starting {
    start_on(tempfile::tempdir().unwrap())
}

impl Starting {
    /// A channel, as soon as the listener is there.
    async fn channel(&self) -> Channel {
        let address = format!("http://127.0.0.1:{}", self.port);
        let endpoint = Channel::from_shared(address).unwrap();
        for _ in 0..200 {
            if let Ok(channel) = endpoint.connect().await {
                return channel;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("the internal listener never came");
    }

    async fn authenticated(&self, secret: &str, role: &'static str) -> Authenticated {
        let bearer = format!("Bearer {secret}").parse().unwrap();
        InterceptedService::new(
            self.channel().await,
            Box::new(move |mut request: Request<()>| {
                let metadata = request.metadata_mut();
                metadata.insert("authorization", Clone::clone(&bearer));
                metadata.insert("headwater-role", role.parse().unwrap());
                Ok(request)
            }),
        )
    }

    async fn operator(&self) -> BrokerServiceClient<Authenticated> {
        BrokerServiceClient::new(self.authenticated(SECRET, "operator").await)
    }

    async fn describe(&self) -> GetBrokerResponse {
        let mut operator = self.operator().await;
        operator
            .get_broker(GetBrokerRequest {})
            .await
            .unwrap()
            .into_inner()
    }

    async fn form(&self, cluster: &str, storage: &str) -> Result<i32, Status> {
        let request = FormClusterRequest {
            cluster_id: cluster.to_owned(),
            storage_id: storage.to_owned(),
        };
        let formed = self.operator().await.form_cluster(request).await?;
        Ok(formed.into_inner().broker_id)
    }
}

fn reason(status: &Status) -> String {
    status.get_details_error_info().unwrap().reason
}

#[tokio::test]
async fn an_unformed_broker_waits_and_is_formed_by_one_idempotent_call() {
    let starting = start();
    let before = starting.describe().await;
    assert_eq!(before.state(), BrokerState::Unformed);
    assert!(before.disk_empty && before.cluster_id.is_empty() && before.broker_id.is_none());
    assert!(!starting.broker.is_finished());

    let id = starting.form(CLUSTER, &before.storage_id).await.unwrap();
    let again = starting.form(CLUSTER, &before.storage_id).await.unwrap();
    assert_eq!(id, again);
    let other = CLUSTER.replace('1', "9");
    let refused = starting.form(&other, &before.storage_id).await.unwrap_err();
    assert_eq!(
        (refused.code(), reason(&refused).as_str()),
        (Code::FailedPrecondition, "WRONG_CLUSTER")
    );

    let Starting { dir, broker, .. } = starting;
    broker.await.unwrap().unwrap().stop().await.unwrap();

    // The next start needs nobody.
    let starting = start_on(dir);
    let running = tokio::time::timeout(Duration::from_secs(30), starting.broker);
    let running = running.await.unwrap().unwrap().unwrap();
    assert!(running.internal_address().is_some());
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_cluster_is_not_formed_on_another_disk_than_the_one_that_was_looked_at() {
    let starting = start();
    let refused = starting.form(CLUSTER, CLUSTER).await.unwrap_err();
    assert_eq!(reason(&refused), "WRONG_STORAGE");
    let refused = starting.form("no uuid", CLUSTER).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert_eq!(starting.describe().await.state(), BrokerState::Unformed);
    starting.broker.abort();
}

#[tokio::test]
async fn the_public_services_answer_the_operator_once_the_broker_serves() {
    let starting = start();
    let mut topics = TopicServiceClient::new(starting.authenticated(SECRET, "operator").await);
    let early = topics.list_topics(ListTopicsRequest::default()).await;
    assert_eq!(reason(&early.unwrap_err()), "NOT_SERVING");
    let storage = starting.describe().await.storage_id;
    starting.form(CLUSTER, &storage).await.unwrap();
    let listed = topics.list_topics(ListTopicsRequest::default()).await;
    assert!(listed.unwrap().into_inner().topics.is_empty());
    starting
        .broker
        .await
        .unwrap()
        .unwrap()
        .stop()
        .await
        .unwrap();
}

#[tokio::test]
async fn without_the_secret_and_a_role_nothing_is_told() {
    let starting = start();
    let wrong = SECRET.replace('0', "1");
    for (secret, role, expected) in [
        (wrong.as_str(), "operator", "SECRET_WRONG"),
        ("", "operator", "SECRET_WRONG"),
        (SECRET, "visitor", "ROLE_UNKNOWN"),
    ] {
        let mut client = BrokerServiceClient::new(starting.authenticated(secret, role).await);
        let refused = client.get_broker(GetBrokerRequest {}).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated);
        assert_eq!(reason(&refused), expected);
    }
    let mut nobody = BrokerServiceClient::new(starting.channel().await);
    let refused = nobody.get_broker(GetBrokerRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    starting.broker.abort();
}

#[tokio::test]
async fn a_configuration_is_checked_with_the_words_of_a_start() {
    let starting = start();
    let mut operator = starting.operator().await;
    let mut problems = async |yaml: &str| {
        let request = CheckConfigurationRequest {
            yaml: yaml.to_owned(),
        };
        let checked = operator.check_configuration(request).await.unwrap();
        checked.into_inner().problems
    };
    assert_eq!(problems("limits:\n  connections_max: 100\n").await, [""; 0]);
    let unknown = problems("limits:\n  conections_max: 100\n").await.concat();
    assert!(unknown.contains("limits.connections_max"), "{unknown}");
    let range = problems("topics:\n  partitions: 0\n").await.concat();
    assert!(
        range.contains("topics.partitions") && range.contains("1 to"),
        "{range}"
    );
    starting.broker.abort();
}

/// Passes bytes to `to` until told to stop, and then holds both connections open in silence, as a
/// host does that has vanished.
async fn passing(to: u16, mut silent: tokio::sync::watch::Receiver<bool>) -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut here, _) = listener.accept().await.unwrap();
        let mut there = tokio::net::TcpStream::connect(("127.0.0.1", to))
            .await
            .unwrap();
        tokio::select! {
            _ = tokio::io::copy_bidirectional(&mut here, &mut there) => {}
            _ = silent.wait_for(|silent| *silent) => {}
        }
        std::future::pending::<()>().await;
    });
    port
}

#[tokio::test]
async fn an_operator_that_has_vanished_does_not_hold_up_a_stop() {
    let mut starting = start();
    let storage = starting.describe().await.storage_id;
    starting.form(CLUSTER, &storage).await.unwrap();
    let (silence, silent) = tokio::sync::watch::channel(false);
    starting.port = passing(starting.port, silent).await;
    let channel = starting.authenticated(SECRET, "operator").await;
    let mut clusters = ClusterServiceClient::new(channel);
    let request = WatchMetadataRequest { topics: Vec::new() };
    let mut metadata = clusters.watch_metadata(request).await.unwrap().into_inner();
    assert!(metadata.message().await.unwrap().is_some());
    silence.send_replace(true);

    let running = starting.broker.await.unwrap().unwrap();
    // The keepalive would notice after half a minute.
    let stopped = tokio::time::timeout(Duration::from_secs(10), running.stop()).await;
    stopped.expect("the grace of 1 s has passed").unwrap();
}

#[tokio::test]
async fn a_directory_that_another_broker_holds_is_waited_for() {
    let Starting { dir, broker, .. } = {
        let starting = start();
        let storage = starting.describe().await.storage_id;
        starting.form(CLUSTER, &storage).await.unwrap();
        starting
    };
    let first = broker.await.unwrap().unwrap();
    let second = start_on(dir);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!second.broker.is_finished(), "it waits");
    first.stop().await.unwrap();
    let second = tokio::time::timeout(Duration::from_secs(30), second.broker);
    second
        .await
        .unwrap()
        .unwrap()
        .unwrap()
        .stop()
        .await
        .unwrap();
}
