//! A process of the broker: a replica on a simulated disk, and its part of the tier.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use headwater_core::replica::{Input, Outcome, Output, Replica, Ticket, TurnContext};
use headwater_log::sim::SimDisk;
use headwater_log::{
    EpochJob, FileCache, Journal, JournalLimits, Log, LogEnv, MarkStore, Now, StartJob, SyncJob,
};
use headwater_record::{Batch, LeaderEpoch};
use headwater_tier::{CacheLimits, FenceWatch, Head, Partition, Tier};

use crate::bucket::BucketClient;
use crate::simulation::{ProcessId, Simulation};

/// The wall clock at the beginning of a run.
pub(crate) const WALL_MS: i64 = 1_700_000_000_000;

/// A process.
pub(crate) struct Process {
    pub(crate) epoch: LeaderEpoch,
    /// Rises with each start.
    pub(crate) broker_epoch: u64,
    pub(crate) disk: SimDisk,
    pub(crate) env: LogEnv,
    pub(crate) replica: Replica,
    pub(crate) tier: Arc<Tier>,
    pub(crate) fence: Arc<FenceWatch>,
    pub(crate) partition: Partition,
    /// What the metadata says, as far as this process knows.
    pub(crate) head: Option<Head>,
    pub(crate) frozen_until_ms: u64,
    /// Another one leads.
    pub(crate) is_deposed: bool,
    /// To be run off the turn, in order.
    pub(crate) jobs: VecDeque<Job>,
    pub(crate) appends: BTreeMap<u64, Batch>,
}

/// Small, so that its blocks take turns.
const JOURNAL_LIMITS: JournalLimits = JournalLimits {
    block_bytes: 256 << 10,
    files_max: 16,
};

/// What runs off the turn.
pub(crate) enum Job {
    Sync(SyncJob),
    Epoch(EpochJob),
    Start(StartJob),
    Reclaim,
}

impl Simulation {
    pub(crate) fn now(&self) -> Now {
        let monotonic_ms = self.world.now_ms();
        Now {
            monotonic_ms,
            wall_ms: WALL_MS.saturating_add_unsigned(monotonic_ms),
        }
    }

    /// Starts a process on a disk: it registers, recovers the log and leads.
    pub(crate) fn start_process(&mut self, disk: SimDisk) {
        self.metadata.register(&self.world);
        let Some(epoch) = self.metadata.epoch() else {
            return;
        };
        let id = ProcessId(self.processes_started);
        self.processes_started += 1;
        let shared: Arc<dyn headwater_log::Disk> = Arc::new(disk.clone());
        let marks = MarkStore::open(Arc::clone(&shared), 1).expect("marks open");
        let salt = self.world.draw(|rng| rng.bits());
        let journal = Journal::open(Arc::clone(&shared), &marks, 1, JOURNAL_LIMITS, salt);
        let (journal, replayed) =
            journal.unwrap_or_else(|error| panic!("the journal opens: {error}"));
        let env = LogEnv {
            marks: Arc::new(marks),
            journal: Arc::new(journal),
            files: Arc::new(FileCache::new(8)),
            disk: shared,
        };
        let (now, key) = (self.now(), self.metadata.key());
        let config = self.settings.replica();
        let opened = Log::open(&env, key, config.log.clone(), now, false);
        let (log, report) = opened.unwrap_or_else(|error| panic!("the log opens: {error}"));
        let head = self.metadata.head();
        self.world.trace(format_args!(
            "{id} starts under {} with {}..{} local {} cut {:?} replayed {} head {head:?}",
            epoch.0,
            log.log_start(),
            log.end(),
            log.local_start(),
            report.cut,
            replayed.bytes,
        ));
        assert_eq!(replayed.frames_lost, 0, "no frame that was synced is lost");
        let recovered = self.check.recovered(&log);
        self.expect(recovered);
        let policy = self.settings.policy(self.metadata.cluster());
        let spread_ms = self.world.draw(|rng| rng.below(policy.sweep_interval_ms));
        let store = BucketClient::new(self.world.clone(), id);
        let limits = CacheLimits {
            chunk_bytes: 40_000,
            meta_bytes: 20_000,
        };
        let tier = Tier::new(Arc::new(store), self.metadata.cluster(), limits);
        let process = Process {
            epoch,
            broker_epoch: self.metadata.broker_epoch(),
            disk,
            env,
            replica: Replica::new(log, config),
            tier: Arc::new(tier.with_page_entries(self.settings.page_entries)),
            fence: Arc::new(FenceWatch::default()),
            partition: Partition::new(key, epoch, head, now, &policy, spread_ms),
            head,
            frozen_until_ms: 0,
            is_deposed: false,
            jobs: VecDeque::new(),
            appends: BTreeMap::new(),
        };
        self.processes.insert(id, process);
        self.leader = Some(id);
        let mut inputs = Vec::new();
        if let Some(head) = head {
            let (end, eager) = (head.end, self.settings.eager);
            inputs.push(Input::Tiered { end, eager });
        }
        inputs.push(Input::Lead { epoch, in_sync: 1 });
        self.turn(id, inputs);
        self.take_over(id);
        self.later(id, 0, move |simulation| simulation.tick(id));
    }

