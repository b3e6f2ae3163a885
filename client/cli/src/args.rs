//! The command line.

use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

use clap::{Arg, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::commands;
use crate::talk::ColorChoice;
use crate::units::parse_duration;

const HELP: &str = "\
Start here:
  headwater quickstart                       a broker, a topic and 842 flights on this machine
  headwater topic create orders
  echo hello | headwater produce orders
  headwater consume orders

Exit codes: 0 ok, 1 error, 2 usage, 3 not found, 4 timeout, 5 partly done, 130 interrupted.
Data goes to stdout, everything else to stderr.";

/// Event streaming: create topics, send records, read them back.
#[derive(Debug, Parser)]
#[command(name = "headwater", version, after_help = HELP, max_term_width = 100)]
pub(crate) struct Cli {
    /// Flags of every command.
    #[command(flatten)]
    pub(crate) global: Global,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags of every command.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Broker to talk to, HOST:PORT [env: HEADWATER_ENDPOINT] [default: localhost:7650]
    #[arg(long, global = true, value_name = "HOST:PORT")]
    pub(crate) endpoint: Option<String>,
    /// Named cluster to talk to, see `headwater context` [env: HEADWATER_CONTEXT]
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// Namespace of topic names without one [env: HEADWATER_NAMESPACE]
    #[arg(short, long, global = true)]
    pub(crate) namespace: Option<String>,
    /// How long one request may take, such as 500ms or 2m
    #[arg(long, global = true, value_name = "TIME", default_value = "30s", value_parser = parse_duration)]
    pub(crate) timeout: Duration,
    /// Say nothing but errors
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Say more; twice for the client's own log
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// When to colour: auto (on a terminal, unless NO_COLOR is set), always or never
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        hide_possible_values = true
    )]
    pub(crate) color: ColorChoice,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start a broker here, put 842 real flights in, read them back, keep serving
    #[cfg(feature = "embedded")]
    Quickstart(commands::quickstart::Args),
    /// Create, show and change topics
    #[command(subcommand)]
    Topic(commands::topic::Command),
    /// Send records from stdin or a file
    Produce(commands::produce::Args),
    /// Read records to stdout
    Consume(commands::consume::Args),
    /// Show the newest records and wait for more
    Tail(commands::consume::TailArgs),
    /// Show the cluster and what is wrong with it
    #[command(subcommand)]
    Cluster(commands::cluster::Command),
    /// Show and check what is in the tier, sealed segments in object storage
    #[command(subcommand)]
    Tier(commands::tier::Command),
    /// Make a new broker's data directory from what a cluster has in its tier
    #[cfg(feature = "embedded")]
    Restore(commands::restore::Args),
    /// Look at every step between this machine and a stored record
    Doctor(commands::doctor::Args),
    /// Measure throughput and latency
    #[command(subcommand)]
    Perf(commands::perf::Command),
    /// Keep clusters by name
    #[command(subcommand)]
    Context(commands::context::Command),
    /// Look after clusters in Kubernetes
    #[command(name = "k8s")]
    K8s(commands::k8s::Args),
    /// Print a completion script for a shell
    Completion(commands::completion::Args),
}

/// The same program as a plugin of kubectl: `kubectl headwater X` is `headwater k8s X`.
#[derive(Debug, Parser)]
#[command(
    name = "kubectl-headwater",
    bin_name = "kubectl headwater",
    version,
    about = "Look after Headwater in Kubernetes",
    max_term_width = 100
)]
struct Plugin {
    #[command(flatten)]
    global: Global,
    #[command(flatten)]
    k8s: commands::k8s::Args,
}

/// What the process was asked to do; ends it if that cannot be understood.
pub(crate) fn parse() -> (Global, Command) {
    let name = std::env::args_os().next().unwrap_or_default();
    if is_plugin(&name) {
        let matches = plugin().get_matches();
        let plugin = Plugin::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
        return (plugin.global, Command::K8s(plugin.k8s));
    }
    let matches = command().get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    (cli.global, cli.command)
}

/// Whether the name that the program was called by is that of the plugin. kubectl finds plugins by
/// file names, in which an underscore stands for a dash of a command.
fn is_plugin(name: &OsStr) -> bool {
    let stem = Path::new(name).file_stem();
    stem.is_some_and(|stem| stem == "kubectl-headwater" || stem == "kubectl_headwater")
}

/// The whole command line.
pub(crate) fn command() -> clap::Command {
    let ours = Cli::command();
    let flags: Vec<Arg> = ours
        .get_arguments()
        .filter_map(|arg| for_kubernetes(arg.clone()))
        .collect();
    let namespace = flags.iter().find(|flag| flag.get_id() == "namespace");
    let namespace = namespace.cloned();
    ours.mut_subcommand("k8s", |k8s| k8s.args(flags))
        .mut_subcommand("context", |context| {
            context.mut_subcommand("import", |import| import.args(namespace))
        })
}

fn plugin() -> clap::Command {
    Plugin::command().mut_args(|arg| for_kubernetes(arg.clone()).unwrap_or(arg))
}

/// A global flag as the commands for Kubernetes have it; `None` if it is the same for them.
fn for_kubernetes(arg: Arg) -> Option<Arg> {
    match arg.get_id().as_str() {
        "namespace" => {
            Some(arg.help("Namespace in Kubernetes [default: that of the kubeconfig's context]"))
        }
        // They are refused: another Kubernetes is named by --kube-context.
        "endpoint" | "context" => Some(arg.hide(true)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_lines_are_sound() {
        command().debug_assert();
        plugin().debug_assert();
    }

    #[test]
    fn the_plugin_is_known_by_its_name() {
        let check = |name: &str, plugin| assert_eq!(is_plugin(OsStr::new(name)), plugin, "{name}");
        check("/usr/local/bin/kubectl-headwater", true);
        check("kubectl_headwater", true);
        check("kubectl-headwater.exe", true);
        check("/usr/bin/headwater", false);
        check("kubectl", false);
    }

    #[test]
    fn the_namespace_may_stand_anywhere() {
        let places: [&[&str]; 3] = [
            &["headwater", "-n", "shop", "k8s", "status"],
            &["headwater", "k8s", "-n", "shop", "status"],
            &["headwater", "k8s", "status", "-n", "shop"],
        ];
        for args in places {
            let matches = command().try_get_matches_from(args).unwrap();
            let cli = Cli::from_arg_matches(&matches).unwrap();
            assert_eq!(cli.global.namespace.as_deref(), Some("shop"), "{args:?}");
        }
        let args = ["kubectl-headwater", "status", "-n", "shop"];
        let matches = plugin().try_get_matches_from(args).unwrap();
        let plugin = Plugin::from_arg_matches(&matches).unwrap();
        assert_eq!(plugin.global.namespace.as_deref(), Some("shop"));
    }
}
