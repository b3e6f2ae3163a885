//! From text to [`Settings`], once.

use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::time::Duration;

use headwater_record::Compression;

use super::error::ConfigError;
use super::keys::Form;
use super::raw::{Layers, RawConfig};
use super::settings::{
    DiskGuard, Durability, Limits, Listen, LogFormat, Logging, Settings, Storage, Tier,
    TopicDefaults,
};
use super::value;
use crate::limits::TIER_BACKLOG_TOLERATED;
use crate::memory::{LimitSource, MemoryLimit, MemorySplit, Needs};

/// What settings with the value `auto` are taken from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Cores that this process may use.
    pub cores: usize,
    /// The host's name.
    pub host_name: String,
    /// The memory limit that was found.
    pub memory: MemoryLimit,
}

impl Machine {
    /// The machine that this process runs on.
    ///
    /// # Errors
    /// When the memory of the machine cannot be told.
    pub fn this() -> Result<Machine, ConfigError> {
        let memory = MemoryLimit::detect(Path::new("/")).map_err(ConfigError::MachineMemory)?;
        Ok(Machine {
            cores: std::thread::available_parallelism().map_or(1, NonZero::get),
            host_name: rustix::system::uname()
                .nodename()
                .to_string_lossy()
                .into_owned(),
            memory,
        })
    }
}

impl Settings {
    /// Parses every value and checks those that must agree.
    ///
    /// # Errors
    /// The first value that cannot be used, or a memory limit that is too small for the rest.
    pub fn parse(raw: &RawConfig, machine: &Machine) -> Result<Settings, ConfigError> {
        let reader = Reader { raw };
        let disk_guard = disk_guard(&reader)?;
        let topics = topics(&reader)?;
        let limits = limits(&reader)?;
        let tier = tier(&reader)?;
        let limit = match reader.bytes_or_auto("memory.limit_bytes")? {
            Some(bytes) => MemoryLimit {
                bytes,
                source: LimitSource::Setting,
            },
            None => machine.memory.clone(),
        };
        let needs = Needs {
            partitions_max: limits.partitions_max as u64,
            connections_max: limits.connections_max as u64,
            message_bytes_max: topics.message_bytes_max.into(),
            fetch_bytes_max: limits.fetch_bytes_max as u64,
            tier_cache_bytes: tier.as_ref().map_or(0, |tier| tier.cache_bytes),
            tier_uploads: tier
                .as_ref()
                .map_or(0, |tier| tier.upload_concurrency as u64),
        };
        Ok(Settings {
            data_dir: reader.text("data_dir", data_dir)?,
            node_name: reader
                .unless_auto("node_name", value::plain_name)?
                .unwrap_or_else(|| machine.host_name.clone()),
            form: reader.text("form", value::switch)?,
            default_namespace: reader.text("default_namespace", value::dns_label)?,
            shutdown_grace: reader.time("shutdown_grace")?,
            shutdown_delay: reader.time("shutdown_delay")?,
            listen: Listen {
                client: reader.text("listen.client", value::socket_address)?,
                internal: reader.text("listen.internal", value::socket_address)?,
                http: reader.text("listen.http", value::socket_address)?,
                advertised: reader.unless_auto("listen.advertised", value::host_and_port)?,
            },
            internal_secret_file: reader.text("internal.secret_file", |path| {
                Ok((path != "none").then(|| PathBuf::from(path)))
            })?,
            storage: storage(&reader, machine)?,
            disk_guard,
            topics,
            tier,
            memory: MemorySplit::divide(&limit, &needs)?,
            limits,
            logging: logging(&reader)?,
        })
    }

    /// Settings for a broker inside another program: defaults, with these keys set. Neither a file
    /// nor variables are read.
    ///
    /// # Errors
    /// As [`RawConfig::read`] and [`Settings::parse`]; also when this machine's memory cannot be
    /// told.
    pub fn embedded(values: &[(&str, &str)]) -> Result<Settings, ConfigError> {
        let owned = |(key, text): &(&str, &str)| {
            (
                (*key).to_owned(),
                "of the embedding program".to_owned(),
                (*text).to_owned(),
            )
        };
        let layers = Layers {
            flags: values.iter().map(owned).collect(),
            ..Layers::default()
        };
        Settings::parse(&RawConfig::read(&layers)?, &Machine::this()?)
    }
}