    /// A turn of a process's replica, and what follows from it.
    pub(crate) fn turn(&mut self, id: ProcessId, inputs: Vec<Input>) {
        let context = TurnContext {
            now: self.now(),
            storage_full: self.settings.storage_full,
            wall_clock_suspect: self.settings.clock_suspect,
        };
        let Some(process) = self.processes.get_mut(&id) else {
            return;
        };
        let outputs = process.replica.turn(&context, inputs);
        self.observe(id);
        for output in outputs {
            self.follow_output(id, output);
        }
    }

    fn follow_output(&mut self, id: ProcessId, output: Output) {
        let Some(process) = self.processes.get_mut(&id) else {
            return;
        };
        let job = match output {
            Output::Complete(Ticket(ticket), result) => {
                let Some(batch) = process.appends.remove(&ticket) else {
                    return;
                };
                let leads = !process.is_deposed;
                let epoch = process.epoch;
                if let (true, Ok(Outcome::Appended { appended, .. })) = (leads, result) {
                    let acked = self.check.acked(appended, &batch, epoch);
                    self.expect(acked);
                }
                return;
            }
            Output::NeedSync => process.replica.take_sync_job().map(Job::Sync),
            Output::BeginEpoch(job) => Some(Job::Epoch(job)),
            Output::MoveStart(job) => Some(Job::Start(job)),
            Output::NeedReclaim => Some(Job::Reclaim),
            Output::Published => None,
            Output::StorageFailed(error) => return self.fail(format!("storage failed: {error}")),
        };
        if let Some(job) = job {
            process.jobs.push_back(job);
            let may_be_slow = !self.disk_is_quick;
            let delay_ms = self.world.draw(|rng| match rng.below(20) {
                0 if may_be_slow => rng.within(100, 20_000),
                _ => rng.below(100),
            });
            self.later(id, delay_ms, move |simulation| simulation.run_job(id));
        }
    }

    fn run_job(&mut self, id: ProcessId) {
        let Some(process) = self.processes.get_mut(&id) else {
            return;
        };
        let ran = match process.jobs.pop_front() {
            None => return,
            Some(Job::Sync(job)) => {
                let by_journal = self.world.draw(|rng| rng.per_mille(600));
                let journal = &process.env.journal;
                let synced = match by_journal && job.journal_bytes().is_some() {
                    true => journal.write(0, &[&job]).and_then(|written| match written {
                        true => Ok(()),
                        false => job.run(),
                    }),
                    false => job.run(),
                };
                synced.map(|()| Some(Input::Synced(job.end)))
            }
            Some(Job::Epoch(job)) => job.run().map(|()| Some(Input::EpochBegun(job.epoch))),
            Some(Job::Start(job)) => job.run().map(|()| {
                if !process.is_deposed {
                    self.check.start_is_durable(job.log_start);
                }
                Some(Input::StartMoved(job.log_start))
            }),
            Some(Job::Reclaim) => process.replica.reclaim(8).map(|_| None),
        };
        let input = ran.unwrap_or_else(|error| panic!("a job of {id} failed: {error}"));
        let synced = match &input {
            Some(Input::Synced(end)) => Some(*end),
            _ => None,
        };
        if let Some(input) = input {
            self.turn(id, vec![input]);
        }
        if let (Some(end), Some(process)) = (synced, self.processes.get(&id)) {
            let (marks, key) = (&process.env.marks, self.metadata.key());
            let shard = marks.shard_of(key);
            marks
                .write(shard, &[(key, end)])
                .expect("marks are written");
            // A driver syncs them with what comes next, or with a checkpoint.
            if self.world.draw(|rng| rng.per_mille(700)) {
                marks.sync(shard).expect("marks are synced");
            }
            let long = self.world.draw(|rng| rng.per_mille(100));
            if let Some(checkpoint) = process.env.journal.begin_checkpoint(shard, long) {
                let synced = checkpoint.sync(0, 1);
                let finished = synced.and_then(|()| checkpoint.finish(marks));
                finished.expect("a checkpoint goes well");
            }
        }
    }
}
