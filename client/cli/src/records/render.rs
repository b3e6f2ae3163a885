//! Records as lines: `-o` of `consume` and `tail`.

use std::io::Write;
use std::str::FromStr;

use headwater_client::ConsumerRecord;
use jiff::tz::TimeZone;

use super::json::{push_headers, push_string, push_text, push_value};
use super::template::Template;
use crate::moment::show_in;
use crate::talk::Paint;

/// Form of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RecordFormat {
    /// The value.
    Text,
    /// Time, place, key and value for people.
    Pretty,
    /// A JSON object with everything.
    Json,
    /// A JSON object that `produce --format ndjson` takes: the way to copy a topic.
    Ndjson,
    /// What the template says.
    Template(Template),
}

impl FromStr for RecordFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<RecordFormat, String> {
        match text {
            "text" => Ok(RecordFormat::Text),
            "pretty" => Ok(RecordFormat::Pretty),
            "json" => Ok(RecordFormat::Json),
            "ndjson" => Ok(RecordFormat::Ndjson),
            _ => match text.strip_prefix("template=") {
                Some(template) => template.parse().map(RecordFormat::Template),
                None => Err(format!(
                    "{text:?} is no form of a record; there are text, pretty, json, ndjson and \
                     template='{{key}} {{value}}'"
                )),
            },
        }
    }
}

/// Turns records into lines.
pub(crate) struct Renderer {
    format: RecordFormat,
    paint: Paint,
    zone: TimeZone,
    /// Whether each line must say the topic.
    topics: bool,
}

impl Renderer {
    /// For the records of one or (`topics`) several topics.
    pub(crate) fn new(format: RecordFormat, paint: Paint, topics: bool) -> Renderer {
        Renderer {
            format,
            paint,
            zone: TimeZone::system(),
            topics,
        }
    }

    /// Appends the record and its line feed.
    pub(crate) fn render(&self, out: &mut Vec<u8>, record: &ConsumerRecord) {
        match &self.format {
            RecordFormat::Template(template) => template.render(out, record),
            RecordFormat::Text => {
                out.extend_from_slice(record.value.as_deref().unwrap_or_default());
                out.push(b'\n');
            }
            RecordFormat::Pretty => self.pretty(out, record),
            RecordFormat::Json => {
                out.extend_from_slice(b"{\"topic\":");
                push_string(out, &record.topic);
                push(out, format_args!(",\"partition\":{}", record.partition));
                push(out, format_args!(",\"offset\":{},", record.offset));
                push_record(out, record);
            }
            RecordFormat::Ndjson => {
                out.push(b'{');
                push_record(out, record);
            }
        }
    }

    fn pretty(&self, out: &mut Vec<u8>, record: &ConsumerRecord) {
        let (paint, mut place) = (
            self.paint,
            format!("{}/{}", record.partition, record.offset),
        );
        if self.topics {
            place = format!("{}/{place}", record.topic);
        }
        let key = record
            .key
            .as_deref()
            .map_or_else(|| "-".to_owned(), printable);
        push(
            out,
            format_args!(
                "{}  {}  {}  ",
                paint.dim(show_in(record.timestamp_ms, &self.zone)),
                paint.dim(format_args!("{place:>7}")),
                paint.cyan(format_args!("{key:<8}")),
            ),
        );
        for header in &record.headers {
            let value = header.value.as_deref().map(printable).unwrap_or_default();
            push(
                out,
                format_args!("{} ", paint.yellow(format_args!("{}={value}", header.name))),
            );
        }
        match &record.value {
            Some(value) => out.extend_from_slice(printable(value).as_bytes()),
            None => push(out, format_args!("{}", paint.dim("(no value)"))),
        }
        out.push(b'\n');
    }
}

/// The fields that can be sent again, and the closing brace.
fn push_record(out: &mut Vec<u8>, record: &ConsumerRecord) {
    push(
        out,
        format_args!("\"timestamp_ms\":{},", record.timestamp_ms),
    );
    push_text(out, "key", record.key.as_deref());
    out.push(b',');
    push_value(out, "value", record.value.as_deref());
    push_headers(out, &record.headers);
    out.extend_from_slice(b"}\n");
}

