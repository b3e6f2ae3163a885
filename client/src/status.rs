//! From gRPC status and `google.rpc` details, and from entries of answers, to [`Error`].

use std::error::Error as StdError;
use std::time::Duration;

use headwater_proto::v1;
use tonic::{Code, ConnectError, Status, TimeoutExpired};
use tonic_types::StatusExt;

use crate::error::{BrokerError, Error};

/// `ErrorInfo.domain` of what Headwater says.
const DOMAIN: &str = "headwater.dev";

/// What a failed call means. Only a status that carries Headwater's details, or none of our own
/// transport's making, is the broker's word.
pub(crate) fn error(endpoint: &str, request_timeout: Duration, status: &Status) -> Error {
    let details = status.get_error_details();
    if let Some(info) = details.error_info().filter(|info| info.domain == DOMAIN) {
        let retry = details.retry_info();
        return Error::Broker(Box::new(BrokerError {
            code: status.code(),
            reason: info.reason.clone(),
            message: status.message().to_owned(),
            metadata: info.metadata.clone().into_iter().collect(),
            retriable: retry.is_some(),
            retry_after: retry.and_then(|retry| retry.retry_delay),
        }));
    }
    let endpoint = endpoint.to_owned();
    if in_chain::<ConnectError>(status) {
        return Error::Connect {
            endpoint,
            cause: innermost(status),
        };
    }
    if in_chain::<TimeoutExpired>(status) || status.code() == Code::DeadlineExceeded {
        return Error::Timeout {
            endpoint,
            after: request_timeout,
        };
    }
    if status.source().is_some() {
        return Error::Connection {
            endpoint,
            cause: innermost(status),
        };
    }
    Error::Broker(Box::new(BrokerError {
        code: status.code(),
        reason: String::new(),
        message: plain_message(status),
        metadata: Default::default(),
        retriable: status.code() == Code::Unavailable,
        retry_after: None,
    }))
}

/// What somebody who is not a Headwater broker (a proxy, another server) said.
fn plain_message(status: &Status) -> String {
    let description = status.code().description();
    match status.code() {
        Code::Unimplemented => {
            "the server does not have this call: an older broker, the broker's HTTP port (7680) \
             instead of the one for clients (7650), or not a Headwater broker at all"
                .to_owned()
        }
        _ if status.message().is_empty() => description.to_owned(),
        _ => status.message().to_owned(),
    }
}

impl From<v1::Error> for Error {
    /// The error that one entry of an answer holds.
    fn from(error: v1::Error) -> Error {
        Error::Broker(Box::new(BrokerError {
            code: Code::from_i32(error.code),
            reason: error.reason,
            message: error.message,
            metadata: error.metadata.into_iter().collect(),
            retriable: error.retriable,
            retry_after: None,
        }))
    }
}

fn in_chain<T: StdError + 'static>(error: &(dyn StdError + 'static)) -> bool {
    std::iter::successors(Some(error), |&error| error.source()).any(|error| error.is::<T>())
}

/// The first cause, which says most: "connection refused" rather than "transport error".
pub(crate) fn innermost(error: &(dyn StdError + 'static)) -> String {
    let first = std::iter::successors(Some(error), |&error| error.source()).last();
    first.map_or_else(String::new, ToString::to_string)
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;

    fn broker_error(status: &Status) -> BrokerError {
        match error("host:1", Duration::from_secs(1), status) {
            Error::Broker(broker) => *broker,
            other => panic!("not the broker's word: {other:?}"),
        }
    }

    #[test]
    fn details_of_the_broker_become_facts() {
        let mut details = ErrorDetails::new();
        let facts = [("actual_offset".to_owned(), "7".to_owned())];
        details.set_error_info("OFFSET_MISMATCH", DOMAIN, facts.clone());
        details.set_retry_info(Some(Duration::from_millis(100)));
        let status = Status::with_error_details(Code::Aborted, "the next offset is 7", details);
        let error = broker_error(&status);
        assert_eq!(
            (error.code, error.reason.as_str()),
            (Code::Aborted, "OFFSET_MISMATCH")
        );
        assert_eq!(error.metadata, facts.into_iter().collect());
        assert_eq!(error.to_string(), "the next offset is 7 (OFFSET_MISMATCH)");
        assert!(error.retriable);
        assert_eq!(error.retry_after, Some(Duration::from_millis(100)));
    }

    #[test]
    fn details_of_strangers_are_not_believed() {
        let mut details = ErrorDetails::new();
        details.set_error_info("X", "example.com", [("a".to_owned(), "b".to_owned())]);
        let status = Status::with_error_details(Code::Internal, "no", details);
        assert_eq!(broker_error(&status).reason, "");
    }

    #[test]
    fn a_server_without_the_call_is_named_as_such() {
        let error = broker_error(&Status::unimplemented(""));
        assert!(
            error.message.contains("not a Headwater broker"),
            "{}",
            error.message
        );
        assert!(!error.retriable);
    }
}
