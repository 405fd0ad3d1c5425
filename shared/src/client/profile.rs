//! Contexts: which daemons a person knows, who they are there, and what may be done to them.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use etcetera::AppStrategy as _;
use serde::{Deserialize, Serialize};

use super::{Error, session};

/// Where the command line and the dashboard keep their files.
#[derive(Debug, Clone)]
pub struct Paths {
    /// Settings: no secrets.
    pub config: PathBuf,
    /// Credentials and changes under way: only for their owner.
    pub state: PathBuf,
}

fn homes() -> Result<impl etcetera::AppStrategy, Error> {
    let args = etcetera::AppStrategyArgs {
        top_level_domain: String::new(),
        author: String::new(),
        app_name: "bursar".to_owned(),
    };
    etcetera::choose_app_strategy(args)
        .map_err(|_| Error::Local("there is no home directory; set BURSAR_CONFIG_DIR".to_owned()))
}

/// Where a daemon keeps its store when nobody says: the XDG data folder.
///
/// # Errors
/// [`Error::Local`] when there is no home directory.
pub fn data_dir() -> Result<PathBuf, Error> {
    Ok(homes()?.data_dir())
}

impl Paths {
    /// Below one folder, or where the XDG rules say.
    ///
    /// # Errors
    /// [`Error::Local`] when there is no home directory.
    pub fn new(folder: Option<&Path>) -> Result<Self, Error> {
        if let Some(folder) = folder {
            return Ok(Self { config: folder.to_owned(), state: folder.join("state") });
        }
        let homes = homes()?;
        let state = homes.state_dir().unwrap_or_else(|| homes.data_dir());
        Ok(Self { config: homes.config_dir(), state })
    }

    fn profile(&self) -> PathBuf {
        self.config.join("config.toml")
    }

    /// The credentials of a context.
    pub fn credentials(&self, context: &str) -> PathBuf {
        self.state.join("credentials").join(format!("{context}.json"))
    }

    /// The changes that were sent and not answered.
    pub fn pending(&self) -> PathBuf {
        self.state.join("pending")
    }

    /// What became of files that were sent in batches.
    pub fn runs(&self) -> PathBuf {
        self.state.join("runs")
    }
}

/// What may be done to a daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protect {
    /// Everything that the person may.
    #[default]
    None,
    /// Changes only after a question, or with `--yes`.
    Confirm,
    /// No changes.
    Readonly,
}

impl Protect {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Confirm => "confirm",
            Self::Readonly => "readonly",
        }
    }
}

impl fmt::Display for Protect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Protect {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        [Self::None, Self::Confirm, Self::Readonly]
            .into_iter()
            .find(|one| one.as_str() == text)
            .ok_or_else(|| "must be one of none, confirm, readonly".to_owned())
    }
}

/// A daemon and who one is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Context {
    /// Its address.
    pub server: String,
    /// Who.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// What may be done to it.
    #[serde(default)]
    pub protect: Protect,
    /// A file with further root certificates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_cert: Option<PathBuf>,
}

/// All contexts of a person.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// The one that is used when nobody says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
    /// By name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub contexts: BTreeMap<String, Context>,
}

impl Profile {
    /// Reads the settings; empty when there are none yet.
    ///
    /// # Errors
    /// [`Error::Local`] when the file is there and cannot be understood.
    pub fn load(paths: &Paths) -> Result<Self, Error> {
        let path = paths.profile();
        let wrong = |why: String| Error::Local(format!("{}: {why}", path.display()));
        match std::fs::read_to_string(&path) {
            Ok(text) => toml::from_str(&text).map_err(|why| wrong(why.to_string())),
            Err(why) if why.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(why) => Err(wrong(why.to_string())),
        }
    }

    /// Writes the settings, whole or not at all.
    ///
    /// # Errors
    /// [`Error::Local`] when the file cannot be written.
    pub fn save(&self, paths: &Paths) -> Result<(), Error> {
        let text = toml::to_string(self).map_err(|wrong| Error::Local(wrong.to_string()))?;
        session::write_private(&paths.profile(), text.as_bytes())
    }

