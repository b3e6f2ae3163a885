//! `headwater topic delete` and `delete-records`: what cannot be undone.

use serde::Serialize;

use crate::failure::{Exit, Failure, Outcome};
use crate::output::{Answer, OutputArgs, columns, print};
use crate::session::Session;
use crate::units::show_many;

/// Delete topics and their records; there is no way back
#[derive(Debug, clap::Args)]
pub(crate) struct TopicArgs {
    /// `name` or `namespace/name`; several may be given
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

/// Delete the oldest records; there is no way back
#[derive(Debug, clap::Args)]
pub(crate) struct RecordArgs {
    /// `name` or `namespace/name`
    topic: String,
    /// Only these partitions
    #[arg(short, long = "partition", value_name = "N")]
    partitions: Vec<u32>,
    /// Delete everything below this offset, or `end` for all that is there
    #[arg(long, value_name = "OFFSET|end", value_parser = before)]
    before: Before,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// Where the log shall start; `None` is the high watermark.
#[derive(Clone, Copy, Debug)]
struct Before(Option<u64>);

fn before(text: &str) -> Result<Before, String> {
    match text {
        "end" => Ok(Before(None)),
        _ => text
            .parse()
            .map(|offset| Before(Some(offset)))
            .map_err(|_| {
                format!("{text:?} is no offset; write a number, or end for all that is there")
            }),
    }
}

/// Deletes topics, all that can be.
pub(super) async fn topics(args: TopicArgs, session: &Session) -> Outcome {
    let (admin, target) = session.admin("delete topics").await?;
    let (mut found, mut described) = (Vec::new(), Vec::new());
    for topic in &args.topics {
        let topic = super::get(&admin, &target.topic(topic)).await?;
        let partitions = admin.list_partitions(&topic.name).await;
        let partitions = partitions.map_err(|error| super::failed("find", &topic.name, &error))?;
        let held = partitions
            .iter()
            .map(|p| p.high_watermark - p.log_start_offset);
        let records = show_many(held.sum::<i64>(), "record");
        described.push(format!("{} with {records}", topic.name));
        found.push(topic);
    }
    let question = format!("delete {}, for good?", described.join(", "));
    session.talk.confirm(&question, args.yes)?;
    let mut failures = Vec::new();
    for topic in &found {
        // By id: never one that took the name since the question.
        match admin.delete_topic(&topic.name, Some(&topic.topic_id)).await {
            Ok(()) => session.talk.note(format!("{} deleted", topic.name)),
            Err(error) => failures.push(super::failed("delete", &topic.name, &error)),
        }
    }
    let count = failures.len();
    match failures.into_iter().next() {
        None => Ok(()),
        Some(failure) if count == found.len() => Err(failure),
        Some(failure) => Err(failure.exit(Exit::Partial)),
    }
}

/// Moves log starts forward.
pub(super) async fn records(args: RecordArgs, session: &Session) -> Outcome {
    let (admin, target) = session.admin("delete records").await?;
    let name = target.topic(&args.topic);
    let topic = super::get(&admin, &name).await?;
    let partitions = match args.partitions.is_empty() {
        true => (0..u32::try_from(topic.partitions).unwrap_or(0)).collect(),
        false => args.partitions.clone(),
    };
    let below = match args.before.0 {
        Some(offset) => format!("records below offset {offset}"),
        None => "all records".to_owned(),
    };
    let places = match args.partitions.len() {
        0 => "in every partition".to_owned(),
        _ => format!("in partition {}", join(&args.partitions)),
    };
    session.talk.confirm(
        &format!("delete {below} of {name} {places}, for good?"),
        args.yes,
    )?;
    let request: Vec<_> = partitions.iter().map(|p| (*p, args.before.0)).collect();
    let answers = admin.delete_records(&name, &request).await;
    let answers = answers.map_err(|error| super::failed("delete records of", &name, &error))?;
    let mut done = Vec::new();
    let mut failures = Vec::new();
    for answer in answers {
        match answer.error {
            None => done.push(Deleted {
                partition: answer.partition,
                log_start_offset: answer.log_start_offset,
            }),
            Some(error) => {
                let place = format!("{name}/{}", answer.partition);
                let error = headwater_client::Error::from(error);
                failures.push(Failure::from_client(
                    &format!("delete records of {place}"),
                    &error,
                ));
            }
        }
    }
    let partial = !done.is_empty();
    print(args.output.output, &DeletedList { partitions: done })?;
    match failures.into_iter().next() {
        None => Ok(()),
        Some(failure) if partial => Err(failure.exit(Exit::Partial)),
        Some(failure) => Err(failure),
    }
}

fn join(numbers: &[u32]) -> String {
    numbers
        .iter()
        .map(u32::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

#[derive(Serialize)]
struct DeletedList {
    partitions: Vec<Deleted>,
}

#[derive(Serialize)]
struct Deleted {
    partition: i32,
    log_start_offset: i64,
}

impl Answer for DeletedList {
    fn table(&self) -> String {
        let row = |deleted: &Deleted| {
            vec![
                deleted.partition.to_string(),
                deleted.log_start_offset.to_string(),
            ]
        };
        columns(
            &["partition", "log start"],
            &[0, 1],
            self.partitions.iter().map(row),
        )
    }

    fn names(&self) -> Vec<String> {
        self.partitions
            .iter()
            .map(|deleted| deleted.partition.to_string())
            .collect()
    }
}
