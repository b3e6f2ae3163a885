//! The committed YAML, and what every definition must be.

use serde_json::Value;

use super::*;

/// Every property of a schema, with its path.
fn properties<'a>(schema: &'a Value, path: &str, found: &mut Vec<(String, &'a Value)>) {
    if let Some(fields) = schema.get("properties").and_then(Value::as_object) {
        for (name, field) in fields {
            let path = format!("{path}.{name}");
            properties(field, &path, found);
            found.push((path, field));
        }
    }
    for inner in ["items", "additionalProperties"] {
        if let Some(field) = schema.get(inner).filter(|field| field.is_object()) {
            properties(field, path, found);
        }
    }
}

fn schema(
    definition: &k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
) -> Value {
    let definition = serde_json::to_value(definition).unwrap();
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

#[test]
fn every_field_says_what_it_is() {
    for definition in [Cluster::crd(), Topic::crd()] {
        let schema = schema(&definition);
        let mut found = Vec::new();
        properties(&schema, &definition.spec.names.kind, &mut found);
        assert!(found.len() > 30);
        let silent: Vec<_> = found
            .iter()
            .filter(|(_, field)| {
                let text = field.get("description").and_then(Value::as_str);
                text.is_none_or(|text| text.len() < 5)
            })
            .map(|(path, _)| path)
            .filter(|path| !path.ends_with(".metadata"))
            .collect();
        assert!(silent.is_empty(), "no description: {silent:?}");
    }
}

#[test]
fn every_rule_has_a_message() {
    fn rules(schema: &Value, found: &mut Vec<Value>) {
        match schema {
            Value::Object(fields) => {
                for (name, field) in fields {
                    if name == "x-kubernetes-validations" {
                        found.extend(field.as_array().cloned().unwrap_or_default());
                    }
                    rules(field, found);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| rules(item, found)),
            _ => {}
        }
    }
    for definition in [Cluster::crd(), Topic::crd()] {
        let mut found = Vec::new();
        rules(&schema(&definition), &mut found);
        assert!(found.len() >= 5, "{found:?}");
        for rule in found {
            let message = rule["message"].as_str().unwrap_or_default();
            assert!(
                message.starts_with("spec.") || message.starts_with("metadata."),
                "{rule}"
            );
        }
    }
}

#[test]
fn a_status_that_says_nothing_new_is_equal_to_the_old_one() {
    let time = |second| {
        let time = k8s_openapi::jiff::Timestamp::from_second(second).unwrap();
        k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(time)
    };
    let verdict = Verdict::Ready {
        message: "6 partitions".to_owned(),
    };
    let mut first = Vec::new();
    set_conditions(&mut first, &verdict, Some(1), &time(1));
    let mut second = first.clone();
    set_conditions(&mut second, &verdict, Some(1), &time(2));
    assert_eq!(first, second);
    assert!(is_ready(&second, Some(1)) && !is_ready(&second, Some(2)));

    let verdict = Verdict::Stalled {
        reason: Reason::Refused,
        message: "no".to_owned(),
    };
    set_conditions(&mut second, &verdict, Some(1), &time(3));
    let of = |kind| condition(&second, kind).unwrap();
    assert_eq!(
        (of(READY).status.as_str(), &of(READY).last_transition_time),
        ("False", &time(3))
    );
    assert_eq!(
        (of(STALLED).status.as_str(), of(STALLED).reason.as_str()),
        ("True", "Refused")
    );
    // It was false before and is still: its time stays.
    assert_eq!(of(RECONCILING).last_transition_time, time(1));
    assert_eq!(second.len(), 3);
}
