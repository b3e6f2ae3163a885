//! Named clusters, kept in a file, and which cluster a command talks to.

use std::path::{Path, PathBuf};

use headwater_client::ENDPOINT_DEFAULT;
use serde::{Deserialize, Serialize};

use crate::failure::{Exit, Failure, Outcome};
use crate::place::{Place, Written};

/// Environment variable that names the file.
pub(crate) const CONTEXTS_ENV: &str = "HEADWATER_CONTEXTS";

/// One cluster by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub(crate) struct Context {
    /// What it is called here.
    pub(crate) name: String,
    /// Where it is.
    pub(crate) place: Place,
    /// Namespace of topic names without one; `None` is the cluster's default.
    pub(crate) namespace: Option<String>,
}

/// The file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Contexts {
    /// Name of the one in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) current: Option<String>,
    /// In the order in which they were added.
    #[serde(default)]
    pub(crate) contexts: Vec<Context>,
}

impl Contexts {
    /// Where the file is: `HEADWATER_CONTEXTS`, else `headwater/config.yaml` in the user's
    /// configuration directory.
    pub(crate) fn path() -> Outcome<PathBuf> {
        let var = |name| {
            std::env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        let path = var(CONTEXTS_ENV)
            .or_else(|| var("XDG_CONFIG_HOME").map(|dir| dir.join("headwater/config.yaml")))
            .or_else(|| var("HOME").map(|dir| dir.join(".config/headwater/config.yaml")));
        path.ok_or_else(|| {
            Failure::new("there is no place for the contexts file")
                .why("none of HEADWATER_CONTEXTS, XDG_CONFIG_HOME and HOME is set")
                .fix("export HEADWATER_CONTEXTS=/path/to/config.yaml")
        })
    }

    /// Reads the file; one that does not exist is empty.
    pub(crate) fn load(path: &Path) -> Outcome<Contexts> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Contexts::default());
            }
            Err(error) => return Err(unusable("read", path, error)),
        };
        if text.trim().is_empty() {
            return Ok(Contexts::default());
        }
        serde_yaml::from_str(&text).map_err(|error| {
            unusable("understand", path, error).fix("correct the file, or remove it")
        })
    }

    /// Writes the file, all or nothing.
    pub(crate) fn save(&self, path: &Path) -> Outcome {
        let text = serde_yaml::to_string(self).map_err(|error| unusable("write", path, error))?;
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir).map_err(|error| unusable("write", path, error))?;
        }
        let new = path.with_extension("yaml.new");
        std::fs::write(&new, text)
            .and_then(|()| std::fs::rename(&new, path))
            .map_err(|error| unusable("write", path, error))
    }

    /// Adds a context, or changes the one of that name, and makes it the current one if `uses`.
    pub(crate) fn put(&mut self, context: Context, uses: bool) {
        if uses {
            self.current = Some(context.name.clone());
        }
        let known = self.contexts.iter_mut();
        match known.into_iter().find(|known| known.name == context.name) {
            Some(known) => *known = context,
            None => self.contexts.push(context),
        }
    }

    /// The context of that name.
    pub(crate) fn get(&self, name: &str) -> Outcome<&Context> {
        self.contexts
            .iter()
            .find(|context| context.name == name)
            .ok_or_else(|| {
                let names: Vec<_> = self.contexts.iter().map(|c| c.name.as_str()).collect();
                let known = match names.is_empty() {
                    true => "there are no contexts yet".to_owned(),
                    false => format!("the contexts are {}", names.join(", ")),
                };
                Failure::new(format!("there is no context {name}"))
                    .exit(Exit::NotFound)
                    .why(known)
                    .fix(format!("headwater context add {name} --endpoint HOST:PORT"))
            })
    }
}

fn unusable(doing: &str, path: &Path, error: impl std::fmt::Display) -> Failure {
    Failure::new(format!("cannot {doing} {}", path.display())).why(error.to_string())
}

/// What one layer (flags, environment) says about the cluster to talk to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Choice {
    /// `--context`.
    pub(crate) context: Option<String>,
    /// `--endpoint`.
    pub(crate) endpoint: Option<String>,
    /// `--namespace`.
    pub(crate) namespace: Option<String>,
}

impl Choice {
    /// From `HEADWATER_*` variables.
    pub(crate) fn from_env() -> Choice {
        let var = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        Choice {
            context: var("HEADWATER_CONTEXT"),
            endpoint: var(headwater_client::ENDPOINT_ENV),
            namespace: var("HEADWATER_NAMESPACE"),
        }
    }
}

/// Which cluster a command talks to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Where it is.
    pub(crate) place: Place,
    /// Who says so, for people.
    pub(crate) origin: String,
    /// Namespace of topic names without one; `None` is the cluster's default.
    pub(crate) namespace: Option<String>,
}

