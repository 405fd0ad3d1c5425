//! The log: what changed as it happens, and everything that was done or tried, with before and after.

use bursar_shared::{
    id::UserId,
    operations::log::{AuditEntry, Event},
    page::List,
};
use ratatui::style::Style;
use serde_json::Value;

use super::named;
use crate::{
    listing::{Column, Rows},
    look::Theme,
    message::Request,
    model::Model,
    text::{Clean, brief, clock, day, minute, number, when},
    widgets::canvas::{Bit, bit},
    window::Row,
};

/// A column of a log; `$of` takes the event out of the row.
macro_rules! columns {
    ($of:expr) => {
        &[
            Column {
                title: "TIME",
                min: 9,
                share: 0,
                right: false,
                shown: true,
                sort: Some("seq"),
                cell: |row, model, theme| bit(when($of(row).timestamp, model.now), theme.dim),
            },
            Column {
                title: "EVENT",
                min: 20,
                share: 0,
                right: false,
                shown: true,
                sort: None,
                cell: |row, _, theme| {
                    let event = $of(row);
                    bit(event.kind.clone(), kind_style(&event.kind, theme))
                },
            },
            Column {
                title: "WHAT",
                min: 24,
                share: 6,
                right: false,
                shown: true,
                sort: None,
                cell: |row, model, theme| bit(what($of(row), model), theme.text),
            },
            Column {
                title: "BY",
                min: 10,
                share: 1,
                right: false,
                shown: true,
                sort: None,
                cell: |row, model, theme| bit(briefly_by($of(row), model), theme.dim),
            },
            Column {
                title: "FROM",
                min: 15,
                share: 0,
                right: false,
                shown: true,
                sort: None,
                cell: |row, _, theme| bit($of(row).actor.ip.clone().unwrap_or_default(), theme.dim),
            },
            Column {
                title: "DAY",
                min: 10,
                share: 0,
                right: false,
                shown: false,
                sort: None,
                cell: |row, _, theme| bit(day($of(row).timestamp), theme.dim),
            },
            Column {
                title: "NUMBER",
                min: 9,
                share: 0,
                right: true,
                shown: false,
                sort: None,
                cell: |row, _, theme| bit($of(row).seq.to_string(), theme.dim),
            },
            Column {
                title: "REQUEST",
                min: 30,
                share: 0,
                right: false,
                shown: false,
                sort: None,
                cell: |row, _, theme| bit($of(row).request_id.clone(), theme.dim),
            },
        ]
    };
}

fn itself(event: &Event) -> &Event {
    event
}

fn within(entry: &AuditEntry) -> &Event {
    &entry.0
}

impl Rows for Event {
    const TITLE: &'static str = "Events";
    const NOTHING: &'static str = "nothing has happened yet";
    const COLUMNS: &'static [Column<Self>] = columns!(itself);

    fn request(list: List<Self>) -> Request {
        Request::Events(list)
    }

    fn called(&self, _: &Model) -> String {
        self.kind.clone()
    }

    fn lines(row: &Row<Self>, model: &Model, width: u16, whole: bool) -> Vec<Vec<Bit>> {
        lines(&row.record, model, width, whole)
    }
}

impl Rows for AuditEntry {
    const TITLE: &'static str = "Audit";
    const NOTHING: &'static str = "nothing was done yet";
    const COLUMNS: &'static [Column<Self>] = columns!(within);

    fn request(list: List<Self>) -> Request {
        Request::Audit(list)
    }

    fn called(&self, _: &Model) -> String {
        self.0.kind.clone()
    }

    fn lines(row: &Row<Self>, model: &Model, width: u16, whole: bool) -> Vec<Vec<Bit>> {
        lines(&row.record.0, model, width, whole)
    }
}

/// How the name of what happened looks.
pub fn kind_style(kind: &str, theme: &Theme) -> Style {
    match kind.rsplit('.').next() {
        Some("denied" | "reuse_detected" | "login_failed") => theme.bad,
        Some("failed" | "suspended" | "deleted" | "revoked") => theme.warn,
        Some("created" | "activated") => theme.good,
        _ => theme.text,
    }
}

/// The person that a row is about: the record itself, or whose it is.
pub fn person_of(event: &Event) -> Option<UserId> {
    let own = event.resource.id.as_deref().and_then(|id| id.parse().ok());
    let of = || event.data.get("userId").and_then(Value::as_str)?.parse().ok();
    let actor = || event.actor.id.as_deref()?.parse().ok();
    own.or_else(of).or_else(actor)
}

/// What happened to what, in a few words: the name of the record, and what changed of it.
pub fn what(event: &Event, model: &Model) -> String {
    let theme = &model.theme;
    if event.resource.kind == "transfer"
        && let Some(text) = super::money::said(event, model)
    {
        return text;
    }
    let text = |name: &str| event.data.get(name).and_then(Value::as_str).map(str::to_owned);
    let id = || event.resource.id.as_deref().map(|id| named::called(model, id));
    let name = text("email").or_else(|| text("name")).or_else(id);
    let mut out = name.unwrap_or_else(|| event.resource.kind.clone());
    out.push_str(&changed(event, theme));
    out
}

