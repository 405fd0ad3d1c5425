//! A bounded window on a list: pages in order, a cursor that belongs to an id, and marks.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bursar_shared::page::{Page, Resource};

/// Rows a page is asked for.
pub const PAGE: u32 = 100;
/// Pages that are kept.
pub const PAGES: usize = 10;
/// How near to an edge the cursor may come before the next page is asked for.
const NEAR: usize = 40;

/// A row of the window.
#[derive(Debug, Clone)]
pub struct Row<R> {
    /// What the cursor and the marks hold on to.
    pub id: String,
    /// The record as last read.
    pub record: R,
    /// It changed since the window was read.
    pub changed: bool,
    /// It is not there any more, or does not match any more.
    pub gone: bool,
}

/// What lies beyond a page.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Edge {
    /// Nothing.
    End,
    /// The page that this cursor leads to.
    Cursor(String),
    /// More, and no cursor leads there: the page was cut here, not by the daemon.
    Cut,
}

impl From<Option<String>> for Edge {
    fn from(cursor: Option<String>) -> Self {
        cursor.map_or(Self::End, Self::Cursor)
    }
}

/// How the page is asked for that lies beyond what is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Want {
    /// With this cursor.
    Cursor(String),
    /// Around this record.
    Around(String),
}

#[derive(Debug)]
struct Leaf<R> {
    rows: Vec<Row<R>>,
    prev: Edge,
    next: Edge,
}

/// Where to put the cursor when a list is entered and no cursor is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enter {
    /// On the first row.
    First,
    /// On the last row.
    Last,
    /// Nowhere: the reader follows the top.
    Nowhere,
}

/// The rows of a list that are held here, and where the reader stands.
///
/// No page and no event changes which id is under the cursor; only the methods that a key calls do
/// (`step`, `to`, `release`).
#[derive(Debug)]
pub struct Window<R> {
    pages: VecDeque<Leaf<R>>,
    cursor: Option<String>,
    at: Option<usize>,
    top: usize,
    height: usize,
    marks: BTreeSet<String>,
    /// The row that was marked last, from which a range begins.
    anchor: Option<String>,
}

impl<R> Default for Window<R> {
    fn default() -> Self {
        Self {
            pages: VecDeque::new(),
            cursor: None,
            at: None,
            top: 0,
            height: 1,
            marks: BTreeSet::new(),
            anchor: None,
        }
    }
}

impl<R: Resource> Window<R> {
    /// Rows held.
    pub fn len(&self) -> usize {
        self.pages.iter().map(|page| page.rows.len()).sum()
    }

    /// Whether no row is held.
    pub fn is_empty(&self) -> bool {
        self.pages.iter().all(|page| page.rows.is_empty())
    }

    /// Every row held, in order.
    pub fn rows(&self) -> impl Iterator<Item = &Row<R>> {
        self.pages.iter().flat_map(|page| &page.rows)
    }

    /// The rows that fit on the screen; the first of them is row [`Self::top`].
    pub fn visible(&self) -> impl Iterator<Item = &Row<R>> {
        let mut skip = self.top;
        let mut pages = self.pages.iter();
        // whole pages are stepped over, so a frame costs the same wherever the reader stands
        let first = pages.by_ref().find(|page| {
            let beyond = skip >= page.rows.len();
            if beyond {
                skip -= page.rows.len();
            }
            !beyond
        });
        first
            .into_iter()
            .flat_map(move |page| &page.rows[skip..])
            .chain(pages.flat_map(|page| &page.rows))
            .take(self.height)
    }

    /// The place of the first row on the screen.
    pub fn top(&self) -> usize {
        self.top
    }

    /// The place of the row under the cursor.
    pub fn at(&self) -> Option<usize> {
        self.at
    }

    /// The id under the cursor.
    pub fn cursor(&self) -> Option<&str> {
        self.cursor.as_deref()
    }

    /// The row under the cursor.
    pub fn current(&self) -> Option<&Row<R>> {
        self.get(self.at?)
    }

    /// The row at a place.
    pub fn get(&self, mut place: usize) -> Option<&Row<R>> {
        for page in &self.pages {
            if place < page.rows.len() {
                return page.rows.get(place);
            }
            place -= page.rows.len();
        }
        None
    }

    fn find(&self, id: &str) -> Option<usize> {
        self.rows().position(|row| row.id == id)
    }

    /// Whether the first row held is the first of the list.
    pub fn at_start(&self) -> bool {
        self.pages.front().is_none_or(|page| page.prev == Edge::End)
    }

    /// Whether the last row held is the last of the list.
    pub fn at_end(&self) -> bool {
        self.pages.back().is_none_or(|page| page.next == Edge::End)
    }

