//! Bytes of records inside JSON, and back, so that the bytes survive.
//!
//! A value that is a JSON object or array on one line stands in the JSON as it is, byte for byte.
//! Other text stands as a string, and what is no UTF-8 as base64 under a name of its own
//! (`value_base64`). Reading turns each of the three back into the same bytes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use headwater_client::Header;
use serde::de::IgnoredAny;

/// Appends `"name":…` for bytes that may be null; strings only.
pub(crate) fn push_text(out: &mut Vec<u8>, name: &str, bytes: Option<&[u8]>) {
    match bytes.map(std::str::from_utf8) {
        None => push_raw(out, name, b"null"),
        Some(Ok(text)) => {
            push_name(out, name, "");
            push_string(out, text);
        }
        Some(Err(_)) => push_base64(out, name, bytes.unwrap_or_default()),
    }
}

/// Appends `"name":…` for bytes that may be null; JSON objects and arrays as they are.
pub(crate) fn push_value(out: &mut Vec<u8>, name: &str, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) if is_json_on_one_line(bytes) => push_raw(out, name, bytes),
        _ => push_text(out, name, bytes),
    }
}

/// Appends `,"headers":[…]` unless there are none.
pub(crate) fn push_headers(out: &mut Vec<u8>, headers: &[Header]) {
    if headers.is_empty() {
        return;
    }
    out.extend_from_slice(b",\"headers\":[");
    for (i, header) in headers.iter().enumerate() {
        out.extend_from_slice(if i == 0 {
            b"{\"name\":"
        } else {
            b",{\"name\":"
        });
        push_string(out, &header.name);
        out.push(b',');
        push_text(out, "value", header.value.as_deref());
        out.push(b'}');
    }
    out.push(b']');
}

/// Appends a quoted string.
pub(crate) fn push_string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("writing a string to memory cannot fail");
}

/// The bytes of a base64 text.
pub(crate) fn from_base64(text: &str) -> Result<Vec<u8>, String> {
    STANDARD
        .decode(text)
        .map_err(|error| format!("bad base64: {error}"))
}

fn push_base64(out: &mut Vec<u8>, name: &str, bytes: &[u8]) {
    push_name(out, name, "_base64");
    push_string(out, &STANDARD.encode(bytes));
}

fn push_raw(out: &mut Vec<u8>, name: &str, raw: &[u8]) {
    push_name(out, name, "");
    out.extend_from_slice(raw);
}

fn push_name(out: &mut Vec<u8>, name: &str, suffix: &str) {
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(suffix.as_bytes());
    out.extend_from_slice(b"\":");
}

fn is_json_on_one_line(bytes: &[u8]) -> bool {
    let framed = matches!(
        (bytes.first(), bytes.last()),
        (Some(b'{'), Some(b'}')) | (Some(b'['), Some(b']'))
    );
    framed
        && !bytes.iter().any(|byte| matches!(byte, b'\n' | b'\r'))
        && serde_json::from_slice::<IgnoredAny>(bytes).is_ok()
        && std::str::from_utf8(bytes).is_ok()
}
