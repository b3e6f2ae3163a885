//! The chart says the same thing everywhere.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use super::*;

fn chart() -> PathBuf {
    crate::repository().join(CHART)
}

fn read(path: &str) -> String {
    fs::read_to_string(chart().join(path)).unwrap()
}

/// Every template, as one text.
fn templates() -> String {
    let mut text = String::new();
    let mut folders = vec![chart().join("templates")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                text.push_str(&fs::read_to_string(path).unwrap());
            }
        }
    }
    text
}

/// What follows `prefix` in `text`, as far as `allowed` goes.
fn words(text: &str, prefix: &str, allowed: fn(char) -> bool) -> BTreeSet<String> {
    let found = text.split(prefix).skip(1);
    let word = |rest: &str| rest.chars().take_while(|c| allowed(*c)).collect();
    found.map(word).collect()
}

#[test]
fn the_committed_files_are_what_the_types_make() {
    for (path, made) in make(crate::repository()).unwrap() {
        let committed = fs::read_to_string(crate::repository().join(&path)).unwrap_or_default();
        assert!(
            committed == made,
            "{path} differs: run `cargo xtask codegen` and commit the result"
        );
    }
}

#[test]
fn values_yaml_holds_every_value_with_its_default() {
    let file: Value = serde_yaml::from_str(&read("values.yaml")).unwrap();
    let defaults = serde_json::to_value(Values::default()).unwrap();
    assert_eq!(sorted(file), sorted(defaults));
}

#[test]
fn values_yaml_has_a_comment_for_each_value() {
    let text = read("values.yaml");
    let lines: Vec<_> = text.lines().collect();
    let schema = schema();
    for (path, leaf) in leaves(&schema, "") {
        let key = path.rsplit('.').next().unwrap();
        let comment = leaf["description"].as_str().unwrap_or_default();
        let comment = comment.replace('`', "");
        let mut told = lines.windows(2).enumerate().filter(|(_, pair)| {
            let is_key = pair[1].trim_start().starts_with(&format!("{key}:"));
            is_key && pair[0].trim_start().starts_with('#')
        });
        let agrees = told.any(|(above, _)| {
            let mut block: Vec<_> = lines[..=above]
                .iter()
                .rev()
                .map_while(|line| line.trim_start().strip_prefix("# "))
                .collect();
            block.reverse();
            let block = block.join(" ").replace('`', "");
            block == comment.replace('\n', " ")
        });
        assert!(agrees, "values.yaml does not say of {path}: {comment}");
    }
}

#[test]
fn values_of_the_lint_runs_are_values() {
    for entry in fs::read_dir(chart().join("ci")).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        serde_yaml::from_str::<Values>(&text)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}

#[test]
fn a_value_that_is_misspelt_is_refused() {
    assert!(serde_yaml::from_str::<Values>("replica: 2").is_err());
    assert!(serde_yaml::from_str::<Values>("image: {tags: a}").is_err());
    assert!(serde_yaml::from_str::<Values>("global: {more: of the parent chart}").is_ok());
    let schema = schema();
    assert_eq!(schema["additionalProperties"], false);
    let image = &schema["properties"]["image"];
    assert_eq!(image["additionalProperties"], false);
}

#[test]
fn templates_use_every_value_and_no_other() {
    let used = words(&templates(), ".Values.", |c| {
        c.is_ascii_alphanumeric() || c == '.'
    });
    let schema = schema();
    let known: BTreeSet<_> = leaves(&schema, "")
        .into_iter()
        .map(|(path, _)| path)
        .collect();
    let dead: Vec<_> = known.difference(&used).collect();
    assert!(dead.is_empty(), "no template uses {dead:?}");
    let unknown: Vec<_> = used.difference(&known).collect();
    assert!(unknown.is_empty(), "there are no values {unknown:?}");
}

#[test]
fn the_operator_knows_every_variable_that_the_chart_sets() {
    let variable = |c: char| c.is_ascii_uppercase() || c == '_';
    let set = words(&templates(), "\"HEADWATER_", variable);
    let arguments = crate::repository().join("operator/src/args.rs");
    let known = words(
        &fs::read_to_string(arguments).unwrap(),
        "\"HEADWATER_",
        variable,
    );
    assert!(!set.is_empty());
    let unknown: Vec<_> = set.difference(&known).collect();
    assert!(unknown.is_empty(), "the operator has no {unknown:?}");
}

#[test]
fn the_chart_installs_the_version_that_is_built() {
    let chart: Value = serde_yaml::from_str(&read("Chart.yaml")).unwrap();
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
    let images = chart["annotations"]["artifacthub.io/images"].as_str();
    let image = format!("headwater/headwater:{}\n", env!("CARGO_PKG_VERSION"));
    assert!(images.unwrap().contains(&image));
}

#[test]
fn examples_for_artifact_hub_are_resources() {
    let chart: Value = serde_yaml::from_str(&read("Chart.yaml")).unwrap();
    let examples = &chart["annotations"]["artifacthub.io/crdsExamples"];
    let examples: Vec<Value> = serde_yaml::from_str(examples.as_str().unwrap()).unwrap();
    for example in examples {
        let parsed = match example["kind"].as_str() {
            Some("Cluster") => serde_json::from_value::<headwater_crds::Cluster>(example).is_ok(),
            _ => serde_json::from_value::<headwater_crds::Topic>(example).is_ok(),
        };
        assert!(parsed);
    }
}

#[test]
fn braces_in_a_definition_stay_text() {
    let made = template("metadata:\n  name: a\nspec:\n  b: '{{ c }}'\n").unwrap();
    assert!(made.contains("  b: '{{ \"{{\" }} c }}'\n"), "{made}");
    assert!(template("metadata:\n").is_err());
}
