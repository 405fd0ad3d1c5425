//! A choice from a few lines: orders, columns, what can be done with a row, contexts, roles, what can be
//! undone.

use bursar_shared::{
    field::RoleName,
    operations::{roles::Role, users::User},
    page::Sort,
};
use ratatui::layout::Rect;

use super::{
    canvas::{Canvas, Hit, bit},
    form::Form,
    overlay::{Overlay, keys, middle, room},
    review::{Review, Subject},
};
use crate::{
    actions::{ACTIONS, Do, Group, State, changing},
    change::Change,
    keys::{Code, Key},
    message::{Request, Slot, Task},
    model::{Model, Protection},
    screens::listed,
    text::{Clean, clock},
    update,
};

/// A line of a choice.
#[derive(Debug, Clone, Default)]
pub struct Line {
    /// What it says.
    pub text: String,
    /// What stands at its right edge.
    pub right: String,
    /// Whether it is on.
    pub on: bool,
    /// Why it cannot be chosen.
    pub off: Option<String>,
}

/// A choice.
pub struct Choose {
    /// What is chosen.
    pub title: String,
    /// The lines.
    pub lines: Vec<Line>,
    /// The line under the cursor.
    pub at: usize,
    /// What a line stands for.
    pub kind: Choice,
}

/// What is chosen.
pub enum Choice {
    /// An order: one of these.
    Sort(Vec<Sort>),
    /// Which columns are shown.
    Columns,
    /// What is done.
    Menu(Vec<Do>),
    /// Which daemon is talked to: by the names of contexts.
    Contexts(Vec<String>),
    /// Which roles this person has.
    Roles(Box<User>),
    /// Which roles the person has who is made with this form.
    RolesFor(Box<Form>),
    /// Which of the changes made from here is taken back: by the keys that they were sent under.
    Undo(Vec<String>),
}

impl Choose {
    fn show(model: &mut Model, title: impl Into<String>, lines: Vec<Line>, at: usize, kind: Choice) {
        let at = at.min(lines.len().saturating_sub(1));
        model.overlay = Some(Overlay::Choose(Self { title: title.into(), lines, at, kind }));
    }

    /// Opens the choice of the order.
    pub fn sort(model: &mut Model) {
        let Some(list) = model.list() else { return };
        let (present, sorts) = (list.sort(), list.sorts());
        let line = |sort: &Sort| Line { text: listed::order(*sort), on: *sort == present, ..Line::default() };
        let lines = sorts.iter().map(line).collect();
        let at = sorts.iter().position(|sort| *sort == present).unwrap_or(0);
        Self::show(model, "Sort", lines, at, Choice::Sort(sorts));
    }

    /// Opens the choice of the columns.
    pub fn columns(model: &mut Model) {
        let Some(list) = model.list() else { return };
        let line = |(title, on): (&str, bool)| Line { text: title.to_lowercase(), on, ..Line::default() };
        let lines = list.columns().into_iter().map(line).collect();
        Self::show(model, "Columns", lines, 0, Choice::Columns);
    }

    /// Opens what can be done with the row, or with those that are marked.
    pub fn menu(model: &mut Model) {
        let about = |action: &&crate::actions::Action| {
            matches!(action.group, Group::Act | Group::Change)
                && !matches!(action.what, Do::Menu | Do::Pane)
                && !action.title.contains("mark")
                || matches!(action.what, Do::GoPerson | Do::GoTimeline | Do::GoWhere)
        };
        let mut lines = Vec::new();
        let mut deeds = Vec::new();
        for action in ACTIONS.iter().filter(about) {
            let off = match (action.state)(model) {
                State::Absent => continue,
                State::On => None,
                State::Off(why) => Some(model.keys.fill(why)),
            };
            lines.push(Line {
                text: action.title.to_owned(),
                right: model.keys.shown(action),
                on: false,
                off,
            });
            deeds.push(action.what);
        }
        let list = model.list();
        let marked = list.map_or(0, |list| list.counts()[0]);
        let title = match (marked, list.and_then(|list| list.called(model))) {
            (0, Some(called)) => called,
            (0, None) => "Actions".to_owned(),
            (marked, _) => format!("{marked} marked"),
        };
        Self::show(model, title, lines, 0, Choice::Menu(deeds));
    }

    /// Opens the choice of the daemon; what is known of them is read meanwhile.
    pub fn contexts(model: &mut Model) {
        let present = model.place.context.clone();
        let line = |known: &crate::model::Known| {
            let protection = match known.protection {
                Protection::Open => "",
                Protection::Confirm => "  protected",
                Protection::ReadOnly => "  read-only",
            };
            Line {
                text: format!("{:<16} {}{protection}", known.name, known.server),
                right: known.email.clone().unwrap_or_default(),
                on: present.as_deref() == Some(&known.name),
                off: None,
            }
        };
        let lines = model.contexts.iter().map(line).collect();
        let names: Vec<String> = model.contexts.iter().map(|known| known.name.clone()).collect();
        let at = names.iter().position(|name| Some(name) == present.as_ref()).unwrap_or(0);
        Self::show(model, "Contexts", lines, at, Choice::Contexts(names));
    }

