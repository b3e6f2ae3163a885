//! From settings to a running broker, and back to a clean stop.

mod findings;
mod form;
mod open;
mod upkeep;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use headwater_core::ids::ClusterId;
use headwater_core::metadata::{Identity, Image};
use headwater_log::{Disk, LogError};
use prometheus_client::registry::Registry as MetricsRegistry;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use uuid::Uuid;

pub(crate) use self::open::boot_id;
use self::open::{Directory, Opened};
use self::upkeep::Upkeep;
use crate::admin_http::{self, AdminState, Readiness};
use crate::auth::AllowAll;
use crate::clock::Clock;
use crate::config::Settings;
use crate::facade::{Broker, BrokerIdentity, BrokerParts};
use crate::grpc;
use crate::limits::{DIRECTORY_LOOK_INTERVAL, DIRECTORY_WAIT, RELEASE_WAIT};
use crate::metrics::Metrics;
use crate::partition::registry::Registry;
use crate::partition::shard::Message;
use crate::secret::Secret;
use crate::standing::{Member, Standing, Station};
use crate::tier::store::StoreMetrics;
use crate::tier::{BrokerTier, Driver, DriverParts};

/// A broker in this process.
pub struct Running {
    broker: Arc<Broker>,
    registry: Arc<Registry>,
    identity: Arc<Mutex<Identity>>,
    clock: Clock,
    client: SocketAddr,
    internal: Option<SocketAddr>,
    http: SocketAddr,
    draining: watch::Sender<bool>,
    standing: watch::Sender<Standing>,
    stopped: watch::Sender<bool>,
    readiness: watch::Sender<Readiness>,
    tasks: Vec<JoinHandle<()>>,
    /// The gRPC listeners, which end when their connections have.
    servers: Vec<JoinHandle<()>>,
    grace: Duration,
    /// To see when nobody holds the data directory any more.
    disk: Weak<dyn Disk>,
}

