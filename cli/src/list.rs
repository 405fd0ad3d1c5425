//! Every list: the flags, the pages, and where they stop.

use bursar_shared::{
    client::{Client, RawPages},
    field::{Position, TotalMode},
    filter,
    operation::Operation,
    page::{List, MAX_PAGE_SIZE, Page, Pagination, Resource},
    wire,
};
use clap::Args;

use crate::{
    context::Cx,
    curl,
    error::{Failure, Result},
    output::{self, Sink, View},
    watch,
};

/// What a table at a terminal shows when nobody says how much.
const SCREENFUL: u64 = 100;

/// Flags of every list.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ListArgs {
    /// Only these rows: status:active created>-7d email:^ada (bursar help filters)
    #[arg(long, value_name = "FILTER")]
    filter: Option<String>,
    /// The order: a key, with - in front for descending
    #[arg(long, value_name = "KEY", allow_hyphen_values = true)]
    sort: Option<String>,
    /// Stop after so many rows
    #[arg(long, value_name = "N", conflicts_with = "all")]
    limit: Option<u64>,
    /// All rows, also in a table at a terminal
    #[arg(long)]
    all: bool,
    /// Only this page, from 1
    #[arg(long, value_name = "N", conflicts_with_all = ["limit", "all", "cursor"])]
    page: Option<u32>,
    /// Rows fetched at once
    #[arg(long, value_name = "N")]
    page_size: Option<u32>,
    /// Go on where another list stopped
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
    /// Load along, separated by commas
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    include: Vec<String>,
    /// How many of it a row, at most
    #[arg(long, value_name = "N")]
    include_limit: Option<u32>,
    /// How to count
    #[arg(long, value_name = "HOW", value_parser = ["bounded", "exact", "none"])]
    total: Option<String>,
    /// After the list print each record of it that changes, until ^C or --limit rows
    #[arg(short, long, conflicts_with_all = ["page", "cursor"])]
    watch: bool,
}

impl ListArgs {
    /// Nothing but a filter.
    pub(crate) fn filtered(filter: Option<&str>) -> Self {
        Self { filter: filter.map(str::to_owned), ..Self::default() }
    }

    /// The list that the flags describe.
    pub(crate) fn list<R: Resource>(&self) -> Result<List<R>> {
        let mut list = List::<R>::new();
        if let Some(text) = &self.filter {
            let parsed = filter::parse::<R>(text).map_err(|wrong| Failure::filter(text, &wrong))?;
            list = parsed.apply(list);
        }
        if let Some(text) = &self.sort {
            list.sort = Some(R::sort(text).ok_or_else(|| {
                let keys = R::SORTS.join(", ");
                Failure::usage(format!("--sort must be one of {keys}, with - in front for descending")).hint(
                    "the daemon sorts by what has an index; sort the rest yourself: -o tsv --fields ... | sort",
                )
            })?);
        }
        for name in &self.include {
            list.include.push(include_of::<R>(name)?);
        }
        if self.page_size.is_some_and(|size| !(1..=MAX_PAGE_SIZE).contains(&size)) {
            return Err(Failure::usage(format!("--page-size must be between 1 and {MAX_PAGE_SIZE}")));
        }
        if self.page == Some(0) {
            return Err(Failure::usage("--page counts from 1"));
        }
        list.include_limit = self.include_limit;
        list.page = self.page;
        list.page_size = self.page_size;
        list.cursor.clone_from(&self.cursor);
        list.total = match &self.total {
            Some(text) => Some(text.parse().map_err(|_| Failure::usage("--total is not understood"))?),
            None => None,
        };
        Ok(list)
    }
}

/// The help of `--filter` where words search: what they look at differs from list to list.
pub(crate) fn filter_help<R: Resource>(filter: clap::Arg) -> clap::Arg {
    let help = filter.get_help().map(ToString::to_string).unwrap_or_default();
    filter.help(format!("{help}; words look at {}", R::SEARCHED))
}

/// What is loaded with each row, by the name that was typed.
pub(crate) fn include_of<R: Resource>(name: &str) -> Result<&'static str> {
    let known = R::INCLUDES.iter().find(|include| include.name == name);
    known.map(|include| include.name).ok_or_else(|| {
        let names: Vec<&str> = R::INCLUDES.iter().map(|include| include.name).collect();
        let names = if names.is_empty() { "nothing here".to_owned() } else { names.join(", ") };
        Failure::usage(format!("--include does not know {name}; valid: {names}"))
    })
}

