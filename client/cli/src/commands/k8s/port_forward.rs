//! `headwater k8s port-forward`.

use std::io::ErrorKind;
use std::net::SocketAddr;

use kube::ResourceExt as _;
use tokio::net::TcpListener;

use crate::failure::{Failure, Outcome};
use crate::kubernetes::Kubernetes;
use crate::kubernetes::brokers::{Brokers, CLIENT_PORT, Chosen, HTTP_PORT};
use crate::kubernetes::forward::{Forward, News, first};
use crate::session::Session;

/// Forward a port of this machine to a broker
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Any broker serves every topic, so one port is enough. When the pod is replaced the port stays, and
new connections go to the new pod or to another one.

  headwater k8s port-forward demo -n headwater
  headwater topic list                          in another terminal

`headwater context import` makes such a port for each command by itself.")]
pub(super) struct Args {
    /// The Cluster; may be left out if the namespace has exactly one
    cluster: Option<String>,
    /// Port of this machine for clients; 0 takes a free one
    #[arg(long, default_value_t = CLIENT_PORT)]
    port: u16,
    /// Also forward this port of this machine to the broker's metrics and health
    #[arg(long, value_name = "PORT")]
    http_port: Option<u16>,
    /// Address of this machine to listen on
    #[arg(long, default_value = "127.0.0.1")]
    address: String,
}

/// Forwards until Ctrl-C.
pub(super) async fn run(args: Args, kubernetes: Kubernetes, session: &Session) -> Outcome {
    let (brokers, forwards, pod) = crate::interruptible(open(args, kubernetes, session)).await?;
    for (index, forward) in forwards.iter().enumerate() {
        let what = if index == 0 { "" } else { " (HTTP)" };
        session.talk.note(format!(
            "forwarding {} to pod {} of Cluster {}{what}; Ctrl-C ends it",
            show(forward.address()),
            pod.name,
            brokers.full_name(),
        ));
        if !forward.address().ip().is_loopback() {
            let address = forward.address();
            session.talk.note(format!(
                "whoever reaches {address} can read and write every topic"
            ));
        }
    }
    // To be ended like this is what it is for.
    stop_signal().await;
    session.talk.note("forwarding ended");
    Ok(())
}

/// The ports, and the pod that they lead to at first.
async fn open(
    args: Args,
    kubernetes: Kubernetes,
    session: &Session,
) -> Outcome<(Brokers, Vec<Forward>, Chosen)> {
    let namespace = kubernetes.namespace(session.namespace_flag());
    let cluster = kubernetes
        .cluster(&namespace, args.cluster.as_deref())
        .await?;
    let brokers = Brokers {
        kubernetes,
        namespace,
        cluster: cluster.name_any(),
    };
    let pod = first(&brokers).await?;
    let ports = [(Some(args.port), CLIENT_PORT), (args.http_port, HTTP_PORT)];
    let mut forwards = Vec::new();
    for (from, to) in ports {
        let Some(from) = from else { continue };
        let listener = listen(&args.address, from, to).await?;
        let (talk, full_name) = (session.talk, brokers.full_name());
        let tell = move |news| talk.note(describe(&news, &full_name, to));
        forwards.push(Forward::start(
            brokers.clone(),
            listener,
            to,
            pod.clone(),
            tell,
        )?);
    }
    Ok((brokers, forwards, pod))
}

async fn listen(address: &str, port: u16, to: u16) -> Outcome<TcpListener> {
    let failed = |error: std::io::Error| {
        let failure = Failure::new(format!("cannot listen on {address} port {port}"));
        let flag = if to == CLIENT_PORT {
            "--port"
        } else {
            "--http-port"
        };
        match error.kind() {
            ErrorKind::AddrInUse => {
                let next = port.checked_add(1).unwrap_or(to);
                failure.why("another program uses the port").fix(format!(
                    "take another with {flag} {next}, or a free one with {flag} 0"
                ))
            }
            ErrorKind::PermissionDenied => failure
                .why(error.to_string())
                .fix(format!("take a port above 1023 with {flag} {to}")),
            _ => failure
                .why(error.to_string())
                .fix("name an address of this machine with --address, such as 127.0.0.1"),
        }
    };
    TcpListener::bind((address, port)).await.map_err(failed)
}

/// As people write it.
fn show(address: SocketAddr) -> String {
    match address.ip().is_loopback() && address.is_ipv4() {
        true => format!("localhost:{}", address.port()),
        false => address.to_string(),
    }
}

fn describe(news: &News, cluster: &str, to: u16) -> String {
    let port = if to == CLIENT_PORT { "" } else { " (HTTP)" };
    match (news, news.trouble()) {
        (_, Some(trouble)) => trouble,
        (
            News::Moved {
                pod,
                replaced: true,
            },
            None,
        ) => {
            format!("forwarding to the new pod {pod} of Cluster {cluster} now{port}")
        }
        (News::Moved { pod, .. }, None) => {
            format!("forwarding to pod {pod} of Cluster {cluster} now{port}")
        }
        (other, None) => format!("{other:?}"),
    }
}

/// Ctrl-C or a polite kill.
async fn stop_signal() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    // Without it Ctrl-C is still there.
    let _ = tokio::signal::ctrl_c().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_in_use_names_the_way_out() {
        let taken = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = taken.local_addr().unwrap().port();
        let failure = listen("127.0.0.1", port, CLIENT_PORT).await.unwrap_err();
        assert_eq!(
            failure.why.as_deref(),
            Some("another program uses the port")
        );
        assert!(failure.fix.unwrap().contains("--port 0"));
        let failure = listen("127.0.0.1", port, HTTP_PORT).await.unwrap_err();
        assert!(failure.fix.unwrap().contains("--http-port 0"));
    }

    #[test]
    fn the_address_is_shown_as_people_write_it() {
        assert_eq!(show(([127, 0, 0, 1], 7650).into()), "localhost:7650");
        assert_eq!(show(([0, 0, 0, 0], 7650).into()), "0.0.0.0:7650");
    }
}
