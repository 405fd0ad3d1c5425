//! Fields of a person to be filled in: refused in the daemon's words while typing, shown beside what was.
//!
//! Nothing changes here: `^s` leads to a review, which comes back here when it is cancelled.

mod draw;
mod money;
pub(crate) mod pick;

use bursar_shared::{
    decode::{Decode, Decoder},
    error::{ApiError, ErrorCode, Violation},
    field::UserKind,
    operations::users::{CreateUser, UpdateUser, User},
};
use serde_json::{Map, Value, json};
use tui_input::Input;

pub use self::money::Sheet;
use super::{
    conflict::Theirs,
    field,
    overlay::Overlay,
    review::{Review, Subject},
};
use crate::{
    change::Change,
    keys::{Code, Key},
    message::Task,
    model::Model,
};

/// How a field is filled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Typed.
    Text,
    /// One of these words.
    Words(&'static [&'static str]),
    /// Chosen from the roles there are.
    Roles,
    /// Typed as `key=value`; becomes a field of its own.
    More,
}

/// A field.
#[derive(Debug, Clone)]
struct Field {
    /// Where it is in the request: `/email`, `/metadata/team`.
    pointer: String,
    label: String,
    input: Input,
    /// What is there now; nothing when it is new.
    was: Option<String>,
    kind: Kind,
    /// It was typed in and left: what is wrong with it is said.
    touched: bool,
    fault: Option<String>,
    help: &'static str,
}

/// Fields of a person, new or not.
#[derive(Debug, Clone)]
pub struct Form {
    /// Who is edited, as they were read; nobody when somebody is made.
    pub before: Option<Box<User>>,
    /// What it is about, where it is about money.
    pub money: Option<Box<Sheet>>,
    fields: Vec<Field>,
    at: usize,
    /// What is wrong with no field in particular.
    problem: Option<String>,
    /// `esc` was pressed once.
    leaving: bool,
}

impl Field {
    fn new(pointer: &str, label: &str, was: Option<String>, help: &'static str) -> Self {
        Self {
            pointer: pointer.to_owned(),
            label: label.to_owned(),
            input: Input::new(was.clone().unwrap_or_default()),
            was,
            kind: Kind::Text,
            touched: false,
            fault: None,
            help,
        }
    }

    fn fact(key: &str, value: &str, was: Option<String>) -> Self {
        let pointer = format!("/metadata/{}", key.replace('~', "~0").replace('/', "~1"));
        Self { input: Input::new(value.to_owned()), ..Self::new(&pointer, key, was, "empty takes it out") }
    }

    fn is_fact(&self) -> bool {
        self.pointer.starts_with("/metadata/")
    }

    fn changed(&self) -> bool {
        self.input.value() != self.was.as_deref().unwrap_or_default()
    }
}

const MORE: &str = "key=value and enter: a fact that is kept with the person";

impl Form {
    /// For a new person.
    pub fn create(choose_roles: bool) -> Self {
        let mut kind = Field::new("/kind", "Kind", None, "left and right choose");
        kind.kind = Kind::Words(UserKind::WORDS);
        kind.input = Input::new("human".to_owned());
        let about_roles = match choose_roles {
            true => "space chooses from those there are",
            false => "names of roles, separated by commas",
        };
        let mut roles = Field::new("/roles", "Roles", None, about_roles);
        if choose_roles {
            roles.kind = Kind::Roles;
        }
        let mut form = Self {
            before: None,
            money: None,
            fields: vec![
                Field::new("/email", "Email", None, "unique among people not deleted"),
                Field::new("/name", "Name", None, "one line"),
                kind,
                roles,
                Field::new("/externalId", "External id", None, "your own id of them, if there is one"),
            ],
            at: 0,
            problem: None,
            leaving: false,
        };
        form.add_more();
        form
    }

