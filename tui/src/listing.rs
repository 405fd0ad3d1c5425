//! A list on the screen: its window, query, filter bar, columns, total and age; the same for every resource.

mod any;
pub mod newer;

use std::{collections::BTreeSet, time::Duration};

pub use self::any::AnyList;

use self::newer::Newer;
use bursar_shared::{
    field::{Position, TotalMode},
    filter::{self, Filter, FilterError},
    id::AccountId,
    page::{List, Page, Pagination, Resource, Sort, TotalAccuracy},
    time::Timestamp,
};
use tui_input::Input;

use crate::{
    change::shell,
    look::Theme,
    message::{Request, Room, Slot, Task, Tickets, Trouble, Way},
    model::{Model, Stand},
    text::number,
    widgets::canvas::{Bit, bit},
    window::{Enter, PAGE, Row, Want, Window},
};

/// How long a page that was refused is not asked for again.
pub(crate) const AGAIN: Duration = Duration::from_secs(5);

/// A resource with a list on the screen.
pub trait Rows: Resource {
    /// What the screen is called.
    const TITLE: &'static str;
    /// Said when there is no row at all.
    const NOTHING: &'static str;
    /// Its columns, the most important first.
    const COLUMNS: &'static [Column<Self>];

    /// The request for a page.
    fn request(list: List<Self>) -> Request;

    /// The same, where the rows belong to one account.
    fn request_of(list: List<Self>, _: Option<AccountId>) -> Request {
        Self::request(list)
    }

    /// What lists them on the command line.
    fn command_of(_: Option<AccountId>) -> String {
        format!("bursar {} list", Self::NAME)
    }

    /// Whether this is a newer state of a record than another one.
    fn outdates(&self, _: &Self) -> bool {
        false
    }

    /// What the record is called.
    fn called(&self, model: &Model) -> String;

    /// Everything about a record, as lines: beside the list, or on the whole screen.
    fn lines(row: &Row<Self>, model: &Model, width: u16, whole: bool) -> Vec<Vec<Bit>>;
}

/// A column of a list.
pub struct Column<R> {
    /// Its head.
    pub title: &'static str,
    /// Cells it takes at least; it is left out where they are not there.
    pub min: u16,
    /// Its share of the cells that are left over; 0 keeps it at the least.
    pub share: u16,
    /// Whether it stands at the right edge, as numbers do.
    pub right: bool,
    /// Whether it is shown when nobody chose.
    pub shown: bool,
    /// The key it can be sorted by.
    pub sort: Option<&'static str>,
    /// What it says about a record.
    pub cell: fn(&R, &Model, &Theme) -> Bit,
}

impl<R: Resource> Column<R> {
    /// The id, whole; for whoever wants it.
    pub const ID: Self = Self {
        title: "ID",
        min: 30,
        share: 0,
        right: false,
        shown: false,
        sort: None,
        cell: |record, _, theme| bit(record.id(), theme.dim),
    };
}

/// How far a list was read.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Phase {
    /// Not asked for yet.
    #[default]
    Unread,
    /// Asked for; nothing is here yet.
    Reading,
    /// Here.
    Ready,
    /// It could not be read; what was here before still is.
    Failed(Trouble),
}

/// The line in which a filter is typed.
#[derive(Debug, Clone, Default)]
pub struct Bar {
    /// The text.
    pub input: Input,
    /// What is wrong with it.
    pub error: Option<FilterError>,
    /// What could stand at its end.
    pub ideas: Vec<String>,
    /// Which of them tab put there last.
    pub picked: Option<usize>,
    /// Enter was pressed on it: now a mistake is shown whatever could be completed.
    pub judged: bool,
}

/// A list on the screen.
pub struct Listing<R: Rows> {
    /// Which screen it is on.
    pub room: Room,
    /// Whose rows they are, where they belong to one account.
    pub of: Option<AccountId>,
    /// Whether the details are shown beside it.
    pub pane: bool,
    /// The record under the cursor is on the whole screen, scrolled by so many lines.
    pub open: Option<usize>,
    /// The list is held still while rows come.
    pub frozen: bool,
    /// The rows and the cursor.
    pub window: Window<R>,
    /// The filter as typed.
    pub filter_text: String,
    filter: Filter,
    /// The order.
    pub sort: Sort,
    /// What is loaded along with every row.
    pub include: Vec<&'static str>,
    /// The filter being typed.
    pub bar: Option<Bar>,
    /// Rows the list has, as far as counted.
    pub total: Option<(u64, TotalAccuracy)>,
    /// When the present rows were read.
    pub read_at: Option<Timestamp>,
    /// How far it was read.
    pub phase: Phase,
    /// Rows made since it was read.
    pub newer: Newer,
    /// Which columns are shown.
    pub columns: Vec<bool>,
    /// Ids whose children were cut, by include.
    pub truncated: BTreeSet<String>,
    /// Where the cursor goes when the fresh page is here.
    enter: Enter,
    /// What the cursor was on before it was let go; taken up again when the page cannot be read.
    held: Option<String>,
    /// The record that the cursor goes to when the fresh page is here.
    sought: Option<String>,
    /// It is where the cursor was before: that it is not there any more is no news.
    returns: bool,
    /// The query that the present rows answer: text, filter and order.
    shown: Option<(String, Filter, Sort)>,
    /// When a page beside the present rows could not be read.
    refused: Option<Timestamp>,
}