    /// The contexts were read: they are shown if they are waited for.
    pub fn contexts_came(model: &mut Model) {
        let open =
            |overlay: &Overlay| matches!(overlay, Overlay::Choose(Self { kind: Choice::Contexts(_), .. }));
        if update::shows(model, open) {
            Self::contexts(model);
        }
    }

    /// Opens the roles of a person; all there are, are read meanwhile.
    pub fn roles(model: &mut Model) -> Vec<Task> {
        let Some(row) = model.users.list.window.current() else { return Vec::new() };
        let user = Box::new(row.record.clone());
        let title = format!("Roles of {}", user.email);
        Self::show(model, title, Vec::new(), 0, Choice::Roles(user));
        vec![Task::Ask(model.tickets.issue(Slot::Choice), Request::AllRoles)]
    }

    /// Opens the roles that a new person can get, over the form in which they are made.
    pub fn roles_for(model: &mut Model) -> Vec<Task> {
        let Some(Overlay::Form(form)) = model.overlay.take() else { return Vec::new() };
        Self::show(model, "Roles of the new person", Vec::new(), 0, Choice::RolesFor(form));
        vec![Task::Ask(model.tickets.issue(Slot::Choice), Request::AllRoles)]
    }

    /// What was to be chosen from cannot be read.
    pub fn given_up(model: &mut Model) {
        if let Some(Overlay::Choose(_)) = &model.overlay {
            Self::close(model);
        }
    }

    /// Closes it without choosing; a form below it stays.
    pub fn close(model: &mut Model) -> Vec<Task> {
        if let Some(Overlay::Choose(Self { kind: Choice::RolesFor(form), .. })) = model.overlay.take() {
            model.overlay = Some(Overlay::Form(form));
        }
        model.tickets.forget(Slot::Choice);
        vec![Task::Drop(Slot::Choice)]
    }

    /// All roles were read.
    pub fn roles_came(model: &mut Model, roles: Vec<Role>) {
        let Some(Overlay::Choose(choose)) = &mut model.overlay else { return };
        let had = match &choose.kind {
            Choice::Roles(user) => user.roles.clone(),
            Choice::RolesFor(form) => form.roles(),
            _ => return,
        };
        choose.lines = roles
            .into_iter()
            .map(|role| Line {
                on: had.contains(&role.name),
                text: format!("{:<12} {}", role.name, role.description),
                right: String::new(),
                off: None,
            })
            .collect();
    }

    /// Opens what was changed from here.
    pub fn undo(model: &mut Model) {
        let line = |deed: &crate::model::Deed| Line {
            text: format!("{}  {}", clock(deed.at), deed.text),
            right: String::new(),
            on: deed.undone,
            off: match (&deed.back, deed.undone) {
                (_, true) => Some("undone".to_owned()),
                (None, _) => Some("cannot be undone".to_owned()),
                _ => None,
            },
        };
        let lines = model.journal.iter().map(line).collect();
        // others may be made while one chooses
        let keys = model.journal.iter().map(|deed| deed.key.clone()).collect();
        Self::show(model, "Undo", lines, 0, Choice::Undo(keys));
    }

    /// A key.
    pub fn key(model: &mut Model, key: Key) -> Vec<Task> {
        let Some(Overlay::Choose(choose)) = &mut model.overlay else { return Vec::new() };
        let last = choose.lines.len().saturating_sub(1);
        match (key.ctrl, key.code) {
            (false, Code::Char('j') | Code::Down | Code::Tab) => choose.at = (choose.at + 1).min(last),
            (false, Code::Char('k') | Code::Up | Code::BackTab) => choose.at = choose.at.saturating_sub(1),
            (false, Code::Home) => choose.at = 0,
            (false, Code::End) => choose.at = last,
            (false, Code::Enter | Code::Char(' ')) => return Self::pick(model, key.code == Code::Enter),
            (true, Code::Char('s')) => return Self::pick(model, true),
            _ if matches!(choose.kind, Choice::Menu(_)) => {
                // the key itself does it too
                let text = key.to_string();
                match choose.lines.iter().position(|line| line.right == text) {
                    Some(at) => {
                        choose.at = at;
                        return Self::pick(model, true);
                    }
                    None if matches!(key.code, Code::Char('q' | 'x')) => model.overlay = None,
                    None => {}
                }
            }
            (false, Code::Char('q')) => return Self::close(model),
            _ => {}
        }
        Vec::new()
    }

