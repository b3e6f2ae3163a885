//! What the operator asks of brokers, on their internal listener.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _};
use headwater_proto::internal::v1 as internal;
use headwater_proto::internal::v1::broker_service_client::BrokerServiceClient;
use headwater_proto::v1;
use headwater_proto::v1::cluster_service_client::ClusterServiceClient;
use headwater_proto::v1::topic_service_client::TopicServiceClient;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;
use uuid::Uuid;

/// How long a broker may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a broker may take to answer. Creating 10,000 partitions takes less.
const CALL_TIMEOUT: Duration = Duration::from_secs(15);
/// How often a silent connection is asked for a sign of life.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// Connections that are kept.
const CHANNELS_MAX: usize = 256;
/// Bytes of one answer: the metadata of 10,000 partitions takes less than 1 MiB.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Where a broker is, and what it wants to see.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BrokerEndpoint {
    /// `ip:port` of the internal listener.
    pub address: String,
    /// The cluster's secret.
    pub secret: String,
}

/// Why a broker did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokerError {
    /// It does not answer, or cannot just now. Trying again may help.
    #[error("the broker does not answer: {0}")]
    Unreachable(String),
    /// The topic has changed since it was looked at. Looking again helps.
    #[error("the topic was changed by somebody else: {0}")]
    Stale(String),
    /// It refuses, and will refuse again until the request is another.
    #[error("{message}")]
    Refused {
        /// The stable reason, such as `INVALID_CONFIG`.
        reason: String,
        /// What is wrong, in the broker's words.
        message: String,
    },
}

impl From<Status> for BrokerError {
    fn from(status: Status) -> BrokerError {
        let info = status.get_details_error_info();
        let reason = info.map(|info| info.reason).unwrap_or_default();
        let message = status.message().to_owned();
        match status.code() {
            Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::FailedPrecondition
            | Code::OutOfRange
            | Code::ResourceExhausted
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::Unimplemented => BrokerError::Refused { reason, message },
            Code::Aborted => BrokerError::Stale(message),
            _ => BrokerError::Unreachable(message),
        }
    }
}

/// What the operator asks of brokers. Every call has a deadline.
pub trait Brokers: Send + Sync + 'static {
    /// Who a broker is.
    fn describe(&self, at: &BrokerEndpoint) -> Answer<internal::GetBrokerResponse>;
    /// Forms a cluster. Answers with the broker's id.
    fn form(&self, at: &BrokerEndpoint, cluster: Uuid, storage: String) -> Answer<i32>;
    /// What a broker would say against a configuration file. Empty: it would do.
    fn check_configuration(&self, at: &BrokerEndpoint, yaml: String) -> Answer<Vec<String>>;
    /// A topic by its full name, if there is one.
    fn topic(&self, at: &BrokerEndpoint, name: String) -> Answer<Option<v1::Topic>>;
    /// Creates a topic.
    fn create_topic(&self, at: &BrokerEndpoint, topic: v1::Topic) -> Answer<v1::Topic>;
    /// Changes what `paths` name, if the topic still has the revision that is given.
    fn update_topic(
        &self,
        at: &BrokerEndpoint,
        topic: v1::Topic,
        paths: Vec<String>,
    ) -> Answer<v1::Topic>;
    /// What that would make of the topic; nothing is changed.
    fn try_update_topic(
        &self,
        at: &BrokerEndpoint,
        topic: v1::Topic,
        paths: Vec<String>,
    ) -> Answer<v1::Topic>;
    /// Deletes the topic of that name if it has that id. Whether there was one.
    fn delete_topic(&self, at: &BrokerEndpoint, name: String, topic_id: String) -> Answer<bool>;
    /// The partitions of a topic.
    fn partitions(&self, at: &BrokerEndpoint, topic: String) -> Answer<Vec<v1::Partition>>;
    /// The metadata now and after every change; ends with the connection.
    fn watch_metadata(
        &self,
        at: &BrokerEndpoint,
    ) -> BoxStream<'static, Result<v1::Metadata, BrokerError>>;
}

