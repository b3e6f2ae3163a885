//! `headwater context`: clusters by name.

use serde::Serialize;

use crate::contexts::{Context, Contexts, Target};
use crate::failure::{Failure, Outcome};
use crate::output::{Answer, OutputArgs, columns, facts, print};
use crate::session::Session;

/// Keep clusters by name
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Add a cluster, or change it: headwater context add work --endpoint HOST:PORT
    Add {
        /// What to call it
        name: String,
        /// Do not switch to it
        #[arg(long)]
        no_use: bool,
    },
    /// Talk to this cluster from now on
    Use {
        /// Its name
        name: String,
    },
    /// All clusters
    #[command(visible_alias = "ls")]
    List(#[command(flatten)] OutputArgs),
    /// Which cluster a command would talk to, and why
    Show(#[command(flatten)] OutputArgs),
    /// Forget a cluster
    #[command(visible_alias = "rm")]
    Remove {
        /// Its name
        name: String,
    },
}

/// Runs it.
pub(crate) fn run(command: Command, session: &Session) -> Outcome {
    let path = Contexts::path()?;
    let mut contexts = Contexts::load(&path)?;
    match command {
        Command::Add { name, no_use } => {
            let Some(endpoint) = session.endpoint_flag() else {
                return Err(Failure::usage("a context needs an address")
                    .fix(format!("headwater context add {name} --endpoint HOST:PORT")));
            };
            let context = Context {
                name: name.clone(),
                endpoint: endpoint.to_owned(),
                namespace: session.namespace_flag().map(str::to_owned),
            };
            match contexts
                .contexts
                .iter_mut()
                .find(|known| known.name == name)
            {
                Some(known) => *known = context,
                None => contexts.contexts.push(context),
            }
            if !no_use {
                contexts.current = Some(name.clone());
            }
            contexts.save(&path)?;
            let used = if no_use { "" } else { ", now in use" };
            session
                .talk
                .note(format!("context {name} is {endpoint}{used}"));
        }
        Command::Use { name } => {
            let endpoint = contexts.get(&name)?.endpoint.clone();
            contexts.current = Some(name.clone());
            contexts.save(&path)?;
            session
                .talk
                .note(format!("context {name} ({endpoint}) is in use"));
        }
        Command::Remove { name } => {
            contexts.get(&name)?;
            contexts.contexts.retain(|context| context.name != name);
            if contexts.current.as_ref() == Some(&name) {
                contexts.current = None;
            }
            contexts.save(&path)?;
            session.talk.note(format!("context {name} is forgotten"));
        }
        Command::List(args) => return print(args.output, &contexts),
        Command::Show(args) => return print(args.output, &Shown::from(session.target()?)),
    }
    Ok(())
}

impl Answer for Contexts {
    fn table(&self) -> String {
        let row = |context: &Context| {
            let current = self.current.as_ref() == Some(&context.name);
            vec![
                if current { "*" } else { " " }.to_owned(),
                context.name.clone(),
                context.endpoint.clone(),
                context.namespace.clone().unwrap_or_default(),
            ]
        };
        columns(
            &["", "name", "endpoint", "namespace"],
            &[],
            self.contexts.iter().map(row),
        )
    }

    fn names(&self) -> Vec<String> {
        self.contexts
            .iter()
            .map(|context| context.name.clone())
            .collect()
    }
}

/// The cluster that would be talked to.
#[derive(Serialize)]
struct Shown {
    endpoint: String,
    origin: String,
    namespace: Option<String>,
}

impl From<Target> for Shown {
    fn from(target: Target) -> Shown {
        let Target {
            endpoint,
            origin,
            namespace,
        } = target;
        Shown {
            endpoint,
            origin,
            namespace,
        }
    }
}

impl Answer for Shown {
    fn table(&self) -> String {
        let namespace = self.namespace.clone();
        facts(&[
            ("endpoint", self.endpoint.clone()),
            ("from", self.origin.clone()),
            (
                "namespace",
                namespace.unwrap_or_else(|| "the cluster's default".to_owned()),
            ),
        ])
    }

    fn names(&self) -> Vec<String> {
        vec![self.endpoint.clone()]
    }
}
