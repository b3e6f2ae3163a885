//! Connections, and what every call carries.

use std::time::Duration;

use headwater_proto::v1::cluster_service_client::ClusterServiceClient;
use headwater_proto::v1::consumer_service_client::ConsumerServiceClient;
use headwater_proto::v1::producer_service_client::ProducerServiceClient;
use headwater_proto::v1::tier_service_client::TierServiceClient;
use headwater_proto::v1::topic_service_client::TopicServiceClient;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use crate::config::ClientConfig;
use crate::error::Error;
use crate::limits;

/// A channel whose calls say who we are.
pub(crate) type Service = InterceptedService<Channel, Identify>;

/// One connection, which comes about with the first call and again after it broke.
#[derive(Clone, Debug)]
pub(crate) struct Transport {
    service: Service,
    endpoint: String,
    request_timeout: Duration,
}

impl Transport {
    /// A connection with the usual windows. Must be called within a Tokio runtime.
    pub(crate) fn lazy(config: &ClientConfig) -> Result<Transport, Error> {
        Transport::with_window(config, limits::STREAM_WINDOW_BYTES)
    }

    /// A connection whose streams buffer at most `window_bytes` that were not taken.
    pub(crate) fn with_window(
        config: &ClientConfig,
        window_bytes: u32,
    ) -> Result<Transport, Error> {
        let channel = endpoint(config, window_bytes)?.connect_lazy();
        Transport::new(config, channel)
    }

    /// A connection that is there.
    pub(crate) async fn connect(config: &ClientConfig) -> Result<Transport, Error> {
        let endpoint = endpoint(config, limits::STREAM_WINDOW_BYTES)?;
        let channel = endpoint.connect().await.map_err(|error| Error::Connect {
            endpoint: config.endpoint.clone(),
            cause: crate::status::innermost(&error),
        })?;
        Transport::new(config, channel)
    }

    fn new(config: &ClientConfig, channel: Channel) -> Result<Transport, Error> {
        let identify = Identify {
            client_id: config.client_id.parse().map_err(|_| {
                Error::invalid_config("the client id may only hold visible ASCII characters")
            })?,
        };
        Ok(Transport {
            service: InterceptedService::new(channel, identify),
            endpoint: config.endpoint.clone(),
            request_timeout: config.request_timeout,
        })
    }

    /// A unary request with its deadline.
    pub(crate) fn unary<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(self.request_timeout);
        request
    }

    /// What a failed call means.
    pub(crate) fn error(&self, status: Status) -> Error {
        crate::status::error(&self.endpoint, self.request_timeout, &status)
    }

    /// Waits for a stream to open, within the time of a request.
    pub(crate) async fn opening<T>(
        &self,
        call: impl Future<Output = Result<T, Status>>,
    ) -> Result<T, Error> {
        match tokio::time::timeout(self.request_timeout, call).await {
            Ok(result) => result.map_err(|status| self.error(status)),
            Err(_elapsed) => Err(self.timeout()),
        }
    }

    /// No answer came within the time of a request.
    pub(crate) fn timeout(&self) -> Error {
        Error::Timeout {
            endpoint: self.endpoint.clone(),
            after: self.request_timeout,
        }
    }

    pub(crate) fn request_timeout(&self) -> Duration {
        self.request_timeout
    }

    pub(crate) fn producer_service(&self) -> ProducerServiceClient<Service> {
        ProducerServiceClient::new(self.service.clone())
            .max_decoding_message_size(limits::MESSAGE_BYTES_MAX)
    }

    pub(crate) fn consumer_service(&self) -> ConsumerServiceClient<Service> {
        ConsumerServiceClient::new(self.service.clone())
            .max_decoding_message_size(limits::MESSAGE_BYTES_MAX)
    }

    pub(crate) fn topic_service(&self) -> TopicServiceClient<Service> {
        TopicServiceClient::new(self.service.clone())
            .max_decoding_message_size(limits::MESSAGE_BYTES_MAX)
    }

    pub(crate) fn cluster_service(&self) -> ClusterServiceClient<Service> {
        ClusterServiceClient::new(self.service.clone())
            .max_decoding_message_size(limits::MESSAGE_BYTES_MAX)
    }

    pub(crate) fn tier_service(&self) -> TierServiceClient<Service> {
        TierServiceClient::new(self.service.clone())
            .max_decoding_message_size(limits::MESSAGE_BYTES_MAX)
    }
}

fn endpoint(config: &ClientConfig, stream_window_bytes: u32) -> Result<Endpoint, Error> {
    let invalid = |error: tonic::transport::Error| {
        Error::invalid_config(format!(
            "the endpoint {} is not host:port: {}",
            config.endpoint,
            crate::status::innermost(&error)
        ))
    };
    Ok(Endpoint::from_shared(config.url()?)
        .map_err(invalid)?
        .user_agent(concat!("headwater-rust/", env!("CARGO_PKG_VERSION")))
        .map_err(invalid)?
        .connect_timeout(config.connect_timeout)
        .tcp_nodelay(true)
        .initial_stream_window_size(stream_window_bytes)
        .initial_connection_window_size(limits::CONNECTION_WINDOW_BYTES.max(stream_window_bytes))
        .max_frame_size(limits::FRAME_BYTES_MAX)
        .http2_keep_alive_interval(config.keepalive_interval)
        .keep_alive_timeout(limits::KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true))
}

/// Puts the client's id and version on every call.
#[derive(Clone, Debug)]
pub(crate) struct Identify {
    client_id: MetadataValue<Ascii>,
}

impl Interceptor for Identify {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let metadata = request.metadata_mut();
        metadata.insert("headwater-client-id", self.client_id.clone());
        let version = MetadataValue::from_static(env!("CARGO_PKG_VERSION"));
        metadata.insert("headwater-client-version", version);
        Ok(request)
    }
}
