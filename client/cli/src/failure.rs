//! What went wrong, why, and the command that would fix it; and the exit code that says which kind.

use std::fmt;

use headwater_client::{Code, Error};

/// How the program ends. The numbers are a promise to scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Anything without a code of its own.
    Error = 1,
    /// The command line cannot be understood.
    Usage = 2,
    /// What was asked for does not exist.
    NotFound = 3,
    /// No answer in time.
    Timeout = 4,
    /// Some of it was done and some was not.
    Partial = 5,
    /// Ctrl-C.
    Interrupt = 130,
}

/// Why a command failed, for people.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Exit code.
    pub(crate) exit: Exit,
    /// What went wrong, in one line.
    pub(crate) what: String,
    /// Why, if that is known.
    pub(crate) why: Option<String>,
    /// What to do: a command where there is one.
    pub(crate) fix: Option<String>,
}

/// Result of a command.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    /// A failure with exit code 1.
    pub(crate) fn new(what: impl Into<String>) -> Failure {
        Failure {
            exit: Exit::Error,
            what: what.into(),
            why: None,
            fix: None,
        }
    }

    /// A command line that cannot be understood.
    pub(crate) fn usage(what: impl Into<String>) -> Failure {
        Failure::new(what).exit(Exit::Usage)
    }

    /// The same with another exit code.
    pub(crate) fn exit(mut self, exit: Exit) -> Failure {
        self.exit = exit;
        self
    }

    /// The same with a reason.
    pub(crate) fn why(mut self, why: impl Into<String>) -> Failure {
        self.why = Some(why.into());
        self
    }

    /// The same with a remedy.
    pub(crate) fn fix(mut self, fix: impl Into<String>) -> Failure {
        self.fix = Some(fix.into());
        self
    }

    /// Whether a topic was to be created that is there already.
    pub(crate) fn topic_exists(error: &Error) -> bool {
        error
            .broker()
            .is_some_and(|broker| broker.code == Code::AlreadyExists)
    }

    /// The reader of our output has gone (`| head`), which is no failure.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        self.exit == Exit::Error && self.what == BROKEN_PIPE
    }

    /// What the SDK or the broker says about `doing` ("create topic flights").
    pub(crate) fn from_client(doing: &str, error: &Error) -> Failure {
        let failure = Failure::new(format!("cannot {doing}")).why(error.to_string());
        let reason = error.reason();
        let exit = exit_of(error);
        let failure = failure.exit(exit);
        match remedy(error, reason) {
            Some(fix) => failure.fix(fix),
            None => failure,
        }
    }
}

const BROKEN_PIPE: &str = "broken pipe";

impl From<std::io::Error> for Failure {
    /// Of writing to stdout; files say their name.
    fn from(error: std::io::Error) -> Failure {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return Failure::new(BROKEN_PIPE);
        }
        Failure::new("cannot write the output").why(error.to_string())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.what)?;
        if let Some(why) = &self.why {
            write!(f, "\n  why: {}", why.replace('\n', "\n       "))?;
        }
        if let Some(fix) = &self.fix {
            write!(f, "\n  fix: {}", fix.replace('\n', "\n       "))?;
        }
        Ok(())
    }
}

fn exit_of(error: &Error) -> Exit {
    match error {
        Error::Timeout { .. } | Error::DeliveryTimeout { .. } => Exit::Timeout,
        Error::NoSuchPartition { .. } => Exit::NotFound,
        Error::Broker(broker) => match broker.code {
            Code::NotFound => Exit::NotFound,
            Code::DeadlineExceeded => Exit::Timeout,
            _ => Exit::Error,
        },
        _ => Exit::Error,
    }
}

fn remedy(error: &Error, reason: &str) -> Option<String> {
    let fact = |name: &str| error.broker().and_then(|broker| broker.metadata.get(name));
    let fix = match reason {
        "CONNECT" => "start a broker with `headwater quickstart`, or name another address with \
                      --endpoint HOST:PORT; `headwater doctor` looks at every step of the way"
            .to_owned(),
        "CONNECTION" => "run `headwater doctor` to see how far a request gets".to_owned(),
        "TIMEOUT" => "wait longer with --timeout 2m, or run `headwater doctor`".to_owned(),
        "TOPIC_NOT_FOUND" => {
            let topic = fact("topic").map_or("NAME", String::as_str);
            format!(
                "`headwater topic list` shows what there is; `headwater topic create {topic}` \
                 creates it"
            )
        }
        "TOPIC_EXISTS" => "`headwater topic list` shows it; choose another name, or \
                                   change it with `headwater topic edit`"
            .to_owned(),
        "PARTITION_NOT_FOUND" => {
            "`headwater topic describe TOPIC` shows the partitions; they count from 0".to_owned()
        }
        "OFFSET_OUT_OF_RANGE" => "read from --from begin, or from an offset within the range \
                                  that `headwater topic describe TOPIC` shows"
            .to_owned(),
        "DATA_LOSS" => match error {
            Error::DataLoss { end_offset, .. } => {
                format!("read on behind the damage with --from {end_offset}")
            }
            _ => "read on behind the damage with --from OFFSET".to_owned(),
        },
        "RECORD_TOO_LARGE" => {
            "send smaller records, or raise the limit with `headwater topic edit \
                               TOPIC --message-bytes-max 4MiB`"
                .to_owned()
        }
        "STORAGE_FULL" => "free space on the broker's disk: shorten retention with `headwater \
                           topic edit TOPIC --retention 1d`, or `headwater topic delete-records`; \
                           `headwater cluster health` says whether it waits for the tier"
            .to_owned(),
        "TIER_NOT_CONFIGURED" => "set tier.url in the broker's configuration, or spec.tier of the \
                                  Cluster in Kubernetes"
            .to_owned(),
        "INVALID_CONFIG" if error.to_string().contains("endpoint") => {
            "give --endpoint HOST:PORT, for example --endpoint localhost:7650".to_owned()
        }
        _ => return None,
    };
    Some(fix)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_failure_says_what_why_and_the_remedy() {
        let failure = Failure::new("cannot open f")
            .why("no such file")
            .fix("touch f");
        let text = "error: cannot open f\n  why: no such file\n  fix: touch f";
        assert_eq!(failure.to_string(), text);
    }

    #[test]
    fn every_kind_of_client_error_has_its_exit_code() {
        let timeout = Error::Timeout {
            endpoint: "h:1".into(),
            after: Duration::from_secs(1),
        };
        let partition = Error::NoSuchPartition {
            topic: "t".into(),
            partition: 9,
            partitions: 6,
        };
        assert_eq!(Failure::from_client("x", &timeout).exit, Exit::Timeout);
        assert_eq!(Failure::from_client("x", &partition).exit, Exit::NotFound);
        assert_eq!(Failure::from_client("x", &Error::Closed).exit, Exit::Error);
    }

    #[test]
    fn a_refused_connection_names_the_way_out() {
        let error = Error::Connect {
            endpoint: "h:1".into(),
            cause: "refused".into(),
        };
        let text = Failure::from_client("list topics", &error).to_string();
        assert!(text.starts_with("error: cannot list topics\n  why: cannot connect to h:1"));
        assert!(text.contains("headwater quickstart"), "{text}");
    }
}
