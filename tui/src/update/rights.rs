//! What whoever is signed in may do: read again when it may have changed.

use std::time::Duration;

use bursar_shared::{
    error::ErrorCode,
    operations::{auth::Capabilities, log::Event},
    permission::Permission,
};

use super::{live::follow, load};
use crate::{
    message::{Request, Slot, Task, Trouble},
    model::Model,
};

/// Refusals within this of each other ask once.
const ONCE: Duration = Duration::from_secs(5);

/// Asks for them.
pub(super) fn ask(model: &mut Model) -> Option<Task> {
    model.who.as_ref()?;
    model.rights_at = Some(model.now);
    Some(Task::Ask(model.tickets.issue(Slot::Rights), Request::Rights))
}

/// What happened to me, or to a role of mine, may have changed them.
pub(super) fn watch(model: &mut Model, events: &[Event]) -> Option<Task> {
    let who = model.who.as_ref()?;
    let (me, roles) = (who.user.id.to_string(), &who.user.roles);
    let concerns = |event: &Event| match event.resource.kind.as_str() {
        "user" => event.kind != "user.updated" && event.resource.id.as_deref() == Some(&me),
        "role" => {
            let name = event.data.get("name").and_then(serde_json::Value::as_str);
            name.is_none_or(|name| roles.iter().any(|role| role == name))
        }
        _ => false,
    };
    events.iter().any(concerns).then(|| ask(model)).flatten()
}

/// Something was refused for want of a permission that was held once, or never.
pub(super) fn refused(model: &mut Model, trouble: &Trouble) -> Option<Task> {
    let forbidden = matches!(trouble, Trouble::Refused { error, .. } if error.code == ErrorCode::Forbidden);
    let lately = model.rights_at.is_some_and(|at| model.now.since(at) < ONCE);
    (forbidden && !lately && !model.tickets.waits_for(Slot::Rights)).then(|| ask(model)).flatten()
}

/// They are here.
pub(super) fn take(model: &mut Model, now: Capabilities) -> Vec<Task> {
    let Some(who) = &mut model.who else { return Vec::new() };
    who.user.roles = now.roles;
    let before = std::mem::replace(&mut who.permissions, now.permissions);
    if before == now.permissions {
        return Vec::new();
    }
    model.say("what you may do has changed");
    model.sessions.include = if model.may(Permission::UsersRead) { vec!["user"] } else { Vec::new() };
    model.money.forgive();
    let mut tasks = load(model);
    if !model.tickets.waits_for(Slot::Stream) {
        tasks.extend(follow(model));
    }
    tasks
}
