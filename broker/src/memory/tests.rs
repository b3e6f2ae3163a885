use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{LimitSource, MemoryLimit, MemorySplit, Needs};
use crate::limits::{GIB, MIB};

/// A made `/` with 8 GiB of memory and these files.
fn machine(files: &[(&str, &str)]) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    let meminfo = (
        "proc/meminfo",
        "MemTotal:        8388608 kB\nMemFree:  1 kB\n",
    );
    for (path, text) in files.iter().chain([&meminfo]) {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    root
}

fn check_limit(files: &[(&str, &str)], bytes: u64, file: Option<&str>) {
    let root = machine(files);
    let limit = MemoryLimit::detect(root.path()).unwrap();
    let source = match file {
        Some(file) => LimitSource::Cgroup(root.path().join(file)),
        None => LimitSource::HalfOfMachine,
    };
    assert_eq!(limit, MemoryLimit { bytes, source });
}

const V2_MOUNT: (&str, &str) = (
    "proc/self/mountinfo",
    "29 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n",
);
const V1_MOUNTS: (&str, &str) = (
    "proc/self/mountinfo",
    "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
     32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
     35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
     41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
);

#[test]
fn a_v2_limit_in_a_container_is_at_the_mount_point() {
    let own = ("proc/self/cgroup", "0::/\n");
    let max = ("sys/fs/cgroup/memory.max", "536870912\n");
    check_limit(&[V2_MOUNT, own, max], 512 * MIB, Some(max.0));
}

#[test]
fn a_v2_group_outside_of_the_namespace_falls_back_to_the_mount_point() {
    let own = ("proc/self/cgroup", "0::/../other\n");
    let max = ("sys/fs/cgroup/memory.max", "536870912\n");
    check_limit(&[V2_MOUNT, own, max], 512 * MIB, Some(max.0));
}

#[test]
fn the_tightest_limit_of_all_ancestors_counts() {
    let own = ("proc/self/cgroup", "0::/kubepods/pod1/main\n");
    let outer = ("sys/fs/cgroup/kubepods/memory.max", "1073741824\n");
    let middle = ("sys/fs/cgroup/kubepods/pod1/memory.max", "268435456\n");
    let inner = ("sys/fs/cgroup/kubepods/pod1/main/memory.max", "max\n");
    check_limit(
        &[V2_MOUNT, own, outer, middle, inner],
        256 * MIB,
        Some(middle.0),
    );
}

#[test]
fn a_v1_limit_is_found_beside_an_empty_v2_hierarchy() {
    let own = (
        "proc/self/cgroup",
        "5:cpu,cpuacct:/x\n4:memory:/box/1\n0::/\n",
    );
    let max = (
        "sys/fs/cgroup/memory/box/1/memory.limit_in_bytes",
        "1073741824\n",
    );
    let outer = (
        "sys/fs/cgroup/memory/memory.limit_in_bytes",
        "9223372036854771712\n",
    );
    check_limit(&[V1_MOUNTS, own, max, outer], GIB, Some(max.0));
}

#[test]
fn a_v1_mount_of_the_own_group_is_not_entered_twice() {
    let mounts = (
        "proc/self/mountinfo",
        "35 31 0:32 /docker/ab /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n",
    );
    let own = ("proc/self/cgroup", "4:memory:/docker/ab\n");
    let max = ("sys/fs/cgroup/memory/memory.limit_in_bytes", "1073741824\n");
    check_limit(&[mounts, own, max], GIB, Some(max.0));
}

#[test]
fn without_a_limit_half_of_the_machine_counts() {
    check_limit(&[], 4 * GIB, None);
    let own = ("proc/self/cgroup", "0::/\n");
    check_limit(
        &[V2_MOUNT, own, ("sys/fs/cgroup/memory.max", "max\n")],
        4 * GIB,
        None,
    );
    check_limit(
        &[V2_MOUNT, own, ("sys/fs/cgroup/memory.max", "damaged")],
        4 * GIB,
        None,
    );
    let unlimited = (
        "sys/fs/cgroup/memory/memory.limit_in_bytes",
        "9223372036854771712\n",
    );
    check_limit(
        &[V1_MOUNTS, ("proc/self/cgroup", "4:memory:/\n"), unlimited],
        4 * GIB,
        None,
    );
}

