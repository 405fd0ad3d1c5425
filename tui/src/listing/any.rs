//! A list whatever it is a list of: what keys, clicks and the frame around it need to know.

use bursar_shared::{
    filter::{self, FilterError},
    page::{Sort, TotalAccuracy},
    time::Timestamp,
};

use super::{Bar, Listing, Phase, Rows};
use crate::{
    message::{Room, Task, Tickets, Trouble},
    model::{Model, Stand},
    screens::listed,
    widgets::canvas::{Bit, Canvas},
    window::Enter,
};

/// A list, whatever its rows are.
pub trait AnyList {
    /// Which screen it is on.
    fn room(&self) -> Room;
    /// What the command line calls its rows.
    fn noun(&self) -> &'static str;
    /// What the screen is called.
    fn title(&self) -> &'static str;
    /// Moves the cursor by so many rows.
    fn step(&mut self, rows: isize);
    /// Puts the cursor on a place.
    fn to(&mut self, place: usize);
    /// The place of the cursor.
    fn at(&self) -> Option<usize>;
    /// The id under the cursor.
    fn cursor(&self) -> Option<&str>;
    /// Rows held.
    fn len(&self) -> usize;
    /// Whether no row is held.
    fn is_empty(&self) -> bool;
    /// The screen has room for so many rows.
    fn set_height(&mut self, height: usize);
    /// Whether rows come in at the top by themselves.
    fn follows(&self) -> bool;
    /// Whether it is held still.
    fn frozen(&self) -> bool;
    /// Lets go of the cursor and goes to the top.
    fn follow(&mut self);
    /// The record on the whole screen, scrolled by so many lines.
    fn open(&self) -> Option<usize>;
    /// Puts the record on the whole screen, or takes it from there.
    fn set_open(&mut self, open: Option<usize>);
    /// Whether the details are shown beside the list.
    fn pane(&self) -> bool;
    /// Shows them, or not.
    fn set_pane(&mut self, pane: bool);
    /// How far it was read.
    fn phase(&self) -> &Phase;
    /// When.
    fn read_at(&self) -> Option<Timestamp>;
    /// The filter as typed.
    fn filter_text(&self) -> &str;
    /// The filter being typed.
    fn bar(&self) -> Option<&Bar>;
    /// The same, to be typed in.
    fn bar_mut(&mut self) -> &mut Option<Bar>;
    /// Judges the filter being typed.
    fn judge(&mut self);
    /// Begins to type a filter.
    fn begin_filter(&mut self);
    /// Narrows the list to a filter.
    ///
    /// # Errors
    /// Where the filter is wrong, and how.
    fn narrow(&mut self, text: &str, tickets: &mut Tickets) -> Result<Vec<Task>, FilterError>;
    /// The orders it can be put in.
    fn sorts(&self) -> Vec<Sort>;
    /// The order it is in.
    fn sort(&self) -> Sort;
    /// Puts it in another order.
    fn set_sort(&mut self, sort: Sort, tickets: &mut Tickets) -> Vec<Task>;
    /// The key that a column can be sorted by.
    fn sort_of_column(&self, column: usize) -> Option<&'static str>;
    /// Its columns, and which of them are shown.
    fn columns(&self) -> Vec<(&'static str, bool)>;
    /// Shows a column, or not.
    fn set_column(&mut self, column: usize, on: bool);
    /// Asks for the pages that the reader comes near to.
    fn more(&mut self, tickets: &mut Tickets, now: Timestamp) -> Vec<Task>;
    /// A page beside the present rows could not be read.
    fn refuse(&mut self, now: Timestamp);
    /// Reads the list again around the cursor, or from its start.
    fn reload(&mut self, tickets: &mut Tickets) -> Vec<Task>;
    /// Reads the list from its start; the record under the cursor stays as a tombstone.
    fn reload_without_cursor(&mut self, tickets: &mut Tickets) -> Vec<Task>;
    /// The record that was sought is not in this list. Whether one was.
    fn gives_up_seeking(&mut self) -> bool;
    /// Makes ready to stand as it stood once.
    ///
    /// # Errors
    /// Where the filter is wrong, and how.
    fn return_to(&mut self, stand: &Stand) -> Result<(), FilterError>;
    /// Whether it stands as it stood once.
    fn stands(&self, stand: &Stand) -> bool;
    /// Goes to one end of the whole list.
    fn to_end(&mut self, tickets: &mut Tickets, end: Enter) -> Vec<Task>;
    /// A page could not be read.
    fn fail(&mut self, trouble: Trouble);
    /// How many rows are marked, changed since read, and newer than read.
    fn counts(&self) -> [usize; 3];
    /// How many rows are newer than read, in words.
    fn newer(&self) -> Option<String>;
    /// How many rows there are, as far as known.
    fn total_text(&self) -> String;
    /// The same as a number, when it is exact.
    fn total(&self) -> Option<u64>;
    /// The same as a command.
    fn command(&self) -> String;
    /// The request for all of it, as it is sent.
    fn target(&self) -> Option<String>;
    /// Everything about the record under the cursor, as lines.
    fn lines(&self, model: &Model, width: u16, whole: bool) -> Vec<Vec<Bit>>;
    /// What the record under the cursor is called.
    fn called(&self, model: &Model) -> Option<String>;
    /// Draws the table.
    fn draw(&self, canvas: &mut Canvas<'_>, model: &Model, area: ratatui::layout::Rect);
}

impl<R: Rows> AnyList for Listing<R> {
    fn room(&self) -> Room {
        self.room
    }
    fn noun(&self) -> &'static str {
        R::NAME
    }
    fn title(&self) -> &'static str {
        R::TITLE
    }
    fn step(&mut self, rows: isize) {
        self.window.step(rows);
    }
    fn to(&mut self, place: usize) {
        self.window.to(place);
    }
    fn at(&self) -> Option<usize> {
        self.window.at()
    }
    fn cursor(&self) -> Option<&str> {
        self.window.cursor()
    }
    fn len(&self) -> usize {
        self.window.len()
    }
    fn is_empty(&self) -> bool {
        self.window.is_empty()
    }
    fn set_height(&mut self, height: usize) {
        self.window.set_height(height);
    }
    fn follows(&self) -> bool {
        matches!(self.room, Room::Home | Room::Events)
    }
    fn frozen(&self) -> bool {
        self.frozen
    }
    fn follow(&mut self) {
        self.window.follow();
    }
    fn open(&self) -> Option<usize> {
        self.open
    }
    fn set_open(&mut self, open: Option<usize>) {
        self.open = open;
    }
    fn pane(&self) -> bool {
        self.pane
    }
    fn set_pane(&mut self, pane: bool) {
        self.pane = pane;
    }
    fn phase(&self) -> &Phase {
        &self.phase
    }
    fn read_at(&self) -> Option<Timestamp> {
        self.read_at
    }
    fn filter_text(&self) -> &str {
        &self.filter_text
    }
    fn bar(&self) -> Option<&Bar> {
        self.bar.as_ref()
    }
    fn bar_mut(&mut self) -> &mut Option<Bar> {
        &mut self.bar
    }
    fn judge(&mut self) {
        if let Some(bar) = &mut self.bar {
            bar.look::<R>();
        }
    }
    fn begin_filter(&mut self) {
        Self::begin_filter(self);
    }
    fn narrow(&mut self, text: &str, tickets: &mut Tickets) -> Result<Vec<Task>, FilterError> {
        let filter = filter::parse::<R>(text)?;
        Ok(self.set_filter(text, filter, tickets))
    }
    fn sorts(&self) -> Vec<Sort> {
        R::SORTS.iter().flat_map(|key| [false, true].map(|descending| Sort { key, descending })).collect()
    }
    fn sort(&self) -> Sort {
        self.sort
    }
    fn set_sort(&mut self, sort: Sort, tickets: &mut Tickets) -> Vec<Task> {
        Self::set_sort(self, sort, tickets)
    }
    fn sort_of_column(&self, column: usize) -> Option<&'static str> {
        let key = R::COLUMNS.get(column)?.sort?;
        R::SORTS.iter().copied().find(|known| *known == key)
    }
    fn columns(&self) -> Vec<(&'static str, bool)> {
        R::COLUMNS.iter().zip(&self.columns).map(|(column, on)| (column.title, *on)).collect()
    }
    fn set_column(&mut self, column: usize, on: bool) {
        if let Some(shown) = self.columns.get_mut(column) {
            *shown = on;
        }
    }
    fn more(&mut self, tickets: &mut Tickets, now: Timestamp) -> Vec<Task> {
        Self::more(self, tickets, now)
    }
    fn refuse(&mut self, now: Timestamp) {
        Self::refuse(self, now);
    }
    fn reload(&mut self, tickets: &mut Tickets) -> Vec<Task> {
        if self.window.cursor().is_none() && !self.returns && self.follows() {
            return self.begin(tickets, Enter::Nowhere);
        }
        Self::reload(self, tickets)
    }
    fn reload_without_cursor(&mut self, tickets: &mut Tickets) -> Vec<Task> {
        Self::reload_without_cursor(self, tickets)
    }
    fn gives_up_seeking(&mut self) -> bool {
        Self::gives_up_seeking(self)
    }
    fn return_to(&mut self, stand: &Stand) -> Result<(), FilterError> {
        Self::return_to(self, stand)
    }
    fn stands(&self, stand: &Stand) -> bool {
        Self::stands(self, stand)
    }
    fn to_end(&mut self, tickets: &mut Tickets, end: Enter) -> Vec<Task> {
        Self::to_end(self, tickets, end)
    }
    fn fail(&mut self, trouble: Trouble) {
        Self::fail(self, trouble);
    }
    fn counts(&self) -> [usize; 3] {
        let changed = self.window.rows().filter(|row| row.changed).count();
        [self.window.marks().len(), changed, self.newer.len()]
    }
    fn newer(&self) -> Option<String> {
        self.newer.text()
    }
    fn total_text(&self) -> String {
        Self::total_text(self)
    }
    fn total(&self) -> Option<u64> {
        self.total.filter(|(_, accuracy)| *accuracy == TotalAccuracy::Exact).map(|(total, _)| total)
    }
    fn command(&self) -> String {
        Self::command(self)
    }
    fn target(&self) -> Option<String> {
        R::request_of(self.all(), self.of).target()
    }
    fn lines(&self, model: &Model, width: u16, whole: bool) -> Vec<Vec<Bit>> {
        self.window.current().map_or_else(Vec::new, |row| R::lines(row, model, width, whole))
    }
    fn called(&self, model: &Model) -> Option<String> {
        self.window.current().map(|row| row.record.called(model))
    }
    fn draw(&self, canvas: &mut Canvas<'_>, model: &Model, area: ratatui::layout::Rect) {
        listed::table(canvas, model, area, self);
    }
}