/// Opens the data directory, recovers every partition, and serves.
///
/// A directory that belongs to no cluster is formed if the settings say so. Otherwise, with an
/// internal listener, this waits there until it is told which cluster to form.
///
/// # Errors
/// When the data directory is in use, damaged, or unformed with nobody to say what to form, or an
/// address cannot be listened on.
pub async fn start(settings: Settings) -> anyhow::Result<Running> {
    let settings = Arc::new(settings);
    let (client_listener, client) = listen("client", settings.listen.client).await?;
    let (http_listener, http) = listen("HTTP", settings.listen.http).await?;
    let internal_listener = match &settings.internal_secret_file {
        None => None,
        Some(path) => Some((
            listen("internal", settings.listen.internal).await?,
            Secret::read(path)?,
        )),
    };
    let mut metrics_registry = MetricsRegistry::default();
    let metrics = Metrics::register(&mut metrics_registry);
    let store_metrics = StoreMetrics::default();
    if settings.tier.is_some() {
        store_metrics.register(metrics_registry.sub_registry_with_prefix("headwater"));
    }
    let (readiness, ready) = watch::channel(Readiness::NotReady("opening the log".to_owned()));
    let (stopped, stop) = watch::channel(false);
    let (draining, drain) = watch::channel(false);
    let stopping = || {
        let mut stop = stop.clone();
        async move { drop(stop.wait_for(|stop| *stop).await) }
    };

    let state = AdminState {
        registry: Arc::new(metrics_registry),
        readiness: ready,
    };
    let http_stop = stopping();
    let mut tasks = vec![tokio::spawn(async move {
        if let Err(error) = admin_http::serve(http_listener, state, http_stop).await {
            tracing::error!(%error, "the HTTP listener has failed");
        }
    })];

    let patience = match internal_listener {
        Some(_) => DIRECTORY_WAIT,
        None => Duration::ZERO,
    };
    let mut directory = identify(&settings, patience, &readiness).await?;
    let (standing, standing_now) = watch::channel(Standing {
        station: Station::Opening,
        cluster: directory.identity.cluster(),
        broker: directory.identity.broker(),
    });
    let (form, mut to_form) = mpsc::channel(1);
    let member = Member {
        storage: directory.identity.storage(),
        disk_empty: directory.empty,
        standing: standing_now,
        form,
    };
    let mut internal = None;
    let mut servers = Vec::new();
    let (serving, served) = watch::channel(None);
    if let Some(((listener, address), secret)) = internal_listener {
        internal = Some(address);
        servers.push(tokio::spawn(grpc::internal::serve(
            listener,
            settings.clone(),
            secret,
            member,
            served,
            stopping(),
        )));
    }
    let cluster = match directory.identity.cluster() {
        Some(cluster) => cluster,
        None => {
            let cluster = if settings.form {
                ClusterId(Uuid::new_v4())
            } else if internal.is_some() {
                tracing::info!("the data directory belongs to no cluster; waiting for FormCluster");
                standing.send_modify(|standing| standing.station = Station::Unformed);
                readiness.send_replace(Readiness::NotReady(
                    "waits to be formed: FormCluster on the internal listener".to_owned(),
                ));
                to_form
                    .recv()
                    .await
                    .context("nobody can form the cluster")?
            } else {
                bail!(
                    "the data directory {} belongs to no cluster; start with --form to make a new \
                     cluster of this one broker, or set internal.secret_file to wait for FormCluster",
                    settings.data_dir.display()
                );
            };
            directory = tokio::task::spawn_blocking(move || -> anyhow::Result<Directory> {
                directory.identity.form(cluster)?;
                Ok(directory)
            })
            .await
            .context("forming the cluster")??;
            cluster
        }
    };
    standing.send_modify(|standing| {
        standing.station = Station::Opening;
        standing.cluster = Some(cluster);
    });
    readiness.send_replace(Readiness::NotReady("opening the log".to_owned()));

    let opening = settings.clone();
    let opening_metrics = metrics.clone();
    let tier = match &settings.tier {
        None => None,
        Some(tier) => {
            let opened = BrokerTier::open(tier, &settings.data_dir, cluster, &store_metrics);
            Some(opened.await.context("opening the tier")?)
        }
    };
    let eager = tier.as_ref().map(|tier| tier.eager);
    let opened = tokio::task::spawn_blocking(move || {
        open::open(&opening, &opening_metrics, directory, cluster, eager)
    });
    let Opened {
        identity,
        ids,
        clock,
        storage,
        registry,
        metadata,
        findings,
        disk,
    } = opened.await.context("opening the data directory")??;
    let grace = settings.shutdown_grace;
    let broker = Arc::new(Broker::new(BrokerParts {
        advertised: advertised(&settings, client),
        settings,
        identity: ids,
        metadata,
        storage,
        metrics: metrics.clone(),
        findings,
        tier: tier.clone(),
        registry: registry.clone(),
        clock: clock.clone(),
        authorizer: Box::new(AllowAll),
        draining: drain,
    }));
    servers.push(tokio::spawn(grpc::server::serve(
        broker.clone(),
        client_listener,
        stopping(),
    )));
    serving.send_replace(Some(broker.clone()));
    let identity = Arc::new(Mutex::new(identity));
    let upkeep = Upkeep {
        broker: broker.clone(),
        registry: registry.clone(),
        identity: identity.clone(),
        clock: clock.clone(),
    };
    tasks.push(tokio::spawn(upkeep.run(stop.clone())));
    if let Some(tier) = tier {
        let driver = Driver::new(DriverParts {
            tier,
            broker: ids.broker_id,
            metadata: broker.metadata.clone(),
            registry: registry.clone(),
            storage: broker.storage.clone(),
            clock: clock.clone(),
            metrics,
            defaults: broker.settings.topics.effective(),
            retain_interval_ms: broker.settings.storage.retention_check_interval.as_millis() as u64,
        });
        tasks.push(tokio::spawn(driver.run(stop)));
    }
    let BrokerIdentity {
        cluster_id,
        broker_id,
    } = ids;
    standing.send_replace(Standing {
        station: Station::Serving,
        cluster: Some(cluster_id),
        broker: Some(broker_id),
    });
    readiness.send_replace(Readiness::Ready);
    tracing::info!(%client, %http, %broker_id, %cluster_id, "serving");
    Ok(Running {
        broker,
        registry,
        identity,
        clock,
        client,
        internal,
        http,
        draining,
        standing,
        stopped,
        readiness,
        tasks,
        servers,
        grace,
        disk,
    })
}

