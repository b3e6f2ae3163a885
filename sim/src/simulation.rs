//! All of a run: what there is, and the loop that lets one event happen after the other.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Context;

use futures::task::{ArcWake, waker};

use crate::bucket::Bucket;
use crate::check::Check;
use crate::metadata::Metadata;
use crate::process::Process;
use crate::settings::Settings;
use crate::world::World;

/// Names a process of the broker. Each start has another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProcessId(pub u64);

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{}", self.0)
    }
}

/// A run. Events change it, one at a time.
pub struct Simulation {
    /// Time, dice, queue.
    pub world: World,
    /// The object store.
    pub bucket: Bucket,
    pub(crate) metadata: Metadata,
    pub(crate) check: Check,
    pub(crate) settings: Settings,
    pub(crate) processes: BTreeMap<ProcessId, Process>,
    /// The process that the metadata takes for the leader, while there is one.
    pub(crate) leader: Option<ProcessId>,
    pub(crate) processes_started: u64,
    /// Chaos has ended.
    pub(crate) is_calm: bool,
    /// Producers have ended as well.
    pub(crate) is_quiet: bool,
    /// The local disk never takes long.
    pub(crate) disk_is_quick: bool,
    tasks: BTreeMap<u64, Task>,
    tasks_started: u64,
    steps: u64,
    failure: Option<String>,
}

struct Task {
    process: ProcessId,
    waker: Arc<TaskWaker>,
    future: Pin<Box<dyn Future<Output = ()> + Send>>,
}

struct TaskWaker {
    task: u64,
    world: World,
    is_queued: AtomicBool,
}

impl ArcWake for TaskWaker {
    fn wake_by_ref(this: &Arc<TaskWaker>) {
        if !this.is_queued.swap(true, Ordering::Relaxed) {
            let task = this.task;
            this.world.after(0, move |simulation| simulation.poll(task));
        }
    }
}

impl Simulation {
    /// Nothing has happened yet.
    pub fn new(seed: u64, keep_trace: bool) -> Simulation {
        let world = World::new(seed, keep_trace);
        let settings = world.draw(Settings::draw);
        let metadata = Metadata::new(&world);
        Simulation {
            check: Check::new(metadata.key(), metadata.cluster(), settings.grace_ms),
            metadata,
            settings,
            bucket: Bucket::default(),
            processes: BTreeMap::new(),
            leader: None,
            processes_started: 0,
            is_calm: false,
            is_quiet: false,
            disk_is_quick: false,
            tasks: BTreeMap::new(),
            tasks_started: 0,
            steps: 0,
            failure: None,
            world,
        }
    }

    /// Lets events happen up to a time, or until something is found that must not be.
    pub fn run_until(&mut self, until_ms: u64) {
        while self.failure.is_none() {
            let Some(event) = self.world.next(until_ms) else {
                break;
            };
            self.steps += 1;
            event(self);
        }
    }

    /// How many events have happened.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// What was found, if anything was.
    pub fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// Something is as it must never be. The first finding counts.
    pub fn fail(&mut self, finding: String) {
        if self.failure.is_none() {
            self.world.trace(format_args!("FOUND {finding}"));
            self.failure = Some(finding);
        }
    }

    /// Takes over what a check found.
    pub(crate) fn expect(&mut self, checked: Result<(), String>) {
        if let Err(finding) = checked {
            self.fail(finding);
        }
    }

    /// Begins a task of a process; it ends with it.
    pub(crate) fn spawn(
        &mut self,
        process: ProcessId,
        future: impl Future<Output = ()> + Send + 'static,
    ) {
        let number = self.tasks_started;
        self.tasks_started += 1;
        let waker = Arc::new(TaskWaker {
            task: number,
            world: self.world.clone(),
            is_queued: AtomicBool::new(false),
        });
        ArcWake::wake_by_ref(&waker);
        let future = Box::pin(future);
        let task = Task {
            process,
            waker,
            future,
        };
        self.tasks.insert(number, task);
    }

    /// Ends a process and everything it was doing; what it has sent is on its way.
    pub(crate) fn end_process(&mut self, process: ProcessId) -> Option<Process> {
        let of_it = |task: &Task| task.process == process;
        let numbers: Vec<u64> = self
            .tasks
            .iter()
            .filter(|(_, task)| of_it(task))
            .map(|(n, _)| *n)
            .collect();
        for number in numbers {
            self.tasks.remove(&number);
        }
        if self.leader == Some(process) {
            self.leader = None;
        }
        self.processes.remove(&process)
    }

    fn poll(&mut self, number: u64) {
        let Some(mut task) = self.tasks.remove(&number) else {
            return;
        };
        if let Some(wait_ms) = self.frozen_for(task.process) {
            self.tasks.insert(number, task);
            self.world
                .after(wait_ms, move |simulation| simulation.poll(number));
            return;
        }
        task.waker.is_queued.store(false, Ordering::Relaxed);
        let waker = waker(Arc::clone(&task.waker));
        let polled = task.future.as_mut().poll(&mut Context::from_waker(&waker));
        if polled.is_pending() {
            self.tasks.insert(number, task);
        }
    }

    fn frozen_for(&self, process: ProcessId) -> Option<u64> {
        let until_ms = self.processes.get(&process)?.frozen_until_ms;
        until_ms
            .checked_sub(self.world.now_ms())
            .filter(|&ms| ms > 0)
    }

    /// Lets something happen in a process: later if it stands still, and not at all if it is gone.
    pub(crate) fn in_process(
        &mut self,
        process: ProcessId,
        event: impl FnOnce(&mut Simulation) + Send + 'static,
    ) {
        if !self.processes.contains_key(&process) {
            return;
        }
        match self.frozen_for(process) {
            None => event(self),
            Some(wait_ms) => self.world.after(wait_ms, move |simulation| {
                simulation.in_process(process, event);
            }),
        }
    }

    /// The same after a delay.
    pub(crate) fn later(
        &self,
        process: ProcessId,
        delay_ms: u64,
        event: impl FnOnce(&mut Simulation) + Send + 'static,
    ) {
        self.world.after(delay_ms, move |simulation| {
            simulation.in_process(process, event);
        });
    }
}