    /// Whether there are rows above those on the screen, and below them.
    pub fn beyond(&self) -> [bool; 2] {
        [self.top > 0 || !self.at_start(), self.top + self.height < self.len() || !self.at_end()]
    }

    /// Whether all rows of the list are on the screen.
    pub fn is_whole(&self) -> bool {
        self.beyond() == [false, false]
    }

    /// The marked ids.
    pub fn marks(&self) -> &BTreeSet<String> {
        &self.marks
    }

    /// Marks the row under the cursor, or takes its mark away.
    pub fn toggle_mark(&mut self) {
        let Some(row) = self.current() else { return };
        let (id, gone) = (row.id.clone(), row.gone);
        self.anchor = None;
        if !self.marks.remove(&id) && !gone {
            self.anchor = Some(id.clone());
            self.marks.insert(id);
        }
    }

    /// Marks every row that is there between the one that was marked last and the cursor; how many marks
    /// there are then. Nothing was marked last, or it is no longer held: marks the row under the cursor.
    pub fn mark_range(&mut self) -> Option<usize> {
        let at = self.at?;
        let begin = self.anchor.as_deref().and_then(|id| self.find(id));
        let (first, last) = begin.map_or((at, at), |begin| (begin.min(at), begin.max(at)));
        let between = self.rows().skip(first).take(last - first + 1).filter(|row| !row.gone);
        let ids: Vec<String> = between.map(|row| row.id.clone()).collect();
        self.marks.extend(ids);
        self.anchor = self.cursor.clone();
        begin.map(|_| self.marks.len())
    }

    /// Marks the row under the cursor and those that a step goes over.
    pub fn mark_over(&mut self, rows: isize) {
        self.anchor = self.cursor.clone();
        self.step(rows);
        self.mark_range();
    }

    /// Marks every row that is held and there; how many marks there are then.
    pub fn mark_all(&mut self) -> usize {
        let ids: Vec<String> = self.rows().filter(|row| !row.gone).map(|row| row.id.clone()).collect();
        self.marks.extend(ids);
        self.marks.len()
    }

    /// Takes the marks of these away.
    pub fn unmark(&mut self, ids: impl IntoIterator<Item = String>) {
        for id in ids {
            self.marks.remove(&id);
        }
    }

    /// Takes all marks away; how many there were.
    pub fn clear_marks(&mut self) -> usize {
        let count = self.marks.len();
        self.marks.clear();
        self.anchor = None;
        count
    }

    /// The screen has room for so many rows.
    pub fn set_height(&mut self, height: usize) {
        self.height = height.max(1);
        self.settle();
    }

    /// Keeps the cursor on the screen and the screen on the rows.
    fn settle(&mut self) {
        if let Some(at) = self.at {
            self.top = self.top.min(at).max((at + 1).saturating_sub(self.height));
        }
        self.top = self.top.min(self.len().saturating_sub(self.height));
    }

    fn put(&mut self, at: Option<usize>) {
        self.at = at;
        self.cursor = at.and_then(|at| self.get(at)).map(|row| row.id.clone());
        self.settle();
    }

    /// Moves the cursor by so many rows, as far as there are any; without one it enters the screen.
    pub fn step(&mut self, rows: isize) {
        let Some(last) = self.len().checked_sub(1) else { return };
        let to = match self.at {
            Some(at) => at.saturating_add_signed(rows).min(last),
            None if rows < 0 => (self.top + self.height).saturating_sub(1).min(last),
            None => self.top,
        };
        self.put(Some(to));
    }

    /// Puts the cursor on a place.
    pub fn to(&mut self, place: usize) {
        if place < self.len() {
            self.put(Some(place));
        }
    }

    /// Lets go of the row under the cursor; the next page places it anew.
    pub fn release(&mut self) -> Option<String> {
        self.at = None;
        self.cursor.take()
    }

    /// Holds on to a row again, if it is still here.
    pub fn hold(&mut self, id: &str) {
        if self.cursor.is_none()
            && let Some(at) = self.find(id)
        {
            self.put(Some(at));
        }
    }

    /// Puts the cursor on a record, if it is here, and as far from the edges of the screen as it can be.
    pub fn seek(&mut self, id: &str) {
        if let Some(at) = self.find(id) {
            self.top = at.saturating_sub(self.height / 2);
            self.put(Some(at));
        }
    }

    /// Scrolls to the top without a cursor.
    pub fn follow(&mut self) {
        self.release();
        self.top = 0;
    }

    /// How the page is asked for that is wanted after the last, if the reader is near it.
    pub fn wants_next(&self) -> Option<Want> {
        let near = self.at.unwrap_or(self.top).max(self.top + self.height) + NEAR >= self.len();
        let page = self.pages.back().filter(|_| near)?;
        match &page.next {
            Edge::End => None,
            Edge::Cursor(cursor) => Some(Want::Cursor(cursor.clone())),
            Edge::Cut => Self::end(page.rows.iter().rev()).map(Want::Around),
        }
    }

