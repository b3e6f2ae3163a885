//! What a broker does, in its own words: the one place that all listeners call.
//!
//! Every call names its principal, asks the authoriser, and takes what it needs of the memory
//! budgets before it holds bytes. Offsets, order and durability are decided behind it, in
//! `headwater-core`.

mod admin;
mod consume;
mod health;
mod open;
mod produce;
mod room;
mod tier;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

pub use admin::{SETTINGS, TopicChange, TopicPlan};
pub use consume::{FetchBudget, FetchEntry, FetchRequest, FetchedPartition, Payload};
use headwater_core::ids::{BrokerId, ClusterId};
use headwater_core::metadata::{Image, Topic};
use headwater_core::names::TopicName;
pub use health::{Finding, Findings, Severity, damage};
pub use produce::{ProduceRequest, Produced, RecordsRequest, StreamBatch};
pub(crate) use room::REMEDY as ROOM_REMEDY;
pub use tier::{PartitionTier, VerifyEvent};
use tokio::sync::{Mutex, Semaphore, watch};

use crate::auth::{Action, Authorizer, Principal};
use crate::clock::Clock;
use crate::config::Settings;
use crate::error::BrokerError;
use crate::limits::{COLD_BUDGET_PART, OPENINGS_MAX};
use crate::metadata::MetadataHandle;
use crate::metrics::Metrics;
use crate::partition::read::PartitionRef;
use crate::partition::registry::Registry;
use crate::partition::tail::TailCache;
use crate::storage::Storage;
use crate::tier::BrokerTier;

/// Who a broker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokerIdentity {
    /// The cluster.
    pub cluster_id: ClusterId,
    /// The broker.
    pub broker_id: BrokerId,
}

/// A running broker.
pub struct Broker {
    /// What it runs with.
    pub settings: Arc<Settings>,
    /// Who it is.
    pub identity: BrokerIdentity,
    /// The address that clients are told, `host:port`.
    pub advertised: String,
    /// The cluster's metadata.
    pub metadata: MetadataHandle,
    /// Whether the data directory is well.
    pub storage: Arc<Storage>,
    /// Counters.
    pub metrics: Metrics,
    /// What was found at the start and has not gone away.
    pub findings: Findings,
    tier: Option<Arc<BrokerTier>>,
    registry: Arc<Registry>,
    clock: Clock,
    authorizer: Box<dyn Authorizer>,
    /// Bytes of batches that were received and not answered.
    produce_budget: Arc<Semaphore>,
    /// Bytes of batches that were read and not taken.
    fetch_budget: Arc<Semaphore>,
    /// The part of it that reads of the tier have for themselves, and have to do with.
    cold_budget: Arc<Semaphore>,
    /// The turn of an answer that goes beyond it.
    beyond_budget: Arc<Semaphore>,
    /// Places to open batches for answers.
    openings: Arc<Semaphore>,
    /// Held by whoever looks for a time on the disk. Searches of the tier take turns of their own: they have a time limit,
    /// and one on the disk may read for long.
    searching: Arc<Mutex<()>>,
    tails: TailCache,
    draining: watch::Receiver<bool>,
    next_stream: AtomicU64,
    next_partition: AtomicU64,
}

/// What a broker is made of.
pub struct BrokerParts {
    /// What it runs with.
    pub settings: Arc<Settings>,
    /// Who it is.
    pub identity: BrokerIdentity,
    /// The address that clients are told, `host:port`.
    pub advertised: String,
    /// The cluster's metadata.
    pub metadata: MetadataHandle,
    /// Whether the data directory is well.
    pub storage: Arc<Storage>,
    /// Counters.
    pub metrics: Metrics,
    /// What was found at the start.
    pub findings: Findings,
    /// Object storage for sealed segments.
    pub tier: Option<Arc<BrokerTier>>,
    /// The partitions.
    pub registry: Arc<Registry>,
    /// The clocks.
    pub clock: Clock,
    /// Decides who may do what.
    pub authorizer: Box<dyn Authorizer>,
    /// Turns true when the broker is about to stop.
    pub draining: watch::Receiver<bool>,
}

