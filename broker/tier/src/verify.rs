//! Looking after what is in the tier: does every object that a head names exist, and is it what it was.

use std::ops::Range;

use headwater_log::PartitionKey;
use headwater_record::Offset;

use crate::error::TierError;
use crate::manifest::{Entry, Head};
use crate::store::StoreErrorKind;
use crate::tier::Tier;

/// How thoroughly to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Existence and length: one small request for each object.
    Length,
    /// All bytes are read and held against their checksums.
    Checksum,
}

/// An object that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Its key.
    pub object: String,
    /// Records that cannot be read for it.
    pub range: Range<Offset>,
    /// What kind of trouble.
    pub kind: ProblemKind,
    /// In words.
    pub detail: String,
}

/// Kinds of trouble with an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProblemKind {
    /// It is not there.
    Missing,
    /// It has another length.
    Length,
    /// It has other bytes.
    Checksum,
    /// The store did not let us look.
    Unreadable,
}

impl Problem {
    /// What an error says of the records in `range`.
    pub fn of(error: &TierError, range: Range<Offset>) -> Problem {
        problem(error, range)
    }
}

impl Tier {
    /// The entries of a head, or the one problem that keeps them from being known.
    pub async fn entries_to_verify(
        &self,
        key: PartitionKey,
        head: Head,
    ) -> Result<Vec<Entry>, Problem> {
        let lost = |error: TierError| problem(&error, head.start..head.end);
        // What is in memory would hide what is not in the store any more.
        self.forget_manifest(key, head.number);
        let manifest = self.manifest(key, head.number).await.map_err(lost)?;
        for page in &manifest.pages {
            self.forget_page(page);
        }
        self.entries(&manifest).await.map_err(lost)
    }

    /// Looks at one object. Past the cache.
    pub async fn verify_entry(
        &self,
        key: PartitionKey,
        entry: &Entry,
        depth: Depth,
    ) -> Option<Problem> {
        let object = entry.object_key(key);
        let range = entry.start..entry.end;
        let found = |kind, detail: String| {
            Some(Problem {
                object: object.clone(),
                range: range.clone(),
                kind,
                detail,
            })
        };
        match self.store().stat(&object).await {
            Err(error) if error.kind == StoreErrorKind::NotFound => {
                return found(ProblemKind::Missing, "the object is not there".to_owned());
            }
            Err(error) => return found(ProblemKind::Unreadable, error.to_string()),
            Ok(meta) if meta.size_bytes != entry.object_bytes() => {
                let (got, expected) = (meta.size_bytes, entry.object_bytes());
                return found(
                    ProblemKind::Length,
                    format!("{got} bytes instead of {expected}"),
                );
            }
            Ok(_) => {}
        }
        if depth == Depth::Length {
            return None;
        }
        match self.verify_object(key, entry).await {
            Ok(()) => None,
            Err(error) => {
                let Problem { kind, detail, .. } = problem(&error, range.clone());
                found(kind, detail)
            }
        }
    }
}

fn problem(error: &TierError, range: Range<Offset>) -> Problem {
    let (object, kind) = match error {
        TierError::Unverified { object, .. } => (object.clone(), ProblemKind::Checksum),
        TierError::Damaged { object, detail } if detail == "is missing" => {
            (object.clone(), ProblemKind::Missing)
        }
        TierError::Damaged { object, .. } | TierError::DataLoss { object, .. } => {
            (object.clone(), ProblemKind::Checksum)
        }
        TierError::Store(store) => (store.key.clone(), ProblemKind::Unreadable),
        _ => (String::new(), ProblemKind::Unreadable),
    };
    Problem {
        object,
        range,
        kind,
        detail: error.to_string(),
    }
}
