//! A desk: the model, a screen, and answers to whatever it asks.
//!
//! ```ignore
//! let mut desk = Desk::users(80, 24);
//! desk.press("j j space");
//! assert!(desk.text().contains("1 marked"));
//! ```

use crate::books;
use bursar_shared::{
    error::{ApiError, ErrorCode},
    field::{Position, UserStatus},
    id::{EventId, SessionId, UserId},
    operations::{
        accounts::Account,
        auth::{Capabilities, Session},
        log::{AuditEntry, AuditReport, Event},
        roles::Role,
        system::{Stats, Verdict, VerdictState},
        users::{BulkOp, BulkOutcome, BulkResult, EffectivePermissions, PasswordReset, User},
    },
    page::{List, Page, PageMode, Pagination, Resource, TotalAccuracy},
    permission::Permissions,
    time::Timestamp,
};
use bursar_tui::{
    Look, ThemeName,
    change::{Change, Effect},
    draw::{Drawn, draw},
    keys::{Code, Key},
    message::{Alarm, Answer, Heard, Input, Msg, Plan, Request, Slot, Task, Ticket, Trouble},
    model::{Known, Model, Opened, Place, Protection},
    update::update,
};
use ratatui::{buffer::Buffer, layout::Rect, style::Style};
use serde_json::json;

/// The moment at which every test happens.
pub fn noon() -> Timestamp {
    "2026-08-22T12:04:31Z".parse().unwrap()
}

pub fn at(seconds_before_noon: i64) -> Timestamp {
    Timestamp::from_micros(noon().micros() - seconds_before_noon * 1_000_000)
}

/// The n-th person.
pub fn user(n: u32) -> User {
    let names =
        ["Ada Lovelace", "Li Wei", "Omar Haddad", "Kim Larsen", "Ana Souza", "Jürgen Müßig", "佐藤 花子"];
    let name = names[n as usize % names.len()];
    let local =
        ["ada", "li.wei", "o.haddad", "kim", "ana.souza", "j.muessig", "sato"][n as usize % names.len()];
    let status = if n % 9 == 4 { "suspended" } else { "active" };
    let roles: &[&str] = match n % 5 {
        0 => &["support"],
        1 => &["admin"],
        2 => &["auditor", "finance"],
        _ => &[],
    };
    let session = |k: u128| {
        json!({"id": SessionId::from_bits(u128::from(n) * 10 + k), "userId": UserId::from_bits(u128::from(n)), "current": k == 0 && n == 0,
            "ip": format!("203.0.113.{}", (n + k as u32) % 250), "userAgent": "bursar/0.1.0", "createdAt": at(9_000),
            "lastUsedAt": at(i64::from(n) * 13 + k as i64 * 600), "expiresAt": at(-600_000), "revokedAt": null})
    };
    let sessions: Vec<_> = (0..u128::from(n % 3)).map(session).collect();
    serde_json::from_value(json!({
        "id": UserId::from_bits(u128::from(n)), "email": format!("{local}{n}@example.com"), "name": name, "status": status,
        "kind": if n % 11 == 7 { "service" } else { "human" }, "roles": roles,
        "externalId": if n.is_multiple_of(4) { Some(format!("crm-{n}")) } else { None },
        "metadata": if n.is_multiple_of(2) { json!({"team": "north", "locale": "de-DE"}) } else { json!({}) },
        "lastLoginAt": if n % 6 == 5 { None } else { Some(at(i64::from(n) * 60)) }, "version": n % 7 + 1,
        "createdAt": at(i64::from(n) * 3_600), "updatedAt": at(i64::from(n) * 1_800), "sessions": sessions,
    }))
    .unwrap()
}

/// Somebody whose every text attacks the terminal.
pub fn hostile(n: u32) -> User {
    let mut value = serde_json::to_value(user(n)).unwrap();
    let names = [
        "\u{1b}[2J\u{1b}[31mred",
        "\u{202e}gnp.exe",
        "a\u{200b}\u{200b}b\u{feff}c",
        "\u{2066}iso\u{2069} x\u{e0041}y",
        "Z\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}algo",
        "line\none\ttab\r\u{7}",
    ];
    let name = names[n as usize % names.len()];
    value["name"] = json!(name);
    value["email"] = json!(format!("{n}\u{202e}{name}@example.com"));
    value["roles"] = json!([name]);
    value["metadata"] = json!({ name: name });
    value["externalId"] = json!(name);
    serde_json::from_value(value).unwrap()
}