/// Text that cannot steer the terminal.
fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    if !text.contains(char::is_control) {
        return text.into_owned();
    }
    let escaped = |c: char| match c {
        c if c.is_control() => c.escape_default().to_string(),
        c => c.to_string(),
    };
    text.chars().map(escaped).collect()
}

fn push(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing to memory cannot fail");
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use headwater_client::Header;

    use super::*;
    use crate::records::parse::LineFormat;

    fn record(key: Option<&[u8]>, value: Option<&[u8]>) -> ConsumerRecord {
        ConsumerRecord {
            topic: "flights".into(),
            partition: 3,
            offset: 42,
            timestamp_ms: 7,
            key: key.map(Bytes::copy_from_slice),
            value: value.map(Bytes::copy_from_slice),
            headers: Vec::new(),
        }
    }

    fn render(format: &str, record: &ConsumerRecord) -> String {
        let mut out = Vec::new();
        Renderer::new(format.parse().unwrap(), Paint::PLAIN, false).render(&mut out, record);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_form_shows_the_record() {
        let record = record(Some(b"k"), Some(br#"{"a": 1}"#));
        assert_eq!(render("text", &record), "{\"a\": 1}\n");
        assert_eq!(
            render("json", &record),
            "{\"topic\":\"flights\",\"partition\":3,\"offset\":42,\"timestamp_ms\":7,\
             \"key\":\"k\",\"value\":{\"a\": 1}}\n"
        );
        let line = "{\"timestamp_ms\":7,\"key\":\"k\",\"value\":{\"a\": 1}}\n";
        assert_eq!(render("ndjson", &record), line);
        assert_eq!(render("template={key}:{offset}", &record), "k:42\n");
        assert!(render("pretty", &record).ends_with("     3/42  k         {\"a\": 1}\n"));
        assert!(
            "xml"
                .parse::<RecordFormat>()
                .unwrap_err()
                .contains("ndjson")
        );
    }

    #[test]
    fn a_terminal_is_not_steered_by_a_value() {
        let line = render("pretty", &record(None, Some(b"\x1b[2Jgone")));
        assert!(line.ends_with("\\u{1b}[2Jgone\n"), "{line:?}");
    }

    #[test]
    fn exported_lines_give_the_same_bytes_when_read_again() {
        let values: [Option<&[u8]>; 12] = [
            None,
            Some(b""),
            Some(b"null"),
            Some(b"12.50"),
            Some(b"\"quoted\""),
            Some(b"{\"a\":  1}"),
            Some(b"[1, 2]"),
            Some(b"{\n\"a\":1}"),
            Some(b"{not json}"),
            Some(b"{} "),
            Some(b"\xff\xfe"),
            Some("é \u{1f600} \t\n".as_bytes()),
        ];
        for value in values {
            for key in values {
                let mut record = record(key, value);
                record.headers = vec![Header {
                    name: "h\"".into(),
                    value: record.value.clone(),
                }];
                for format in ["json", "ndjson"] {
                    let line = render(format, &record);
                    assert_eq!(line.matches('\n').count(), 1, "{line:?}");
                    let read = LineFormat::Ndjson
                        .parse(line.trim_end().as_bytes())
                        .unwrap();
                    let read = read.unwrap();
                    assert_eq!(
                        (&read.key, &read.value),
                        (&record.key, &record.value),
                        "{line}"
                    );
                    assert_eq!(read.headers, record.headers, "{line}");
                    assert_eq!(read.timestamp_ms, Some(7));
                }
            }
        }
    }

    #[test]
    fn the_sample_comes_out_byte_for_byte_as_it_went_in() {
        let sample = include_str!("../../../../examples/data/flights-2013-01-01.ndjson");
        for line in sample.lines() {
            let read = LineFormat::Ndjson.parse(line.as_bytes()).unwrap().unwrap();
            let mut record = record(read.key.as_deref(), read.value.as_deref());
            record.timestamp_ms = read.timestamp_ms.unwrap();
            assert_eq!(render("ndjson", &record).trim_end(), line);
        }
    }
}