/// What a call gives.
pub type Answer<T> = BoxFuture<'static, Result<T, BrokerError>>;

/// Real brokers. Connections are made when they are needed, and kept.
#[derive(Default)]
pub struct Tonic {
    channels: Mutex<HashMap<String, Channel>>,
}

/// Shows the secret with every call.
#[derive(Clone)]
struct ShowSecret(MetadataValue<Ascii>);

impl Interceptor for ShowSecret {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let metadata = request.metadata_mut();
        metadata.insert("authorization", self.0.clone());
        metadata.insert("headwater-role", MetadataValue::from_static("operator"));
        Ok(request)
    }
}

type Connection = InterceptedService<Channel, ShowSecret>;

impl Tonic {
    fn connection(&self, at: &BrokerEndpoint) -> Result<Connection, BrokerError> {
        let unusable = |error: String| BrokerError::Unreachable(format!("{}: {error}", at.address));
        let secret = format!("Bearer {}", at.secret).parse();
        let secret = secret.map_err(|_| unusable("the secret is no text".to_owned()))?;
        let mut channels = self
            .channels
            .lock()
            .unwrap_or_else(|dead| dead.into_inner());
        let channel = match channels.get(&at.address) {
            Some(channel) => channel.clone(),
            None => {
                // Addresses of pods that are gone are not asked for again; those in use are made anew.
                if channels.len() >= CHANNELS_MAX {
                    channels.clear();
                }
                let channel = Endpoint::from_shared(format!("http://{}", at.address))
                    .map_err(|error| unusable(error.to_string()))?
                    .connect_timeout(CONNECT_TIMEOUT)
                    .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
                    .keep_alive_while_idle(true)
                    .connect_lazy();
                channels.insert(at.address.clone(), channel.clone());
                channel
            }
        };
        Ok(InterceptedService::new(channel, ShowSecret(secret)))
    }

    /// Makes a call with a deadline, and gives its answer.
    fn call<T, F>(
        &self,
        at: &BrokerEndpoint,
        call: impl FnOnce(Connection) -> F + Send + 'static,
    ) -> Answer<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Status>> + Send,
    {
        let connection = self.connection(at);
        let address = at.address.clone();
        async move {
            match tokio::time::timeout(CALL_TIMEOUT, call(connection?)).await {
                Ok(answer) => Ok(answer?),
                Err(_) => Err(BrokerError::Unreachable(format!(
                    "no answer from {address} within {} s",
                    CALL_TIMEOUT.as_secs()
                ))),
            }
        }
        .boxed()
    }

    fn update(
        &self,
        at: &BrokerEndpoint,
        topic: v1::Topic,
        paths: Vec<String>,
        validate_only: bool,
    ) -> Answer<v1::Topic> {
        let request = v1::UpdateTopicRequest {
            topic: Some(topic),
            update_mask: Some(prost_types::FieldMask { paths }),
            validate_only,
        };
        self.call(at, async move |connection| {
            required(
                topics(connection)
                    .update_topic(request)
                    .await?
                    .into_inner()
                    .topic,
            )
        })
    }
}

fn topics(connection: Connection) -> TopicServiceClient<Connection> {
    TopicServiceClient::new(connection).max_decoding_message_size(ANSWER_BYTES_MAX)
}

/// The topic of an answer, which every answer has.
fn required(topic: Option<v1::Topic>) -> Result<v1::Topic, Status> {
    topic.ok_or_else(|| Status::internal("the answer names no topic"))
}

impl Brokers for Tonic {
    fn describe(&self, at: &BrokerEndpoint) -> Answer<internal::GetBrokerResponse> {
        self.call(at, async |connection| {
            let mut client = BrokerServiceClient::new(connection);
            Ok(client
                .get_broker(internal::GetBrokerRequest {})
                .await?
                .into_inner())
        })
    }

