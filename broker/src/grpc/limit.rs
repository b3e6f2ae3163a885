//! Bounds that belong to the transport: connections, deadlines, memory of answers on their way.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use http_body::{Body, Frame, SizeHint};
use prometheus_client::metrics::gauge::Gauge;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::metadata::MetadataMap;
use tonic::transport::server::{Connected, TcpConnectInfo};
use tower::{Layer, Service};

use crate::facade::FetchBudget;
use crate::limits::DEADLINE_MARGIN;
use crate::metrics::Metrics;

/// Calls whose time until the answer begins is measured: those with one answer.
const METHODS: [&str; 16] = [
    "/Produce",
    "/InitProducer",
    "/Fetch",
    "/CreateTopic",
    "/GetTopic",
    "/ListTopics",
    "/UpdateTopic",
    "/DeleteTopic",
    "/ListPartitions",
    "/ListOffsets",
    "/DeleteRecords",
    "/GetCluster",
    "/ListBrokers",
    "/GetMetadata",
    "/GetHealth",
    "/Check",
];

/// How long the caller waits for the answer, less a margin for the way back.
pub(super) fn deadline(metadata: &MetadataMap) -> Option<Duration> {
    let text = metadata.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let count: u64 = digits.parse().ok()?;
    let timeout = match unit {
        "H" => Duration::from_secs(count.checked_mul(3600)?),
        "M" => Duration::from_secs(count.checked_mul(60)?),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    };
    Some(timeout.saturating_sub(DEADLINE_MARGIN))
}

/// Accepts connections up to a bound; the one too many is closed at once.
pub(super) struct Incoming {
    listener: TcpListener,
    permits: Arc<Semaphore>,
    open: Gauge,
    refused: prometheus_client::metrics::counter::Counter,
}

impl Incoming {
    pub(super) fn new(
        listener: TcpListener,
        connections_max: usize,
        open: Gauge,
        refused: prometheus_client::metrics::counter::Counter,
    ) -> Incoming {
        Incoming {
            listener,
            permits: Arc::new(Semaphore::new(connections_max)),
            open,
            refused,
        }
    }
}

impl futures::Stream for Incoming {
    type Item = io::Result<Connection>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let stream = match ready!(self.listener.poll_accept(context)) {
                Ok((stream, _)) => stream,
                Err(error) => return Poll::Ready(Some(Err(error))),
            };
            let Ok(permit) = self.permits.clone().try_acquire_owned() else {
                self.refused.inc();
                continue;
            };
            drop(stream.set_nodelay(true));
            self.open.inc();
            let open = OpenConnection {
                open: self.open.clone(),
                _permit: permit,
            };
            return Poll::Ready(Some(Ok(Connection {
                stream,
                _open: open,
            })));
        }
    }
}

struct OpenConnection {
    open: Gauge,
    _permit: OwnedSemaphorePermit,
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.open.dec();
    }
}

/// A client's connection, counted while it lives.
pub(super) struct Connection {
    stream: TcpStream,
    _open: OpenConnection,
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Memory of an answer, given back when the answer has been sent.
#[derive(Clone)]
struct Held(#[expect(dead_code, reason = "held for its drop")] Arc<FetchBudget>);

/// Ties a share of the fetch budget to an answer.
pub(super) fn hold_until_sent<T>(
    mut response: tonic::Response<T>,
    budget: FetchBudget,
) -> tonic::Response<T> {
    response.extensions_mut().insert(Held(Arc::new(budget)));
    response
}

/// Measures calls, and moves what [`hold_until_sent`] left in an answer's extensions into its body,
/// which lives until the answer is sent or its stream reset.
#[derive(Clone)]
pub(super) struct AnswerLayer {
    pub(super) metrics: Metrics,
}

impl<S> Layer<S> for AnswerLayer {
    type Service = AnswerService<S>;

    fn layer(&self, inner: S) -> AnswerService<S> {
        AnswerService {
            inner,
            metrics: self.metrics.clone(),
        }
    }
}

/// See [`AnswerLayer`].
#[derive(Clone)]
pub(super) struct AnswerService<S> {
    inner: S,
    metrics: Metrics,
}

impl<S, Q, B> Service<http::Request<Q>> for AnswerService<S>
where
    S: Service<http::Request<Q>, Response = http::Response<B>>,
    S::Future: Send + 'static,
{
    type Response = http::Response<HoldBody<B>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Q>) -> Self::Future {
        let method = METHODS
            .iter()
            .find(|method| request.uri().path().ends_with(*method));
        let (metrics, started) = (self.metrics.clone(), Instant::now());
        let response = self.inner.call(request);
        Box::pin(async move {
            let mut response = response.await?;
            if let Some(method) = method {
                metrics.observe_request(method.trim_start_matches('/'), started.elapsed());
            }
            let held = response.extensions_mut().remove::<Held>();
            Ok(response.map(|inner| HoldBody { inner, _held: held }))
        })
    }
}

/// A body that holds memory until it is gone.
pub(super) struct HoldBody<B> {
    inner: B,
    _held: Option<Held>,
}

impl<B: Body + Unpin> Body for HoldBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.inner).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
