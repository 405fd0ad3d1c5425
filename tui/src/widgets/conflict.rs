//! Two people changed the same: what you read, what they wrote, what you typed, side by side.

use bursar_shared::{
    operations::{accounts::Account, users::User},
    time::Timestamp,
};
use ratatui::layout::Rect;

use super::{
    canvas::{Canvas, Hit, bit},
    form::Form,
    overlay::{Overlay, keys, middle, room},
};
use crate::{
    keys::{Code, Key},
    message::Task,
    model::Model,
    text::{Clean, clock},
};

/// A member that somebody changed.
#[derive(Debug)]
struct Member {
    pointer: String,
    name: String,
    read: String,
    theirs: String,
    /// What was typed here, if anything was.
    mine: Option<String>,
    /// Whose stays. Nothing is chosen for the person where both changed the same.
    keep: Option<Whose>,
}

/// Whose value of a member stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    Theirs,
    Mine,
}

/// Two people changed the same.
#[derive(Debug)]
pub struct Conflict {
    form: Box<Form>,
    theirs: Theirs,
    members: Vec<Member>,
    at: usize,
}

/// What the other one saved.
#[derive(Debug, Clone)]
pub enum Theirs {
    /// A person.
    User(Box<User>),
    /// An account.
    Account(Box<Account>),
}

impl Theirs {
    fn members(&self) -> Vec<(String, String, String)> {
        match self {
            Self::User(user) => members(user),
            Self::Account(account) => account_members(account),
        }
    }

    fn name(&self) -> String {
        match self {
            Self::User(user) => user.email.to_string(),
            Self::Account(account) => crate::screens::money::label(account),
        }
    }

    pub(super) const fn version(&self) -> i64 {
        match self {
            Self::User(user) => user.version,
            Self::Account(account) => account.version,
        }
    }

    const fn updated_at(&self) -> Timestamp {
        match self {
            Self::User(user) => user.updated_at,
            Self::Account(account) => account.updated_at,
        }
    }
}

/// The members of an account that a form edits, written as the form has them.
fn account_members(account: &Account) -> Vec<(String, String, String)> {
    let limit = |of: Option<bursar_shared::money::Limit>| {
        of.map_or_else(|| "none".to_owned(), |limit| account.currency.decimal(limit.minor()))
    };
    let external = account.external_id.as_ref().map(ToString::to_string).unwrap_or_default();
    let mut all = vec![
        ("/name".to_owned(), "name".to_owned(), account.name.to_string()),
        ("/overdraftLimit".to_owned(), "overdraft".to_owned(), limit(account.overdraft_limit)),
        ("/maxBalance".to_owned(), "at most".to_owned(), limit(account.max_balance)),
        ("/externalId".to_owned(), "external id".to_owned(), external),
        ("/status".to_owned(), "status".to_owned(), account.status.to_string()),
    ];
    all.extend(account.metadata.0.iter().map(|(key, value)| (fact(key), key.clone(), value.clone())));
    all
}

