//! The palette: every action by its words, and places as on the command line: `users status:active`,
//! `context use prod`.

use bursar_shared::{
    field::Email,
    id::{AccountId, TransferId, UserId},
};
use nucleo_matcher::{
    Config, Matcher, Utf32Str,
    pattern::{Atom, AtomKind, CaseMatching, Normalization},
};
use ratatui::layout::Rect;
use tui_input::Input;

use super::{
    canvas::{Canvas, Hit, bit},
    choose, field,
    overlay::{Overlay, keys, middle, room},
};
use crate::{
    actions::{ACTIONS, Action, Do, Elsewhere, Group, State, elsewhere},
    change::shell,
    keys::{Code, Key},
    message::{Room, Task},
    model::Model,
    text::Clean,
    update,
};

/// Lines of the palette's history that are kept.
const HISTORY: usize = 50;

/// The palette.
#[derive(Debug, Default)]
pub struct Palette {
    /// What was typed.
    pub input: Input,
    /// The line under the cursor.
    pub at: usize,
    /// How far back in the history; 0 is what was typed.
    pub back: usize,
}

/// A line of the palette.
#[derive(Debug, Clone)]
enum Line {
    Action(&'static Action),
    /// A list, narrowed.
    List(Room, String),
    /// Another daemon, by the name of its context.
    Context(String),
    /// An action of another screen.
    Elsewhere(&'static Action, Elsewhere),
    /// A record, by what names it.
    Record(Room, String),
}

/// The record that was pasted or typed: somebody by their address, and who or what has this id.
fn record(text: &str) -> Option<Line> {
    let text = text.trim();
    let room = match text.split_once('_') {
        _ if text.contains('@') && text.parse::<Email>().is_ok() => {
            return Some(Line::Record(Room::Users, format!("email:{text}")));
        }
        Some(("usr", _)) => text.parse::<UserId>().ok().map(|_| Room::Users),
        Some(("acc", _)) => text.parse::<AccountId>().ok().map(|_| Room::Accounts),
        Some(("trf", _)) => text.parse::<TransferId>().ok().map(|_| Room::Transfers),
        _ => None,
    };
    room.map(|room| Line::Record(room, text.to_owned()))
}

/// A list as the command line names it, and the filter behind it: `users list status:active`.
fn list_of(model: &Model, text: &str) -> Option<(Room, String)> {
    let (noun, rest) = text.trim_start().split_once(char::is_whitespace)?;
    // a statement needs to know whose
    let lists = Room::ALL.iter().copied().filter(|room| !matches!(room, Room::Home | Room::Statement));
    let room = lists.into_iter().find(|room| model.list_of(*room).noun() == noun)?;
    let rest = rest.trim();
    let verbs = ACTIONS.iter().filter_map(|action| action.words.split_once(' '));
    let is_verb =
        verbs.filter(|(of, _)| *of == noun).any(|(_, verb)| verb.starts_with(rest) && verb != "list");
    let rest = match rest.strip_prefix("list") {
        Some(rest) if rest.is_empty() || rest.starts_with(' ') => rest.trim(),
        // `users create` is an action, `users ada` a search
        _ if is_verb => return None,
        _ => rest,
    };
    let rest = rest.strip_prefix("--filter").map_or(rest, str::trim);
    Some((room, rest.trim_matches('\'').to_owned()))
}

fn lines(model: &Model, text: &str) -> Vec<Line> {
    if let Some(record) = record(text) {
        return vec![record];
    }
    let mut lines: Vec<Line> = Vec::new();
    if let Some((room, filter)) = list_of(model, text) {
        lines.push(Line::List(room, filter));
    }
    let skip = [Do::Palette, Do::Back];
    let here = ACTIONS
        .iter()
        .filter(|action| (action.state)(model) != State::Absent && !skip.contains(&action.what));
    let contexts = model.contexts.iter().map(|known| known.name.as_str());
    let contexts = contexts.filter(|name| model.place.context.as_deref() != Some(*name));
    if text.trim().is_empty() {
        // what one does comes before how one moves
        let mut here: Vec<&'static Action> = here.collect();
        here.sort_by_key(|action| wanted(action));
        lines.extend(here.into_iter().map(Line::Action));
        lines.extend(contexts.map(|name| Line::Context(name.to_owned())));
        return lines;
    }
    let mut search = Search::new(text);
    let away = ACTIONS.iter().filter(|action| (action.state)(model) == State::Absent);
    let away = away.filter_map(|action| Some(Line::Elsewhere(action, elsewhere(action)?)));
    let mut found: Vec<(Fit, u32, u8, Line)> = here
        .map(Line::Action)
        .chain(away)
        .filter_map(|line| {
            let (Line::Action(action) | Line::Elsewhere(action, _)) = line else { return None };
            let (fit, score) = search.fit(&[action.words, action.title], action.does)?;
            let after = match line {
                Line::Elsewhere(_, Elsewhere::Needs(_)) => 20,
                Line::Elsewhere(..) => 10,
                _ => 0,
            };
            Some((fit, score, wanted(action) + after, line))
        })
        .collect();
    found.extend(contexts.filter_map(|name| {
        let (fit, score) = search.fit(&[&format!("context use {name}")], "")?;
        Some((fit, score, 0, Line::Context(name.to_owned())))
    }));
    found.sort_by_key(|(fit, score, wanted, _)| {
        // only where letters are scattered it matters how far
        let score = if *fit == Fit::Scattered { *score } else { 0 };
        (*fit, std::cmp::Reverse(score), *wanted)
    });
    // letters that are scattered match too, and so do words about it; beside a good match they are noise
    let best = found.first().map(|(fit, score, ..)| (*fit, *score));
    found.retain(|(fit, score, ..)| match best {
        Some((Fit::Scattered, most)) => *fit == Fit::Scattered && score * 3 >= most * 2,
        Some((Fit::Said, _)) => true,
        _ => *fit < Fit::Scattered,
    });
    lines.extend(found.into_iter().map(|(.., line)| line));
    lines
}

/// What one does comes before how one moves.
fn wanted(action: &Action) -> u8 {
    match action.group {
        Group::Change => 0,
        Group::Act => 1,
        Group::Find => 2,
        Group::Move if action.name.starts_with("go.") => 3,
        Group::Everywhere => 4,
        Group::Move => 5,
    }
}

/// How well a line fits what was typed, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    /// It is called so.
    Whole,
    /// What it is called begins so.
    Begins,
    /// Words of what it is called begin so.
    Words,
    /// It has these letters in their order.
    Scattered,
    /// What is said about it has words that begin so.
    Said,
}

/// Looks for what was typed, word by word.
struct Search {
    words: Vec<(String, Atom)>,
    matcher: Matcher,
}

impl Search {
    fn new(text: &str) -> Self {
        let atom =
            |word: &str| Atom::new(word, CaseMatching::Ignore, Normalization::Smart, AtomKind::Fuzzy, false);
        let words = text.split_whitespace().map(|word| (word.to_lowercase(), atom(word))).collect();
        Self { words, matcher: Matcher::new(Config::DEFAULT) }
    }