fn storage(reader: &Reader<'_>, machine: &Machine) -> Result<Storage, ConfigError> {
    let shards = reader.count_or_auto("storage.shards")?;
    Ok(Storage {
        shards: shards.unwrap_or_else(|| machine.cores.clamp(1, crate::limits::SHARDS_MAX)),
        open_files_max: reader.count("storage.open_files_max")?,
        background_sync_interval: reader.time("storage.background_sync_interval")?,
        retention_check_interval: reader.time("storage.retention_check_interval")?,
    })
}

fn disk_guard(reader: &Reader<'_>) -> Result<DiskGuard, ConfigError> {
    let guard = DiskGuard {
        reserve_bytes: reader.bytes("disk_guard.reserve_bytes")?,
        low_water_bytes: reader.bytes("disk_guard.low_water_bytes")?,
        high_water_bytes: reader.bytes("disk_guard.high_water_bytes")?,
    };
    if guard.low_water_bytes >= guard.high_water_bytes {
        return Err(reader.conflict(
            "disk_guard.high_water_bytes",
            format!(
                "must be above disk_guard.low_water_bytes, which is {}",
                value::show_size(guard.low_water_bytes)
            ),
        ));
    }
    Ok(guard)
}

fn topics(reader: &Reader<'_>) -> Result<TopicDefaults, ConfigError> {
    let topics = TopicDefaults {
        partitions: reader.count("topics.partitions")?,
        retention_ms: reader.time_ms_or_forever("topics.retention_time")?,
        retention_bytes: reader.bytes_or_unlimited("topics.retention_bytes")?,
        segment_bytes: reader.bytes("topics.segment_bytes")?,
        segment_ms: reader.time_ms("topics.segment_time")?,
        durability: reader.choice(
            "topics.durability",
            &[
                ("fsync", Durability::Fsync),
                ("replicated", Durability::Replicated),
            ],
        )?,
        compression: reader.choice(
            "topics.compression",
            &[
                ("none", Compression::None),
                ("gzip", Compression::Gzip),
                ("snappy", Compression::Snappy),
                ("lz4", Compression::Lz4),
                ("zstd", Compression::Zstd),
            ],
        )?,
        message_bytes_max: reader.bytes("topics.message_bytes_max")?,
        timestamp_ahead_ms_max: reader.time_ms("topics.timestamp_ahead_max")?,
        tiering: reader.text("topics.tiering", value::switch)?,
        local_retention_ms: reader.time_ms_or_forever("topics.local_retention_time")?,
        local_retention_bytes: reader.bytes_or_unlimited("topics.local_retention_bytes")?,
    };
    if u64::from(topics.message_bytes_max) > topics.segment_bytes {
        return Err(reader.conflict(
            "topics.message_bytes_max",
            format!(
                "must fit into topics.segment_bytes, which is {}",
                value::show_size(topics.segment_bytes)
            ),
        ));
    }
    Ok(topics)
}

fn tier(reader: &Reader<'_>) -> Result<Option<Tier>, ConfigError> {
    let unless_none = |text: &str| Ok((text != "none").then(|| text.to_owned()));
    let Some(url) = reader.text("tier.url", unless_none)? else {
        return Ok(None);
    };
    reader.text("tier.url", |url| {
        crate::tier::store::check(url).map_err(|error| format!("{error:#}"))
    })?;
    Ok(Some(Tier {
        url,
        credentials_dir: reader
            .text("tier.credentials_dir", unless_none)?
            .map(PathBuf::from),
        upload_concurrency: reader.count("tier.upload_concurrency")?,
        cache_bytes: reader.bytes("tier.cache_bytes")?,
        commit_interval: reader.time("tier.commit_interval")?,
        gc_grace: reader.time("tier.gc_grace")?,
        gc_interval: reader.time("tier.gc_interval")?,
        snapshot_interval: reader.time("tier.snapshot_interval")?,
        backlog_tolerated: TIER_BACKLOG_TOLERATED,
    }))
}

fn limits(reader: &Reader<'_>) -> Result<Limits, ConfigError> {
    Ok(Limits {
        connections_max: reader.count("limits.connections_max")?,
        streams_per_connection_max: reader.count("limits.streams_per_connection_max")?,
        fetch_wait_max: reader.time("limits.fetch_wait_max")?,
        fetch_bytes_max: reader.bytes("limits.fetch_bytes_max")?,
        produce_stream_credit_bytes: reader.bytes("limits.produce_stream_credit_bytes")?,
        subscribe_buffer_bytes: reader.bytes("limits.subscribe_buffer_bytes")?,
        partitions_max: reader.count("limits.partitions_max")?,
    })
}

