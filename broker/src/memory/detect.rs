//! Finding the memory limit of this process: control groups v1 and v2, else the machine.

use std::io;
use std::path::{Path, PathBuf};
use std::{fs, io::ErrorKind};

use super::{LimitSource, MemoryLimit};

impl MemoryLimit {
    /// The tightest limit on this process. `root` is `/`, or a made tree in tests.
    ///
    /// Every control group from ours up to the mount point counts, in both hierarchies, for a
    /// limit on an ancestor binds us too. A limit at or above the machine's memory is none.
    ///
    /// # Errors
    /// When `/proc/meminfo` cannot be read or has no `MemTotal`. Control groups that cannot be
    /// read count as absent.
    pub fn detect(root: &Path) -> io::Result<MemoryLimit> {
        let machine_bytes = machine_bytes(root)?;
        let mut tightest = None;
        for file in limit_files(root) {
            let limit = fs::read_to_string(&file)
                .ok()
                .and_then(|text| text.trim().parse().ok());
            match limit {
                Some(bytes) if bytes < tightest.as_ref().map_or(machine_bytes, |&(b, _)| b) => {
                    tightest = Some((bytes, file));
                }
                _ => {}
            }
        }
        Ok(match tightest {
            Some((bytes, file)) => MemoryLimit {
                bytes,
                source: LimitSource::Cgroup(file),
            },
            None => MemoryLimit {
                bytes: machine_bytes / 2,
                source: LimitSource::HalfOfMachine,
            },
        })
    }
}

fn machine_bytes(root: &Path) -> io::Result<u64> {
    let text = fs::read_to_string(root.join("proc/meminfo"))?;
    let kib = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB"))
        .and_then(|number| number.trim().parse::<u64>().ok());
    let missing = || {
        io::Error::new(
            ErrorKind::InvalidData,
            "/proc/meminfo has no MemTotal in kB",
        )
    };
    kib.and_then(|kib| kib.checked_mul(1024))
        .ok_or_else(missing)
}

/// Where a hierarchy with memory limits is mounted.
struct Mount {
    /// `memory.max` (v2) or `memory.limit_in_bytes` (v1).
    limit_name: &'static str,
    /// The group that is seen at the mount point.
    group: String,
    point: String,
}

/// Every file that may hold a limit for us, our own group's first.
fn limit_files(root: &Path) -> Vec<PathBuf> {
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
    let groups = read("proc/self/cgroup");
    let mut files = Vec::new();
    for mount in read("proc/self/mountinfo").lines().filter_map(mount) {
        let Some(group) = groups.lines().find_map(|line| own_group(line, &mount)) else {
            continue;
        };
        // Without a cgroup namespace the group's path begins with what is mounted; with one it may
        // begin with "/..". Then the mount point is the nearest group that we can see.
        let below = Path::new(group)
            .strip_prefix(&mount.group)
            .unwrap_or(Path::new(""));
        let point = root.join(mount.point.trim_start_matches('/'));
        let within = |dir: &&Path| dir.starts_with(&point);
        let own = point.join(below);
        files.extend(
            own.ancestors()
                .take_while(within)
                .map(|dir| dir.join(mount.limit_name)),
        );
    }
    files
}

/// Parses a line of mountinfo: `36 35 98:0 /group /point opts ... - type source superopts`.
fn mount(line: &str) -> Option<Mount> {
    let (place, kind) = line.split_once(" - ")?;
    let mut kind = kind.split(' ');
    let limit_name = match (kind.next()?, kind.next_back()?) {
        ("cgroup2", _) => "memory.max",
        ("cgroup", options) if options.split(',').any(|option| option == "memory") => {
            "memory.limit_in_bytes"
        }
        _ => return None,
    };
    let mut place = place.split(' ').skip(3);
    Some(Mount {
        limit_name,
        group: place.next()?.to_owned(),
        point: place.next()?.to_owned(),
    })
}

/// Our group in the hierarchy of `mount`, from a line of /proc/self/cgroup:
/// `4:memory:/group` (v1) or `0::/group` (v2).
fn own_group<'a>(line: &'a str, mount: &Mount) -> Option<&'a str> {
    let mut fields = line.splitn(3, ':');
    let (number, controllers, group) = (fields.next()?, fields.next()?, fields.next()?);
    let ours = match mount.limit_name {
        "memory.max" => number == "0" && controllers.is_empty(),
        _ => controllers
            .split(',')
            .any(|controller| controller == "memory"),
    };
    ours.then_some(group)
}