/// Where a fact is in a request.
fn fact(key: &str) -> String {
    format!("/metadata/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// The members of a person that a form edits: where, what they are called, and what they are.
fn members(user: &User) -> Vec<(String, String, String)> {
    let external = user.external_id.as_ref().map(ToString::to_string).unwrap_or_default();
    let mut all = vec![
        ("/email".to_owned(), "email".to_owned(), user.email.to_string()),
        ("/name".to_owned(), "name".to_owned(), user.name.to_string()),
        ("/externalId".to_owned(), "external id".to_owned(), external),
        ("/status".to_owned(), "status".to_owned(), user.status.to_string()),
        ("/roles".to_owned(), "roles".to_owned(), user.roles.join(", ")),
    ];
    all.extend(user.metadata.0.iter().map(|(key, value)| (fact(key), key.clone(), value.clone())));
    all
}

impl Conflict {
    /// What was typed here, beside what the other one saved.
    pub fn new(form: Box<Form>, theirs: Theirs) -> Self {
        let before = form.read().map_or_else(Vec::new, |read| read.members());
        let typed = form.typed();
        let now = theirs.members();
        let find = |all: &[(String, String, String)], pointer: &str| {
            all.iter().find(|(known, ..)| known == pointer).map(|(_, _, value)| value.clone())
        };
        let mut names: Vec<(String, String)> = Vec::new();
        for (pointer, name) in before
            .iter()
            .chain(&now)
            .map(|(pointer, name, _)| (pointer, name))
            .chain(typed.iter().map(|(pointer, name, ..)| (pointer, name)))
        {
            if !names.iter().any(|(known, _)| known == pointer) {
                names.push((pointer.clone(), name.clone()));
            }
        }
        let members = names
            .into_iter()
            .map(|(pointer, name)| {
                let read = find(&before, &pointer).unwrap_or_default();
                let theirs = find(&now, &pointer).unwrap_or_default();
                let mine =
                    typed.iter().find(|(known, ..)| *known == pointer).map(|(.., typed)| typed.clone());
                let keep = match &mine {
                    None => Some(Whose::Theirs),
                    Some(mine) if read == theirs || *mine == theirs => Some(Whose::Mine),
                    // both changed the same to different things
                    Some(_) => None,
                };
                Member { pointer, name, read, theirs, mine, keep }
            })
            .filter(|member| member.mine.is_some() || member.read != member.theirs)
            .collect();
        Self { form, theirs, members, at: 0 }
    }

    /// Keeps what was typed in a member, or what they wrote.
    pub fn turn(&mut self, at: usize) {
        self.at = at;
        if let Some(member) = self.members.get_mut(at).filter(|member| member.mine.is_some()) {
            member.keep = Some(match member.keep {
                Some(Whose::Mine) => Whose::Theirs,
                Some(Whose::Theirs) | None => Whose::Mine,
            });
        }
    }

    fn all(&mut self, whose: Whose) {
        for member in self.members.iter_mut().filter(|member| member.mine.is_some()) {
            member.keep = Some(whose);
        }
    }

    /// Members of which nobody said yet whose stays.
    fn open(&self) -> usize {
        self.members.iter().filter(|member| member.keep.is_none()).count()
    }

    /// A key.
    pub fn key(model: &mut Model, key: Key) -> Vec<Task> {
        let Some(Overlay::Conflict(conflict)) = &mut model.overlay else { return Vec::new() };
        let last = conflict.members.len().saturating_sub(1);
        match (key.ctrl, key.code) {
            (false, Code::Char('j') | Code::Down | Code::Tab) => conflict.at = (conflict.at + 1).min(last),
            (false, Code::Char('k') | Code::Up | Code::BackTab) => {
                conflict.at = conflict.at.saturating_sub(1);
            }
            (false, Code::Char(' ')) => conflict.turn(conflict.at),
            (false, Code::Char('m')) => conflict.all(Whose::Mine),
            (false, Code::Char('t')) => conflict.all(Whose::Theirs),
            (false, Code::Enter) => return Self::go_on(model),
            (false, Code::Esc | Code::Char('q')) => {
                // what was typed is not thrown away by the key that closes things
                if let Some(Overlay::Conflict(conflict)) = model.overlay.take() {
                    model.overlay = Some(Overlay::Form(conflict.form));
                }
                model.say("back to what you typed; nothing was changed");
            }
            _ => {}
        }
        Vec::new()
    }

    /// Back to the form, which is about their copy now and holds what is kept of one's own.
    fn go_on(model: &mut Model) -> Vec<Task> {
        let Some(Overlay::Conflict(conflict)) = &mut model.overlay else { return Vec::new() };
        if let Some(at) = conflict.members.iter().position(|member| member.keep.is_none()) {
            // a key that is easily hit throws nothing away that was typed
            conflict.at = at;
            let name = conflict.members[at].name.clone();
            model.complain(format!(
                "whose {name} stays? space chooses, m takes all of yours, t all of theirs"
            ));
            return Vec::new();
        }
        let Some(Overlay::Conflict(conflict)) = model.overlay.take() else { return Vec::new() };
        let keep = |pointer: &str| {
            let mut kept = conflict.members.iter().filter(|member| member.keep == Some(Whose::Mine));
            kept.any(|member| member.pointer == pointer)
        };
        let form = conflict.form.onto(&conflict.theirs, keep);
        if form.typed().is_empty() {
            model.say("theirs stays; nothing of yours is left to save");
            return Vec::new();
        }
        model.overlay = Some(Overlay::Form(Box::new(form)));
        Vec::new()
    }

    /// Draws it.
    pub fn draw(&self, canvas: &mut Canvas<'_>) {
        let theme = canvas.theme;
        let whole = room(canvas);
        let height = u16::try_from(self.members.len() + 9).unwrap_or(u16::MAX);
        let area = middle(whole, whole.width.saturating_sub(4).min(108), height);
        let version = self.form.read().map_or(0, |read| read.version());
        let title = format!("Somebody else saved {} first", self.theirs.name());
        let versions = format!("{version} {} {}", theme.glyphs.arrow, self.theirs.version());
        let facts = [bit(format!("version {versions}"), theme.dim)];
        let inside = canvas.frame(area, &[bit(title, theme.warn)], &facts);
        let (x, width) = (inside.x + 2, inside.width.saturating_sub(4));
        let name = 13.min(width / 4);
        let cell = width.saturating_sub(name + 3) / 3;
        let columns = [x + name, x + name + cell + 1, x + name + 2 * (cell + 1)];
        let words = format!(
            "They saved at {}. Nothing of yours is in the daemon yet.",
            clock(self.theirs.updated_at())
        );
        canvas.text(x, inside.y, width, &Clean::of(words), theme.text);
        let heads = ["YOU READ", "THEY WROTE", "YOU TYPED"];
        if inside.height > 3 {
            // behind the signs of what is kept
            for ((at, head), signs) in columns.into_iter().zip(heads).zip([0, 2, 2]) {
                canvas.text(at + signs, inside.y + 2, cell - signs.min(cell), &Clean::fixed(head), theme.dim);
            }
        }
        let rows = usize::from(inside.height.saturating_sub(6)).max(1);
        let first = (self.at + 1).saturating_sub(rows);
        for (line, (at, member)) in self.members.iter().enumerate().skip(first).take(rows).enumerate() {
            let y = inside.y + 3 + line as u16;
            if y + 2 >= inside.bottom() {
                break;
            }
            let both = member.mine.is_some() && member.read != member.theirs;
            let style = if both { theme.warn } else { theme.dim };
            canvas.text(x, y, name.saturating_sub(1), &Clean::of(&member.name), style);
            let empty = |text: &str| if text.is_empty() { "(empty)".to_owned() } else { text.to_owned() };
            canvas.text(columns[0], y, cell, &Clean::of(empty(&member.read)), theme.dim);
            let mut put = |at: u16, whose: Whose, text: &str| {
                let (sign, style) = match member.keep {
                    Some(kept) if kept == whose => (theme.glyphs.mark, theme.good),
                    Some(_) => (" ", theme.dim),
                    None => ("?", theme.warn),
                };
                canvas.text(at, y, cell, &Clean::of(format!("{sign} {}", empty(text))), style);
            };
            put(columns[1], Whose::Theirs, &member.theirs);
            if let Some(mine) = &member.mine {
                put(columns[2], Whose::Mine, mine);
            }
            let place = Rect { x: inside.x, y, width: inside.width, height: 1 };
            canvas.hits.push((place, Hit::Item(at)));
            if at == self.at {
                canvas.restyle(place, theme.cursor);
                canvas.text(inside.x, y, 1, &Clean::fixed(theme.glyphs.cursor), theme.cursor);
            }
        }
        if inside.height > 2 {
            let kept = self.members.iter().filter(|member| member.keep == Some(Whose::Mine)).count();
            let (word, style) = match (self.open(), kept) {
                (1, _) => ("both of you changed the line with ?: whose stays?".to_owned(), theme.warn),
                (open @ 2.., _) => {
                    (format!("both of you changed the {open} lines with ?: whose stay?"), theme.warn)
                }
                (_, 0) => ("nothing of yours is kept: theirs stays as it is".to_owned(), theme.text),
                (_, 1) => {
                    ("1 of yours goes on top of theirs; enter goes back to the form".to_owned(), theme.text)
                }
                (_, many) => {
                    let text = format!("{many} of yours go on top of theirs; enter goes back to the form");
                    (text, theme.text)
                }
            };
            canvas.text(x, inside.bottom() - 2, width, &Clean::of(word), style);
            let all = [
                ("space", "yours or theirs"),
                ("m", "all mine"),
                ("t", "all theirs"),
                ("enter", "goes on"),
                ("esc", "back to the form"),
            ];
            keys(canvas, x, inside.bottom() - 1, width, &all);
        }
    }
}
