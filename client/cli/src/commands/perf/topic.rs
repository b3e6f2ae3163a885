//! The topic that is measured: a given one, or one of its own that is deleted afterwards.

use headwater_client::types::{Durability, TopicConfig};
use headwater_client::{Client, Error};

use super::{TopicArgs, failed};
use crate::commands::topic::DurabilityArg;
use crate::contexts::Target;
use crate::failure::{Exit, Failure, Outcome};
use crate::session::Session;

/// The topic of a measurement.
pub(super) struct PerfTopic {
    /// As the broker is asked for it.
    pub(super) name: String,
    /// How many it has.
    pub(super) partitions: u32,
    /// Set if it is to be deleted.
    own_id: Option<String>,
}

impl PerfTopic {
    /// Finds or creates it.
    pub(super) async fn open(args: &TopicArgs, client: &Client, target: &Target) -> Outcome<Self> {
        let admin = client.admin();
        if let Some(name) = &args.topic {
            let name = target.topic(name);
            let partitions = admin.get_topic(&name).await.map_err(failed)?.partitions;
            let partitions = u32::try_from(partitions).unwrap_or(0);
            return Ok(PerfTopic {
                name,
                partitions,
                own_id: None,
            });
        }
        let name = target.topic(&format!("perf-{}", jiff::Timestamp::now().as_microsecond()));
        let durability = args.durability.map(|durability| match durability {
            DurabilityArg::Fsync => Durability::Fsync as i32,
            DurabilityArg::Replicated => Durability::Replicated as i32,
        });
        let config = TopicConfig {
            durability,
            ..TopicConfig::default()
        };
        let created = admin
            .create_topic(&name, args.partitions, config, false)
            .await;
        let own_id = Some(created.map_err(failed)?.topic_id);
        Ok(PerfTopic {
            name,
            partitions: args.partitions,
            own_id,
        })
    }

    /// Runs `measure`, and deletes the topic whatever comes of it, Ctrl-C included.
    pub(super) async fn during<T>(
        self,
        client: &Client,
        session: &Session,
        measure: impl AsyncFnOnce(&PerfTopic) -> Outcome<T>,
    ) -> Outcome<T> {
        let measured = tokio::select! {
            measured = measure(&self) => measured,
            _ = tokio::signal::ctrl_c() => Err(Failure::new("interrupted").exit(Exit::Interrupt)),
        };
        if let Some(id) = &self.own_id {
            let deleted: Result<(), Error> =
                client.admin().delete_topic(&self.name, Some(id)).await;
            if let Err(error) = deleted {
                session
                    .talk
                    .note(format!("topic {} is left behind: {error}", self.name));
            }
        }
        measured
    }
}
