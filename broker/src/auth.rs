//! Who asks, and whether they may. Every call of the facade names its principal and asks the
//! authoriser; today everybody may do everything.

use std::fmt;

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal(String);

impl Principal {
    /// Somebody who has not said who they are.
    pub fn anonymous() -> Principal {
        Principal("anonymous".to_owned())
    }

    /// The operator, by the cluster's secret.
    pub fn operator() -> Principal {
        Principal("system:operator".to_owned())
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Append records to a topic.
    Produce,
    /// Read records of a topic.
    Consume,
    /// See a topic's settings and offsets.
    Describe,
    /// Create, change or delete a topic, or delete its records.
    Administer,
}

impl Action {
    /// A verb, for messages.
    pub fn verb(self) -> &'static str {
        match self {
            Action::Produce => "produce to",
            Action::Consume => "consume from",
            Action::Describe => "describe",
            Action::Administer => "administer",
        }
    }
}

/// Decides what a principal may do.
pub trait Authorizer: Send + Sync + 'static {
    /// Whether `principal` may do `action` on `resource` (`namespace/name`).
    fn allows(&self, principal: &Principal, action: Action, resource: &str) -> bool;
}

/// Everybody may do everything.
pub struct AllowAll;

impl Authorizer for AllowAll {
    fn allows(&self, _: &Principal, _: Action, _: &str) -> bool {
        true
    }
}