impl Broker {
    /// Puts the parts together.
    pub fn new(parts: BrokerParts) -> Broker {
        let BrokerParts {
            settings,
            identity,
            advertised,
            metadata,
            storage,
            metrics,
            findings,
            tier,
            registry,
            clock,
            authorizer,
            draining,
        } = parts;
        let budget = |bytes: u64| {
            let permits = usize::try_from(bytes).unwrap_or(usize::MAX);
            Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS)))
        };
        let fetch_bytes = settings.memory.fetch_bytes;
        let cold_bytes = match tier {
            Some(_) => fetch_bytes / COLD_BUDGET_PART,
            None => 0,
        };
        Broker {
            produce_budget: budget(settings.memory.produce_bytes),
            fetch_budget: budget(fetch_bytes - cold_bytes),
            cold_budget: budget(cold_bytes),
            beyond_budget: Arc::new(Semaphore::new(1)),
            openings: Arc::new(Semaphore::new(OPENINGS_MAX)),
            searching: Arc::default(),
            tails: TailCache::default(),
            settings,
            identity,
            advertised,
            metadata,
            storage,
            metrics,
            findings,
            tier,
            registry,
            clock,
            authorizer,
            draining,
            next_stream: AtomicU64::new(0),
            next_partition: AtomicU64::new(0),
        }
    }

    /// Bytes held of batches that were received and not answered, and that were read and not taken.
    pub fn in_flight_bytes(&self) -> (u64, u64) {
        let memory = &self.settings.memory;
        let used =
            |total: u64, left: &Semaphore| total.saturating_sub(left.available_permits() as u64);
        let produce = used(memory.produce_bytes, &self.produce_budget);
        let fetch_left =
            self.fetch_budget.available_permits() + self.cold_budget.available_permits();
        (
            produce,
            memory.fetch_bytes.saturating_sub(fetch_left as u64),
        )
    }

    /// Turns true when the broker is about to stop.
    pub fn draining(&self) -> watch::Receiver<bool> {
        self.draining.clone()
    }

    /// The metadata as of now.
    pub fn image(&self) -> Arc<Image> {
        self.metadata.image()
    }

    /// Reads a topic's name; a bare one is in the default namespace.
    pub fn topic_name(&self, field: &'static str, name: &str) -> Result<TopicName, BrokerError> {
        TopicName::parse(name, &self.settings.default_namespace)
            .map_err(|source| BrokerError::Name { field, source })
    }

    fn authorize(
        &self,
        principal: &Principal,
        action: Action,
        topic: &TopicName,
    ) -> Result<(), BrokerError> {
        let resource = topic.as_str();
        if self.authorizer.allows(principal, action, resource) {
            return Ok(());
        }
        Err(BrokerError::Denied {
            principal: principal.to_string(),
            action: action.verb(),
            resource: resource.to_owned(),
        })
    }

    /// A topic that exists and may be used.
    fn topic<'a>(
        &self,
        image: &'a Image,
        principal: &Principal,
        action: Action,
        name: &str,
    ) -> Result<&'a Topic, BrokerError> {
        let name = self.topic_name("topic", name)?;
        self.authorize(principal, action, &name)?;
        image
            .topic(&name)
            .ok_or_else(|| BrokerError::TopicNotFound {
                topic: name.to_string(),
                nearest: image.nearest_topics(&name),
            })
    }

    /// A partition that exists and may be used.
    pub fn partition(
        &self,
        principal: &Principal,
        action: Action,
        topic: &str,
        partition: i32,
    ) -> Result<PartitionRef, BrokerError> {
        let image = self.image();
        let topic = self.topic(&image, principal, action, topic)?;
        self.partition_of(topic, partition)
    }

    fn partition_of(&self, topic: &Topic, partition: i32) -> Result<PartitionRef, BrokerError> {
        let partitions = topic.partitions.len() as u32;
        let index = u32::try_from(partition)
            .ok()
            .filter(|index| *index < partitions)
            .ok_or_else(|| BrokerError::PartitionNotFound {
                topic: topic.name.to_string(),
                partition,
                partitions,
            })?;
        let key = headwater_log::PartitionKey {
            topic: topic.id.0,
            index,
        };
        let handle = self
            .registry
            .get(key)
            .ok_or_else(|| BrokerError::PartitionOffline {
                topic: topic.name.to_string(),
                partition: index,
            })?;
        Ok(PartitionRef {
            topic: topic.name.as_str().into(),
            partition: index,
            handle,
        })
    }
}