/// The n-th row of the log.
pub fn event(seq: i64) -> Event {
    event_of(seq, user)
}

/// The n-th row of the log, about people who are made so.
pub fn event_of(seq: i64, person: fn(u32) -> User) -> Event {
    let n = u32::try_from(seq).unwrap();
    let person = person(n % 50);
    let (kind, resource, id) = match seq % 4 {
        0 => ("user.created", "user", person.id.to_string()),
        1 => ("session.created", "session", SessionId::from_bits(seq as u128).to_string()),
        2 => ("user.suspended", "user", person.id.to_string()),
        _ => ("user.updated", "user", person.id.to_string()),
    };
    let changes = match seq % 4 {
        2 => json!({"status": ["active", "suspended"]}),
        3 => json!({"name": ["Ada", "Ada Lovelace"]}),
        _ => json!({}),
    };
    let data = if seq % 4 == 1 { json!({}) } else { serde_json::to_value(&person).unwrap() };
    serde_json::from_value(json!({
        "id": EventId::from_bits(seq as u128), "seq": seq, "type": kind, "timestamp": at(4_000 - seq * 31),
        "actor": {"id": UserId::from_bits(3), "kind": "user", "ip": "203.0.113.7"}, "requestId": "req_01j9zq3v5tf8c8m1k2n3p4q5r6",
        "resource": {"type": resource, "id": id, "version": 2}, "data": data, "changes": changes, "hash": "9f86d081884c7d65",
    }))
    .unwrap()
}

/// The n-th session: of a person of the list.
pub fn session(n: u32) -> Session {
    let ended = (n % 7 == 6).then(|| at(100));
    serde_json::from_value(json!({
        "id": SessionId::from_bits(u128::from(n) + 1_000), "userId": UserId::from_bits(u128::from(n % 40)), "current": n == 0,
        "ip": format!("203.0.113.{}", n % 250), "userAgent": if n.is_multiple_of(3) { "bursar/0.1.0" } else { "curl/8.9" },
        "createdAt": at(i64::from(n) * 700 + 900), "lastUsedAt": at(i64::from(n) * 13), "expiresAt": at(-600_000), "revokedAt": ended,
    }))
    .unwrap()
}

/// The roles that every store has, and one of its own.
pub fn roles() -> Vec<Role> {
    let built_in = bursar_shared::permission::BUILT_IN.iter();
    let mut roles: Vec<Role> = built_in
        .enumerate()
        .map(|(n, role)| {
            serde_json::from_value(json!({
                "id": bursar_shared::id::RoleId::from_bits(n as u128), "name": role.name, "description": role.description, "builtIn": true,
                "permissions": role.permissions, "version": 1, "createdAt": at(90_000), "updatedAt": at(90_000),
            }))
            .unwrap()
        })
        .collect();
    roles.sort_by(|a, b| a.name.cmp(&b.name));
    roles
}

fn stats() -> Stats {
    let hours = |scale: u64| (0..24).map(|h: u64| (h * h % 17) * scale).collect::<Vec<_>>();
    serde_json::from_value(json!({
        "users": {"active": 48_213, "suspended": 37, "deleted": 211, "createdLastWeek": 402}, "sessionsActive": 1_904,
        "logHead": 120, "signInsHourly": hours(9), "failedSignInsHourly": vec![0; 24], "changesHourly": hours(31),
        "uptimeSeconds": 1_051_860, "engine": "sqlite", "version": "0.1.0",
    }))
    .unwrap()
}

