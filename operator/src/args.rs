//! The command line of `headwater-operator`.

use std::net::SocketAddr;

use clap::{Parser, Subcommand, ValueEnum};

/// The Headwater operator: makes brokers and topics of Cluster and Topic resources.
///
/// Every flag is also a variable: --http-listen is HEADWATER_HTTP_LISTEN.
#[derive(Clone, Debug, Parser)]
#[command(name = "headwater-operator", version, max_term_width = 100)]
pub struct Args {
    /// What to do instead of operating
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Namespace that the operator runs in; its Lease is there
    #[arg(long, env = "HEADWATER_NAMESPACE", default_value = "default")]
    pub namespace: String,
    /// Namespaces whose Clusters are operated, separated by commas [default: its own]
    #[arg(long, env = "HEADWATER_CLUSTER_NAMESPACES", value_delimiter = ',')]
    pub cluster_namespaces: Vec<String>,
    /// Image of brokers whose Cluster names none
    #[arg(
        long,
        env = "HEADWATER_DEFAULT_IMAGE",
        default_value = concat!("docker.io/headwater/headwater:", env!("CARGO_PKG_VERSION"))
    )]
    pub default_image: String,
    /// Address for metrics and health
    #[arg(long, env = "HEADWATER_HTTP_LISTEN", default_value = "0.0.0.0:7680")]
    pub http_listen: SocketAddr,
    /// Name of the Lease by which operators elect the one that acts
    #[arg(
        long,
        env = "HEADWATER_LEASE_NAME",
        default_value = "headwater-operator"
    )]
    pub lease_name: String,
    /// Who this is in the Lease [default: the host's name]
    #[arg(long, env = "HEADWATER_IDENTITY")]
    pub identity: Option<String>,
    /// Form of a log line
    #[arg(long, env = "HEADWATER_LOG_FORMAT", default_value = "text")]
    pub log_format: LogFormat,
    /// error, warn, info, debug or trace, or directives by module
    #[arg(long, env = "HEADWATER_LOG_LEVEL", default_value = "info")]
    pub log_level: String,
}

/// What to do instead of operating.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum Command {
    /// Take the finalizers off all Topics and Clusters, so that nothing waits for an operator that
    /// is about to go; what they would have deleted stays
    ReleaseFinalizers,
}

/// Form of a log line.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Args {
    /// Who this is among operators.
    pub fn identity(&self) -> String {
        self.identity
            .clone()
            .unwrap_or_else(crate::lease::own_identity)
    }

    /// The namespaces whose Clusters are operated.
    pub fn cluster_namespaces(&self) -> Vec<String> {
        let named: Vec<String> = self
            .cluster_namespaces
            .iter()
            .filter(|name| !name.is_empty())
            .cloned()
            .collect();
        if named.is_empty() {
            vec![self.namespace.clone()]
        } else {
            named
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_of_the_command_line_is_sound() {
        use clap::CommandFactory as _;
        Args::command().debug_assert();
    }

    #[test]
    fn clusters_are_those_of_the_own_namespace_unless_others_are_named() {
        let own = Args::parse_from(["headwater-operator", "--namespace", "a"]);
        assert_eq!(own.cluster_namespaces(), ["a"]);
        let named = [
            "headwater-operator",
            "--namespace",
            "a",
            "--cluster-namespaces",
            "b,c",
        ];
        assert_eq!(Args::parse_from(named).cluster_namespaces(), ["b", "c"]);
    }
}