    /// How well it fits, if every word does: to what something is called, `names`, by its letters in their
    /// order, the first of which begins a word; to what is said about it only by the beginning of a word.
    /// Among those whose letters are scattered, more is better.
    fn fit(&mut self, names: &[&str], said: &str) -> Option<(Fit, u32)> {
        let typed = self.words.iter().map(|(word, _)| word.as_str()).collect::<Vec<_>>().join(" ");
        if names.contains(&typed.as_str()) {
            return Some((Fit::Whole, 0));
        }
        if names.iter().any(|name| name.starts_with(&typed)) {
            return Some((Fit::Begins, 0));
        }
        let called = names.join(" ");
        let begins = |word: &str| {
            called.split(|letter: char| !letter.is_alphanumeric()).any(|part| part.starts_with(word))
        };
        if self.words.iter().all(|(word, _)| begins(word)) {
            return Some((Fit::Words, 0));
        }
        let score = self.scattered(&called, said)?;
        Some((if score.1 { Fit::Said } else { Fit::Scattered }, score.0))
    }

    /// The same by single letters: how well, and whether a word is only in what is said.
    fn scattered(&mut self, called: &str, said: &str) -> Option<(u32, bool)> {
        let mut only_said = false;
        let letters: Vec<char> = called.chars().collect();
        let said = said.to_lowercase();
        let (mut buffer, mut places) = (Vec::new(), Vec::new());
        let mut sum = 0;
        for (text, word) in &self.words {
            places.clear();
            let score = word.indices(Utf32Str::new(called, &mut buffer), &mut self.matcher, &mut places);
            let first = places.first().and_then(|at| usize::try_from(*at).ok()).unwrap_or(0);
            let begins = first == 0 || letters.get(first - 1).is_some_and(|letter| !letter.is_alphanumeric());
            let named = score.filter(|_| begins).map(|score| u32::from(score) * 3);
            let mut of = said.split(|letter: char| !letter.is_alphanumeric());
            let told = of.any(|part| part.starts_with(text.as_str())).then_some(1);
            only_said |= named.is_none();
            sum += named.or(told)?;
        }
        Some((sum, only_said))
    }
}

/// A key while the palette is open.
pub fn key(model: &mut Model, key: Key) -> Vec<Task> {
    let Some(Overlay::Palette(palette)) = &model.overlay else { return Vec::new() };
    let text = palette.input.value().to_owned();
    let lines = lines(model, &text);
    let history = model.history.clone();
    let Some(Overlay::Palette(palette)) = &mut model.overlay else { return Vec::new() };
    let last = lines.len().saturating_sub(1);
    match (key.ctrl, key.code) {
        (_, Code::Down) | (true, Code::Char('n')) => palette.at = (palette.at + 1).min(last),
        (true, Code::Char('r')) => palette.remember(&history),
        (false, Code::Up) if palette.at == 0 && (text.is_empty() || palette.back > 0) => {
            palette.remember(&history);
        }
        (_, Code::Up) | (true, Code::Char('p')) => palette.at = palette.at.saturating_sub(1),
        (false, Code::Tab) => {
            // what the line is called on the command line, to be typed on
            let words = match lines.get(palette.at.min(last)) {
                Some(Line::Action(action) | Line::Elsewhere(action, _)) => format!("{} ", action.words),
                Some(Line::Context(name)) => format!("context use {name}"),
                _ => return Vec::new(),
            };
            palette.input = Input::new(words);
            palette.at = 0;
        }
        (false, Code::Char('Y')) if text.is_empty() => {
            let command = lines.get(palette.at.min(last)).and_then(|line| command(model, line));
            let Some(command) = command else { return Vec::new() };
            model.say(format!("copied {command}"));
            return vec![Task::Copy(command)];
        }
        // what is called nothing can still be mended
        (false, Code::Enter) if lines.is_empty() => {}
        (false, Code::Enter) => {
            let line = lines.get(palette.at.min(last)).cloned();
            if !text.trim().is_empty() {
                model.history.retain(|before| *before != text);
                model.history.push_front(text);
                model.history.truncate(HISTORY);
            }
            model.overlay = None;
            return match line {
                Some(Line::Action(action)) => update::perform(model, action.what),
                Some(Line::List(room, filter)) => update::list(model, room, &filter),
                Some(Line::Context(name)) => choose::switch(model, name),
                Some(Line::Record(room, named)) => update::jump(model, room, &named),
                Some(Line::Elsewhere(action, Elsewhere::Starts(screen))) => {
                    update::start_at(model, screen, action.what)
                }
                Some(Line::Elsewhere(action, Elsewhere::Needs(place))) => {
                    model.complain(format!("{}: {place}", action.title));
                    Vec::new()
                }
                None => Vec::new(),
            };
        }
        _ => {
            if field::edit(&mut palette.input, key) {
                palette.at = 0;
                palette.back = 0;
            }
        }
    }
    Vec::new()
}

/// A line as a command.
fn command(model: &Model, line: &Line) -> Option<String> {
    let command = match line {
        Line::Action(action) => (action.command)(model),
        Line::List(room, filter) => {
            let noun = model.list_of(*room).noun();
            Some(match filter.as_str() {
                "" => format!("bursar {noun} list"),
                filter => format!("bursar {noun} list --filter {}", shell(filter)),
            })
        }
        Line::Record(room, named) => {
            let noun = model.list_of(*room).noun();
            Some(match named.strip_prefix("email:") {
                Some(_) => format!("bursar {noun} list --filter {}", shell(named)),
                None => format!("bursar {noun} get {named}"),
            })
        }
        Line::Elsewhere(action, Elsewhere::Starts(_)) => (action.command)(model),
        // without a record it would be half a command
        Line::Elsewhere(..) => None,
        Line::Context(name) => return Some(format!("bursar context use {}", shell(name))),
    };
    command.map(|command| model.place.reached_by(&command))
}

impl Palette {
    /// Puts the line before back.
    fn remember(&mut self, history: &std::collections::VecDeque<String>) {
        let back = (self.back + 1).min(history.len());
        if let Some(line) = back.checked_sub(1).and_then(|at| history.get(at)) {
            self.input = Input::new(line.clone());
            self.back = back;
        }
    }