    /// For somebody who is there.
    pub fn edit(user: &User) -> Self {
        let external = user.external_id.as_ref().map(ToString::to_string).unwrap_or_default();
        let mut fields = vec![
            Field::new("/email", "Email", Some(user.email.to_string()), "unique among people not deleted"),
            Field::new("/name", "Name", Some(user.name.to_string()), "one line"),
            Field::new(
                "/externalId",
                "External id",
                Some(external),
                "your own id of them; empty takes it out",
            ),
        ];
        fields
            .extend(user.metadata.0.iter().map(|(key, value)| Field::fact(key, value, Some(value.clone()))));
        let before = Some(Box::new(user.clone()));
        let mut form = Self { before, money: None, fields, at: 0, problem: None, leaving: false };
        form.add_more();
        form
    }

    fn add_more(&mut self) {
        let mut more = Field::new("/metadata", "+ fact", None, MORE);
        more.kind = Kind::More;
        self.fields.push(more);
    }

    /// What is edited, as it was read.
    pub fn read(&self) -> Option<Theirs> {
        match (&self.before, self.money.as_deref()) {
            (_, Some(Sheet::Edit(account))) => Some(Theirs::Account(account.clone())),
            (Some(user), _) => Some(Theirs::User(user.clone())),
            _ => None,
        }
    }

    /// The same typing about another copy of the person: what the other one saved is what was.
    #[must_use]
    pub fn onto(&self, theirs: &Theirs, keep: impl Fn(&str) -> bool) -> Self {
        let mut form = match theirs {
            Theirs::User(user) => Self::edit(user),
            Theirs::Account(account) => Self::edit_account((**account).clone()),
        };
        for field in self.fields.iter().filter(|field| field.changed() && field.kind != Kind::More) {
            if !keep(&field.pointer) {
                continue;
            }
            match form.fields.iter_mut().find(|other| other.pointer == field.pointer) {
                Some(other) => other.input = field.input.clone(),
                None => {
                    let at = form.fields.len() - 1;
                    form.fields.insert(at, Field::fact(&field.label, field.input.value(), None));
                }
            }
        }
        form.at = self.at.min(form.fields.len() - 1);
        form
    }

    /// The roles that are filled in.
    pub fn roles(&self) -> Vec<String> {
        let field = self.fields.iter().find(|field| field.pointer == "/roles");
        let text = field.map_or("", |field| field.input.value());
        text.split([',', ' ']).filter(|role| !role.is_empty()).map(str::to_owned).collect()
    }

    /// Fills in roles.
    pub fn set_roles(&mut self, roles: &[&str]) {
        if let Some(field) = self.fields.iter_mut().find(|field| field.pointer == "/roles") {
            field.input = Input::new(roles.join(", "));
        }
        self.check();
    }

    /// What was typed: where, what it is called, what was, and what is typed now.
    pub fn typed(&self) -> Vec<(String, String, Option<String>, String)> {
        let changed = self.fields.iter().filter(|field| field.changed() && field.kind != Kind::More);
        changed
            .map(|field| {
                let typed = field.input.value().to_owned();
                (field.pointer.clone(), field.label.to_lowercase(), field.was.clone(), typed)
            })
            .collect()
    }

    fn changes(&self) -> usize {
        self.fields.iter().filter(|field| field.changed() && !matches!(field.kind, Kind::Words(_))).count()
    }

    /// Whether it is about something that is there.
    fn edits(&self) -> bool {
        self.before.is_some() || matches!(self.money.as_deref(), Some(Sheet::Edit(_)))
    }

    /// The request as far as it was filled in.
    fn members(&self) -> Map<String, Value> {
        let mut members = Map::new();
        let mut facts = Map::new();
        let editing = self.edits();
        if let Some(user) = &self.before {
            members.insert("id".to_owned(), json!(user.id));
        }
        for field in &self.fields {
            let text = field.input.value();
            let name = field.pointer.trim_start_matches('/');
            match field.pointer.as_str() {
                "/metadata" => {
                    if let Some((key, value)) = text.split_once('=') {
                        facts.insert(key.trim().to_owned(), json!(value));
                    }
                }
                _ if field.is_fact() => {
                    if field.changed() || !editing {
                        let value = if text.is_empty() { Value::Null } else { json!(text) };
                        facts.insert(field.label.clone(), value);
                    }
                }
                _ if editing && !field.changed() => {}
                "/roles" => {
                    members.insert(name.to_owned(), self.roles().into_iter().map(Value::from).collect());
                }
                "/externalId" if text.is_empty() => {
                    if editing {
                        members.insert(name.to_owned(), Value::Null);
                    }
                }
                _ => {
                    members.insert(name.to_owned(), json!(text));
                }
            }
        }
        if !editing {
            facts.retain(|_, value| !value.is_null());
        }
        if !facts.is_empty() {
            members.insert("metadata".to_owned(), Value::Object(facts));
        }
        members
    }