/// A page of rows `0..count`, as the daemon would cut it.
pub fn page<R: Resource>(list: &List<R>, count: u32, row: impl Fn(u32) -> R) -> Page<R> {
    let size = list.rows();
    let (from, to) = match (&list.cursor, list.position, &list.around) {
        (Some(cursor), _, _) => {
            let place: u32 = cursor[1..].parse().unwrap();
            if cursor.starts_with('n') { (place, place + size) } else { (place.saturating_sub(size), place) }
        }
        (_, Some(Position::End), _) => (count.saturating_sub(size), count),
        (_, _, Some(id)) => {
            // rows are numbered by their ids, so the likely place is tried before all the others
            let likely = number_of(id);
            let mut places = std::iter::once(likely).chain(0..count);
            let place = places.find(|n| *n < count && row(*n).id() == *id).unwrap_or(0);
            let from = place.saturating_sub(size / 2);
            (from, from + size)
        }
        _ => (0, size),
    };
    let to = to.min(count);
    let total = list.total.map(|_| u64::from(count.min(10_000)));
    let accuracy = match total {
        None => TotalAccuracy::None,
        Some(_) if count > 10_000 => TotalAccuracy::AtLeast,
        Some(_) => TotalAccuracy::Exact,
    };
    Page {
        rows: (from..to).map(row).collect(),
        pagination: Pagination {
            mode: PageMode::Cursor,
            page: None,
            page_size: size,
            total,
            total_pages: None,
            total_accuracy: accuracy,
            has_more: to < count,
            next_cursor: (to < count).then(|| format!("n{to}")),
            prev_cursor: (from > 0).then(|| format!("p{from}")),
        },
        included: Default::default(),
    }
}

/// The number that an id was made of.
fn number_of(id: &str) -> u32 {
    let digits = "0123456789abcdefghjkmnpqrstvwxyz";
    let value = |letter| digits.find(letter).map_or(0, |at| at as u32);
    id.chars().skip(id.len().saturating_sub(6)).fold(0, |number, letter| number << 5 | value(letter))
}

/// The contexts there are.
pub fn contexts() -> Vec<Known> {
    let known = |name: &str, protection| Known {
        name: name.to_owned(),
        server: format!("https://{name}.example.com"),
        email: Some("ada@example.com".to_owned()),
        protection,
    };
    vec![
        Known { server: "http://127.0.0.1:8460".to_owned(), ..known("demo", Protection::Open) },
        known("prod", Protection::Confirm),
        known("archive", Protection::ReadOnly),
    ]
}

/// How the daemon behaves.
#[derive(Clone, Copy, PartialEq)]
pub enum Mood {
    Answers,
    /// Requests stay unanswered.
    Silent,
    Unreachable,
    /// Every read is refused.
    Refuses,
}

/// The model and what is around it.
pub struct Desk {
    pub model: Model,
    pub drawn: Drawn,
    pub mood: Mood,
    /// People there are.
    pub people: u32,
    /// How the n-th is made.
    pub person: fn(u32) -> User,
    pub events: i64,
    pub permissions: Permissions,
    pub open: Vec<(Ticket, Request)>,
    pub copied: Vec<String>,
    /// Who signs in.
    pub me: u32,
    /// Keys of changes that are not to be remembered any more.
    pub forgotten: Vec<String>,
    pub alarms: Vec<Alarm>,
    /// The followed log, and from which row on.
    pub stream: Option<(Ticket, Option<i64>)>,
    /// What became of a change whose answer was lost.
    pub verdict: Verdict,
    /// Somebody saved this meanwhile: changes of an older version are refused.
    pub overtaken: Option<User>,
    /// What the daemon refuses each change with.
    pub refusal: Option<ApiError>,
    /// The exports that were asked for.
    pub exports: Vec<Plan>,
    /// How the n-th account is made.
    pub account: fn(u32) -> Account,
    /// The balance of this entry is wrong.
    pub falsified: Option<i64>,
    /// Somebody saved this account meanwhile.
    pub overtaken_account: Option<Account>,
    /// The chain of the log is broken here, and the books.
    pub broken: Option<i64>,
    /// The process was asked to stop for a while.
    pub stops: usize,
    /// Requests so far, as they would be sent.
    pub log: Vec<String>,
    buffer: Buffer,
}

