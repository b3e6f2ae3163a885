//! Reads records from a file or from stdin, on a thread of its own: a terminal or a pipe may make
//! it wait for ever.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use tokio::sync::mpsc;

use super::parse::{LineFormat, ParsedRecord};
use crate::failure::{Exit, Failure, Outcome};

/// The longest line that is read: above the largest batch that a broker can be told to take.
const LINE_BYTES_MAX: u64 = 64 << 20;

/// Records handed over at once, at most: enough to make the hand-over cheap.
const RECORDS_AT_ONCE: usize = 1024;

/// Hand-overs that may wait for the sender.
const HANDOVERS_MAX: usize = 4;

/// Where lines come from.
pub(crate) struct Source {
    reader: Box<dyn Read + Send>,
    /// For messages.
    name: String,
    /// Bytes in all, if that is known.
    pub(crate) size_bytes: Option<u64>,
}

impl Source {
    /// Standard input.
    pub(crate) fn stdin() -> Source {
        Source {
            reader: Box::new(std::io::stdin()),
            name: "stdin".to_owned(),
            size_bytes: None,
        }
    }

    /// Text in memory.
    #[cfg(feature = "embedded")]
    pub(crate) fn text(name: &str, text: &'static str) -> Source {
        let size_bytes = Some(text.len() as u64);
        Source {
            reader: Box::new(text.as_bytes()),
            name: name.to_owned(),
            size_bytes,
        }
    }

    /// A file, `-` being stdin.
    pub(crate) fn open(path: &Path) -> Outcome<Source> {
        if path == Path::new("-") {
            return Ok(Source::stdin());
        }
        let name = path.display().to_string();
        let unreadable = |error: std::io::Error| {
            let exit = match error.kind() {
                std::io::ErrorKind::NotFound => Exit::NotFound,
                _ => Exit::Error,
            };
            Failure::new(format!("cannot open {name}"))
                .exit(exit)
                .why(error.to_string())
                .fix("name a file that can be read with --file, or pipe the records in")
        };
        let file = std::fs::File::open(path).map_err(unreadable)?;
        let metadata = file.metadata().map_err(unreadable)?;
        if metadata.is_dir() {
            return Err(unreadable(std::io::ErrorKind::IsADirectory.into()));
        }
        let size_bytes = metadata.is_file().then_some(metadata.len());
        Ok(Source {
            reader: Box::new(file),
            name,
            size_bytes,
        })
    }

    /// Starts to read; records arrive in order, the first failure ends it.
    pub(crate) fn start(
        self,
        format: LineFormat,
        max: Option<u64>,
    ) -> mpsc::Receiver<Outcome<Handover>> {
        let (sender, receiver) = mpsc::channel(HANDOVERS_MAX);
        std::thread::spawn(move || {
            let mut lines = Lines {
                reader: BufReader::with_capacity(1 << 20, self.reader),
                name: self.name,
                format,
                buffer: Vec::new(),
                number: 0,
                left: max.unwrap_or(u64::MAX),
                fault: None,
            };
            loop {
                let handover = lines.next();
                let last = match &handover {
                    Ok(handover) if handover.records.is_empty() => return,
                    Ok(_) => false,
                    Err(_) => true,
                };
                // A receiver that has gone ends the reading as well.
                if sender.blocking_send(handover).is_err() || last {
                    return;
                }
            }
        });
        receiver
    }
}

/// Some records, in order.
#[derive(Debug, Default)]
pub(crate) struct Handover {
    /// What the lines say.
    pub(crate) records: Vec<ParsedRecord>,
    /// Bytes of the lines.
    pub(crate) bytes: u64,
}

struct Lines {
    reader: BufReader<Box<dyn Read + Send>>,
    name: String,
    format: LineFormat,
    /// The line at hand.
    buffer: Vec<u8>,
    /// Its number, from one.
    number: u64,
    /// Records that may still be read.
    left: u64,
    /// Met behind good lines, which are handed over first.
    fault: Option<Failure>,
}