    /// A click on a line.
    pub fn click(model: &mut Model, at: usize) -> Vec<Task> {
        if let Some(Overlay::Choose(choose)) = &mut model.overlay {
            choose.at = at;
        }
        Self::pick(model, false)
    }

    /// Takes the line under the cursor. Those of which several are chosen stay open, unless `close`.
    fn pick(model: &mut Model, close: bool) -> Vec<Task> {
        let Some(Overlay::Choose(choose)) = &mut model.overlay else { return Vec::new() };
        let at = choose.at;
        let off = choose.lines.get(at).and_then(|line| line.off.clone());
        match &choose.kind {
            Choice::Sort(sorts) => {
                let Some(sort) = sorts.get(at).copied() else { return Vec::new() };
                model.overlay = None;
                let Some(room) = model.room() else { return Vec::new() };
                let (list, tickets) = model.list_and_tickets(room);
                return list.set_sort(sort, tickets);
            }
            Choice::Columns if close => model.overlay = None,
            Choice::Columns => {
                // the first column names the row; a list without it would say nothing
                if let Some(line) = choose.lines.get_mut(at).filter(|_| at > 0) {
                    line.on = !line.on;
                    let on = line.on;
                    if let Some(list) = model.list_mut() {
                        list.set_column(at, on);
                    }
                }
            }
            Choice::Menu(deeds) => {
                let Some(what) = deeds.get(at).copied() else { return Vec::new() };
                if let Some(why) = off {
                    model.complain(why);
                    return Vec::new();
                }
                model.overlay = None;
                return update::perform(model, what);
            }
            Choice::Contexts(names) => {
                let Some(name) = names.get(at).cloned() else { return Vec::new() };
                return switch(model, name);
            }
            Choice::Roles(_) if close => return Self::grant(model),
            Choice::RolesFor(_) if close => {
                let chosen = choose.chosen();
                let open = !choose.lines.is_empty();
                let tasks = Self::close(model);
                if let (Some(Overlay::Form(form)), true) = (&mut model.overlay, open) {
                    form.set_roles(&chosen.iter().map(RoleName::as_str).collect::<Vec<_>>());
                }
                return tasks;
            }
            Choice::Roles(_) | Choice::RolesFor(_) => {
                if let Some(line) = choose.lines.get_mut(at) {
                    line.on = !line.on;
                }
            }
            Choice::Undo(keys) => {
                let chosen = keys.get(at).and_then(|key| model.journal.iter().find(|deed| deed.key == *key));
                let Some(deed) = chosen.cloned() else { return Vec::new() };
                if let State::Off(why) = changing(model) {
                    model.complain(format!("undo is off: {}", model.keys.fill(why)));
                    return Vec::new();
                }
                let Some((change, version)) = deed.back.filter(|_| !deed.undone) else {
                    model.complain("this cannot be undone");
                    return Vec::new();
                };
                let person = change.person().and_then(|id| model.users.held(id));
                let subject = match person {
                    Some(row) => Subject::Person(Box::new(row.record.clone())),
                    None => Subject::Called(deed.whom),
                };
                let tasks = Review::begin(model, change, subject, version);
                if let Some(Overlay::Review(review)) = &mut model.overlay {
                    review.takes_back = Some(deed.key);
                }
                return tasks;
            }
        }
        Vec::new()
    }

    /// The roles that are on.
    fn chosen(&self) -> Vec<RoleName> {
        let chosen = self.lines.iter().filter(|line| line.on);
        let names = chosen.filter_map(|line| line.text.split_whitespace().next());
        let mut roles: Vec<RoleName> = names.filter_map(|name| name.parse().ok()).collect();
        roles.sort();
        roles
    }

    /// The roles are chosen: what would change is shown.
    fn grant(model: &mut Model) -> Vec<Task> {
        let Some(Overlay::Choose(choose)) = &model.overlay else { return Vec::new() };
        let Choice::Roles(user) = &choose.kind else { return Vec::new() };
        if choose.lines.is_empty() {
            return Vec::new();
        }
        let roles = choose.chosen();
        let mut before = user.roles.clone();
        before.sort();
        if roles.iter().map(RoleName::as_str).eq(before.iter().map(String::as_str)) {
            model.overlay = None;
            Review::say_nothing_changed(model);
            return Vec::new();
        }
        let (user, version) = (user.clone(), user.version);
        Review::begin(model, Change::Roles(user.id, roles), Subject::Person(user), Some(version))
    }

