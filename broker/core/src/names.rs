//! Names of topics and producers: `namespace/name`, parsed once at the edge.

use std::fmt;
use std::sync::Arc;

use crate::limits::{NAME_BYTES_MAX, NAMESPACE_BYTES_MAX};

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing stands where a name should.
    #[error("the name is empty; give `name` or `namespace/name`")]
    Empty,
    /// The whole is too long.
    #[error(
        "`namespace/name` takes {bytes} bytes, at most {NAME_BYTES_MAX} are allowed; choose a \
         shorter name"
    )]
    TooLong {
        /// Its length, the namespace and the slash included.
        bytes: usize,
    },
    /// The part before the slash is not a DNS label.
    #[error(
        "namespace {namespace:?} is not a DNS label; use 1 to {NAMESPACE_BYTES_MAX} of a-z, 0-9 \
         and -, with a letter or digit at both ends"
    )]
    Namespace {
        /// What stands there, cut to a few bytes more than allowed.
        namespace: String,
    },
    /// The part behind the slash has a character that names may not have.
    #[error("name has {character:?} at byte {position}; use a-z, A-Z, 0-9, `.`, `_` and `-` only")]
    Character {
        /// The first such character.
        character: char,
        /// Where it stands in the name, in bytes.
        position: usize,
    },
    /// `.` or `..`.
    #[error("`.` and `..` are not names; choose another")]
    Dots,
    /// The name starts with `_`.
    #[error("names that start with `_` are kept for the cluster itself; choose another")]
    Reserved,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Reads `name` or `namespace/name`; a bare name is in `default_namespace`.
            pub fn parse(input: &str, default_namespace: &str) -> Result<$name, NameError> {
                parse(input, default_namespace).map($name)
            }

            /// `namespace/name`.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The part before the slash.
            pub fn namespace(&self) -> &str {
                self.split().0
            }

            /// The part behind the slash.
            pub fn name(&self) -> &str {
                self.split().1
            }

            fn split(&self) -> (&str, &str) {
                self.0.split_once('/').expect("a parsed name has a slash")
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

name! {
    /// A topic's name, `namespace/name`. Cheap to clone.
    TopicName
}
name! {
    /// The name under which a producer keeps its identity, `namespace/name`. Cheap to clone.
    ProducerName
}

impl TopicName {
    /// The other topic that a Kafka client could mean by `namespace.name`, if there can be one.
    ///
    /// `namespace.name` is split at its first dot if a topic of that form exists, and else is a
    /// bare name in the default namespace. So `a/b` and `<default>/a.b` have one reading in common
    /// and must not both exist.
    pub fn collides_with(&self, default_namespace: &str) -> Option<TopicName> {
        let (namespace, name) = self.split();
        let other = if namespace == default_namespace {
            let (first, rest) = name.split_once('.')?;
            format!("{first}/{rest}")
        } else {
            format!("{default_namespace}/{namespace}.{name}")
        };
        // What is not a name cannot exist.
        TopicName::parse(&other, default_namespace).ok()
    }
}

/// Whether a text may be a namespace: a DNS label.
pub fn is_namespace(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.len() <= NAMESPACE_BYTES_MAX
        && text.bytes().all(|byte| inner(byte) || byte == b'-')
        && text.bytes().next().is_some_and(inner)
        && text.bytes().next_back().is_some_and(inner)
}

fn parse(input: &str, default_namespace: &str) -> Result<Arc<str>, NameError> {
    let (namespace, name) = input.split_once('/').unwrap_or((default_namespace, input));
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    let bytes = namespace.len() + 1 + name.len();
    if bytes > NAME_BYTES_MAX {
        return Err(NameError::TooLong { bytes });
    }
    if !is_namespace(namespace) {
        return Err(NameError::Namespace {
            namespace: namespace.to_owned(),
        });
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if let Some((position, character)) = name.char_indices().find(|(_, c)| !allowed(*c)) {
        return Err(NameError::Character {
            character,
            position,
        });
    }
    match name {
        "." | ".." => Err(NameError::Dots),
        _ if name.starts_with('_') => Err(NameError::Reserved),
        _ => Ok(format!("{namespace}/{name}").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: &str, expected: Result<&str, NameError>) {
        let parsed = TopicName::parse(input, "default");
        assert_eq!(
            parsed.as_ref().map(TopicName::as_str),
            expected.as_ref().copied(),
            "{input:?}"
        );
    }

    fn namespace(namespace: &str) -> Result<&str, NameError> {
        Err(NameError::Namespace {
            namespace: namespace.to_owned(),
        })
    }

    #[test]
    fn names_are_parsed_or_refused_with_the_reason() {
        check("orders", Ok("default/orders"));
        check("shop/orders", Ok("shop/orders"));
        check("shop/Orders_v1.2-x", Ok("shop/Orders_v1.2-x"));
        check("shop/...", Ok("shop/..."));
        check("", Err(NameError::Empty));
        check("shop/", Err(NameError::Empty));
        check("/orders", namespace(""));
        check("Shop/orders", namespace("Shop"));
        check("-shop/orders", namespace("-shop"));
        check("shop-/orders", namespace("shop-"));
        check("a.b/orders", namespace("a.b"));
        check("shop/.", Err(NameError::Dots));
        check("..", Err(NameError::Dots));
        check("shop/_offsets", Err(NameError::Reserved));
        check(
            "a/b/c",
            Err(NameError::Character {
                character: '/',
                position: 1,
            }),
        );
        check(
            "shop/naïve",
            Err(NameError::Character {
                character: 'ï',
                position: 2,
            }),
        );
        check(
            "shop/a b",
            Err(NameError::Character {
                character: ' ',
                position: 1,
            }),
        );
        check(
            "shop/a\0",
            Err(NameError::Character {
                character: '\0',
                position: 1,
            }),
        );
    }

    #[test]
    fn a_name_may_take_249_bytes_with_its_namespace_and_no_more() {
        let longest = "n".repeat(NAME_BYTES_MAX - "default/".len());
        assert!(TopicName::parse(&longest, "default").is_ok());
        let longer = format!("{longest}n");
        assert_eq!(
            TopicName::parse(&longer, "default"),
            Err(NameError::TooLong {
                bytes: NAME_BYTES_MAX + 1
            })
        );
        let label = "n".repeat(NAMESPACE_BYTES_MAX);
        assert!(TopicName::parse(&format!("{label}/a"), "default").is_ok());
        assert!(TopicName::parse(&format!("{label}n/a"), "default").is_err());
    }

    #[test]
    fn the_two_readings_of_a_dotted_name_know_each_other() {
        let collision = |name: &str| {
            let name = TopicName::parse(name, "default").unwrap();
            name.collides_with("default").map(|other| other.to_string())
        };
        assert_eq!(
            collision("shop/orders").as_deref(),
            Some("default/shop.orders")
        );
        assert_eq!(
            collision("default/shop.orders").as_deref(),
            Some("shop/orders")
        );
        assert_eq!(
            collision("default/shop.orders.v2").as_deref(),
            Some("shop/orders.v2")
        );
        assert_eq!(collision("default/orders"), None);
        assert_eq!(collision("default/Shop.orders"), None);
        assert_eq!(collision("default/.orders"), None);
        assert_eq!(
            collision("default/default.orders").as_deref(),
            Some("default/orders")
        );
    }
}
