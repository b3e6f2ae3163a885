//! HTTP for the stores: one client for all of them, made here because opendal's own panics where it cannot be made.

use std::time::Duration;

use anyhow::Context as _;
use opendal::HttpTransporter;
use opendal_http_transport_reqwest::ReqwestTransport;

/// A server that does not answer a connection within this time is taken to be down.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A transport. Where the address is encrypted, servers are held to the system's certificate authorities, or to
/// Mozilla's where the system has none, as in an image with nothing but our programs.
pub(super) fn transport(encrypted: bool) -> anyhow::Result<HttpTransporter> {
    // No harm if another part of the process has chosen already.
    drop(rustls::crypto::ring::default_provider().install_default());
    let client = match encrypted {
        false => builder().tls_certs_only([]).build(),
        true => builder().build().or_else(|error| {
            tracing::info!(%error, "the system has no certificate authorities; Mozilla's are used");
            builder().tls_certs_only(mozilla()).build()
        }),
    };
    let client = client.context("tier.url: cannot set up TLS")?;
    Ok(HttpTransporter::new(ReqwestTransport::new(client)))
}

fn mozilla() -> impl Iterator<Item = reqwest::Certificate> {
    let authorities = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter();
    authorities.filter_map(|der| reqwest::Certificate::from_der(der).ok())
}

fn builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        // A redirected write could go around the condition that it is sent under.
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("headwater/", env!("CARGO_PKG_VERSION")))
}