    /// How the page is asked for that is wanted before the first, if the reader is near it.
    pub fn wants_prev(&self) -> Option<Want> {
        let near = self.at.unwrap_or(self.top).min(self.top) < NEAR;
        let page = self.pages.front().filter(|_| near)?;
        match &page.prev {
            Edge::End => None,
            Edge::Cursor(cursor) => Some(Want::Cursor(cursor.clone())),
            Edge::Cut => Self::end(page.rows.iter()).map(Want::Around),
        }
    }

    /// The first of these rows that the daemon still knows.
    fn end<'r>(mut rows: impl Iterator<Item = &'r Row<R>>) -> Option<String> {
        rows.find(|row| !row.gone).map(|row| row.id.clone())
    }

    fn leaf(&self, page: Page<R>) -> Leaf<R> {
        // a row whose sort key changed may come twice; where it was read first it stays
        let held: BTreeSet<&str> = self.rows().map(|row| row.id.as_str()).collect();
        let mut seen = BTreeSet::new();
        let rows = page.rows.into_iter().map(|record| (record.id(), record));
        let rows = rows.filter(|(id, _)| !held.contains(id.as_str()) && seen.insert(id.clone()));
        let rows = rows.map(|(id, record)| Row { id, record, changed: false, gone: false }).collect();
        Leaf { rows, prev: page.pagination.prev_cursor.into(), next: page.pagination.next_cursor.into() }
    }

    /// Whether a page may be dropped: not while the reader stands on it.
    fn may_drop(&self, from: usize, rows: usize) -> bool {
        let on = |place: usize| (from..from + rows).contains(&place);
        !self.at.map_or_else(|| on(self.top), on)
    }

    /// Takes in the page after the last; false when there was no room for it.
    pub fn append(&mut self, mut page: Page<R>) -> bool {
        // one that was asked for around the last row begins before it
        if let Some(last) = self.pages.back().filter(|page| page.next == Edge::Cut)
            && let Some(end) = Self::end(last.rows.iter().rev())
            && let Some(at) = page.rows.iter().position(|record| record.id() == end)
        {
            page.rows.drain(..=at);
        }
        let first = self.pages.front().map_or(0, |page| page.rows.len());
        if self.pages.len() >= PAGES && !self.may_drop(0, first) {
            return false;
        }
        let leaf = self.leaf(page);
        self.pages.push_back(leaf);
        if self.pages.len() > PAGES {
            self.pages.pop_front();
            self.at = self.at.map(|at| at.saturating_sub(first));
            self.top = self.top.saturating_sub(first);
        }
        self.settle();
        true
    }

    /// Takes in the page before the first; false when there was no room for it.
    pub fn prepend(&mut self, mut page: Page<R>) -> bool {
        if let Some(first) = self.pages.front().filter(|page| page.prev == Edge::Cut)
            && let Some(end) = Self::end(first.rows.iter())
            && let Some(at) = page.rows.iter().position(|record| record.id() == end)
        {
            page.rows.truncate(at);
        }
        let last = self.pages.back().map_or(0, |page| page.rows.len());
        if self.pages.len() >= PAGES && !self.may_drop(self.len() - last, last) {
            return false;
        }
        let leaf = self.leaf(page);
        self.at = self.at.map(|at| at + leaf.rows.len());
        self.top += leaf.rows.len();
        self.pages.push_front(leaf);
        if self.pages.len() > PAGES {
            self.pages.pop_back();
        }
        self.settle();
        true
    }

    /// Puts newer rows, newest first, above the first; only where the list's start is held.
    pub fn put_on_top(&mut self, records: Vec<R>) {
        let Some(front) = self.pages.front().filter(|page| page.prev == Edge::End) else { return };
        let has_cursor = self.cursor.is_some();
        let held: BTreeSet<String> = front.rows.iter().map(|row| row.id.clone()).collect();
        let rows = records.into_iter().map(|record| (record.id(), record));
        let rows: Vec<Row<R>> = rows
            .filter(|(id, _)| !held.contains(id))
            .map(|(id, record)| Row { id, record, changed: false, gone: false })
            .collect();
        let new = rows.len();
        if let Some(front) = self.pages.front_mut() {
            front.rows.splice(0..0, rows);
            self.at = self.at.map(|at| at + new);
            if has_cursor {
                self.top += new;
            }
        }
        self.trim();
        self.settle();
    }

    /// Keeps a followed list bounded, wherever the reader stands: a page that grew at its top becomes
    /// several, and of those the farthest from the reader go.
    fn trim(&mut self) {
        let size = PAGE as usize;
        while let Some(front) = self.pages.front_mut().filter(|page| page.rows.len() > 2 * size) {
            let rows = front.rows.split_off(front.rows.len() - size);
            let next = std::mem::replace(&mut front.next, Edge::Cut);
            self.pages.insert(1, Leaf { rows, prev: Edge::Cut, next });
        }
        while self.pages.len() > PAGES {
            let last = self.pages.back().map_or(0, |page| page.rows.len());
            if self.may_drop(self.len() - last, last) {
                self.pages.pop_back();
            } else {
                let first = self.pages.pop_front().map_or(0, |page| page.rows.len());
                self.at = self.at.map(|at| at.saturating_sub(first));
                self.top = self.top.saturating_sub(first);
            }
        }
    }

    /// Takes the place of everything held. The cursor keeps its id: if the new page lacks it, the old
    /// row stays as a tombstone between its neighbours. Without a cursor, `enter` says where to.
    pub fn replace(&mut self, page: Page<R>, enter: Enter) {
        self.replace_unless(page, enter, |_, _| false);
    }

    /// The same, where `newer` says of a row that is held and the same as it was read whether the first
    /// is the newer one: a page may be older than what was heard while it was under way.
    pub fn replace_unless(&mut self, page: Page<R>, enter: Enter, newer: impl Fn(&R, &R) -> bool) {
        let old: Vec<Row<R>> = self.pages.drain(..).flat_map(|page| page.rows).collect();
        let was_at = self.at.take();
        let line = was_at.map_or(0, |at| at.saturating_sub(self.top));
        let mut leaf = self.leaf(page);
        let held: BTreeMap<&str, &Row<R>> = old.iter().map(|row| (row.id.as_str(), row)).collect();
        for row in &mut leaf.rows {
            if let Some(held) = held.get(row.id.as_str()).filter(|held| newer(&held.record, &row.record)) {
                *row = (*held).clone();
            }
        }
        self.pages.push_back(leaf);
        let ids: BTreeSet<&str> = self.rows().map(|row| row.id.as_str()).collect();
        let kept: Vec<bool> = old.iter().map(|row| ids.contains(row.id.as_str())).collect();
        // a mark between two rows that are both still here, on a row that is not, marks nothing
        if let (Some(first), Some(last)) = (kept.iter().position(|k| *k), kept.iter().rposition(|k| *k)) {
            for (row, _) in old[first..=last].iter().zip(&kept[first..=last]).filter(|(_, kept)| !**kept) {
                self.marks.remove(&row.id);
            }
        }
        match self.cursor.clone() {
            Some(id) => {
                self.at = self.find(&id);
                if let (None, Some(was_at)) = (self.at, was_at) {
                    let before = (0..was_at).rev().find(|place| kept[*place]);
                    let place = before.and_then(|place| self.find(&old[place].id)).map_or(0, |at| at + 1);
                    let tombstone = Row { gone: true, ..old[was_at].clone() };
                    self.marks.remove(&tombstone.id);
                    if let Some(page) = self.pages.front_mut() {
                        page.rows.insert(place, tombstone);
                    }
                    self.at = Some(place);
                }
                self.top = self.at.unwrap_or(0).saturating_sub(line);
            }
            None => {
                self.top = 0;
                let last = self.len().checked_sub(1);
                match enter {
                    Enter::First => self.put(last.map(|_| 0)),
                    Enter::Last => self.put(last),
                    Enter::Nowhere => {}
                }
            }
        }
        self.settle();
    }

    /// A record changed: it is shown as it is now, where it was. False when it is not held.
    pub fn patch(&mut self, id: &str, change: impl FnOnce(&mut Row<R>)) -> bool {
        self.revise(id, |row| {
            change(row);
            true
        })
    }

    /// The same, where the change says whether it made a difference: one that was known already is none.
    pub fn revise(&mut self, id: &str, change: impl FnOnce(&mut Row<R>) -> bool) -> bool {
        let row = self.pages.iter_mut().flat_map(|page| &mut page.rows).find(|row| row.id == id);
        let found = row.is_some();
        if let Some(row) = row {
            row.changed |= change(row);
            if row.gone {
                self.marks.remove(id);
            }
        }
        found
    }

    /// Whether a record is held.
    pub fn holds(&self, id: &str) -> bool {
        self.find(id).is_some()
    }

    /// Brings what belongs to records up to date, without saying that they changed themselves.
    pub fn amend(&mut self, mut change: impl FnMut(&mut R)) {
        for row in self.pages.iter_mut().flat_map(|page| &mut page.rows) {
            change(&mut row.record);
        }
    }

    /// Everything is forgotten.
    pub fn clear(&mut self) {
        *self = Self { height: self.height, ..Self::default() };
    }
}
