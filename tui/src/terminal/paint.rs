//! From the cells of one frame to those of the next in few bytes: what did not change is stepped over,
//! what only moved up or down is scrolled by the terminal itself.
//!
//! ratatui's own backend writes a position and a whole style for every run of changed cells, and a list
//! that scrolls by one row whole again; over a slow line that is what one waits for.

use ratatui::{
    buffer::{Buffer, Cell},
    layout::Rect,
    style::{Color, Modifier},
};
use unicode_width::UnicodeWidthStr as _;

/// Rows that a list may have scrolled by in one frame.
const FAR: u16 = 3;
/// A frame of fewer bytes is not worth looking for a shorter one.
const SMALL: usize = 300;
/// Unchanged cells that are written again rather than stepped over.
const GAP: u16 = 3;
/// Blanks that are erased rather than written.
const BLANKS: u16 = 9;

/// What the terminal shows, and how it would write now.
#[derive(Debug)]
pub struct Painter {
    shown: Buffer,
    pen: Pen,
}

/// Where the terminal stands, as far as it is known, and how it would write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pen {
    at: Option<(u16, u16)>,
    fg: Color,
    bg: Color,
    modifier: Modifier,
    cursor: bool,
}

impl Pen {
    const fn new() -> Self {
        Self { at: None, fg: Color::Reset, bg: Color::Reset, modifier: Modifier::empty(), cursor: true }
    }
}

impl Default for Painter {
    fn default() -> Self {
        Self::new()
    }
}

impl Painter {
    /// Nothing is known of the terminal yet.
    pub fn new() -> Self {
        Self { shown: Buffer::empty(Rect::ZERO), pen: Pen::new() }
    }

    /// Writes what makes the terminal show these cells; all of them when `whole`.
    pub fn paint(&mut self, next: &Buffer, whole: bool, caret: Option<(u16, u16)>, out: &mut Vec<u8>) {
        if whole || self.shown.area != next.area {
            out.extend_from_slice(b"\x1b[0m\x1b[2J");
            self.shown = Buffer::empty(next.area);
            self.pen = Pen { cursor: self.pen.cursor, ..Pen::new() };
        }
        if self.pen.cursor && caret.is_none() {
            out.extend_from_slice(b"\x1b[?25l");
            self.pen.cursor = false;
        }
        let mut plain = Vec::new();
        let mut pen = self.pen;
        difference(&self.shown, next, &mut pen, &mut plain);
        if plain.len() > SMALL {
            for block in moved(&self.shown, next) {
                let (scrolled, moved) = self.scrolled(next, block);
                if scrolled.len() < plain.len() {
                    (plain, pen) = (scrolled, moved);
                }
            }
        }
        out.extend_from_slice(&plain);
        self.pen = pen;
        if let Some((x, y)) = caret {
            go(&mut self.pen, x, y, out);
            if !self.pen.cursor {
                out.extend_from_slice(b"\x1b[?25h");
                self.pen.cursor = true;
            }
        }
        self.shown.clone_from(next);
    }

    /// The same by letting the terminal scroll a block of lines first.
    fn scrolled(&self, next: &Buffer, (by, top, bottom): (i16, u16, u16)) -> (Vec<u8>, Pen) {
        let mut out = Vec::new();
        let mut pen = self.pen;
        // the lines that come in are blank in the present background
        restyle(&mut pen, Color::Reset, Color::Reset, Modifier::empty(), &mut out);
        let lines = by.unsigned_abs();
        // lines are taken out or put in at the top of the region: the older consoles know these, and not
        // the sequences that scroll
        let way = if by > 0 { 'M' } else { 'L' };
        let (first, last) = (top + 1, bottom + 1);
        out.extend(format!("\x1b[{first};{last}r\x1b[{first}H\x1b[{lines}{way}\x1b[r").bytes());
        pen.at = Some((0, 0));
        let mut shown = self.shown.clone();
        let width = next.area.width;
        for y in top..=bottom {
            let from = i32::from(y) + i32::from(by);
            for x in 0..width {
                let cell = match u16::try_from(from) {
                    Ok(from) if (top..=bottom).contains(&from) => self.shown[(x, from)].clone(),
                    _ => Cell::default(),
                };
                shown[(x, y)] = cell;
            }
        }
        difference(&shown, next, &mut pen, &mut out);
        (out, pen)
    }
}

