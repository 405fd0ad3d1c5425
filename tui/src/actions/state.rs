//! Whether each action can be done now, why not, and the same as a command.

use bursar_shared::{
    field::UserStatus,
    id::UserId,
    operations::{auth::Session, users::User},
    permission::Permission,
};

use super::State;
use crate::{
    change::{Change, shell},
    message::Room,
    model::{Model, Protection, Screen},
    screens::{audit, money::Money, sessions},
};

pub(super) const GONE: &str = "the daemon cannot be reached";

/// Whether anything can be changed here.
pub(crate) fn changing(model: &Model) -> State {
    if model.is_offline() {
        return State::Off(GONE);
    }
    if model.place.protection == Protection::ReadOnly {
        return State::Off("this context is read-only");
    }
    if model.pending.is_some() {
        return State::Off("what became of the change before is not known yet: {list.refresh} asks");
    }
    State::On
}

/// On a person who can be changed by somebody with this permission.
fn changeable(
    model: &Model,
    permission: Permission,
    needs: &'static str,
    off: fn(&User) -> Option<&'static str>,
) -> State {
    if model.screen != Screen::Users {
        return State::Absent;
    }
    let Some(row) = model.users.list.window.current() else { return on_row(model) };
    match changing(model) {
        State::On => {}
        other => return other,
    }
    if !model.may(permission) {
        return State::Off(needs);
    }
    if row.gone {
        return State::Off("they are gone");
    }
    off(&row.record).map_or(State::On, State::Off)
}

/// The same for whom it can also be done to many at once: what stands in the way of one is then part
/// of the plan.
fn changeable_at_once(
    model: &Model,
    permission: Permission,
    needs: &'static str,
    off: fn(&User) -> Option<&'static str>,
) -> State {
    if model.screen == Screen::Users
        && model.users.list.open.is_none()
        && !model.users.list.window.marks().is_empty()
    {
        return match changing(model) {
            State::On if !model.may(permission) => State::Off(needs),
            State::On if !model.may(Permission::UsersWrite) => State::Off("needs the permission users:write"),
            other => other,
        };
    }
    changeable(model, permission, needs, off)
}

/// The person under the cursor.
fn on_person(model: &Model) -> Option<UserId> {
    let on = model.screen == Screen::Users;
    model.users.list.window.current().filter(|_| on).map(|row| row.record.id)
}

/// The session under the cursor.
fn on_session(model: &Model) -> Option<&Session> {
    let on = model.screen == Screen::Sessions;
    model.sessions.window.current().filter(|_| on).map(|row| &row.record)
}

/// Whether the cursor is on the one who is signed in.
fn on_oneself(model: &Model) -> bool {
    let me = model.who.as_ref().map(|who| who.user.id);
    let marked = !model.users.list.window.marks().is_empty() && model.users.list.open.is_none();
    !marked && me.is_some() && on_person(model) == me
}

pub(super) fn suspendable(model: &Model) -> State {
    if on_oneself(model) {
        return State::Off("nobody suspends themselves");
    }
    changeable_at_once(model, Permission::UsersSuspend, "needs the permission users:suspend", |user| {
        (user.status != UserStatus::Active).then_some("they are not active")
    })
}

pub(super) fn activatable(model: &Model) -> State {
    changeable_at_once(model, Permission::UsersSuspend, "needs the permission users:suspend", |user| {
        (user.status != UserStatus::Suspended).then_some("they are not suspended")
    })
}

fn not_deleted(user: &User) -> Option<&'static str> {
    (user.status == UserStatus::Deleted).then_some("they are deleted")
}

pub(super) fn deletable(model: &Model) -> State {
    if on_oneself(model) {
        return State::Off("nobody deletes themselves");
    }
    changeable_at_once(model, Permission::UsersDelete, "needs the permission users:delete", not_deleted)
}

pub(super) fn revocable(model: &Model) -> State {
    if on_oneself(model) {
        return State::Off("sign yourself out with {app.sign-out}");
    }
    changeable(model, Permission::SessionsRevoke, "needs the permission sessions:revoke", |_| None)
}

pub(super) fn editable(model: &Model) -> State {
    changeable(model, Permission::UsersWrite, "needs the permission users:write", not_deleted)
}