impl Target {
    /// Flags win over the environment, the environment over the file, and within each an endpoint
    /// over a context.
    pub(crate) fn resolve(flags: &Choice, env: &Choice, contexts: &Contexts) -> Outcome<Target> {
        let mut namespace = flags.namespace.clone().or_else(|| env.namespace.clone());
        let layers = [
            (
                flags.endpoint.as_ref(),
                flags.context.as_ref(),
                "--endpoint",
            ),
            (
                env.endpoint.as_ref(),
                env.context.as_ref(),
                headwater_client::ENDPOINT_ENV,
            ),
            (None, contexts.current.as_ref(), ""),
        ];
        for (endpoint, context, origin) in layers {
            if let Some(endpoint) = endpoint {
                return Ok(Target {
                    place: Place::Endpoint(endpoint.clone()),
                    origin: origin.to_owned(),
                    namespace,
                });
            }
            if let Some(name) = context {
                let context = contexts.get(name)?;
                namespace = namespace.or_else(|| context.namespace.clone());
                return Ok(Target {
                    place: context.place.clone(),
                    origin: format!("context {name}"),
                    namespace,
                });
            }
        }
        Ok(Target {
            place: Place::Endpoint(ENDPOINT_DEFAULT.to_owned()),
            origin: "the default".to_owned(),
            namespace,
        })
    }

    /// The topic's name as the broker is asked for it.
    pub(crate) fn topic(&self, name: &str) -> String {
        match &self.namespace {
            Some(namespace) if !name.contains('/') => format!("{namespace}/{name}"),
            _ => name.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contexts() -> Contexts {
        let context = |name: &str, namespace: Option<&str>| Context {
            name: name.to_owned(),
            place: Place::Endpoint(format!("{name}:7650")),
            namespace: namespace.map(str::to_owned),
        };
        Contexts {
            current: Some("home".to_owned()),
            contexts: vec![context("home", None), context("work", Some("shop"))],
        }
    }

    fn choice(context: Option<&str>, endpoint: Option<&str>, namespace: Option<&str>) -> Choice {
        Choice {
            context: context.map(str::to_owned),
            endpoint: endpoint.map(str::to_owned),
            namespace: namespace.map(str::to_owned),
        }
    }

    #[test]
    fn flags_win_over_the_environment_and_that_over_the_file() {
        let none = Choice::default();
        let env = choice(None, Some("env:1"), None);
        let check = |flags: &Choice, env: &Choice, endpoint: &str| {
            let target = Target::resolve(flags, env, &contexts()).unwrap();
            assert_eq!(target.place, Place::Endpoint(endpoint.to_owned()));
        };
        check(&none, &none, "home:7650");
        check(&none, &env, "env:1");
        check(&choice(Some("work"), None, None), &env, "work:7650");
        check(&choice(Some("work"), Some("flag:1"), None), &env, "flag:1");
        let target = Target::resolve(&none, &none, &Contexts::default()).unwrap();
        assert_eq!(target.place.to_string(), ENDPOINT_DEFAULT);
    }

    #[test]
    fn a_context_brings_its_namespace_unless_another_is_given() {
        let work = choice(Some("work"), None, None);
        let target = Target::resolve(&work, &Choice::default(), &contexts()).unwrap();
        assert_eq!(target.topic("orders"), "shop/orders");
        assert_eq!(target.topic("bank/orders"), "bank/orders");
        let env = choice(None, None, Some("lab"));
        let target = Target::resolve(&work, &env, &contexts()).unwrap();
        assert_eq!(target.topic("orders"), "lab/orders");
    }

    #[test]
    fn an_unknown_context_is_not_found_and_names_the_known_ones() {
        let failure = Target::resolve(
            &choice(Some("moon"), None, None),
            &Choice::default(),
            &contexts(),
        )
        .unwrap_err();
        assert_eq!(failure.exit, Exit::NotFound);
        assert_eq!(failure.why.as_deref(), Some("the contexts are home, work"));
    }

    #[test]
    fn the_file_survives_a_round_trip_and_refuses_unknown_keys() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/config.yaml");
        assert_eq!(Contexts::load(&path).unwrap(), Contexts::default());
        let mut contexts = contexts();
        contexts.put(crate::place::tests::demo(), true);
        contexts.save(&path).unwrap();
        assert_eq!(Contexts::load(&path).unwrap(), contexts);
        std::fs::write(&path, "curent: home\n").unwrap();
        let failure = Contexts::load(&path).unwrap_err();
        assert!(failure.why.unwrap().contains("curent"));
    }
}
