//! What the kernel says of a process, from `/proc`: CPU time and memory. Linux only.

use std::fs;

use anyhow::{Context, Result};

/// User and system CPU time of a living process and its threads so far, in seconds.
pub(crate) fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field is the program's name in parentheses and may itself hold spaces.
    let (_, fields) = stat.rsplit_once(')').context("/proc stat without a name")?;
    let mut fields = fields.split_whitespace();
    let user: f64 = fields
        .nth(11)
        .context("/proc stat without utime")?
        .parse()?;
    let system: f64 = fields.next().context("/proc stat without stime")?.parse()?;
    Ok((user + system) / CLOCK_TICKS_PER_SECOND)
}

/// Resident memory of a living process, in bytes.
pub(crate) fn resident_bytes(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: u64 = line
        .and_then(|line| line.trim().strip_suffix(" kB"))
        .context("/proc status without VmRSS")?
        .parse()?;
    Ok(kib * 1024)
}

/// Linux reports times to programs in this unit on every architecture (`USER_HZ`).
const CLOCK_TICKS_PER_SECOND: f64 = 100.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_shows_as_cpu_time_and_memory() {
        let own = std::process::id();
        let before = cpu_seconds(own).unwrap();
        let mut sum = 0_u64;
        while cpu_seconds(own).unwrap() < before + 0.05 {
            sum = sum.wrapping_add(std::hint::black_box(1));
        }
        assert!(0 < sum);
        assert!((1 << 20) < resident_bytes(own).unwrap());
    }
}
