//! The internal listener: who holds the cluster's secret may ask who this broker is, form a
//! cluster, and, once it serves, do what the public services do.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, OnceLock};

use headwater_core::ids::{BrokerId, ClusterId};
use headwater_core::metadata::FEATURE_LEVEL;
use headwater_proto::internal::v1;
use headwater_proto::internal::v1::broker_service_server::{BrokerService, BrokerServiceServer};
use headwater_proto::v1::cluster_service_server::ClusterServiceServer;
use headwater_proto::v1::topic_service_server::TopicServiceServer;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic::service::{InterceptorLayer, Routes};
use tonic::transport::Server;
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt as _};
use tower::{Service as _, service_fn};
use uuid::Uuid;

use super::Service;
use super::limit::Incoming;
use super::status::DOMAIN;
use crate::auth::Principal;
use crate::config::{Layers, Machine, RawConfig, Settings};
use crate::facade::Broker;
use crate::limits::{
    INTERNAL_CONNECTIONS_MAX, INTERNAL_REQUEST_BYTES_MAX, KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT,
};
use crate::secret::Secret;
use crate::standing::{Member, Standing, Station};

/// Serves until `stopped`. The public services answer once `serving` holds the broker.
pub(crate) async fn serve(
    listener: TcpListener,
    settings: Arc<Settings>,
    secret: Secret,
    member: Member,
    serving: watch::Receiver<Option<Arc<Broker>>>,
    stopped: impl Future<Output = ()>,
) {
    let incoming = Incoming::new(
        listener,
        INTERNAL_CONNECTIONS_MAX,
        Default::default(),
        Default::default(),
    );
    let services: OnceLock<Routes> = OnceLock::new();
    let services = Arc::new(services);
    let public = service_fn(move |request| {
        let broker = serving.borrow().clone();
        let services =
            broker.map(|broker| services.get_or_init(|| public_services(broker)).clone());
        async move {
            match services {
                Some(mut services) => services.call(request).await,
                None => Ok(not_serving().into_http()),
            }
        }
    });
    let own = BrokerServiceServer::new(Internal { settings, member })
        .max_decoding_message_size(INTERNAL_REQUEST_BYTES_MAX);
    let routes = Routes::new(own).into_axum_router().fallback_service(public);
    let secret = Arc::new(secret);
    let authenticate = InterceptorLayer::new(move |mut request: Request<()>| {
        let principal = authenticate(&secret, request.metadata())?;
        request.extensions_mut().insert(principal);
        Ok(request)
    });
    let served = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .layer(authenticate)
        .add_routes(Routes::from(routes))
        .serve_with_incoming_shutdown(incoming, stopped)
        .await;
    if let Err(error) = served {
        tracing::error!(%error, "the internal listener has failed");
    }
}

fn public_services(broker: Arc<Broker>) -> Routes {
    let service = Service { broker };
    Routes::new(TopicServiceServer::new(service.clone()))
        .add_service(ClusterServiceServer::new(service))
}

fn authenticate(
    secret: &Secret,
    metadata: &tonic::metadata::MetadataMap,
) -> Result<Principal, Status> {
    let text = |name| metadata.get(name).and_then(|value| value.to_str().ok());
    let shown = text("authorization").and_then(|value| value.strip_prefix("Bearer "));
    if !shown.is_some_and(|shown| secret.is(shown)) {
        let message =
            "the internal listener needs the cluster's secret, as `authorization: Bearer`";
        return Err(refuse(Code::Unauthenticated, "SECRET_WRONG", message));
    }
    match text("headwater-role") {
        Some("operator") => Ok(Principal::operator()),
        _ => {
            let message = "the internal listener needs `headwater-role: operator`";
            Err(refuse(Code::Unauthenticated, "ROLE_UNKNOWN", message))
        }
    }
}

fn not_serving() -> Status {
    let message = "this broker does not serve yet; GetBroker says how far it is";
    refuse(Code::Unavailable, "NOT_SERVING", message)
}

fn refuse(code: Code, reason: &str, message: impl Into<String>) -> Status {
    let details = ErrorDetails::with_error_info(reason, DOMAIN, HashMap::new());
    Status::with_error_details(code, message, details)
}

