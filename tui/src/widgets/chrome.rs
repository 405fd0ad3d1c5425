//! What surrounds every screen: who and where at the top, what went on and what can be done at the bottom.

use ratatui::layout::Rect;

use super::{
    canvas::{Bit, Canvas, Hit, bit},
    overlay::{Overlay, keys},
    review::Review,
};
use crate::{
    actions::{ACTIONS, Do, State, following},
    look::Theme,
    message::Room,
    model::{Link, Model, Protection, Screen},
    text::{Clean, clock},
};

/// The parts of the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts {
    /// Who and where.
    pub head: Rect,
    /// The screens.
    pub tabs: Rect,
    /// The title of this one.
    pub title: Rect,
    /// Whether what is shown is out of date.
    pub banner: Rect,
    /// The screen itself.
    pub body: Rect,
    /// What went on.
    pub status: Rect,
    /// What can be done.
    pub hints: Rect,
}

/// Cuts the terminal into parts; what there is no room for is left out, the body last.
pub fn parts(model: &Model) -> Parts {
    let (width, height) = model.size;
    let mut y = 0;
    let mut left = height;
    let mut take = |wanted: u16, needed: u16| {
        let lines = if left >= needed { wanted.min(left) } else { 0 };
        let area = Rect { x: 0, y, width, height: lines };
        y += lines;
        left -= lines;
        area
    };
    let head = take(1, 8);
    let tabs = take(1, 12);
    let title = take(1, 3);
    let banner = take(if model.is_offline() { 2 } else { 0 }, 6);
    // two lines below the body, if they leave something of it
    let below = if left >= 8 { 2 } else { u16::from(left >= 3) };
    let body = Rect { x: 0, y, width, height: left - below };
    let y = body.bottom();
    let status = Rect { x: 0, y, width, height: u16::from(below == 2) };
    let hints = Rect { x: 0, y: y + status.height, width, height: u16::from(below >= 1) };
    Parts { head, tabs, title, banner, body, status, hints }
}

/// Cells of the line of the title that are neither title nor facts.
pub const BESIDE_TITLE: usize = 8;

/// The facts that fit into so many cells, parted by dots: those that are wanted least drop out first,
/// one by one.
pub fn fitting(mut facts: Vec<(u8, Bit)>, room: usize, theme: &Theme) -> Vec<Bit> {
    let cells = |facts: &[(u8, Bit)]| facts.iter().map(|(_, bit)| bit.text.width() + 3).sum::<usize>();
    while cells(&facts) > room + 3 {
        let Some(least) = (0..facts.len()).min_by_key(|at| facts[*at].0) else { break };
        facts.remove(least);
    }
    let mut bits = Vec::new();
    for (_, fact) in facts {
        if !bits.is_empty() {
            bits.push(bit(format!(" {} ", theme.glyphs.dot), theme.rule));
        }
        bits.push(fact);
    }
    bits
}

/// Draws all of it but the body.
pub fn draw(canvas: &mut Canvas<'_>, model: &Model, parts: &Parts, title: &[Bit], facts: &[Bit]) {
    if parts.head.height > 0 {
        head(canvas, model, parts.head);
    }
    if parts.tabs.height > 0 {
        tabs(canvas, model, parts.tabs);
    }
    if parts.title.height > 0 {
        canvas.rule(parts.title.x, parts.title.y, parts.title.width, title, facts);
    }
    banner(canvas, model, parts.banner);
    if parts.status.height > 0 {
        status(canvas, model, parts.status);
    }
    if parts.hints.height > 0 {
        hints(canvas, model, parts.hints);
    }
}

fn head(canvas: &mut Canvas<'_>, model: &Model, area: Rect) {
    let theme = canvas.theme;
    let bar = || bit(Clean::of(format!(" {} ", theme.glyphs.lines[1])), theme.rule);
    let (sign, word, style) = match &model.link {
        Link::Unknown => (theme.glyphs.wait, "connecting".to_owned(), theme.warn),
        Link::Live if let Some(silence) = model.silence() => {
            (theme.glyphs.wait, format!("no answer for {} s", silence.as_secs()), theme.warn)
        }
        Link::Live => (theme.glyphs.good, "live".to_owned(), theme.good),
        // since when is said by the banner
        Link::Down { .. } => (theme.glyphs.stop, "offline".to_owned(), theme.bad),
    };
    let rights = match (model.place.protection, model.is_offline()) {
        (Protection::ReadOnly, _) | (_, true) => bit("read-only", theme.warn),
        (Protection::Confirm, _) => bit("protected: asks twice", theme.warn),
        (Protection::Open, _) => bit("read-write", theme.dim),
    };
    let right = [rights, bar(), bit(Clean::of(format!("{sign} {word} ")), style)];
    let x = canvas.line_right(area.right(), area.y, area.width, &right);

    let place = match model.place.name() {
        // the name says it; the address is on the first screen
        Some(name) if area.width < 100 => name.to_owned(),
        Some(name) => format!("{name} {} {}", theme.glyphs.dot, host(&model.place.server)),
        None => host(&model.place.server).to_owned(),
    };
    // where changes are not free, that cannot be overlooked
    let place = match model.place.protection {
        Protection::Open => bit(place, theme.strong),
        _ => bit(format!(" {place} "), theme.banner),
    };
    let mut left = vec![bit(" BURSAR", theme.accent), bar(), place];
    if let Some(who) = &model.who {
        let roles = if who.user.roles.is_empty() { "no role".to_owned() } else { who.user.roles.join(", ") };
        left.extend([bar(), bit(format!("{} ({roles})", who.user.email), theme.text)]);
    }
    canvas.line(area.x, area.y, x.saturating_sub(area.x + 1), &left);
}