    /// Reads what was filled in as the daemon would, and puts what is wrong beside its field.
    fn check(&mut self) -> Option<Change> {
        if self.money.is_some() {
            let deed = self.check_money();
            return self.complete(deed.map(|deed| Change::Money(Box::new(deed))));
        }
        let members = Value::Object(self.members());
        let mut wrong = Vec::new();
        let mut at = Decoder::new(&mut wrong, false);
        let change = match self.before {
            Some(_) => UpdateUser::decode(&members, &mut at).map(Box::new).map(Change::Edit),
            None => CreateUser::decode(&members, &mut at).map(Box::new).map(Change::Create),
        };
        self.blame(&wrong);
        self.complete(change.filter(|_| wrong.is_empty()))
    }

    /// The same, unless a fact was begun and is none yet.
    fn complete(&mut self, change: Option<Change>) -> Option<Change> {
        let more = self.fields.iter_mut().find(|field| field.kind == Kind::More);
        if let Some(more) =
            more.filter(|more| !more.input.value().is_empty() && !more.input.value().contains('='))
        {
            more.fault = Some("must look like key=value".to_owned());
            return None;
        }
        change
    }

    /// Puts what is wrong beside the fields it is about.
    fn blame(&mut self, wrong: &[Violation]) {
        self.problem = None;
        for field in &mut self.fields {
            field.fault = None;
        }
        for one in wrong {
            let about = |field: &&mut Field| {
                one.pointer == field.pointer
                    || one.pointer.strip_prefix(&field.pointer).is_some_and(|rest| rest.starts_with('/'))
            };
            match self.fields.iter_mut().find(about) {
                Some(field) => {
                    field.fault.get_or_insert_with(|| one.message.clone());
                }
                None => self.problem = Some(format!("{} {}", one.pointer, one.message)),
            }
        }
    }

    /// The daemon refused what was filled in.
    pub fn refuse(&mut self, error: &ApiError) {
        let wrong = error.violations();
        if wrong.is_empty() {
            let email = error.code == ErrorCode::AlreadyExists && error.message.contains("email");
            match self.fields.iter_mut().find(|field| email && field.pointer == "/email") {
                Some(field) => {
                    field.touched = true;
                    field.fault = Some(error.message.clone());
                }
                None => self.problem = Some(error.message.clone()),
            }
        } else {
            self.blame(&wrong);
            for field in &mut self.fields {
                field.touched |= field.fault.is_some();
            }
        }
        if let Some(at) = self.fields.iter().position(|field| field.fault.is_some()) {
            self.at = at;
        }
    }

    /// Goes to a field.
    pub fn to(&mut self, at: usize) {
        let at = at.min(self.fields.len() - 1);
        if at != self.at {
            let field = &mut self.fields[self.at];
            field.touched |= field.changed() || !field.input.value().is_empty();
        }
        self.at = at;
    }

    /// What was typed as `key=value` becomes a field of its own.
    fn add(&mut self) {
        let text = self.fields[self.at].input.value().to_owned();
        let Some((key, value)) = text.split_once('=') else { return };
        let key = key.trim();
        match self.fields.iter_mut().find(|field| field.is_fact() && field.label == key) {
            Some(field) => field.input = Input::new(value.to_owned()),
            None => {
                self.fields.insert(self.at, Field::fact(key, value, None));
                self.at += 1;
            }
        }
        self.fields[self.at].input = Input::default();
    }

    /// Text was pasted.
    pub fn paste(&mut self, text: &str) {
        let field = &mut self.fields[self.at];
        if matches!(field.kind, Kind::Text | Kind::More) {
            field::paste(&mut field.input, text);
            self.check();
        }
    }

