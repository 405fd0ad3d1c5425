//! What can be changed in the daemon, as data: what it is called, what it does, how it is undone, and the
//! same as a command.

mod money;

pub use self::money::{Deed, Moved};

use bursar_shared::{
    decode,
    field::{ExternalId, Metadata, MetadataPatch, Reason, RoleName, UserStatus},
    id::{SessionId, UserId},
    operations::{
        accounts::Account,
        auth::Revoked,
        users::{BulkOp, BulkResult, CreateUser, PasswordReset, UpdateUser, User},
    },
};
use serde_json::Value;

/// What is to be changed.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// A person is suspended, perhaps for a reason.
    Suspend(UserId, Option<Reason>),
    /// A person is let in again, perhaps for a reason.
    Activate(UserId, Option<Reason>),
    /// A person is deleted.
    Delete(UserId),
    /// All sessions of a person end.
    EndSessions(UserId),
    /// A session ends.
    EndSession(SessionId),
    /// A one-time token for a new password is made.
    Reset(UserId),
    /// A person has these roles from now on.
    Roles(UserId, Vec<RoleName>),
    /// A person is made.
    Create(Box<CreateUser>),
    /// A person is edited.
    Edit(Box<UpdateUser>),
    /// The same is done to many people, each by itself.
    Many(BulkOp, Vec<Item>),
    /// Something about money.
    Money(Box<Deed>),
}

/// Somebody to whom the same is done as to others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Who.
    pub id: UserId,
    /// What they are called.
    pub name: String,
    /// The version that was seen.
    pub version: Option<i64>,
}

/// What a change does, or did.
#[derive(Debug, Clone)]
pub enum Effect {
    /// This is the person afterwards.
    Person(Box<User>),
    /// The person, or the session, is gone.
    Gone,
    /// So many sessions ended.
    Ended(u64),
    /// A way to a new password; the token is not there when this was answered before.
    Token(PasswordReset),
    /// What became of each of many.
    Many(BulkResult),
    /// Money moved, or is held.
    Moved(Box<Moved>),
    /// This is the account afterwards.
    Account(Box<Account>),
    /// An account that is to be closed: as it was read just before, and afterwards.
    Closing(Box<Account>, Box<Account>),
}

impl Change {
    /// The person it is about, if it is one that is there.
    pub const fn person(&self) -> Option<UserId> {
        match self {
            Self::Suspend(id, _)
            | Self::Activate(id, _)
            | Self::Delete(id)
            | Self::EndSessions(id)
            | Self::Reset(id)
            | Self::Roles(id, _) => Some(*id),
            Self::Edit(edit) => Some(edit.id),
            Self::EndSession(_) | Self::Create(_) | Self::Many(..) | Self::Money(_) => None,
        }
    }

    /// What is asked.
    pub fn question(&self) -> String {
        match self {
            Self::Suspend(..) => "Suspend this person?".to_owned(),
            Self::Activate(..) => "Activate this person?".to_owned(),
            Self::Delete(_) => "Delete this person?".to_owned(),
            Self::EndSessions(_) => "End all sessions of this person?".to_owned(),
            Self::EndSession(_) => "End this session?".to_owned(),
            Self::Reset(_) => "Reset the password of this person?".to_owned(),
            Self::Roles(..) => "Change the roles of this person?".to_owned(),
            Self::Create(_) => "Create this person?".to_owned(),
            Self::Edit(_) => "Save these changes?".to_owned(),
            Self::Money(deed) => deed.question(),
            Self::Many(op, items) => {
                let people = if items.len() == 1 { "person" } else { "people" };
                format!("{} {} marked {people}?", verb(*op), items.len())
            }
        }
    }