    /// The context of this name.
    ///
    /// # Errors
    /// [`Error::Local`] that names those there are.
    pub fn context(&self, name: &str) -> Result<&Context, Error> {
        self.contexts.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.contexts.keys().map(String::as_str).collect();
            let known = if known.is_empty() { "there are none yet".to_owned() } else { known.join(", ") };
            Error::Local(format!("there is no context {}; known: {known}", crate::text::clean(name)))
        })
    }

    /// The name of the context of this daemon, the current one first.
    pub fn named_by_server(&self, server: &str) -> Option<&str> {
        let current = self.current.as_deref();
        let current = current.filter(|name| self.contexts.get(*name).is_some_and(|c| c.server == server));
        current.or_else(|| {
            self.contexts.iter().find(|(_, context)| context.server == server).map(|(name, _)| name.as_str())
        })
    }
}

/// How the dashboard looks and which keys it has: `dashboard.toml`, written by hand.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Dashboard {
    /// Its colours; asked of the environment when they are not set.
    #[serde(default)]
    pub theme: Option<String>,
    /// Whether it takes clicks and the wheel.
    #[serde(default)]
    pub mouse: Option<bool>,
    /// Whether it draws with ASCII alone.
    #[serde(default)]
    pub ascii: Option<bool>,
    /// Keys by the name of the action, instead of those it has.
    #[serde(default)]
    pub keys: BTreeMap<String, Vec<String>>,
}

impl Dashboard {
    /// Reads the settings, and says where they are; empty when there are none.
    ///
    /// # Errors
    /// [`Error::Local`] when the file is there and cannot be understood.
    pub fn load(paths: &Paths) -> Result<(Self, PathBuf), Error> {
        let path = paths.config.join("dashboard.toml");
        let wrong = |why: String| Error::Local(format!("{}: {}", path.display(), why.trim_end()));
        let settings = match std::fs::read_to_string(&path) {
            Ok(text) => toml::from_str(&text).map_err(|why| wrong(why.to_string()))?,
            Err(why) if why.kind() == std::io::ErrorKind::NotFound => Self::default(),
            Err(why) => return Err(wrong(why.to_string())),
        };
        Ok((settings, path))
    }
}

/// Whether a context can have this name: it is also the name of a file.
pub fn is_context_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && !name.starts_with(['.', '-'])
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

/// A name for a daemon that has none: its host and port.
pub fn name_of_server(server: &str) -> String {
    let host = server.split_once("://").map_or(server, |(_, rest)| rest);
    let name: String =
        host.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).take(64).collect();
    name.trim_matches(['-', '.']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_come_back_as_they_were_saved() {
        let folder = tempfile::tempdir().unwrap();
        let paths = Paths::new(Some(folder.path())).unwrap();
        assert_eq!(Profile::load(&paths).unwrap(), Profile::default());
        let mut profile = Profile { current: Some("dev".to_owned()), ..Profile::default() };
        for (name, protect) in [("dev", Protect::None), ("prod", Protect::Readonly)] {
            let context = Context {
                server: format!("https://{name}.example.com"),
                email: Some("ada@example.com".to_owned()),
                protect,
                ca_cert: None,
            };
            profile.contexts.insert(name.to_owned(), context);
        }
        profile.save(&paths).unwrap();
        assert_eq!(Profile::load(&paths).unwrap(), profile);
        assert_eq!(profile.named_by_server("https://prod.example.com"), Some("prod"));
        let unknown = profile.context("pord").unwrap_err().to_string();
        assert!(unknown.contains("dev, prod"), "{unknown}");
    }

    #[test]
    fn names_of_contexts_are_names_of_files() {
        assert_eq!(name_of_server("http://127.0.0.1:8460"), "127.0.0.1-8460");
        assert_eq!(name_of_server("http://[::1]:8460"), "1--8460");
        assert!(is_context_name("prod-eu.1"));
        for wrong in ["", "../x", "a/b", ".hidden", "-x", "a b"] {
            assert!(!is_context_name(wrong), "{wrong}");
        }
    }
}
