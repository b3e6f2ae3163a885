//! `headwater k8s status`: one screen for whoever is on call.
//!
//! `gather` asks Kubernetes and the brokers, `view` makes of the answers what is to be known of
//! each Cluster, `text` shows it.

mod gather;
mod pods;
mod text;
mod view;
mod warnings;

#[cfg(test)]
mod tests;

use jiff::Timestamp;
use kube::ResourceExt as _;

use self::gather::{gather, health};
use self::view::StatusView;
use super::AllArgs;
use crate::failure::{Exit, Failure, Outcome};
use crate::kubernetes::{Kubernetes, no_cluster};
use crate::output::{Format, OutputArgs, print};
use crate::session::Session;

/// One screen: Clusters, brokers, storage, topics, warnings; exit code 1 if anything is amiss
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Topics of all namespaces that name a Cluster are looked at. A ready broker is asked for its own
findings through a tunnel. What you have no right to read is left out, and said. Exit code 1 if a
Cluster or a Topic is not Ready, or a broker finds something critical.")]
pub(super) struct Args {
    /// Only this Cluster
    cluster: Option<String>,
    #[command(flatten)]
    all_namespaces: AllArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs it.
pub(super) async fn run(args: Args, kubernetes: &Kubernetes, session: &Session) -> Outcome {
    let namespace = args.all_namespaces.namespace(kubernetes, session)?;
    let mut clusters = kubernetes.clusters(namespace.as_deref()).await?;
    let known: Vec<_> = clusters.iter().map(|cluster| cluster.name_any()).collect();
    let name = args.cluster.as_deref();
    clusters.retain(|cluster| name.is_none_or(|name| cluster.name_any() == name));
    if clusters.is_empty() {
        return Err(match (namespace, name) {
            (Some(namespace), _) => no_cluster(&namespace, name, &known),
            (None, Some(name)) => {
                let failure = Failure::new(format!("there is no Cluster {name} in any namespace"));
                let failure = failure.fix("`headwater k8s status -A -o name` shows all there are");
                failure.exit(Exit::NotFound)
            }
            (None, None) => Failure::new("there is no Cluster in any namespace")
                .exit(Exit::NotFound)
                .fix("declare one: `kubectl explain clusters.headwater.dev.spec` says how"),
        });
    }
    let findings = gather(kubernetes, clusters).await;
    let mut status = StatusView::new(&findings, Timestamp::now());
    health(kubernetes, session, &mut status.clusters).await;
    if let Format::Table = args.output.output {
        status.paint = session.talk.out;
    }
    print(args.output.output, &status)?;
    match status.amiss() {
        amiss if amiss.is_empty() => Ok(()),
        amiss => Err(Failure::new("not everything is well")
            .why(amiss.join("\n"))
            .fix("see the reasons above")),
    }
}
