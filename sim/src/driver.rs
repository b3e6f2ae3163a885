//! What the broker's shell does for the tier: asks for plans, runs what they say, and brings the results back.
//!
//! One rule of it is part of why the tier is safe: a process plans only once it has taken the cluster's objects over.

use std::sync::Arc;

use async_trait::async_trait;
use headwater_core::replica::Input;
use headwater_log::{LogError, LogView, ReadSlice, SegmentContext};
use headwater_record::Offset;
use headwater_tier::{Action, CommitJob, LogState, Proposal, SegmentSource, TierError};

use crate::faults::Fault;
use crate::simulation::{ProcessId, Simulation};
use crate::world::World;

/// How much of a segment is read at once.
const PIECE_BYTES: usize = 300;

impl Simulation {
    /// A process that has just started takes the objects over, as soon as the store answers.
    pub(crate) fn take_over(&mut self, id: ProcessId) {
        let Some(process) = self.processes.get(&id) else {
            return;
        };
        let (tier, fence) = (Arc::clone(&process.tier), Arc::clone(&process.fence));
        let broker_epoch = process.broker_epoch;
        let world = self.world.clone();
        self.spawn(id, async move {
            loop {
                let taken = fence.take_over(&tier, broker_epoch).await;
                world.trace(format_args!("{id} takes over: {taken:?}"));
                if matches!(taken, Ok(()) | Err(TierError::Superseded)) {
                    return;
                }
                world.sleep(world.draw(|rng| rng.within(500, 5_000))).await;
            }
        });
    }

    /// Time passes in a process.
    pub(crate) fn tick(&mut self, id: ProcessId) {
        let head = self.metadata.head();
        let is_led = self.metadata.epoch().is_some();
        let Some(process) = self.processes.get_mut(&id) else {
            return;
        };
        if !process.is_deposed && is_led {
            process.head = head;
        }
        let is_owner = process.fence.is_owner();
        self.turn(id, vec![Input::Tick]);
        if is_owner {
            self.plan(id);
        }
        let least_ms = if self.is_quiet { 10_000 } else { 500 };
        let next_ms = self
            .world
            .draw(|rng| rng.within(least_ms, least_ms + 4_500));
        self.later(id, next_ms, move |simulation| simulation.tick(id));
    }

    fn plan(&mut self, id: ProcessId) {
        let (now, world) = (self.now(), self.world.clone());
        let policy = self.settings.policy(self.metadata.cluster());
        let Some(process) = self.processes.get_mut(&id) else {
            return;
        };
        let view = process.replica.tier_view();
        let sealed_end = view
            .sealed
            .last()
            .map_or(view.local_start, |last| last.end_offset);
        let log = LogState {
            log_start: view.log_start,
            local_start: view.local_start,
            committed: process.replica.high_watermark(),
            sealed: view.sealed,
            active_bytes: self.check.history.bytes_from(sealed_end),
        };
        let mut draw = || world.draw(|rng| rng.uuid());
        let actions = process
            .partition
            .plan(process.head, &log, &policy, now, &mut draw);
        for action in actions {
            if matches!(action, Action::Sweep(_)) {
                self.perhaps_freeze(id);
            }
            self.act(id, &view.view, action);
        }
    }

    fn act(&mut self, id: ProcessId, view: &LogView, action: Action) {
        let world = self.world.clone();
        let Some(process) = self.processes.get(&id) else {
            return;
        };
        let (tier, fence) = (Arc::clone(&process.tier), Arc::clone(&process.fence));
        match action {
            Action::Upload(job) => {
                world.trace(format_args!(
                    "{id} uploads {}..{}",
                    job.base_offset, job.end_offset
                ));
                let mut source = Source {
                    world: world.clone(),
                    process: id,
                    view: view.clone(),
                    base: job.base_offset,
                    end: job.end_offset,
                };
                self.spawn(id, async move {
                    let result = tier.upload(&job, &mut source).await;
                    world.after(0, move |simulation| {
                        simulation.in_process(id, move |simulation| {
                            simulation.result(id, result.as_ref().err().map(ToString::to_string));
                            let (now, jitter) = simulation.now_and_jitter();
                            if let Some(process) = simulation.processes.get_mut(&id) {
                                process.partition.uploaded(&job, result, now, jitter);
                            }
                        });
                    });
                });
            }
            Action::Write(job) => self.spawn(id, async move {
                let result = tier.write_manifest(&job).await;
                world.after(0, move |simulation| {
                    simulation.in_process(id, move |simulation| {
                        simulation.result(id, result.as_ref().err().map(ToString::to_string));
                        simulation.written(id, &job, result);
                    });
                });
            }),
            Action::Retain(job) => self.spawn(id, async move {
                let result = tier.retain(&job).await;
                world.after(0, move |simulation| {
                    simulation.in_process(id, move |simulation| {
                        simulation.result(id, result.as_ref().err().map(ToString::to_string));
                        let (now, jitter) = simulation.now_and_jitter();
                        let Some(process) = simulation.processes.get_mut(&id) else {
                            return;
                        };
                        let leads = !process.is_deposed;
                        if let Some(start) = process.partition.retained(result, now, jitter) {
                            if leads {
                                let allowed = simulation.check.retained(&job, start);
                                simulation.expect(allowed);
                            }
                            simulation.turn(id, vec![Input::Retain { start }]);
                        }
                    });
                });
            }),
            Action::Sweep(job) => self.spawn(id, async move {
                let clock = world.clone();
                let result = tier.sweep(&job, &fence, &move || clock.now_ms()).await;
                world.after(0, move |simulation| {
                    simulation.in_process(id, move |simulation| {
                        simulation
                            .world
                            .trace(format_args!("{id} swept {result:?}"));
                        let (now, jitter) = simulation.now_and_jitter();
                        if let Some(process) = simulation.processes.get_mut(&id) {
                            process.partition.swept(&job, result, now, jitter);
                        }
                    });
                });
            }),
        }
    }