impl Desk {
    /// Before the sign-in.
    pub fn new(width: u16, height: u16) -> Self {
        let place = Place {
            server: "http://127.0.0.1:8460".into(),
            context: Some("demo".into()),
            ..Place::default()
        };
        let mut model = Model::new(Look::default(), place, noon());
        model.size = (width, height);
        let mut desk = Self {
            model,
            drawn: Drawn::default(),
            mood: Mood::Answers,
            people: 250,
            person: user,
            events: 120,
            permissions: Permissions::all(),
            open: Vec::new(),
            copied: Vec::new(),
            forgotten: Vec::new(),
            me: 0,
            alarms: Vec::new(),
            log: Vec::new(),
            stream: None,
            verdict: Verdict { state: VerdictState::Unknown, status: None, data: None, error: None },
            overtaken: None,
            refusal: None,
            exports: Vec::new(),
            account: books::account,
            falsified: None,
            overtaken_account: None,
            broken: None,
            stops: 0,
            buffer: Buffer::default(),
        };
        desk.draw();
        desk
    }

    /// Signed in, on the first screen.
    pub fn home(width: u16, height: u16) -> Self {
        let mut desk = Self::new(width, height);
        desk.sign_in();
        desk
    }

    /// The n-th account as it is now.
    pub fn account_of(&self, n: u32) -> Account {
        let account = (self.account)(n);
        self.overtaken_account.clone().filter(|theirs| theirs.id == account.id).unwrap_or(account)
    }

    /// Signed in, on the list of people.
    pub fn users(width: u16, height: u16) -> Self {
        let mut desk = Self::home(width, height);
        desk.press("2");
        desk
    }

    /// Types the sign-in.
    pub fn sign_in(&mut self) {
        self.press("ada@example.com enter correct-horse enter");
    }

    /// Signs out, and says yes when it is asked.
    pub fn sign_out(&mut self) {
        self.press("^o");
        self.pass(std::time::Duration::from_millis(500));
        self.press("tab enter");
    }

    /// Presses keys: names and letters parted by spaces; what is no key is typed letter by letter.
    pub fn press(&mut self, keys: &str) {
        for word in keys.split_whitespace() {
            match Key::read(word) {
                Some(key) => self.send(Msg::Input(Input::Key(key))),
                None => word.chars().for_each(|letter| {
                    self.send(Msg::Input(Input::Key(Key::plain(Code::Char(letter)))));
                }),
            }
        }
        // no key is held
        self.send(Msg::Alarm(Alarm::Still));
        self.draw();
    }

    /// So much time goes by, on both clocks.
    pub fn pass(&mut self, time: std::time::Duration) {
        self.model.now = self.model.now + time;
        self.model.tick += time;
    }

    /// Presses one key many times; the screen is drawn at the end, as after a burst.
    pub fn hold(&mut self, key: &str, times: usize) {
        let key = Key::read(key).unwrap();
        for _ in 0..times {
            self.send(Msg::Input(Input::Key(key)));
        }
        self.draw();
    }

    /// Something happens; what is asked is answered, unless the mood forbids.
    pub fn send(&mut self, msg: Msg) {
        let tasks = update(&mut self.model, msg, &self.drawn.hits);
        for task in tasks {
            match task {
                // what it brings, the test says by `hear`
                Task::Ask(ticket, Request::Follow(after)) => self.stream = Some((ticket, after)),
                Task::Ask(ticket, request) => {
                    self.open.retain(|(open, _)| open.slot != ticket.slot);
                    self.log.push(format!("{request:?}"));
                    self.open.push((ticket, request));
                }
                Task::Drop(Slot::Stream) => self.stream = None,
                Task::Drop(slot) => self.open.retain(|(open, _)| open.slot != slot),
                Task::Wake(_, alarm) => self.alarms.push(alarm),
                Task::Copy(text) => self.copied.push(text),
                Task::Mouse(_) => {}
                Task::Forget(key) => self.forgotten.push(key),
                Task::Stop => self.stops += 1,
                Task::Quit(exit) => self.model.exit = Some(exit),
            }
        }
        if self.mood != Mood::Silent {
            self.answer();
        }
    }

    /// The followed log brings something.
    pub fn hear(&mut self, heard: Heard) {
        let (ticket, _) = self.stream.expect("the log is followed");
        self.send(Msg::Heard(ticket, heard));
        self.draw();
    }

    /// Answers everything that is open.
    pub fn answer(&mut self) {
        while !self.open.is_empty() {
            let (ticket, request) = self.open.remove(0);
            let answer = self.daemon(request);
            self.send(Msg::Answer(ticket, answer));
        }
    }

