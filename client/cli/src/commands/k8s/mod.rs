//! `headwater k8s`, also `kubectl headwater`: clusters in Kubernetes.

mod port_forward;
mod status;
mod unstick;

use crate::failure::{Failure, Outcome};
use crate::kubernetes::{KubeArgs, Kubernetes};
use crate::session::Session;

/// Look after clusters in Kubernetes
#[derive(Debug, clap::Args)]
#[command(after_help = "\
With this program, or a link to it, in PATH as kubectl-headwater, `kubectl headwater status` is
`headwater k8s status`.")]
pub(crate) struct Args {
    #[command(flatten)]
    kube: KubeArgs,
    #[command(subcommand)]
    command: Command,
}

/// What to do.
#[derive(Debug, clap::Subcommand)]
enum Command {
    /// One screen: Clusters, brokers, storage, topics, warnings; exit code 1 if anything is amiss
    Status(status::Args),
    /// Forward a port of this machine to a broker
    PortForward(port_forward::Args),
    /// Let go of what waits for an operator that is gone
    Unstick(unstick::Args),
}

/// Which namespaces.
#[derive(Debug, clap::Args)]
struct AllArgs {
    /// All namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
}

/// Runs it.
pub(crate) async fn run(args: Args, session: &Session) -> Outcome {
    let refused = session.endpoint_flag().map(|_| "--endpoint");
    if let Some(flag) = refused.or(session.context_flag().map(|_| "--context")) {
        return Err(
            Failure::usage(format!("{flag} does not choose a Kubernetes"))
                .why("it names a cluster of brokers by its address")
                .fix("name a Kubernetes with --kube-context NAME, and a namespace with -n"),
        );
    }
    let connect = Kubernetes::connect(&args.kube, session.timeout);
    match args.command {
        Command::Status(args) => {
            crate::interruptible(async { status::run(args, &connect.await?, session).await }).await
        }
        Command::Unstick(args) => {
            crate::interruptible(async { unstick::run(args, &connect.await?, session).await }).await
        }
        // Ctrl-C is how it ends.
        Command::PortForward(args) => port_forward::run(args, connect.await?, session).await,
    }
}

impl AllArgs {
    /// The namespace; `None` is all of them.
    fn namespace(&self, kubernetes: &Kubernetes, session: &Session) -> Outcome<Option<String>> {
        match (self.all_namespaces, session.namespace_flag()) {
            (true, Some(_)) => Err(Failure::usage("-n and -A exclude each other")
                .fix("give -n NAMESPACE for one, or -A for all")),
            (true, None) => Ok(None),
            (false, given) => Ok(Some(kubernetes.namespace(given))),
        }
    }
}
