//! How the books stand, on the first screen: both sides of every currency, holds that end soon, what is
//! frozen, and what came in and went out.

use std::time::Duration;

use bursar_shared::operations::ledger::Flows;
use ratatui::layout::Rect;

use super::{home::sparks, money::Books};
use crate::{
    actions::Do,
    look::Theme,
    model::Model,
    text::{Clean, amount, clock, lasted, number},
    widgets::{
        canvas::{Bit, Canvas, bit},
        review::Review,
    },
};

/// Holds that end within this need somebody.
const SOON: Duration = Duration::from_secs(86_400);

/// Whether there is anything to be said.
pub fn is_known(model: &Model) -> bool {
    let books = model.money.books.as_ref().map(|(books, _)| books);
    books.is_some_and(|books| books.trial.is_some() || books.holds.is_some() || books.frozen.is_some())
}

/// Draws it: a line each where there is room, else all in one.
pub fn draw(canvas: &mut Canvas<'_>, model: &Model, area: Rect) {
    let Some((books, at)) = model.money.books.as_ref().filter(|_| area.height > 1) else { return };
    let theme = canvas.theme;
    let (needs, fine) = lines(books, model);
    let title =
        if needs.is_empty() { bit("Money", theme.accent) } else { bit("Money needs you", theme.warn) };
    let age = if model.is_offline() { format!("as of {}", clock(*at)) } else { String::new() };
    canvas.rule(
        area.x,
        area.y,
        area.width,
        &[title],
        &[bit(age, theme.warn)][..usize::from(model.is_offline())],
    );
    let (x, width) = (area.x + 2, area.width.saturating_sub(3));
    if area.height == 2 {
        let mut line: Vec<Bit> = Vec::new();
        for one in needs.into_iter().chain(fine) {
            match line.last() {
                None => {}
                Some(before) if before.text.as_str().ends_with(':') => line.push(bit(" ", theme.text)),
                Some(_) => line.push(bit(format!(" {} ", theme.glyphs.dot), theme.rule)),
            }
            line.push(one);
        }
        canvas.line(x, area.y + 1, width, &line);
        return;
    }
    let mut y = area.y + 1;
    for one in needs.into_iter().chain(fine).take(usize::from(area.height) - 1) {
        canvas.text(x, y, width, &one.text, one.style);
        y += 1;
    }
    if let Some(flows) = &books.flows {
        draw_flows(canvas, flows, Rect { y, height: area.bottom() - y, ..area });
    }
}

/// The last day of as many currencies as there is room for, what came in above what went out.
fn draw_flows(canvas: &mut Canvas<'_>, flows: &Flows, area: Rect) {
    let theme = canvas.theme;
    let moved = flows.currencies.iter().filter(|flow| flow.money_in != 0 || flow.money_out != 0);
    let (x, width) = (area.x + 2, area.width.saturating_sub(3));
    let mut y = area.y + 1;
    for flow in moved {
        if y + 4 > area.bottom() {
            break;
        }
        if y == area.y + 1 {
            canvas.rule(area.x, area.y, area.width, &[bit("In and out, last 24 h", theme.accent)], &[]);
        }
        let (came, went) = (hours(&flow.money_in_hourly), hours(&flow.money_out_hourly));
        let [came, went] = sparks([&came, &went], width, &theme);
        for (name, minor, line, style) in
            [("in", flow.money_in, came, theme.good), ("out", flow.money_out, went, theme.key)]
        {
            let text = format!("{} {name:<3} {}", flow.currency, amount(flow.currency, minor));
            canvas.text(x, y, width, &Clean::of(text), if minor == 0 { theme.dim } else { theme.text });
            canvas.text(x, y + 1, width, &Clean::of(line), if minor == 0 { theme.rule } else { style });
            y += 2;
        }
    }
}

/// Totals only rise, so there is nothing below nothing.
fn hours(minor: &[i64]) -> Vec<u64> {
    minor.iter().map(|minor| u64::try_from(*minor).unwrap_or(0)).collect()
}

/// What needs somebody, the worst first, and what is as it should be.
fn lines(books: &Books, model: &Model) -> (Vec<Bit>, Vec<Bit>) {
    let theme = &model.theme;
    let checks = model.keys.key_of(Do::VerifyBooks);
    let (mut needs, mut fine) = (Vec::new(), Vec::new());
    let open = Review::open_titles(model);
    if let Some(first) = open.first() {
        let text = format!("{} {}:", theme.glyphs.stop, Review::count(open.len()));
        needs.extend([bit(text, theme.bad), bit(first.clone(), theme.text)]);
    }
    if let Some((report, _)) = model.money.verified.as_ref().filter(|(report, _)| !report.ok) {
        let count = number(report.problems.len() as u64);
        needs.push(bit(format!("{} {count} problems found by {checks}", theme.glyphs.stop), theme.bad));
    }
    for one in books.trial.iter().flat_map(|trial| &trial.currencies) {
        if one.imbalance == 0 {
            continue;
        }
        let off = amount(one.currency, one.imbalance);
        needs.push(bit(
            format!("{} {} is off by {off}: {checks} checks", theme.glyphs.stop, one.currency),
            theme.bad,
        ));
    }
    if let Some((count, exact, rows)) = &books.holds {
        holds(*count, *exact, rows, model, &mut needs, &mut fine);
    }
    if let Some(frozen) = books.frozen.filter(|frozen| *frozen > 0) {
        let accounts = if frozen == 1 { "account is" } else { "accounts are" };
        needs.push(bit(format!("{} {} {accounts} frozen", theme.glyphs.wait, number(frozen)), theme.warn));
    }
    fine.extend(balanced(books, theme));
    (needs, fine)
}

fn holds(
    count: u64,
    exact: bool,
    rows: &[bursar_shared::operations::transfers::Transfer],
    model: &Model,
    needs: &mut Vec<Bit>,
    fine: &mut Vec<Bit>,
) {
    let theme = &model.theme;
    let mut ends: Vec<_> = rows.iter().filter_map(|hold| hold.expires_at).collect();
    ends.sort();
    let soon = ends.iter().filter(|at| at.since(model.now) < SOON).count();
    if let Some(first) = ends.first().filter(|_| soon > 0) {
        let left = lasted(first.since(model.now));
        let holds = if soon == 1 { "hold ends" } else { "holds end" };
        let text = format!("{} {soon} {holds} within a day, first in {left}", theme.glyphs.wait);
        needs.push(bit(text, theme.warn));
    }
    let plus = if exact { "" } else { "+" };
    match count {
        0 => fine.push(bit(format!("{} no hold waits", theme.glyphs.good), theme.good)),
        1 => fine.push(bit("1 hold waits", theme.text)),
        many => fine.push(bit(format!("{}{plus} holds wait", number(many)), theme.text)),
    }
}

/// The currencies whose sides are the same.
fn balanced(books: &Books, theme: &Theme) -> Option<Bit> {
    let trial = books.trial.as_ref()?;
    let codes: Vec<&str> =
        trial.currencies.iter().filter(|one| one.imbalance == 0).map(|one| one.currency.code()).collect();
    let text = match codes.len() {
        0 if trial.currencies.is_empty() => "no money yet".to_owned(),
        0 => return None,
        _ => format!("{} balanced: {}", theme.glyphs.good, codes.join(" ")),
    };
    Some(bit(Clean::of(text), theme.good))
}
