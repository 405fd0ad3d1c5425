//! Everything about one person, as lines.

use bursar_shared::{
    field::{UserKind, UserStatus},
    operations::{auth::Session, log::Event, users::User},
    permission::{Permission, Permissions},
};

use super::audit;
use crate::{
    actions::Do,
    look::Theme,
    model::Model,
    text::{Clean, minute},
    widgets::canvas::{Bit, bit},
    window::Row,
};

/// How many are loaded along with a person, of each kind.
const INCLUDED: usize = 10;
/// Lines of the timeline in the pane.
const LATEST: usize = 5;

/// Where they stand: sign and word.
pub fn status(status: UserStatus, theme: &Theme) -> Bit {
    let (sign, style) = match status {
        UserStatus::Active => (theme.glyphs.good, theme.good),
        UserStatus::Suspended => (theme.glyphs.stop, theme.bad),
        UserStatus::Deleted => (theme.glyphs.gone, theme.dim),
    };
    bit(format!("{sign} {status}"), style)
}

/// Who they are.
pub(super) fn about(user: &User, gone: bool, theme: &Theme) -> Vec<Vec<Bit>> {
    let fact = |name: &str, value: Bit| vec![bit(format!("{name:<10}"), theme.dim), value];
    let text = |value: String| bit(value, theme.text);
    let roles = if user.roles.is_empty() { "none".to_owned() } else { user.roles.join(", ") };
    let mut lines = vec![
        fact("name", bit(user.name.as_str().to_owned(), theme.strong)),
        fact("status", status(user.status, theme)),
        fact("roles", text(roles)),
        fact("id", text(user.id.to_string())),
        fact("last seen", text(user.last_login_at.map_or_else(|| "never".to_owned(), |at| minute(at) + "Z"))),
        fact("created", text(minute(user.created_at) + "Z")),
        fact("edited", text(format!("{}Z", minute(user.updated_at)))),
        fact("version", text(user.version.to_string())),
    ];
    if user.kind != UserKind::Human {
        lines.insert(3, fact("kind", text(user.kind.to_string())));
    }
    if let Some(id) = &user.external_id {
        lines.push(fact("external", text(id.to_string())));
    }
    if gone {
        let text = format!("{} gone, or no longer in this list", theme.glyphs.gone);
        lines.insert(0, vec![bit(text, theme.warn)]);
    }
    lines
}

fn heading(title: String, theme: &Theme) -> Vec<Bit> {
    vec![bit(title, theme.accent)]
}

/// What they own.
fn accounts(model: &Model, user: &User) -> Vec<Vec<Bit>> {
    let more = model.users.list.truncated.contains(&user.id.to_string())
        && user.accounts.as_ref().is_some_and(|accounts| accounts.len() >= INCLUDED);
    super::accounts::of_person(user.accounts.as_deref(), more, model)
}

/// Where they are signed in.
pub(super) fn sessions(model: &Model, user: &User, theme: &Theme) -> Vec<Vec<Bit>> {
    let Some(sessions) = &user.sessions else {
        let why = if model.may(Permission::SessionsRead) { "not read" } else { "needs sessions:read" };
        return vec![heading("SESSIONS".to_owned(), theme), vec![bit(why, theme.dim)]];
    };
    let more = if model.users.list.truncated.contains(&user.id.to_string()) { "+" } else { "" };
    let mut lines = vec![heading(format!("SESSIONS {}{more}", sessions.len()), theme)];
    if sessions.is_empty() {
        lines.push(vec![bit("not signed in anywhere", theme.dim)]);
    }
    lines.extend(sessions.iter().map(|session| session_line(session, theme)));
    lines
}

fn session_line(session: &Session, theme: &Theme) -> Vec<Bit> {
    let place = session.ip.clone().unwrap_or_else(|| "unknown".to_owned());
    let program = session.user_agent.clone().unwrap_or_default();
    vec![
        bit(format!("{} ", theme.glyphs.good), theme.good),
        bit(format!("{}Z ", minute(session.last_used_at)), theme.text),
        bit(format!("{place} "), theme.text),
        bit(program, theme.dim),
    ]
}

