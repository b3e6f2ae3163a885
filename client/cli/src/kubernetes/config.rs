//! Which kubeconfig, and which of its contexts.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig};

use super::KubeArgs;
use super::failure::chain;
use crate::failure::{Exit, Failure, Outcome};

/// The client's configuration, and the name of the context that it is from. Without a kubeconfig,
/// inside of a pod, the pod's own account is used.
pub(super) async fn read(args: &KubeArgs) -> Outcome<(Config, Option<String>)> {
    let files = files(
        args.kubeconfig.as_deref(),
        std::env::var_os("KUBECONFIG"),
        std::env::var_os("HOME"),
    );
    let asked = args.kubeconfig.is_some() || args.kube_context.is_some();
    let Some(kubeconfig) = merged(&files, args.kubeconfig.is_some())? else {
        return match Config::incluster() {
            Ok(config) if !asked => Ok((config, None)),
            _ => Err(no_kubeconfig(&files)),
        };
    };
    let context = choose(&kubeconfig, args.kube_context.as_deref())?;
    let options = KubeConfigOptions {
        context: Some(context.clone()),
        ..KubeConfigOptions::default()
    };
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
    let config = config.map_err(|error| {
        Failure::new(format!("cannot use kube context {context}"))
            .why(chain(&error))
            .fix("correct the kubeconfig, or name another context with --kube-context NAME")
    })?;
    Ok((config, Some(context)))
}

/// The file given, else those of `KUBECONFIG`, else the usual place.
fn files(given: Option<&Path>, variable: Option<OsString>, home: Option<OsString>) -> Vec<PathBuf> {
    if let Some(file) = given {
        return vec![file.to_owned()];
    }
    let listed: Vec<PathBuf> = variable
        .iter()
        .flat_map(std::env::split_paths)
        .filter(|path| !path.as_os_str().is_empty())
        .collect();
    match (listed.is_empty(), home) {
        (false, _) => listed,
        (true, Some(home)) => vec![Path::new(&home).join(".kube/config")],
        (true, None) => Vec::new(),
    }
}

/// What the files say together; the first that says a thing wins. As with kubectl, those that do
/// not exist say nothing, unless the file is `demanded`.
fn merged(files: &[PathBuf], demanded: bool) -> Outcome<Option<Kubeconfig>> {
    let mut merged: Option<Kubeconfig> = None;
    for file in files {
        if !demanded && !file.exists() {
            continue;
        }
        let unusable = |error: kube::config::KubeconfigError| {
            let missing = demanded && !file.exists();
            Failure::new(format!("cannot read the kubeconfig {}", file.display()))
                .exit(if missing { Exit::NotFound } else { Exit::Error })
                .why(chain(&error))
        };
        let next = Kubeconfig::read_from(file).map_err(unusable)?;
        merged = Some(match merged {
            Some(before) => before.merge(next).map_err(unusable)?,
            None => next,
        });
    }
    Ok(merged)
}

/// The context asked for, else the current one.
fn choose(kubeconfig: &Kubeconfig, asked: Option<&str>) -> Outcome<String> {
    let names = kubeconfig.contexts.iter().map(|known| known.name.as_str());
    let names: Vec<_> = names.collect();
    let known = match names.is_empty() {
        true => "the kubeconfig has no contexts".to_owned(),
        false => format!("its contexts are {}", names.join(", ")),
    };
    let fix = "name one with --kube-context NAME, or another file with --kubeconfig FILE";
    let current = kubeconfig.current_context.as_deref();
    let Some(name) = asked.or(current.filter(|name| !name.is_empty())) else {
        return Err(Failure::new("the kubeconfig has no current context")
            .exit(Exit::NotFound)
            .why(known)
            .fix(fix));
    };
    if !names.contains(&name) {
        return Err(
            Failure::new(format!("there is no context {name} in the kubeconfig"))
                .exit(Exit::NotFound)
                .why(known)
                .fix(fix),
        );
    }
    Ok(name.to_owned())
}

fn no_kubeconfig(files: &[PathBuf]) -> Failure {
    let names: Vec<_> = files
        .iter()
        .map(|file| file.display().to_string())
        .collect();
    let why = match names.is_empty() {
        true => "neither KUBECONFIG nor HOME is set".to_owned(),
        false => format!("there is no {}", names.join(", nor ")),
    };
    Failure::new("there is no kubeconfig")
        .exit(Exit::NotFound)
        .why(why)
        .fix("name one with --kubeconfig FILE, or export KUBECONFIG=FILE")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_wins_over_the_variable_and_that_over_the_home_directory() {
        let check = |given: Option<&str>, variable: Option<&str>, want: &[&str]| {
            let got = files(
                given.map(Path::new),
                variable.map(OsString::from),
                Some("/users/me".into()),
            );
            assert_eq!(got, want.iter().map(PathBuf::from).collect::<Vec<_>>());
        };
        check(Some("f"), Some("v"), &["f"]);
        check(None, Some("v:w"), &["v", "w"]);
        check(None, Some(""), &["/users/me/.kube/config"]);
        check(None, None, &["/users/me/.kube/config"]);
        assert!(files(None, None, None).is_empty());
    }

    #[test]
    fn files_that_do_not_exist_say_nothing_unless_demanded() {
        let dir = tempfile::tempdir().unwrap();
        let (there, missing) = (dir.path().join("there"), dir.path().join("missing"));
        std::fs::write(&there, "current-context: home\ncontexts: []\n").unwrap();
        let read = merged(&[missing.clone(), there], false).unwrap().unwrap();
        assert_eq!(read.current_context.as_deref(), Some("home"));
        assert!(
            merged(std::slice::from_ref(&missing), false)
                .unwrap()
                .is_none()
        );
        assert_eq!(merged(&[missing], true).unwrap_err().exit, Exit::NotFound);
    }

    #[test]
    fn an_unknown_context_is_not_found_and_names_the_known_ones() {
        let text = "current-context: home\ncontexts:\n- name: home\n- name: work\n";
        let kubeconfig = Kubeconfig::from_yaml(text).unwrap();
        assert_eq!(choose(&kubeconfig, None).unwrap(), "home");
        assert_eq!(choose(&kubeconfig, Some("work")).unwrap(), "work");
        let failure = choose(&kubeconfig, Some("moon")).unwrap_err();
        assert_eq!(failure.exit, Exit::NotFound);
        assert_eq!(failure.why.as_deref(), Some("its contexts are home, work"));
    }
}
