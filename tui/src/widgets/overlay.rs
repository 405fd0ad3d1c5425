//! What lies over a screen: one thing at a time, closed by `esc`.

use ratatui::layout::Rect;

use super::{
    canvas::{Canvas, Hit, bit},
    choose::Choose,
    conflict::Conflict,
    export::Export,
    form::Form,
    help::Help,
    outcome::{Results, Token},
    palette::Palette,
    review::Review,
    signing_out::SigningOut,
    trouble::Shown,
};
use crate::{
    keys::{Code, Key},
    message::Task,
    model::Model,
    update,
};

/// What lies over the screen.
pub enum Overlay {
    /// The keys.
    Help(Help),
    /// Every action by its words.
    Palette(Palette),
    /// A choice.
    Choose(Choose),
    /// Fields to be filled in.
    Form(Box<Form>),
    /// A change before it is made.
    Review(Box<Review>),
    /// Two people changed the same.
    Conflict(Box<Conflict>),
    /// What became of each of many.
    Results(Results),
    /// A secret that is shown once.
    Token(Token),
    /// A list on its way into a file.
    Export(Export),
    /// What went wrong.
    Trouble(Shown),
    /// Whether the session is to end.
    SigningOut(SigningOut),
}

/// A key while something lies over the screen. `held` is a key that is held down: it agrees to nothing.
pub fn key(model: &mut Model, key: Key, held: bool) -> Vec<Task> {
    let closes = key == Key::plain(Code::Esc) || (key.ctrl && key.code == Code::Char('g'));
    if key.ctrl && key.code == Code::Char('l') {
        model.repaint = true;
        return Vec::new();
    }
    if key.ctrl && key.code == Code::Char('c') {
        return update::perform(model, crate::actions::Do::Quit);
    }
    match &mut model.overlay {
        // these have something to lose, or to say
        Some(Overlay::Form(_)) => Form::key(model, key),
        Some(Overlay::Review(_)) => Review::key(model, key, held),
        Some(Overlay::Conflict(_)) => Conflict::key(model, key),
        Some(Overlay::Export(_)) => Export::key(model, key),
        Some(Overlay::Token(_)) => Token::key(model, key),
        Some(Overlay::Results(_)) => Results::key(model, key),
        Some(Overlay::Trouble(_)) => Shown::key(model, key),
        Some(Overlay::SigningOut(_)) => SigningOut::key(model, key, held),
        Some(Overlay::Choose(_)) if closes => Choose::close(model),
        _ if closes => {
            model.overlay = None;
            Vec::new()
        }
        Some(Overlay::Help(help)) => {
            let mut scroll = help.scroll;
            if Help::key(&mut scroll, key) {
                model.overlay = None;
            } else {
                scroll = scroll.min(Help::most(model));
                model.overlay = Some(Overlay::Help(Help { scroll }));
            }
            Vec::new()
        }
        Some(Overlay::Palette(_)) => super::palette::key(model, key),
        Some(Overlay::Choose(_)) => Choose::key(model, key),
        None => Vec::new(),
    }
}

/// The wheel while something lies over the screen: moves about in it, and presses nothing.
pub fn wheel(model: &mut Model, key: Key) -> Vec<Task> {
    match &model.overlay {
        Some(Overlay::Form(_)) | None => Vec::new(),
        Some(_) => self::key(model, key, true),
    }
}

/// Pasted text goes into what is typed in, and agrees to nothing.
pub fn paste(model: &mut Model, text: &str) {
    match &mut model.overlay {
        Some(Overlay::Palette(palette)) => palette.paste(text),
        Some(Overlay::Form(form)) => form.paste(text),
        Some(Overlay::Review(_)) => Review::paste(model, text),
        Some(Overlay::Export(export)) => export.paste(text),
        _ => {}
    }
}

/// So many rows of an export are written; whether that is seen.
pub fn progress(model: &mut Model, rows: u64) -> bool {
    match &mut model.overlay {
        Some(Overlay::Export(export)) => export.progress(rows),
        _ => false,
    }
}