/// What they may do, one line a resource.
pub(super) fn permissions(model: &Model, user: &User, theme: &Theme, width: u16) -> Vec<Vec<Bit>> {
    let known = model.users.allowed.as_ref().filter(|(id, _, _)| *id == user.id);
    let Some((_, _, answer)) = known else {
        let why = if model.is_offline() { "not read: the daemon cannot be reached" } else { "reading…" };
        return vec![heading("PERMISSIONS".to_owned(), theme), vec![bit(why, theme.dim)]];
    };
    let allowed = match answer {
        Ok(allowed) => allowed.permissions,
        Err(trouble) => {
            let text = format!("{} {}", theme.glyphs.stop, trouble.message());
            return vec![heading("PERMISSIONS".to_owned(), theme), vec![bit(text, theme.bad)]];
        }
    };
    let count = allowed.iter().count();
    let mut lines = vec![heading(format!("PERMISSIONS {count}"), theme)];
    if count == Permission::ALL.len() {
        lines.push(vec![bit("everything", theme.text)]);
        return lines;
    }
    if count == 0 {
        lines.push(vec![bit("none", theme.dim)]);
    }
    lines.extend(grouped(allowed, theme, width));
    lines
}

/// Permissions, one line a resource: `users  read write suspend`.
pub(super) fn grouped(permissions: Permissions, theme: &Theme, width: u16) -> Vec<Vec<Bit>> {
    let mut lines = Vec::new();
    let mut groups: Vec<(&str, String)> = Vec::new();
    for permission in permissions.iter() {
        let Some((resource, action)) = permission.as_str().split_once(':') else { continue };
        match groups.iter_mut().find(|(known, _)| *known == resource) {
            Some((_, actions)) => {
                actions.push(' ');
                actions.push_str(action);
            }
            None => groups.push((resource, action.to_owned())),
        }
    }
    for (resource, actions) in groups {
        let room = usize::from(width.saturating_sub(13)).max(8);
        for (at, part) in Clean::of(actions).wrap(room).into_iter().enumerate() {
            let name = if at == 0 { resource } else { "" };
            lines.push(vec![bit(format!("{name:<13}"), theme.dim), Bit { text: part, style: theme.text }]);
        }
    }
    lines
}

/// Facts that other systems keep with them.
pub(super) fn metadata(user: &User, theme: &Theme) -> Vec<Vec<Bit>> {
    let facts = &user.metadata.0;
    let mut lines = vec![heading(format!("METADATA {}", facts.len()), theme)];
    if facts.is_empty() {
        lines.push(vec![bit("none", theme.dim)]);
    }
    lines.extend(facts.iter().map(|(key, value)| {
        let key = Clean::of(key).fit(12, theme.glyphs.ellipsis);
        let pad = " ".repeat(13 - key.width().min(12));
        vec![Bit { text: key, style: theme.dim }, bit(pad, theme.dim), bit(value.clone(), theme.text)]
    }));
    lines
}

/// What happened to them, newest first.
fn timeline(model: &Model, user: &User, theme: &Theme, most: usize) -> Vec<Vec<Bit>> {
    let known = model.users.timeline.as_ref().filter(|(id, _)| *id == user.id);
    let events = match known {
        Some((_, Ok(events))) => events,
        Some((_, Err(trouble))) => {
            let text = format!("{} {}", theme.glyphs.stop, trouble.message());
            return vec![heading("TIMELINE".to_owned(), theme), vec![bit(text, theme.bad)]];
        }
        None => {
            let why =
                if model.is_offline() { "not read: the daemon cannot be reached" } else { "reading…" };
            return vec![heading("TIMELINE".to_owned(), theme), vec![bit(why, theme.dim)]];
        }
    };
    let mut title = heading("TIMELINE".to_owned(), theme);
    if model.may(Permission::EventsRead) {
        title.extend([
            bit(format!("  {}", model.keys.key_of(Do::GoTimeline)), theme.key),
            bit(" changes of them", theme.dim),
        ]);
    }
    let mut lines = vec![title];
    if events.is_empty() {
        lines.push(vec![bit("nothing that you may see", theme.dim)]);
    }
    lines.extend(events.iter().take(most).map(|event| timeline_line(event, user, model, theme)));
    lines
}

