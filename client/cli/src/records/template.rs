//! `-o template=…`: a line of one's own for each record.

use std::str::FromStr;

use headwater_client::ConsumerRecord;

use super::json;
use crate::moment::show_utc;

/// A parsed template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Topic,
    Partition,
    Offset,
    Key,
    Value,
    Time,
    TimestampMs,
    Headers,
    Header(String),
}

/// What can stand in braces, for messages and help.
pub(crate) const FIELDS: &str = "{topic} {partition} {offset} {key} {value} {time} {timestamp_ms} \
                                 {headers} {header:NAME}";

impl Template {
    /// Appends the record's text.
    pub(crate) fn render(&self, out: &mut Vec<u8>, record: &ConsumerRecord) {
        for part in &self.parts {
            match part {
                Part::Text(text) => out.extend_from_slice(text.as_bytes()),
                Part::Topic => out.extend_from_slice(record.topic.as_bytes()),
                Part::Partition => out.extend_from_slice(record.partition.to_string().as_bytes()),
                Part::Offset => out.extend_from_slice(record.offset.to_string().as_bytes()),
                Part::Key => out.extend_from_slice(record.key.as_deref().unwrap_or_default()),
                Part::Value => out.extend_from_slice(record.value.as_deref().unwrap_or_default()),
                Part::Time => out.extend_from_slice(show_utc(record.timestamp_ms).as_bytes()),
                Part::TimestampMs => {
                    out.extend_from_slice(record.timestamp_ms.to_string().as_bytes());
                }
                Part::Headers => push_headers(out, record),
                Part::Header(name) => {
                    let header = record
                        .headers
                        .iter()
                        .rev()
                        .find(|header| header.name == *name);
                    let value = header.and_then(|header| header.value.as_deref());
                    out.extend_from_slice(value.unwrap_or_default());
                }
            }
        }
    }
}

/// A JSON array, `[]` if there are none.
fn push_headers(out: &mut Vec<u8>, record: &ConsumerRecord) {
    let mut field = Vec::new();
    json::push_headers(&mut field, &record.headers);
    let array = field.strip_prefix(b",\"headers\":").unwrap_or(b"[]");
    out.extend_from_slice(array);
}

impl FromStr for Template {
    type Err = String;

    /// `\n`, `\t`, `\0`, `\\` are escapes and `{{`, `}}` are braces. A line feed is added unless
    /// the template ends in `\n` or `\0`.
    fn from_str(template: &str) -> Result<Template, String> {
        let mut parts = Vec::new();
        let mut text = String::new();
        let mut chars = template.chars().peekable();
        while let Some(char) = chars.next() {
            match char {
                '\\' => text.push(escape(chars.next())?),
                '{' | '}' if chars.peek() == Some(&char) => {
                    chars.next();
                    text.push(char);
                }
                '}' => return Err("a } stands alone; write }} for a brace".to_owned()),
                '{' => {
                    let name: String =
                        std::iter::from_fn(|| chars.next_if(|next| *next != '}')).collect();
                    if chars.next().is_none() {
                        return Err(format!("the brace of {{{name} is not closed"));
                    }
                    if !text.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut text)));
                    }
                    parts.push(field(&name)?);
                }
                _ => text.push(char),
            }
        }
        if !text.ends_with(['\n', '\0']) {
            text.push('\n');
        }
        parts.push(Part::Text(text));
        Ok(Template { parts })
    }
}

fn escape(char: Option<char>) -> Result<char, String> {
    match char {
        Some('n') => Ok('\n'),
        Some('t') => Ok('\t'),
        Some('r') => Ok('\r'),
        Some('0') => Ok('\0'),
        Some('\\') => Ok('\\'),
        Some(other) => Err(format!(
            "\\{other} is no escape; there are \\n \\t \\r \\0 \\\\"
        )),
        None => Err("the template ends in a single \\".to_owned()),
    }
}

fn field(name: &str) -> Result<Part, String> {
    match name {
        "topic" => Ok(Part::Topic),
        "partition" => Ok(Part::Partition),
        "offset" => Ok(Part::Offset),
        "key" => Ok(Part::Key),
        "value" => Ok(Part::Value),
        "time" => Ok(Part::Time),
        "timestamp_ms" => Ok(Part::TimestampMs),
        "headers" => Ok(Part::Headers),
        _ => match name.strip_prefix("header:") {
            Some(header) => Ok(Part::Header(header.to_owned())),
            None => Err(format!("{{{name}}} is no field; there are {FIELDS}")),
        },
    }
}

#[cfg(test)]
mod tests {
    use headwater_client::Header;

    use super::*;

    fn render(template: &str) -> String {
        let record = ConsumerRecord {
            topic: "t".into(),
            partition: 3,
            offset: 42,
            timestamp_ms: 1_357_059_600_000,
            key: Some("k".into()),
            value: None,
            headers: vec![Header {
                name: "trace".into(),
                value: Some("7".into()),
            }],
        };
        let mut out = Vec::new();
        template
            .parse::<Template>()
            .unwrap()
            .render(&mut out, &record);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_field_is_filled_in() {
        assert_eq!(
            render("{topic}/{partition}@{offset} {key}={value}"),
            "t/3@42 k=\n"
        );
        assert_eq!(
            render("{time} {timestamp_ms}"),
            "2013-01-01T17:00:00.000Z 1357059600000\n"
        );
        assert_eq!(render("{header:trace}{header:none}"), "7\n");
        assert_eq!(
            render("{headers}"),
            "[{\"name\":\"trace\",\"value\":\"7\"}]\n"
        );
    }

    #[test]
    fn escapes_and_braces_stand_for_themselves() {
        assert_eq!(render(r"a\tb\\{{}}"), "a\tb\\{}\n");
        assert_eq!(render(r"{key}\n"), "k\n");
        assert_eq!(render(r"{key}\0"), "k\0");
    }

    #[test]
    fn faults_say_what_there_is() {
        assert!("{kye}".parse::<Template>().unwrap_err().contains("{key}"));
        assert!(
            "{key"
                .parse::<Template>()
                .unwrap_err()
                .contains("not closed")
        );
        assert!("}".parse::<Template>().is_err());
        assert!("a\\".parse::<Template>().is_err());
        assert!("\\x".parse::<Template>().is_err());
    }
}
