//! From settings to a running broker, and back to a clean stop.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use headwater_core::ids::{BrokerId, ClusterId, IncarnationId, StorageId, TopicId};
use headwater_core::metadata::{
    Applied, Command, ConfirmIncarnation, Durability, FEATURE_LEVEL, FormCluster, Identity, Image,
    LocalBackend, MetadataError, MetadataReport, RegisterBroker, Topic,
};
use headwater_log::{
    Disk, DiskGuard, FileCache, GuardLimits, LogEnv, LogError, MarkStore, OsDisk, TopicFate, Trash,
    quarantined,
};
use prometheus_client::registry::Registry as MetricsRegistry;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::admin_http::{self, AdminState, Readiness};
use crate::auth::AllowAll;
use crate::clock::{Clock, wall_ms};
use crate::config::Settings;
use crate::facade::{Broker, BrokerIdentity, BrokerParts, Finding, Findings, Severity};
use crate::grpc;
use crate::limits::{DISK_CHECK_INTERVAL, INCARNATION_CONFIRM_INTERVAL, RELEASE_WAIT};
use crate::metadata::{Applier, MetadataHandle};
use crate::metrics::Metrics;
use crate::partition::registry::Registry;
use crate::partition::shard::{self, Message, ShardEnv};
use crate::storage::Storage;

/// A broker in this process.
pub struct Running {
    broker: Arc<Broker>,
    registry: Arc<Registry>,
    identity: Arc<Mutex<Identity>>,
    clock: Clock,
    client: SocketAddr,
    http: SocketAddr,
    draining: watch::Sender<bool>,
    stopped: watch::Sender<bool>,
    readiness: watch::Sender<Readiness>,
    tasks: Vec<JoinHandle<()>>,
    server: JoinHandle<Result<(), tonic::transport::Error>>,
    grace: Duration,
    /// To see when nobody holds the data directory any more.
    disk: Weak<dyn Disk>,
}

/// Opens the data directory, recovers every partition, and serves.
///
/// # Errors
/// When the data directory is in use, damaged or unformed, or an address cannot be listened on.
pub async fn start(settings: Settings) -> anyhow::Result<Running> {
    let settings = Arc::new(settings);
    let (client_listener, client) = listen("client", settings.listen.client).await?;
    let (http_listener, http) = listen("HTTP", settings.listen.http).await?;
    let mut metrics_registry = MetricsRegistry::default();
    let metrics = Metrics::register(&mut metrics_registry);
    let (readiness, ready) = watch::channel(Readiness::NotReady("opening the log".to_owned()));
    let (stopped, stop) = watch::channel(false);
    let (draining, drain) = watch::channel(false);

    let state = AdminState {
        registry: Arc::new(metrics_registry),
        readiness: ready,
    };
    let mut http_stop = stop.clone();
    let http_task = tokio::spawn(async move {
        let stop = async move { drop(http_stop.wait_for(|stop| *stop).await) };
        if let Err(error) = admin_http::serve(http_listener, state, stop).await {
            tracing::error!(%error, "the HTTP listener has failed");
        }
    });

    let opening = settings.clone();
    let opening_metrics = metrics.clone();
    let opened = tokio::task::spawn_blocking(move || open(&opening, &opening_metrics));
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
        metrics,
        findings,
        registry: registry.clone(),
        clock: clock.clone(),
        authorizer: Box::new(AllowAll),
        draining: drain,
    }));
    let mut server_stop = stop.clone();
    let stopping = async move { drop(server_stop.wait_for(|stop| *stop).await) };
    let server = tokio::spawn(grpc::server::serve(
        broker.clone(),
        client_listener,
        stopping,
    ));
    let identity = Arc::new(Mutex::new(identity));
    let upkeep = Upkeep {
        broker: broker.clone(),
        registry: registry.clone(),
        identity: identity.clone(),
        clock: clock.clone(),
    };
    let upkeep = tokio::spawn(upkeep.run(stop));
    readiness.send_replace(Readiness::Ready);
    let BrokerIdentity {
        cluster_id,
        broker_id,
    } = ids;
    tracing::info!(%client, %http, %broker_id, %cluster_id, "serving");
    let tasks = vec![http_task, upkeep];
    Ok(Running {
        broker,
        registry,
        identity,
        clock,
        client,
        http,
        draining,
        stopped,
        readiness,
        tasks,
        server,
        grace,
        disk,
    })
}

impl Running {
    /// Where clients connect.
    pub fn client_address(&self) -> SocketAddr {
        self.client
    }

