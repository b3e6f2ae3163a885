//! HTTP for machines that watch: metrics, liveness, readiness, version.

#[cfg(test)]
mod tests;

use std::future::{Future, IntoFuture as _};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// How long a scrape that has begun may go on after the stop.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// Whether the broker serves, as its readiness says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It serves.
    Ready,
    /// It does not serve, for this reason.
    NotReady(String),
}

/// What the handlers see.
#[derive(Clone, Debug)]
pub struct AdminState {
    /// Every number of this broker.
    pub registry: Arc<Registry>,
    /// Followed by `/readyz`.
    pub readiness: watch::Receiver<Readiness>,
}

/// Serves until `stop` is done, and then what has begun for a second more.
///
/// # Errors
/// When the listener fails for good.
pub async fn serve(
    listener: TcpListener,
    state: AdminState,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let app = Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/version", get(version))
        .with_state(state);
    let (stopping, mut stopped) = watch::channel(false);
    let stop = async move {
        stop.await;
        stopping.send_replace(true);
    };
    let server = axum::serve(listener, app)
        .with_graceful_shutdown(stop)
        .into_future();
    let cut_off = async move {
        let _ = stopped.wait_for(|stopped| *stopped).await;
        tokio::time::sleep(STOP_GRACE).await;
    };
    tokio::select! {
        result = server => result,
        () = cut_off => Ok(()),
    }
}

async fn metrics(State(state): State<AdminState>) -> impl IntoResponse {
    let mut text = String::new();
    encode(&mut text, &state.registry).expect("writing to a string does not fail");
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], text)
}

async fn readyz(State(state): State<AdminState>) -> impl IntoResponse {
    match &*state.readiness.borrow() {
        Readiness::Ready => (StatusCode::OK, "ready\n".to_owned()),
        Readiness::NotReady(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}

async fn version() -> impl IntoResponse {
    let version = serde_json::json!({ "version": env!("CARGO_PKG_VERSION") });
    (
        [(header::CONTENT_TYPE, "application/json")],
        format!("{version}\n"),
    )
}
