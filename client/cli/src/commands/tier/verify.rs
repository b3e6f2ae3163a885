//! `headwater tier verify`: is what should be in the tier there?

use std::pin::pin;

use futures::{Stream, StreamExt};
use headwater_client::Error;
use headwater_client::types::{
    TierEvent, TierProblem, TierProblemKind, VerifyTierProgress, VerifyTierSummary,
};
use indicatif::ProgressBar;
use serde::Serialize;

use crate::failure::{Failure, Outcome};
use crate::output::{Answer, OutputArgs, columns, print};
use crate::session::Session;
use crate::talk::Talk;
use crate::units::{show_bytes, show_many};

/// Problems that are shown. A bucket that was emptied has as many as there were objects, and they
/// all say the same.
const PROBLEMS_MAX: usize = 1000;

/// Check that what should be in the tier is there and whole; exit code 1 if it is not
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// `name` or `namespace/name`; none means all, of the namespace if one is given with -n
    #[arg(value_name = "TOPIC")]
    topics: Vec<String>,
    /// Only look whether objects are there and as long as they should be; reads no data
    #[arg(long)]
    quick: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs it.
pub(super) async fn run(args: Args, session: &Session) -> Outcome {
    let doing = "check the tier";
    let (admin, target) = session.admin(doing).await?;
    let Some(topics) = super::named(&admin, &target, &args.topics, doing).await? else {
        return super::nothing(session, &target);
    };
    let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
    let events = admin.verify_tier(&topics, !args.quick).await;
    let events = events.map_err(|error| Failure::from_client(doing, &error))?;
    let mut found = Verification::default();
    let outcome = gather(events, &mut found, session.talk).await;
    // What was found before a failure is found.
    if outcome.is_ok() || found.count > 0 {
        print(args.output.output, &found)?;
    }
    outcome?;
    found.judge()
}

/// Takes events until the summary.
async fn gather(
    events: impl Stream<Item = Result<TierEvent, Error>>,
    found: &mut Verification,
    talk: Talk,
) -> Outcome {
    let mut events = pin!(events);
    let mut bar = Bar::new(talk);
    loop {
        match events.next().await {
            Some(Ok(TierEvent::Progress(progress))) => bar.show(&progress),
            Some(Ok(TierEvent::Problem(problem))) => found.add(problem),
            Some(Ok(TierEvent::Summary(summary))) => {
                found.summary = Some(summary.into());
                return Ok(());
            }
            Some(Err(error)) => {
                return Err(Failure::from_client("finish checking the tier", &error));
            }
            None => {
                return Err(
                    Failure::new("the check of the tier ended before it was through")
                        .why("the broker ended the stream without a summary")
                        .fix("run the same command again"),
                );
            }
        }
    }
}

/// A progress bar that is there once it is known how much there is to do.
struct Bar {
    talk: Talk,
    bar: Option<ProgressBar>,
}

impl Bar {
    fn new(talk: Talk) -> Bar {
        Bar { talk, bar: None }
    }

    fn show(&mut self, progress: &VerifyTierProgress) {
        let natural = |bytes: i64| u64::try_from(bytes).unwrap_or(0);
        let Some(total) = progress.bytes_total.map(natural) else {
            return;
        };
        let bar = self
            .bar
            .get_or_insert_with(|| self.talk.progress(Some(total)));
        bar.set_length(total);
        bar.set_position(natural(progress.bytes));
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// What a check found.
#[derive(Default, Serialize)]
struct Verification {
    problems: Vec<ProblemView>,
    /// Absent: the check did not come to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<SummaryView>,
    /// Of problems, those that are not shown included.
    #[serde(skip)]
    count: usize,
    /// Those whose offsets are on no disk.
    #[serde(skip)]
    lost: usize,
}

#[derive(Serialize)]
struct ProblemView {
    topic: String,
    partition: i32,
    object_key: String,
    base_offset: i64,
    end_offset: i64,
    kind: &'static str,
    detail: String,
    held_locally: bool,
}

#[derive(Serialize)]
struct SummaryView {
    partitions: i64,
    objects: i64,
    bytes: i64,
    problems: i64,
    checksums: bool,
}

impl From<TierProblem> for ProblemView {
    fn from(problem: TierProblem) -> ProblemView {
        ProblemView {
            kind: match problem.kind() {
                TierProblemKind::Missing => "missing",
                TierProblemKind::Length => "length",
                TierProblemKind::Checksum => "checksum",
                TierProblemKind::Unreadable => "unreadable",
                TierProblemKind::Unspecified => "unknown",
            },
            topic: problem.topic,
            partition: problem.partition,
            object_key: problem.object_key,
            base_offset: problem.base_offset,
            end_offset: problem.end_offset,
            detail: problem.detail,
            held_locally: problem.held_locally,
        }
    }
}

impl From<VerifyTierSummary> for SummaryView {
    fn from(summary: VerifyTierSummary) -> SummaryView {
        SummaryView {
            partitions: summary.partitions,
            objects: summary.objects,
            bytes: summary.bytes,
            problems: summary.problems,
            checksums: summary.checksums,
        }
    }
}

impl Verification {
    fn add(&mut self, problem: TierProblem) {
        self.count += 1;
        if !problem.held_locally && problem.kind() != TierProblemKind::Unreadable {
            self.lost += 1;
        }
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(problem.into());
        }
    }

    /// Whether the tier is as it should be.
    fn judge(&self) -> Outcome {
        let said = self.summary.as_ref().map_or(0, |summary| summary.problems);
        let count = usize::try_from(said).unwrap_or(0).max(self.count);
        if count == 0 {
            return Ok(());
        }
        let failure = Failure::new(format!(
            "the tier is not as it should be: {}",
            show_many(count as u64, "problem")
        ));
        let unreadable = "run the same command again: what was unreadable may only have been out of \
                          reach";
        Err(match self.lost {
            0 => failure
                .why("nothing is lost: the brokers' disks hold it, or the store did not give it")
                .fix(unreadable),
            lost => failure
                .why(format!(
                    "records of {} can be read from nowhere",
                    show_many(lost as u64, "object")
                ))
                .fix(
                    "bring the objects back, from the bucket's versions or a copy of it; do not \
                     turn tiering off or delete the topic before",
                ),
        })
    }
}

impl Answer for Verification {
    fn table(&self) -> String {
        let mut parts = Vec::new();
        if !self.problems.is_empty() {
            let row = |problem: &ProblemView| {
                vec![
                    format!("{}/{}", problem.topic, problem.partition),
                    format!("{}..{}", problem.base_offset, problem.end_offset),
                    problem.kind.to_owned(),
                    if problem.held_locally { "yes" } else { "no" }.to_owned(),
                    problem.object_key.clone(),
                    problem.detail.clone(),
                ]
            };
            let header = [
                "partition",
                "offsets",
                "problem",
                "on disk",
                "object",
                "detail",
            ];
            parts.push(columns(&header, &[], self.problems.iter().map(row)));
        }
        let hidden = self.count - self.problems.len();
        if hidden > 0 {
            parts.push(format!("and {} more", show_many(hidden as u64, "problem")));
        }
        if let Some(summary) = &self.summary {
            let bytes = show_bytes(u64::try_from(summary.bytes).unwrap_or(0));
            let what = format!(
                "{}, {bytes}, of {}",
                show_many(summary.objects, "object"),
                show_many(summary.partitions, "partition")
            );
            parts.push(match (summary.problems, summary.checksums) {
                (0, true) => format!("✓ {what}: all there and whole"),
                (0, false) => format!(
                    "✓ {what}: all there and as long as they should be; checksums were not compared"
                ),
                (problems, _) => format!("✗ {what}: {}", show_many(problems, "problem")),
            });
        }
        parts.join("\n\n")
    }

