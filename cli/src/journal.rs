//! Changes that were sent and not answered: written down before sending, forgotten after the answer.

use std::{fs, path::PathBuf, time::Duration};

use bursar_shared::{
    client::{profile::Paths, session},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::error::{Failure, Result};

/// How long the daemon keeps what a key was answered.
pub(crate) const KEPT: Duration = Duration::from_secs(72 * 3_600);
/// The same where money moves.
pub(crate) const KEPT_MONEY: Duration = Duration::from_secs(30 * 86_400);

/// A change on its way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Pending {
    /// Its idempotency key: with it the daemon does it at most once.
    pub key: String,
    /// Which context it was made in.
    pub context: Option<String>,
    /// Which daemon it went to.
    pub server: String,
    /// Who made it; a key means nothing to anybody else.
    pub who: String,
    /// When.
    pub at: Timestamp,
    /// HTTP method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// The version it was made for.
    pub if_match: Option<i64>,
    /// The body, as it was sent.
    pub body: Option<String>,
}

/// The folder of changes on their way.
pub(crate) struct Journal(PathBuf);

impl Journal {
    /// The journal of these paths.
    pub(crate) fn new(paths: &Paths) -> Self {
        Self(paths.pending())
    }

    fn path(&self, key: &str) -> PathBuf {
        // a key may hold any visible character, a file name may not
        let name: String = key
            .bytes()
            .map(|byte| match byte {
                byte if byte.is_ascii_alphanumeric() || byte == b'-' => char::from(byte).to_string(),
                byte => format!("_{byte:02x}"),
            })
            .collect();
        self.0.join(format!("{name}.json"))
    }

    /// Writes a change down, and says whether it was written down before: it was sent, and nobody knows what
    /// became of it.
    pub(crate) fn write(&self, pending: &Pending) -> Result<bool> {
        let path = self.path(&pending.key);
        let again = path.exists();
        session::write_private(&path, &serde_json::to_vec(pending)?)?;
        Ok(again)
    }

    /// Forgets a change: it has a verdict.
    pub(crate) fn remove(&self, key: &str) -> Result<()> {
        match fs::remove_file(self.path(key)) {
            Err(wrong) if wrong.kind() != std::io::ErrorKind::NotFound => {
                Err(Failure::new(1, format!("{}: {wrong}", self.path(key).display())))
            }
            _ => Ok(()),
        }
    }

    /// All changes without a verdict, oldest first.
    pub(crate) fn all(&self) -> Result<Vec<Pending>> {
        let mut all = Vec::new();
        let entries = match fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(_) => return Ok(all),
        };
        for entry in entries.flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|end| end == "json")
                && let Some(text) = session::read_private(&path)?
            {
                let pending: Pending = serde_json::from_slice(&text)
                    .map_err(|wrong| Failure::new(1, format!("{}: {wrong}", path.display())))?;
                all.push(pending);
            }
        }
        all.sort_by_key(|pending| pending.at);
        Ok(all)
    }

    /// The one whose key begins so.
    pub(crate) fn find(&self, key: &str) -> Result<Pending> {
        let mut found: Vec<Pending> =
            self.all()?.into_iter().filter(|pending| pending.key.starts_with(key)).collect();
        match (found.pop(), found.is_empty()) {
            (Some(one), true) => Ok(one),
            (Some(_), false) => Err(Failure::usage(format!("{key} is the beginning of several keys"))),
            (None, _) => Err(Failure::new(3, format!("no change with the key {key} is pending"))
                .hint("bursar pending list")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_changes_until_they_have_a_verdict() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::new(&Paths::new(Some(folder.path())).unwrap());
        assert!(journal.all().unwrap().is_empty());
        let pending = |key: &str, at: i64| Pending {
            key: key.to_owned(),
            context: None,
            server: "http://127.0.0.1:1".to_owned(),
            who: "ada@example.com".to_owned(),
            at: Timestamp::from_micros(at),
            method: "POST".to_owned(),
            target: "/v1/users".to_owned(),
            if_match: None,
            body: Some("{}".to_owned()),
        };
        let (late, early) = (pending("../../etc/passwd1", 2), pending("abcdef", 1));
        assert!(!journal.write(&late).unwrap());
        assert!(journal.write(&late).unwrap(), "it is sent again");
        journal.write(&early).unwrap();
        assert_eq!(journal.all().unwrap(), [early.clone(), late.clone()]);
        assert_eq!(journal.find("abc").unwrap(), early);
        assert_eq!(journal.find("x").unwrap_err().exit, 3);
        journal.remove(&late.key).unwrap();
        journal.remove(&late.key).unwrap();
        assert_eq!(journal.all().unwrap(), [early]);
    }
}
