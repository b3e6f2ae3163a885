//! `headwater context import`: a Cluster in Kubernetes becomes a context.

use std::path::PathBuf;

use kube::ResourceExt as _;

use crate::contexts::Context;
use crate::failure::{Failure, Outcome};
use crate::kubernetes::{KubeArgs, Kubernetes};
use crate::place::{InKubernetes, Place};
use crate::session::Session;

/// Add a Cluster in Kubernetes; commands that use it open a tunnel of their own
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The namespace is then also that of topic names without one. The context remembers the kube context,
so that switching kubectl to another one changes nothing here, and the kubeconfig if --kubeconfig or
KUBECONFIG names exactly one file.

  headwater context import demo -n headwater
  headwater topic list

Commands that use the context need the rights to list pods, and to get and create pods/portforward.")]
pub(crate) struct Args {
    /// The Cluster; may be left out if the namespace has exactly one
    cluster: Option<String>,
    /// What to call it [default: the Cluster's name]
    #[arg(long)]
    name: Option<String>,
    /// Do not switch to it
    #[arg(long)]
    no_use: bool,
    #[command(flatten)]
    kube: KubeArgs,
}

/// Looks the Cluster up. The context, and whether it is to be used from now on.
pub(super) async fn look(args: Args, session: &Session) -> Outcome<(Context, bool)> {
    if session.endpoint_flag().is_some() {
        return Err(Failure::usage("an imported context has no address")
            .fix("headwater context add NAME --endpoint HOST:PORT"));
    }
    let kubernetes = Kubernetes::connect(&args.kube, session.timeout).await?;
    let namespace = kubernetes.namespace(session.namespace_flag());
    let found = kubernetes
        .cluster(&namespace, args.cluster.as_deref())
        .await?;
    let cluster = found.name_any();
    let kubeconfig = remembered(args.kube.kubeconfig, std::env::var_os("KUBECONFIG"));
    let context = Context {
        name: args.name.unwrap_or_else(|| cluster.clone()),
        place: Place::Kubernetes(InKubernetes {
            cluster,
            namespace: namespace.clone(),
            context: kubernetes.context().map(str::to_owned),
            kubeconfig,
        }),
        namespace: Some(namespace),
    };
    Ok((context, !args.no_use))
}

/// The one kubeconfig that was named: the same context name means another Kubernetes elsewhere.
/// Several are left to the variable.
fn remembered(flag: Option<PathBuf>, variable: Option<std::ffi::OsString>) -> Option<PathBuf> {
    let named = flag.or_else(|| {
        let mut files = variable
            .iter()
            .flat_map(std::env::split_paths)
            .filter(|path| !path.as_os_str().is_empty());
        let first = files.next();
        first.filter(|_| files.next().is_none())
    });
    named.map(|path| std::path::absolute(&path).unwrap_or(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kubeconfig_is_remembered_if_exactly_one_was_named() {
        let check = |flag: Option<&str>, variable: Option<&str>, want: Option<&str>| {
            let got = remembered(flag.map(PathBuf::from), variable.map(Into::into));
            assert_eq!(got, want.map(PathBuf::from));
        };
        check(None, None, None);
        check(None, Some("/a"), Some("/a"));
        check(None, Some("/a:/b"), None);
        check(Some("/c"), Some("/a:/b"), Some("/c"));
    }
}
