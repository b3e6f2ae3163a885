//! A local port whose connections end at a broker's pod, by way of the API server.
//!
//! Every connection has a tunnel of its own and goes to a pod that is ready at that moment, the
//! last one if it still is. When a pod goes away its connections end and the port stays; clients
//! connect again and reach another.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::Portforwarder;
use tokio::io::{AsyncWriteExt as _, copy, split};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout};

use super::Refusal;
use super::brokers::{Brokers, CLIENT_PORT, Chosen};
use crate::failure::{Failure, Outcome};

/// Connections at a time; each takes a socket here, one at the API server, and up to 2 MiB.
const CONNECTIONS_MAX: usize = 256;
/// How long a connection waits for a pod to become ready: a restart takes less.
const POD_WAIT: Duration = Duration::from_secs(15);
/// How often it looks.
const POD_INTERVAL: Duration = Duration::from_millis(500);
/// A tunnel that has not come about by then will not: the pod's node may be gone.
const TUNNEL_TIMEOUT: Duration = Duration::from_secs(5);
/// What is under way when one side has closed may arrive until then.
const LINGER: Duration = Duration::from_secs(1);

/// What happens to the connections, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// New connections go to another pod from now on.
    Moved {
        /// The pod.
        pod: String,
        /// Whether it has the name of the one before, which it replaces.
        replaced: bool,
    },
    /// A connection found no pod.
    Nowhere(String),
    /// A connection was cut off.
    Cut {
        /// The pod.
        pod: String,
        /// What its side said.
        why: String,
    },
}

/// A port that is forwarded until this is dropped.
#[derive(Debug)]
pub(crate) struct Forward {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Forward {
    /// Forwards a free port of this machine to the port for clients.
    ///
    /// # Errors
    /// If no broker is ready.
    pub(crate) async fn to_clients(brokers: Brokers, tell: impl Tell) -> Outcome<Forward> {
        let first = first(&brokers).await?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await;
        let listener = listener.map_err(|error| {
            Failure::new("cannot listen on a port of this machine").why(error.to_string())
        })?;
        Forward::start(brokers, listener, CLIENT_PORT, first, tell)
    }

