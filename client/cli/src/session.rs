//! What a command runs with: the flags, the voice, and the way to the cluster.

use std::sync::Arc;
use std::time::Duration;

use headwater_client::{Admin, Client, ClientConfig};
use tokio::sync::OnceCell;

use crate::args::Global;
use crate::contexts::{Choice, Contexts, Target};
use crate::failure::{Failure, Outcome};
use crate::kubernetes::Kubernetes;
use crate::kubernetes::brokers::Brokers;
use crate::kubernetes::forward::{Forward, News};
use crate::place::{InKubernetes, Place};
use crate::talk::Talk;

/// A connection that has not come about by then will not; a shorter `--timeout` bounds it too.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What a command runs with.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    /// The voice.
    pub(crate) talk: Talk,
    /// How long one request may take.
    pub(crate) timeout: Duration,
    /// How much to say, 0 to 2.
    pub(crate) verbose: u8,
    flags: Choice,
    /// The way into Kubernetes, if the cluster is there; open from the first use to the end.
    tunnel: Arc<OnceCell<Forward>>,
}

impl Session {
    /// From the global flags.
    pub(crate) fn new(global: Global) -> Session {
        Session {
            talk: Talk::new(global.color, global.quiet),
            timeout: global.timeout,
            verbose: global.verbose,
            flags: Choice {
                context: global.context,
                endpoint: global.endpoint,
                namespace: global.namespace,
            },
            tunnel: Arc::default(),
        }
    }

    /// Which cluster to talk to.
    pub(crate) fn target(&self) -> Outcome<Target> {
        let needs_file = self.flags.endpoint.is_none();
        let contexts = match needs_file {
            true => Contexts::path().and_then(|path| Contexts::load(&path)),
            false => Ok(Contexts::default()),
        };
        let env = Choice::from_env();
        // Without a home directory there are no contexts, which is fine unless one is asked for.
        let asks = self.flags.context.is_some() || env.context.is_some();
        let contexts = match contexts {
            Err(failure) if asks || Contexts::path().is_ok() => return Err(failure),
            contexts => contexts.unwrap_or_default(),
        };
        Target::resolve(&self.flags, &env, &contexts)
    }

    /// Namespace from the flags alone, for `context add` and `k8s`.
    pub(crate) fn namespace_flag(&self) -> Option<&str> {
        self.flags.namespace.as_deref()
    }

    /// Endpoint from the flags alone, for `context add`.
    pub(crate) fn endpoint_flag(&self) -> Option<&str> {
        self.flags.endpoint.as_deref()
    }

    /// Context from the flags alone, for those who know no contexts.
    pub(crate) fn context_flag(&self) -> Option<&str> {
        self.flags.context.as_deref()
    }

    /// Where to connect to: the cluster's address, or this end of a tunnel to it.
    pub(crate) async fn endpoint(&self, place: &Place) -> Outcome<String> {
        match place {
            Place::Endpoint(endpoint) => Ok(endpoint.clone()),
            Place::Kubernetes(cluster) => {
                let tunnel = self.tunnel.get_or_try_init(|| self.open_tunnel(cluster));
                Ok(tunnel.await?.address().to_string())
            }
        }
    }

    async fn open_tunnel(&self, cluster: &InKubernetes) -> Outcome<Forward> {
        let brokers = Brokers {
            kubernetes: Kubernetes::connect(&cluster.args(), self.timeout).await?,
            namespace: cluster.namespace.clone(),
            cluster: cluster.cluster.clone(),
        };
        let (talk, verbose) = (self.talk, self.verbose > 0);
        Forward::to_clients(brokers, move |news| match (&news, news.trouble()) {
            (_, Some(trouble)) => talk.note(trouble),
            (News::Moved { pod, .. }, None) if verbose => {
                talk.note(format!("talks to pod {pod} now"));
            }
            _ => {}
        })
        .await
    }

    /// How the cluster at `endpoint` is talked to.
    pub(crate) fn client_config(&self, endpoint: &str) -> ClientConfig {
        ClientConfig::new(endpoint)
            .client_id("headwater-cli")
            .connect_timeout(self.timeout.min(CONNECT_TIMEOUT))
            .request_timeout(self.timeout)
    }

    /// A connection to the cluster, for `doing`.
    pub(crate) async fn connect(&self, doing: &str) -> Outcome<(Client, Target)> {
        let target = self.target()?;
        let endpoint = self.endpoint(&target.place).await?;
        let client = Client::connect(self.client_config(&endpoint)).await;
        let client = client.map_err(|error| {
            let mut failure = Failure::from_client(doing, &error);
            if let Some(why) = &mut failure.why {
                why.push_str(&format!(" (the address is from {})", target.origin));
            }
            failure
        })?;
        if self.verbose > 0 {
            self.talk
                .note(format!("connected to {} ({})", target.place, target.origin));
        }
        Ok((client, target))
    }

    /// The same, for administration.
    pub(crate) async fn admin(&self, doing: &str) -> Outcome<(Admin, Target)> {
        let (client, target) = self.connect(doing).await?;
        Ok((client.admin(), target))
    }
}