/// Writes a list.
pub(crate) async fn run<R>(
    cx: &Cx,
    client: &Client,
    view: &View,
    args: &ListArgs,
    list: List<R>,
) -> Result<()>
where
    R: Resource,
    List<R>: Operation<Answer = Page<R>>,
{
    if !args.watch {
        return run_as(cx, client, view, args, list, |list| list).await;
    }
    watch::check(cx, R::NAME)?;
    if cx.globals.as_curl {
        return Err(
            Failure::usage("--watch is many calls; --as-curl prints one").hint("leave one of them out")
        );
    }
    // asked first, so that nothing is missed between the list and what follows it
    let head = watch::head(client).await?;
    let (again, most) = (list.clone(), args.limit.unwrap_or(u64::MAX));
    let (op, limit) = entered(cx, args, list)?;
    let (mut sink, mut pages) = begun(cx, client, view, &op, limit)?;
    // of the log, what was shown may be newer than what was asked first
    let mut head = head;
    let last = copy(&mut pages, &mut sink, limit, |row| {
        #[derive(serde::Deserialize)]
        struct Numbered {
            seq: i64,
        }
        if R::AFTER
            && let Ok(row) = serde_json::from_slice::<Numbered>(row)
        {
            head = head.max(row.seq);
        }
    })
    .await?;
    if last.is_some_and(|last| last.next_cursor.is_some()) && args.limit.is_none() {
        cx.say(&format!("the first {}; watching all", grouped(sink.rows())));
    }
    watch::follow(cx, client, sink, &again, head, most).await
}

/// Writes a list that is part of another request: the entries of an account.
pub(crate) async fn run_as<R, O>(
    cx: &Cx,
    client: &Client,
    view: &View,
    args: &ListArgs,
    list: List<R>,
    wrap: impl FnOnce(List<R>) -> O,
) -> Result<()>
where
    R: Resource,
    O: Operation<Answer = Page<R>>,
{
    if args.watch {
        return Err(Failure::usage(format!("--watch watches whole lists, not the {} of one", view.name))
            .hint("bursar events tail shows all changes"));
    }
    let (list, limit) = entered(cx, args, list)?;
    let paged = list.after.is_none() && list.cursor.is_none();
    let words = list.q.clone();
    let op = wrap(list);
    if cx.globals.as_curl {
        return curl::print(cx, client, &op, &Default::default());
    }
    let (mut sink, mut pages) = begun(cx, client, view, &op, limit)?;
    let last = stream(&mut pages, &mut sink, limit).await?;
    // an empty list may mean that it was not searched where the word stands
    if let Some(words) = words.filter(|_| sink.rows() == 0 && last.is_some() && output::stderr_is_terminal())
    {
        let words = bursar_shared::text::clean(&words).into_owned();
        cx.say(&format!("nothing by \"{words}\": words look at {} (bursar help filters)", R::SEARCHED));
    }
    if let Some(last) = last.filter(|_| cx.style().is_ok_and(|style| style.for_people())) {
        note(cx, view, &sink, args, &last, paged);
    }
    Ok(())
}

/// Where a list is entered, and how many rows of it are wanted.
fn entered<R: Resource>(cx: &Cx, args: &ListArgs, mut list: List<R>) -> Result<(List<R>, Option<u64>)> {
    let screen = cx.style()?.for_people() && !args.all && args.limit.is_none() && list.page.is_none();
    let limit = if screen { Some(SCREENFUL) } else { args.limit };
    if list.page.is_none() {
        let most = limit.unwrap_or(u64::from(MAX_PAGE_SIZE)).clamp(1, u64::from(MAX_PAGE_SIZE));
        list.page_size = list.page_size.or(u32::try_from(most).ok());
        if list.cursor.is_none() && list.after.is_none() && list.around.is_none() {
            list.position = Some(Position::Start);
        }
        if screen && list.total.is_none() {
            list.total = Some(TotalMode::Bounded);
        }
    }
    Ok((list, limit))
}