impl Running {
    /// Where clients connect.
    pub fn client_address(&self) -> SocketAddr {
        self.client
    }

    /// Where the operator connects, if there is a secret for it.
    pub fn internal_address(&self) -> Option<SocketAddr> {
        self.internal
    }

    /// Where metrics and health are.
    pub fn http_address(&self) -> SocketAddr {
        self.http
    }

    /// The metadata as of now.
    pub fn image(&self) -> Arc<Image> {
        self.broker.image()
    }

    /// Turns to the reason when the data directory fails; the broker must be stopped then.
    pub fn failure(&self) -> watch::Receiver<Option<String>> {
        self.broker.storage.failure()
    }

    /// Stops: clients are told, what is in flight is answered, everything is synced and closed.
    ///
    /// # Errors
    /// When the data directory has failed, before or now; the next start recovers.
    pub async fn stop(self) -> anyhow::Result<()> {
        let started = Instant::now();
        self.readiness.send_replace(Readiness::NotReady(
            "the broker is about to stop".to_owned(),
        ));
        self.standing
            .send_modify(|standing| standing.station = Station::Draining);
        // Whoever routes clients here needs a moment to see that it should not.
        tokio::time::sleep(self.broker.settings.shutdown_delay).await;
        self.draining.send_replace(true);
        self.stopped.send_replace(true);
        let deadline = tokio::time::Instant::now() + self.grace;
        for mut server in self.servers {
            if tokio::time::timeout_at(deadline, &mut server)
                .await
                .is_err()
            {
                tracing::warn!(
                    grace_s = self.grace.as_secs(),
                    "connections were cut after the grace"
                );
                server.abort();
            }
        }
        for task in self.tasks {
            drop(task.await);
        }
        self.broker.metadata.stop().await;
        let mut result = Ok(());
        for shard in self.registry.shards() {
            let (done, stopped) = oneshot::channel();
            shard.send(Message::Stop { done });
            result = result.and(stopped.await.unwrap_or(Err(LogError::Failed)));
        }
        if let Some(reason) = self.broker.storage.failure().borrow().clone() {
            bail!("the data directory has failed: {reason}");
        }
        result.context("closing the log; the next start recovers it")?;
        let wall_ms = self.clock.now().wall_ms;
        let identity = self.identity;
        let mark = move || {
            identity
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .mark_clean(wall_ms)
        };
        tokio::task::spawn_blocking(mark).await??;
        // Whoever starts on the directory next finds it unlocked, once the last thread is gone.
        drop((self.broker, self.registry));
        let released = async {
            while self.disk.strong_count() > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        if tokio::time::timeout(RELEASE_WAIT, released).await.is_err() {
            tracing::warn!(
                "something still holds the data directory; the end of the process frees it"
            );
        }
        tracing::info!(elapsed_ms = started.elapsed().as_millis() as u64, "stopped");
        Ok(())
    }
}

/// Locks the data directory. One that another broker holds is waited for: Kubernetes may start a pod
/// while the process of the pod before it, removed by force, still ends.
async fn identify(
    settings: &Arc<Settings>,
    patience: Duration,
    readiness: &watch::Sender<Readiness>,
) -> anyhow::Result<Directory> {
    let deadline = Instant::now() + patience;
    loop {
        let identifying = settings.clone();
        let identified = tokio::task::spawn_blocking(move || open::identify(&identifying))
            .await
            .context("opening the data directory")?;
        match identified {
            Err(error) if open::is_in_use(&error) && Instant::now() < deadline => {
                tracing::info!(%error, "waits for the other broker to end");
                readiness.send_replace(Readiness::NotReady(format!("{error:#}")));
                tokio::time::sleep(DIRECTORY_LOOK_INTERVAL).await;
            }
            identified => return identified,
        }
    }
}

async fn listen(name: &str, address: SocketAddr) -> anyhow::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address} for {name} connections; does another broker run there?")
    })?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

fn advertised(settings: &Settings, client: SocketAddr) -> String {
    match &settings.listen.advertised {
        Some(address) => address.clone(),
        None if client.ip().is_unspecified() => format!("localhost:{}", client.port()),
        None => client.to_string(),
    }
}