pub(super) fn creatable(model: &Model) -> State {
    let elsewhere =
        matches!(model.screen, Screen::Accounts | Screen::Statement | Screen::Transfers | Screen::Login);
    if elsewhere {
        return State::Absent;
    }
    match changing(model) {
        State::On if !model.may(Permission::UsersWrite) => State::Off("needs the permission users:write"),
        other => other,
    }
}

pub(super) fn grantable(model: &Model) -> State {
    if model.screen == Screen::Users && !model.may(Permission::RolesRead) {
        return State::Off("needs the permission roles:read");
    }
    changeable(model, Permission::RolesGrant, "needs the permission roles:grant", not_deleted)
}

pub(super) fn resettable(model: &Model) -> State {
    changeable(model, Permission::CredentialsReset, "needs the permission credentials:reset", |user| {
        (user.status != UserStatus::Active).then_some("they are not active")
    })
}

/// On a session that somebody who may sign people out can end.
pub(super) fn endable(model: &Model) -> State {
    if model.screen != Screen::Sessions {
        return State::Absent;
    }
    let Some(session) = on_session(model) else { return on_row(model) };
    match changing(model) {
        State::On if session.revoked_at.is_some() => State::Off("it has ended"),
        State::On if session.current => State::Off("it is this one: sign out with {app.sign-out}"),
        State::On if !model.may(Permission::SessionsRevoke) => {
            State::Off("needs the permission sessions:revoke")
        }
        other => other,
    }
}

pub(super) fn all_endable(model: &Model) -> State {
    if model.screen != Screen::Sessions {
        return State::Absent;
    }
    let Some(session) = on_session(model) else { return on_row(model) };
    let me = model.who.as_ref().map(|who| who.user.id);
    match changing(model) {
        State::On if Some(session.user_id) == me => State::Off("sign yourself out with {app.sign-out}"),
        State::On if !model.may(Permission::SessionsRevoke) => {
            State::Off("needs the permission sessions:revoke")
        }
        other => other,
    }
}

pub(super) fn undoable(model: &Model) -> State {
    match signed_in(model) {
        State::On if model.journal.is_empty() => State::Off("nothing was changed from here yet"),
        // what was done can be looked at where nothing may be changed, but not while nobody knows all of it
        State::On if model.pending.is_some() => changing(model),
        other => other,
    }
}

/// Whether a change was left whose outcome nobody knows, or has seen.
pub(super) fn has_unanswered(model: &Model) -> State {
    match signed_in(model) {
        State::On if model.pending.is_none() && model.unanswered.is_empty() => State::Absent,
        State::On if model.is_offline() => State::Off(GONE),
        other => other,
    }
}

pub(super) fn has_error(model: &Model) -> State {
    if model.last_trouble.is_some() { State::On } else { State::Absent }
}

pub(super) fn always(_: &Model) -> State {
    State::On
}

pub(super) fn signed_in(model: &Model) -> State {
    if model.screen == Screen::Login { State::Absent } else { State::On }
}

pub(super) fn in_list(model: &Model) -> State {
    if model.room().is_some() { State::On } else { State::Absent }
}

fn is_open(model: &Model) -> bool {
    model.list().is_some_and(|list| list.open().is_some())
}

/// In a list that fills the screen, not in one of its records.
pub(super) fn in_table(model: &Model) -> State {
    match model.room() {
        None | Some(Room::Home) => State::Absent,
        Some(_) if is_open(model) => State::Absent,
        Some(_) => State::On,
    }
}

pub(super) fn openable(model: &Model) -> State {
    if is_open(model) { State::Absent } else { on_row(model) }
}

pub(super) fn closable(model: &Model) -> State {
    let follows = model.list().is_some_and(|list| list.follows() && list.cursor().is_some());
    if is_open(model) || follows || !model.came_from.is_empty() { State::On } else { State::Absent }
}

pub(super) fn on_row(model: &Model) -> State {
    match model.room() {
        None => State::Absent,
        Some(_) if model.current_id().is_none() => State::Off("the cursor is on no row: press {list.down}"),
        Some(_) => State::On,
    }
}