/// A place for the rows, and where they come from.
fn begun<O: Operation>(
    cx: &Cx,
    client: &Client,
    view: &View,
    op: &O,
    limit: Option<u64>,
) -> Result<(Sink, RawPages)> {
    let target = wire::encode(op).map_err(|wrong| Failure::new(1, wrong.to_string()))?.target;
    let pages = client.raw_pages(&target);
    let pages = if let Some(limit) = limit { pages.limit(limit) } else { pages };
    Ok((Sink::new(cx.style()?, view, true), pages))
}

/// Copies pages to the sink, to its end; gives where the last one lay.
pub(crate) async fn stream(
    pages: &mut RawPages,
    sink: &mut Sink,
    limit: Option<u64>,
) -> Result<Option<Pagination>> {
    let last = copy(pages, sink, limit, |_| ()).await?;
    sink.end()?;
    Ok(last)
}

/// Copies pages to a sink that stays open.
async fn copy(
    pages: &mut RawPages,
    sink: &mut Sink,
    limit: Option<u64>,
    mut shown: impl FnMut(&[u8]),
) -> Result<Option<Pagination>> {
    let most = limit.unwrap_or(u64::MAX);
    let mut last = None;
    if most > 0 {
        while let Some(page) = pages.next().await? {
            let mut rows = page.rows().take(usize::try_from(most - sink.rows()).unwrap_or(usize::MAX));
            // the first row goes out alone: whoever wanted only that is gone before we ask for more
            if let Some(row) = rows.next() {
                sink.row(row)?;
                shown(row);
                if sink.streams() {
                    sink.page_end()?;
                }
            }
            pages.read_ahead().await;
            for row in rows {
                sink.row(row)?;
                shown(row);
            }
            sink.page_end()?;
            last = Some(page.pagination);
        }
    }
    Ok(last)
}

/// Says below a table what there is beyond it.
fn note(cx: &Cx, view: &View, sink: &Sink, args: &ListArgs, last: &Pagination, paged: bool) {
    let shown = sink.rows();
    let more = last.next_cursor.as_deref();
    let total = match (last.total, last.total_accuracy) {
        (Some(total), bursar_shared::page::TotalAccuracy::Exact) => Some(grouped(total)),
        (Some(total), bursar_shared::page::TotalAccuracy::AtLeast) => {
            Some(format!("more than {}", grouped(total)))
        }
        _ => None,
    };
    let name = view.name;
    let mut text = match (args.page, more, total) {
        (Some(page), _, Some(total)) => format!("page {page} · {total} {name}"),
        (Some(page), _, None) => format!("page {page}"),
        (None, None, _) => format!("{} {}", grouped(shown), if shown == 1 { view.singular() } else { name }),
        (None, Some(cursor), total) => {
            let of = total.map(|total| format!(" of {total}")).unwrap_or_default();
            // a cursor is long; a page of the same size goes on as well, and can be typed
            let next = match paged && (1..=u64::from(MAX_PAGE_SIZE)).contains(&shown) {
                true => format!("--page 2 --page-size {shown}"),
                false => format!("--cursor {}", bursar_shared::text::clean(cursor)),
            };
            format!("{}{of} {name} · all: --all · next: {next}", grouped(shown))
        }
    };
    if sink.hides_columns() {
        text.push_str(" · more columns: -o wide");
    }
    cx.say(&text);
}

/// A number with commas between the thousands.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use bursar_shared::operations::users::User;

    use super::*;

    #[test]
    fn flags_become_the_list_that_is_sent() {
        let args = ListArgs {
            filter: Some("status:active ada".to_owned()),
            sort: Some("-name".to_owned()),
            include: vec!["sessions".to_owned()],
            total: Some("exact".to_owned()),
            ..ListArgs::default()
        };
        let sent = serde_json::to_string(&args.list::<User>().unwrap()).unwrap();
        assert_eq!(
            sent,
            r#"{"sort":"-name","q":"ada","include":"sessions","total":"exact","filter[status]":"active"}"#
        );
    }

    #[test]
    fn wrong_flags_name_the_right_ones() {
        let fails = |args: ListArgs| args.list::<User>().unwrap_err().message;
        assert!(fails(ListArgs { sort: Some("age".into()), ..Default::default() }).contains("createdAt"));
        assert!(fails(ListArgs { include: vec!["x".into()], ..Default::default() }).contains("sessions"));
        assert!(fails(ListArgs { filter: Some("a:b".into()), ..Default::default() }).contains("status"));
    }

    #[test]
    fn groups_thousands() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }
}