    /// What the button says.
    pub const fn button(&self) -> &'static str {
        match self {
            Self::Suspend(..) => "Suspend",
            Self::Activate(..) => "Activate",
            Self::Delete(_) => "Delete",
            Self::EndSessions(_) => "End sessions",
            Self::EndSession(_) => "End session",
            Self::Reset(_) => "Reset",
            Self::Roles(..) | Self::Edit(_) => "Save",
            Self::Create(_) => "Create",
            Self::Many(op, _) => verb(*op),
            Self::Money(deed) => deed.button(),
        }
    }

    /// What was done, before the name of whom it was done to.
    pub const fn done(&self) -> &'static str {
        match self {
            Self::Suspend(..) => "suspended",
            Self::Activate(..) => "activated",
            Self::Delete(_) => "deleted",
            Self::EndSessions(_) => "ended the sessions of",
            Self::EndSession(_) => "ended a session of",
            Self::Reset(_) => "reset the password of",
            Self::Roles(..) => "changed the roles of",
            Self::Create(_) => "created",
            Self::Edit(_) => "saved",
            Self::Many(op, _) => past(*op),
            Self::Money(deed) => deed.done(),
        }
    }

    /// How it is undone, with names of actions for their keys; begins with `none` when it is not.
    pub const fn undo(&self) -> &'static str {
        match self {
            Self::Suspend(..) => "{user.activate} activates them again; sessions that ended stay ended",
            Self::Activate(..) => "{user.suspend} suspends them again",
            Self::Delete(_) | Self::Many(BulkOp::Delete, _) => {
                "none: who is deleted stays so; the email is free again"
            }
            Self::EndSessions(_) | Self::EndSession(_) => "none: they sign in again",
            Self::Reset(_) => "none: the old password and the sessions are gone",
            Self::Roles(..) => "{app.undo} gives the old roles again, while nobody else changes them",
            Self::Create(_) => "{app.undo} deletes them again",
            Self::Edit(_) => "{app.undo} puts the old values back, while nobody else saves",
            Self::Many(BulkOp::Suspend, _) => {
                "{app.undo} activates them again; sessions that ended stay ended"
            }
            Self::Many(..) => "{app.undo} suspends them again",
            Self::Money(deed) => deed.undo(),
        }
    }

    /// Whether a reason is kept with it.
    pub const fn takes_reason(&self) -> bool {
        match self {
            Self::Suspend(..) | Self::Activate(..) => true,
            Self::Many(op, _) => matches!(op, BulkOp::Suspend | BulkOp::Activate),
            Self::Money(deed) => deed.takes_reason(),
            _ => false,
        }
    }

    /// The same for this reason. Of many, the reason goes with every item when it is sent.
    #[must_use]
    pub fn because(self, reason: Option<Reason>) -> Self {
        match self {
            Self::Suspend(id, _) => Self::Suspend(id, reason),
            Self::Activate(id, _) => Self::Activate(id, reason),
            Self::Money(deed) => Self::Money(Box::new(deed.because(reason))),
            other => other,
        }
    }

    /// The same as a command.
    pub fn command(&self) -> String {
        let because = |reason: &Option<Reason>| {
            reason.as_ref().map_or_else(String::new, |reason| format!(" --reason {}", shell(reason.as_str())))
        };
        match self {
            Self::Suspend(id, reason) => format!("bursar users suspend {id}{}", because(reason)),
            Self::Activate(id, reason) => format!("bursar users activate {id}{}", because(reason)),
            Self::Delete(id) => format!("bursar users delete {id}"),
            Self::EndSessions(id) => format!("bursar sessions revoke --user {id}"),
            Self::EndSession(id) => format!("bursar sessions revoke {id}"),
            Self::Reset(id) => format!("bursar users reset-password {id}"),
            Self::Roles(id, roles) => {
                let roles: Vec<&str> = roles.iter().map(RoleName::as_str).collect();
                format!("bursar users roles {id} --set {}", shell(&roles.join(",")))
            }
            Self::Create(op) => create_command(op),
            Self::Edit(op) => edit_command(op),
            Self::Money(deed) => deed.command(),
            Self::Many(op, items) => {
                let ids: Vec<String> = items.iter().map(|item| item.id.to_string()).collect();
                format!("bursar users {} {}", verb(*op).to_lowercase(), ids.join(" "))
            }
        }
    }

    /// The change that takes this one back, if one does.
    pub fn reverse(&self, before: Option<&User>, effect: &Effect) -> Option<(Self, Option<i64>)> {
        let after = match effect {
            Effect::Person(user) => Some(user.version),
            _ => None,
        };
        match (self, effect) {
            (Self::Money(deed), _) => deed.reverse(effect),
            (Self::Suspend(id, _), _) => Some((Self::Activate(*id, None), after)),
            (Self::Activate(id, _), _) => Some((Self::Suspend(*id, None), after)),
            (Self::Roles(id, _), _) => {
                let roles = before?.roles.iter().filter_map(|role| role.parse().ok()).collect();
                Some((Self::Roles(*id, roles), after))
            }
            (Self::Create(_), Effect::Person(user)) => Some((Self::Delete(user.id), after)),
            (Self::Edit(edit), _) => Some((Self::Edit(Box::new(unedit(edit, before?))), after)),
            (Self::Many(op, items), Effect::Many(result)) => {
                let back = match op {
                    BulkOp::Suspend => BulkOp::Activate,
                    BulkOp::Activate => BulkOp::Suspend,
                    _ => return None,
                };
                let done = result.items.iter().filter(|outcome| outcome.error.is_none());
                let items: Vec<Item> = done
                    .filter_map(|outcome| {
                        let item = items.get(outcome.index as usize)?;
                        let version = outcome.data.as_ref().map(|user| user.version);
                        Some(Item { version, ..item.clone() })
                    })
                    .collect();
                (!items.is_empty()).then_some((Self::Many(back, items), None))
            }
            _ => None,
        }
    }

    /// What a change did whose answer was lost, from the answer that the daemon kept.
    pub fn read(&self, data: Option<Value>) -> Option<Effect> {
        match self {
            Self::Delete(_) | Self::EndSession(_) => Some(Effect::Gone),
            Self::EndSessions(_) => {
                serde_json::from_value::<Revoked>(data?).ok().map(|ended| Effect::Ended(ended.revoked))
            }
            Self::Reset(_) => serde_json::from_value(data?).ok().map(Effect::Token),
            Self::Many(..) => serde_json::from_value(data?).ok().map(Effect::Many),
            Self::Money(deed) => deed.read(data?),
            _ => serde_json::from_value(data?).ok().map(Box::new).map(Effect::Person),
        }
    }

    /// What differs, member by member: its name, before, after. For what the status does not say.
    pub fn differences(&self, before: Option<&User>) -> Vec<(String, Option<String>, Option<String>)> {
        match self {
            Self::Create(op) => {
                let mut rows = vec![
                    ("email".to_owned(), None, Some(op.email.to_string())),
                    ("name".to_owned(), None, Some(op.name.to_string())),
                ];
                rows.extend(op.kind.map(|kind| ("kind".to_owned(), None, Some(kind.to_string()))));
                if let Some(roles) = op.roles.as_ref().filter(|roles| !roles.is_empty()) {
                    let roles: Vec<&str> = roles.iter().map(RoleName::as_str).collect();
                    rows.push(("roles".to_owned(), None, Some(roles.join(", "))));
                }
                rows.extend(
                    op.external_id.as_ref().map(|id| ("external id".to_owned(), None, Some(id.to_string()))),
                );
                let metadata = op.metadata.iter().flat_map(|metadata| &metadata.0);
                rows.extend(metadata.map(|(key, value)| (key.clone(), None, Some(value.clone()))));
                rows
            }
            Self::Money(deed) => deed.differences(),
            Self::Edit(op) => before.map_or_else(Vec::new, |before| edited(op, before)),
            Self::Roles(_, roles) => {
                let Some(before) = before else { return Vec::new() };
                let now: Vec<&str> = roles.iter().map(RoleName::as_str).collect();
                let given = now.iter().filter(|role| !before.roles.iter().any(|had| had == *role));
                let taken = before.roles.iter().filter(|role| !now.contains(&role.as_str()));
                let given = given.map(|role| ("give".to_owned(), None, Some((*role).to_owned())));
                given.chain(taken.map(|role| ("withdraw".to_owned(), Some(role.clone()), None))).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Where the person stands afterwards, as far as the change itself says.
    pub fn status_after(&self) -> Option<UserStatus> {
        match self {
            Self::Suspend(..) => Some(UserStatus::Suspended),
            Self::Activate(..) => Some(UserStatus::Active),
            Self::Delete(_) => Some(UserStatus::Deleted),
            _ => None,
        }
    }

    /// Whether it ends the sessions of the person.
    pub const fn ends_sessions(&self) -> bool {
        matches!(self, Self::Suspend(..) | Self::Delete(_) | Self::EndSessions(_) | Self::Reset(_))
    }
}

/// What is done to many, as a button says it.
pub const fn verb(op: BulkOp) -> &'static str {
    match op {
        BulkOp::Create => "Create",
        BulkOp::Update => "Update",
        BulkOp::Suspend => "Suspend",
        BulkOp::Activate => "Activate",
        BulkOp::Delete => "Delete",
    }
}

/// The same when it is done.
pub const fn past(op: BulkOp) -> &'static str {
    match op {
        BulkOp::Create => "created",
        BulkOp::Update => "updated",
        BulkOp::Suspend => "suspended",
        BulkOp::Activate => "activated",
        BulkOp::Delete => "deleted",
    }
}

