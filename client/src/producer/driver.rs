//! The task behind a producer: takes batches, sends them, handles answers, connects again.

use std::collections::HashMap;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use headwater_proto::v1;

use super::accumulator::{Accumulator, Take};
use super::identity::{Identity, init_producer};
use super::lane::{Lane, Resolved};
use super::stream::{Event, ProduceStream};
use super::topics;
use crate::backoff::Backoff;
use crate::clock::BootTime;
use crate::config::ClientConfig;
use crate::error::Error;
use crate::limits;
use crate::task::Task;
use crate::transport::Transport;

/// How often batches are looked at for their age, at least.
const EXPIRY_CHECK_MAX: Duration = Duration::from_millis(500);

/// Sends what an [`Accumulator`] gathers. Owns everything about batches that were taken.
#[derive(Debug)]
pub(super) struct Driver {
    accumulator: Arc<Accumulator>,
    transport: Transport,
    client: ClientConfig,
    /// By number of their queue.
    lanes: Vec<Lane>,
    /// Numbers of the lanes with something to do, each once, in the order of their turns.
    active: Vec<usize>,
    /// Lane of every unanswered request.
    routes: HashMap<i64, usize>,
    next_request_seq: i64,
    connection: Connection,
    backoff: Backoff,
    /// When the broker last answered, or had nothing to answer.
    progress: BootTime,
    identity: Option<Identity>,
    identity_request: Option<Task<Result<Identity, Error>>>,
    topics_refresh: Option<Task<()>>,
    topics_refreshed: BootTime,
    expiry_checked: BootTime,
}

#[derive(Debug)]
enum Connection {
    /// Not needed yet.
    Idle,
    Opening(Task<Result<ProduceStream, Error>>),
    Open(ProduceStream),
}

/// What wakes the driver.
enum Wake {
    Work,
    Opened(Result<ProduceStream, Error>),
    Event(Event),
    Identity(Result<Identity, Error>),
    Refreshed,
    Time,
}

impl Driver {
    pub(super) fn new(
        accumulator: Arc<Accumulator>,
        transport: Transport,
        client: ClientConfig,
    ) -> Driver {
        let now = BootTime::now();
        Driver {
            accumulator,
            transport,
            backoff: Backoff::new(&client),
            client,
            lanes: Vec::new(),
            active: Vec::new(),
            routes: HashMap::new(),
            next_request_seq: 0,
            connection: Connection::Idle,
            progress: now,
            identity: None,
            identity_request: None,
            topics_refresh: None,
            topics_refreshed: now,
            expiry_checked: now,
        }
    }

    /// Runs until the accumulator is closed and everything that it had is resolved.
    pub(super) async fn run(mut self) {
        loop {
            let now = BootTime::now();
            // Asked first: behind a close nothing is handed in, so that `activate` sees all.
            let closed = self.accumulator.is_closed();
            self.activate();
            self.expire(now);
            self.watch_progress(now);
            let due = self.pump(now);
            if closed && self.active.is_empty() {
                return;
            }
            self.refresh_topics(now);
            match self.wait(due, now).await {
                Wake::Opened(result) => self.opened(result),
                Wake::Event(event) => self.handle_all(event),
                Wake::Identity(result) => self.identified(result),
                Wake::Refreshed => self.topics_refresh = None,
                Wake::Work | Wake::Time => {}
            }
        }
    }

    /// Takes notice of queues that got their first batch.
    fn activate(&mut self) {
        for queue in self.accumulator.newly_active() {
            while self.lanes.len() <= queue {
                let (topic, partition) = self.accumulator.place(self.lanes.len());
                let backoff = Backoff::new(&self.client);
                let config = self.accumulator.config();
                self.lanes
                    .push(Lane::new(topic, partition, config, backoff));
            }
            if !self.active.contains(&queue) {
                self.active.push(queue);
            }
        }
    }

    /// Sends what can be sent; returns when there will be more without anything else happening.
    fn pump(&mut self, now: BootTime) -> Option<BootTime> {
        let (accumulator, lanes) = (&self.accumulator, &self.lanes);
        self.active
            .retain(|lane| !lanes[*lane].is_empty() || !accumulator.is_empty(*lane));
        if self.active.is_empty() {
            return None;
        }
        if let Connection::Idle = self.connection {
            self.open(Duration::ZERO);
        }
        if !matches!(self.connection, Connection::Open(_)) {
            return None;
        }
        let mut due = None;
        for turn in 0..self.active.len() {
            let lane = self.active[turn];
            let lane_due = match self.pump_lane(lane, now) {
                Pumped::Until(lane_due) => lane_due,
                Pumped::NoCredit => {
                    // Those that got nothing come first when there is credit again.
                    self.active.rotate_left(turn);
                    return due;
                }
            };
            due = [due, lane_due].into_iter().flatten().min();
        }
        due
    }