    /// Where metrics and health are.
    pub fn http_address(&self) -> SocketAddr {
        self.http
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
        self.draining.send_replace(true);
        self.stopped.send_replace(true);
        let abort = self.server.abort_handle();
        if tokio::time::timeout(self.grace, self.server).await.is_err() {
            tracing::warn!(
                grace_s = self.grace.as_secs(),
                "connections were cut after the grace"
            );
            abort.abort();
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

/// The data directory, opened.
struct Opened {
    identity: Identity,
    ids: BrokerIdentity,
    clock: Clock,
    storage: Arc<Storage>,
    registry: Arc<Registry>,
    metadata: MetadataHandle,
    findings: Findings,
    disk: Weak<dyn Disk>,
}

fn open(settings: &Arc<Settings>, metrics: &Metrics) -> anyhow::Result<Opened> {
    let findings = Findings::default();
    let data_dir = settings.data_dir.display();
    let disk = OsDisk::open(&settings.data_dir)
        .with_context(|| format!("cannot open the data directory {data_dir}"))?;
    let disk: Arc<dyn Disk> = Arc::new(disk);
    let mut identity = Identity::open(disk.clone(), StorageId(Uuid::new_v4()), &boot_id())
        .with_context(|| format!("in the data directory {data_dir}"))?;
    let found = identity.opened().clone();
    let clock = Clock::start(found.last_wall_ms);
    let mut backend = LocalBackend::open(disk.clone())
        .with_context(|| format!("in the data directory {data_dir}"))?;
    let cluster_id = form(settings, &mut identity, &mut backend)?;
    let incarnation = IncarnationId(Uuid::new_v4());
    let broker_id = register(
        settings,
        &mut identity,
        &mut backend,
        incarnation,
        &findings,
    )?;
    add_findings(&findings, &found, backend.report(), &settings.node_name);

    add_loss_finding(&findings, &found, backend.image(), settings);

    let marks = Arc::new(MarkStore::open(disk.clone(), settings.storage.shards)?);
    if marks.is_missing() {
        findings.add(Finding {
            severity: Severity::Warning,
            reason: "SYNC_MARKS_MISSING",
            subject: settings.data_dir.display().to_string(),
            message: "the directory marks is gone; every log counts as synced to its end, and \
                      what was cut off there cannot be noticed"
                .to_owned(),
            remedy: "find out who removed it; if a copy exists, stop the broker and restore all \
                     of the data directory"
                .to_owned(),
        });
    }
    let files = Arc::new(FileCache::new(settings.storage.open_files_max));
    let log = LogEnv {
        disk: disk.clone(),
        marks: marks.clone(),
        files,
    };
    let guard = GuardLimits {
        reserve_bytes: settings.disk_guard.reserve_bytes,
        low_bytes: settings.disk_guard.low_water_bytes,
        high_bytes: settings.disk_guard.high_water_bytes,
    };
    let storage = Storage::new(
        log.clone(),
        DiskGuard::open(disk.clone(), guard)?,
        guard.low_bytes,
    );
    storage.check_space()?;
    let image = backend.image();
    let fate = |topic| match TopicId(topic) {
        topic if image.topic_by_id(topic).is_some() => TopicFate::Keep,
        topic if image.tombstones().any(|(id, _)| id == topic) => TopicFate::Delete,
        _ => TopicFate::Unknown,
    };
    let (trash, _) = Trash::open(log.clone(), fate)?;
    for name in quarantined(&*disk)? {
        findings.add(Finding {
            severity: Severity::Warning,
            reason: "QUARANTINED",
            subject: name.clone(),
            message: "a topic directory that the metadata does not know was set aside".to_owned(),
            remedy: format!("look at quarantine/{name} in the data directory; nothing deletes it"),
        });
    }
    let env = Arc::new(ShardEnv {
        log,
        storage: storage.clone(),
        metrics: metrics.clone(),
        clock: clock.clone(),
        retention_interval: settings.storage.retention_check_interval,
    });
    let shards = (0..settings.storage.shards)
        .map(|index| shard::start(index, env.clone()))
        .collect::<std::io::Result<Vec<_>>>()?;
    storage.set_shards(shards.clone());
    let registry = Arc::new(Registry::new(shards));
    let applier = Applier {
        own: broker_id,
        defaults: settings.topics.effective(),
        background_sync_ms: settings.storage.background_sync_interval.as_millis() as u64,
        registry: registry.clone(),
        storage: storage.clone(),
        trash,
        findings: findings.clone(),
        metrics: metrics.clone(),
    };
    let started = Instant::now();
    applier.open_all(image, found.clean);
    // A partition that could not be opened still needs to know that its mark may be lost.
    if metrics.partitions_offline.get() == 0 {
        marks.settle()?;
    }
    // Only now, with what was found acted upon, may it be forgotten.
    identity.confirm(incarnation, broker_id)?;
    let (partitions, elapsed_ms) = (registry.len(), started.elapsed().as_millis() as u64);
    tracing::info!(
        partitions,
        elapsed_ms,
        clean = found.clean,
        "the log is open"
    );
    let metadata = MetadataHandle::start(backend, applier, storage.clone())?;
    let ids = BrokerIdentity {
        cluster_id,
        broker_id,
    };
    Ok(Opened {
        identity,
        ids,
        clock,
        storage,
        registry,
        metadata,
        findings,
        disk: Arc::downgrade(&disk),
    })
}

/// The kernel's name for the time since the host was booted; empty where there is none.
fn boot_id() -> String {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    text.trim().to_owned()
}

/// The cluster that the directory belongs to, formed now if the settings ask for it.
fn form(
    settings: &Settings,
    identity: &mut Identity,
    backend: &mut LocalBackend,
) -> anyhow::Result<ClusterId> {
    if identity.broker().is_some() && backend.report().created {
        bail!(
            "the metadata of the data directory {} is gone; restore the directory metadata",
            settings.data_dir.display()
        );
    }
    let cluster = match identity.cluster() {
        Some(cluster) => cluster,
        None if settings.form => {
            let cluster = ClusterId(Uuid::new_v4());
            identity.form(cluster)?;
            cluster
        }
        None => bail!(
            "the data directory {} belongs to no cluster; start with --form to make a new cluster \
             of this one broker",
            settings.data_dir.display()
        ),
    };
    if backend.image().cluster().is_none() {
        let first_storage = identity.storage();
        backend.propose(&Command::FormCluster(FormCluster {
            cluster,
            first_storage,
        }))?;
    }
    match backend.image().cluster() {
        Some(formed) if formed.id == cluster => Ok(cluster),
        other => bail!(
            "the identity file says cluster {cluster}, the metadata {}: the data directory was put \
             together from two; restore the one that belongs here",
            other.map_or_else(String::new, |other| other.id.to_string())
        ),
    }
}

/// Registers this start: no leadership survives its process, so every partition gets a new epoch.
fn register(
    settings: &Settings,
    identity: &mut Identity,
    backend: &mut LocalBackend,
    incarnation: IncarnationId,
    findings: &Findings,
) -> anyhow::Result<BrokerId> {
    identity.begin_incarnation(incarnation, wall_ms())?;
    let command = Command::RegisterBroker(RegisterBroker {
        storage: identity.storage(),
        incarnations: identity.incarnations().to_vec(),
        node_name: settings.node_name.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        feature_level_max: FEATURE_LEVEL,
    });
    match backend.propose(&command)? {
        Applied::BrokerRegistered {
            broker,
            rolled_back,
            ..
        } => {
            if rolled_back {
                findings.add(Finding {
                    severity: Severity::Critical,
                    reason: "STORAGE_ROLLED_BACK",
                    subject: settings.data_dir.display().to_string(),
                    message: "the data directory is an old copy of itself; what was acknowledged \
                              after the copy was made is missing"
                        .to_owned(),
                    remedy: "restore the newest copy; never run two copies of one directory"
                        .to_owned(),
                });
            }
            Ok(broker)
        }
        other => unreachable!("a registration was asked for, got {other:?}"),
    }
}

fn add_findings(
    findings: &Findings,
    found: &headwater_core::metadata::Opened,
    report: &MetadataReport,
    node_name: &str,
) {
    if let Some(reason) = &found.poisoned {
        findings.add(Finding {
            severity: Severity::Warning,
            reason: "WAS_POISONED",
            subject: node_name.to_owned(),
            message: format!("an earlier run could not sync ({reason}); the log was read again"),
            remedy: "check the disk and its kernel log".to_owned(),
        });
    }
    if report.cut_nonzero_bytes > 0 || report.mark_slot_lost {
        let MetadataReport {
            cut_bytes,
            mark_slot_lost,
            ..
        } = report;
        findings.add(Finding {
            severity: Severity::Info,
            reason: "METADATA_RECOVERED",
            subject: node_name.to_owned(),
            message: format!(
                "{cut_bytes} bytes of unacknowledged metadata were cut; mark slot lost: {mark_slot_lost}"
            ),
            remedy: "none; expected after a crash or power loss".to_owned(),
        });
    }
}

/// After the host went down without a clean stop, class `replicated` on a lone broker may have lost
/// what it had acknowledged and not synced. That is its bargain, but never a silent one.
fn add_loss_finding(
    findings: &Findings,
    found: &headwater_core::metadata::Opened,
    image: &Image,
    settings: &Settings,
) {
    if found.clean || found.created || !found.other_boot {
        return;
    }
    let defaults = settings.topics.effective();
    let replicated =
        |topic: &&Topic| topic.config.effective(&defaults).durability == Durability::Replicated;
    let names: Vec<&str> = image
        .topics()
        .filter(replicated)
        .map(|topic| topic.name.as_str())
        .take(16)
        .collect();
    if !names.is_empty() {
        let interval = settings.storage.background_sync_interval;
        findings.add(Finding {
            severity: Severity::Warning,
            reason: "DATA_LOSS_POSSIBLE",
            subject: names.join(", "),
            message: format!(
                "the host went down without a clean stop; records of topics with durability \
                 `replicated` that were acknowledged within {interval:?} before may be missing"
            ),
            remedy: "use durability `fsync` where that must not happen".to_owned(),
        });
    }
}

/// What a broker does by the clock.
struct Upkeep {
    broker: Arc<Broker>,
    registry: Arc<Registry>,
    identity: Arc<Mutex<Identity>>,
    clock: Clock,
}

impl Upkeep {
    async fn run(self, mut stop: watch::Receiver<bool>) {
        let upkeep = Arc::new(self);
        let mut disk = tokio::time::interval(DISK_CHECK_INTERVAL);
        let mut confirm = tokio::time::interval(INCARNATION_CONFIRM_INTERVAL);
        confirm.reset();
        loop {
            tokio::select! {
                () = async { drop(stop.wait_for(|stop| *stop).await) } => return,
                _ = disk.tick() => upkeep.clone().check_disk().await,
                _ = confirm.tick() => upkeep.clone().confirm_incarnation().await,
            }
        }
    }

    async fn check_disk(self: Arc<Self>) {
        let check = move || {
            let broker = &self.broker;
            if let Err(error) = broker.storage.check_space() {
                tracing::error!(%error, "the disk's space cannot be measured");
            }
            let space = broker.storage.space();
            let shown = self
                .registry
                .handles()
                .into_iter()
                .filter_map(|handle| handle.published());
            let sum = shown.fold((0, 0), |(bytes, segments), shown| {
                (
                    bytes + shown.size_bytes as i64,
                    segments + shown.segments as i64,
                )
            });
            let metrics = &broker.metrics;
            metrics.log_bytes.set(sum.0);
            metrics.segments.set(sum.1);
            metrics.disk_free_bytes.set(space.free_bytes as i64);
            metrics.disk_size_bytes.set(space.total_bytes as i64);
            metrics
                .storage_full
                .set(i64::from(broker.storage.is_full()));
            let (produce, fetch) = broker.in_flight_bytes();
            metrics.produce_in_flight_bytes.set(produce as i64);
            metrics.fetch_in_flight_bytes.set(fetch as i64);
            metrics.findings.set(broker.health().len() as i64);
        };
        drop(tokio::task::spawn_blocking(check).await);
    }

    /// Records that this broker still runs, and the wall clock with it.
    async fn confirm_incarnation(self: Arc<Self>) {
        let incarnation = IncarnationId(Uuid::new_v4());
        let begun = self.with_identity(move |identity, wall_ms| {
            identity.begin_incarnation(incarnation, wall_ms)
        });
        if let Err(error) = begun.await {
            return tracing::warn!(%error, "the incarnation could not be recorded");
        }
        let broker = self.broker.identity.broker_id;
        let image = self.broker.image();
        let Some(epoch) = image.broker(broker).map(|broker| broker.epoch) else {
            return;
        };
        let command = Command::ConfirmIncarnation(ConfirmIncarnation {
            broker,
            epoch,
            incarnation,
        });
        let confirmed = match self.broker.metadata.propose(command).await {
            Ok(_) => {
                self.with_identity(move |identity, _| identity.confirm(incarnation, broker))
                    .await
            }
            Err(error) => Err(error.into()),
        };
        if let Err(error) = confirmed {
            tracing::warn!(%error, "the incarnation could not be confirmed");
        }
    }

    async fn with_identity(
        &self,
        act: impl FnOnce(&mut Identity, i64) -> Result<(), MetadataError> + Send + 'static,
    ) -> anyhow::Result<()> {
        let (identity, wall_ms) = (self.identity.clone(), self.clock.now().wall_ms);
        let act = move || {
            act(
                &mut identity.lock().unwrap_or_else(PoisonError::into_inner),
                wall_ms,
            )
        };
        Ok(tokio::task::spawn_blocking(act).await??)
    }
}