/// Blocks of lines that seem to have moved: by how many (up when positive), the first and the last line.
/// The one where most is the same, and all from the first to the last where anything is: beside a list
/// that moved may stand what did not.
fn moved(shown: &Buffer, next: &Buffer) -> Vec<(i16, u16, u16)> {
    let Rect { width, height, .. } = next.area;
    let same = |y: u16, from: u16| (0..width).filter(|x| next[(*x, y)] == shown[(*x, from)]).count();
    let mut best: Option<(usize, i16, u16, u16)> = None;
    let mut widest = (0, 0, 0);
    for by in (1..=FAR).flat_map(|by| [by.cast_signed(), -by.cast_signed()]) {
        let mut run: Option<(usize, u16)> = None;
        let mut all: Option<(u16, u16)> = None;
        let mut found = false;
        for y in 0..=height {
            let from = y.checked_add_signed(by).filter(|from| y < height && *from < height);
            let gain = from.map_or(0, |from| same(y, from).saturating_sub(same(y, y)));
            if gain > 0 {
                all = Some((all.map_or(y, |(first, _)| first), y));
            }
            run = match (run, gain) {
                (None, 0) => None,
                (None, gain) => Some((gain, y)),
                (Some((sum, first)), gain) if gain > 0 => Some((sum + gain, first)),
                (Some((sum, first)), _) => {
                    if best.is_none_or(|(most, ..)| sum > most) {
                        let (first, last) = with_edges(by, first, y - 1, height);
                        best = Some((sum, by, first, last));
                        found = true;
                    }
                    None
                }
            };
        }
        if let Some((first, last)) = all.filter(|_| found) {
            let (first, last) = with_edges(by, first, last, height);
            widest = (by, first, last);
        }
    }
    let mut blocks: Vec<_> = best.map(|(_, by, first, last)| (by, first, last)).into_iter().collect();
    if !blocks.contains(&widest) {
        blocks.push(widest);
    }
    blocks.retain(|(_, first, last)| first < last);
    blocks
}

/// The lines that are scrolled away belong to the block.
fn with_edges(by: i16, first: u16, last: u16, height: u16) -> (u16, u16) {
    let beyond = |line: u16| line.saturating_add_signed(by).min(height - 1);
    (first.min(beyond(first)), last.max(beyond(last)))
}

/// Whether a cell is the second half of the letter before it.
fn is_covered(buffer: &Buffer, x: u16, y: u16) -> bool {
    x > 0 && buffer[(x - 1, y)].symbol().width() > 1 && !is_covered(buffer, x - 1, y)
}

fn is_plain(cell: &Cell) -> bool {
    cell.symbol().len() == 1
}

/// Modifiers that show on a blank, too.
const ON_BLANKS: Modifier = Modifier::UNDERLINED.union(Modifier::REVERSED).union(Modifier::CROSSED_OUT);

/// Whether only the paper of a cell is seen.
fn is_blank(cell: &Cell) -> bool {
    cell.symbol() == " " && !cell.modifier.intersects(ON_BLANKS)
}

/// Letters that are written one after the other in one style.
struct Run {
    at: (u16, u16),
    fg: Color,
    bg: Color,
    modifier: Modifier,
    /// It has blanks alone, so of its style only the paper counts.
    blank: bool,
    bytes: Vec<u8>,
    /// Where the terminal stands afterwards, if that is sure.
    end: Option<(u16, u16)>,
}

impl Run {
    fn new(at: (u16, u16), cell: &Cell) -> Self {
        let (fg, bg, modifier) = (cell.fg, cell.bg, cell.modifier);
        Self { at, fg, bg, modifier, blank: is_blank(cell), bytes: Vec::new(), end: Some(at) }
    }

    /// Blanks that are erased: the terminal stays where it is.
    fn erased(at: (u16, u16), cell: &Cell, how: String) -> Self {
        Self { bytes: how.into_bytes(), ..Self::new(at, cell) }
    }

    /// Whether a cell can be written in its style.
    fn takes(&self, cell: &Cell) -> bool {
        if self.bg != cell.bg {
            return false;
        }
        match (self.blank, is_blank(cell)) {
            (_, true) => !self.modifier.intersects(ON_BLANKS),
            (true, false) => !cell.modifier.intersects(ON_BLANKS),
            (false, false) => self.fg == cell.fg && self.modifier == cell.modifier,
        }
    }