    /// Forwards what comes to `listener` to `port` of a ready pod, at first of `first`.
    pub(crate) fn start(
        brokers: Brokers,
        listener: TcpListener,
        port: u16,
        first: Chosen,
        tell: impl Tell,
    ) -> Outcome<Forward> {
        let address = listener.local_addr().map_err(|error| {
            Failure::new("cannot learn the port of this machine").why(error.to_string())
        })?;
        let router = Router {
            brokers,
            port,
            current: Mutex::new(first),
            trouble: Mutex::default(),
            tell: Box::new(tell),
        };
        let task = tokio::spawn(serve(listener, Arc::new(router)));
        Ok(Forward { address, task })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Hears the news.
pub(crate) trait Tell: Fn(News) + Send + Sync + 'static {}
impl<F: Fn(News) + Send + Sync + 'static> Tell for F {}

impl News {
    /// What went wrong, if something did.
    pub(crate) fn trouble(&self) -> Option<String> {
        match self {
            News::Moved { .. } => None,
            News::Nowhere(why) => Some(format!("a connection was ended: {why}")),
            News::Cut { pod, why } => Some(format!("a connection to pod {pod} was cut off: {why}")),
        }
    }
}

/// The pod to begin with.
///
/// # Errors
/// If no broker is ready.
pub(crate) async fn first(brokers: &Brokers) -> Outcome<Chosen> {
    let ready = brokers.ready(None).await?;
    Ok(ready.into_iter().next().expect("no ready pod is an error"))
}

/// Accepts until it is dropped, and the connections with it.
async fn serve(listener: TcpListener, router: Arc<Router>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                Ok((local, _)) => {
                    connections.spawn(connection(Arc::clone(&router), local));
                }
                // Out of file descriptors, or the client has gone already: neither ends the port.
                Err(_) => sleep(POD_INTERVAL).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(router: Arc<Router>, local: TcpStream) {
    // Without it small requests are slower, and that is all.
    let _ = local.set_nodelay(true);
    match router.tunnel().await {
        Ok((pod, tunnel)) => {
            if let Err(why) = carry(local, tunnel, router.port).await {
                router.complain(News::Cut { pod, why });
            }
        }
        Err(failure) => {
            let why = failure.why.map(|why| format!(": {why}"));
            router.complain(News::Nowhere(failure.what + &why.unwrap_or_default()));
        }
    }
}

/// Finds a pod for each connection.
struct Router {
    brokers: Brokers,
    port: u16,
    current: Mutex<Chosen>,
    /// The last trouble that was told: clients try again and again, and once is enough.
    trouble: Mutex<Option<News>>,
    tell: Box<dyn Tell>,
}

impl Router {
    /// A tunnel to a ready pod, and its name. Waits a while for a pod to become ready.
    async fn tunnel(&self) -> Outcome<(String, Portforwarder)> {
        let deadline = Instant::now() + POD_WAIT;
        loop {
            let refusal = match self.attempt().await {
                Ok(reached) => return Ok(reached),
                Err(refusal) => refusal,
            };
            if refusal.forbidden || Instant::now() + POD_INTERVAL > deadline {
                return Err(refusal.failure);
            }
            sleep(POD_INTERVAL).await;
        }
    }

    async fn attempt(&self) -> Result<(String, Portforwarder), Refusal> {
        let preferred = self.current().uid.clone();
        let Brokers {
            kubernetes,
            namespace,
            ..
        } = &self.brokers;
        let api = kubernetes.api::<Pod>(Some(namespace));
        let mut last = None;
        for pod in self.brokers.ready(Some(&preferred)).await? {
            let doing = format!("open a tunnel to pod {}", pod.name);
            let ports = [self.port];
            let opening = kubernetes.ask(&doing, api.portforward(&pod.name, &ports));
            match timeout(TUNNEL_TIMEOUT, opening).await {
                Ok(Ok(tunnel)) => {
                    self.moved(&pod);
                    return Ok((pod.name, tunnel));
                }
                Ok(Err(refusal)) => last = Some(refusal),
                Err(_) => {
                    let why = format!("it did not come about within {TUNNEL_TIMEOUT:?}");
                    last = Some(Failure::new(format!("cannot {doing}")).why(why).into());
                }
            }
        }
        Err(last.expect("there was at least one ready pod"))
    }

    fn moved(&self, pod: &Chosen) {
        let before = std::mem::replace(&mut *self.current(), pod.clone());
        if before.uid != pod.uid {
            *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = None;
            (self.tell)(News::Moved {
                pod: pod.name.clone(),
                replaced: before.name == pod.name,
            });
        }
    }

    fn complain(&self, news: News) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if trouble.as_ref() != Some(&news) {
            (self.tell)(news.clone());
            *trouble = Some(news);
        }
    }

    fn current(&self) -> std::sync::MutexGuard<'_, Chosen> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Carries bytes both ways until one side ends.
async fn carry(local: TcpStream, mut tunnel: Portforwarder, port: u16) -> Result<(), String> {
    let (Some(pod), Some(trouble)) = (tunnel.take_stream(port), tunnel.take_error(port)) else {
        return Err("the tunnel has no stream".to_owned());
    };
    let (mut from_pod, mut to_pod) = split(pod);
    let (mut from_local, mut to_local) = local.into_split();
    let up = async {
        // However it ends, nothing more will come from this side.
        let _ = copy(&mut from_local, &mut to_pod).await;
        let _ = to_pod.shutdown().await;
    };
    let down = copy(&mut from_pod, &mut to_local);
    tokio::pin!(up, down, trouble);
    let outcome = tokio::select! {
        _ = &mut down => Ok(()),
        () = &mut up => {
            let _ = timeout(LINGER, &mut down).await;
            Ok(())
        }
        Some(why) = &mut trouble => {
            let _ = timeout(LINGER, &mut down).await;
            Err(why.trim().to_owned())
        }
    };
    tunnel.abort();
    outcome
}
