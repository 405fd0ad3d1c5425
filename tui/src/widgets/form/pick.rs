//! Fields in which accounts and people are looked up by what is typed.

use std::time::Duration;

use bursar_shared::{
    id::UserId,
    money::Currency,
    operations::accounts::{Account, AccountRef},
};
use tui_input::Input;

use super::{Form, Sheet};
use crate::{
    keys::{Code, Key},
    look::Theme,
    message::{Alarm, Found, Request, Seek, Slot, Task},
    model::Model,
    screens::{
        accounts::{limit, status},
        money::label,
    },
    text::amount,
    widgets::{
        canvas::{Bit, bit},
        overlay::Overlay,
    },
};

/// How long typing rests before it is looked up.
const REST: Duration = Duration::from_millis(150);

/// An account or a person that is looked up by what is typed.
#[derive(Debug, Clone)]
pub struct Pick {
    pub(super) seek: Seek,
    /// What was chosen, and the text that stands for it.
    pub(super) chosen: Option<(Chosen, String)>,
    /// What fits a text.
    offers: Option<(String, Vec<Found>)>,
    /// Which of them the cursor is on.
    at: usize,
    /// The field was left, or done with: what alone fits is taken.
    done: bool,
}

#[derive(Debug, Clone)]
pub(super) enum Chosen {
    Account(Box<Account>),
    /// A system account that nobody has named yet.
    System(AccountRef, Currency),
    Person(UserId),
}

impl Pick {
    pub(super) const fn new(seek: Seek) -> Self {
        Self { seek, chosen: None, offers: None, at: 0, done: false }
    }

    pub(super) fn of(account: Account) -> Self {
        let text = label(&account);
        Self { chosen: Some((Chosen::Account(Box::new(account)), text)), ..Self::new(Seek::Account) }
    }

    /// What fits this text, as far as it was looked up.
    pub(super) fn fitting(&self, text: &str) -> Option<&[Found]> {
        self.offers.as_ref().filter(|(of, _)| of == text.trim()).map(|(_, found)| found.as_slice())
    }

    pub(super) fn currency(&self) -> Option<Currency> {
        match &self.chosen {
            Some((Chosen::Account(account), _)) => Some(account.currency),
            Some((Chosen::System(_, currency), _)) => Some(*currency),
            _ => None,
        }
    }

    pub(super) fn id(&self) -> Option<String> {
        self.chosen.as_ref().map(|(chosen, _)| match chosen {
            Chosen::Account(account) => account.id.to_string(),
            Chosen::System(id, _) => id.to_string(),
            Chosen::Person(id) => id.to_string(),
        })
    }

    pub(super) fn text(&self) -> Option<&str> {
        self.chosen.as_ref().map(|(_, text)| text.as_str())
    }

    pub(super) fn account(&self) -> Option<&Account> {
        match &self.chosen {
            Some((Chosen::Account(account), _)) => Some(account),
            _ => None,
        }
    }

    /// Takes one of what fits; the text that stands for it.
    fn choose(&mut self, found: &Found) -> String {
        let (chosen, text) = match found {
            Found::Account(account, _) => (Chosen::Account(account.clone()), label(account)),
            Found::Person(id, email) => (Chosen::Person(*id), email.clone()),
        };
        self.chosen = Some((chosen, text.clone()));
        text
    }
}

impl Form {
    /// The pick behind a field.
    pub(super) fn pick(&self, pointer: &str) -> Option<&Pick> {
        match (self.money.as_deref()?, pointer) {
            (Sheet::Send(from, _), "/fromAccountId") => Some(from),
            (Sheet::Send(_, to), "/toAccountId") => Some(to),
            (Sheet::Open(owner), "/ownerId") => Some(owner),
            (Sheet::Close(_, to), "/sweepToAccountId") => Some(to),
            _ => None,
        }
    }

    pub(super) fn pick_mut(&mut self, pointer: &str) -> Option<&mut Pick> {
        match (self.money.as_deref_mut()?, pointer) {
            (Sheet::Send(from, _), "/fromAccountId") => Some(from),
            (Sheet::Send(_, to), "/toAccountId") => Some(to),
            (Sheet::Open(owner), "/ownerId") => Some(owner),
            (Sheet::Close(_, to), "/sweepToAccountId") => Some(to),
            _ => None,
        }
    }