#[test]
fn a_machine_without_meminfo_is_an_error() {
    let root = tempfile::tempdir().unwrap();
    assert!(MemoryLimit::detect(root.path()).is_err());
}

#[test]
fn this_machine_has_a_limit() {
    let limit = MemoryLimit::detect(Path::new("/")).unwrap();
    assert!(limit.bytes > 16 * MIB, "{limit:?}");
}

const DEFAULTS: Needs = Needs {
    partitions_max: 10_000,
    connections_max: 2_000,
    message_bytes_max: MIB,
    fetch_bytes_max: 16 * MIB,
    tier_cache_bytes: 0,
    tier_uploads: 0,
};

fn limit(bytes: u64) -> MemoryLimit {
    MemoryLimit {
        bytes,
        source: LimitSource::Cgroup(PathBuf::from("/cg/memory.max")),
    }
}

/// Limit, then produce, fetch and unassigned in whole MiB.
fn check_split(limit_mib: u64, expected: (u64, u64, u64)) {
    let split = MemorySplit::divide(&limit(limit_mib * MIB), &DEFAULTS).unwrap();
    let sum: u64 = split.parts().iter().map(|(_, bytes)| bytes).sum();
    assert_eq!(
        sum, split.limit.bytes,
        "the parts of {limit_mib} MiB add up"
    );
    assert_eq!(split.partitions_bytes, 10_000 * 8192);
    let found = (
        split.produce_bytes,
        split.fetch_bytes,
        split.unassigned_bytes,
    );
    assert_eq!(
        (found.0 / MIB, found.1 / MIB, found.2 / MIB),
        expected,
        "of {limit_mib} MiB"
    );
}

#[test]
fn what_the_minima_leave_is_shared() {
    check_split(221, (16, 32, 0));
    check_split(256, (26, 42, 14));
    check_split(512, (103, 119, 116));
    check_split(1024, (257, 273, 321));
    check_split(16 * 1024, (4865, 4881, 6465));
}

#[test]
fn large_batches_and_fetches_raise_the_minima() {
    let needs = Needs {
        message_bytes_max: 8 * MIB,
        fetch_bytes_max: 64 * MIB,
        ..DEFAULTS
    };
    let least = MemorySplit::divide(&limit(0), &needs)
        .unwrap_err()
        .minimum_bytes;
    let split = MemorySplit::divide(&limit(least), &needs).unwrap();
    assert_eq!(
        (split.produce_bytes, split.fetch_bytes),
        (32 * MIB, 128 * MIB)
    );
    assert_eq!(split.unassigned_bytes, 0);
}

#[test]
fn a_tier_takes_its_cache_and_its_uploads_off_what_is_shared() {
    let needs = Needs {
        tier_cache_bytes: 16 * MIB,
        tier_uploads: 2,
        ..DEFAULTS
    };
    let without = MemorySplit::divide(&limit(512 * MIB), &DEFAULTS).unwrap();
    let with = MemorySplit::divide(&limit(512 * MIB), &needs).unwrap();
    assert_eq!(with.tier_bytes, 48 * MIB);
    assert!(with.unassigned_bytes < without.unassigned_bytes);
}

#[test]
fn one_byte_below_the_minimum_is_refused_by_name() {
    let least = MemorySplit::divide(&limit(0), &DEFAULTS)
        .unwrap_err()
        .minimum_bytes;
    assert!(MemorySplit::divide(&limit(least), &DEFAULTS).is_ok());
    let refused = MemorySplit::divide(&limit(128 * MIB), &DEFAULTS).unwrap_err();
    assert_eq!(refused.minimum_bytes, least);
    assert_eq!(
        refused.to_string(),
        "the memory limit of 128 MiB (/cg/memory.max) is too small: these settings need at least \
         221 MiB (32 MiB for the process, 79 MiB for limits.partitions_max, 63 MiB for \
         limits.connections_max, 48 MiB for batches in flight, 0 MiB for the tier). Raise the limit, \
         or lower limits.partitions_max, limits.connections_max, topics.message_bytes_max, \
         limits.fetch_bytes_max, tier.cache_bytes or tier.upload_concurrency"
    );
}