/// `BrokerService`.
struct Internal {
    settings: Arc<Settings>,
    member: Member,
}

#[tonic::async_trait]
impl BrokerService for Internal {
    async fn get_broker(
        &self,
        _: Request<v1::GetBrokerRequest>,
    ) -> Result<Response<v1::GetBrokerResponse>, Status> {
        let Standing {
            station,
            cluster,
            broker,
        } = *self.member.standing.borrow();
        let state = match station {
            Station::Unformed => v1::BrokerState::Unformed,
            Station::Opening => v1::BrokerState::Opening,
            Station::Serving => v1::BrokerState::Serving,
            Station::Draining => v1::BrokerState::Draining,
        };
        Ok(Response::new(v1::GetBrokerResponse {
            state: state.into(),
            node_name: self.settings.node_name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            feature_level_max: FEATURE_LEVEL as i32,
            storage_id: self.member.storage.to_string(),
            cluster_id: cluster.map(|id| id.to_string()).unwrap_or_default(),
            broker_id: broker.map(|id| id.0 as i32),
            disk_empty: self.member.disk_empty && cluster.is_none(),
        }))
    }

    async fn form_cluster(
        &self,
        request: Request<v1::FormClusterRequest>,
    ) -> Result<Response<v1::FormClusterResponse>, Status> {
        let request = request.into_inner();
        let uuid = |field: &str, text: &str| {
            Uuid::parse_str(text).map_err(|_| {
                let message = format!("{field}: `{text}` is not a UUID");
                refuse(Code::InvalidArgument, "INVALID_FIELD", message)
            })
        };
        let cluster = ClusterId(uuid("cluster_id", &request.cluster_id)?);
        let storage = uuid("storage_id", &request.storage_id)?;
        let own = self.member.storage;
        if storage != own.0 {
            let message = format!("storage_id: this data directory is {own}, not {storage}");
            return Err(refuse(Code::FailedPrecondition, "WRONG_STORAGE", message));
        }
        let broker_id = self.form(cluster).await?.0 as i32;
        Ok(Response::new(v1::FormClusterResponse { broker_id }))
    }

    async fn check_configuration(
        &self,
        request: Request<v1::CheckConfigurationRequest>,
    ) -> Result<Response<v1::CheckConfigurationResponse>, Status> {
        let problems = match check(request.into_inner().yaml) {
            Ok(_) => Vec::new(),
            Err(error) => vec![error.to_string()],
        };
        Ok(Response::new(v1::CheckConfigurationResponse { problems }))
    }
}

impl Internal {
    /// Asks startup to form the cluster, and waits until this broker has an id in it.
    async fn form(&self, cluster: ClusterId) -> Result<BrokerId, Status> {
        let mut standing = self.member.standing.clone();
        if standing.borrow().cluster.is_none() {
            if !self.member.disk_empty {
                let message = "the data directory belongs to no cluster and is not empty; look \
                               what is in it, and start with an empty one";
                return Err(refuse(Code::FailedPrecondition, "DISK_NOT_EMPTY", message));
            }
            // Whoever comes second waits for what the first has formed.
            let _ = self.member.form.try_send(cluster);
        }
        let known = standing.wait_for(|now| now.cluster.is_some());
        let known = known.await.map_err(|_| not_serving())?.cluster;
        if let Some(other) = known.filter(|known| *known != cluster) {
            let message = format!("cluster_id: this broker belongs to cluster {other}");
            return Err(refuse(Code::FailedPrecondition, "WRONG_CLUSTER", message));
        }
        let registered = standing.wait_for(|now| now.broker.is_some());
        let registered = registered.await.map_err(|_| not_serving())?.broker;
        registered.ok_or_else(not_serving)
    }
}

/// What a start with this file, and the variables of this process, would do.
fn check(yaml: String) -> anyhow::Result<Settings> {
    let variables = std::env::vars().filter(|(name, _)| name.starts_with("HEADWATER_"));
    let layers = Layers {
        file: Some(("configuration".to_owned(), yaml)),
        variables: variables.collect(),
        flags: Vec::new(),
    };
    Ok(Settings::parse(
        &RawConfig::read(&layers)?,
        &Machine::this()?,
    )?)
}