    /// A key.
    pub fn key(model: &mut Model, key: Key) -> Vec<Task> {
        if let Some(tasks) = pick::key(model, key) {
            return tasks;
        }
        let Some(Overlay::Form(form)) = &model.overlay else { return Vec::new() };
        let before = form.at;
        let mut tasks = Self::typed_key(model, key);
        tasks.extend(pick::after(model, before, key));
        tasks
    }

    fn typed_key(model: &mut Model, key: Key) -> Vec<Task> {
        let Some(Overlay::Form(form)) = &mut model.overlay else { return Vec::new() };
        let count = form.fields.len();
        let leaving = std::mem::take(&mut form.leaving);
        let kind = form.fields[form.at].kind;
        match (key.ctrl, key.code) {
            (false, Code::Esc) | (true, Code::Char('g')) => {
                if form.changes() > 0 && !leaving {
                    form.leaving = true;
                } else {
                    model.overlay = None;
                    Review::say_nothing_changed(model);
                }
            }
            (true, Code::Char('s')) => return Self::submit(model),
            (true, Code::Char('z')) => {
                let field = &mut form.fields[form.at];
                field.input = Input::new(field.was.clone().unwrap_or_default());
                form.check();
            }
            (false, Code::Enter) if kind == Kind::More => {
                if form.fields[form.at].input.value().is_empty() {
                    return Self::submit(model);
                }
                form.add();
                form.check();
                form.fields[form.at].touched = true;
            }
            (false, Code::Tab | Code::Down | Code::Enter) => form.to((form.at + 1) % count),
            (false, Code::BackTab | Code::Up) => form.to((form.at + count - 1) % count),
            (false, Code::Char(' ') | Code::Right) if kind == Kind::Roles => {
                return super::choose::Choose::roles_for(model);
            }
            (false, Code::Backspace) if kind == Kind::Roles => {
                let mut roles = form.roles();
                roles.pop();
                form.set_roles(&roles.iter().map(String::as_str).collect::<Vec<_>>());
            }
            _ if kind == Kind::Roles => {}
            (false, code) if matches!(kind, Kind::Words(_)) => {
                let Kind::Words(words) = kind else { return Vec::new() };
                let field = &mut form.fields[form.at];
                let at = words.iter().position(|word| *word == field.input.value()).unwrap_or(0);
                let next = match code {
                    Code::Right | Code::Char(' ' | 'l') => (at + 1) % words.len(),
                    Code::Left | Code::Char('h') => (at + words.len() - 1) % words.len(),
                    _ => at,
                };
                field.input = Input::new(words[next].to_owned());
            }
            _ => {
                let field = &mut form.fields[form.at];
                if field::edit(&mut field.input, key) {
                    form.check();
                }
            }
        }
        Vec::new()
    }

    /// To the review, if nothing is wrong.
    fn submit(model: &mut Model) -> Vec<Task> {
        let Some(Overlay::Form(form)) = &mut model.overlay else { return Vec::new() };
        if form.changes() == 0 && form.edits() {
            form.problem = Some("nothing was changed yet".to_owned());
            return Vec::new();
        }
        for field in &mut form.fields {
            field.touched = true;
        }
        let Some(change) = form.check() else {
            if let Some(at) = form.fields.iter().position(|field| field.fault.is_some()) {
                form.at = at;
            }
            return Vec::new();
        };
        if let Change::Money(deed) = change {
            let form = form.clone();
            let tasks = crate::update::money::review(model, *deed);
            if let Some(Overlay::Review(review)) = &mut model.overlay {
                review.form = Some(form);
            }
            return tasks;
        }
        let (subject, version) = match &form.before {
            Some(user) => (Subject::Person(user.clone()), Some(user.version)),
            None => (Subject::Called(form.fields[0].input.value().to_owned()), None),
        };
        let form = form.clone();
        let tasks = Review::begin(model, change, subject, version);
        if let Some(Overlay::Review(review)) = &mut model.overlay {
            review.form = Some(form);
        }
        tasks
    }
}