impl Lines {
    /// What can be had without waiting, at least one record; none at the end.
    fn next(&mut self) -> Outcome<Handover> {
        if let Some(fault) = self.fault.take() {
            return Err(fault);
        }
        let mut handover = Handover::default();
        while self.left > 0 && handover.records.len() < RECORDS_AT_ONCE {
            let waits = !self.reader.buffer().contains(&b'\n');
            if waits && !handover.records.is_empty() {
                break;
            }
            match self.line(&mut handover) {
                Ok(true) => {}
                Ok(false) => break,
                Err(fault) if handover.records.is_empty() => return Err(fault),
                Err(fault) => {
                    self.fault = Some(fault);
                    break;
                }
            }
        }
        Ok(handover)
    }

    /// Reads one line; false at the end.
    fn line(&mut self, handover: &mut Handover) -> Outcome<bool> {
        self.buffer.clear();
        self.number += 1;
        let mut limited = self.reader.by_ref().take(LINE_BYTES_MAX);
        let read = limited.read_until(b'\n', &mut self.buffer);
        let read = read.map_err(|error| self.fault(error))? as u64;
        if self.buffer.last() == Some(&b'\n') {
            self.buffer.pop();
        } else if read == LINE_BYTES_MAX {
            return Err(self.fault(format!("it is longer than {LINE_BYTES_MAX} bytes")));
        }
        if read == 0 {
            return Ok(false);
        }
        handover.bytes += read;
        if let Some(record) = self
            .format
            .parse(&self.buffer)
            .map_err(|why| self.fault(why))?
        {
            handover.records.push(record);
            self.left -= 1;
        }
        Ok(true)
    }

    fn fault(&self, why: impl ToString) -> Failure {
        let failure = Failure::new(format!("cannot read line {} of {}", self.number, self.name));
        let failure = failure.why(why.to_string());
        match &self.format {
            LineFormat::Ndjson => failure.fix(
                "a line looks like {\"timestamp_ms\":1357035300000,\"key\":\"k\",\"value\":{…}}; \
                 send lines as they are with --format text",
            ),
            LineFormat::Text {
                key_separator: Some(separator),
            } => failure.fix(format!(
                "a line looks like key{separator}value; send lines without keys by leaving \
                 --key-separator out"
            )),
            LineFormat::Text {
                key_separator: None,
            } => failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &'static str, max: Option<u64>) -> Vec<Outcome<usize>> {
        let source = Source {
            reader: Box::new(text.as_bytes()),
            name: "in".into(),
            size_bytes: None,
        };
        let mut receiver = source.start(LineFormat::Ndjson, max);
        std::iter::from_fn(|| receiver.blocking_recv())
            .map(|handover| handover.map(|handover| handover.records.len()))
            .collect()
    }

    #[test]
    fn a_last_line_without_line_feed_counts() {
        assert!(matches!(
            read("{\"value\":1}\n\n{\"value\":2}", None)[..],
            [Ok(1), Ok(1)]
        ));
        assert!(read("", None).is_empty());
    }

    #[test]
    fn no_more_than_asked_for_is_read() {
        assert!(matches!(
            read("{\"value\":1}\n{\"value\":2}\nbroken\n", Some(2))[..],
            [Ok(2)]
        ));
    }

    #[test]
    fn a_bad_line_is_named_by_number_behind_the_good_ones() {
        let got = read("{\"value\":1}\nbroken\n{\"value\":2}\n", None);
        let [Ok(1), Err(failure)] = &got[..] else {
            panic!("{got:?}")
        };
        assert_eq!(failure.what, "cannot read line 2 of in");
    }

    #[test]
    fn a_missing_file_is_not_found() {
        let Err(failure) = Source::open(Path::new("/no/such/file")) else {
            panic!("it opened")
        };
        assert_eq!(failure.exit, Exit::NotFound);
        assert!(Source::open(Path::new("/")).is_err());
    }
}
