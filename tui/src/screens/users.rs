//! People: the list, what belongs to the one under the cursor, and what happens to them meanwhile.

use std::{collections::BTreeMap, time::Duration};

use bursar_shared::{
    id::{AccountId, UserId},
    operations::{
        log::Event,
        transfers::AccountAfter,
        users::{EffectivePermissions, User},
    },
    page::List,
    permission::Permission,
};

use super::person::{self, status};
use crate::{
    listing::{Column, Listing, Rows, newer::fits},
    look::Theme,
    message::{Alarm, Request, Room, Slot, Task, Trouble},
    model::{Model, Screen},
    text::{day, minute},
    widgets::canvas::{Bit, bit},
    window::Row,
};

/// How long the cursor rests before what belongs to its row is loaded.
pub(crate) const REST: Duration = Duration::from_millis(150);

/// People.
pub struct Users {
    /// The list.
    pub list: Listing<User>,
    /// What somebody may do, as last asked: for whom, in which version, and the answer.
    pub allowed: Option<(UserId, i64, Result<EffectivePermissions, Trouble>)>,
    /// What happened to somebody and what they did, newest first, as last asked: whom, and the answer.
    pub timeline: Option<(UserId, Result<Vec<Event>, Trouble>)>,
    /// For whom the cursor is to rest.
    rests: Option<(UserId, i64)>,
    /// For whom it is being asked: the cursor may be elsewhere when the answers come.
    asked: Option<(UserId, i64)>,
    /// More happened to them since the timeline was read, or asked for.
    stale: bool,
}

impl Default for Users {
    fn default() -> Self {
        Self {
            list: Listing::new(Room::Users),
            allowed: None,
            timeline: None,
            rests: None,
            asked: None,
            stale: false,
        }
    }
}

impl Rows for User {
    const TITLE: &'static str = "Users";
    const NOTHING: &'static str = "there is nobody yet; {user.create} makes somebody";
    const COLUMNS: &'static [Column<Self>] = &[
        Column {
            title: "EMAIL",
            min: 27,
            share: 2,
            right: false,
            shown: true,
            sort: Some("email"),
            cell: |user, _, theme| bit(user.email.as_str().to_owned(), theme.text),
        },
        Column {
            title: "NAME",
            min: 14,
            share: 1,
            right: false,
            shown: true,
            sort: Some("name"),
            cell: |user, _, theme| bit(user.name.as_str().to_owned(), theme.text),
        },
        Column {
            title: "STATUS",
            min: 11,
            share: 0,
            right: false,
            shown: true,
            sort: None,
            cell: |user, _, theme| status(user.status, theme),
        },
        Column {
            title: "ROLES",
            min: 9,
            share: 1,
            right: false,
            shown: true,
            sort: None,
            cell: |user, _, theme| bit(user.roles.join(", "), theme.text),
        },
        Column {
            title: "CREATED",
            min: 10,
            share: 0,
            right: true,
            shown: true,
            sort: Some("createdAt"),
            cell: |user, _, theme| bit(day(user.created_at), theme.dim),
        },
        Column {
            title: "LAST SIGN-IN",
            min: 16,
            share: 0,
            right: true,
            shown: true,
            sort: None,
            cell: |user, _, theme| {
                bit(user.last_login_at.map_or_else(|| "never".to_owned(), minute), theme.dim)
            },
        },
        Column {
            title: "KIND",
            min: 7,
            share: 0,
            right: false,
            shown: false,
            sort: None,
            cell: |user, _, theme| bit(user.kind.as_str(), theme.text),
        },
        Column {
            title: "SESSIONS",
            min: 8,
            share: 0,
            right: true,
            shown: false,
            sort: None,
            cell: |user, _, theme| {
                bit(user.sessions.as_ref().map_or_else(String::new, |all| all.len().to_string()), theme.text)
            },
        },
        Column {
            title: "VERSION",
            min: 7,
            share: 0,
            right: true,
            shown: false,
            sort: None,
            cell: |user, _, theme| bit(user.version.to_string(), theme.dim),
        },
        Column {
            title: "EXTERNAL ID",
            min: 14,
            share: 1,
            right: false,
            shown: false,
            sort: None,
            cell: |user, _, theme| {
                bit(user.external_id.as_ref().map_or_else(String::new, ToString::to_string), theme.dim)
            },
        },
        Column::ID,
    ];

    fn request(list: List<Self>) -> Request {
        Request::Users(list)
    }

    fn outdates(&self, other: &Self) -> bool {
        self.version > other.version
    }

    fn called(&self, _: &Model) -> String {
        self.email.to_string()
    }

    fn lines(row: &Row<Self>, model: &Model, width: u16, whole: bool) -> Vec<Vec<Bit>> {
        if whole { person::full(model, row, width) } else { person::beside(model, row, width) }
    }
}

impl Users {
    /// Makes ready to be read: what somebody may not see is not asked for, the daemon would refuse the
    /// whole page.
    pub fn prepare(model: &mut Model) {
        let includes = [("sessions", Permission::SessionsRead), ("accounts", Permission::AccountsRead)];
        let allowed = includes.into_iter().filter(|(_, needs)| model.may(*needs)).map(|(name, _)| name);
        model.users.list.include = allowed.collect();
        model.users.allowed = None;
        model.users.timeline = None;
        model.users.rests = None;
    }

