//! `headwater context`: clusters by name.

mod import;

use serde::Serialize;

use crate::contexts::{Context, Contexts, Target};
use crate::failure::{Failure, Outcome};
use crate::output::{Answer, OutputArgs, columns, facts, print};
use crate::place::{InKubernetes, Place};
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
    /// Add a Cluster in Kubernetes; commands that use it open a tunnel of their own
    Import(import::Args),
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
pub(crate) async fn run(command: Command, session: &Session) -> Outcome {
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
                place: Place::Endpoint(endpoint.to_owned()),
                namespace: session.namespace_flag().map(str::to_owned),
            };
            contexts.put(context, !no_use);
            contexts.save(&path)?;
            let used = if no_use { "" } else { ", now in use" };
            session
                .talk
                .note(format!("context {name} is {endpoint}{used}"));
        }
        Command::Import(args) => {
            let (context, uses) = import::look(args, session).await?;
            let Context { name, place, .. } = &context;
            let used = if uses { ", now in use" } else { "" };
            let note = format!("context {name} is {place}{used}");
            contexts.put(context, uses);
            contexts.save(&path)?;
            session.talk.note(note);
        }
        Command::Use { name } => {
            let place = contexts.get(&name)?.place.clone();
            contexts.current = Some(name.clone());
            contexts.save(&path)?;
            session
                .talk
                .note(format!("context {name} ({place}) is in use"));
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
                context.place.to_string(),
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
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kubernetes: Option<InKubernetes>,
    origin: String,
    namespace: Option<String>,
}

impl From<Target> for Shown {
    fn from(target: Target) -> Shown {
        let (endpoint, kubernetes) = match target.place {
            Place::Endpoint(endpoint) => (Some(endpoint), None),
            Place::Kubernetes(kubernetes) => (None, Some(kubernetes)),
        };
        Shown {
            endpoint,
            kubernetes,
            origin: target.origin,
            namespace: target.namespace,
        }
    }
}

impl Shown {
    fn name(&self) -> String {
        match (&self.endpoint, &self.kubernetes) {
            (
                None,
                Some(InKubernetes {
                    namespace, cluster, ..
                }),
            ) => {
                format!("{namespace}/{cluster}")
            }
            (endpoint, _) => endpoint.clone().unwrap_or_default(),
        }
    }
}

impl Answer for Shown {
    fn table(&self) -> String {
        let mut rows = match &self.kubernetes {
            None => vec![("endpoint", self.name())],
            Some(place) => {
                let usual = |text: Option<String>| text.unwrap_or_else(|| "the default".to_owned());
                let kubeconfig = place.kubeconfig.as_ref();
                vec![
                    ("cluster", self.name()),
                    ("kube context", usual(place.context.clone())),
                    (
                        "kubeconfig",
                        usual(kubeconfig.map(|file| file.display().to_string())),
                    ),
                ]
            }
        };
        let namespace = self.namespace.clone();
        rows.push(("from", self.origin.clone()));
        rows.push((
            "namespace",
            namespace.unwrap_or_else(|| "the cluster's default".to_owned()),
        ));
        facts(&rows)
    }

    fn names(&self) -> Vec<String> {
        vec![self.name()]
    }
}
