//! `--watch`: a list, and then each record of it that changes, for as long as anybody looks.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    hash::{BuildHasher as _, RandomState},
    pin::pin,
    time::Duration,
};

use bursar_shared::{
    client::{Client, Error, Followed},
    error::Class,
    operation::Operation,
    operations::log::{Event, StreamEvents},
    page::{Condition, FilterValue, List, MAX_PAGE_SIZE, Op, Page, Resource},
};
use futures_util::{FutureExt as _, StreamExt as _};
use serde_json::Value;

use crate::{
    context::Cx,
    error::{Failure, Result},
    output::{self, Format, Sink},
};

/// How many records are remembered as they were shown last.
const REMEMBERED: usize = 10_000;
/// After which a read that failed for the moment is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// The rows of the log that can change a list, when one kind of them alone does.
fn filter(name: &str) -> Vec<Condition> {
    let kind = match name {
        "users" => "user.",
        "sessions" => "session.",
        "transfers" => "transfer.",
        // what an account holds changes with every transfer
        _ => return Vec::new(),
    };
    vec![Condition { field: "type", op: Op::Prefix, value: FilterValue::Text(kind.to_owned()) }]
}

/// The records of a list that a row of the log is about.
fn concerned(name: &str, event: &Event) -> Vec<String> {
    let own = || event.resource.id.clone().into_iter();
    let of = |member: &str| event.data.get(member).and_then(Value::as_str).map(str::to_owned);
    match (name, event.resource.kind.as_str()) {
        ("users", "user") | ("sessions", "session") | ("accounts", "account") => own().collect(),
        ("accounts", "transfer") => ["fromAccountId", "toAccountId"].into_iter().filter_map(of).collect(),
        // a capture changes its hold, a reversal what it takes back
        ("transfers", "transfer") => of("parentId").into_iter().chain(own()).collect(),
        _ => Vec::new(),
    }
}

/// Whether it may be as well in a moment.
fn passes(why: &Error) -> bool {
    match why {
        Error::Unreachable { .. } => true,
        other => matches!(other.class(), Some(Class::Throttled | Class::Unavailable | Class::Internal)),
    }
}

/// The newest row of the log: what comes after it comes with the stream.
pub(crate) async fn head(client: &Client) -> Result<i64> {
    let newest = client.call(&List::<Event>::new().size(1)).await?;
    Ok(newest.rows.first().map_or(0, |event| event.seq))
}

/// Says that this list cannot be watched, before anything is read.
pub(crate) fn check(cx: &Cx, name: &str) -> Result<()> {
    if !matches!(name, "users" | "sessions" | "accounts" | "transfers" | "events" | "audit") {
        return Err(Failure::usage(format!("--watch: nothing tells when {name} change"))
            .hint("bursar events tail shows all changes"));
    }
    if cx.globals.output == Some(Format::Json) {
        return Err(Failure::usage("-o json is one array, and --watch has no end").hint("-o jsonl"));
    }
    Ok(())
}

/// Prints what changes and still belongs to the list, after this row of the log, until ^C or `most` rows.
pub(crate) async fn follow<R>(
    cx: &Cx,
    client: &Client,
    mut sink: Sink,
    list: &List<R>,
    head: i64,
    most: u64,
) -> Result<()>
where
    R: Resource,
    List<R>: Operation<Answer = Page<R>>,
{
    let mut changes = Changes {
        client,
        list,
        due: VecDeque::new(),
        queued: HashSet::new(),
        shown: HashMap::new(),
        after: head,
        hasher: RandomState::new(),
    };
    let mut followed = pin!(client.follow(StreamEvents { after: Some(head), filter: filter(R::NAME) }));
    let mut stop = pin!(tokio::signal::ctrl_c());
    let mut unread = pin!(output::unread());
    let mut away = false;
    while sink.rows() < most {
        let next = tokio::select! {
            biased;
            _ = &mut stop => {
                sink.end()?;
                return Err(Failure::silent(130));
            }
            () = &mut unread => return Ok(()),
            next = followed.next() => next,
            () = tokio::time::sleep(PAUSE), if !changes.due.is_empty() => Some(Followed::Beat { seq: 0 }),
        };
        let Some(mut next) = next else { break };
        // many rows of one commit are often about one record
        loop {
            match next {
                Followed::Row(event) => changes.hear(&event),
                Followed::Live { seq } => {
                    if std::mem::take(&mut away) {
                        cx.say(&format!("bursar: connected again, going on after {seq}"));
                    }
                    changes.look();
                }
                Followed::Beat { .. } => changes.look(),
                Followed::Lost { why, .. } if !std::mem::replace(&mut away, true) => lost(cx, why),
                Followed::Lost { .. } => {}
                Followed::Ended(why) => return Err(why.into()),
            }
            match followed.next().now_or_never().flatten() {
                Some(more) => next = more,
                None => break,
            }
        }
        let shown = tokio::select! {
            biased;
            _ = &mut stop => None,
            shown = changes.show(&mut sink, most) => Some(shown),
        };
        let Some(shown) = shown else {
            sink.end()?;
            return Err(Failure::silent(130));
        };
        match shown {
            Ok(()) => sink.page_end()?,
            // the stream tells when it is back
            Err(Trouble::Read(why)) if passes(&why) => {
                if !std::mem::replace(&mut away, true) {
                    lost(cx, why);
                }
            }
            Err(Trouble::Read(why)) => return Err(why.into()),
            Err(Trouble::Written(failure)) => return Err(failure),
        }
    }
    sink.end()
}