    fn names(&self) -> Vec<String> {
        let keys = self.problems.iter().map(|p| p.object_key.clone());
        keys.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Exit;
    use crate::talk::ColorChoice;

    fn problem(kind: TierProblemKind, held_locally: bool) -> TierEvent {
        TierEvent::Problem(TierProblem {
            topic: "shop/orders".into(),
            partition: 3,
            object_key: "c/t/3/0-1-u".into(),
            end_offset: 100,
            kind: kind.into(),
            detail: "no such object".into(),
            held_locally,
            ..TierProblem::default()
        })
    }

    fn summary(problems: i64, checksums: bool) -> TierEvent {
        TierEvent::Summary(VerifyTierSummary {
            partitions: 6,
            objects: 1842,
            bytes: 5 << 30,
            problems,
            checksums,
        })
    }

    async fn check(events: Vec<TierEvent>) -> (Outcome, Verification) {
        let mut found = Verification::default();
        let events = futures::stream::iter(events.into_iter().map(Ok));
        let talk = Talk::new(ColorChoice::Never, true);
        let outcome = gather(events, &mut found, talk).await;
        (outcome.and_then(|()| found.judge()), found)
    }

    #[tokio::test]
    async fn a_whole_tier_is_one_line_and_no_failure() {
        let (outcome, found) = check(vec![summary(0, true)]).await;
        assert!(outcome.is_ok());
        assert_eq!(
            found.table(),
            "✓ 1,842 objects, 5.0 GiB, of 6 partitions: all there and whole"
        );
        let (_, found) = check(vec![summary(0, false)]).await;
        assert!(found.table().ends_with("checksums were not compared"));
    }

    #[tokio::test]
    async fn what_is_nowhere_is_told_from_what_the_disks_still_hold() {
        let missing = problem(TierProblemKind::Missing, false);
        let (outcome, found) = check(vec![missing, summary(1, true)]).await;
        let failure = outcome.unwrap_err();
        assert_eq!(failure.exit, Exit::Error);
        assert!(
            failure
                .to_string()
                .contains("1 object can be read from nowhere")
        );
        assert_eq!(
            found.table(),
            "PARTITION       OFFSETS   PROBLEM   ON DISK   OBJECT        DETAIL\n\
             shop/orders/3   0..100    missing   no        c/t/3/0-1-u   no such object\n\
             \n\
             ✗ 1,842 objects, 5.0 GiB, of 6 partitions: 1 problem"
        );
        for event in [
            problem(TierProblemKind::Checksum, true),
            problem(TierProblemKind::Unreadable, false),
        ] {
            let (outcome, _) = check(vec![event, summary(1, true)]).await;
            let failure = outcome.unwrap_err();
            assert!(failure.to_string().contains("nothing is lost"), "{failure}");
        }
    }

    #[tokio::test]
    async fn a_check_that_breaks_off_is_a_failure_and_keeps_what_it_found() {
        let (outcome, found) = check(vec![problem(TierProblemKind::Length, true)]).await;
        let failure = outcome.unwrap_err();
        assert!(failure.to_string().contains("before it was through"));
        assert_eq!(found.names(), ["c/t/3/0-1-u"]);
    }

    #[test]
    fn what_is_shown_is_bounded_and_what_is_counted_is_not() {
        let mut found = Verification::default();
        for _ in 0..=PROBLEMS_MAX {
            if let TierEvent::Problem(problem) = problem(TierProblemKind::Missing, false) {
                found.add(problem);
            }
        }
        assert_eq!(found.problems.len(), PROBLEMS_MAX);
        assert!(found.table().ends_with("and 1 problem more"));
        assert!(found.judge().is_err());
    }
}