    /// Draws it.
    pub fn draw(&self, canvas: &mut Canvas<'_>) {
        let theme = canvas.theme;
        let wide = |line: &Line| {
            let right = line.off.as_ref().unwrap_or(&line.right);
            Clean::of(&line.text).width() + Clean::of(right).width() + 4
        };
        let widest = self.lines.iter().map(wide).max().unwrap_or(20).max(self.title.len() + 4);
        let width = u16::try_from(widest + 10)
            .unwrap_or(u16::MAX)
            .clamp(if self.lines.is_empty() { 56 } else { 40 }, 96);
        let height = u16::try_from(self.lines.len().max(1) + 4).unwrap_or(u16::MAX);
        let whole = room(canvas);
        let area = middle(whole, width.min(whole.width.saturating_sub(2)), height.min(whole.height));
        let inside = canvas.frame(area, &[bit(self.title.clone(), theme.accent)], &[]);
        let rows = usize::from(inside.height.saturating_sub(2)).max(1);
        let first = (self.at + 1).saturating_sub(rows);
        if self.lines.is_empty() {
            let text = match self.kind {
                Choice::Contexts(_) => "none: bursar context create NAME --server URL",
                _ => "reading…",
            };
            canvas.text(
                inside.x + 3,
                inside.y,
                inside.width.saturating_sub(4),
                &Clean::fixed(text),
                theme.dim,
            );
        }
        let several = matches!(self.kind, Choice::Columns | Choice::Roles(_) | Choice::RolesFor(_));
        for (line, (at, item)) in self.lines.iter().enumerate().skip(first).take(rows).enumerate() {
            let y = inside.y + line as u16;
            let place = Rect { y, height: 1, ..inside };
            canvas.hits.push((place, Hit::Item(at)));
            let sign = match (item.on, several) {
                (true, true) => format!("[{}] ", theme.glyphs.mark),
                (false, true) => "[ ] ".to_owned(),
                (true, false) => format!("{} ", theme.glyphs.mark),
                (false, false) => "  ".to_owned(),
            };
            let right = match &item.off {
                Some(why) => bit(format!("{} {why}", theme.glyphs.stop), theme.warn),
                None if matches!(self.kind, Choice::Menu(_)) => bit(item.right.clone(), theme.key),
                None => bit(item.right.clone(), theme.dim),
            };
            let style = if item.off.is_some() { theme.dim } else { theme.text };
            let room = inside.width.saturating_sub(4);
            let text = Clean::of(&item.text);
            let cells = u16::try_from(text.width() + sign.chars().count() + 2).unwrap_or(room).min(room);
            let left = [bit(sign, theme.mark), bit(item.text.clone(), style)];
            // why not is read whole, unless it needs more than half of the line
            let needed = u16::try_from(right.text.width()).unwrap_or(room).min(room / 2);
            let beside = room.saturating_sub(cells).max(needed);
            let gap = if needed > 0 { 2 } else { 0 };
            canvas.line(inside.x + 3, y, room.saturating_sub(needed + gap), &left);
            canvas.line_right(inside.right().saturating_sub(2), y, beside, &[right]);
            if at == self.at {
                canvas.restyle(place, theme.cursor);
                canvas.text(inside.x + 1, y, 1, &Clean::fixed(theme.glyphs.cursor), theme.cursor);
            }
        }
        if inside.height > 1 {
            let all: &[(&str, &str)] = match self.kind {
                Choice::Sort(_) => &[("enter", "chooses"), ("esc", "closes")],
                Choice::Columns => &[("space", "on/off"), ("enter", "closes")],
                Choice::Menu(_) => &[("enter", "or its key does it"), ("esc", "closes")],
                Choice::Contexts(_) => &[("enter", "goes there"), ("esc", "closes")],
                Choice::Roles(_) => {
                    &[("space", "gives or withdraws"), ("enter", "reviews"), ("esc", "closes")]
                }
                Choice::RolesFor(_) => {
                    &[("space", "gives or withdraws"), ("enter", "takes them"), ("esc", "as it was")]
                }
                Choice::Undo(_) => &[("enter", "reviews"), ("esc", "closes")],
            };
            keys(canvas, inside.x + 1, inside.bottom() - 1, inside.width.saturating_sub(1), all);
        }
    }
}

/// Goes to another daemon; what has no known outcome here stays to be asked for.
pub fn switch(model: &mut Model, name: String) -> Vec<Task> {
    if model.place.context.as_deref() == Some(&name) {
        model.overlay = None;
        model.say(format!("this is {name} already"));
        return Vec::new();
    }
    if model.pending.is_some() {
        let key = model.keys.key_of(Do::Refresh);
        model.complain(format!("a change here has no known outcome yet; {key} asks"));
        return Vec::new();
    }
    model.overlay = None;
    vec![Task::Ask(model.tickets.issue(Slot::Contexts), Request::Switch(name))]
}