    fn form(&self, at: &BrokerEndpoint, cluster: Uuid, storage_id: String) -> Answer<i32> {
        let request = internal::FormClusterRequest {
            cluster_id: cluster.to_string(),
            storage_id,
        };
        self.call(at, async move |connection| {
            let mut client = BrokerServiceClient::new(connection);
            Ok(client.form_cluster(request).await?.into_inner().broker_id)
        })
    }

    fn check_configuration(&self, at: &BrokerEndpoint, yaml: String) -> Answer<Vec<String>> {
        let request = internal::CheckConfigurationRequest { yaml };
        self.call(at, async move |connection| {
            let mut client = BrokerServiceClient::new(connection);
            Ok(client
                .check_configuration(request)
                .await?
                .into_inner()
                .problems)
        })
    }

    fn topic(&self, at: &BrokerEndpoint, name: String) -> Answer<Option<v1::Topic>> {
        self.call(at, async move |connection| {
            match topics(connection)
                .get_topic(v1::GetTopicRequest { name })
                .await
            {
                Ok(answer) => Ok(answer.into_inner().topic),
                Err(status) if status.code() == Code::NotFound => Ok(None),
                Err(status) => Err(status),
            }
        })
    }

    fn create_topic(&self, at: &BrokerEndpoint, topic: v1::Topic) -> Answer<v1::Topic> {
        let request = v1::CreateTopicRequest {
            topic: Some(topic),
            validate_only: false,
        };
        self.call(at, async move |connection| {
            required(
                topics(connection)
                    .create_topic(request)
                    .await?
                    .into_inner()
                    .topic,
            )
        })
    }

    fn update_topic(
        &self,
        at: &BrokerEndpoint,
        topic: v1::Topic,
        paths: Vec<String>,
    ) -> Answer<v1::Topic> {
        self.update(at, topic, paths, false)
    }

    fn try_update_topic(
        &self,
        at: &BrokerEndpoint,
        topic: v1::Topic,
        paths: Vec<String>,
    ) -> Answer<v1::Topic> {
        self.update(at, topic, paths, true)
    }

    fn delete_topic(&self, at: &BrokerEndpoint, name: String, topic_id: String) -> Answer<bool> {
        let request = v1::DeleteTopicRequest { name, topic_id };
        self.call(at, async move |connection| {
            match topics(connection).delete_topic(request).await {
                Ok(_) => Ok(true),
                Err(status) if status.code() == Code::NotFound => Ok(false),
                Err(status) => Err(status),
            }
        })
    }

    fn partitions(&self, at: &BrokerEndpoint, topic: String) -> Answer<Vec<v1::Partition>> {
        self.call(at, async move |connection| {
            let request = v1::ListPartitionsRequest { topic };
            let answer = topics(connection).list_partitions(request).await?;
            Ok(answer.into_inner().partitions)
        })
    }

    fn watch_metadata(
        &self,
        at: &BrokerEndpoint,
    ) -> BoxStream<'static, Result<v1::Metadata, BrokerError>> {
        let connection = self.connection(at);
        async move {
            let client = ClusterServiceClient::new(connection?);
            let mut client = client.max_decoding_message_size(ANSWER_BYTES_MAX);
            let request = v1::WatchMetadataRequest { topics: Vec::new() };
            let stream = client.watch_metadata(request).await?.into_inner();
            Ok::<_, BrokerError>(stream.filter_map(async |answer| match answer {
                Ok(answer) => answer.metadata.map(Ok),
                Err(status) => Some(Err(status.into())),
            }))
        }
        .into_stream()
        .flat_map(|opened| match opened {
            Ok(stream) => stream.boxed(),
            Err(error) => futures::stream::iter([Err(error)]).boxed(),
        })
        .boxed()
    }
}