    /// Answers the oldest request only.
    pub fn answer_one(&mut self) {
        let (ticket, request) = self.open.remove(0);
        let answer = self.daemon(request);
        self.send(Msg::Answer(ticket, answer));
        self.draw();
    }

    /// A time that was waited for comes.
    pub fn ring(&mut self, alarm: Alarm) {
        self.alarms.retain(|waiting| *waiting != alarm);
        self.send(Msg::Alarm(alarm));
        self.draw();
    }

    fn daemon(&mut self, request: Request) -> Result<Answer, Trouble> {
        // these are no questions to the daemon
        match &request {
            Request::Contexts => return Ok(Answer::Contexts(contexts())),
            Request::Switch(name) => {
                let known = contexts().into_iter().find(|known| known.name == *name).unwrap();
                let place = Place {
                    server: known.server,
                    context: Some(known.name),
                    protection: known.protection,
                    ..Place::default()
                };
                return Ok(Answer::Switched(Box::new(Opened { place, email: known.email, signed_in: true })));
            }
            _ => {}
        }
        match self.mood {
            Mood::Unreachable => {
                let why = "cannot reach http://127.0.0.1:8460: connection refused".to_owned();
                return Err(match request {
                    // it may have got there, and only its answer not back
                    Request::Carry(..) => Trouble::Lost(why),
                    _ => Trouble::Unreachable(why),
                });
            }
            Mood::Refuses => {
                let error = ApiError::new(ErrorCode::DatabaseUnavailable, "The database does not answer.");
                let request_id = Some("req_01j9zq3v5tf8c8m1k2n3p4q5r6".to_owned());
                return Err(Trouble::Refused { error, request_id, retry_at: None });
            }
            Mood::Answers | Mood::Silent => {}
        }
        Ok(match request {
            Request::SignIn { .. } | Request::Who => {
                let mut user = user(self.me);
                user.roles = vec!["owner".into()];
                let capabilities = Capabilities {
                    user_id: user.id,
                    roles: user.roles.clone(),
                    permissions: self.permissions,
                    operations: Vec::new(),
                    engine: "sqlite".into(),
                };
                Answer::Who(Box::new(user), Box::new(capabilities))
            }
            Request::Rights => {
                let capabilities = Capabilities {
                    user_id: user(0).id,
                    roles: vec!["owner".into()],
                    permissions: self.permissions,
                    operations: Vec::new(),
                    engine: "sqlite".into(),
                };
                Answer::Rights(Box::new(capabilities))
            }
            Request::SignOut => Answer::SignedOut,
            Request::Pulse(after) => Answer::Pulse(
                after.map_or_else(Vec::new, |after| (after + 1..=self.events).map(event).collect()),
            ),
            Request::Follow(_) => unreachable!("it is never open"),
            Request::Stats => Answer::Stats(Box::new(stats())),
            Request::Events(list) => {
                let count = u32::try_from(self.events).unwrap();
                Answer::Events(page(&list, count, |n| event_of(self.events - i64::from(n), self.person)))
            }
            Request::Users(list) => {
                let count = if list.filter.is_empty() { self.people } else { self.people / 9 };
                if list.around.as_ref().is_some_and(|id| number_of(id) >= count) {
                    return Err(Trouble::Refused {
                        error: ApiError::new(ErrorCode::NotFound, "There is no such record in this list."),
                        request_id: None,
                        retry_at: None,
                    });
                }
                Answer::Users(page(&list, count, self.person))
            }
            Request::Rehearse(change, version) => {
                Answer::Rehearsed(books::rehearsed(self, &change, self.judged(&change, version)?))
            }
            Request::Carry(change, _, version, _) => Answer::Changed(self.judged(&change, version)?),
            Request::Sessions(list) => Answer::Sessions(page(&list, 60, |n| {
                let with_user = list.include.contains(&"user");
                let mut session = session(n);
                session.user = with_user.then(|| Box::new(user(n % 40)));
                session
            })),
            Request::Roles(list) => {
                let roles = roles();
                Answer::Roles(page(&list, roles.len() as u32, |n| roles[n as usize].clone()))
            }
            Request::Audit(list) => {
                let count = u32::try_from(self.events).unwrap();
                Answer::Audit(page(&list, count, |n| {
                    AuditEntry(event_of(self.events - i64::from(n), self.person))
                }))
            }
            Request::Timeline(id) => {
                let all = (1..=self.events).rev().map(event);
                let of = |known: &Option<String>| known.as_deref() == Some(id.to_string().as_str());
                let theirs = all.filter(|event| of(&event.resource.id) || of(&event.actor.id)).collect();
                Answer::Timeline(id, theirs)
            }
            Request::Names(ids) => {
                let everybody: Vec<User> = (0..self.people.min(300)).map(self.person).collect();
                let named = ids.into_iter().filter_map(|id| {
                    everybody.iter().find(|user| user.id == id).map(|user| (id, user.email.to_string()))
                });
                Answer::Names(named.collect())
            }
            Request::AllRoles => Answer::AllRoles(roles()),
            Request::Verify => Answer::Verified(AuditReport {
                ok: self.broken.is_none(),
                checked: 120,
                head_seq: 120,
                first_broken_seq: self.broken,
            }),
            Request::Export(plan) => {
                self.exports.push(plan.clone());
                Answer::Exported(250, plan.path)
            }
            Request::Contexts | Request::Switch(_) => unreachable!("answered above"),
            Request::Verdict(_) => Answer::Verdict(Box::new(self.verdict.clone())),
            Request::Permissions(id) => {
                let permissions = bursar_shared::permission::BUILT_IN[3].permissions;
                Answer::Permissions(Box::new(EffectivePermissions {
                    user_id: id,
                    permissions,
                    by_role: Default::default(),
                }))
            }
            request => books::answer(self, request),
        })
    }