/// A click while something lies over the screen.
pub fn click(model: &mut Model, hit: Option<Hit>) -> Vec<Task> {
    match (hit, &mut model.overlay) {
        (Some(Hit::Item(at)), Some(Overlay::Choose(_))) => Choose::click(model, at),
        (Some(Hit::Item(at)), Some(Overlay::Palette(palette))) => {
            palette.at = at;
            super::palette::key(model, Key::plain(Code::Enter))
        }
        (Some(Hit::Item(at)), Some(Overlay::Conflict(conflict))) => {
            conflict.turn(at);
            Vec::new()
        }
        (Some(Hit::Field(at)), Some(Overlay::Form(form))) => {
            form.to(usize::from(at));
            Vec::new()
        }
        (Some(Hit::Button(at)), Some(Overlay::Review(_))) => Review::press(model, at),
        (Some(Hit::Button(at)), Some(Overlay::SigningOut(_))) => SigningOut::press(model, at),
        (Some(Hit::Field(at)), Some(Overlay::Review(review))) => {
            review.to_field(at);
            Vec::new()
        }
        (Some(Hit::Press(pressed)), Some(_)) => key(model, pressed, false),
        (Some(Hit::Inside), _) => Vec::new(),
        // beside it: as esc, but nothing typed is lost by a slip of the hand
        (_, Some(Overlay::Choose(_))) => Choose::close(model),
        (_, Some(Overlay::Help(_) | Overlay::Palette(_) | Overlay::Trouble(_) | Overlay::SigningOut(_))) => {
            model.overlay = None;
            Vec::new()
        }
        (_, Some(Overlay::Review(_))) => {
            Review::close(model);
            Vec::new()
        }
        _ => Vec::new(),
    }
}

/// Where boxes lie: above what went on and what can be done, where there is room for all three.
pub fn room(canvas: &Canvas<'_>) -> Rect {
    let whole = canvas.area();
    match canvas.hints.y.checked_sub(1) {
        Some(status) if whole.height >= 14 && canvas.hints.height > 0 => Rect { height: status, ..whole },
        _ => whole,
    }
}

/// An area of this size in the middle of another.
pub fn middle(area: Rect, width: u16, height: u16) -> Rect {
    let (width, height) = (width.min(area.width), height.min(area.height));
    Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height }
}

/// Draws what lies over the screen.
pub fn draw(canvas: &mut Canvas<'_>, model: &Model) {
    // what could be clicked beside it is as good as covered
    canvas.hits.clear();
    match &model.overlay {
        Some(Overlay::Help(help)) => help.draw(canvas, model),
        Some(Overlay::Palette(palette)) => palette.draw(canvas, model),
        Some(Overlay::Choose(choose)) => choose.draw(canvas),
        Some(Overlay::Form(form)) => form.draw(canvas, model),
        Some(Overlay::Review(review)) => review.draw(canvas, model),
        Some(Overlay::Conflict(conflict)) => conflict.draw(canvas),
        Some(Overlay::Results(results)) => results.draw(canvas),
        Some(Overlay::Token(token)) => token.draw(canvas),
        Some(Overlay::Export(export)) => export.draw(canvas, model),
        Some(Overlay::Trouble(shown)) => shown.draw(canvas, model),
        Some(Overlay::SigningOut(asked)) => asked.draw(canvas, model),
        None => {}
    }
}

/// Writes the keys of a box, `enter chooses  esc closes`: on the line at the bottom of the screen, where
/// those of the screen stand else, or inside the box where it covers that line.
pub fn keys(canvas: &mut Canvas<'_>, x: u16, y: u16, width: u16, keys: &[(&'static str, &str)]) {
    let theme = canvas.theme;
    let below = canvas.hints;
    let place = if below.height > 0 && y + 1 < below.y {
        canvas.fill(below, theme.text);
        Rect { x: below.x + 1, width: below.width.saturating_sub(1), ..below }
    } else {
        Rect { x: x.saturating_sub(1), y, width: width.saturating_add(2), height: 1 }
    };
    let mut x = place.x;
    for (key, does) in keys {
        // one that would be cut off is left out, and those after it
        let cells = u16::try_from(key.chars().count() + does.chars().count() + 1).unwrap_or(u16::MAX);
        if x.saturating_add(cells) > place.right() {
            break;
        }
        let bits = [bit(*key, theme.key), bit(format!(" {does}"), theme.dim)];
        canvas.line(x, place.y, place.right() - x, &bits);
        if let Some(key) = Key::read(key) {
            canvas.hits.push((Rect { x, width: cells, ..place }, Hit::Press(key)));
        }
        x = x.saturating_add(cells + 2);
    }
}
