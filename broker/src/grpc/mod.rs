//! The API: one file per service, thin; `status.rs` is the only place that maps errors.

mod cluster;
mod consumer;
mod convert;
pub(crate) mod internal;
mod limit;
mod producer;
pub(crate) mod server;
mod status;
mod stream;
mod subscribe;
mod tier;
mod topic;

use std::sync::Arc;

use crate::auth::Principal;
use crate::facade::Broker;

/// What every service holds.
#[derive(Clone)]
struct Service {
    broker: Arc<Broker>,
}

impl Service {
    /// Who is calling: whom the listener has recognised. Until clients authenticate, nobody in
    /// particular.
    fn principal<T>(&self, request: &tonic::Request<T>) -> Principal {
        let known = request.extensions().get::<Principal>().cloned();
        known.unwrap_or_else(Principal::anonymous)
    }
}