    /// Whether these can be written in its style, one after the other: the first letter decides for blanks.
    fn takes_all<'a>(&self, mut cells: impl Iterator<Item = &'a Cell>) -> bool {
        let mut like = Self { bytes: Vec::new(), ..*self };
        cells.all(|cell| {
            let takes = like.takes(cell);
            like.dress(cell);
            takes
        })
    }

    fn dress(&mut self, cell: &Cell) {
        if self.blank && !is_blank(cell) {
            (self.fg, self.modifier, self.blank) = (cell.fg, cell.modifier, false);
        }
    }

    fn add(&mut self, cell: &Cell) {
        self.dress(cell);
        self.bytes.extend_from_slice(cell.symbol().as_bytes());
    }
}

/// What differs, in runs, line by line.
fn runs(shown: &Buffer, next: &Buffer) -> Vec<Run> {
    let Rect { width, height, .. } = next.area;
    let mut runs: Vec<Run> = Vec::new();
    for y in 0..height {
        let differs =
            |x: u16| next[(x, y)] != shown[(x, y)] || is_covered(next, x, y) != is_covered(shown, x, y);
        let mut x = 0;
        // the run that what comes next may belong to
        let mut open: Option<Run> = None;
        while x < width {
            if !differs(x) || is_covered(next, x, y) {
                x += 1;
                continue;
            }
            let cell = &next[(x, y)];
            let blanks = (x..width)
                .take_while(|at| {
                    let other = &next[(*at, y)];
                    is_blank(other) && other.bg == cell.bg && !is_covered(next, *at, y)
                })
                .count() as u16;
            if blanks > 3 && x + blanks == width {
                runs.extend(open.take());
                runs.push(Run::erased((x, y), cell, "\x1b[K".to_owned()));
                break;
            }
            if blanks > BLANKS {
                runs.extend(open.take());
                runs.push(Run::erased((x, y), cell, format!("\x1b[{blanks}X")));
                x += blanks;
                continue;
            }
            // a short way over what is there already is written, not stepped over
            let joins = open.as_ref().is_some_and(|run| {
                let end = run.end.map_or(u16::MAX, |(end, _)| end);
                let mut gap = end..x;
                end <= x
                    && x - end <= GAP
                    && gap.all(|at| is_plain(&next[(at, y)]))
                    && run.takes_all((end..=x).map(|at| &next[(at, y)]))
            });
            if !joins {
                runs.extend(open.take());
            }
            let run = open.get_or_insert_with(|| Run::new((x, y), cell));
            for gap in run.end.map_or(x, |(end, _)| end)..x {
                run.add(&next[(gap, y)]);
            }
            run.add(cell);
            let wide = cell.symbol().width().max(1) as u16;
            x += wide;
            // the last column keeps the terminal where it is, and of rare letters it has its own opinion
            let sure = x < width && (is_plain(cell) || (wide == 1 && cell.symbol().chars().count() == 1));
            run.end = sure.then_some((x, y));
            if !sure {
                runs.extend(open.take());
            }
        }
        runs.extend(open.take());
    }
    runs
}

/// Writes what differs: line by line, or all of one style after the other, whichever is shorter.
fn difference(shown: &Buffer, next: &Buffer, pen: &mut Pen, out: &mut Vec<u8>) {
    let mut runs = runs(shown, next);
    let write = |runs: &[Run]| {
        let (mut bytes, mut pen) = (Vec::new(), *pen);
        for run in runs {
            go(&mut pen, run.at.0, run.at.1, &mut bytes);
            if !(run.blank && pen.bg == run.bg && !pen.modifier.intersects(ON_BLANKS)) {
                restyle(&mut pen, run.fg, run.bg, run.modifier, &mut bytes);
            }
            bytes.extend_from_slice(&run.bytes);
            pen.at = run.end;
        }
        (bytes, pen)
    };
    let mut best = write(&runs);
    let mut styles: Vec<(Color, Color, Modifier)> = Vec::new();
    let mut style_of = |run: &Run| {
        let style = (run.fg, run.bg, run.modifier);
        styles.iter().position(|known| *known == style).unwrap_or_else(|| {
            styles.push(style);
            styles.len() - 1
        })
    };
    runs.sort_by_cached_key(|run| style_of(run));
    let grouped = write(&runs);
    if grouped.0.len() < best.0.len() {
        best = grouped;
    }
    out.extend_from_slice(&best.0);
    *pen = best.1;
}

