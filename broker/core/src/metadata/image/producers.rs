//! Commands about producers' identities.

use super::brokers::invalid;
use super::{Image, NamedProducer};
use crate::ids::ProducerId;
use crate::limits::{NAMED_PRODUCERS_MAX, PRODUCER_ID_BLOCK_MAX};
use crate::metadata::applied::Applied;
use crate::metadata::refused::Refused;
use crate::names::ProducerName;

impl Image {
    pub(super) fn allocate_producer_ids(&mut self, count: u32) -> Result<Applied, Refused> {
        if count == 0 || count > PRODUCER_ID_BLOCK_MAX {
            let allowed = format!("give 1 to {PRODUCER_ID_BLOCK_MAX}");
            return Err(invalid("count", &count.to_string(), &allowed));
        }
        let first = self.next_producer;
        Ok(Applied::ProducerIds(first..self.take_producer_ids(count)?))
    }

    pub(super) fn init_named_producer(&mut self, name: &ProducerName) -> Result<Applied, Refused> {
        let producer = match self.named_producers.get(name) {
            Some(known) if known.epoch < i16::MAX => NamedProducer {
                id: known.id,
                epoch: known.epoch + 1,
            },
            // Its epochs are used up: a new id fences as well, since the name leads to it only.
            Some(_) => self.new_named_producer()?,
            None if self.named_producers.len() >= NAMED_PRODUCERS_MAX => {
                return Err(Refused::LimitExceeded {
                    what: "named producers",
                    limit: NAMED_PRODUCERS_MAX as u64,
                    remedy: "reuse names, or leave the name away to get an id of your own",
                });
            }
            None => self.new_named_producer()?,
        };
        self.named_producers.insert(name.clone(), producer);
        Ok(Applied::NamedProducer {
            id: producer.id,
            epoch: producer.epoch,
        })
    }

    fn new_named_producer(&mut self) -> Result<NamedProducer, Refused> {
        let id = self.next_producer;
        self.take_producer_ids(1)?;
        Ok(NamedProducer { id, epoch: 0 })
    }

    /// Takes ids from the front; the new front, which is the end of those taken.
    fn take_producer_ids(&mut self, count: u32) -> Result<ProducerId, Refused> {
        let Some(next) = self.next_producer.0.checked_add(i64::from(count)) else {
            return Err(Refused::LimitExceeded {
                what: "producer ids",
                limit: i64::MAX as u64,
                remedy: "use another cluster; ids of producers are never reused",
            });
        };
        self.next_producer = ProducerId(next);
        Ok(self.next_producer)
    }
}