    /// What is typed stands for what was chosen, or for nothing yet; `world:EUR` stands for itself.
    pub(super) fn settle_picks(&mut self) {
        let fields: Vec<(String, String)> =
            self.fields.iter().map(|field| (field.pointer.clone(), field.input.value().to_owned())).collect();
        for (pointer, text) in fields {
            let Some(pick) = self.pick_mut(&pointer) else { continue };
            if pick.text().is_some_and(|known| known != text) {
                pick.chosen = None;
            }
            if pick.chosen.is_none()
                && pick.seek == Seek::Account
                && let Ok(id @ AccountRef::System(_, currency)) = text.trim().parse::<AccountRef>()
            {
                pick.chosen = Some((Chosen::System(id, currency), text));
            }
        }
    }

    /// What fits what is typed: lines below the fields.
    pub(super) fn offers(&self, model: &Model, theme: &Theme) -> Vec<Vec<Bit>> {
        let field = &self.fields[self.at];
        let Some(pick) = self.pick(&field.pointer) else { return Vec::new() };
        let text = field.input.value();
        if pick.chosen.is_some() || text.trim().is_empty() {
            return Vec::new();
        }
        let Some(found) = pick.fitting(text) else {
            return vec![vec![bit("looking it up…", theme.dim)]];
        };
        if found.is_empty() {
            return vec![vec![bit(format!("{} nothing fits", theme.glyphs.stop), theme.warn)]];
        }
        let mut lines: Vec<Vec<Bit>> = found
            .iter()
            .enumerate()
            .map(|(at, one)| {
                let on = at == pick.at;
                let sign = if on { theme.glyphs.cursor } else { " " };
                let style = if on { theme.cursor } else { theme.text };
                let mut line = vec![bit(format!("{sign} "), style)];
                match one {
                    Found::Account(account, owner) => {
                        let name = crate::text::Clean::of(label(account)).fit(24, theme.glyphs.ellipsis);
                        let pad = " ".repeat(25usize.saturating_sub(name.width()));
                        line.push(Bit { text: name, style });
                        line.push(bit(pad, style));
                        let left = limit_text(account);
                        line.push(bit(format!("{left:>14} {} ", account.currency), style));
                        line.push(Bit {
                            style: if on { theme.cursor } else { theme.dim },
                            ..status(account.status, theme)
                        });
                        let owner = owner.clone().or_else(|| account.owner_id.map(|id| model.name_of(id)));
                        line.push(bit(format!("  {}", owner.unwrap_or_default()), style));
                    }
                    Found::Person(id, email) => {
                        line.push(bit(format!("{email:<34}"), style));
                        line.push(bit(id.to_string(), style));
                    }
                }
                line
            })
            .collect();
        lines.push(vec![
            bit("^n", theme.key),
            bit(" next  ", theme.dim),
            bit("enter", theme.key),
            bit(" takes it", theme.dim),
        ]);
        lines
    }
}

fn limit_text(account: &Account) -> String {
    match account.balances.available {
        Some(minor) => amount(account.currency, minor),
        None => limit(account.currency, None, "unlimited"),
    }
}

/// A key that means something to a field in which something is looked up.
pub(super) fn key(model: &mut Model, key: Key) -> Option<Vec<Task>> {
    let Some(Overlay::Form(form)) = &mut model.overlay else { return None };
    let at = form.at;
    let pointer = form.fields[at].pointer.clone();
    let text = form.fields[at].input.value().to_owned();
    let pick = form.pick_mut(&pointer)?;
    if pick.chosen.is_some() || text.trim().is_empty() {
        return None;
    }
    let count = pick.fitting(&text).map_or(0, <[Found]>::len);
    match (key.ctrl, key.code) {
        (true, Code::Char('n')) if count > 0 => pick.at = (pick.at + 1) % count,
        (true, Code::Char('p')) if count > 0 => pick.at = (pick.at + count - 1) % count,
        (false, Code::Enter) if count > 0 => {
            let found = pick.fitting(&text).and_then(|found| found.get(pick.at)).cloned();
            if let Some(found) = found {
                take(form, at, &found);
                form.to(at + 1);
                form.check();
            }
        }
        (true, Code::Char('s')) => {
            pick.done = true;
            if let Some([only]) = pick.fitting(&text) {
                let only = only.clone();
                take(form, at, &only);
            }
            return None;
        }
        _ => return None,
    }
    Some(Vec::new())
}