/// Moves the terminal's cursor by the shortest way.
fn go(pen: &mut Pen, x: u16, y: u16, out: &mut Vec<u8>) {
    match pen.at {
        Some(at) if at == (x, y) => return,
        Some((from, line)) if line == y && x > from => match x - from {
            1 => out.extend_from_slice(b"\x1b[C"),
            cells => out.extend(format!("\x1b[{cells}C").bytes()),
        },
        Some((from, line)) if from == x && y > line => match y - line {
            1 => out.extend_from_slice(b"\x1b[B"),
            lines => out.extend(format!("\x1b[{lines}B").bytes()),
        },
        _ if x == 0 => out.extend(format!("\x1b[{}H", y + 1).bytes()),
        _ => out.extend(format!("\x1b[{};{}H", y + 1, x + 1).bytes()),
    }
    pen.at = Some((x, y));
}

/// What each modifier is switched on and off by.
const MODIFIERS: [(Modifier, u8, u8); 6] = [
    (Modifier::BOLD, 1, 22),
    (Modifier::DIM, 2, 22),
    (Modifier::ITALIC, 3, 23),
    (Modifier::UNDERLINED, 4, 24),
    (Modifier::REVERSED, 7, 27),
    (Modifier::CROSSED_OUT, 9, 29),
];

/// Makes the terminal write in a style, by what differs from the present one.
fn restyle(pen: &mut Pen, fg: Color, bg: Color, wanted: Modifier, out: &mut Vec<u8>) {
    let mut codes: Vec<String> = Vec::new();
    let gone = pen.modifier - wanted;
    let mut kept = pen.modifier;
    for (modifier, _, off) in MODIFIERS {
        if gone.contains(modifier) {
            codes.push(off.to_string());
            kept -= modifier;
            if off == 22 {
                kept -= Modifier::BOLD | Modifier::DIM;
            }
        }
    }
    for (modifier, on, _) in MODIFIERS {
        if (wanted - kept).contains(modifier) {
            codes.push(on.to_string());
        }
    }
    if pen.fg != fg {
        codes.push(colour(fg, 30));
    }
    if pen.bg != bg {
        codes.push(colour(bg, 40));
    }
    (pen.fg, pen.bg, pen.modifier) = (fg, bg, wanted);
    if codes.is_empty() {
        return;
    }
    let plain = pen.fg == Color::Reset && pen.bg == Color::Reset && pen.modifier.is_empty();
    let text = if plain { String::new() } else { codes.join(";") };
    out.extend(format!("\x1b[{text}m").bytes());
}

