//! `--print-config`: the resulting YAML, with where each value came from.

use std::fmt::Write as _;

use super::file::plain_text;
use super::raw::RawConfig;
use super::settings::Settings;
use super::value::show_size;

/// The settings as a configuration file that gives them again, a comment behind each value saying
/// where it came from, and the division of the memory at the end.
pub fn print(raw: &RawConfig, settings: &Settings) -> String {
    let mut out = String::new();
    let mut section_before = "";
    for (key, text, origin) in raw.iter() {
        let (section, name) = key.name.split_once('.').unwrap_or(("", key.name));
        if section != section_before {
            let _ = writeln!(out, "{section}:");
            section_before = section;
        }
        let indent = if section.is_empty() { "" } else { "  " };
        let meaning = if text == "auto" {
            automatic(key.name, settings)
        } else {
            String::new()
        };
        let _ = writeln!(
            out,
            "{indent}{name}: {}  # {}{meaning}",
            scalar(text),
            origin
        );
    }
    let limit = &settings.memory.limit;
    let _ = writeln!(
        out,
        "\n# Memory: {} ({})",
        mebibytes(limit.bytes),
        limit.source
    );
    for (part, bytes) in settings.memory.parts() {
        let _ = writeln!(out, "#   {:>12}  {part}", mebibytes(bytes));
    }
    out
}

/// What `auto` came to.
fn automatic(name: &str, settings: &Settings) -> String {
    match name {
        "node_name" => format!(": {}", settings.node_name),
        "storage.shards" => format!(": {}", settings.storage.shards),
        "memory.limit_bytes" => format!(": {}", show_size(settings.memory.limit.bytes)),
        _ => String::new(),
    }
}

/// A YAML scalar that reads back as the same text.
fn scalar(text: &str) -> String {
    let harmless = |c: char| c.is_ascii_alphanumeric() || "./_-,=:+".contains(c);
    if text.chars().all(harmless) && plain_text(text).as_deref() == Some(text) {
        return text.to_owned();
    }
    serde_json::to_string(text).expect("a string is a JSON value, and JSON is YAML")
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / (1 << 20) as f64)
}
