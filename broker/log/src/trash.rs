//! What becomes of topic directories that are no longer wanted, or that nobody knows.
//!
//! A deleted topic's directory is renamed to `topics/<uuid>.deleted` first, which is durable and quick, and then unlinked
//! in bounded steps; a crash in between is resumed at the next start. A directory that nobody knows is moved to
//! `quarantine/` and never deleted by us: it may be all that is left of somebody's data.

use crate::disk::create_dir_all_synced;
use crate::{Disk, LogEnv, LogError};
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use uuid::Uuid;

pub(crate) const TOPICS_DIR: &str = "topics";
const QUARANTINE_DIR: &str = "quarantine";
const DELETED_SUFFIX: &str = ".deleted";

/// What the metadata say of a topic whose directory is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicFate {
    /// The topic exists.
    Keep,
    /// There is a tombstone.
    Delete,
    /// Neither.
    Unknown,
}

/// What a step of deletion has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrashStep {
    /// The topic of which nothing is left, durably.
    pub finished: Option<Uuid>,
    /// Whether there is work for another step.
    pub more: bool,
}

/// Deleted topics whose files are not all gone yet.
pub struct Trash {
    env: LogEnv,
    /// Topics whose directory has been renamed.
    deleted: VecDeque<Uuid>,
}

impl Trash {
    /// Looks at the topic directories at start: resumes deletions, deletes what has a tombstone, and quarantines what
    /// nobody knows. Returns the names that were quarantined now. To be called before any log is opened.
    pub fn open(
        env: LogEnv,
        fate: impl Fn(Uuid) -> TopicFate,
    ) -> Result<(Trash, Vec<String>), LogError> {
        let topics = Path::new(TOPICS_DIR);
        create_dir_all_synced(&*env.disk, topics).map_err(failed("create", topics))?;
        let mut trash = Trash {
            env,
            deleted: VecDeque::new(),
        };
        let mut quarantined = Vec::new();
        let names = trash
            .env
            .disk
            .list(topics)
            .map_err(failed("list", topics))?;
        for (name, is_dir) in names {
            match Entry::parse(&name).filter(|_| is_dir) {
                Some(Entry::Deleted(topic)) => trash.deleted.push_back(topic),
                Some(Entry::Topic(topic)) => match fate(topic) {
                    TopicFate::Keep => {}
                    TopicFate::Delete => trash.delete(topic)?,
                    TopicFate::Unknown => quarantined.push(name),
                },
                None => quarantined.push(name),
            }
        }
        quarantined
            .iter()
            .try_for_each(|name| trash.quarantine(name))?;
        Ok((trash, quarantined))
    }

    /// Takes a topic's directory out of use, durably; no log of it may be open any more. Its files go by `step`. A
    /// topic without a directory is no error, so that a deletion can be asked for twice.
    pub fn delete(&mut self, topic: Uuid) -> Result<(), LogError> {
        let (dir, deleted) = (topic_dir(topic), deleted_dir(topic));
        self.env.files.forget_dir(&dir);
        let disk = &*self.env.disk;
        if disk.exists(&dir).map_err(failed("look at", &dir))? {
            disk.rename(&dir, &deleted)
                .map_err(failed("rename", &dir))?;
        }
        let topics = Path::new(TOPICS_DIR);
        disk.sync_dir(topics).map_err(failed("sync", topics))?;
        if !self.deleted.contains(&topic) {
            self.deleted.push_back(topic);
        }
        Ok(())
    }

