//! Floor of a single record: one message through stock tonic and back, no broker behind it.
//!
//! The service is written out by hand as tonic's generator would, since the contract in `proto`
//! holds no echo. Windows and frames are raised on both ends as the broker and its clients do.

use std::convert::Infallible;
use std::future::Ready;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::task::{Context as Wakeup, Poll};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use clap::{Args, ValueEnum};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::codegen::http::{self, Response as HttpResponse};
use tonic::codegen::{BoxFuture, Service};
use tonic::server::{Grpc, NamedService, StreamingService, UnaryService};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

use super::{Outcome, Server, histogram_us};
use crate::process;

/// As the broker and its clients set them.
const STREAM_WINDOW_BYTES: u32 = 8 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 64 << 20;
const FRAME_BYTES: u32 = 1 << 20;

const UNARY_PATH: &str = "/headwater.floor.Echo/Unary";
const BIDI_PATH: &str = "/headwater.floor.Echo/Bidi";

/// What to send.
#[derive(Args)]
pub(crate) struct Load {
    /// How to send.
    #[arg(long, value_enum, default_value_t = Mode::Bidi)]
    mode: Mode,
    /// Messages to measure, one at a time.
    #[arg(long, default_value_t = 20_000)]
    messages: u64,
    /// Bytes of a message.
    #[arg(long, default_value_t = 1 << 10)]
    message_bytes: usize,
    /// Messages before those that are measured.
    #[arg(long, default_value_t = 1_000)]
    warmup: u64,
}

/// The two shapes of a call.
#[derive(Clone, Copy, ValueEnum)]
enum Mode {
    /// A call for each message.
    Unary,
    /// All messages on one stream.
    Bidi,
}

/// What travels.
#[derive(Clone, PartialEq, prost::Message)]
struct Message {
    #[prost(bytes = "bytes", tag = "1")]
    payload: Bytes,
}

/// Sends messages to a server of its own and measures.
pub(crate) fn measure(load: &Load, server_cpus: Option<&str>) -> Result<Value> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(async {
            let server = Server::start(&["serve-echo"], server_cpus)?;
            let channel = Endpoint::from_shared(format!("http://127.0.0.1:{}", server.port))?
                .initial_stream_window_size(STREAM_WINDOW_BYTES)
                .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
                .max_frame_size(FRAME_BYTES)
                .connect()
                .await?;
            let mut client = Client::open(channel, load.mode).await?;
            let message = Message {
                payload: Bytes::from(vec![7; load.message_bytes]),
            };
            for _ in 0..load.warmup {
                client.round_trip(&message).await?;
            }

            let mut latency_us = histogram_us();
            let cpu_before = process::cpu_seconds(server.pid())?;
            let start = Instant::now();
            for _ in 0..load.messages {
                let sent_at = Instant::now();
                client.round_trip(&message).await?;
                latency_us.saturating_record(sent_at.elapsed().as_micros() as u64);
            }
            let floor = match load.mode {
                Mode::Unary => "echo-unary",
                Mode::Bidi => "echo-bidi",
            };
            Outcome {
                records: load.messages,
                bytes: load.messages * load.message_bytes as u64,
                elapsed: start.elapsed(),
                server_cpu_seconds: process::cpu_seconds(server.pid())? - cpu_before,
                latency_us,
            }
            .report(floor, &server)
        })
}

/// One way of calling.
enum Client {
    Unary(tonic::client::Grpc<Channel>),
    Bidi {
        send: tokio::sync::mpsc::Sender<Message>,
        receive: Streaming<Message>,
    },
}

impl Client {
    async fn open(channel: Channel, mode: Mode) -> Result<Client> {
        let mut grpc = tonic::client::Grpc::new(channel);
        match mode {
            Mode::Unary => Ok(Client::Unary(grpc)),
            Mode::Bidi => {
                let (send, messages) = tokio::sync::mpsc::channel(1);
                grpc.ready().await?;
                let receive = grpc
                    .streaming(
                        Request::new(ReceiverStream::new(messages)),
                        PathAndQuery::from_static(BIDI_PATH),
                        ProstCodec::<Message, Message>::default(),
                    )
                    .await?
                    .into_inner();
                Ok(Client::Bidi { send, receive })
            }
        }
    }

    async fn round_trip(&mut self, message: &Message) -> Result<()> {
        let message = message.clone();
        match self {
            Client::Unary(grpc) => {
                grpc.ready().await?;
                let codec = ProstCodec::<Message, Message>::default();
                let path = PathAndQuery::from_static(UNARY_PATH);
                grpc.unary(Request::new(message), path, codec).await?;
            }
            Client::Bidi { send, receive } => {
                send.send(message).await?;
                receive
                    .message()
                    .await?
                    .context("the server ended the stream")?;
            }
        }
        Ok(())
    }
}

/// Echoes until killed.
pub(crate) fn serve() -> Result<()> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(async {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            listener
                .local_addr()
                .map(|address| println!("{}", address.port()))?;
            tonic::transport::Server::builder()
                .initial_stream_window_size(STREAM_WINDOW_BYTES)
                .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
                .max_frame_size(FRAME_BYTES)
                .http2_keepalive_interval(Some(Duration::from_secs(20)))
                .add_service(Echo)
                .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true)))
                .await?;
            Ok(())
        })
}

/// The service: what came in goes out.
#[derive(Clone)]
struct Echo;

impl NamedService for Echo {
    const NAME: &'static str = "headwater.floor.Echo";
}

impl UnaryService<Message> for Echo {
    type Response = Message;
    type Future = Ready<Result<Response<Message>, Status>>;

    fn call(&mut self, request: Request<Message>) -> Self::Future {
        std::future::ready(Ok(Response::new(request.into_inner())))
    }
}

impl StreamingService<Message> for Echo {
    type Response = Message;
    type ResponseStream = Pin<Box<Streaming<Message>>>;
    type Future = Ready<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Streaming<Message>>) -> Self::Future {
        std::future::ready(Ok(Response::new(Box::pin(request.into_inner()))))
    }
}

impl Service<http::Request<Body>> for Echo {
    type Response = HttpResponse<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Wakeup<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move {
            let mut grpc = Grpc::new(ProstCodec::<Message, Message>::default());
            Ok(match request.uri().path() {
                UNARY_PATH => grpc.unary(Echo, request).await,
                BIDI_PATH => grpc.streaming(Echo, request).await,
                other => Status::unimplemented(other.to_owned()).into_http(),
            })
        })
    }
}
