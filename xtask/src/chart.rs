//! The made files of the chart: the schema of its values, their table in its README, and the
//! resource definitions as templates.

mod values;

#[cfg(test)]
mod tests;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

use self::values::Values;

/// Where the chart is, below the top of the repository.
const CHART: &str = "charts/headwater";

const TABLE_BEGIN: &str =
    "<!-- values: made from xtask/src/chart.rs by `cargo xtask codegen` -->\n";
const TABLE_END: &str = "<!-- end of values -->\n";

/// The made files, by their path below the top of the repository.
pub(crate) fn make(repository: &Path) -> Result<Vec<(String, String)>> {
    let schema = schema();
    let readme = format!("{CHART}/README.md");
    let text = fs::read_to_string(repository.join(&readme)).with_context(|| readme.clone())?;
    let mut made = vec![
        (
            format!("{CHART}/values.schema.json"),
            format!("{}\n", serde_json::to_string_pretty(&schema)?),
        ),
        (readme, with_table(&text, &schema)?),
    ];
    for (name, definition) in headwater_crds::definitions() {
        let path = format!("{CHART}/templates/crds/{name}");
        made.push((path, template(&definition)?));
    }
    Ok(made)
}

/// The schema of the values. Draft 7 and without references: older Helm knows nothing newer.
fn schema() -> Value {
    let settings = SchemaSettings::draft07().with(|settings| settings.inline_subschemas = true);
    let schema = settings.into_generator().into_root_schema_for::<Values>();
    sorted(schema.to_value())
}

/// Orders keys. Whether serde_json does so itself depends on what else is being built.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(object) => {
            let mut members: Vec<_> = object.into_iter().collect();
            members.sort_by(|a, b| a.0.cmp(&b.0));
            let members = members.into_iter();
            Value::Object(members.map(|(key, value)| (key, sorted(value))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        value => value,
    }
}

/// The README with the table of today.
fn with_table(readme: &str, schema: &Value) -> Result<String> {
    let marks = "README.md of the chart has lost the marks of its table";
    let (before, rest) = readme.split_once(TABLE_BEGIN).context(marks)?;
    let (_, after) = rest.split_once(TABLE_END).context(marks)?;
    let mut table = String::from("| Value | Default | Meaning |\n|---|---|---|\n");
    for (path, leaf) in leaves(schema, "") {
        let default = sorted(leaf["default"].clone());
        let meaning = leaf["description"].as_str().unwrap_or_default();
        let meaning = meaning.replace('\n', " ").replace('|', "\\|");
        table.push_str(&format!("| `{path}` | `{default}` | {meaning} |\n"));
    }
    Ok(format!(
        "{before}{TABLE_BEGIN}\n{table}\n{TABLE_END}{after}"
    ))
}

/// The values that have no values below them, with their schemas.
fn leaves<'a>(schema: &'a Value, path: &str) -> Vec<(String, &'a Value)> {
    let Some(properties) = schema["properties"].as_object() else {
        return vec![(path.to_owned(), schema)];
    };
    let below = |(key, property): (&String, &'a Value)| match path {
        "" => leaves(property, key),
        path => leaves(property, &format!("{path}.{key}")),
    };
    let properties: &'a Map<String, Value> = properties;
    properties.iter().flat_map(below).collect()
}

/// A definition as a template: only there if asked for, and kept if asked for.
fn template(definition: &str) -> Result<String> {
    // Braces in a description are text.
    let text = definition.replace("{{", "{{ \"{{\" }}");
    let (before, after) = text
        .split_once("\nspec:\n")
        .context("a definition without spec")?;
    Ok(format!(
        r#"{{{{- if .Values.crds.install }}}}
{before}
  labels: {{{{- include "headwater.labels" (list . "definitions") | nindent 4 }}}}
  {{{{- if .Values.crds.keep }}}}
  annotations:
    helm.sh/resource-policy: keep
  {{{{- end }}}}
spec:
{after}{{{{- end }}}}
"#
    ))
}