    /// Unlinks at most `files_max` (at least 1) files and directories of one topic, then its sync marks. Blocking.
    pub fn step(&mut self, files_max: usize) -> Result<TrashStep, LogError> {
        assert!(files_max > 0, "a step does something");
        let Some(topic) = self.deleted.front().copied() else {
            return Ok(TrashStep::default());
        };
        let dir = deleted_dir(topic);
        let disk = &*self.env.disk;
        let is_there = disk.exists(&dir).map_err(failed("look at", &dir))?;
        if is_there && !empty_dir(disk, &dir, &mut { files_max })? {
            return Ok(TrashStep {
                finished: None,
                more: true,
            });
        }
        // The marks go while the directory's name is still there to remind us of them.
        self.env.marks.remove_topic(topic)?;
        if is_there {
            disk.remove_dir(&dir).map_err(failed("remove", &dir))?;
        }
        let topics = Path::new(TOPICS_DIR);
        disk.sync_dir(topics).map_err(failed("sync", topics))?;
        self.deleted.pop_front();
        Ok(TrashStep {
            finished: Some(topic),
            more: !self.deleted.is_empty(),
        })
    }

    /// Moves an entry of the topics directory out of the way. Its sync marks stay, for the day it is moved back.
    fn quarantine(&self, name: &str) -> Result<(), LogError> {
        let (from, quarantine) = (Path::new(TOPICS_DIR).join(name), Path::new(QUARANTINE_DIR));
        let disk = &*self.env.disk;
        create_dir_all_synced(disk, quarantine).map_err(failed("create", quarantine))?;
        let mut to = quarantine.join(name);
        let mut number = 1;
        while disk.exists(&to).map_err(failed("look at", &to))? {
            number += 1;
            to = quarantine.join(format!("{name}.{number}"));
        }
        disk.rename(&from, &to).map_err(failed("rename", &from))?;
        // The new name first: a crash in between may leave both, never neither.
        for dir in [quarantine, Path::new(TOPICS_DIR)] {
            disk.sync_dir(dir).map_err(failed("sync", dir))?;
        }
        Ok(())
    }
}

