//! What partitions that nobody uses cost.

use std::time::Instant;

use headwater_e2e::{Broker, headwater};

const PARTITIONS: usize = 10_000;

/// The section about many partitions.
pub(crate) fn measure() -> String {
    let mut broker = Broker::start();
    let idle = broker.resident_bytes();
    let arguments = [
        "topic",
        "create",
        "many",
        "--partitions",
        &PARTITIONS.to_string(),
    ];
    let output = headwater(&broker.endpoint(), &arguments);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let created = broker.resident_bytes();
    let descriptors = broker.descriptors();
    let stopping = Instant::now();
    broker.stop();
    let stopped_in = stopping.elapsed();
    broker.restart();
    let (after_stop, restarted) = (broker.started_in(), broker.resident_bytes());
    broker.kill();
    broker.restart();
    let after_kill = broker.started_in();

    let each = |bytes: u64| bytes.saturating_sub(idle) / PARTITIONS as u64;
    format!(
        "### Ten thousand partitions\n\nEmpty ones, on one broker. Goals: 8 KiB of memory each, \
         bounded descriptors, a restart in\n2 s; 40 MB of memory for a broker without any.\n\n\
         | | |\n|---|---|\n\
         | memory without any | {:.1} MiB |\n\
         | memory each, after creation | {} bytes |\n\
         | memory each, after a restart | {} bytes |\n\
         | descriptors | {descriptors} |\n\
         | stop | {:.2} s |\n\
         | restart after a stop | {:.2} s |\n\
         | restart after a kill | {:.2} s |\n",
        idle as f64 / f64::from(1 << 20),
        each(created),
        each(restarted),
        stopped_in.as_secs_f64(),
        after_stop.as_secs_f64(),
        after_kill.as_secs_f64(),
    )
}
