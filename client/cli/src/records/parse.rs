//! Records from lines of text.

use std::borrow::Cow;

use bytes::Bytes;
use headwater_client::Header;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::json::from_base64;

/// What a line says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ParsedRecord {
    /// Absent is a null key.
    pub(crate) key: Option<Bytes>,
    /// Absent is a null value.
    pub(crate) value: Option<Bytes>,
    /// In order.
    pub(crate) headers: Vec<Header>,
    /// Absent: when it is sent.
    pub(crate) timestamp_ms: Option<i64>,
}

/// Form of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LineFormat {
    /// The value, or key and value if there is a separator.
    Text {
        /// Stands between key and value; never empty.
        key_separator: Option<String>,
    },
    /// A JSON object: `timestamp_ms`, `key`, `value`, `headers`.
    Ndjson,
}

impl LineFormat {
    /// The record of a line (without its line feed); `None` for a blank line of NDJSON.
    pub(crate) fn parse(&self, line: &[u8]) -> Result<Option<ParsedRecord>, String> {
        match self {
            LineFormat::Text { key_separator } => {
                parse_text(line, key_separator.as_deref()).map(Some)
            }
            LineFormat::Ndjson if line.trim_ascii().is_empty() => Ok(None),
            LineFormat::Ndjson => parse_json(line).map(Some),
        }
    }
}

fn parse_text(line: &[u8], key_separator: Option<&str>) -> Result<ParsedRecord, String> {
    let Some(separator) = key_separator else {
        let value = Some(Bytes::copy_from_slice(line));
        return Ok(ParsedRecord {
            value,
            ..ParsedRecord::default()
        });
    };
    let at = line
        .windows(separator.len())
        .position(|window| window == separator.as_bytes());
    let Some(at) = at else {
        return Err(format!("there is no key separator {separator:?} in it"));
    };
    let (key, rest) = line.split_at(at);
    let value = rest.split_at(separator.len()).1;
    Ok(ParsedRecord {
        key: Some(Bytes::copy_from_slice(key)),
        value: Some(Bytes::copy_from_slice(value)),
        ..ParsedRecord::default()
    })
}

/// Fields are named as the API's; those of `consume -o json` are accepted so that its lines can
/// be sent again.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonLine<'a> {
    #[serde(default)]
    timestamp_ms: Option<i64>,
    #[serde(default, borrow, deserialize_with = "given")]
    key: Option<&'a RawValue>,
    #[serde(default, borrow)]
    key_base64: Option<Cow<'a, str>>,
    #[serde(default, borrow, deserialize_with = "given")]
    value: Option<&'a RawValue>,
    #[serde(default, borrow)]
    value_base64: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    headers: Vec<JsonHeader<'a>>,
    #[serde(default, rename = "topic")]
    _topic: serde::de::IgnoredAny,
    #[serde(default, rename = "partition")]
    _partition: serde::de::IgnoredAny,
    #[serde(default, rename = "offset")]
    _offset: serde::de::IgnoredAny,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonHeader<'a> {
    name: String,
    #[serde(default, borrow, deserialize_with = "given")]
    value: Option<&'a RawValue>,
    #[serde(default, borrow)]
    value_base64: Option<Cow<'a, str>>,
}

/// Tells `null` (given) from absent.
fn given<'de: 'a, 'a, D: Deserializer<'de>>(from: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

fn parse_json(line: &[u8]) -> Result<ParsedRecord, String> {
    let line: JsonLine<'_> = serde_json::from_slice(line).map_err(|error| without_line(&error))?;
    if line.value.is_none() && line.value_base64.is_none() {
        return Err("it has no field `value` (null makes a record without value)".to_owned());
    }
    let header = |header: JsonHeader<'_>| {
        let value = bytes_of("value", header.value, header.value_base64)?;
        Ok(Header {
            name: header.name,
            value,
        })
    };
    Ok(ParsedRecord {
        key: bytes_of("key", line.key, line.key_base64)?,
        value: bytes_of("value", line.value, line.value_base64)?,
        headers: line
            .headers
            .into_iter()
            .map(header)
            .collect::<Result<_, String>>()?,
        timestamp_ms: line.timestamp_ms,
    })
}