/// A colour as the terminal is told; `base` is 30 for ink and 40 for paper.
fn colour(colour: Color, base: u8) -> String {
    let bright = base + 60;
    let number = match colour {
        Color::Reset => base + 9,
        Color::Black => base,
        Color::Red => base + 1,
        Color::Green => base + 2,
        Color::Yellow => base + 3,
        Color::Blue => base + 4,
        Color::Magenta => base + 5,
        Color::Cyan => base + 6,
        Color::Gray => base + 7,
        Color::DarkGray => bright,
        Color::LightRed => bright + 1,
        Color::LightGreen => bright + 2,
        Color::LightYellow => bright + 3,
        Color::LightBlue => bright + 4,
        Color::LightMagenta => bright + 5,
        Color::LightCyan => bright + 6,
        Color::White => bright + 7,
        Color::Indexed(index) => return format!("{};5;{index}", base + 8),
        Color::Rgb(r, g, b) => return format!("{};2;{r};{g};{b}", base + 8),
    };
    number.to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ratatui::style::Style;

    use super::*;

    /// What a terminal makes of it: letters and looks.
    fn shown(parser: &vt100::Parser, area: Rect) -> Vec<String> {
        let screen = parser.screen();
        (0..area.height)
            .flat_map(|y| (0..area.width).map(move |x| (x, y)))
            .map(|(x, y)| {
                let cell = screen.cell(y, x).unwrap();
                let text = if cell.contents().is_empty() { " " } else { cell.contents() };
                match text {
                    // of a blank only the paper is seen
                    " " if !cell.inverse() => format!("{text}{:?}", cell.bgcolor()),
                    _ => format!(
                        "{text}{:?}{:?}{}{}",
                        cell.fgcolor(),
                        cell.bgcolor(),
                        cell.bold(),
                        cell.inverse()
                    ),
                }
            })
            .collect()
    }

    fn cells(number: u16) -> std::num::NonZeroU16 {
        std::num::NonZeroU16::new(number).unwrap()
    }

    const AREA: Rect = Rect { x: 0, y: 0, width: 24, height: 9 };

    fn style(seed: u8) -> Style {
        match seed % 5 {
            0 => Style::new(),
            1 => Style::new().fg(Color::Indexed(117)).add_modifier(Modifier::BOLD),
            2 => Style::new().add_modifier(Modifier::REVERSED),
            3 => Style::new().fg(Color::White).bg(Color::Indexed(24)),
            _ => Style::new().fg(Color::Red),
        }
    }

    /// A list from its `first`-th row on, a cursor in it, and something beside it.
    fn list(first: u8, cursor: u16, beside: u8) -> Buffer {
        let mut buffer = Buffer::empty(AREA);
        buffer.set_string(0, 0, "HEAD", style(1));
        for y in 1..AREA.height - 1 {
            let n = first.wrapping_add(y as u8);
            buffer.set_string(
                0,
                y,
                format!("row {n:>3} 日{}", n % 7),
                style(u8::from(n.is_multiple_of(3)) * 4),
            );
            if y == cursor {
                buffer.set_style(Rect { y, height: 1, ..AREA }, style(3));
            }
        }
        buffer.set_string(16, 2, format!("pane {beside}"), style(1));
        buffer
    }

    fn agrees(frames: &[Buffer]) -> Result<Vec<usize>, TestCaseError> {
        let (mut one, mut other) =
            (Painter::new(), vt100::Parser::new(cells(AREA.height), cells(AREA.width), 0));
        let mut sizes = Vec::new();
        for frame in frames {
            let mut out = Vec::new();
            one.paint(frame, false, None, &mut out);
            sizes.push(out.len());
            other.process(&out);
            // the same cells, written whole
            let mut whole = Vec::new();
            let mut fresh = vt100::Parser::new(cells(AREA.height), cells(AREA.width), 0);
            Painter::new().paint(frame, true, None, &mut whole);
            fresh.process(&whole);
            prop_assert_eq!(shown(&other, AREA), shown(&fresh, AREA));
        }
        Ok(sizes)
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn frame_after_frame_the_terminal_shows_what_was_drawn(
            steps in prop::collection::vec((0u8..12, 1u16..8, 0u8..4), 1..12),
            words in prop::collection::vec((0u16..24, 0u16..9, "[ a-zé日\u{301}]{0,9}", 0u8..5), 0..12),
        ) {
            let mut frames: Vec<Buffer> = steps.iter().map(|(first, cursor, beside)| list(*first, *cursor, *beside)).collect();
            let mut last = frames[0].clone();
            for (x, y, text, seed) in &words {
                last.set_stringn(*x, *y, text, usize::from(AREA.width - x), style(*seed));
                frames.push(last.clone());
            }
            agrees(&frames)?;
        }
    }

    #[test]
    fn a_blank_run_takes_the_style_of_its_first_letter_and_no_other() {
        let (before, mut after) = (list(10, 1, 0), list(0, 1, 0));
        // between the blank that comes and this letter stands one of another style
        after.set_string(7, 4, "é", style(1));
        agrees(&[before, after]).unwrap();
    }

    #[test]
    fn a_list_that_scrolls_costs_little_more_than_its_new_row() {
        let wide = |first: u16, cursor: u16| {
            let mut buffer = Buffer::empty(Rect::new(0, 0, 120, 36));
            for y in 2..34 {
                let n = first + y;
                buffer.set_string(
                    1,
                    y,
                    format!("user{n:05}@example.com   Somebody {}  active", n * 7 % 1_000),
                    Style::new(),
                );
            }
            buffer.set_style(Rect::new(0, cursor, 120, 1), style(3));
            buffer
        };
        let mut painter = Painter::new();
        let mut out = Vec::new();
        painter.paint(&wide(0, 33), false, None, &mut out);
        out.clear();
        painter.paint(&wide(1, 33), false, None, &mut out);
        assert!(out.len() < 300, "{}", out.len());
    }
}