pub(super) fn on_user(model: &Model) -> State {
    if model.screen == Screen::Users && in_table(model) == State::On { on_row(model) } else { State::Absent }
}

pub(super) fn reachable(model: &Model) -> State {
    match in_list(model) {
        State::On if model.is_offline() => State::Off(GONE),
        state => state,
    }
}

pub(super) fn filterable(model: &Model) -> State {
    match in_table(model) {
        State::On => reachable(model),
        state => state,
    }
}

pub(super) fn sortable(model: &Model) -> State {
    let orders = model.list().map_or(0, |list| list.sorts().len());
    if orders > 2 { filterable(model) } else { State::Absent }
}

pub(super) fn exportable(model: &Model) -> State {
    filterable(model)
}

pub(super) fn freezable(model: &Model) -> State {
    if model.screen == Screen::Events { in_table(model) } else { State::Absent }
}

pub(super) fn has_marks(model: &Model) -> State {
    match on_user(model) {
        State::On if model.users.list.window.marks().is_empty() => State::Off("nothing is marked"),
        state => state,
    }
}

pub(super) fn reads(model: &Model, permission: Permission, needs: &'static str) -> State {
    if model.screen == Screen::Login {
        State::Absent
    } else if model.may(permission) {
        State::On
    } else {
        State::Off(needs)
    }
}

pub(super) fn reads_users(model: &Model) -> State {
    reads(model, Permission::UsersRead, "needs the permission users:read")
}

pub(super) fn reads_sessions(model: &Model) -> State {
    reads(model, Permission::SessionsRead, "needs the permission sessions:read")
}

pub(super) fn reads_roles(model: &Model) -> State {
    reads(model, Permission::RolesRead, "needs the permission roles:read")
}

pub(super) fn reads_events(model: &Model) -> State {
    reads(model, Permission::EventsRead, "needs the permission events:read")
}

pub(super) fn reads_audit(model: &Model) -> State {
    reads(model, Permission::AuditRead, "needs the permission audit:read")
}

pub(super) fn verifiable(model: &Model) -> State {
    if model.screen == Screen::Audit { reachable(model) } else { State::Absent }
}

/// The person that the row under the cursor is about, if it is not the list of people.
pub(crate) fn person_of_row(model: &Model) -> Option<UserId> {
    match model.screen {
        Screen::Sessions => on_session(model).map(|session| session.user_id),
        Screen::Accounts | Screen::Statement => Money::account(model)?.owner_id,
        Screen::Transfers => Money::transfer(model)?.actor_id.as_ref()?.parse().ok(),
        Screen::Home => audit::person_of(&model.home.feed.window.current()?.record),
        Screen::Events => audit::person_of(&model.events.window.current()?.record),
        Screen::Audit => audit::person_of(&model.audit.window.current()?.record.0),
        _ => None,
    }
}

pub(super) fn has_person(model: &Model) -> State {
    match model.screen {
        Screen::Login | Screen::Users => State::Absent,
        _ if model.is_offline() => State::Off(GONE),
        Screen::Roles => match on_row(model) {
            State::On => reads_users(model),
            other => other,
        },
        _ if person_of_row(model).is_some() => reads_users(model),
        _ => match on_row(model) {
            State::On => State::Off("the row is about no person"),
            other => other,
        },
    }
}

/// The record whose timeline can be shown.
pub(crate) fn subject_of_row(model: &Model) -> Option<String> {
    match model.screen {
        Screen::Home => model.home.feed.window.current()?.record.resource.id.clone(),
        Screen::Events => model.events.window.current()?.record.resource.id.clone(),
        Screen::Audit => model.audit.window.current()?.record.0.resource.id.clone(),
        Screen::Statement => Money::account(model).map(|account| account.id.to_string()),
        Screen::Login => None,
        _ => model.current_id().map(str::to_owned),
    }
}

pub(super) fn has_timeline(model: &Model) -> State {
    match on_row(model) {
        State::On if model.is_offline() => State::Off(GONE),
        State::On if subject_of_row(model).is_none() => State::Off("the row is about no record"),
        State::On => reads_events(model),
        other => other,
    }
}