    /// What a change does, unless something stands in its way.
    fn judged(&self, change: &Change, version: Option<i64>) -> Result<Effect, Trouble> {
        let refused = |error| Trouble::Refused {
            error,
            request_id: Some("req_01j9zq3v5tf8c8m1k2n3p4q5r6".to_owned()),
            retry_at: None,
        };
        if let Some(error) = &self.refusal {
            return Err(refused(error.clone()));
        }
        if let Some(theirs) = &self.overtaken
            && version.is_some_and(|version| version < theirs.version)
        {
            let stale = ApiError::new(ErrorCode::VersionMismatch, "Somebody else saved first.");
            return Err(refused(stale.with(json!({ "current": theirs }))));
        }
        if let (Change::Money(deed), Some(theirs)) = (change, &self.overtaken_account)
            && deed.account().is_some_and(|account| account.id == theirs.id)
            && version.is_some_and(|version| version < theirs.version)
        {
            let stale = ApiError::new(ErrorCode::VersionMismatch, "Somebody else saved first.");
            return Err(refused(stale.with(json!({ "current": theirs }))));
        }
        Ok(self.changed(change))
    }

    /// What a change does.
    fn changed(&self, change: &Change) -> Effect {
        let of = |id: UserId| {
            let current = self.overtaken.clone().filter(|user| user.id == id);
            let mut user =
                current.or_else(|| (0..self.people).map(self.person).find(|user| user.id == id)).unwrap();
            user.version += 1;
            user
        };
        match change {
            Change::Money(deed) => return books::changed(self, deed),
            Change::Many(op, items) => {
                let outcome = |(index, item): (usize, &bursar_tui::change::Item)| {
                    let before = of(item.id);
                    let wrong = match op {
                        BulkOp::Suspend => before.status != UserStatus::Active,
                        BulkOp::Activate => before.status != UserStatus::Suspended,
                        _ => false,
                    };
                    let error = wrong.then(|| {
                        ApiError::new(ErrorCode::IllegalTransition, "They do not stand where this begins.")
                    });
                    let mut after = before;
                    after.status =
                        if *op == BulkOp::Suspend { UserStatus::Suspended } else { UserStatus::Active };
                    let data = (error.is_none() && *op != BulkOp::Delete).then_some(after);
                    BulkOutcome { index: index as u32, status: if wrong { 409 } else { 200 }, data, error }
                };
                return Effect::Many(BulkResult { items: items.iter().enumerate().map(outcome).collect() });
            }
            Change::Delete(_) | Change::EndSession(_) => return Effect::Gone,
            Change::EndSessions(_) => return Effect::Ended(2),
            Change::Reset(_) => {
                let reset_token = Some("eyJhbGciOiJFZERTQSJ9.one-time.token".to_owned());
                return Effect::Token(PasswordReset { reset_token, expires_at: at(-3_600) });
            }
            Change::Create(op) => {
                let mut user = user(9_000);
                user.email = op.email.clone();
                user.name = op.name.clone();
                return Effect::Person(Box::new(user));
            }
            _ => {}
        }
        let mut user = of(change.person().unwrap());
        match change {
            Change::Suspend(..) => user.status = UserStatus::Suspended,
            Change::Activate(..) => user.status = UserStatus::Active,
            Change::Roles(_, roles) => user.roles = roles.iter().map(ToString::to_string).collect(),
            Change::Edit(op) => {
                user.email = op.email.value().cloned().unwrap_or(user.email);
                user.name = op.name.value().cloned().unwrap_or(user.name);
                user.external_id = op.external_id.value().cloned().unwrap_or(user.external_id);
                if let Some(patch) = op.metadata.value() {
                    user.metadata = patch.apply(&user.metadata);
                }
            }
            _ => {}
        }
        Effect::Person(Box::new(user))
    }

