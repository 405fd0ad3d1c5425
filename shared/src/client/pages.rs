//! A list page by page: one fetched ahead, flat in memory, and never twice the same.

use std::{
    collections::{BTreeMap, HashSet},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    ops::Range,
};

use futures_util::Stream;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::task::JoinSet;

use super::{Client, Error, How, transport};
use crate::{
    envelope::Envelope,
    page::{Included, Page, Pagination, Resource},
};

/// A page whose rows are as the daemon wrote them.
#[derive(Debug, Clone)]
pub struct RawPage {
    body: Vec<u8>,
    rows: Vec<Range<usize>>,
    /// Where the page lies.
    pub pagination: Pagination,
    /// What includes left out.
    pub included: BTreeMap<String, Included>,
    /// What the daemon's log calls the request.
    pub request_id: String,
}

#[derive(Deserialize)]
struct RawEnvelope<'a> {
    #[serde(borrow)]
    data: Vec<&'a RawValue>,
    meta: RawMeta,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawMeta {
    request_id: String,
    pagination: Option<Pagination>,
    #[serde(default)]
    included: BTreeMap<String, Included>,
}

impl RawPage {
    fn read(body: Vec<u8>) -> Result<Self, Error> {
        let wrong = |what: String| Error::Protocol(format!("the page cannot be read: {what}"));
        let envelope: RawEnvelope<'_> =
            serde_json::from_slice(&body).map_err(|why| wrong(why.to_string()))?;
        let start = body.as_ptr() as usize;
        let rows = envelope
            .data
            .iter()
            .map(|row| {
                let from = row.get().as_ptr() as usize - start;
                from..from + row.get().len()
            })
            .collect();
        let meta = envelope.meta;
        let pagination = meta.pagination.ok_or_else(|| wrong("it does not say where it lies".to_owned()))?;
        Ok(Self { rows, pagination, included: meta.included, request_id: meta.request_id, body })
    }

    /// The rows, each as the bytes that came.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.rows.iter().map(|range| &self.body[range.clone()])
    }

    /// How many rows it has.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The same with rows as values.
    ///
    /// # Errors
    /// [`Error::Protocol`] when a row is not what it should be.
    pub fn typed<R: Resource>(&self) -> Result<Page<R>, Error> {
        let envelope: Envelope<Vec<R>> = serde_json::from_slice(&self.body)
            .map_err(|why| Error::Protocol(format!("the page cannot be read: {why}")))?;
        Ok(Page {
            rows: envelope.data.unwrap_or_default(),
            pagination: self.pagination.clone(),
            included: self.included.clone(),
        })
    }
}

/// The pages of a list, one after the other.
pub struct RawPages {
    client: Client,
    path: String,
    /// What stays the same from page to page.
    query: Vec<(String, String)>,
    next: Option<Vec<(String, String)>>,
    /// The page that is being fetched; dropping this stops it.
    ahead: JoinSet<Result<RawPage, Error>>,
    seen: HashSet<u64>,
    /// Page mode: there is no page after this one.
    single: bool,
    left: Option<u64>,
}

/// The parameters that say where a list begins; a cursor takes their place.
const WHERE: &[&str] = &["page", "cursor", "position", "around", "after"];

impl RawPages {
    pub(super) fn new(client: Client, target: &str) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let query = form_urlencoded::parse(query.as_bytes()).into_owned();
        let (mut begin, query): (Vec<_>, Vec<_>) =
            query.partition(|(name, _)| WHERE.contains(&name.as_str()));
        let single = begin.iter().any(|(name, _)| name == "page");
        if begin.is_empty() {
            begin.push(("position".to_owned(), "start".to_owned()));
        }
        Self {
            client,
            path: path.to_owned(),
            query,
            next: Some(begin),
            ahead: JoinSet::new(),
            seen: HashSet::new(),
            single,
            left: None,
        }
    }

    /// Stops after so many rows: nothing is fetched ahead that would not be looked at.
    #[must_use]
    pub fn limit(mut self, rows: u64) -> Self {
        self.left = Some(rows);
        self
    }

    /// The next page; nothing after the last one. After a failure it may be asked again.
    ///
    /// # Errors
    /// Why there is no page; [`Error::Protocol`] when the daemon gives the same cursor twice.
    pub async fn next(&mut self) -> Result<Option<RawPage>, Error> {
        if self.left == Some(0) {
            return Ok(None);
        }
        let page = match self.ahead.join_next().await {
            Some(Ok(page)) => page,
            Some(Err(broken)) => Err(Error::Local(format!("a page was not fetched: {broken}"))),
            None => match self.target() {
                Some(target) => fetch(&self.client, &target).await,
                None => return Ok(None),
            },
        }?;
        self.next = None;
        if let Some(cursor) = page.pagination.next_cursor.clone().filter(|_| !self.single) {
            let mut hash = DefaultHasher::new();
            cursor.hash(&mut hash);
            if !self.seen.insert(hash.finish()) {
                return Err(Error::Protocol(
                    "the list goes in a circle: the same cursor came twice".to_owned(),
                ));
            }
            self.next = Some(vec![("cursor".to_owned(), cursor)]);
            // one count at the beginning is enough
            self.query.retain(|(name, _)| name != "total");
        }
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(page.len() as u64);
        }
        Ok(Some(page))
    }

    /// Begins to fetch the next page, so that it comes while this one is looked at. Not done by
    /// [`next`](Self::next): a reader that is gone after the first rows should cost no further page.
    pub async fn read_ahead(&mut self) {
        if self.left == Some(0) || !self.ahead.is_empty() {
            return;
        }
        if let Some(target) = self.target() {
            let client = self.client.clone();
            self.ahead.spawn(async move { fetch(&client, &target).await });
            // lets the request leave before the rows are looked at, which may not wait for anything
            for _ in 0..3 {
                tokio::task::yield_now().await;
            }
        }
    }

    fn target(&self) -> Option<String> {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(&self.query).extend_pairs(self.next.as_ref()?);
        Some(format!("{}?{}", self.path, query.finish()))
    }

    /// The same as a stream; it ends at the first failure.
    pub fn into_stream(self) -> impl Stream<Item = Result<RawPage, Error>> + Send {
        futures_util::stream::unfold(Some(self), |pages| async move {
            let mut pages = pages?;
            match pages.next().await {
                Ok(Some(page)) => {
                    pages.read_ahead().await;
                    Some((Ok(page), Some(pages)))
                }
                Ok(None) => None,
                Err(wrong) => Some((Err(wrong), None)),
            }
        })
    }
}

async fn fetch(client: &Client, target: &str) -> Result<RawPage, Error> {
    let request = transport::Request::new("GET", target.to_owned(), None, &How::default());
    RawPage::read(client.authorised(&request, false).await?.body)
}
