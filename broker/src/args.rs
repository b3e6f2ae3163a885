//! The command line of `headwater-broker`.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;

use clap::Parser;

use crate::config::{ConfigError, Layers};

/// The Headwater broker: keeps topics and serves producers and consumers over gRPC.
///
/// Settings come from the configuration file, from HEADWATER_* variables and from flags; each
/// overrides the one before it. Every setting has a name such as topics.segment_bytes, which is
/// HEADWATER_TOPICS_SEGMENT_BYTES among the variables and `--set topics.segment_bytes=...` among
/// the flags; the common ones have flags of their own. `--print-config` lists all of them.
#[derive(Clone, Debug, Default, Parser)]
#[command(name = "headwater-broker", version, max_term_width = 100)]
#[command(after_help = "\
Examples:
  headwater-broker --data-dir /var/lib/headwater --form   the first start of a new cluster
  headwater-broker --config /etc/headwater/broker.yaml    every later start
  headwater-broker --config broker.yaml --print-config    what would be used, and why

Exit status: 0 stopped on request, 1 failed, 2 wrong flags or settings.")]
pub struct Args {
    /// Configuration file, in YAML; also by the variable HEADWATER_CONFIG
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print the resulting settings, where each comes from and how memory is divided; then exit
    #[arg(long)]
    pub print_config: bool,
    /// Directory with everything this broker stores
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<String>,
    /// Form a new cluster if the data directory belongs to none
    #[arg(long)]
    pub form: bool,
    /// Address for gRPC clients
    #[arg(long, value_name = "IP:PORT")]
    pub listen: Option<String>,
    /// Address for metrics and health
    #[arg(long, value_name = "IP:PORT")]
    pub http: Option<String>,
    /// Address that clients are told to dial
    #[arg(long, value_name = "HOST:PORT")]
    pub advertised: Option<String>,
    /// Name for people, in logs and broker lists
    #[arg(long, value_name = "NAME")]
    pub node_name: Option<String>,
    /// Form of a log line: text or json
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// error, warn, info, debug or trace, or directives by module
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// Any setting by its name; may be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_and_value)]
    pub set: Vec<(String, String)>,
}

impl Args {
    /// Gathers what was written in the file, in `variables` and in these flags.
    ///
    /// # Errors
    /// When the configuration file cannot be read, or one of our variables is not Unicode.
    pub fn layers(
        &self,
        variables: impl Iterator<Item = (OsString, OsString)>,
    ) -> Result<Layers, ConfigError> {
        let mut layers = Layers {
            flags: self.flags(),
            ..Layers::default()
        };
        for (name, value) in variables {
            // Names of ours are ASCII; others are not looked at.
            let Some(name) = name.to_str().filter(|name| name.starts_with("HEADWATER_")) else {
                continue;
            };
            let value = value.into_string().map_err(|_| ConfigError::NotUnicode {
                variable: name.to_owned(),
            })?;
            layers.variables.push((name.to_owned(), value));
        }
        let named = layers
            .variables
            .iter()
            .find(|(name, _)| name == "HEADWATER_CONFIG");
        let named = named.map(|(_, path)| path).filter(|path| !path.is_empty());
        if let Some(path) = self.config.clone().or_else(|| named.map(PathBuf::from)) {
            let name = path.display().to_string();
            let yaml = fs::read_to_string(&path).map_err(|error| ConfigError::Unreadable {
                path: name.clone(),
                reason: error.to_string(),
            })?;
            layers.file = Some((name, yaml));
        }
        Ok(layers)
    }

    /// The key, the flag as it was written, and the value; `--set` first, for a flag of its own is
    /// more deliberate.
    fn flags(&self) -> Vec<(String, String, String)> {
        let set = self
            .set
            .iter()
            .map(|(key, value)| (key.clone(), format!("--set {key}"), value.clone()));
        let form = self.form.then(|| "true".to_owned());
        let own = [
            ("data_dir", "--data-dir", &self.data_dir),
            ("form", "--form", &form),
            ("listen.client", "--listen", &self.listen),
            ("listen.http", "--http", &self.http),
            ("listen.advertised", "--advertised", &self.advertised),
            ("node_name", "--node-name", &self.node_name),
            ("log.format", "--log-format", &self.log_format),
            ("log.level", "--log-level", &self.log_level),
        ];
        let own = own.into_iter().filter_map(|(key, flag, value)| {
            Some((key.to_owned(), flag.to_owned(), value.clone()?))
        });
        set.chain(own).collect()
    }
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(words: &[&str]) -> Args {
        Args::try_parse_from([&["headwater-broker"], words].concat()).unwrap()
    }