/// The part of an address that tells servers apart; that it is not encrypted is worth a word.
fn host(server: &str) -> &str {
    server.strip_prefix("https://").unwrap_or(server)
}

fn tabs(canvas: &mut Canvas<'_>, model: &Model, area: Rect) {
    let theme = canvas.theme;
    let mut x = area.x + 1;
    let all: usize = Screen::ALL.iter().map(|screen| screen.title().len() + 5).sum();
    // where there is no room for all names, the others are their numbers
    let wide = usize::from(area.width) > all + 1;
    for (number, screen) in (1u8..).zip(Screen::ALL) {
        // a statement is behind the accounts
        let behind = model.screen == Screen::Statement && *screen == Screen::Accounts;
        let on = model.screen == *screen || behind;
        let (open, close) = if on { ("[", "]") } else { (" ", " ") };
        let allowed = may_read(model, *screen);
        let style = match (on, allowed) {
            (true, _) => theme.accent,
            (false, true) => theme.dim,
            (false, false) => theme.rule,
        };
        let name = if on || wide { format!(" {}", screen.title()) } else { String::new() };
        let text = Clean::of(format!("{open}{number}{name}{close}"));
        let used = canvas.text(x, area.y, area.right().saturating_sub(x), &text, style);
        canvas.hits.push((Rect { x, width: used, ..area }, Hit::Tab(number)));
        x += used + 1;
    }
    let key = |what| bit(model.keys.key_of(what), theme.key);
    let help = [key(Do::Palette), bit(" command  ", theme.dim), key(Do::Help), bit(" help ", theme.dim)];
    let width = area.right().saturating_sub(x);
    if width > 20 {
        canvas.line_right(area.right(), area.y, width, &help);
    }
}

/// Whether the person signed in may see what is on a screen.
fn may_read(model: &Model, screen: Screen) -> bool {
    use bursar_shared::permission::Permission;
    match screen {
        Screen::Login | Screen::Home => true,
        Screen::Users => model.may(Permission::UsersRead),
        Screen::Sessions => model.may(Permission::SessionsRead),
        Screen::Roles => model.may(Permission::RolesRead),
        Screen::Events => model.may(Permission::EventsRead),
        Screen::Audit => model.may(Permission::AuditRead),
        Screen::Accounts | Screen::Statement => model.may(Permission::AccountsRead),
        Screen::Transfers => model.may(Permission::TransfersRead),
    }
}

fn banner(canvas: &mut Canvas<'_>, model: &Model, area: Rect) {
    let Link::Down { since, next, tries, why } = &model.link else { return };
    let theme = canvas.theme;
    canvas.fill(area, theme.banner);
    let edge = theme.glyphs.edge;
    let lines = [
        format!("{edge} OFFLINE since {}. What you see may be out of date. Changes are off.", clock(*since)),
        format!(
            "{edge} try {tries}, next at {}, {} tries now {} {why}",
            clock(*next),
            model.keys.key_of(Do::Refresh),
            theme.glyphs.dot
        ),
    ];
    for (line, text) in lines.into_iter().enumerate().take(usize::from(area.height)) {
        canvas.text(area.x, area.y + line as u16, area.width, &Clean::of(text), theme.banner);
    }
}

fn status(canvas: &mut Canvas<'_>, model: &Model, area: Rect) {
    let theme = canvas.theme;
    let dot = format!(" {} ", theme.glyphs.dot);
    let mut bits = vec![bit(" ", theme.text)];
    if let Some(flash) = &model.flash {
        let (sign, style) =
            if flash.bad { (theme.glyphs.stop, theme.bad) } else { (theme.glyphs.mark, theme.good) };
        bits.push(bit(format!("{sign} {}", flash.text), style));
    } else if let Some((key, _)) = model.chord {
        bits.push(bit(format!("{key}… "), theme.accent));
        for (second, action) in following(model, key) {
            bits.push(bit(format!(" {second} "), theme.key));
            bits.push(bit(action.title, theme.dim));
        }
    } else if let Some(list) = model.list() {
        let [marks, changed, _] = list.counts();
        let mut words: Vec<Bit> = Vec::new();
        if marks > 0 {
            words.push(bit(format!("{marks} marked"), theme.mark));
        }
        if changed > 0 {
            let text = format!("{changed} changed since read ({})", theme.glyphs.changed);
            words.push(bit(text, theme.warn));
        }
        words.extend(newer(model));
        words.extend(unanswered(model));
        for (at, word) in words.into_iter().enumerate() {
            if at > 0 {
                bits.push(bit(Clean::of(&dot), theme.dim));
            }
            bits.push(word);
        }
        if newer(model).is_some() {
            canvas.hits.push((area, Hit::Newer));
        }
    }
    // a word about something else must not hide that there is more to see
    let beside = newer(model).filter(|_| model.flash.is_some());
    let room = beside.as_ref().map_or(0, |word| u16::try_from(word.text.width()).unwrap_or(0) + 2);
    canvas.line(area.x, area.y, area.width.saturating_sub(room), &bits);
    if let Some(word) = beside {
        canvas.line_right(area.right().saturating_sub(1), area.y, room, &[word]);
    }
}

