//! A broker in memory that keeps the contract, and breaks it off when told to.
#![allow(dead_code, reason = "each test program uses a part of it")]

mod consume;
mod partition;
mod produce;
mod topics;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use headwater_client::{Client, ClientConfig};
use headwater_proto::v1;
use headwater_proto::v1::cluster_service_server::ClusterServiceServer;
use headwater_proto::v1::consumer_service_server::ConsumerServiceServer;
use headwater_proto::v1::producer_service_server::ProducerServiceServer;
use headwater_proto::v1::topic_service_server::TopicServiceServer;
pub(crate) use partition::FakePartition;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;

/// What goes wrong with a batch that arrives.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// It is refused.
    Refuse {
        reason: &'static str,
        retriable: bool,
    },
    /// The stream ends before it is stored.
    CutBefore,
    /// It is stored, and the stream ends before the answer.
    CutAfter,
    /// It is stored and never answered.
    Swallow,
}

/// A batch as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arrival {
    pub(crate) stream: u64,
    pub(crate) partition: i32,
    pub(crate) window: u32,
    pub(crate) bytes: Bytes,
}

pub(crate) struct State {
    pub(crate) topics: BTreeMap<String, Vec<FakePartition>>,
    /// Taken in turn by batches that arrive.
    pub(crate) faults: VecDeque<Fault>,
    pub(crate) arrivals: Vec<Arrival>,
    /// While set, batches are stored and answers wait.
    pub(crate) hold_acks: bool,
    pub(crate) credit_bytes: i64,
    /// Most bytes that were unacknowledged on a stream, single batches excepted.
    pub(crate) outstanding_bytes_max: i64,
    /// Most batches of one partition that were unacknowledged.
    pub(crate) outstanding_batches_max: usize,
    pub(crate) next_stream: u64,
    pub(crate) next_producer: i64,
    pub(crate) named_producers: HashMap<String, (i64, i32)>,
    /// Ends the next subscription messages with these.
    pub(crate) subscribe_faults: VecDeque<tonic::Status>,
    pub(crate) subscriptions: Vec<v1::SubscribeRequest>,
}

pub(crate) struct Shared {
    pub(crate) state: Mutex<State>,
    /// Something changed: acks may go on, records are there.
    pub(crate) changed: Notify,
    pub(crate) draining: watch::Sender<bool>,
}

impl Shared {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics under the lock")
    }
}

/// A running fake. Stops when dropped.
pub(crate) struct Fake {
    pub(crate) shared: Arc<Shared>,
    pub(crate) address: SocketAddr,
    server: JoinHandle<()>,
}

impl Fake {
    /// With a topic `t` of so many partitions.
    pub(crate) async fn start(partitions: usize) -> Fake {
        let state = State {
            topics: BTreeMap::new(),
            faults: VecDeque::new(),
            arrivals: Vec::new(),
            hold_acks: false,
            credit_bytes: 8 << 20,
            outstanding_bytes_max: 0,
            outstanding_batches_max: 0,
            next_stream: 0,
            next_producer: 1,
            named_producers: HashMap::new(),
            subscribe_faults: VecDeque::new(),
            subscriptions: Vec::new(),
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            changed: Notify::new(),
            draining: watch::channel(false).0,
        });
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let server = serve(Arc::clone(&shared), listener);
        let fake = Fake {
            shared,
            address,
            server,
        };
        fake.add_topic("t", partitions);
        fake
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state()
    }

    pub(crate) fn add_topic(&self, name: &str, partitions: usize) {
        let partitions = (0..partitions).map(|_| FakePartition::default()).collect();
        self.state()
            .topics
            .insert(format!("default/{name}"), partitions);
    }

    pub(crate) fn set_faults(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state().faults = faults.into_iter().collect();
    }

    pub(crate) fn hold_acks(&self, hold: bool) {
        self.state().hold_acks = hold;
        self.shared.changed.notify_waiters();
    }

    /// Stops; all connections break.
    pub(crate) async fn stop(&mut self) {
        self.server.abort();
        let _ = (&mut self.server).await;
    }

    /// Starts again at the same address with the same records.
    pub(crate) async fn start_again(&mut self) {
        let listener = loop {
            match TcpListener::bind(self.address).await {
                Ok(listener) => break listener,
                Err(_in_use) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        };
        self.server = serve(Arc::clone(&self.shared), listener);
    }

    /// A client with short pauses.
    pub(crate) fn client(&self) -> Client {
        Client::connect_lazy(self.config()).expect("the address is well-formed")
    }

    pub(crate) fn config(&self) -> ClientConfig {
        ClientConfig::new(self.address.to_string())
            .backoff(Duration::from_millis(2), Duration::from_millis(20))
    }

    /// Values of a partition of `t`, in order.
    pub(crate) fn values(&self, partition: usize) -> Vec<String> {
        self.state().topics["default/t"][partition].values()
    }

    /// Waits until `check` holds.
    pub(crate) async fn until(&self, what: &str, check: impl Fn(&State) -> bool) {
        for _ in 0..1000 {
            if check(&self.state()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("it never came about that {what}");
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Connections live in a task set of the server's, so that aborting it breaks them.
fn serve(shared: Arc<Shared>, listener: TcpListener) -> JoinHandle<()> {
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let runtime = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime can be made");
        let listener = listener.into_std().expect("it is a socket");
        runtime.block_on(async move {
            let listener = TcpListener::from_std(listener).expect("it is a socket");
            let server = tonic::transport::Server::builder()
                .add_service(
                    ProducerServiceServer::new(produce::Producer(Arc::clone(&shared)))
                        .max_decoding_message_size(64 << 20),
                )
                .add_service(
                    ConsumerServiceServer::new(consume::Consumer(Arc::clone(&shared)))
                        .max_encoding_message_size(64 << 20),
                )
                .add_service(TopicServiceServer::new(topics::Topics(Arc::clone(&shared))))
                .add_service(ClusterServiceServer::new(topics::Cluster(shared)))
                .serve_with_incoming(TcpListenerStream::new(listener));
            tokio::select! {
                result = server => result.expect("it serves"),
                _ = stopped => {}
            }
        });
        // Dropping the runtime breaks all connections.
    });
    tokio::spawn(async move {
        let _stop_when_aborted = stop;
        let _runtime = runtime;
        std::future::pending::<()>().await;
    })
}
