//! Who is signed in, and where.

use bursar_shared::{
    id::UserId,
    operations::{auth::Session, log::Event},
    page::List,
};

use super::users::named;
use crate::{
    actions::Do,
    listing::{Column, Listing, Rows, newer::fits},
    look::Theme,
    message::Request,
    model::Model,
    text::minute,
    widgets::canvas::{Bit, bit},
    window::Row,
};

/// The filter for the live sessions of somebody.
pub fn of(user: UserId) -> String {
    format!("userId:{user} revoked:null")
}

/// The filter that this screen begins with: those that live.
pub const LIVE: &str = "revoked:null";

fn state(session: &Session, model: &Model, theme: &Theme) -> Bit {
    match () {
        () if session.revoked_at.is_some() => bit(format!("{} ended", theme.glyphs.gone), theme.dim),
        () if session.expires_at < model.now => bit(format!("{} expired", theme.glyphs.gone), theme.dim),
        () if session.current => bit(format!("{} this one", theme.glyphs.good), theme.accent),
        () => bit(format!("{} live", theme.glyphs.good), theme.good),
    }
}

impl Rows for Session {
    const TITLE: &'static str = "Sessions";
    const NOTHING: &'static str = "nobody is signed in";
    const COLUMNS: &'static [Column<Self>] = &[
        Column {
            title: "USER",
            min: 22,
            share: 2,
            right: false,
            shown: true,
            sort: None,
            cell: |session, model, theme| bit(model.name_of(session.user_id), theme.text),
        },
        Column { title: "STATE", min: 10, share: 0, right: false, shown: true, sort: None, cell: state },
        Column {
            title: "ADDRESS",
            min: 15,
            share: 0,
            right: false,
            shown: true,
            sort: None,
            cell: |session, _, theme| {
                bit(session.ip.clone().unwrap_or_else(|| "unknown".to_owned()), theme.text)
            },
        },
        Column {
            title: "LAST USED",
            min: 16,
            share: 0,
            right: false,
            shown: true,
            sort: Some("lastUsedAt"),
            cell: |session, _, theme| bit(minute(session.last_used_at), theme.text),
        },
        Column {
            title: "BEGUN",
            min: 16,
            share: 0,
            right: false,
            shown: true,
            sort: Some("createdAt"),
            cell: |session, _, theme| bit(minute(session.created_at), theme.dim),
        },
        Column {
            title: "PROGRAM",
            min: 14,
            share: 1,
            right: false,
            shown: true,
            sort: None,
            cell: |session, _, theme| bit(session.user_agent.clone().unwrap_or_default(), theme.dim),
        },
        Column {
            title: "ENDS",
            min: 16,
            share: 0,
            right: false,
            shown: false,
            sort: None,
            cell: |session, _, theme| bit(minute(session.expires_at), theme.dim),
        },
        Column::ID,
    ];

    fn request(list: List<Self>) -> Request {
        Request::Sessions(list)
    }

    fn outdates(&self, other: &Self) -> bool {
        (self.revoked_at.is_some(), self.last_used_at) > (other.revoked_at.is_some(), other.last_used_at)
    }

    fn called(&self, model: &Model) -> String {
        model.name_of(self.user_id)
    }

    fn lines(row: &Row<Self>, model: &Model, _: u16, whole: bool) -> Vec<Vec<Bit>> {
        let (session, theme) = (&row.record, &model.theme);
        let indent = if whole { "  " } else { "" };
        let fact = |name: &str, value: Bit| vec![bit(format!("{indent}{name:<10}"), theme.dim), value];
        let time = |at| bit(format!("{}Z", minute(at)), theme.text);
        let unknown = || "unknown".to_owned();
        let mut lines = if whole { vec![Vec::new()] } else { Vec::new() };
        lines.extend([
            fact("state", state(session, model, theme)),
            fact("address", bit(session.ip.clone().unwrap_or_else(unknown), theme.text)),
            fact("program", bit(session.user_agent.clone().unwrap_or_else(unknown), theme.text)),
            fact("begun", time(session.created_at)),
            fact("last used", time(session.last_used_at)),
            fact("ends", time(session.expires_at)),
        ]);
        if let Some(at) = session.revoked_at {
            lines.push(fact("ended", time(at)));
        }
        lines.push(fact("id", bit(session.id.to_string(), theme.text)));
        lines.push(Vec::new());
        lines.push(vec![bit(format!("{indent}PERSON"), theme.accent)]);
        let held = || model.users.held(session.user_id).map(|row| &row.record);
        match session.user.as_deref().or_else(held) {
            Some(person) => {
                let mut line = vec![bit(indent.to_owned(), theme.text)];
                line.extend(named(person, theme));
                lines.push(line);
                let roles = person.roles.join(", ");
                lines.push(fact(
                    "roles",
                    bit(if roles.is_empty() { "none".to_owned() } else { roles }, theme.text),
                ));
            }
            None => lines.push(fact("called", bit(model.name_of(session.user_id), theme.text))),
        }
        lines.push(fact("id", bit(session.user_id.to_string(), theme.text)));
        lines.push(vec![
            bit(format!("{indent}{}", model.keys.key_of(Do::GoPerson)), theme.key),
            bit(" person  ", theme.dim),
            bit(model.keys.key_of(Do::EndSession), theme.key),
            bit(" ends it  ", theme.dim),
            bit(model.keys.key_of(Do::EndAll), theme.key),
            bit(" ends all", theme.dim),
        ]);
        lines
    }
}

/// Something happened to sessions: those that ended are shown so, those that began are counted.
pub fn take_events(list: &mut Listing<Session>, events: &[Event]) -> bool {
    let mut seen = false;
    for event in events.iter().filter(|event| event.resource.kind == "session") {
        let Some(id) = &event.resource.id else { continue };
        match event.kind.as_str() {
            "session.revoked" | "session.reuse_detected" => {
                seen |= list.window.revise(id, |row| {
                    let lived = row.record.revoked_at.is_none();
                    row.record.revoked_at = row.record.revoked_at.or(Some(event.timestamp));
                    lived
                });
            }
            "session.refreshed" => {
                seen |= list.window.revise(id, |row| {
                    let later = row.record.last_used_at < event.timestamp;
                    row.record.last_used_at = row.record.last_used_at.max(event.timestamp);
                    later
                });
            }
            "session.created" if list.read_at.is_some() && !list.window.holds(id) => {
                seen |= list.newer.add(id, fits(list.filter(), event));
            }
            _ => {}
        }
    }
    seen
}
