//! Amounts of CPU, memory and disk as Kubernetes writes them.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};

/// A Kubernetes quantity such as `500m`, `2` or `10Gi`. A plain number may be written without
/// quotes; it is kept as text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Quantity(pub String);

/// Suffixes of quantities with what they multiply by.
const SUFFIXES: [(&str, f64); 16] = [
    ("", 1.0),
    ("n", 1e-9),
    ("u", 1e-6),
    ("m", 1e-3),
    ("k", 1e3),
    ("M", 1e6),
    ("G", 1e9),
    ("T", 1e12),
    ("P", 1e15),
    ("E", 1e18),
    ("Ki", 1024.0),
    ("Mi", 1048576.0),
    ("Gi", 1073741824.0),
    ("Ti", 1099511627776.0),
    ("Pi", 1125899906842624.0),
    ("Ei", 1152921504606846976.0),
];

impl Quantity {
    /// The amount, in the unit of the resource: bytes, or cores. Nothing if it is no quantity as the
    /// schema allows it. Exact for every size that a disk has.
    pub fn amount(&self) -> Option<f64> {
        let is_number = |c: char| c.is_ascii_digit() || c == '.';
        let digits = self.0.find(|c| !is_number(c)).unwrap_or(self.0.len());
        let (number, suffix) = self.0.split_at(digits);
        let factor = SUFFIXES.iter().find(|(name, _)| *name == suffix)?.1;
        Some(number.parse::<f64>().ok()? * factor)
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Text that may be written as a plain number.
fn number_or_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Number(i64),
        Text(String),
    }
    Ok(match Written::deserialize(deserializer)? {
        Written::Number(number) => number.to_string(),
        Written::Text(text) => text,
    })
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Quantity, D::Error> {
        number_or_text(deserializer).map(Quantity)
    }
}

impl JsonSchema for Quantity {
    fn schema_name() -> Cow<'static, str> {
        "Quantity".into()
    }

    fn inline_schema() -> bool {
        true
    }

    /// The API server's own pattern for quantities, signs left out: there is no negative disk.
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "pattern": r"^([0-9]+|[0-9]+\.[0-9]+)(([KMGTPE]i)|[numkMGTPE])?$",
        })
    }
}

/// A value in a `config` map: as in the broker's configuration. A number may be written without
/// quotes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct ConfigText(pub String);

impl<'de> Deserialize<'de> for ConfigText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ConfigText, D::Error> {
        number_or_text(deserializer).map(ConfigText)
    }
}

impl JsonSchema for ConfigText {
    fn schema_name() -> Cow<'static, str> {
        "ConfigText".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "anyOf": [{"type": "integer"}, {"type": "string"}],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_compare_across_suffixes() {
        let amount = |text: &str| Quantity(text.to_owned()).amount();
        assert_eq!(amount("1Gi"), amount("1024Mi"));
        assert_eq!(amount("1.5Gi"), amount("1536Mi"));
        assert_eq!(amount("500m"), amount("0.5"));
        assert!(amount("10G") < amount("10Gi"));
        for nonsense in ["", "Gi", "1 Gi", "1.2.3", "-1", "ten"] {
            assert_eq!(amount(nonsense), None, "{nonsense}");
        }
    }
}
