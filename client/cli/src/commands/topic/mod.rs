//! `headwater topic`.

mod delete;
mod settings;
mod tiering;
mod views;

use headwater_client::types::Topic;
use headwater_client::{Admin, Error};

pub(crate) use settings::{CompressionArg, DurabilityArg, SettingArgs};
use views::{TopicDescription, TopicList, TopicView};

use crate::contexts::Target;
use crate::failure::{Failure, Outcome};
use crate::output::{OutputArgs, print};
use crate::session::Session;
use crate::units::show_many;

/// Create, show and change topics
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Create a topic: headwater topic create orders --partitions 12
    Create {
        /// `name` or `namespace/name`
        topic: String,
        /// How many partitions; more can be added, none taken away
        #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..))]
        partitions: u32,
        /// Succeed if it exists already
        #[arg(long)]
        if_not_exists: bool,
        /// Check everything, create nothing
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        output: OutputArgs,
        // Last, since its heading goes on for what follows.
        #[command(flatten)]
        settings: SettingArgs,
    },
    /// All topics, of the namespace if one is given with -n
    #[command(visible_alias = "ls")]
    List(#[command(flatten)] OutputArgs),
    /// A topic with its settings and partitions
    #[command(visible_alias = "get")]
    Describe {
        /// `name` or `namespace/name`
        topic: String,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Change settings: headwater topic edit orders --retention 7d
    Edit {
        /// `name` or `namespace/name`
        topic: String,
        /// Check everything, change nothing
        #[arg(long)]
        dry_run: bool,
        /// Do not ask; only turning tiering off does
        #[arg(short, long)]
        yes: bool,
        #[command(flatten)]
        output: OutputArgs,
        #[command(flatten)]
        settings: SettingArgs,
    },
    /// Delete topics and their records; there is no way back
    #[command(visible_alias = "rm")]
    Delete(delete::TopicArgs),
    /// Grow a topic to so many partitions; keys go to other partitions from then on
    AddPartitions {
        /// `name` or `namespace/name`
        topic: String,
        /// Partitions in all afterwards
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        to: u32,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Delete the oldest records; there is no way back
    DeleteRecords(delete::RecordArgs),
}

/// Runs it.
pub(crate) async fn run(command: Command, session: &Session) -> Outcome {
    match command {
        Command::Create {
            topic,
            partitions,
            settings,
            if_not_exists,
            dry_run,
            output,
        } => {
            let (admin, target) = session.admin("create a topic").await?;
            let name = target.topic(&topic);
            let created = admin
                .create_topic(&name, partitions, settings.config(), dry_run)
                .await;
            match created {
                Ok(created) => {
                    let done = if dry_run {
                        "could be created"
                    } else {
                        "created"
                    };
                    let partitions = show_many(created.partitions, "partition");
                    let note = format!("{} {done} with {partitions}", created.name);
                    session.talk.note(note);
                    answer(output, &created)
                }
                Err(error) if if_not_exists && Failure::topic_exists(&error) => {
                    let there = get(&admin, &name).await?;
                    session
                        .talk
                        .note(format!("{} is there already", there.name));
                    answer(output, &there)
                }
                Err(error) => Err(failed("create", &name, &error)),
            }
        }
        Command::List(output) => {
            let (admin, Target { namespace, .. }) = session.admin("list topics").await?;
            let topics = admin.list_topics(namespace.as_deref()).await;
            let topics = topics.map_err(|error| Failure::from_client("list topics", &error))?;
            if topics.is_empty() {
                let place = namespace.map_or(String::new(), |name| format!(" in namespace {name}"));
                session.talk.note(format!(
                    "there are no topics{place} yet; `headwater topic create NAME` makes one"
                ));
            }
            print(output.output, &TopicList::from(topics))
        }
        Command::Describe { topic, output } => {
            let (admin, target) = session.admin("describe a topic").await?;
            let name = target.topic(&topic);
            let topic = get(&admin, &name).await?;
            let partitions = admin.list_partitions(&name).await;
            let partitions = partitions.map_err(|error| failed("describe", &name, &error))?;
            print(output.output, &TopicDescription::new(topic, partitions))
        }
        Command::Edit {
            topic,
            settings,
            dry_run,
            yes,
            output,
        } => {
            let paths = settings.paths();
            if paths.is_empty() {
                return Err(Failure::usage("nothing is to be changed")
                    .fix(format!("headwater topic edit {topic} --retention 7d")));
            }
            let (admin, target) = session.admin("change a topic").await?;
            let name = target.topic(&topic);
            let mut wanted = Topic {
                name: name.clone(),
                config: Some(settings.config()),
                ..Topic::default()
            };
            if settings.moves_records() || settings.deletes_records() {
                let told = yes || dry_run;
                tiering::announce(&admin, session, &mut wanted, &paths, told).await?;
            }
            let changed = admin.update_topic(wanted, &paths, dry_run).await;
            let changed = changed.map_err(|error| failed("change", &name, &error))?;
            let done = if dry_run {
                "could be changed"
            } else {
                "changed"
            };
            session.talk.note(format!("{} {done}", changed.name));
            answer(output, &changed)
        }
        Command::AddPartitions {
            topic,
            to,
            yes,
            output,
        } => {
            let (admin, target) = session.admin("add partitions").await?;
            let name = target.topic(&topic);
            let now = get(&admin, &name).await?.partitions;
            session.talk.confirm(
                &format!(
                    "{name} has {now} partitions; with {to}, new records of a key go to another \
                     partition than its old ones. Go on?"
                ),
                yes,
            )?;
            let grown = admin.add_partitions(&name, to).await;
            let grown = grown.map_err(|error| failed("grow", &name, &error))?;
            let partitions = show_many(grown.partitions, "partition");
            session
                .talk
                .note(format!("{} has {partitions}", grown.name));
            answer(output, &grown)
        }
        Command::Delete(args) => delete::topics(args, session).await,
        Command::DeleteRecords(args) => delete::records(args, session).await,
    }
}

/// After a change the table would only repeat the note.
fn answer(output: OutputArgs, topic: &Topic) -> Outcome {
    match output.output {
        crate::output::Format::Table => Ok(()),
        format => print(format, &TopicView::from(topic.clone())),
    }
}

async fn get(admin: &Admin, name: &str) -> Outcome<Topic> {
    admin
        .get_topic(name)
        .await
        .map_err(|error| failed("find", name, &error))
}

fn failed(doing: &str, name: &str, error: &Error) -> Failure {
    Failure::from_client(&format!("{doing} topic {name}"), error)
}