    /// Text was pasted.
    pub fn paste(&mut self, text: &str) {
        field::paste(&mut self.input, text);
        self.at = 0;
    }

    /// Draws it.
    pub fn draw(&self, canvas: &mut Canvas<'_>, model: &Model) {
        let theme = canvas.theme;
        let lines = lines(model, self.input.value());
        let whole = room(canvas);
        let small = whole.height < 16;
        let height = whole.height.saturating_sub(if small { 0 } else { 4 }).min(20);
        let area = middle(whole, whole.width.saturating_sub(4).min(84), height);
        let inside = canvas.frame(area, &[bit("Command", theme.accent)], &[]);
        let typed = Rect { x: inside.x + 3, width: inside.width.saturating_sub(4), height: 1, ..inside };
        canvas.text(inside.x + 1, inside.y, 1, &Clean::fixed(theme.glyphs.cursor), theme.accent);
        if inside.height > 0 {
            field::draw(canvas, typed, &self.input, false, true, None);
        }
        // what is said about the line is left out where lines are few
        let rows = usize::from(inside.height.saturating_sub(if small { 2 } else { 5 }));
        let at = self.at.min(lines.len().saturating_sub(1));
        let first = (at + 1).saturating_sub(rows.max(1));
        for (place, (index, line)) in lines.iter().enumerate().skip(first).take(rows).enumerate() {
            let y = inside.y + 2 + place as u16;
            let (title, keys, off) = match line {
                Line::List(room, filter) => {
                    let noun = model.list_of(*room).noun();
                    (format!("{noun} where {filter}"), String::new(), None)
                }
                Line::Context(name) => (format!("context use {name}"), String::new(), None),
                Line::Record(room, named) => {
                    let named = named.strip_prefix("email:").unwrap_or(named);
                    (format!("{} {named}", model.list_of(*room).noun()), String::new(), None)
                }
                Line::Elsewhere(action, Elsewhere::Needs(place)) => {
                    (action.title.to_owned(), String::new(), Some((*place).to_owned()))
                }
                Line::Elsewhere(action, Elsewhere::Starts(screen)) => {
                    (action.title.to_owned(), format!("on {}", screen.title()), None)
                }
                Line::Action(action) => {
                    let off = match (action.state)(model) {
                        State::Off(why) => Some(model.keys.fill(why)),
                        _ => None,
                    };
                    let keys = model.keys.all_shown(action);
                    (action.title.to_owned(), keys, off)
                }
            };
            let words = match line {
                Line::Action(action) | Line::Elsewhere(action, _) if action.words.contains(' ') => {
                    action.words
                }
                _ => "",
            };
            let row = Rect { x: inside.x, y, width: inside.width, height: 1 };
            canvas.hits.push((row, Hit::Item(index)));
            let style = if off.is_some() { theme.dim } else { theme.text };
            let width = inside.width.saturating_sub(4);
            let right = match &off {
                Some(why) => bit(format!("{} {why}", theme.glyphs.stop), theme.warn),
                None => bit(keys, theme.key),
            };
            let x = canvas.line_right(inside.right().saturating_sub(1), y, width / 2, &[right]);
            let room = x.saturating_sub(inside.x + 4);
            let used = canvas.text(inside.x + 3, y, room, &Clean::of(title), style);
            if used < 24 && room > 40 && off.is_none() {
                canvas.text(inside.x + 27, y, room - 24, &Clean::of(words), theme.dim);
            }
            if index == at {
                canvas.restyle(row, theme.cursor);
                canvas.text(inside.x + 1, y, 1, &Clean::fixed(theme.glyphs.cursor), theme.cursor);
            }
        }
        if lines.is_empty() && inside.height > 2 {
            let text =
                format!("nothing is called {}; backspace takes letters away", self.input.value().trim());
            let text = Clean::of(format!("{} {text}", theme.glyphs.stop));
            canvas.text(inside.x + 3, inside.y + 2, inside.width.saturating_sub(4), &text, theme.warn);
        }
        let mut all = vec![("enter", "does it"), ("tab", "completes"), ("^r", "history"), ("esc", "closes")];
        if self.input.value().is_empty() {
            all.insert(3, ("Y", "copies the command"));
        }
        let covers = inside.bottom() + 1 >= canvas.hints.y;
        if !covers {
            keys(canvas, inside.x, inside.bottom(), inside.width, &all);
        }
        if inside.height >= 5 && !small && !lines.is_empty() {
            let y = inside.bottom() - 3;
            canvas.rule(inside.x, y, inside.width, &[], &[]);
            let does = match lines.get(at) {
                Some(Line::Action(action)) => action.does.to_owned(),
                Some(Line::List(room, _)) => {
                    format!("Goes to {}, narrowed to what matches.", model.list_of(*room).noun())
                }
                Some(Line::Elsewhere(action, _)) => action.does.to_owned(),
                Some(Line::Record(..)) => "Goes to that record.".to_owned(),
                Some(Line::Context(name)) => format!("Goes to the daemon of the context {name}."),
                None => String::new(),
            };
            let undo = match lines.get(at) {
                Some(Line::Action(action)) => format!("undo: {}", model.keys.fill(action.undo)),
                _ => String::new(),
            };
            let command = lines.get(at).and_then(|line| command(model, line)).unwrap_or(undo);
            let width = inside.width.saturating_sub(2);
            canvas.text(inside.x + 1, y + 1, width, &Clean::of(does), theme.dim);
            canvas.text(inside.x + 1, y + 2, width, &Clean::of(command), theme.strong);
        }
    }
}
