//! Settings of the daemon: one table of names that are TOML keys, flags and environment variables.

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    db::{Location, file_in},
    limits::Proxies,
};

/// No refresh token lives longer than so many seconds, whatever a daemon is set to: for so long a key that signs
/// no more is kept.
pub const LONGEST_REFRESH: u32 = 604_800;

/// One setting: `listen` in the file, `--listen`, `BURSAR_LISTEN`.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Its name.
    pub key: &'static str,
    /// What its value looks like; empty for switches, which are `true` or `false`.
    pub value: &'static str,
    /// What it is when nobody says.
    pub default: &'static str,
    /// What it does.
    pub help: &'static str,
}

impl Setting {
    /// The environment variable of the same meaning.
    pub fn variable(&self) -> String {
        format!("BURSAR_{}", self.key.to_uppercase().replace('-', "_"))
    }
}

const fn setting(
    key: &'static str,
    value: &'static str,
    default: &'static str,
    help: &'static str,
) -> Setting {
    Setting { key, value, default, help }
}

/// All settings.
pub const SETTINGS: &[Setting] = &[
    setting("listen", "ADDRESS", "127.0.0.1:8460", "Where to listen; port 0 takes a free one"),
    setting("data-dir", "DIR", "", "Where the store lives; the XDG data folder when empty"),
    setting("database", "URL", "", "sqlite:FILE or postgres://...; bursar.db in the data folder when empty"),
    setting("create", "", "false", "Make a named SQLite file that does not exist"),
    setting("tls-cert", "FILE", "", "Certificate chain in PEM; turns TLS on"),
    setting("tls-key", "FILE", "", "Private key in PEM"),
    setting("insecure-http", "", "false", "Listen beyond loopback without TLS"),
    setting("trusted-proxies", "NETWORKS", "", "Whose X-Forwarded-For is believed, like 10.0.0.0/8,::1"),
    setting("limits", "on|off", "on", "Rate limits"),
    setting("master-key-file", "FILE", "", "32 bytes in hex or base64 that seal the keys in the store"),
    setting(
        "key-rotation",
        "DAYS",
        "90",
        "After how many days another key signs tokens; 0 for never by itself",
    ),
    setting("issuer", "NAME", "bursar", "The iss of tokens"),
    setting("pool-size", "N", "8", "Database connections to read, and as many to write on PostgreSQL"),
    setting(
        "group",
        "N",
        "256",
        "Writes that share a commit at most; 1 is a transaction a request, to compare",
    ),
    setting("log-format", "json|pretty", "json", "How log lines look"),
    setting("log-level", "LEVEL", "info", "error, warn, info, debug or trace"),
    setting("metrics-listen", "ADDRESS", "", "Serve /metrics there instead of beside the API"),
    setting("access-ttl", "SECONDS", "900", "How long an access token lives; at most 900"),
    setting("max-streams", "N", "512", "Callers that may follow /v1/events/stream at the same time"),
    setting("stream-beat", "SECONDS", "15", "How often a stream without rows says that it lives; at most 16"),
    setting("refresh-ttl", "SECONDS", "604800", "How long a refresh token lives; at most 604800"),
];

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Pretty,
}

/// The settings of a daemon.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Where the store lives.
    pub data_dir: PathBuf,
    /// The store.
    pub location: Location,
    /// Whether the SQLite file was named by hand, and must then exist.
    pub named: bool,
    /// Make a named SQLite file that does not exist.
    pub create: bool,
    /// Certificate chain and private key.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Listen beyond loopback without TLS.
    pub insecure_http: bool,
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Proxies,
    /// Whether rate limits hold.
    pub limits: bool,
    /// What seals the keys in the store.
    pub master_key_file: Option<PathBuf>,
    /// After how long another key signs tokens; nothing when only by hand.
    pub key_rotation: Option<Duration>,
    /// The `iss` of tokens.
    pub issuer: String,
    /// Database connections.
    pub pool_size: u32,
    /// Writes that share a commit at most.
    pub group: usize,
    /// How log lines look.
    pub log_format: LogFormat,
    /// The least level that is logged.
    pub log_level: String,
    /// Where `/metrics` is served, if not beside the API.
    pub metrics_listen: Option<SocketAddr>,
    /// How long an access token lives.
    pub access_ttl: Duration,
    /// How long a refresh token lives.
    pub refresh_ttl: Duration,
    /// How many may follow the log at the same time.
    pub max_streams: u32,
    /// How often a stream without rows says that it lives.
    pub stream_beat: Duration,
    /// The store goes with the program, so nothing is kept back for a full disk. No setting.
    pub thrown_away: bool,
}

