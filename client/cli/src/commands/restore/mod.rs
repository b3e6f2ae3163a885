//! `headwater restore`: a new broker from a bucket alone.

mod view;

use std::path::PathBuf;
use std::sync::{Arc, Once};
use std::time::Duration;

use headwater_broker::restore::{Progress, RestoreOptions, restore};
use indicatif::{ProgressBar, ProgressStyle};

use self::view::ReportView;
use crate::failure::{Exit, Failure, Outcome};
use crate::output::{OutputArgs, print};
use crate::session::Session;
use crate::talk::Talk;
use crate::units::{show_bytes, show_count, show_duration, show_many};

const HELP: &str = "\
Examples:
  headwater restore --from 's3://logs/prod?region=eu-central-1' --data-dir new --dry-run
  headwater restore --from 's3://logs/prod?region=eu-central-1' --data-dir new
  headwater restore --from fs:///mnt/tier --data-dir new --adopt    the old cluster is gone

Topics, their settings and their records come back up to what was in the tier, under a new cluster
UUID; the report says for each partition where that is. Start the new broker with the same tier.url.
It reads the old cluster's objects and deletes none of them; a hold keeps the old cluster from
deleting them, should it still run, until headwater tier release. With --adopt they become its own:
a fence keeps the old cluster from uploading and deleting, ten minutes later every object is looked
at, and from then on retention and deletions of the new cluster cover them too.

Exit code 5: restored, but objects are missing or damaged, or, with --dry-run, would be.";

/// Make the data directory of a new broker from what an old cluster has in its tier
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// Where the old cluster's objects are: its tier.url
    #[arg(long, value_name = "URL")]
    from: String,
    /// Data directory to make; must be empty, or hold what an unfinished restore has left
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// Which cluster, if there are several
    #[arg(long, value_name = "UUID")]
    cluster: Option<String>,
    /// Directory with credentials as files, as tier.credentials_dir [default: the environment's, or
    /// the cloud's own]
    #[arg(long, value_name = "DIR")]
    credentials_dir: Option<PathBuf>,
    /// Take the old cluster's objects over; it must not write any more, and is kept from it
    #[arg(long)]
    adopt: bool,
    /// Read every object whole and compare checksums, not only look for it and its length
    #[arg(long)]
    checksums: bool,
    /// Only say what would be restored; writes nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask before --adopt
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs it.
pub(crate) async fn run(args: Args, session: &Session) -> Outcome {
    if args.adopt && !args.dry_run {
        let question = format!(
            "take over the objects in {}? Its cluster uploads and deletes nothing any more, for good",
            args.from
        );
        session.talk.confirm(&question, args.yes)?;
    }
    let mut options = RestoreOptions::new(&args.from, args.data_dir);
    if let Some(cluster) = &args.cluster {
        let cluster = cluster.parse().map_err(|_| {
            Failure::usage(format!("{cluster:?} is no UUID of a cluster"))
                .fix("leave --cluster away to see which clusters there are")
        })?;
        options.cluster = Some(cluster);
    }
    options.credentials_dir = args.credentials_dir;
    options.adopt = args.adopt;
    options.checksums = args.checksums;
    options.dry_run = args.dry_run;
    let bar = Bar::new(session.talk);
    let shown = bar.clone();
    options.progress = Arc::new(move |progress| shown.show(progress));
    let restored = restore(options).await;
    bar.bar.finish_and_clear();
    let report =
        restored.map_err(|error| Failure::new("cannot restore").why(format!("{error:#}")))?;
    let view = ReportView(report);
    print(args.output.output, &view)?;
    judge(&view)
}

fn judge(view: &ReportView) -> Outcome {
    let ReportView(report) = view;
    if report.problems_total == 0 {
        return Ok(());
    }
    let what = match report.dry_run {
        true => "not everything can be restored",
        false => "not everything is restored",
    };
    let why = format!(
        "{} missing or damaged",
        match report.problems_total {
            1 => "1 object is".to_owned(),
            many => format!("{} objects are", show_count(many)),
        }
    );
    Err(Failure::new(what).why(why).exit(Exit::Partial).fix(
        "bring the objects back, from the bucket's versions or a copy of it; readers get DATA_LOSS for their records \
         alone and go on behind them",
    ))
}

/// How far it is, on a terminal; elsewhere only that it waits.
#[derive(Clone)]
struct Bar {
    bar: ProgressBar,
    talk: Talk,
    waits: Arc<Once>,
}

impl Bar {
    fn new(talk: Talk) -> Bar {
        let bar = talk.progress(None);
        let style = ProgressStyle::with_template("  {msg} · {elapsed}");
        bar.set_style(style.expect("the template is ours"));
        Bar {
            bar,
            talk,
            waits: Arc::new(Once::new()),
        }
    }

    fn show(&self, progress: Progress) {
        if let Progress::WaitingBehindFence { left } = progress {
            self.waits.call_once(|| {
                let wait = show_duration(round(left));
                self.bar.suspend(|| {
                    self.talk.note(format!(
                        "the fence is put; waiting {wait} until the old cluster must have seen it"
                    ));
                });
            });
        }
        self.bar.set_message(text(progress));
    }
}

fn text(progress: Progress) -> String {
    match progress {
        Progress::Checked {
            partitions,
            partitions_total,
            objects,
            bytes,
        } => format!(
            "{} of {}, {} with {}",
            show_count(partitions as u64),
            show_many(partitions_total as u64, "partition"),
            show_many(objects, "object"),
            show_bytes(bytes),
        ),
        Progress::WaitingBehindFence { left } => {
            format!(
                "waiting behind the fence, {} left",
                show_duration(round(left))
            )
        }
        Progress::Writing {
            partitions,
            partitions_total,
        } => format!(
            "written {} of {}",
            show_count(partitions as u64),
            show_many(partitions_total as u64, "manifest"),
        ),
    }
}

/// To whole seconds.
fn round(time: Duration) -> Duration {
    Duration::from_secs((time.as_millis() as u64).div_ceil(1_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_one_short_line() {
        let checked = Progress::Checked {
            partitions: 3,
            partitions_total: 12,
            objects: 1_842,
            bytes: 5 << 30,
        };
        assert_eq!(
            text(checked),
            "3 of 12 partitions, 1,842 objects with 5.0 GiB"
        );
        let left = Duration::from_millis(599_100);
        assert_eq!(
            text(Progress::WaitingBehindFence { left }),
            "waiting behind the fence, 10m left"
        );
    }
}
