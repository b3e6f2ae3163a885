//! The client listener: all services on one port.

use std::future::Future;
use std::sync::Arc;

use headwater_proto::v1::cluster_service_server::ClusterServiceServer;
use headwater_proto::v1::consumer_service_server::ConsumerServiceServer;
use headwater_proto::v1::producer_service_server::ProducerServiceServer;
use headwater_proto::v1::tier_service_server::TierServiceServer;
use headwater_proto::v1::topic_service_server::TopicServiceServer;
use tokio::net::TcpListener;
use tonic::transport::Server;

use super::Service;
use super::limit::{AnswerLayer, Incoming};
use crate::facade::Broker;
use crate::limits::{
    HTTP2_CONNECTION_WINDOW_BYTES, HTTP2_CONNECTION_WINDOW_BYTES_MIN, HTTP2_FRAME_BYTES,
    HTTP2_STREAM_WINDOW_BYTES, KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT, REQUEST_BYTES_MAX,
};

/// Names under which `grpc.health.v1` says whether this broker serves.
const SERVING: [&str; 7] = [
    "",
    "readiness",
    "headwater.v1.ProducerService",
    "headwater.v1.ConsumerService",
    "headwater.v1.TopicService",
    "headwater.v1.ClusterService",
    "headwater.v1.TierService",
];

/// Serves until `stopped`, then lets calls under way end.
pub(crate) async fn serve(
    broker: Arc<Broker>,
    listener: TcpListener,
    stopped: impl Future<Output = ()>,
) {
    let limits = &broker.settings.limits;
    // What a client may send before anybody has asked the in-flight budget.
    let window = u32::try_from(broker.settings.memory.produce_bytes / 4).unwrap_or(u32::MAX);
    let window = window.clamp(
        HTTP2_CONNECTION_WINDOW_BYTES_MIN,
        HTTP2_CONNECTION_WINDOW_BYTES,
    );
    let incoming = Incoming::new(
        listener,
        limits.connections_max,
        broker.metrics.connections.clone(),
        broker.metrics.connections_refused.clone(),
    );
    let service = Service {
        broker: broker.clone(),
    };
    let (health_reporter, health) = tonic_health::server::health_reporter();
    for name in SERVING.into_iter().chain(["liveness"]) {
        health_reporter
            .set_service_status(name, tonic_health::ServingStatus::Serving)
            .await;
    }
    let mut draining = broker.draining();
    tokio::spawn(async move {
        if draining.wait_for(|draining| *draining).await.is_ok() {
            for name in SERVING {
                health_reporter
                    .set_service_status(name, tonic_health::ServingStatus::NotServing)
                    .await;
            }
        }
    });
    let descriptors = [
        headwater_proto::FILE_DESCRIPTOR_SET,
        tonic_health::pb::FILE_DESCRIPTOR_SET,
    ];
    let reflection = || {
        descriptors.iter().fold(
            tonic_reflection::server::Builder::configure(),
            |builder, set| builder.register_encoded_file_descriptor_set(set),
        )
    };
    let reflection_v1 = reflection()
        .build_v1()
        .expect("our own descriptors are valid");
    let reflection_v1alpha = reflection()
        .build_v1alpha()
        .expect("our own descriptors are valid");
    let served = Server::builder()
        .initial_stream_window_size(window.min(HTTP2_STREAM_WINDOW_BYTES))
        .initial_connection_window_size(window)
        .max_frame_size(HTTP2_FRAME_BYTES)
        .max_concurrent_streams(limits.streams_per_connection_max)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .layer(AnswerLayer {
            metrics: broker.metrics.clone(),
        })
        .add_service(health)
        .add_service(reflection_v1)
        .add_service(reflection_v1alpha)
        .add_service(
            ProducerServiceServer::new(service.clone())
                .max_decoding_message_size(REQUEST_BYTES_MAX),
        )
        .add_service(
            ConsumerServiceServer::new(service.clone()).max_encoding_message_size(usize::MAX),
        )
        .add_service(TopicServiceServer::new(service.clone()))
        .add_service(TierServiceServer::new(service.clone()))
        .add_service(ClusterServiceServer::new(service))
        .serve_with_incoming_shutdown(incoming, stopped)
        .await;
    if let Err(error) = served {
        tracing::error!(%error, "the client listener has failed");
    }
}
