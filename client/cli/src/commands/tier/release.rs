//! `headwater tier release`: an old cluster may delete again what a restored one names.

use std::path::PathBuf;
use std::str::FromStr;

use headwater_broker::restore::{ReleaseOptions, release};

use crate::failure::{Failure, Outcome};
use crate::session::Session;

pub(super) const HELP: &str = "\
Examples:
  headwater tier release --from 's3://logs/prod?region=eu-central-1' \\
    --cluster 5f1c… --holder 9b02…                  as the finding TIER_HELD says

A cluster that was restored without --adopt reads the old cluster's objects and holds them: the old
one deletes none. Once the restored cluster is not needed any more, release them: within a minute
the old cluster deletes again what its retention and its deleted topics leave. Records that the
restored cluster has in these objects are lost to it with them.";

/// Which hold.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where the old cluster's objects are: its tier.url
    #[arg(long, value_name = "URL")]
    from: String,
    /// The old cluster, whose objects are held
    #[arg(long, value_name = "UUID")]
    cluster: String,
    /// The cluster that was restored from them
    #[arg(long, value_name = "UUID")]
    holder: String,
    /// Directory with credentials as files, as tier.credentials_dir [default: the environment's, or
    /// the cloud's own]
    #[arg(long, value_name = "DIR")]
    credentials_dir: Option<PathBuf>,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

/// Runs it.
pub(super) async fn run(args: Args, session: &Session) -> Outcome {
    let options = ReleaseOptions {
        cluster: uuid(&args.cluster)?,
        holder: uuid(&args.holder)?,
        from: args.from,
        credentials_dir: args.credentials_dir,
    };
    let (cluster, holder) = (options.cluster, options.holder);
    let question = format!(
        "let cluster {cluster} delete its objects again? What of them cluster {holder} still needs is lost to it"
    );
    session.talk.confirm(&question, args.yes)?;
    let released = release(options).await;
    released
        .map_err(|error| Failure::new("cannot release the objects").why(format!("{error:#}")))?;
    session.talk.note(format!(
        "cluster {holder} holds the objects of cluster {cluster} no more; it deletes again within a minute"
    ));
    Ok(())
}

fn uuid<T: FromStr>(text: &str) -> Outcome<T> {
    text.parse().map_err(|_| {
        Failure::usage(format!("{text:?} is no UUID of a cluster"))
            .fix("headwater cluster health of the old cluster says both, in the finding TIER_HELD")
    })
}