/// What an edit changes: the name of each member, what it was and what it will be.
#[derive(Default)]
struct Edited(Vec<(String, Option<String>, Option<String>)>);

impl Edited {
    fn row(&mut self, name: &str, was: Option<String>, now: Option<String>) {
        if was != now {
            self.0.push((name.to_owned(), was, now));
        }
    }

    /// What the caller keeps with a record of any kind.
    fn kept(
        &mut self,
        (was_id, was): (&Option<ExternalId>, &Metadata),
        id: &decode::Change<Option<ExternalId>>,
        patch: &decode::Change<MetadataPatch>,
    ) {
        if let Some(now) = id.value() {
            let text = |id: &Option<ExternalId>| id.as_ref().map(ToString::to_string);
            self.row("external id", text(was_id), text(now));
        }
        for (key, value) in patch.value().iter().flat_map(|patch| &patch.0) {
            self.row(key, was.0.get(key).cloned(), value.clone());
        }
    }
}

/// What puts back the members that an edit changes: `was` where it changes `now`.
fn old<T, U>(now: &decode::Change<U>, was: T) -> decode::Change<T> {
    decode::Change::from_option(now.value().map(|_| was))
}

/// The same for facts.
fn old_facts(now: &decode::Change<MetadataPatch>, was: &Metadata) -> decode::Change<MetadataPatch> {
    let old = |patch: &MetadataPatch| {
        MetadataPatch(patch.0.keys().map(|key| (key.clone(), was.0.get(key).cloned())).collect())
    };
    decode::Change::from_option(now.value().map(old))
}

