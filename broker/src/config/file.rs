//! The configuration file: YAML flattened to `section.key` with the line of each.

use serde_yaml::Value;

use super::error::ConfigError;

/// One scalar of the file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// `section.key`, as it stands in the file.
    pub(super) name: String,
    /// The value as text.
    pub(super) text: String,
    /// Line in the file, counted from one, if it could be told.
    pub(super) line: Option<usize>,
}

/// Every scalar of the YAML text of the file `path`. Keys without a value are left out.
pub(super) fn entries(path: &str, yaml: &str) -> Result<Vec<Entry>, ConfigError> {
    let malformed = |reason: String| ConfigError::Malformed {
        path: path.to_owned(),
        reason,
    };
    let root: Value = serde_yaml::from_str(yaml).map_err(|error| malformed(error.to_string()))?;
    let mut found = Vec::new();
    match root {
        Value::Null => {}
        Value::Mapping(_) => flatten(&root, &mut Vec::new(), &mut found).map_err(malformed)?,
        _ => {
            return Err(malformed(
                "it must be a mapping of settings, `key: value`".to_owned(),
            ));
        }
    }
    let located = |(path, text): (Vec<String>, String)| Entry {
        line: line_of(yaml, &path),
        name: path.join("."),
        text,
    };
    Ok(found.into_iter().map(located).collect())
}

/// Walks mappings; `path` is where we are.
fn flatten(
    value: &Value,
    path: &mut Vec<String>,
    found: &mut Vec<(Vec<String>, String)>,
) -> Result<(), String> {
    match value {
        Value::Null => {}
        Value::Mapping(mapping) => {
            for (key, value) in mapping {
                let key = scalar(key).ok_or_else(|| {
                    format!(
                        "a key under {:?} is neither a word nor a number",
                        path.join(".")
                    )
                })?;
                path.push(key);
                flatten(value, path, found)?;
                path.pop();
            }
        }
        _ => {
            let text = scalar(value).ok_or_else(|| {
                format!(
                    "{} must be a single value, not a list or a tag",
                    path.join(".")
                )
            })?;
            found.push((path.clone(), text));
        }
    }
    Ok(())
}

/// What a scalar without quotes reads as.
pub(super) fn plain_text(yaml: &str) -> Option<String> {
    scalar(&serde_yaml::from_str(yaml).ok()?)
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(value) => Some(value.to_string()),
        Value::String(value) => Some(value.clone()),
        _ => None,
    }
}

/// The line of a key in block style; for a key inside braces, the line of the last key of its path
/// that has one to itself.
fn line_of(yaml: &str, path: &[String]) -> Option<usize> {
    let mut lines: Vec<(usize, &str)> = (1..).zip(yaml.lines()).collect();
    lines.retain(|(_, line)| {
        let text = line.trim_start();
        !text.is_empty() && !text.starts_with(['#', '%']) && !text.starts_with("---")
    });
    let mut block = lines.as_slice();
    let mut found = None;
    for key in path {
        let level = block.first().map_or(0, |(_, line)| indent(line));
        let is_key = |(_, line): &(usize, &str)| indent(line) == level && has_key(line, key);
        let Some(at) = block.iter().position(is_key) else {
            break;
        };
        found = block.get(at).map(|(number, _)| *number);
        block = block.get(at + 1..).unwrap_or_default();
        let end = block.iter().position(|(_, line)| indent(line) <= level);
        block = block.get(..end.unwrap_or(block.len())).unwrap_or_default();
    }
    found
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

fn has_key(line: &str, key: &str) -> bool {
    let bare = line.trim_start();
    let bare = bare.strip_prefix(['"', '\'']).unwrap_or(bare);
    let Some(rest) = bare.strip_prefix(key) else {
        return false;
    };
    rest.strip_prefix(['"', '\''])
        .unwrap_or(rest)
        .trim_start()
        .starts_with(':')
}
