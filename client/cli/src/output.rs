//! Answers on stdout: a table for people, JSON and YAML for programs.

use std::io::Write;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde::Serialize;

use crate::failure::{Failure, Outcome};

/// Form of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// Columns for people.
    #[default]
    Table,
    /// One JSON document; field names are the API's.
    Json,
    /// The same as YAML.
    Yaml,
    /// Names only, one a line.
    Name,
}

/// `-o` of the commands that answer with one document.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub(crate) struct OutputArgs {
    /// Form of the answer: table, json, yaml or name
    #[arg(
        short,
        long,
        value_name = "FORMAT",
        default_value = "table",
        hide_possible_values = true
    )]
    pub(crate) output: Format,
}

/// What one answer looks like in every form.
pub(crate) trait Answer: Serialize {
    /// For people.
    fn table(&self) -> String;
    /// For scripts.
    fn names(&self) -> Vec<String>;
}

/// Prints an answer.
pub(crate) fn print(format: Format, answer: &impl Answer) -> Outcome {
    let text = match format {
        Format::Table => answer.table(),
        Format::Json => serde_json::to_string_pretty(answer).map_err(unprintable)?,
        Format::Yaml => serde_yaml::to_string(answer).map_err(unprintable)?,
        Format::Name => answer.names().join("\n"),
    };
    if text.is_empty() {
        return Ok(());
    }
    line(text.trim_end_matches('\n'))
}

/// Prints one line of data.
pub(crate) fn line(text: &str) -> Outcome {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}

fn unprintable(error: impl std::error::Error) -> Failure {
    Failure::new("cannot print the answer").why(error.to_string())
}

/// Columns without borders, as wide as the terminal allows; `right` are the columns of numbers.
pub(crate) fn columns(
    header: &[&str],
    right: &[usize],
    rows: impl IntoIterator<Item = Vec<String>>,
) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.iter().map(|name| name.to_uppercase()));
    table.add_rows(rows);
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 3));
        if right.contains(&index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let text = table.to_string();
    text.lines()
        .map(str::trim_end)
        .collect::<Vec<_>>()
        .join("\n")
}

/// `name  value` lines, values aligned.
pub(crate) fn facts(pairs: &[(&str, String)]) -> String {
    let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let line = |(name, value): &(&str, String)| format!("{name:width$}   {value}");
    pairs.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_and_leave_no_trailing_blanks() {
        let rows = [
            vec!["flights".to_owned(), "6".to_owned()],
            vec!["a".into(), "12".into()],
        ];
        let text = columns(&["name", "partitions"], &[1], rows);
        assert_eq!(
            text,
            "NAME      PARTITIONS\nflights            6\na                 12"
        );
    }

    #[test]
    fn facts_align_their_values() {
        let pairs = [("id", "1".to_owned()), ("version", "0.1.0".to_owned())];
        assert_eq!(facts(&pairs), "id        1\nversion   0.1.0");
    }
}