/// What happened: to them, and then by whom; or by them, and then to whom.
fn timeline_line(event: &Event, user: &User, model: &Model, theme: &Theme) -> Vec<Bit> {
    let id = user.id.to_string();
    let theirs = event.actor.id.as_deref() == Some(&id);
    let to_them = event.resource.id.as_deref() == Some(&id);
    let what = event.kind.strip_prefix("user.").filter(|_| to_them).unwrap_or(&event.kind).to_owned();
    let mut line = vec![
        bit(format!("{}Z ", minute(event.timestamp)), theme.dim),
        bit(what, audit::kind_style(&event.kind, theme)),
    ];
    if to_them {
        line.push(bit(audit::changed(event, theme), theme.text));
    } else if event.resource.kind != "session" {
        line.push(bit(format!("  {}", audit::what(event, model)), theme.text));
    }
    if !theirs {
        line.push(bit(format!("  by {}", audit::by(event, model)), theme.dim));
    }
    line
}

/// What is shown beside the list.
pub(super) fn beside(model: &Model, row: &Row<User>, width: u16) -> Vec<Vec<Bit>> {
    let (user, theme) = (&row.record, &model.theme);
    let mut lines = about(user, row.gone, theme);
    let parts = [
        accounts(model, user),
        sessions(model, user, theme),
        permissions(model, user, theme, width),
        timeline(model, user, theme, LATEST),
        metadata(user, theme),
    ];
    for part in parts {
        lines.push(Vec::new());
        lines.extend(part);
    }
    lines
}

/// Everything about somebody, for the whole screen: in two columns where there is room for them.
pub(super) fn full(model: &Model, row: &Row<User>, width: u16) -> Vec<Vec<Bit>> {
    let (user, theme) = (&row.record, &model.theme);
    let inside = width.saturating_sub(4);
    let half = inside / 2;
    let wide = inside >= 100;
    let left = [
        about(user, row.gone, theme),
        accounts(model, user),
        sessions(model, user, theme),
        metadata(user, theme),
    ];
    let right = [
        permissions(model, user, theme, if wide { half } else { inside }),
        timeline(model, user, theme, 100),
    ];
    let join = |parts: &[Vec<Vec<Bit>>]| {
        let mut lines: Vec<Vec<Bit>> = Vec::new();
        for part in parts {
            lines.extend(part.iter().cloned());
            lines.push(Vec::new());
        }
        lines
    };
    let (left, right) = (join(&left), join(&right));
    let indent = || bit("  ", theme.text);
    let mut lines = vec![Vec::new()];
    if !wide {
        lines.extend(left.into_iter().chain(right).map(|mut line| {
            line.insert(0, indent());
            line
        }));
        return lines;
    }
    let (mut left, mut right) = (left.into_iter(), right.into_iter());
    loop {
        let (one, other) = (left.next(), right.next());
        if one.is_none() && other.is_none() {
            return lines;
        }
        let mut line = vec![indent()];
        line.extend(cut(one.unwrap_or_default(), usize::from(half) - 2, theme));
        line.extend(other.unwrap_or_default());
        lines.push(line);
    }
}

/// The pieces of a line in exactly so many cells.
fn cut(bits: Vec<Bit>, width: usize, theme: &Theme) -> Vec<Bit> {
    let mut left = width;
    let mut out = Vec::new();
    for one in bits {
        let text = one.text.fit(left, theme.glyphs.ellipsis);
        left = left.saturating_sub(text.width());
        out.push(Bit { text, style: one.style });
    }
    out.push(bit(" ".repeat(left + 2), theme.text));
    out
}