pub(super) fn has_sessions(model: &Model) -> State {
    match model.screen {
        Screen::Users => match on_row(model) {
            State::On if model.is_offline() => State::Off(GONE),
            State::On => reads_sessions(model),
            other => other,
        },
        _ => State::Absent,
    }
}

// ---- the same as commands ----

pub(super) fn none(_: &Model) -> Option<String> {
    None
}

pub(super) fn delete_command(model: &Model) -> Option<String> {
    on_person(model).map(|id| Change::Delete(id).command())
}

pub(super) fn revoke_command(model: &Model) -> Option<String> {
    on_person(model).map(|id| Change::EndSessions(id).command())
}

pub(super) fn suspend_command(model: &Model) -> Option<String> {
    on_person(model).map(|id| Change::Suspend(id, None).command())
}

pub(super) fn activate_command(model: &Model) -> Option<String> {
    on_person(model).map(|id| Change::Activate(id, None).command())
}

pub(super) fn reset_command(model: &Model) -> Option<String> {
    on_person(model).map(|id| Change::Reset(id).command())
}

pub(super) fn edit_command(model: &Model) -> Option<String> {
    on_person(model).map(|id| format!("bursar users edit {id}"))
}

pub(super) fn roles_command(model: &Model) -> Option<String> {
    on_person(model).map(|id| format!("bursar users roles {id}"))
}

pub(super) fn create_command(_: &Model) -> Option<String> {
    Some("bursar users create --email … --name …".to_owned())
}

pub(super) fn end_command(model: &Model) -> Option<String> {
    on_session(model).map(|session| Change::EndSession(session.id).command())
}

pub(super) fn end_all_command(model: &Model) -> Option<String> {
    on_session(model).map(|session| Change::EndSessions(session.user_id).command())
}

pub(super) fn person_command(model: &Model) -> Option<String> {
    if let (Screen::Roles, Some(row)) = (model.screen, model.roles.window.current()) {
        return Some(format!("bursar users list --filter {}", shell(&format!("role:{}", row.record.name))));
    }
    person_of_row(model).map(|id| format!("bursar users get {id}"))
}

pub(super) fn timeline_command(model: &Model) -> Option<String> {
    subject_of_row(model)
        .map(|id| format!("bursar events list --filter {}", shell(&format!("resourceId:{id}"))))
}

pub(super) fn sessions_command(model: &Model) -> Option<String> {
    on_person(model).map(|id| format!("bursar sessions list --filter {}", shell(&sessions::of(id))))
}

pub(super) fn verify_command(_: &Model) -> Option<String> {
    Some("bursar audit verify".to_owned())
}

pub(super) fn unanswered_command(_: &Model) -> Option<String> {
    Some("bursar pending list".to_owned())
}

pub(super) fn stats_command(_: &Model) -> Option<String> {
    Some("bursar stats".to_owned())
}

pub(super) fn logout_command(_: &Model) -> Option<String> {
    Some("bursar auth logout".to_owned())
}

pub(super) fn contexts_command(_: &Model) -> Option<String> {
    Some("bursar context list".to_owned())
}

pub(super) fn list_command(model: &Model) -> Option<String> {
    match model.room()? {
        Room::Home => Some("bursar stats".to_owned()),
        _ => Some(model.list()?.command()),
    }
}

pub(super) fn export_command(model: &Model) -> Option<String> {
    list_command(model).map(|command| format!("{command} --all -o csv >FILE"))
}

pub(super) fn row_command(model: &Model) -> Option<String> {
    let Some(id) = model.current_id() else { return list_command(model) };
    match model.room()? {
        Room::Users => Some(format!("bursar users get {id}")),
        Room::Roles => Some(format!("bursar roles get {id}")),
        Room::Sessions => {
            let user = on_session(model)?.user_id;
            Some(format!("bursar sessions list --user {user}"))
        }
        Room::Accounts => Some(format!("bursar accounts get {id}")),
        Room::Transfers => Some(format!("bursar transfers get {id}")),
        Room::Statement => {
            let transfer = model.money.statement.window.current()?.record.transfer_id;
            Some(format!("bursar transfers get {transfer}"))
        }
        Room::Home | Room::Events | Room::Audit => Some(format!("bursar audit get {id}")),
    }
}
