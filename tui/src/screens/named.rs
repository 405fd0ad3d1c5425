//! Names where people think in names: whose ids stand on the screen, and what they are called.

use bursar_shared::{
    id::{AccountId, UserId},
    operations::log::Event,
};
use serde_json::Value;

use crate::{
    model::{Model, Screen},
    text::brief,
};

/// The rows of the log that stand on the screen.
pub fn events(model: &Model) -> Vec<&Event> {
    match model.screen {
        Screen::Home => model.home.feed.window.visible().map(|row| &row.record).collect(),
        Screen::Events => model.events.window.visible().map(|row| &row.record).collect(),
        Screen::Audit => model.audit.window.visible().map(|row| &row.record.0).collect(),
        Screen::Users => match &model.users.timeline {
            Some((_, Ok(events))) => events.iter().collect(),
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

fn text<'e>(event: &'e Event, name: &str) -> Option<&'e str> {
    event.data.get(name).and_then(Value::as_str)
}

/// The people whose names a row of the log shows.
pub fn people(event: &Event) -> Vec<UserId> {
    let own = event.resource.id.as_deref().filter(|_| text(event, "email").is_none());
    let ids = [event.actor.id.as_deref(), own, text(event, "userId")];
    ids.into_iter().flatten().filter_map(|id| id.parse().ok()).collect()
}

/// The accounts whose names it shows.
pub fn accounts(event: &Event) -> Vec<AccountId> {
    let own = event.resource.id.as_deref().filter(|_| text(event, "name").is_none());
    let ids = [text(event, "fromAccountId"), text(event, "toAccountId"), own];
    ids.into_iter().flatten().filter_map(|id| id.parse().ok()).collect()
}

/// What somebody or something is called, as far as it was read; else the end of its id.
pub fn called(model: &Model, id: &str) -> String {
    let person = || id.parse().ok().map(|id| model.name_of(id));
    let account = || id.parse().ok().map(|id| model.money.called(id));
    person().or_else(account).unwrap_or_else(|| brief(id))
}

/// A filter as it stands in a title: names instead of the ids that are known.
pub fn filter(model: &Model, filter: &str) -> String {
    let word = |word: &str| {
        let (field, id) = word.split_once(':').map_or(("", word), |(field, id)| (field, id));
        let name = called(model, id);
        let known = name != brief(id) && (id.parse::<UserId>().is_ok() || id.parse::<AccountId>().is_ok());
        match (known, field) {
            (false, _) => word.to_owned(),
            (true, "") => name,
            (true, field) => format!("{field}:{name}"),
        }
    };
    filter.split(' ').map(word).collect::<Vec<_>>().join(" ")
}
