//! `headwater tier`.

#[cfg(feature = "embedded")]
mod release;
mod status;
mod verify;

use headwater_client::Admin;

use crate::contexts::Target;
use crate::failure::{Failure, Outcome};
use crate::output::{OutputArgs, print};
use crate::session::Session;

/// Show and check what is in the tier, sealed segments in object storage
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// The tier, and how far each partition is in it: headwater tier status orders
    #[command(after_help = STATUS_HELP)]
    Status {
        /// `name` or `namespace/name`; none means all, of the namespace if one is given with -n
        #[arg(value_name = "TOPIC")]
        topics: Vec<String>,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Check that what should be in the tier is there and whole; exit code 1 if it is not
    #[command(after_help = VERIFY_HELP)]
    Verify(verify::Args),
    /// Let an old cluster delete objects again that a restored one holds
    #[cfg(feature = "embedded")]
    #[command(after_help = release::HELP)]
    Release(release::Args),
}

const STATUS_HELP: &str = "\
Examples:
  headwater tier status
  headwater tier status orders -o json

Offsets from LOG START to TIER END are in the tier, those from LOCAL START on are on the leader's
disk. BACKLOG is what is sealed and not uploaded yet, WAITING how long the oldest of it has been.";

const VERIFY_HELP: &str = "\
Examples:
  headwater tier verify --quick        is everything there, and as long as it should be?
  headwater tier verify orders         reads every object of a topic and compares checksums

Nothing is changed. Without --quick every object is read whole, which object stores may charge for.";

/// Runs it.
pub(crate) async fn run(command: Command, session: &Session) -> Outcome {
    match command {
        Command::Status { topics, output } => {
            let doing = "ask for the state of the tier";
            let (admin, target) = session.admin(doing).await?;
            let Some(topics) = named(&admin, &target, &topics, doing).await? else {
                return nothing(session, &target);
            };
            let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
            let status = admin.tier_status(&topics).await;
            let status = status.map_err(|error| Failure::from_client(doing, &error))?;
            print(output.output, &status::StatusView::from(status))
        }
        Command::Verify(args) => verify::run(args, session).await,
        #[cfg(feature = "embedded")]
        Command::Release(args) => release::run(args, session).await,
    }
}

/// Topics as the API takes them, where an empty list is all; `None` if there is none to ask for.
async fn named(
    admin: &Admin,
    target: &Target,
    topics: &[String],
    doing: &str,
) -> Outcome<Option<Vec<String>>> {
    if !topics.is_empty() {
        return Ok(Some(topics.iter().map(|name| target.topic(name)).collect()));
    }
    let Some(namespace) = &target.namespace else {
        return Ok(Some(Vec::new()));
    };
    let listed = admin.list_topics(Some(namespace)).await;
    let listed = listed.map_err(|error| Failure::from_client(doing, &error))?;
    let names: Vec<_> = listed.into_iter().map(|topic| topic.name).collect();
    Ok((!names.is_empty()).then_some(names))
}

fn nothing(session: &Session, target: &Target) -> Outcome {
    let namespace = target.namespace.as_deref().unwrap_or_default();
    let note = format!("there are no topics in namespace {namespace}");
    session.talk.note(note);
    Ok(())
}
