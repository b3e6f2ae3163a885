//! What a command runs with: the flags, the voice, and the way to the cluster.

use std::time::Duration;

use headwater_client::{Admin, Client, ClientConfig};

use crate::args::Global;
use crate::contexts::{Choice, Contexts, Target};
use crate::failure::{Failure, Outcome};
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

    /// Namespace from the flags alone, for `context add`.
    pub(crate) fn namespace_flag(&self) -> Option<&str> {
        self.flags.namespace.as_deref()
    }

    /// Endpoint from the flags alone, for `context add`.
    pub(crate) fn endpoint_flag(&self) -> Option<&str> {
        self.flags.endpoint.as_deref()
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
        let client = Client::connect(self.client_config(&target.endpoint)).await;
        let client = client.map_err(|error| {
            let mut failure = Failure::from_client(doing, &error);
            if let Some(why) = &mut failure.why {
                why.push_str(&format!(" (the address is from {})", target.origin));
            }
            failure
        })?;
        if self.verbose > 0 {
            self.talk.note(format!(
                "connected to {} ({})",
                target.endpoint, target.origin
            ));
        }
        Ok((client, target))
    }

    /// The same, for administration.
    pub(crate) async fn admin(&self, doing: &str) -> Outcome<(Admin, Target)> {
        let (client, target) = self.connect(doing).await?;
        Ok((client.admin(), target))
    }
}