    fn pump_lane(&mut self, index: usize, now: BootTime) -> Pumped {
        if self.lanes[index].needs_identity() && !self.adopt_identity(index) {
            return Pumped::Until(None);
        }
        let in_flight_max = self.accumulator.config().batches_in_flight_max;
        loop {
            let lane = &mut self.lanes[index];
            if let Some(batch) = lane.to_send(now) {
                let Connection::Open(stream) = &mut self.connection else {
                    unreachable!("pump has looked");
                };
                if !stream.has_credit(batch.bytes().len()) {
                    return Pumped::NoCredit;
                }
                let request_seq = self.next_request_seq;
                self.next_request_seq += 1;
                stream.send(v1::ProduceStreamBatch {
                    request_seq,
                    topic: lane.topic().to_string(),
                    partition: crate::admin::partition_number(lane.partition()),
                    window: lane.window(),
                    batch: batch.bytes().clone(),
                    ..v1::ProduceStreamBatch::default()
                });
                lane.sent(request_seq);
                if self.routes.is_empty() {
                    self.progress = now;
                }
                self.routes.insert(request_seq, index);
                continue;
            }
            if !lane.has_room(in_flight_max, now) {
                return Pumped::Until(lane.paused_until(now));
            }
            match self.accumulator.take(index, now) {
                Take::Draft(draft) => {
                    if let Err((ticket, outcome)) = lane.push(draft) {
                        self.accumulator.resolve(ticket, outcome);
                    }
                }
                Take::Lingers(until) => return Pumped::Until(Some(until)),
                Take::Empty => return Pumped::Until(None),
            }
        }
    }

    /// Gives a lane the producer's identity, or asks for one.
    fn adopt_identity(&mut self, lane: usize) -> bool {
        if let Some(identity) = self.identity {
            if self.lanes[lane].adopt(identity) {
                return true;
            }
            self.identity = None;
        }
        if self.identity_request.is_none() {
            let name = self.accumulator.config().name.clone().unwrap_or_default();
            let backoff = Backoff::new(&self.client);
            let request = init_producer(self.transport.clone(), name, backoff);
            self.identity_request = Some(Task::spawn(request));
        }
        false
    }