/// A setting that cannot be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// Where it came from: `--listen`, `BURSAR_LISTEN`, `bursar.toml: listen`.
    pub at: String,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.message)
    }
}

impl std::error::Error for ConfigError {}

/// Reads an environment variable.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Where settings come from, the strongest first: flags, environment, file.
#[derive(Default)]
pub struct Sources<'a> {
    /// Flags, by setting.
    pub flags: BTreeMap<String, String>,
    /// The environment.
    pub environment: Option<Environment<'a>>,
    /// A TOML file.
    pub file: Option<&'a Path>,
    /// The data folder when nobody names one.
    pub default_data_dir: PathBuf,
}

impl Config {
    /// Puts the settings together.
    ///
    /// # Errors
    /// The first setting that cannot be, and where it came from. An unknown key in the file is one.
    pub fn load(sources: &Sources<'_>) -> Result<Self, ConfigError> {
        let file = match sources.file {
            Some(path) => read_file(path)?,
            None => BTreeMap::new(),
        };
        let name = sources.file.map(|path| path.display().to_string()).unwrap_or_default();
        let find = |key: &str| -> Found {
            let setting = SETTINGS.iter().find(|setting| setting.key == key);
            let variable = setting.map(Setting::variable).unwrap_or_default();
            if let Some(text) = sources.flags.get(key) {
                return Found { at: format!("--{key}"), text: text.clone() };
            }
            if let Some(text) =
                sources.environment.and_then(|read| read(&variable)).filter(|text| !text.is_empty())
            {
                return Found { at: variable, text };
            }
            if let Some(text) = file.get(key) {
                return Found { at: format!("{name}: {key}"), text: text.clone() };
            }
            let text = setting.map_or("", |setting| setting.default).to_owned();
            Found { at: format!("--{key}"), text }
        };
        let data_dir = find("data-dir").path().unwrap_or_else(|| sources.default_data_dir.clone());
        let database = find("database");
        let named = !database.text.is_empty();
        let location = if named {
            Location::parse(&database.text).map_err(|message| database.wrong(message))?
        } else {
            file_in(&data_dir)
        };
        let (cert, key) = (find("tls-cert"), find("tls-key"));
        let tls = match (cert.path(), key.path()) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            (None, Some(_)) => return Err(key.wrong("needs --tls-cert too")),
            (Some(_), None) => return Err(cert.wrong("needs --tls-key too")),
        };
        let proxies = find("trusted-proxies");
        let networks: Vec<&str> =
            proxies.text.split(',').map(str::trim).filter(|text| !text.is_empty()).collect();
        let trusted_proxies = Proxies::parse(&networks).map_err(|why| proxies.wrong(why))?;
        let metrics = find("metrics-listen");
        let metrics_listen = if metrics.text.is_empty() {
            None
        } else {
            Some(metrics.parse("an address like 127.0.0.1:9460")?)
        };
        let config = Self {
            listen: find("listen").parse("an address like 127.0.0.1:8460")?,
            data_dir,
            location,
            named,
            create: find("create").switch()?,
            tls,
            insecure_http: find("insecure-http").switch()?,
            trusted_proxies,
            limits: find("limits").switch()?,
            master_key_file: find("master-key-file").path(),
            key_rotation: match find("key-rotation").number(0, 3_650)? {
                0 => None,
                days => Some(Duration::from_secs(u64::from(days) * 86_400)),
            },
            issuer: find("issuer").text,
            pool_size: find("pool-size").number(1, 200)?,
            group: usize::try_from(find("group").number(1, 256)?).unwrap_or(1),
            log_format: match find("log-format") {
                found if found.text == "json" => LogFormat::Json,
                found if found.text == "pretty" => LogFormat::Pretty,
                found => return Err(found.wrong("must be json or pretty")),
            },
            log_level: match find("log-level") {
                found if ["error", "warn", "info", "debug", "trace"].contains(&found.text.as_str()) => {
                    found.text
                }
                found => return Err(found.wrong("must be error, warn, info, debug or trace")),
            },
            metrics_listen,
            access_ttl: Duration::from_secs(find("access-ttl").number(1, 900)?.into()),
            refresh_ttl: Duration::from_secs(find("refresh-ttl").number(60, LONGEST_REFRESH)?.into()),
            max_streams: find("max-streams").number(0, 100_000)?,
            stream_beat: Duration::from_secs(find("stream-beat").number(1, 16)?.into()),
            thrown_away: false,
        };
        if config.tls.is_none() && !config.insecure_http && !config.listen.ip().is_loopback() {
            return Err(find("listen").wrong(
                "would send passwords in plain text beyond this machine; give --tls-cert and --tls-key, or \
                 --insecure-http behind a proxy that does TLS",
            ));
        }
        Ok(config)
    }
}