/// Changes that were left without an answer, and the key that opens them.
fn unanswered(model: &Model) -> Option<Bit> {
    if matches!(model.overlay, Some(Overlay::Review(_))) {
        return None;
    }
    let key = model.keys.key_of(Do::Unanswered);
    let open = Review::open_titles(model).len();
    let text = match (open, model.unanswered.len()) {
        (0, 0) => return None,
        (0, _) => format!("{} a change was refused ({key})", model.theme.glyphs.stop),
        (open, _) => format!("{} {} ({key})", model.theme.glyphs.stop, Review::count(open)),
    };
    Some(bit(text, model.theme.warn))
}

/// How many rows came to the list since it was read.
fn newer(model: &Model) -> Option<Bit> {
    let list = model.list().filter(|list| list.room() != Room::Home)?;
    let key = model.keys.key_of(Do::TakeIn);
    list.newer().map(|count| bit(format!("{count}: press {key}"), model.theme.warn))
}

fn hints(canvas: &mut Canvas<'_>, model: &Model, area: Rect) {
    if model.overlay.is_some() {
        // its own keys stand here
        return;
    }
    if model.list().is_some_and(|list| list.bar().is_some()) {
        let all = [("enter", "narrows the list"), ("tab", "completes"), ("^u", "empties"), ("esc", "closes")];
        keys(canvas, area.x + 1, area.y, area.width.saturating_sub(1), &all);
        return;
    }
    let theme = canvas.theme;
    let mut chosen: Vec<_> =
        ACTIONS.iter().filter(|action| action.hint > 0 && (action.state)(model) == State::On).collect();
    // what has no key is found in the palette
    chosen.retain(|action| !model.keys.of(action).is_empty());
    chosen.sort_by_key(|action| std::cmp::Reverse(action.hint));
    let mut room = usize::from(area.width).saturating_sub(1);
    // the most wanted that fit, then in the order of the table, so that a key keeps its place
    chosen.retain(|action| {
        let cells = model.keys.shown(action).chars().count() + action.title.len() + 3;
        let fits = cells <= room;
        if fits {
            room -= cells;
        }
        fits
    });
    chosen.sort_by_key(|action| ACTIONS.iter().position(|other| other.what == action.what));
    let mut x = area.x + 1;
    for action in chosen {
        let bits = [
            bit(model.keys.shown(action), theme.key),
            bit(" ", theme.text),
            bit(action.title, theme.dim),
            bit("  ", theme.text),
        ];
        let used = canvas.line(x, area.y, area.right().saturating_sub(x), &bits);
        canvas.hits.push((Rect { x, width: used.saturating_sub(2), ..area }, Hit::Hint(action.what)));
        x += used;
    }
}

/// What can follow the first of two keys, once it was waited for.
pub fn which(canvas: &mut Canvas<'_>, model: &Model) {
    let Some((key, true)) = model.chord else { return };
    let theme = canvas.theme;
    let pairs = following(model, key);
    let parts = parts(model);
    let wide = pairs.iter().map(|(_, action)| action.title.len() + 8).max().unwrap_or(20).max(20);
    let width = u16::try_from(wide + 4).unwrap_or(u16::MAX).min(parts.body.width);
    let height = u16::try_from(pairs.len() + 2).unwrap_or(u16::MAX).min(parts.body.height);
    let area = Rect {
        x: parts.body.right().saturating_sub(width + 1),
        y: parts.body.bottom().saturating_sub(height),
        width,
        height,
    };
    let inside = canvas.frame(area, &[bit(format!("{key}…"), theme.accent)], &[]);
    for ((second, action), y) in pairs.into_iter().zip(inside.y..inside.bottom()) {
        let off = matches!((action.state)(model), State::Off(_));
        let style = if off { theme.rule } else { theme.text };
        let line = [bit(format!(" {second:<4}"), theme.key), bit(action.title, style)];
        canvas.line(inside.x, y, inside.width, &line);
        canvas.hits.push((Rect { y, height: 1, ..inside }, Hit::Hint(action.what)));
    }
}