    async fn wait(&mut self, due: Option<BootTime>, now: BootTime) -> Wake {
        let connection = async {
            match &mut self.connection {
                Connection::Idle => pending().await,
                Connection::Opening(task) => Wake::Opened(task.await.unwrap_or(Err(Error::Closed))),
                Connection::Open(stream) => Wake::Event(stream.next_event().await),
            }
        };
        let expiry =
            (!self.active.is_empty()).then(|| now.after(expiry_interval(&self.accumulator)));
        let time = [due, expiry].into_iter().flatten().min();
        let time = async {
            match time {
                Some(time) => tokio::time::sleep(time.since(BootTime::now())).await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            wake = connection => wake,
            identity = optional(&mut self.identity_request) => {
                Wake::Identity(identity.unwrap_or(Err(Error::Closed)))
            }
            _ = optional(&mut self.topics_refresh) => Wake::Refreshed,
            () = self.accumulator.work() => Wake::Work,
            () = time => Wake::Time,
        }
    }

    fn open(&mut self, pause: Duration) {
        let acks = self.accumulator.config().acks;
        let (transport, backoff) = (self.transport.clone(), self.backoff);
        let open = ProduceStream::open(transport, acks, pause, backoff);
        self.connection = Connection::Opening(Task::spawn(open));
    }

    fn opened(&mut self, result: Result<ProduceStream, Error>) {
        match result {
            Ok(stream) => {
                self.progress = BootTime::now();
                self.connection = Connection::Open(stream);
            }
            Err(error) => {
                self.connection = Connection::Idle;
                self.fail(&error);
            }
        }
    }

    fn identified(&mut self, result: Result<Identity, Error>) {
        self.identity_request = None;
        match result {
            Ok(identity) => self.identity = Some(identity),
            Err(error) => self.fail(&error),
        }
    }

    /// Handles an event and all others that are there already.
    fn handle_all(&mut self, event: Event) {
        let mut next = Some(event);
        while let Some(event) = next {
            self.handle(event);
            next = match &mut self.connection {
                Connection::Open(stream) => stream.try_next_event(),
                Connection::Idle | Connection::Opening(_) => None,
            };
        }
    }

    fn handle(&mut self, event: Event) {
        let Connection::Open(stream) = &mut self.connection else {
            unreachable!("events come from open streams");
        };
        match event {
            Event::Acks(acks) => {
                stream.credit(acks.credit_bytes);
                self.acknowledge(acks.acks);
            }
            Event::Draining(pause) => {
                tracing::info!(
                    "the broker is about to stop; connecting again when it has answered"
                );
                stream.drain(pause);
            }
            Event::Ended(error) => {
                tracing::info!(%error, "the produce stream has ended");
                self.disconnect(None);
                if let Error::Broker(broker) = &error
                    && !broker.reason.is_empty()
                    && !broker.retriable
                {
                    self.fail(&error);
                }
                return;
            }
        }
        if let Some(pause) = stream_drained(&self.connection) {
            self.disconnect(Some(pause));
        }
    }

    fn acknowledge(&mut self, acks: Vec<v1::ProduceStreamAck>) {
        let now = BootTime::now();
        self.progress = now;
        self.backoff.reset();
        let mut resolved = Vec::new();
        let mut fenced = None;
        for v1::ProduceStreamAck { request_seq, ack } in acks {
            let Some(lane) = self.routes.remove(&request_seq) else {
                tracing::warn!(request_seq, "the broker answers what was never asked");
                continue;
            };
            let ack = ack.unwrap_or_default();
            let lane = &mut self.lanes[lane];
            if let Some(error) = &ack.error {
                self.accumulator
                    .doubt_topic_after(lane.topic(), &error.reason);
                if error.reason == "FENCED" && self.accumulator.config().name.is_some() {
                    fenced = Some(Error::from(error.clone()));
                }
            }
            lane.answered(request_seq, ack, now, &mut resolved);
        }
        self.resolve(resolved);
        if let Some(error) = fenced {
            // Somebody else has the name now. Asking for it again would fence them in turn.
            self.accumulator.close(error.clone());
            self.fail(&error);
        }
    }

    /// Leaves the stream; opens another after `pause`, or after the backoff's.
    fn disconnect(&mut self, pause: Option<Duration>) {
        self.routes.clear();
        let now = BootTime::now();
        let mut resolved = Vec::new();
        for lane in &self.active {
            self.lanes[*lane].disconnected(now, &mut resolved);
        }
        self.resolve(resolved);
        let pause = pause.unwrap_or_else(|| self.backoff.next_pause());
        self.open(pause);
    }

    /// Gives up everything there is.
    fn fail(&mut self, error: &Error) {
        let mut resolved = Vec::new();
        for lane in &self.active {
            self.lanes[*lane].fail(error, &mut resolved);
            let left = self.accumulator.take_older(*lane, BootTime(Duration::MAX));
            resolved.extend(left.into_iter().map(|ticket| (ticket, Err(error.clone()))));
        }
        self.resolve(resolved);
    }

    /// Gives up batches that are too old.
    fn expire(&mut self, now: BootTime) {
        if now.since(self.expiry_checked) < expiry_interval(&self.accumulator) {
            return;
        }
        self.expiry_checked = now;
        let timeout = self.accumulator.config().delivery_timeout;
        let oldest = BootTime(now.0.saturating_sub(timeout));
        let mut resolved = Vec::new();
        for index in &self.active {
            let lane = &mut self.lanes[*index];
            lane.expire(now, &mut resolved);
            let expired = self.accumulator.take_older(*index, oldest);
            resolved.extend(
                expired
                    .into_iter()
                    .map(|ticket| (ticket, lane.not_stored())),
            );
        }
        self.resolve(resolved);
    }

    /// Leaves a stream on which the broker owes answers for too long.
    fn watch_progress(&mut self, now: BootTime) {
        let waiting = !self.routes.is_empty() && matches!(self.connection, Connection::Open(_));
        if waiting && now.since(self.progress) > self.transport.request_timeout() {
            tracing::warn!("the broker does not answer; connecting again");
            self.disconnect(None);
        }
    }

    fn refresh_topics(&mut self, now: BootTime) {
        if now.since(self.topics_refreshed) < limits::METADATA_AGE_MAX {
            return;
        }
        self.topics_refreshed = now;
        let refresh = topics::refresh(self.transport.clone(), Arc::clone(&self.accumulator));
        self.topics_refresh = Some(Task::spawn(refresh));
    }

    fn resolve(&self, resolved: Vec<Resolved>) {
        for (ticket, outcome) in resolved {
            self.accumulator.resolve(ticket, outcome);
        }
    }
}

/// How far a lane got.
enum Pumped {
    /// There is no more now; at this time there may be.
    Until(Option<BootTime>),
    /// The stream takes nothing more now.
    NoCredit,
}

fn stream_drained(connection: &Connection) -> Option<Duration> {
    match connection {
        Connection::Open(stream) => stream.drained(),
        Connection::Idle | Connection::Opening(_) => None,
    }
}

fn expiry_interval(accumulator: &Accumulator) -> Duration {
    (accumulator.config().delivery_timeout / 10).min(EXPIRY_CHECK_MAX)
}

/// Waits for a task if there is one.
async fn optional<T>(task: &mut Option<Task<T>>) -> Option<T> {
    match task {
        Some(task) => task.await,
        None => pending().await,
    }
}