    fn result(&self, id: ProcessId, error: Option<String>) {
        if let Some(error) = error {
            self.world.trace(format_args!("{id} failed: {error}"));
        }
    }

    fn now_and_jitter(&self) -> (headwater_log::Now, u64) {
        (self.now(), self.world.draw(|rng| rng.bits()))
    }

    fn written(
        &mut self,
        id: ProcessId,
        job: &CommitJob,
        result: Result<headwater_tier::Head, headwater_tier::TierError>,
    ) {
        let (now, jitter) = self.now_and_jitter();
        let Some(process) = self.processes.get_mut(&id) else {
            return;
        };
        let Some(proposal) = process.partition.written(job, result, now, jitter) else {
            return;
        };
        let (tier, fence) = (Arc::clone(&process.tier), Arc::clone(&process.fence));
        let world = self.world.clone();
        self.spawn(id, async move {
            let checked = fence.check(&tier, world.now_ms()).await;
            let answer = match checked {
                Err(error) => Err(error.to_string()),
                Ok(()) if fence.is_stale(world.now_ms()) => Err("the fence is stale".to_owned()),
                Ok(()) => propose(&world, id, proposal).await,
            };
            world.after(0, move |simulation| {
                simulation.in_process(id, move |simulation| simulation.answered(id, &answer));
            });
        });
    }

    fn answered(&mut self, id: ProcessId, answer: &Result<(), String>) {
        let (now, jitter) = self.now_and_jitter();
        let head = self.metadata.head();
        if let Some(process) = self.processes.get_mut(&id) {
            if !process.is_deposed {
                process.head = head;
            }
            let refused = answer.as_ref().err().map(String::as_str);
            process.partition.committed(refused, now, jitter);
        }
    }

    /// A proposal has reached the metadata.
    fn commit(&mut self, id: ProcessId, proposal: &Proposal) -> Result<(), String> {
        let before = self.metadata.head();
        let epoch = self.metadata.epoch();
        let result = self.metadata.commit(proposal);
        self.world
            .trace(format_args!("{id} proposes {proposal:?}: {result:?}"));
        if result.is_err() {
            self.world.struck(Fault::HeadRefused);
            return result;
        }
        let now_ms = self.world.now_ms();
        let limit = self
            .leader
            .and_then(|leader| self.processes.get(&leader))
            .map(|process| {
                process
                    .replica
                    .high_watermark()
                    .min(process.replica.log().synced_end())
            });
        let checked = self
            .check
            .committed(&self.bucket, proposal, before, epoch, limit, now_ms);
        self.expect(checked);
        if let Some(leader) = self.leader {
            let (end, eager) = (proposal.head.end, self.settings.eager);
            let delay_ms = self.world.draw(|rng| rng.below(100));
            self.later(leader, delay_ms, move |simulation| {
                // First the readers': what goes locally is looked for there.
                let head = simulation.metadata.head();
                if let Some(process) = simulation.processes.get_mut(&leader)
                    && !process.is_deposed
                {
                    process.head = head;
                }
                simulation.turn(leader, vec![Input::Tiered { end, eager }]);
            });
        }
        result
    }
}

/// Sends a head to the metadata and waits for the answer.
async fn propose(world: &World, id: ProcessId, proposal: Proposal) -> Result<(), String> {
    let chance = world.weather().head_lost / 3;
    let there_ms = world.draw(|rng| rng.within(1, 300));
    let lost = if world.strikes(Fault::HeadAnswerLost, chance) {
        Some(Some(there_ms))
    } else if world.strikes(Fault::HeadLate, chance) {
        Some(Some(there_ms + world.draw(|rng| rng.within(5_000, 40_000))))
    } else if world.strikes(Fault::HeadLost, chance) {
        Some(None)
    } else {
        None
    };
    let Some(arrives) = lost else {
        return world
            .ask(there_ms, move |simulation| simulation.commit(id, &proposal))
            .await;
    };
    if let Some(there_ms) = arrives {
        world.after(there_ms, move |simulation| {
            let _ = simulation.commit(id, &proposal);
        });
    }
    world.sleep(world.draw(|rng| rng.within(500, 5_000))).await;
    Err("no answer".to_owned())
}

/// A local segment, as the shell reads it for an upload.
struct Source {
    world: World,
    process: ProcessId,
    view: LogView,
    base: Offset,
    end: Offset,
}

#[async_trait]
impl SegmentSource for Source {
    async fn context(&mut self) -> Result<SegmentContext, LogError> {
        let (process, base, end) = (self.process, self.base, self.end);
        let delay_ms = self.world.draw(|rng| rng.below(20));
        self.world
            .ask(delay_ms, move |simulation| {
                let process = simulation.processes.get(&process);
                let process = process.ok_or(LogError::Failed)?;
                process.replica.log().segment_context(base, end)
            })
            .await
    }

    async fn read(&mut self, from: Offset) -> Result<ReadSlice, LogError> {
        let delay_ms = self.world.draw(|rng| rng.below(20));
        self.world.sleep(delay_ms).await;
        self.view.read_sealed(from, self.end, PIECE_BYTES)
    }
}
