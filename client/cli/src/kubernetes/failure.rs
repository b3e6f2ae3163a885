//! What an API server refuses, and what to do about it.

use std::error::Error;
use std::time::Duration;

use crate::failure::{Exit, Failure};

/// A request to the API server that had no good end.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// For people.
    pub(crate) failure: Failure,
    /// The object does not exist, or Kubernetes does not know its kind.
    pub(crate) missing: bool,
    /// Somebody else has changed the object meanwhile.
    pub(crate) conflict: bool,
    /// It will be refused again: who asks has no right to it.
    pub(crate) forbidden: bool,
}

impl Refusal {
    /// What the API server said about `doing` ("list pods").
    pub(super) fn new(doing: &str, error: &kube::Error, whom: &str) -> Refusal {
        let code = match error {
            kube::Error::Api(status) => status.code,
            _ => 0,
        };
        Refusal {
            failure: explain(doing, error, whom),
            missing: code == 404,
            conflict: code == 409,
            forbidden: code == 401 || code == 403,
        }
    }

    /// It said nothing in time.
    pub(super) fn late(doing: &str, after: Duration, whom: &str) -> Refusal {
        let failure = Failure::new(format!("cannot {doing}"))
            .exit(Exit::Timeout)
            .why(format!("{whom} did not answer within {after:?}"))
            .fix("wait longer with --timeout 2m, or name another Kubernetes with --kube-context NAME");
        Refusal::from(failure)
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Refusal {
        Refusal {
            failure,
            missing: false,
            conflict: false,
            forbidden: false,
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Failure {
        refusal.failure
    }
}

fn explain(doing: &str, error: &kube::Error, whom: &str) -> Failure {
    let failure = Failure::new(format!("cannot {doing}"));
    match error {
        kube::Error::Api(status) => {
            let says = match status.message.trim() {
                "" => format!("HTTP status {}", status.code),
                message => message.to_owned(),
            };
            let failure = failure.why(format!("{whom} says: {says}"));
            match status.code {
                401 => failure
                    .fix("log in to Kubernetes again; `kubectl auth whoami` shows who you are"),
                403 => {
                    failure.fix("ask for that right, or name a namespace where you have it with -n")
                }
                404 => failure.exit(Exit::NotFound),
                _ => failure,
            }
        }
        kube::Error::Auth(cause) => Failure::new("cannot log in to Kubernetes")
            .why(chain(cause))
            .fix("run the login of your Kubernetes again, then this command"),
        kube::Error::SerdeError(_) => failure
            .why(format!("an answer of {whom} cannot be understood: {error}"))
            .fix("use a `headwater` of the same version as the operator"),
        kube::Error::UpgradeConnection(cause) => {
            failure.why(format!("{whom} opened no tunnel: {cause}"))
        }
        kube::Error::Service(cause) => unreachable(cause.as_ref(), whom),
        error => unreachable(error, whom),
    }
}

fn unreachable(cause: &dyn Error, whom: &str) -> Failure {
    Failure::new("cannot reach Kubernetes")
        .why(format!("{whom}: {}", chain(cause)))
        .fix("is it running, and are you on its network? --kube-context NAME names another one")
}

/// The error and its causes, each said once.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[test]
    fn every_refusal_says_what_to_do() {
        let check = |code: u16, exit: Exit, fix: &str| {
            let status = Status::failure("no", "Reason").with_code(code);
            let error = kube::Error::Api(Box::new(status));
            let refusal = Refusal::new("list pods", &error, "https://k8s");
            assert_eq!(refusal.failure.exit, exit);
            assert_eq!(refusal.failure.what, "cannot list pods");
            assert!(refusal.failure.to_string().contains(fix), "{code}");
            assert_eq!(
                (refusal.missing, refusal.conflict),
                (code == 404, code == 409)
            );
        };
        check(401, Exit::Error, "log in");
        check(403, Exit::Error, "ask for that right");
        check(404, Exit::NotFound, "https://k8s says: no");
        check(409, Exit::Error, "https://k8s says: no");
    }

    #[test]
    fn an_unreachable_server_is_named_with_every_cause_once() {
        let refused = std::io::Error::other("connection refused");
        let error = kube::Error::Service(Box::new(refused));
        let text = Refusal::new("list pods", &error, "https://k8s")
            .failure
            .to_string();
        assert!(text.starts_with("error: cannot reach Kubernetes"), "{text}");
        assert_eq!(text.matches("connection refused").count(), 1, "{text}");
    }
}
