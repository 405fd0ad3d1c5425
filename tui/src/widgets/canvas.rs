//! The only way to the screen's cells: takes `Clean` text, clips at every edge.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Color, Style},
};

use crate::{look::Theme, text::Clean};

/// A piece of a line: text and how it looks.
#[derive(Debug, Clone)]
pub struct Bit {
    /// The text.
    pub text: Clean,
    /// How it looks.
    pub style: Style,
}

/// A piece of a line.
pub fn bit(text: impl Into<Clean>, style: Style) -> Bit {
    Bit { text: text.into(), style }
}

/// What a click at a place means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hit {
    /// The screen of this number.
    Tab(u8),
    /// The row at this place of the list.
    Row(usize),
    /// The head of this column.
    Head(usize),
    /// The field of this number.
    Field(u8),
    /// The button of this number in what lies over the screen.
    Button(u8),
    /// The word that there are newer rows.
    Newer,
    /// The item of this number in what lies over the screen.
    Item(usize),
    /// Inside what lies over the screen, where nothing happens.
    Inside,
    /// The action of a hint.
    Hint(crate::actions::Do),
    /// The key of a hint for what lies over the screen.
    Press(crate::keys::Key),
}

/// Cells to draw on.
pub struct Canvas<'b> {
    buffer: &'b mut Buffer,
    /// How things look.
    pub theme: Theme,
    /// Where clicks mean something; the last one that fits counts.
    pub hits: Vec<(Rect, Hit)>,
    /// Where the terminal's cursor is shown.
    pub caret: Option<(u16, u16)>,
    /// The line at the bottom, for what can be done.
    pub hints: Rect,
}

impl<'b> Canvas<'b> {
    /// Draws on these cells.
    pub fn new(buffer: &'b mut Buffer, theme: Theme) -> Self {
        Self { buffer, theme, hits: Vec::new(), caret: None, hints: Rect::ZERO }
    }

    /// All cells.
    pub fn area(&self) -> Rect {
        self.buffer.area
    }

    /// Fills an area with blanks of a style.
    pub fn fill(&mut self, area: Rect, style: Style) {
        let area = area.intersection(self.buffer.area);
        for y in area.top()..area.bottom() {
            for x in area.left()..area.right() {
                if let Some(cell) = self.buffer.cell_mut((x, y)) {
                    cell.reset();
                    cell.set_style(style);
                }
            }
        }
    }

    /// Changes how an area looks and leaves what it says.
    pub fn restyle(&mut self, area: Rect, style: Style) {
        self.buffer.set_style(area.intersection(self.buffer.area), style);
    }

    /// Writes text into at most `width` cells; the cells it took.
    pub fn text(&mut self, x: u16, y: u16, width: u16, text: &Clean, style: Style) -> u16 {
        let area = self.buffer.area;
        if y < area.top() || y >= area.bottom() || x < area.left() || x >= area.right() || width == 0 {
            return 0;
        }
        let room = width.min(area.right() - x);
        let glyphs = self.theme.glyphs;
        let text = if glyphs.ascii && !text.as_str().is_ascii() {
            // the terminal was said to know no more than ASCII: a stand-in for each letter it lacks
            let plain = text.as_str().replace('…', "...");
            Clean::of(plain.replace(|letter: char| !letter.is_ascii(), "?"))
        } else {
            text.clone()
        };
        let text = text.fit(usize::from(room), glyphs.ellipsis);
        // text without a colour of its own must not take that of the line it is written over
        let style = Style { fg: style.fg.or(Some(Color::Reset)), ..style };
        let (end, _) = self.buffer.set_stringn(x, y, text.as_str(), usize::from(room), style);
        end.saturating_sub(x)
    }

    /// Writes the pieces of a line one after the other; the cells they took.
    pub fn line(&mut self, x: u16, y: u16, width: u16, bits: &[Bit]) -> u16 {
        let mut used = 0;
        for bit in bits {
            used += self.text(x.saturating_add(used), y, width.saturating_sub(used), &bit.text, bit.style);
        }
        used
    }

    /// Writes the pieces so that they end at `right` (the first cell after them); the cell they begin at.
    pub fn line_right(&mut self, right: u16, y: u16, width: u16, bits: &[Bit]) -> u16 {
        let needed: usize = bits.iter().map(|bit| bit.text.width()).sum();
        let needed = u16::try_from(needed).unwrap_or(u16::MAX).min(width);
        let x = right.saturating_sub(needed);
        self.line(x, y, needed, bits);
        x
    }

    /// A line across, with a title at its left and facts at its right.
    pub fn rule(&mut self, x: u16, y: u16, width: u16, title: &[Bit], facts: &[Bit]) {
        let theme = self.theme;
        let dash = Clean::fixed(theme.glyphs.lines[0]);
        for at in x..x.saturating_add(width) {
            self.text(at, y, 1, &dash, theme.rule);
        }
        let cells = |bits: &[Bit]| bits.iter().map(|bit| bit.text.width()).sum::<usize>();
        let space = |bits: &[Bit]| {
            let mut all = vec![bit(" ", theme.text)];
            all.extend(bits.iter().cloned());
            all.push(bit(" ", theme.text));
            all
        };
        if !title.is_empty() {
            self.line(x + 1, y, width.saturating_sub(2), &space(title));
        }
        let room = usize::from(width).saturating_sub(cells(title) + 8);
        if !facts.is_empty() && cells(facts) <= room {
            let right = x.saturating_add(width).saturating_sub(1);
            self.line_right(right, y, width.saturating_sub(2), &space(facts));
        }
    }

    /// A framed, empty box with a title; the area inside.
    pub fn frame(&mut self, area: Rect, title: &[Bit], facts: &[Bit]) -> Rect {
        let area = area.intersection(self.buffer.area);
        let theme = self.theme;
        self.fill(area, theme.text);
        self.hits.push((area, Hit::Inside));
        if area.width < 2 || area.height < 2 {
            return Rect { width: 0, height: 0, ..area };
        }
        let [_, down, corners @ ..] = theme.glyphs.lines;
        let (right, bottom) = (area.right() - 1, area.bottom() - 1);
        self.rule(area.x, area.y, area.width, title, facts);
        self.rule(area.x, bottom, area.width, &[], &[]);
        for y in area.y + 1..bottom {
            for x in [area.x, right] {
                self.text(x, y, 1, &Clean::fixed(down), theme.rule);
            }
        }
        let places = [(area.x, area.y), (right, area.y), (right, bottom), (area.x, bottom)];
        for ((x, y), corner) in places.into_iter().zip(corners) {
            self.text(x, y, 1, &Clean::fixed(corner), theme.rule);
        }
        Rect { x: area.x + 1, y: area.y + 1, width: area.width - 2, height: area.height - 2 }
    }

    /// What a click at this place means.
    pub fn hit(hits: &[(Rect, Hit)], x: u16, y: u16) -> Option<Hit> {
        hits.iter().rev().find(|(area, _)| area.contains((x, y).into())).map(|(_, hit)| *hit)
    }
}