/// Says that the daemon is away.
pub(crate) fn lost(cx: &Cx, why: Error) {
    let why = match why {
        Error::Unreachable { server, reason } => format!("{server} is gone ({reason})"),
        other => Failure::from(other).message,
    };
    cx.say(&format!("bursar: {why}; trying again"));
}

/// Why a change was not shown.
enum Trouble {
    Read(Error),
    Written(Failure),
}

/// What changed and was not shown yet.
struct Changes<'a, R> {
    client: &'a Client,
    list: &'a List<R>,
    /// Ids, the oldest change first; of the log one entry stands for all that is new.
    due: VecDeque<String>,
    /// The same ids, to be found.
    queued: HashSet<String>,
    /// How records looked when they were shown last.
    shown: HashMap<String, u64>,
    /// Of the log: the last row shown.
    after: i64,
    hasher: RandomState,
}

impl<R> Changes<'_, R>
where
    R: Resource,
    List<R>: Operation<Answer = Page<R>>,
{
    fn hear(&mut self, event: &Event) {
        self.look();
        for id in concerned(R::NAME, event) {
            if self.queued.insert(id.clone()) {
                self.due.push_back(id);
            }
        }
    }

    /// The log has rows that no stream brings, and may have had some meanwhile.
    fn look(&mut self) {
        if R::AFTER && self.due.is_empty() {
            self.due.push_back(String::new());
        }
    }

    async fn show(&mut self, sink: &mut Sink, most: u64) -> Result<(), Trouble> {
        while let Some(id) = self.due.front().cloned().filter(|_| sink.rows() < most) {
            let rows = if R::AFTER { self.new_rows().await } else { self.read(&id).await };
            let rows = rows.map_err(Trouble::Read)?;
            let more = R::AFTER && rows.len() >= MAX_PAGE_SIZE as usize;
            for row in rows.iter().take(usize::try_from(most - sink.rows()).unwrap_or(usize::MAX)) {
                let json = serde_json::to_vec(row).map_err(|wrong| Trouble::Written(wrong.into()))?;
                if R::AFTER {
                    let seq = serde_json::from_slice::<Value>(&json).ok().and_then(|row| row["seq"].as_i64());
                    self.after = self.after.max(seq.unwrap_or_default());
                } else {
                    let hash = self.hasher.hash_one(&json);
                    if self.shown.len() >= REMEMBERED {
                        self.shown.clear();
                    }
                    // several changes in one look are shown as what came of them
                    if self.shown.insert(row.id(), hash) == Some(hash) {
                        continue;
                    }
                }
                sink.row(&json).map_err(Trouble::Written)?;
            }
            if !more && let Some(id) = self.due.pop_front() {
                self.queued.remove(&id);
            }
        }
        Ok(())
    }

    /// The record, if it belongs to the list.
    async fn read(&self, id: &str) -> Result<Vec<R>, Error> {
        let mut list = self.list.clone().size(1);
        list.around = Some(id.to_owned());
        (list.position, list.cursor, list.page, list.total) = (None, None, None, None);
        match self.client.call(&list).await {
            // the row of this id, or the one that stands where it would be
            Ok(page) => Ok(page.rows.into_iter().filter(|row| row.id() == id).collect()),
            Err(Error::Api { status: 404, .. }) => Ok(Vec::new()),
            Err(why) => Err(why),
        }
    }

    /// Rows of the log that came after the last.
    async fn new_rows(&self) -> Result<Vec<R>, Error> {
        let mut list = self.list.clone().size(MAX_PAGE_SIZE);
        list.after = Some(self.after);
        (list.position, list.cursor, list.page, list.total, list.sort) = (None, None, None, None, None);
        Ok(self.client.call(&list).await?.rows)
    }
}
