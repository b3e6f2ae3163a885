//! From topics and positions to partitions and offsets. The client keeps offsets from the first
//! moment on, so that a connection which breaks before the first record goes on at the same place.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::partition::Reading;
use crate::admin::Admin;
use crate::error::Error;
use crate::record::Position;
use crate::types::PartitionOffset;

/// Name and partitions of a topic.
#[derive(Clone, Debug)]
pub(super) struct Topic {
    /// As the application names it.
    pub(super) name: Arc<str>,
    /// As the broker names it: `namespace/name`.
    pub(super) full_name: Arc<str>,
    pub(super) partitions: u32,
}

/// Looks a topic up.
pub(super) async fn topic(admin: &Admin, name: &str) -> Result<Topic, Error> {
    let metadata = admin.metadata(&[name]).await?;
    let Some(found) = metadata.topics.first() else {
        return Err(Error::NoSuchTopic {
            topic: name.to_owned(),
        });
    };
    Ok(Topic {
        name: name.into(),
        full_name: found.name.as_str().into(),
        partitions: u32::try_from(found.partitions.len()).unwrap_or(u32::MAX),
    })
}

/// Begins to read partitions of a topic, each at its position, until the present high watermark
/// if asked to.
pub(super) async fn readings(
    admin: &Admin,
    topic: &Topic,
    starts: &BTreeMap<u32, Position>,
    until_latest: bool,
) -> Result<Vec<Reading>, Error> {
    if let Some((partition, _)) = starts.range(topic.partitions..).next() {
        return Err(Error::NoSuchPartition {
            topic: topic.name.to_string(),
            partition: *partition,
            partitions: topic.partitions,
        });
    }
    let questions: Vec<_> = starts
        .iter()
        .map(|(it, position)| (*it, *position))
        .collect();
    let positions = offsets(admin, &topic.name, &questions).await?;
    let ends = match until_latest {
        true => {
            let questions: Vec<_> = starts.keys().map(|it| (*it, Position::Latest)).collect();
            offsets(admin, &topic.name, &questions)
                .await?
                .into_iter()
                .map(Some)
                .collect()
        }
        false => vec![None; positions.len()],
    };
    let places = starts.keys().zip(positions).zip(ends);
    let readings = places.map(|((partition, position), until)| Reading {
        topic: Arc::clone(&topic.name),
        full_name: Arc::clone(&topic.full_name),
        partition: *partition,
        position,
        until,
        log_start_offset: None,
        high_watermark: None,
        stopped: None,
    });
    Ok(readings.collect())
}

/// Log start offset and high watermark of partitions of one topic.
pub(super) async fn bounds(admin: &Admin, readings: &[Reading]) -> Result<Vec<(u64, u64)>, Error> {
    let [first, ..] = readings else {
        return Ok(Vec::new());
    };
    let all = |position| {
        readings
            .iter()
            .map(move |it| (it.partition, position))
            .collect::<Vec<_>>()
    };
    let log_starts = offsets(admin, &first.full_name, &all(Position::Earliest)).await?;
    let high_watermarks = offsets(admin, &first.full_name, &all(Position::Latest)).await?;
    Ok(log_starts.into_iter().zip(high_watermarks).collect())
}

/// Turns positions into offsets. One that is an offset already is not checked: it may become
/// readable, and reading says if not.
async fn offsets(
    admin: &Admin,
    topic: &str,
    questions: &[(u32, Position)],
) -> Result<Vec<u64>, Error> {
    let to_ask: Vec<_> = questions
        .iter()
        .copied()
        .filter(|(_, position)| !matches!(position, Position::Offset(_)))
        .collect();
    let answers = match to_ask.is_empty() {
        true => Vec::new(),
        false => admin.list_offsets(topic, &to_ask).await?,
    };
    let mut answers = answers.into_iter();
    let mut offset_of = |position: &Position| match position {
        Position::Offset(offset) => Ok(*offset),
        _ => answers
            .next()
            .ok_or_else(|| Error::protocol("fewer answers than questions"))
            .and_then(offset),
    };
    questions
        .iter()
        .map(|(_, position)| offset_of(position))
        .collect()
}

fn offset(answer: PartitionOffset) -> Result<u64, Error> {
    match answer.error {
        Some(error) => Err(error.into()),
        None => u64::try_from(answer.offset)
            .map_err(|_| Error::protocol("ListOffsets has answered with a negative offset")),
    }
}