/// Everything in quarantine, by name: for the health report.
pub fn quarantined(disk: &dyn Disk) -> Result<Vec<String>, LogError> {
    let dir = Path::new(QUARANTINE_DIR);
    match disk.list(dir) {
        Ok(entries) => Ok(entries.into_iter().map(|(name, _)| name).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(failed("list", dir)(error)),
    }
}

/// A name in the topics directory that is one of ours.
enum Entry {
    Topic(Uuid),
    Deleted(Uuid),
}

impl Entry {
    fn parse(name: &str) -> Option<Entry> {
        let (uuid, entry): (&str, fn(Uuid) -> Entry) = match name.strip_suffix(DELETED_SUFFIX) {
            Some(uuid) => (uuid, Entry::Deleted),
            None => (name, Entry::Topic),
        };
        let topic = Uuid::try_parse(uuid).ok()?;
        // Only the form that we write: others would name another directory.
        (topic.to_string() == uuid).then(|| entry(topic))
    }
}

fn topic_dir(topic: Uuid) -> PathBuf {
    Path::new(TOPICS_DIR).join(topic.to_string())
}

fn deleted_dir(topic: Uuid) -> PathBuf {
    Path::new(TOPICS_DIR).join(format!("{topic}{DELETED_SUFFIX}"))
}

/// Unlinks what a directory holds, taking each removal from the budget; whether it is empty now.
fn empty_dir(disk: &dyn Disk, dir: &Path, budget: &mut usize) -> Result<bool, LogError> {
    for (name, is_dir) in disk.list(dir).map_err(failed("list", dir))? {
        let path = dir.join(name);
        if is_dir && !empty_dir(disk, &path, budget)? {
            return Ok(false);
        }
        let Some(left) = budget.checked_sub(1) else {
            return Ok(false);
        };
        *budget = left;
        let removed = if is_dir {
            disk.remove_dir(&path)
        } else {
            disk.remove_file(&path)
        };
        removed.map_err(failed("remove", &path))?;
    }
    Ok(true)
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LogError {
    move |source| LogError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::{SimDisk, Survival};
    use crate::{FileCache, Journal, JournalLimits, MarkState, MarkStore, PartitionKey};
    use headwater_record::Offset;
    use std::sync::Arc;

    const KEPT: Uuid = Uuid::from_u128(1);
    const GONE: Uuid = Uuid::from_u128(2);
    const STRANGE: Uuid = Uuid::from_u128(3);

    fn fate(topic: Uuid) -> TopicFate {
        [TopicFate::Keep, TopicFate::Delete, TopicFate::Unknown][topic.as_u128() as usize - 1]
    }

    fn key(topic: Uuid, index: u32) -> PartitionKey {
        PartitionKey { topic, index }
    }

    fn env(disk: &SimDisk) -> LogEnv {
        let disk = Arc::new(disk.clone());
        let marks = Arc::new(MarkStore::open(disk.clone(), 2).unwrap());
        let (journal, _) = Journal::open(disk.clone(), &marks, 2, JournalLimits::SMALL, 1).unwrap();
        LogEnv {
            disk,
            marks,
            journal: Arc::new(journal),
            files: Arc::new(FileCache::new(10)),
        }
    }

    /// Three topics of two partitions with three files each, and their marks.
    fn setup() -> SimDisk {
        let disk = SimDisk::new(1);
        let marks = env(&disk).marks;
        for topic in [KEPT, GONE, STRANGE] {
            for index in 0..2 {
                for file in ["a.log", "a.index", "epochs"] {
                    disk.put(
                        &topic_dir(topic).join(index.to_string()).join(file),
                        b"bytes",
                    );
                }
                marks.lower(key(topic, index), Offset::new(9)).unwrap();
            }
        }
        disk
    }

    fn files_below(disk: &SimDisk, dir: &Path) -> usize {
        disk.files()
            .iter()
            .filter(|(path, _)| path.starts_with(dir))
            .count()
    }

    fn finish(trash: &mut Trash, files_max: usize) -> (Vec<Uuid>, usize) {
        let (mut finished, mut steps) = (Vec::new(), 0);
        loop {
            let step = trash.step(files_max).unwrap();
            finished.extend(step.finished);
            steps += 1;
            if !step.more {
                return (finished, steps);
            }
        }
    }

    /// What must hold after a start has gone through, whenever the power was lost before.
    fn check(disk: &SimDisk, context: &str) {
        let kept = files_below(disk, &topic_dir(KEPT));
        assert_eq!(kept, 6, "{context}: the kept topic is whole");
        assert!(!disk.exists(&topic_dir(GONE)).unwrap(), "{context}");
        assert!(!disk.exists(&deleted_dir(GONE)).unwrap(), "{context}");
        assert!(!disk.exists(&topic_dir(STRANGE)).unwrap(), "{context}");
        assert_eq!(
            quarantined(disk).unwrap(),
            [STRANGE.to_string()],
            "{context}"
        );
        assert_eq!(files_below(disk, Path::new(QUARANTINE_DIR)), 6, "{context}");
        let marks = env(disk).marks;
        let valid = MarkState::Valid {
            synced_end: Offset::new(9),
        };
        for index in 0..2 {
            assert_eq!(marks.get(key(KEPT, index)), valid, "{context}");
            assert_eq!(
                marks.get(key(STRANGE, index)),
                valid,
                "{context}: quarantine keeps marks"
            );
            assert_eq!(marks.get(key(GONE, index)), MarkState::Absent, "{context}");
        }
    }

    #[test]
    fn at_start_tombstones_are_carried_out_and_strangers_put_in_quarantine() {
        let disk = setup();
        let (mut trash, quarantined) = Trash::open(env(&disk), fate).unwrap();
        assert_eq!(quarantined, [STRANGE.to_string()]);
        assert_eq!(files_below(&disk, &deleted_dir(GONE)), 6);
        let (finished, _) = finish(&mut trash, 100);
        assert_eq!(finished, [GONE]);
        assert_eq!(trash.step(1).unwrap(), TrashStep::default());
        check(&disk.crash(Survival::Nothing), "after all");
    }

    #[test]
    fn a_step_unlinks_no_more_than_asked() {
        let disk = setup();
        let (mut trash, _) = Trash::open(env(&disk), fate).unwrap();
        let mut left = 6;
        while trash.step(2).unwrap().more {
            let now = files_below(&disk, &deleted_dir(GONE));
            assert!(now + 2 >= left);
            left = now;
        }
        let (mut trash, _) = Trash::open(env(&setup()), fate).unwrap();
        // Six files and two partition directories.
        assert_eq!(finish(&mut trash, 1), (vec![GONE], 8));
    }

    #[test]
    fn power_loss_at_any_moment_neither_stops_a_deletion_nor_loses_a_quarantined_topic() {
        let disk = setup();
        let disk = disk.crash(Survival::Everything);
        disk.keep_images();
        let (mut trash, _) = Trash::open(env(&disk), fate).unwrap();
        finish(&mut trash, 2);
        let images = disk.take_images();
        assert!(images.len() > 30, "{} images", images.len());
        for (place, image) in images.iter().enumerate() {
            for seed in 0..20 {
                let crashed = image.crash(Survival::Seeded(seed));
                let (mut trash, _) = Trash::open(env(&crashed), fate).unwrap();
                finish(&mut trash, 3);
                check(&crashed, &format!("image {place}, seed {seed}"));
            }
        }
    }

    #[test]
    fn a_deletion_that_was_confirmed_stays_done() {
        let disk = setup();
        let (mut trash, _) = Trash::open(env(&disk), |_| TopicFate::Keep).unwrap();
        trash.delete(GONE).unwrap();
        trash.delete(GONE).unwrap();
        for seed in 0..50 {
            let crashed = disk.crash(Survival::Seeded(seed));
            assert!(
                !crashed.exists(&topic_dir(GONE)).unwrap(),
                "seed {seed}: renamed for good"
            );
        }
        assert_eq!(finish(&mut trash, 100).0, [GONE]);
        for seed in 0..50 {
            let crashed = disk.crash(Survival::Seeded(seed));
            assert!(
                !crashed.exists(&deleted_dir(GONE)).unwrap(),
                "seed {seed}: gone for good"
            );
        }
        trash.delete(GONE).unwrap();
        assert_eq!(
            finish(&mut trash, 100).0,
            [GONE],
            "a topic without a directory is confirmed too"
        );
    }

    #[test]
    fn an_open_file_of_a_deleted_topic_stays_readable() {
        let disk = setup();
        let env = env(&disk);
        let path = topic_dir(GONE).join("0/a.log");
        let file = env.files.get(&*env.disk, &path).unwrap();
        let (mut trash, _) = Trash::open(env.clone(), fate).unwrap();
        finish(&mut trash, 100);
        let mut bytes = [0; 5];
        file.read_at(&mut bytes, 0).unwrap();
        assert_eq!(&bytes, b"bytes");
        assert_eq!(env.files.open_files(), 0);
    }

    #[test]
    fn what_is_not_a_topic_directory_is_quarantined_under_a_name_of_its_own() {
        let disk = setup();
        let upper = format!("{:X}", Uuid::from_u128(0xabc).hyphenated());
        for name in ["note", upper.as_str(), "x.deleted"] {
            disk.put(&Path::new(TOPICS_DIR).join(name), b"?");
        }
        disk.put(&Path::new(QUARANTINE_DIR).join("note"), b"an earlier one");
        let (_, moved) = Trash::open(env(&disk), |_| TopicFate::Keep).unwrap();
        assert_eq!(moved, [upper.as_str(), "note", "x.deleted"]);
        let disk = disk.crash(Survival::Nothing);
        assert_eq!(
            disk.list(Path::new(TOPICS_DIR)).unwrap().len(),
            3,
            "moved for good"
        );
        let quarantined = quarantined(&disk).unwrap();
        assert_eq!(quarantined, [upper.as_str(), "note", "note.2", "x.deleted"]);
        assert_eq!(
            disk.read(Path::new("quarantine/note")).unwrap(),
            b"an earlier one"
        );
    }
}
