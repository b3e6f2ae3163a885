//! The tier on the command line, against a broker that says what it is told to.

use std::pin::Pin;
use std::sync::{Arc, Mutex};

use headwater_proto::v1;
use headwater_proto::v1::tier_service_server::{TierService, TierServiceServer};
use headwater_proto::v1::topic_service_server::{TopicService, TopicServiceServer};
use headwater_proto::v1::verify_tier_response::Event;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

use crate::support::{Run, run};

/// A broker with one topic, `default/orders`, that is tiered by default.
struct Fake {
    shared: Arc<Shared>,
    endpoint: String,
    _runtime: tokio::runtime::Runtime,
}

struct Shared {
    has_tier: bool,
    /// What a check says.
    events: Vec<Event>,
    /// The topic's own settings.
    config: Mutex<v1::TopicConfig>,
    verified: Mutex<Vec<v1::VerifyTierRequest>>,
}

impl Fake {
    fn start(has_tier: bool, events: Vec<Event>) -> Fake {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"));
        let listener = listener.expect("a free port");
        let endpoint = listener.local_addr().expect("it is bound").to_string();
        let shared = Arc::new(Shared {
            has_tier,
            events,
            config: Mutex::default(),
            verified: Mutex::default(),
        });
        let served = tonic::transport::Server::builder()
            .add_service(TierServiceServer::from_arc(shared.clone()))
            .add_service(TopicServiceServer::from_arc(shared.clone()))
            .serve_with_incoming(TcpListenerStream::new(listener));
        runtime.spawn(served);
        Fake {
            shared,
            endpoint,
            _runtime: runtime,
        }
    }

    fn run(&self, args: &[&str]) -> Run {
        run(&[args, &["--endpoint", &self.endpoint]].concat())
    }

    fn tiering(&self) -> Option<bool> {
        self.shared.config.lock().expect("nobody panicked").tiering
    }
}

impl Shared {
    fn topic(&self, config: v1::TopicConfig) -> v1::Topic {
        v1::Topic {
            name: "default/orders".into(),
            partitions: 1,
            config: Some(config),
            effective_config: Some(v1::TopicConfig {
                tiering: Some(config.tiering.unwrap_or(true)),
                local_retention_ms: Some(config.local_retention_ms.unwrap_or(86_400_000)),
                local_retention_bytes: Some(config.local_retention_bytes.unwrap_or(-1)),
                retention_ms: Some(config.retention_ms.unwrap_or(604_800_000)),
                ..v1::TopicConfig::default()
            }),
            revision: 7,
            ..v1::Topic::default()
        }
    }
}

#[tonic::async_trait]
impl TierService for Shared {
    async fn get_tier_status(
        &self,
        request: Request<v1::GetTierStatusRequest>,
    ) -> Result<Response<v1::GetTierStatusResponse>, Status> {
        let tier = self.has_tier.then(|| v1::TierInfo {
            url: "s3://logs/prod".into(),
            reachable: true,
            ..v1::TierInfo::default()
        });
        let topics = request.into_inner().topics.into_iter();
        let partitions = topics.map(|topic| v1::PartitionTierStatus {
            topic,
            tiering: true,
            tier_end_offset: Some(42),
            ..v1::PartitionTierStatus::default()
        });
        Ok(Response::new(v1::GetTierStatusResponse {
            tier,
            partitions: partitions.collect(),
        }))
    }

    type VerifyTierStream =
        Pin<Box<dyn futures::Stream<Item = Result<v1::VerifyTierResponse, Status>> + Send>>;

    async fn verify_tier(
        &self,
        request: Request<v1::VerifyTierRequest>,
    ) -> Result<Response<Self::VerifyTierStream>, Status> {
        let mut verified = self.verified.lock().expect("nobody panicked");
        verified.push(request.into_inner());
        let answer = |event: &Event| {
            let event = Some(event.clone());
            Ok(v1::VerifyTierResponse { event })
        };
        let answers: Vec<_> = self.events.iter().map(answer).collect();
        Ok(Response::new(Box::pin(futures::stream::iter(answers))))
    }
}

/// The calls of TopicService that no test makes; spelled as the trait's macro does.
macro_rules! unimplemented_calls {
    ($($name:ident: $request:ident => $response:ident),* $(,)?) => {
        $(fn $name<'a, 'b>(
            &'a self,
            _request: Request<v1::$request>,
        ) -> Pin<Box<dyn Future<Output = Result<Response<v1::$response>, Status>> + Send + 'b>>
        where
            'a: 'b,
            Self: 'b,
        {
            Box::pin(async { Err(Status::unimplemented("")) })
        })*
    };
}

#[tonic::async_trait]
impl TopicService for Shared {
    async fn get_topic(
        &self,
        _request: Request<v1::GetTopicRequest>,
    ) -> Result<Response<v1::GetTopicResponse>, Status> {
        let config = *self.config.lock().expect("nobody panicked");
        let topic = Some(self.topic(config));
        Ok(Response::new(v1::GetTopicResponse { topic }))
    }

