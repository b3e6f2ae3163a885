//! Commands about brokers.

use headwater_record::LeaderEpoch;
use std::sync::Arc;

use super::{Broker, Image};
use crate::ids::{BrokerEpoch, BrokerId, PartitionIdx};
use crate::limits::{
    BROKER_PARTITIONS_MAX, BROKERS_MAX, INCARNATIONS_MAX, NODE_NAME_BYTES_MAX, VERSION_BYTES_MAX,
};
use crate::metadata::applied::Applied;
use crate::metadata::command::{ConfirmIncarnation, RegisterBroker};
use crate::metadata::refused::Refused;

impl Image {
    pub(super) fn register_broker(
        &mut self,
        register: &RegisterBroker,
    ) -> Result<Applied, Refused> {
        let Some(&incarnation) = register.incarnations.last() else {
            return Err(invalid("incarnations", "", "name that of this start"));
        };
        self.check_registration(register)?;
        let id = match self
            .brokers
            .values()
            .find(|broker| broker.storage == register.storage)
        {
            Some(broker) if broker.incarnation == incarnation => {
                return Ok(Applied::BrokerRegistered {
                    broker: broker.id,
                    epoch: broker.epoch,
                    rolled_back: false,
                    led: Vec::new(),
                });
            }
            Some(broker) => broker.id,
            None => self.check_new_broker(register)?,
        };
        let known = self.brokers.get(&id);
        let rolled_back =
            known.is_some_and(|broker| !register.incarnations.contains(&broker.incarnation));
        let epoch = BrokerEpoch(self.next_revision().0);
        let broker = Broker {
            id,
            storage: register.storage,
            node_name: register.node_name.clone(),
            version: register.version.clone(),
            epoch,
            incarnation,
            feature_level_max: register.feature_level_max,
            replicas: known.map_or(0, |broker| broker.replicas),
        };
        let is_first = self.brokers.is_empty();
        self.brokers.insert(id, broker);
        if is_first {
            self.give_orphans(id);
        }
        self.next_broker = self.next_broker.max(BrokerId(id.0 + 1));
        let led = self.raise_leader_epochs(id);
        Ok(Applied::BrokerRegistered {
            broker: id,
            epoch,
            rolled_back,
            led,
        })
    }

    fn check_registration(&self, register: &RegisterBroker) -> Result<(), Refused> {
        let RegisterBroker {
            storage,
            incarnations,
            node_name,
            version,
            feature_level_max,
        } = register;
        if incarnations.len() > INCARNATIONS_MAX {
            let given = incarnations.len().to_string();
            return Err(invalid(
                "incarnations",
                &given,
                &format!("give at most {INCARNATIONS_MAX}"),
            ));
        }
        if node_name.is_empty() || node_name.len() > NODE_NAME_BYTES_MAX {
            let allowed = format!("give 1 to {NODE_NAME_BYTES_MAX} bytes");
            return Err(invalid("node_name", node_name, &allowed));
        }
        if version.len() > VERSION_BYTES_MAX {
            let allowed = format!("give at most {VERSION_BYTES_MAX} bytes");
            return Err(invalid("version", version, &allowed));
        }
        if *feature_level_max < self.feature_level {
            let (needed, level) = (self.feature_level, *feature_level_max);
            return Err(Refused::BrokerTooOld { needed, level });
        }
        let namesake = self
            .brokers
            .values()
            .find(|broker| broker.node_name == *node_name && broker.storage != *storage);
        match namesake {
            Some(broker) => Err(Refused::NodeNameTaken {
                node_name: node_name.clone(),
                broker: broker.id,
            }),
            None => Ok(()),
        }
    }

    /// The id that a data directory that was never seen gets.
    fn check_new_broker(&self, register: &RegisterBroker) -> Result<BrokerId, Refused> {
        if self.brokers.len() >= BROKERS_MAX {
            return Err(Refused::LimitExceeded {
                what: "brokers",
                limit: BROKERS_MAX as u64,
                remedy: "use another cluster; ids of brokers are never reused",
            });
        }
        match self.cluster {
            Some(cluster)
                if self.brokers.is_empty() && cluster.first_storage != register.storage =>
            {
                let (storage, first) = (register.storage, cluster.first_storage);
                Err(Refused::NotTheFirstStorage { storage, first })
            }
            _ => {
                self.check_orphans()?;
                Ok(self.next_broker)
            }
        }
    }

    /// The first broker takes every partition that has no replica, see [`Image::restored`].
    fn check_orphans(&self) -> Result<(), Refused> {
        let partitions = self.topics.values().map(|topic| topic.partitions.len());
        if self.brokers.is_empty() && partitions.sum::<usize>() > BROKER_PARTITIONS_MAX {
            return Err(Refused::LimitExceeded {
                what: "partitions on one broker",
                limit: BROKER_PARTITIONS_MAX as u64,
                remedy: "restore fewer topics",
            });
        }
        Ok(())
    }

    /// Partitions without replicas, which only a restored image has, go to the first broker.
    fn give_orphans(&mut self, broker: BrokerId) {
        let mut given = 0;
        for topic in self.topics.values_mut() {
            if topic
                .partitions
                .iter()
                .all(|partition| !partition.replicas.is_empty())
            {
                continue;
            }
            let partitions = &mut Arc::make_mut(topic).partitions;
            for partition in partitions.iter_mut().filter(|p| p.replicas.is_empty()) {
                partition.replicas = vec![broker];
                partition.leader = Some(broker);
                partition.isr = vec![broker];
                given += 1;
            }
        }
        if let Some(broker) = self.brokers.get_mut(&broker) {
            broker.replicas += given;
        }
    }

    /// A leadership never survives its process.
    fn raise_leader_epochs(
        &mut self,
        broker: BrokerId,
    ) -> Vec<(headwater_log::PartitionKey, LeaderEpoch)> {
        let mut raised = Vec::new();
        for topic in self.topics.values_mut() {
            if topic
                .partitions
                .iter()
                .all(|partition| partition.leader != Some(broker))
            {
                continue;
            }
            let topic = Arc::make_mut(topic);
            let led = (0..).zip(&mut topic.partitions);
            for (index, partition) in led.filter(|(_, p)| p.leader == Some(broker)) {
                partition.leader_epoch = LeaderEpoch(partition.leader_epoch.0 + 1);
                partition.epoch += 1;
                raised.push((
                    topic.id.partition(PartitionIdx(index)),
                    partition.leader_epoch,
                ));
            }
        }
        raised
    }

    pub(super) fn confirm_incarnation(
        &mut self,
        confirm: &ConfirmIncarnation,
    ) -> Result<Applied, Refused> {
        let Some(broker) = self.brokers.get_mut(&confirm.broker) else {
            return Err(Refused::BrokerNotFound {
                broker: confirm.broker,
            });
        };
        if broker.epoch != confirm.epoch {
            let (current, given) = (broker.epoch, confirm.epoch);
            return Err(Refused::BrokerEpochStale {
                broker: confirm.broker,
                current,
                given,
            });
        }
        broker.incarnation = confirm.incarnation;
        Ok(Applied::IncarnationConfirmed)
    }
}

pub(super) fn invalid(field: &'static str, given: &str, allowed: &str) -> Refused {
    Refused::Invalid {
        field,
        given: given.to_owned(),
        allowed: allowed.to_owned(),
    }
}