impl<R: Rows> Listing<R> {
    /// An unread list for a screen.
    pub fn new(room: Room) -> Self {
        Self {
            room,
            of: None,
            pane: true,
            open: None,
            frozen: false,
            window: Window::default(),
            filter_text: String::new(),
            filter: Filter::default(),
            sort: R::DEFAULT_SORT,
            include: Vec::new(),
            bar: None,
            total: None,
            read_at: None,
            phase: Phase::Unread,
            newer: Newer::default(),
            columns: R::COLUMNS.iter().map(|column| column.shown).collect(),
            truncated: BTreeSet::new(),
            enter: Enter::First,
            held: None,
            sought: None,
            returns: false,
            shown: None,
            refused: None,
        }
    }

    /// The filter in force.
    pub fn filter(&self) -> &Filter {
        &self.filter
    }

    fn query(&self) -> List<R> {
        let mut list = self.filter.apply(List::new().size(PAGE).sorted(self.sort));
        list.include.clone_from(&self.include);
        list
    }

    fn ask(&self, tickets: &mut Tickets, way: Way, list: List<R>) -> Task {
        Task::Ask(tickets.issue(Slot::Page(self.room, way)), R::request_of(list, self.of))
    }

    /// Asks for a page that takes the place of what is shown.
    fn fresh(&mut self, tickets: &mut Tickets, list: List<R>) -> Vec<Task> {
        // pages asked for by the old query would not fit beside the new one
        let mut tasks: Vec<Task> = [Way::Next, Way::Prev]
            .map(|way| Slot::Page(self.room, way))
            .into_iter()
            .filter(|slot| tickets.waits_for(*slot))
            .map(Task::Drop)
            .collect();
        tickets.forget(Slot::Page(self.room, Way::Next));
        tickets.forget(Slot::Page(self.room, Way::Prev));
        self.newer.asked();
        if self.read_at.is_none() {
            self.phase = Phase::Reading;
        }
        tasks.push(self.ask(tickets, Way::Fresh, list));
        tasks
    }

    fn entered_at(&self, end: Position) -> List<R> {
        let mut list = self.query();
        list.position = Some(end);
        list.total = Some(TotalMode::Bounded);
        list
    }

    /// Reads the list from its start; the cursor goes where `enter` says.
    pub fn begin(&mut self, tickets: &mut Tickets, enter: Enter) -> Vec<Task> {
        self.enter = enter;
        let list = self.entered_at(Position::Start);
        self.fresh(tickets, list)
    }

    /// Reads the list again around the cursor.
    pub fn reload(&mut self, tickets: &mut Tickets) -> Vec<Task> {
        if let Some(id) = self.sought.clone() {
            let list = self.around(id);
            return self.fresh(tickets, list);
        }
        match self.window.current() {
            Some(row) if !row.gone => {
                let list = self.around(row.id.clone());
                self.fresh(tickets, list)
            }
            _ => self.begin(tickets, self.enter),
        }
    }

    /// Reads the list around a record, and puts the cursor on it.
    pub fn seek(&mut self, id: &str, tickets: &mut Tickets) -> Vec<Task> {
        self.held = self.window.release();
        self.sought = Some(id.to_owned());
        self.returns = false;
        self.open = None;
        let list = self.around(id.to_owned());
        self.fresh(tickets, list)
    }

    /// Makes ready to stand as it stood once; the next page that takes the place of all is read so.
    ///
    /// # Errors
    /// Where the filter is wrong, and how.
    pub fn return_to(&mut self, stand: &Stand) -> Result<(), FilterError> {
        let filter = filter::parse::<R>(&stand.filter)?;
        if self.filter_text != stand.filter {
            self.filter = filter;
            self.filter_text.clone_from(&stand.filter);
            self.window.clear_marks();
        }
        self.sort = stand.sort.unwrap_or(self.sort);
        self.open = stand.open;
        self.enter = if self.room == Room::Home { Enter::Nowhere } else { Enter::First };
        self.held = self.window.release();
        self.sought.clone_from(&stand.cursor);
        self.returns = self.sought.is_some();
        Ok(())
    }