    async fn update_topic(
        &self,
        request: Request<v1::UpdateTopicRequest>,
    ) -> Result<Response<v1::UpdateTopicResponse>, Status> {
        let request = request.into_inner();
        let wanted = request.topic.unwrap_or_default();
        assert_eq!(wanted.revision, 7, "only what was told about is changed");
        let config = wanted.config.unwrap_or_default();
        if !request.validate_only {
            *self.config.lock().expect("nobody panicked") = config;
        }
        let topic = Some(self.topic(config));
        Ok(Response::new(v1::UpdateTopicResponse { topic }))
    }

    unimplemented_calls! {
        create_topic: CreateTopicRequest => CreateTopicResponse,
        list_topics: ListTopicsRequest => ListTopicsResponse,
        delete_topic: DeleteTopicRequest => DeleteTopicResponse,
        list_partitions: ListPartitionsRequest => ListPartitionsResponse,
        list_offsets: ListOffsetsRequest => ListOffsetsResponse,
        delete_records: DeleteRecordsRequest => DeleteRecordsResponse,
    }
}

fn summary(problems: i64) -> Event {
    Event::Summary(v1::VerifyTierSummary {
        partitions: 1,
        objects: 2,
        bytes: 4096,
        problems,
        checksums: true,
    })
}

#[test]
fn the_status_names_the_tier_and_the_partitions_that_were_asked_for() {
    let fake = Fake::start(true, Vec::new());
    let status = fake.run(&["tier", "status", "orders", "-n", "shop"]);
    let table = status.exits(0).stdout;
    assert!(
        table.starts_with("tier          s3://logs/prod\n"),
        "{table}"
    );
    assert!(table.contains("shop/orders/0   on"), "{table}");
    let json = fake.run(&["tier", "status", "orders", "-o", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json.exits(0).stdout).expect("it is JSON");
    assert_eq!(json["partitions"][0]["tier_end_offset"], 42);
    assert_eq!(json["tier"]["reachable"], true);
}

#[test]
fn a_whole_tier_is_exit_code_0_and_a_problem_is_1() {
    let whole = Fake::start(true, vec![summary(0)]);
    let run = whole.run(&["tier", "verify", "orders", "--quick"]).exits(0);
    assert!(run.stdout.contains("all there and whole"), "{}", run.stdout);
    let asked = whole
        .shared
        .verified
        .lock()
        .expect("nobody panicked")
        .clone();
    assert_eq!(asked[0].topics, ["orders"]);
    assert!(!asked[0].checksums);

    let problem = v1::TierProblem {
        topic: "default/orders".into(),
        object_key: "c/t/0/0-1-u".into(),
        kind: v1::TierProblemKind::Missing.into(),
        ..v1::TierProblem::default()
    };
    let events = vec![Event::Problem(problem), summary(1)];
    let run = Fake::start(true, events).run(&["tier", "verify", "-o", "json"]);
    let run = run.exits(1).says("1 object can be read from nowhere");
    let json: serde_json::Value = serde_json::from_str(&run.stdout).expect("it is JSON");
    assert_eq!(json["problems"][0]["kind"], "missing");
    assert_eq!(json["summary"]["problems"], 1);
}

#[test]
fn a_check_without_a_summary_is_no_success() {
    let fake = Fake::start(true, Vec::new());
    let run = fake.run(&["tier", "verify"]).exits(1);
    assert_eq!(run.says("before it was through").stdout, "");
}

#[test]
fn turning_tiering_off_wants_a_yes_and_a_dry_run_only_tells() {
    let fake = Fake::start(true, Vec::new());
    let edit = ["topic", "edit", "orders", "--tiering=false"];
    fake.run(&edit)
        .exits(2)
        .says("add --yes")
        .says("nothing more is uploaded");
    fake.run(&[&edit[..], &["--dry-run"]].concat())
        .exits(0)
        .says("stays readable until retention takes it")
        .says("could be changed");
    assert_eq!(fake.tiering(), None);
    fake.run(&[&edit[..], &["--yes"]].concat())
        .exits(0)
        .says("nothing more is uploaded");
    assert_eq!(fake.tiering(), Some(false));
    fake.run(&["topic", "edit", "orders", "--tiering", "default"])
        .exits(0)
        .says("go 1d after the records were appended");
    assert_eq!(fake.tiering(), None);
}

#[test]
fn a_shorter_retention_tells_what_is_deleted_and_a_longer_one_is_only_done() {
    // With a tier or without: the records are deleted wherever they are.
    for has_tier in [true, false] {
        let fake = Fake::start(has_tier, Vec::new());
        let edit = |retention| fake.run(&["topic", "edit", "orders", "--retention", retention]);
        edit("1d")
            .exits(0)
            .says("records are deleted 1d after they were appended")
            .says("do not come back");
        let longer = edit("forever").exits(0);
        assert!(!longer.stderr.contains("deleted"), "{}", longer.stderr);
        assert!(!longer.stderr.contains("no tier"), "{}", longer.stderr);
    }
}

#[test]
fn without_a_tier_nothing_is_asked() {
    let fake = Fake::start(false, Vec::new());
    fake.run(&["topic", "edit", "orders", "--tiering=false"])
        .exits(0)
        .says("the cluster has no tier");
    assert_eq!(fake.tiering(), Some(false));
}