/// Puts what was found into its field.
fn take(form: &mut Form, at: usize, found: &Found) {
    let pointer = form.fields[at].pointer.clone();
    let Some(pick) = form.pick_mut(&pointer) else { return };
    let text = pick.choose(found);
    form.fields[at].input = Input::new(text);
}

/// After every key: what is typed is looked up when typing rests, or at once when the field was left.
pub(super) fn after(model: &mut Model, before: usize, key: Key) -> Vec<Task> {
    let Some(Overlay::Form(form)) = &mut model.overlay else { return Vec::new() };
    if form.money.is_none() {
        return Vec::new();
    }
    // in a form of one field, tab leads back to it
    let ends = matches!(key.code, Code::Tab | Code::BackTab | Code::Enter)
        || (key.ctrl && key.code == Code::Char('s'));
    let left = before != form.at || ends;
    let at = before;
    let Some(field) = form.fields.get(at) else { return Vec::new() };
    let (pointer, text) = (field.pointer.clone(), field.input.value().to_owned());
    let Some(pick) = form.pick_mut(&pointer) else { return Vec::new() };
    if pick.chosen.is_some() || text.trim().is_empty() {
        return Vec::new();
    }
    pick.done = left;
    match pick.fitting(&text) {
        // the field was left, and there is no doubt
        Some([only]) if left => {
            let only = only.clone();
            take(form, at, &only);
            form.check();
            Vec::new()
        }
        Some(_) => Vec::new(),
        None if left => seek(model, at),
        None => vec![Task::Wake(REST, Alarm::Seek)],
    }
}

/// Typing has rested: what is typed is looked up.
pub(crate) fn rested(model: &mut Model) -> Vec<Task> {
    let Some(Overlay::Form(form)) = &model.overlay else { return Vec::new() };
    let at = form.at;
    seek(model, at)
}

fn seek(model: &mut Model, at: usize) -> Vec<Task> {
    let Some(permissions) = model.who.as_ref().map(|who| who.permissions) else { return Vec::new() };
    let Some(Overlay::Form(form)) = &model.overlay else { return Vec::new() };
    let Some(field) = form.fields.get(at) else { return Vec::new() };
    let text = field.input.value().trim().to_owned();
    let Some(pick) = form.pick(&field.pointer).filter(|pick| pick.chosen.is_none()) else {
        return Vec::new();
    };
    if text.is_empty() || pick.fitting(&text).is_some() {
        return Vec::new();
    }
    let request = Request::Find(pick.seek, text, permissions);
    vec![Task::Ask(model.tickets.issue(Slot::Find), request)]
}

/// What fits was looked up.
pub(crate) fn found(model: &mut Model, text: String, found: Vec<Found>) {
    for one in &found {
        match one {
            Found::Account(account, owner) => {
                model.money.learn(account);
                if let (Some(id), Some(owner)) = (account.owner_id, owner) {
                    model.names.insert(id, owner.clone());
                }
            }
            Found::Person(id, email) => {
                model.names.insert(*id, email.clone());
            }
        }
    }
    let Some(Overlay::Form(form)) = &mut model.overlay else { return };
    let waiting: Vec<usize> = (0..form.fields.len())
        .filter(|at| {
            let field = &form.fields[*at];
            let waits = form.pick(&field.pointer).is_some_and(|pick| pick.chosen.is_none());
            waits && field.input.value().trim() == text
        })
        .collect();
    for at in waiting {
        let pointer = form.fields[at].pointer.clone();
        let Some(pick) = form.pick_mut(&pointer) else { continue };
        pick.offers = Some((text.clone(), found.clone()));
        pick.at = 0;
        if pick.done
            && let [only] = found.as_slice()
        {
            take(form, at, only);
        }
    }
    form.check();
}