    /// Whether the record is known that the cursor goes back to when the list is read.
    pub fn is_returning(&self) -> bool {
        self.returns
    }

    /// Whether it stands as it stood once.
    pub fn stands(&self, stand: &Stand) -> bool {
        self.sought.is_none()
            && self.read_at.is_some()
            && self.filter_text == stand.filter
            && stand.sort.is_none_or(|sort| sort == self.sort)
            && self.window.cursor() == stand.cursor.as_deref()
    }

    fn around(&self, id: String) -> List<R> {
        let mut list = self.query();
        list.around = Some(id);
        list.total = Some(TotalMode::Bounded);
        list
    }

    /// The record that was sought is not in this list: the cursor goes back. Whether one was.
    pub fn gives_up_seeking(&mut self) -> bool {
        let sought = self.sought.take().is_some();
        if std::mem::take(&mut self.returns) {
            // the list is read from its start
            (self.held, self.open) = (None, None);
            return false;
        }
        if let Some(held) = self.held.take().filter(|_| sought) {
            self.window.hold(&held);
        }
        sought
    }

    /// The record under the cursor is unknown to the daemon: the list is read from its start, and
    /// the record stays as a tombstone.
    pub fn reload_without_cursor(&mut self, tickets: &mut Tickets) -> Vec<Task> {
        let list = self.entered_at(Position::Start);
        self.fresh(tickets, list)
    }

    /// Goes to one end of the whole list.
    pub fn to_end(&mut self, tickets: &mut Tickets, end: Enter) -> Vec<Task> {
        let (here, position) = match end {
            Enter::Last => (self.window.at_end(), Position::End),
            _ => (self.window.at_start(), Position::Start),
        };
        if here {
            let place = if end == Enter::Last { self.window.len().saturating_sub(1) } else { 0 };
            self.window.to(place);
            return self.pages(tickets);
        }
        (self.sought, self.returns) = (None, false);
        self.held = self.window.release();
        self.enter = end;
        let list = self.entered_at(position);
        self.fresh(tickets, list)
    }

    /// Asks for the pages that the reader comes near to, one in each direction at a time; after a
    /// refusal not at once again.
    pub fn more(&mut self, tickets: &mut Tickets, now: Timestamp) -> Vec<Task> {
        match self.refused.is_some_and(|at| now.since(at) < AGAIN) {
            true => Vec::new(),
            false => self.pages(tickets),
        }
    }

    /// A page beside the present rows could not be read.
    pub fn refuse(&mut self, now: Timestamp) {
        self.refused = Some(now);
    }

    fn pages(&mut self, tickets: &mut Tickets) -> Vec<Task> {
        let mut tasks = Vec::new();
        if tickets.waits_for(Slot::Page(self.room, Way::Fresh)) {
            return tasks;
        }
        let wants = [(Way::Next, self.window.wants_next()), (Way::Prev, self.window.wants_prev())];
        for (way, want) in wants {
            if let Some(want) = want
                && !tickets.waits_for(Slot::Page(self.room, way))
            {
                let mut list = self.query();
                match want {
                    Want::Cursor(cursor) => list.cursor = Some(cursor),
                    Want::Around(id) => list.around = Some(id),
                }
                tasks.push(self.ask(tickets, way, list));
            }
        }
        tasks
    }

    /// Narrows the list to a filter and its text.
    pub fn set_filter(&mut self, text: &str, filter: Filter, tickets: &mut Tickets) -> Vec<Task> {
        (self.sought, self.returns) = (None, false);
        self.filter = filter;
        text.trim().clone_into(&mut self.filter_text);
        self.window.clear_marks();
        self.held = self.window.release();
        self.begin(tickets, Enter::First)
    }

    /// Puts the list in another order; the cursor keeps its record.
    pub fn set_sort(&mut self, sort: Sort, tickets: &mut Tickets) -> Vec<Task> {
        self.sort = sort;
        self.reload(tickets)
    }

    /// A page came.
    pub fn take(&mut self, way: Way, page: Page<R>, now: Timestamp) {
        for cut in page.included.values() {
            self.truncated.extend(cut.truncated.iter().cloned());
        }
        match way {
            Way::Next => {
                self.window.append(page);
            }
            Way::Prev => {
                self.window.prepend(page);
            }
            Way::Fresh => {
                self.count(&page.pagination);
                self.window.replace_unless(page, self.enter, R::outdates);
                if let Some(id) = self.sought.take() {
                    self.window.seek(&id);
                    self.returns = false;
                }
                self.newer.read(|id| self.window.holds(id));
                self.held = None;
                self.read_at = Some(now);
                self.shown = Some((self.filter_text.clone(), self.filter.clone(), self.sort));
            }
        }
        self.phase = Phase::Ready;
    }

