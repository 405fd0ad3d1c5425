//! Draws the whole model: pure, the same model gives the same cells.

use ratatui::{buffer::Buffer, layout::Rect};

use crate::{
    model::{Model, Screen},
    screens::{home, listed, login, statement},
    text::Clean,
    widgets::{
        canvas::{Canvas, Hit},
        chrome, overlay,
    },
};

/// What drawing found out.
#[derive(Debug, Default)]
pub struct Drawn {
    /// Where clicks mean something.
    pub hits: Vec<(Rect, Hit)>,
    /// Where the terminal's cursor is shown.
    pub caret: Option<(u16, u16)>,
}

/// Draws.
pub fn draw(model: &Model, buffer: &mut Buffer) -> Drawn {
    let mut canvas = Canvas::new(buffer, model.theme);
    let area = canvas.area();
    canvas.fill(area, model.theme.text);
    if area.width < 20 || area.height < 4 {
        let text = Clean::of(format!("BURSAR needs 60x16, this is {}x{}", area.width, area.height));
        for (line, text) in text.wrap(usize::from(area.width.max(1))).iter().enumerate() {
            let y = u16::try_from(line).unwrap_or(u16::MAX).saturating_add(area.y);
            canvas.text(area.x, y, area.width, text, model.theme.warn);
        }
        return Drawn::default();
    }
    canvas.hints = match model.screen {
        Screen::Login => Rect { y: area.bottom() - 1, height: 1, ..area },
        _ => chrome::parts(model).hints,
    };
    match model.screen {
        Screen::Login => login::draw(&mut canvas, model),
        Screen::Home => home::draw(&mut canvas, model),
        Screen::Statement => statement::draw(&mut canvas, model),
        _ => {
            if let Some(list) = model.list() {
                listed::draw(&mut canvas, model, list);
            }
        }
    }
    chrome::which(&mut canvas, model);
    if model.overlay.is_some() {
        canvas.caret = None;
        overlay::draw(&mut canvas, model);
    }
    Drawn { hits: canvas.hits, caret: canvas.caret }
}