/// What changed, in a few words; nothing for what is no edit.
pub fn changed(event: &Event, theme: &Theme) -> String {
    let mut out = String::new();
    for (member, change) in event.changes.as_object().into_iter().flatten() {
        if let Some([_, after]) = change.as_array().map(Vec::as_slice) {
            out.push_str(&format!("  {member} {} {}", theme.glyphs.arrow, short(after)));
        }
    }
    out
}

fn short(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "nothing".to_owned(),
        Value::Array(items) if items.is_empty() => "none".to_owned(),
        Value::Array(items) => items.iter().map(short).collect::<Vec<_>>().join(", "),
        Value::Object(members) if members.is_empty() => "none".to_owned(),
        Value::Object(members) => {
            let pairs = members.iter().map(|(name, value)| format!("{name}={}", short(value)));
            pairs.collect::<Vec<_>>().join(" ")
        }
        other => other.to_string(),
    }
}

/// Who did it.
pub fn by(event: &Event, model: &Model) -> String {
    match &event.actor.id {
        Some(id) => id.parse().map_or_else(|_| brief(id), |id| model.name_of(id)),
        None => event.actor.kind.clone(),
    }
}

/// Who did it, without the part of their email that most share.
fn briefly_by(event: &Event, model: &Model) -> String {
    let by = by(event, model);
    by.split_once('@').map(|(local, _)| local.to_owned()).unwrap_or(by)
}

/// Everything about a row of the log.
fn lines(event: &Event, model: &Model, width: u16, whole: bool) -> Vec<Vec<Bit>> {
    let theme = &model.theme;
    let indent = if whole { "  " } else { "" };
    let mut lines: Vec<Vec<Bit>> = Vec::new();
    if whole {
        lines.push(Vec::new());
    }
    let mut fact = |name: &'static str, value: String| {
        lines.push(vec![bit(format!("{indent}{name:<10}"), theme.dim), bit(value, theme.text)]);
    };
    fact("what", event.resource.kind.clone());
    if let Some(id) = &event.resource.id {
        fact("", id.clone());
    }
    if let Some(name) = event.data.get("email").or_else(|| event.data.get("name")).and_then(Value::as_str) {
        fact("called", name.to_owned());
    }
    fact("when", format!("{} {}", day(event.timestamp), clock(event.timestamp)));
    fact("by", format!("{} {}", event.actor.kind, by(event, model)));
    fact("from", event.actor.ip.clone().unwrap_or_else(|| "unknown".to_owned()));
    fact("request", event.request_id.clone());
    fact("number", number(u64::try_from(event.seq).unwrap_or(0)));
    fact("id", event.id.to_string());
    if whole {
        fact("hash", event.hash.clone());
    }
    differences(event, theme, width, indent, &mut lines);
    members(event, theme, width, indent, &mut lines);
    lines
}

/// What changed: before above after, so that long values can be compared.
fn differences(event: &Event, theme: &Theme, width: u16, indent: &str, lines: &mut Vec<Vec<Bit>>) {
    let Some(changes) = event.changes.as_object().filter(|changes| !changes.is_empty()) else { return };
    lines.push(Vec::new());
    lines.push(vec![bit(format!("{indent}CHANGES"), theme.accent)]);
    let room = usize::from(width).saturating_sub(indent.len() + 14).max(8);
    for (name, change) in changes {
        let Some([before, after]) = change.as_array().map(Vec::as_slice) else { continue };
        let name = Clean::of(name).fit(11, theme.glyphs.ellipsis);
        for (sign, value, style) in [("-", before, theme.bad), ("+", after, theme.good)] {
            for (at, part) in Clean::of(short(value)).wrap(room).into_iter().enumerate() {
                let first = at == 0 && sign == "-";
                let label = if first { name.as_str() } else { "" };
                let sign = if at == 0 { sign } else { " " };
                lines.push(vec![
                    bit(format!("{indent}{label:<12}"), theme.dim),
                    bit(format!("{sign} "), style),
                    Bit { text: part, style },
                ]);
            }
        }
    }
}

/// The record as it was afterwards.
fn members(event: &Event, theme: &Theme, width: u16, indent: &str, lines: &mut Vec<Vec<Bit>>) {
    let Some(members) = event.data.as_object().filter(|members| !members.is_empty()) else { return };
    lines.push(Vec::new());
    lines.push(vec![bit(format!("{indent}DATA"), theme.accent)]);
    let room = usize::from(width).saturating_sub(indent.len() + 15).max(8);
    for (name, value) in members {
        let text = match value {
            Value::String(text) => match text.parse::<bursar_shared::time::Timestamp>() {
                Ok(time) => format!("{}Z", minute(time)),
                Err(_) => text.clone(),
            },
            other => short(other),
        };
        for (at, part) in Clean::of(text).wrap(room).into_iter().enumerate() {
            let name =
                if at == 0 { Clean::of(name).fit(13, theme.glyphs.ellipsis) } else { Clean::default() };
            let pad = 14usize.saturating_sub(name.width());
            lines.push(vec![
                bit(indent.to_owned(), theme.text),
                Bit { text: name, style: theme.dim },
                bit(" ".repeat(pad), theme.text),
                Bit { text: part, style: theme.text },
            ]);
        }
    }
}