    #[test]
    fn the_definition_of_the_command_line_is_sound() {
        use clap::CommandFactory as _;
        Args::command().debug_assert();
    }

    #[test]
    fn flags_are_layered_by_the_key_they_set() {
        let words = "--set topics.partitions=3 --set data_dir=/a=b --form --data-dir /d \
                     --listen 127.0.0.1:0 --http 127.0.0.1:1 --advertised a:1 --node-name n \
                     --log-format json --log-level debug";
        let words: Vec<&str> = words.split_whitespace().collect();
        let layers = args(&words).layers(std::iter::empty()).unwrap();
        let flags: Vec<(&str, &str, &str)> = layers
            .flags
            .iter()
            .map(|(key, flag, value)| (key.as_str(), flag.as_str(), value.as_str()))
            .collect();
        let expected = [
            ("topics.partitions", "--set topics.partitions", "3"),
            ("data_dir", "--set data_dir", "/a=b"),
            ("data_dir", "--data-dir", "/d"),
            ("form", "--form", "true"),
            ("listen.client", "--listen", "127.0.0.1:0"),
            ("listen.http", "--http", "127.0.0.1:1"),
            ("listen.advertised", "--advertised", "a:1"),
            ("node_name", "--node-name", "n"),
            ("log.format", "--log-format", "json"),
            ("log.level", "--log-level", "debug"),
        ];
        assert_eq!(flags, expected);
        crate::config::RawConfig::read(&layers).expect("every flag sets a known key");
    }

    #[test]
    fn set_without_a_value_is_a_wrong_flag() {
        assert!(Args::try_parse_from(["headwater-broker", "--set", "form"]).is_err());
    }

    #[test]
    fn the_file_is_read_and_only_our_variables_are_looked_at() {
        use std::os::unix::ffi::OsStringExt as _;
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(&file, "form: true\n").unwrap();
        let name = file.path().display().to_string();
        let args = args(&["--config", &name]);
        let odd = OsString::from_vec(vec![0xff]);
        let variables = [
            ("HEADWATER_FORM".into(), "false".into()),
            ("OTHER".into(), odd.clone()),
        ];
        let layers = args.layers(variables.into_iter()).unwrap();
        assert_eq!(layers.file, Some((name, "form: true\n".to_owned())));
        assert_eq!(
            layers.variables,
            [("HEADWATER_FORM".to_owned(), "false".to_owned())]
        );
        let bad = args.layers([("HEADWATER_FORM".into(), odd)].into_iter());
        assert_eq!(
            bad.unwrap_err().to_string(),
            "variable HEADWATER_FORM is not Unicode; write the value in a configuration file"
        );
    }

    #[test]
    fn the_variable_names_the_file_unless_the_flag_does() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let name = file.path().display().to_string();
        let variable = |value: &str| [("HEADWATER_CONFIG".into(), value.into())].into_iter();
        let by_variable = args(&[]).layers(variable(&name)).unwrap();
        assert_eq!(by_variable.file, Some((name.clone(), String::new())));
        let by_flag = args(&["--config", &name]).layers(variable("/no/such/file"));
        assert_eq!(by_flag.unwrap().file, Some((name, String::new())));
        assert_eq!(args(&[]).layers(variable("")).unwrap().file, None);
    }

    #[test]
    fn a_missing_file_is_named() {
        let layers = args(&["--config", "/no/such/file"]).layers(std::iter::empty());
        assert_eq!(
            layers.unwrap_err().to_string(),
            "cannot read the configuration file /no/such/file: No such file or directory (os error \
             2)"
        );
    }
}