/// A string gives its text, null gives null, anything else its bytes as they stand in the line.
fn bytes_of(
    name: &str,
    raw: Option<&RawValue>,
    base64: Option<Cow<'_, str>>,
) -> Result<Option<Bytes>, String> {
    let raw = match (raw, base64) {
        (Some(_), Some(_)) => return Err(format!("it has both `{name}` and `{name}_base64`")),
        (None, Some(text)) => return from_base64(&text).map(|bytes| Some(Bytes::from(bytes))),
        (None, None) => return Ok(None),
        (Some(raw), None) => raw.get(),
    };
    match raw.as_bytes().first() {
        Some(b'"') => {
            let text: String = serde_json::from_str(raw).map_err(|error| without_line(&error))?;
            Ok(Some(Bytes::from(text)))
        }
        Some(b'n') => Ok(None),
        _ => Ok(Some(Bytes::copy_from_slice(raw.as_bytes()))),
    }
}

/// serde_json counts lines within what it was given, which is always one.
fn without_line(error: &serde_json::Error) -> String {
    error
        .to_string()
        .replace(" at line 1 column ", " at column ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(line: &str) -> Result<ParsedRecord, String> {
        LineFormat::Ndjson
            .parse(line.as_bytes())
            .map(|record| record.expect("not blank"))
    }

    fn text(line: &str, separator: Option<&str>) -> Result<ParsedRecord, String> {
        let format = LineFormat::Text {
            key_separator: separator.map(str::to_owned),
        };
        format
            .parse(line.as_bytes())
            .map(|record| record.expect("text is never blank"))
    }

    #[test]
    fn a_json_object_stays_as_it_stands_in_the_line() {
        let record = json(r#"{"timestamp_ms":7,"key":"k","value":{"b": 1.0,  "a":[ ]}}"#).unwrap();
        assert_eq!(record.timestamp_ms, Some(7));
        assert_eq!(record.key.as_deref(), Some(&b"k"[..]));
        assert_eq!(
            record.value.as_deref(),
            Some(&br#"{"b": 1.0,  "a":[ ]}"#[..])
        );
    }

    #[test]
    fn strings_give_their_text_and_null_gives_null() {
        let record = json(r#"{"key":null,"value":"a\u00e9\"\n"}"#).unwrap();
        assert_eq!((record.key, record.timestamp_ms), (None, None));
        assert_eq!(record.value.as_deref(), Some("aé\"\n".as_bytes()));
        assert_eq!(json(r#"{"value":null}"#).unwrap().value, None);
        assert_eq!(
            json(r#"{"value":12.50}"#).unwrap().value.as_deref(),
            Some(&b"12.50"[..])
        );
    }

    #[test]
    fn bytes_come_as_base64() {
        let record = json(r#"{"key_base64":"/wA=","value_base64":"/w=="}"#).unwrap();
        assert_eq!(record.key.as_deref(), Some(&[255, 0][..]));
        assert_eq!(record.value.as_deref(), Some(&[255][..]));
    }

    #[test]
    fn headers_keep_their_order_and_may_be_null() {
        let line = r#"{"value":1,"headers":[{"name":"a","value":"1"},{"name":"a","value":null}]}"#;
        let headers = json(line).unwrap().headers;
        assert_eq!(headers[0].value.as_deref(), Some(&b"1"[..]));
        assert_eq!((headers[1].name.as_str(), &headers[1].value), ("a", &None));
    }

    #[test]
    fn faults_in_json_are_named() {
        let cases = [
            (r#"{"key":"k"}"#, "no field `value`"),
            (r#"{"vlaue":1}"#, "unknown field `vlaue`"),
            (r#"{"value":1"#, "at column 10"),
            (
                r#"{"value":1,"value_base64":"/w=="}"#,
                "both `value` and `value_base64`",
            ),
            (r#"{"value_base64":"?"}"#, "bad base64"),
            (r#"{"value":1,"timestamp_ms":"x"}"#, "invalid type"),
            ("plain text", "expected"),
        ];
        for (line, fault) in cases {
            let error = json(line).unwrap_err();
            assert!(error.contains(fault), "{line}: {error}");
        }
        assert!(LineFormat::Ndjson.parse(b"{\"value\":\"\xff\"}").is_err());
    }

    #[test]
    fn blank_lines_are_no_records_in_ndjson_and_empty_records_in_text() {
        assert_eq!(LineFormat::Ndjson.parse(b"  \r"), Ok(None));
        assert_eq!(text("", None).unwrap().value.as_deref(), Some(&b""[..]));
    }

    #[test]
    fn text_splits_at_the_first_separator() {
        let record = text("k::v::w", Some("::")).unwrap();
        assert_eq!(record.key.as_deref(), Some(&b"k"[..]));
        assert_eq!(record.value.as_deref(), Some(&b"v::w"[..]));
        assert!(
            text("kv", Some("::"))
                .unwrap_err()
                .contains("no key separator")
        );
    }
}