fn logging(reader: &Reader<'_>) -> Result<Logging, ConfigError> {
    Ok(Logging {
        format: reader.choice(
            "log.format",
            &[("text", LogFormat::Text), ("json", LogFormat::Json)],
        )?,
        level: reader.text("log.level", crate::telemetry::check_level)?,
    })
}

fn data_dir(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() {
        return Err("is empty: name a directory".to_owned());
    }
    Ok(PathBuf::from(text))
}

/// Reads keys by name in the form that the table gives them.
struct Reader<'a> {
    raw: &'a RawConfig,
}

impl Reader<'_> {
    fn text<T>(
        &self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, ConfigError> {
        let (key, text, origin) = self.raw.get(name);
        parse(text).map_err(|problem| ConfigError::Value {
            key: key.name,
            text: text.to_owned(),
            origin: origin.clone(),
            problem,
        })
    }

    fn unless_auto<T>(
        &self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, ConfigError> {
        self.text(name, |text| {
            (text != "auto").then(|| parse(text)).transpose()
        })
    }

    fn bytes<T: TryFrom<u64>>(&self, name: &str) -> Result<T, ConfigError> {
        self.text(name, |text| self.size_in_range(name, text))
            .map(narrow)
    }

    fn bytes_or_auto(&self, name: &str) -> Result<Option<u64>, ConfigError> {
        self.unless_auto(name, |text| self.size_in_range(name, text))
    }

    fn bytes_or_unlimited(&self, name: &str) -> Result<Option<u64>, ConfigError> {
        self.text(name, |text| {
            (!value::is_unbounded(text))
                .then(|| self.size_in_range(name, text))
                .transpose()
        })
    }

    fn time_ms(&self, name: &str) -> Result<u64, ConfigError> {
        self.text(name, |text| self.time_in_range(name, text))
    }

    fn time(&self, name: &str) -> Result<Duration, ConfigError> {
        self.time_ms(name).map(Duration::from_millis)
    }

    fn time_ms_or_forever(&self, name: &str) -> Result<Option<u64>, ConfigError> {
        self.text(name, |text| {
            (!value::is_unbounded(text))
                .then(|| self.time_in_range(name, text))
                .transpose()
        })
    }

    fn count<T: TryFrom<u64>>(&self, name: &str) -> Result<T, ConfigError> {
        self.text(name, |text| self.count_in_range(name, text))
            .map(narrow)
    }

    fn count_or_auto<T: TryFrom<u64>>(&self, name: &str) -> Result<Option<T>, ConfigError> {
        Ok(self
            .unless_auto(name, |text| self.count_in_range(name, text))?
            .map(narrow))
    }

    fn choice<T: Copy>(&self, name: &str, choices: &[(&str, T)]) -> Result<T, ConfigError> {
        self.text(name, |text| {
            let found = choices.iter().find(|(word, _)| *word == text);
            found.map(|(_, choice)| *choice).ok_or_else(|| {
                let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
                format!("is none of {}", words.join(", "))
            })
        })
    }

    fn size_in_range(&self, name: &str, text: &str) -> Result<u64, String> {
        in_range(
            value::size(text)?,
            &self.raw.get(name).0.form,
            value::show_size,
        )
    }

    fn time_in_range(&self, name: &str, text: &str) -> Result<u64, String> {
        in_range(
            value::time_ms(text)?,
            &self.raw.get(name).0.form,
            value::show_time,
        )
    }

    fn count_in_range(&self, name: &str, text: &str) -> Result<u64, String> {
        in_range(value::count(text)?, &self.raw.get(name).0.form, |count| {
            count.to_string()
        })
    }

    fn conflict(&self, name: &str, problem: String) -> ConfigError {
        let (key, _, origin) = self.raw.get(name);
        ConfigError::Conflict {
            key: key.name,
            origin: origin.clone(),
            problem,
        }
    }
}

fn in_range(number: u64, form: &Form, show: impl Fn(u64) -> String) -> Result<u64, String> {
    let (min, max) = form
        .range()
        .expect("settings are read in the form of the table");
    if (min..=max).contains(&number) {
        return Ok(number);
    }
    Err(format!(
        "is out of range: write {} to {}",
        show(min),
        show(max)
    ))
}

/// The table's ranges fit the types of [`Settings`].
fn narrow<T: TryFrom<u64>>(number: u64) -> T {
    T::try_from(number)
        .ok()
        .expect("the range of the setting fits its type")
}