/// A value and where it came from.
struct Found {
    at: String,
    text: String,
}

impl Found {
    fn wrong(&self, message: impl Into<String>) -> ConfigError {
        ConfigError { at: self.at.clone(), message: message.into() }
    }

    fn path(&self) -> Option<PathBuf> {
        (!self.text.is_empty()).then(|| PathBuf::from(&self.text))
    }

    fn parse<T: std::str::FromStr>(&self, wanted: &str) -> Result<T, ConfigError> {
        self.text.parse().map_err(|_| self.wrong(format!("{} is not {wanted}", self.text)))
    }

    fn number(&self, min: u32, max: u32) -> Result<u32, ConfigError> {
        match self.text.parse() {
            Ok(number) if (min..=max).contains(&number) => Ok(number),
            _ => Err(self.wrong(format!("must be a number from {min} to {max}"))),
        }
    }

    fn switch(&self) -> Result<bool, ConfigError> {
        match self.text.as_str() {
            "true" | "on" | "yes" | "1" => Ok(true),
            "false" | "off" | "no" | "0" => Ok(false),
            _ => Err(self.wrong("must be on or off")),
        }
    }
}

fn read_file(path: &Path) -> Result<BTreeMap<String, String>, ConfigError> {
    let wrong = |at: &str, message: String| ConfigError { at: format!("{}{at}", path.display()), message };
    let text = std::fs::read_to_string(path).map_err(|why| wrong("", why.to_string()))?;
    let table: toml::Table =
        text.parse().map_err(|why: toml::de::Error| wrong("", why.message().to_owned()))?;
    let mut found = BTreeMap::new();
    for (key, value) in table {
        if !SETTINGS.iter().any(|setting| setting.key == key) {
            let known: Vec<&str> = SETTINGS.iter().map(|setting| setting.key).collect();
            return Err(wrong(&format!(": {key}"), format!("is not a setting; valid: {}", known.join(", "))));
        }
        let text = match value {
            toml::Value::String(text) => text,
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Boolean(switch) => switch.to_string(),
            _ => return Err(wrong(&format!(": {key}"), "must be a text, a number or a switch".to_owned())),
        };
        found.insert(key, text);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(flags: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let flags = flags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Config::load(&Sources { flags, default_data_dir: PathBuf::from("/data"), ..Sources::default() })
    }

    #[test]
    fn needs_nothing() {
        let config = load(&[]).unwrap();
        assert_eq!(config.location, Location::Sqlite(PathBuf::from("/data/bursar.db")));
        assert_eq!(config.listen.to_string(), "127.0.0.1:8460");
    }

    #[test]
    fn refuses_plain_text_beyond_loopback() {
        let wrong = load(&[("listen", "0.0.0.0:80")]).unwrap_err();
        assert!(wrong.to_string().starts_with("--listen: would send passwords"), "{wrong}");
        assert!(load(&[("listen", "0.0.0.0:80"), ("insecure-http", "true")]).is_ok());
        assert!(load(&[("listen", "[::1]:80")]).is_ok());
    }

    #[test]
    fn stands_in_the_readme() {
        let readme = include_str!("../../README.md");
        for setting in SETTINGS {
            let (flag, value) = (format!("--{} {}", setting.key, setting.value), setting.default);
            let flag = flag.trim_end().replace('|', "\\|");
            let default = if value.is_empty() { String::new() } else { format!("`{value}`") };
            let line = format!("| `{flag}` | `{}` | {default} | {} |", setting.variable(), setting.help);
            assert!(readme.contains(&line), "README.md lacks this line: {line}");
        }
    }

    #[test]
    fn says_where_a_wrong_value_came_from() {
        let environment = |name: &str| (name == "BURSAR_POOL_SIZE").then(|| "many".to_owned());
        let sources = Sources { environment: Some(&environment), ..Sources::default() };
        let wrong = Config::load(&sources).unwrap_err();
        assert_eq!(wrong.to_string(), "BURSAR_POOL_SIZE: must be a number from 1 to 200");
    }

    #[test]
    fn refuses_unknown_keys_and_schemes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bursar.toml");
        std::fs::write(&path, "lisen = \"127.0.0.1:1\"").unwrap();
        let wrong = Config::load(&Sources { file: Some(&path), ..Sources::default() }).unwrap_err();
        assert!(wrong.to_string().contains("lisen: is not a setting"), "{wrong}");
        assert!(load(&[("database", "mysql://x")]).is_err());
    }
}