fn edited(op: &UpdateUser, before: &User) -> Vec<(String, Option<String>, Option<String>)> {
    let mut rows = Edited::default();
    if let Some(email) = op.email.value() {
        rows.row("email", Some(before.email.to_string()), Some(email.to_string()));
    }
    if let Some(name) = op.name.value() {
        rows.row("name", Some(before.name.to_string()), Some(name.to_string()));
    }
    rows.kept((&before.external_id, &before.metadata), &op.external_id, &op.metadata);
    rows.0
}

/// The edit that puts back what another one changed.
fn unedit(edit: &UpdateUser, before: &User) -> UpdateUser {
    UpdateUser {
        id: edit.id,
        email: old(&edit.email, before.email.clone()),
        name: old(&edit.name, before.name.clone()),
        external_id: old(&edit.external_id, before.external_id.clone()),
        metadata: old_facts(&edit.metadata, &before.metadata),
    }
}

fn create_command(op: &CreateUser) -> String {
    let mut line = format!(
        "bursar users create --email {} --name {}",
        shell(op.email.as_str()),
        shell(op.name.as_str())
    );
    for role in op.roles.iter().flatten() {
        line.push_str(&format!(" --role {}", shell(role.as_str())));
    }
    if let Some(kind) = op.kind {
        line.push_str(&format!(" --kind {kind}"));
    }
    if let Some(id) = &op.external_id {
        line.push_str(&format!(" --external-id {}", shell(id.as_str())));
    }
    for (key, value) in op.metadata.iter().flat_map(|metadata| &metadata.0) {
        line.push_str(&format!(" --metadata {}", shell(&format!("{key}={value}"))));
    }
    line
}

fn edit_command(op: &UpdateUser) -> String {
    let mut line = format!("bursar users update {}", op.id);
    if let Some(email) = op.email.value() {
        line.push_str(&format!(" --email {}", shell(email.as_str())));
    }
    if let Some(name) = op.name.value() {
        line.push_str(&format!(" --name {}", shell(name.as_str())));
    }
    match op.external_id.value() {
        Some(Some(id)) => line.push_str(&format!(" --external-id {}", shell(id.as_str()))),
        Some(None) => line.push_str(" --no-external-id"),
        None => {}
    }
    for (key, value) in op.metadata.value().iter().flat_map(|patch| &patch.0) {
        match value {
            Some(value) => line.push_str(&format!(" --metadata {}", shell(&format!("{key}={value}")))),
            None => line.push_str(&format!(" --no-metadata {}", shell(key))),
        }
    }
    line
}

/// A word for a shell: quoted where it must be.
pub fn shell(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.,:/@%+=".contains(&b);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    // a quote within is closed, escaped, and opened again
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_for_a_shell_are_quoted_where_they_must_be() {
        assert_eq!(shell("ada@example.com"), "ada@example.com");
        assert_eq!(shell("Ada Lovelace"), "'Ada Lovelace'");
        assert_eq!(shell("it's"), r"'it'\''s'");
        assert_eq!(shell(""), "''");
        assert_eq!(shell("$(rm -r)"), "'$(rm -r)'");
    }
}