    /// Something happened to people: rows that are shown are brought up to date where they are.
    pub fn take_events(&mut self, events: &[Event]) -> bool {
        let mut seen = false;
        // what was read after it happened has the same version
        let again = self.list.newer.is_held();
        for event in events.iter().filter(|event| event.resource.kind == "user") {
            let Some(id) = &event.resource.id else { continue };
            let now: Option<User> = serde_json::from_value(event.data.clone()).ok();
            let gone = event.kind == "user.deleted";
            let held = self.list.window.revise(id, |row| {
                let known = row.record.version + i64::from(again);
                if now.as_ref().is_some_and(|user| user.version < known) {
                    return false;
                }
                row.gone |= gone;
                if let Some(mut user) = now {
                    user.sessions = user.sessions.or_else(|| row.record.sessions.take());
                    user.accounts = user.accounts.or_else(|| row.record.accounts.take());
                    row.record = user;
                }
                true
            });
            seen |= held;
            if event.kind == "user.created" && !held && self.list.read_at.is_some() {
                seen |= self.list.newer.add(id, fits(self.list.filter(), event));
            }
        }
        let of = |event: &Event, id: &str| {
            let about = event.resource.id.as_deref() == Some(id) || event.actor.id.as_deref() == Some(id);
            about || event.data.get("userId").and_then(serde_json::Value::as_str) == Some(id)
        };
        // one that is under way may have been read before this
        let known = self.timeline.as_ref().map(|(id, _)| *id);
        for id in known.into_iter().chain(self.asked.map(|(id, _)| id)) {
            let id = id.to_string();
            if !self.stale && events.iter().any(|event| of(event, &id)) {
                // read anew when the cursor rests; what is there stays until then
                self.stale = true;
                self.rests = None;
                seen = true;
            }
        }
        seen
    }

    /// Money moved: what people own is shown as it is now.
    pub fn take_balances(&mut self, events: &[Event]) -> bool {
        let mut after: BTreeMap<AccountId, AccountAfter> = BTreeMap::new();
        for event in events.iter().filter(|event| event.resource.kind == "transfer") {
            let Some(accounts) = event.data.get("accounts").cloned() else { continue };
            let accounts: Vec<AccountAfter> = serde_json::from_value(accounts).unwrap_or_default();
            after.extend(accounts.into_iter().map(|account| (account.id, account)));
        }
        let mut seen = false;
        if !after.is_empty() {
            self.list.window.amend(|user| {
                for account in user.accounts.iter_mut().flatten() {
                    if let Some(now) = after.get(&account.id).filter(|now| now.entry_seq > account.entry_seq)
                    {
                        (account.balances, account.entry_seq) = (now.balances, now.entry_seq);
                        seen = true;
                    }
                }
            });
        }
        seen
    }

    /// Whether the pane has something to wait for.
    fn wanted(model: &Model) -> Option<(UserId, i64)> {
        let list = &model.users.list;
        let shown = model.screen == Screen::Users && (list.pane || list.open.is_some());
        let row = list.window.current().filter(|row| shown && !row.gone)?;
        let wanted = (row.record.id, row.record.version);
        let have = model.users.allowed.as_ref().map(|(id, version, _)| (*id, *version));
        let told = model.users.timeline.as_ref().is_some_and(|(id, _)| *id == wanted.0);
        let told = told && !model.users.stale;
        ((have != Some(wanted) || !told) && !model.is_offline()).then_some(wanted)
    }

    /// After every message: waits for the cursor to rest.
    pub fn settle(model: &mut Model) -> Vec<Task> {
        let wanted = Self::wanted(model);
        if wanted == model.users.rests {
            return Vec::new();
        }
        model.users.rests = wanted;
        match wanted {
            Some(_) => vec![Task::Wake(REST, Alarm::Rest)],
            None => Vec::new(),
        }
    }

    /// The cursor has rested.
    pub fn rested(model: &mut Model) -> Vec<Task> {
        let Some((id, version)) = Self::wanted(model) else { return Vec::new() };
        let under_way = model.tickets.waits_for(Slot::Timeline) || model.tickets.waits_for(Slot::Permissions);
        if under_way && model.users.asked == Some((id, version)) {
            // asked again once these answers are here, if they are old by then
            return Vec::new();
        }
        model.users.asked = Some((id, version));
        model.users.stale = false;
        vec![
            Task::Ask(model.tickets.issue(Slot::Permissions), Request::Permissions(id)),
            Task::Ask(model.tickets.issue(Slot::Timeline), Request::Timeline(id)),
        ]
    }

    /// What somebody may do, or why that is not known.
    pub fn take_allowed(model: &mut Model, answer: Result<EffectivePermissions, Trouble>) {
        if let Some((id, version)) = model.users.asked
            && !answer.as_ref().is_ok_and(|allowed| allowed.user_id != id)
        {
            model.users.allowed = Some((id, version, answer));
            model.users.rests = None;
        }
    }

    /// What happened to the one who was asked about, or why that is not known.
    pub fn take_timeline(model: &mut Model, answer: Result<Vec<Event>, Trouble>) {
        if let Some((id, _)) = model.users.asked {
            model.users.timeline = Some((id, answer));
            model.users.rests = None;
        }
    }

    /// The person of this id, as far as they are held here.
    pub fn held(&self, id: UserId) -> Option<&Row<User>> {
        let id = id.to_string();
        self.list.window.rows().find(|row| row.id == id)
    }
}

/// The sign and word of a person's state, and their name.
pub fn named(user: &User, theme: &Theme) -> Vec<Bit> {
    vec![bit(user.email.to_string(), theme.strong), bit("  ", theme.text), status(user.status, theme)]
}
