//! Where the brokers are and how long to wait for them.

use std::time::Duration;

use crate::error::Error;

/// Environment variable that names the endpoint, `host:port` or a URL.
pub const ENDPOINT_ENV: &str = "HEADWATER_ENDPOINT";

/// Endpoint that is used when nothing names another.
pub const ENDPOINT_DEFAULT: &str = "localhost:7650";

/// How to reach a cluster. Any broker serves the whole of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientConfig {
    /// `host:port` or `http://host:port`. Default: `HEADWATER_ENDPOINT`, else `localhost:7650`.
    pub endpoint: String,
    /// Told to the broker with every call, for its logs. Default: `headwater-rust`.
    pub client_id: String,
    /// How long a connection may take to come about. Default: 10 s.
    pub connect_timeout: Duration,
    /// How long a call may take, and how long a batch may wait for its answer before the
    /// connection is given up. Default: 30 s.
    pub request_timeout: Duration,
    /// How long an answerless connection may stay before it is probed; it is given up 5 s later.
    /// Default: 15 s.
    pub keepalive_interval: Duration,
    /// First pause before connecting again; doubles with every failure, with jitter.
    /// Default: 50 ms.
    pub backoff_initial: Duration,
    /// Longest pause before connecting again. Default: 2 s.
    pub backoff_max: Duration,
}

impl ClientConfig {
    /// The defaults for `endpoint` (`host:port` or a URL).
    pub fn new(endpoint: impl Into<String>) -> ClientConfig {
        ClientConfig {
            endpoint: endpoint.into(),
            client_id: "headwater-rust".to_owned(),
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            keepalive_interval: Duration::from_secs(15),
            backoff_initial: Duration::from_millis(50),
            backoff_max: Duration::from_secs(2),
        }
    }

    /// The defaults, with the endpoint from `HEADWATER_ENDPOINT` if that is set.
    pub fn from_env() -> ClientConfig {
        match std::env::var(ENDPOINT_ENV) {
            Ok(endpoint) if !endpoint.is_empty() => ClientConfig::new(endpoint),
            _ => ClientConfig::new(ENDPOINT_DEFAULT),
        }
    }

    /// The same with another client id.
    pub fn client_id(mut self, client_id: impl Into<String>) -> ClientConfig {
        self.client_id = client_id.into();
        self
    }

    /// The same with another bound on the time to connect.
    pub fn connect_timeout(mut self, timeout: Duration) -> ClientConfig {
        self.connect_timeout = timeout;
        self
    }

    /// The same with another bound on the time of a call.
    pub fn request_timeout(mut self, timeout: Duration) -> ClientConfig {
        self.request_timeout = timeout;
        self
    }

    /// The same with other pauses between attempts to connect.
    pub fn backoff(mut self, initial: Duration, max: Duration) -> ClientConfig {
        self.backoff_initial = initial;
        self.backoff_max = max;
        self
    }
}

impl Default for ClientConfig {
    fn default() -> ClientConfig {
        ClientConfig::from_env()
    }
}

impl ClientConfig {
    /// The endpoint as a URL.
    pub(crate) fn url(&self) -> Result<String, Error> {
        let endpoint = self.endpoint.trim();
        if endpoint.is_empty() {
            return Err(Error::invalid_config(
                "the endpoint is empty; give host:port",
            ));
        }
        match endpoint.split_once("://") {
            None => Ok(format!("http://{endpoint}")),
            Some(("http", _)) => Ok(endpoint.to_owned()),
            Some((scheme, _)) => Err(Error::invalid_config(format!(
                "the endpoint {endpoint} has the scheme {scheme}; only http is supported"
            ))),
        }
    }
}