    fn count(&mut self, pagination: &Pagination) {
        if let Some(total) = pagination.total
            && pagination.total_accuracy != TotalAccuracy::None
        {
            self.total = Some((total, pagination.total_accuracy));
        }
    }

    /// A page could not be read: what was here stays, and the cursor is where it was. The title goes
    /// on to say what the rows answer, not what was asked in vain.
    pub fn fail(&mut self, trouble: Trouble) {
        if let Some((text, filter, sort)) = self.shown.clone() {
            (self.filter_text, self.filter, self.sort) = (text, filter, sort);
        }
        (self.sought, self.returns) = (None, false);
        if let Some(held) = self.held.take() {
            self.window.hold(&held);
        }
        self.phase = Phase::Failed(trouble);
    }

    /// How many rows there are, as far as known, `48,213`, `10,000+`; where they do not all fit, with the
    /// number of the one under the cursor before it: `12/48,213`.
    pub fn total_text(&self) -> String {
        let place = self.place().map_or_else(String::new, |place| format!("{}/", number(place)));
        match self.total {
            Some((total, TotalAccuracy::Exact)) => {
                format!("{place}{} {}", number(total), if total == 1 { "row" } else { "rows" })
            }
            Some((total, TotalAccuracy::AtLeast)) => format!("{place}{}+ rows", number(total)),
            _ if self.read_at.is_none() => String::new(),
            _ => format!("{} rows read", number(self.window.len() as u64)),
        }
    }

    /// Whether a row that changed since it was read does not match the filter any more, as far as its record
    /// says; it stays where it is until the list is read again.
    pub fn leaves_out(&self, row: &Row<R>, now: Timestamp) -> bool {
        let says = || newer::fit(&self.filter, &serde_json::to_value(&row.record).ok()?, now);
        row.changed && !self.filter_text.is_empty() && says() == Some(false)
    }

    /// The number of the row under the cursor, where not all fit on the screen and one end of the list is
    /// held, from which it can be counted.
    fn place(&self) -> Option<u64> {
        let (at, held) = (self.window.at()? as u64, self.window.len() as u64);
        if self.window.is_whole() {
            return None;
        }
        match self.total {
            _ if self.window.at_start() => Some(at + 1),
            Some((total, TotalAccuracy::Exact)) if self.window.at_end() => (total + at + 1).checked_sub(held),
            _ => None,
        }
    }

    /// The same as a command.
    pub fn command(&self) -> String {
        let mut command = R::command_of(self.of);
        if !self.filter_text.is_empty() {
            command.push_str(&format!(" --filter {}", shell(&self.filter_text)));
        }
        if self.sort != R::DEFAULT_SORT {
            command.push_str(&format!(" --sort={}", self.sort));
        }
        command
    }

    /// The whole list, from its start in large pages: for a file.
    pub fn all(&self) -> List<R> {
        let mut list =
            self.filter.apply(List::new().size(bursar_shared::page::MAX_PAGE_SIZE).sorted(self.sort));
        list.position = Some(Position::Start);
        list
    }

    /// Begins to type a filter.
    pub fn begin_filter(&mut self) {
        let mut bar = Bar { input: Input::new(self.filter_text.clone()), ..Bar::default() };
        bar.look::<R>();
        self.bar = Some(bar);
    }
}

impl Bar {
    /// Judges the text, and finds what could stand at its end.
    pub fn look<R: Rows>(&mut self) {
        let text = self.input.value();
        self.error = filter::parse::<R>(text).err();
        self.ideas = filter::complete::<R>(text);
        self.picked = None;
        self.judged = false;
    }

    /// Whether it says what is wrong; while something could still be completed it does not yet.
    pub fn shows_error(&self) -> bool {
        self.error.is_some() && (self.judged || self.ideas.is_empty())
    }

    /// Puts the next idea at the end.
    pub fn complete(&mut self, back: bool) {
        let count = self.ideas.len();
        if count == 0 {
            return;
        }
        let next = match self.picked {
            None if back => count - 1,
            None => 0,
            Some(at) if back => (at + count - 1) % count,
            Some(at) => (at + 1) % count,
        };
        let text = self.input.value();
        let begun = text.rfind(char::is_whitespace).map_or(0, |at| at + 1);
        let text = format!("{}{}", &text[..begun], self.ideas[next]);
        self.input = Input::new(text);
        self.picked = Some(next);
        self.error = None;
    }
}