    /// Another size.
    pub fn resize(&mut self, width: u16, height: u16) {
        self.send(Msg::Input(Input::Resize(width, height)));
        self.draw();
    }

    /// Another look.
    pub fn look(&mut self, theme: ThemeName, ascii: bool) {
        self.model.look = Look { theme, ascii, ..self.model.look };
        self.model.theme = bursar_tui::look::Theme::of(self.model.look);
        self.draw();
    }

    pub fn draw(&mut self) {
        let (width, height) = self.model.size;
        self.buffer = Buffer::empty(Rect::new(0, 0, width, height));
        self.drawn = draw(&self.model, &mut self.buffer);
    }

    pub fn buffer(&self) -> &Buffer {
        &self.buffer
    }

    /// What the screen says.
    pub fn text(&self) -> String {
        let buffer = self.buffer();
        let mut out = String::new();
        for y in 0..buffer.area.height {
            let mut skip = 0;
            for x in 0..buffer.area.width {
                let symbol = buffer[(x, y)].symbol();
                if skip == 0 {
                    out.push_str(symbol);
                    skip = unicode_width::UnicodeWidthStr::width(symbol).max(1);
                }
                skip -= 1;
            }
            out.truncate(out.trim_end_matches(' ').len());
            out.push('\n');
        }
        out
    }

    /// What the screen says, and how: a letter a style, explained below.
    pub fn styled(&self) -> String {
        let buffer = self.buffer();
        let mut styles: Vec<Style> = Vec::new();
        let mut map = String::new();
        let plain = buffer.content.iter().map(|cell| cell.style()).next().unwrap_or_default();
        for y in 0..buffer.area.height {
            let mut line = String::new();
            for x in 0..buffer.area.width {
                let cell = &buffer[(x, y)];
                let style = cell.style();
                let blank = cell.symbol() == " " && style.bg == plain.bg && style.add_modifier.is_empty();
                let known = styles.iter().position(|known| *known == style).unwrap_or_else(|| {
                    styles.push(style);
                    styles.len() - 1
                });
                line.push(if blank { ' ' } else { char::from(b'a' + known as u8) });
            }
            map.push_str(line.trim_end());
            map.push('\n');
        }
        let mut legend = String::new();
        for (at, style) in styles.iter().enumerate() {
            let letter = char::from(b'a' + at as u8);
            let (fg, bg, bits) = (style.fg, style.bg, style.add_modifier);
            legend.push_str(
                &format!("{letter}: {fg:?} on {bg:?} {bits:?}\n").replace("Some(", "").replace(") ", " "),
            );
        }
        format!("{}\n{map}\n{legend}", self.text())
    }

    /// The id under the cursor.
    pub fn cursor(&self) -> Option<&str> {
        self.model.current_id()
    }

    /// How many requests for this slot are open.
    pub fn waits(&self, slot: Slot) -> bool {
        self.open.iter().any(|(ticket, _)| ticket.slot == slot)
    }
}
