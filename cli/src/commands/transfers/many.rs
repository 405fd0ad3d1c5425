//! `bursar transfers create -f credits.csv`: many transfers from a file, each made once.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    pin::pin,
    time::Duration,
};

use bursar_shared::{
    client::{Client, Reply, session},
    error::{ApiError, ErrorCode},
    field::{BulkMode, TransferKind, TransferMode},
    operations::{
        system::GetVerdict,
        transfers::{BatchResult, BatchTransfers, CreateTransfer, Transfer},
    },
    page::{List, Op},
};
use serde_json::{Value, json};

use super::{
    Create,
    check::{Checked, check, known},
    lines::{Accounts, Reader, VALID, member},
    twice,
};
use crate::{
    bulk::{
        Batch, Cutter, NOTES, Progress, Rejects,
        earlier::Earlier,
        identity, known_by,
        run::{Header, Next, Run},
        source::{Record, Source},
    },
    change::{self, Change, Weight},
    context::Cx,
    error::{Failure, Result, said},
    journal::KEPT_MONEY,
    list::grouped,
    output::Sink,
    views,
};

/// How many refused lines are said; all stand in the file of rejects.
const SAID: u64 = 10;
/// How many lines go as one: all or none.
const ATOMIC: u64 = 1_000;

/// What became of the lines so far.
#[derive(Default)]
struct Count {
    made: u64,
    /// Made by an earlier run.
    there: u64,
    refused: u64,
    /// Refused by an earlier run, whose file of rejects holds them.
    before: u64,
    /// Not sent, and not shown any more: answered so long ago that the daemon forgot.
    old: u64,
    first: Option<ApiError>,
}

/// What flags say, as columns of every line.
fn flags(args: &Create) -> Result<Vec<(String, Value)>> {
    let texts = [
        ("fromAccountId", &args.from),
        ("toAccountId", &args.to),
        ("amount", &args.amount),
        ("currency", &args.currency),
        ("expiresIn", &args.expires_in),
        ("reason", &args.reason),
        ("description", &args.description),
    ];
    let mut flags: Vec<(String, Value)> =
        texts.into_iter().filter_map(|(name, text)| Some((name.to_owned(), json!(text.as_ref()?)))).collect();
    if args.hold {
        flags.push(("hold".to_owned(), json!("true")));
    }
    let facts = change::pairs(&args.metadata, "--metadata")?;
    flags.extend(facts.into_iter().map(|(key, value)| (format!("metadata.{key}"), value)));
    Ok(flags)
}

/// Makes the transfers of a file.
pub(super) async fn create(cx: &Cx, client: &Client, args: &Create, source: &Source) -> Result<()> {
    if args.external_id.is_some() {
        return Err(Failure::usage("--external-id is for one transfer; a file has a column external-id"));
    }
    if args.change.if_match.is_some() || args.change.idempotency_key.is_some() {
        return Err(Failure::usage("--if-match and --idempotency-key are for one transfer").hint(
            "the keys of a file follow from what stands in it; --run NAME sends the same lines once more",
        ));
    }
    for column in source.columns()?.iter().filter(|name| !NOTES.contains(&name.as_str())) {
        if member(column).is_none() {
            let column = bursar_shared::text::clean(column);
            return Err(Failure::new(7, format!("{} has an unknown column {column}", source.name))
                .hint(format!("columns are {VALID}")));
        }
    }
    let mut reader = Reader { accounts: Accounts::new(client), flags: flags(args)? };
    let folder = cx.paths()?.runs();
    let file = source.path.as_ref().and_then(|path| std::fs::canonicalize(path).ok());
    let earlier = Earlier::new(&folder, client.server())?;
    let checked = check(cx, source, &mut reader, &earlier.runs_of(file.as_deref())).await?;
    if checked.lines == 0 {
        cx.say(&format!("{} has no lines; nothing was sent", source.name));
        return Ok(());
    }
    if args.atomic && checked.batches.len() > 1 {
        let lines = grouped(checked.lines);
        return Err(Failure::new(
            7,
            format!("--atomic takes at most {ATOMIC} lines, and {} has {lines}", source.name),
        )
        .hint("without it each line stands for itself"));
    }
    let (lines, s) = (grouped(checked.lines), if checked.lines == 1 { "" } else { "s" });
    let change =
        Change::begin(cx, client, &args.change, Weight::Light, &format!("make {lines} transfer{s}"))?;
    let header = Header {
        id: identity(&checked.batches, args.run.as_deref().unwrap_or_default()),
        file,
        server: client.server().to_owned(),
        who: change::who(client)?,
        batches: u32::try_from(checked.batches.len()).unwrap_or(u32::MAX),
        run: args.run.clone(),
        lines: checked.lines,
        whole: checked.whole.clone(),
        at: session::local_now(),
    };
    let real = !args.change.dry_run && !cx.globals.as_curl;
    // a dry run says what the real one would, its refusals too
    let run = match (cx.globals.as_curl, real) {
        (true, _) => None,
        (false, real) => {
            twice::refuse(source, args, &checked, &earlier, &header)?;
            Some(if real { Run::open(&folder, &header)? } else { Run::look(&folder, &header)? })
        }
    };
    let mut sending = Sending {
        cx,
        client,
        change,
        args,
        reader,
        run,
        id: &header.id,
        sink: Sink::new(cx.style()?, &views::TRANSFERS, true),
        rejects: match cx.globals.as_curl {
            true => None,
            false => Some(Rejects::new(source, args.rejects.as_deref())?),
        },
        progress: Progress::new(cx),
        count: Count::default(),
        total: checked.lines,
        batches: checked.batches.len(),
        rejected: BTreeSet::new(),
        earlier: BTreeSet::new(),
    };
    if let Some(before) = sending.run.as_ref().map(Run::made).filter(|made| *made > 0) {
        cx.say(&format!("going on with an earlier run: {} of {lines} lines were made", grouped(before)));
    }
    let sent = sending.all(source, &checked).await;
    sending.end(source, sent)
}

/// A file on its way.
struct Sending<'a> {
    cx: &'a Cx,
    client: &'a Client,
    change: Change<'a>,
    args: &'a Create,
    reader: Reader<'a>,
    run: Option<Run>,
    id: &'a str,
    sink: Sink,
    rejects: Option<Rejects>,
    progress: Progress,
    count: Count,
    total: u64,
    batches: usize,
    /// Batches whose refused lines are in our file of rejects.
    rejected: BTreeSet<u32>,
    /// Files of rejects that earlier runs left.
    earlier: BTreeSet<PathBuf>,
}

/// Nobody listens any more: what is being sent goes on, and its end is said.
fn unheard(written: Result<()>) -> Result<()> {
    match written {
        Err(failure) if failure.is_end_of_output() => Ok(()),
        written => written,
    }
}

/// Under one key the daemon takes one request.
fn other_flags() -> Failure {
    Failure::new(6, "these lines were sent before with other flags; nothing more was sent")
        .hint("say the same flags as then, or --run NAME to send all lines once more")
}

impl Sending<'_> {
    /// Sends all batches, in the order of the file.
    async fn all(&mut self, source: &Source, checked: &Checked) -> Result<()> {
        let mut stop = pin!(tokio::signal::ctrl_c());
        let mut cutter = Cutter::new();
        let mut records = source.records()?;
        loop {
            let batch = match records.next() {
                None => match cutter.end() {
                    Some(batch) => batch,
                    None => return Ok(()),
                },
                Some(record) => {
                    let changed =
                        || Failure::new(6, format!("{} was changed while it was read", source.name));
                    let record = record.map_err(|_| changed())?;
                    let op = self.reader.read(&record).await?.map_err(|_| changed())?;
                    match cutter.push(record, op, known) {
                        Some(batch) => batch,
                        None => continue,
                    }
                }
            };
            if checked.batches.get(batch.number as usize) != Some(&batch.digest) {
                return Err(Failure::new(6, format!("{} was changed while it was read", source.name)));
            }
            let (mut stopped, cx) = (false, self.cx);
            {
                let mut sent = pin!(self.send(batch));
                tokio::select! {
                    biased;
                    sent = &mut sent => sent?,
                    _ = &mut stop => {
                        stopped = true;
                        cx.say("stopping when the answer is there; ^C again leaves at once");
                        // what is on its way gets its answer, unless somebody cannot wait
                        tokio::select! {
                            sent = &mut sent => sent?,
                            _ = tokio::signal::ctrl_c() => return Err(Failure::new(130, "stopped before the answer came")),
                        }
                    }
                }
            }
            if stopped {
                return Err(Failure::new(130, "stopped"));
            }
        }
    }

    async fn send(&mut self, batch: Batch<CreateTransfer>) -> Result<()> {
        let now = session::local_now();
        let next = self.run.as_ref().map_or(Next::Send(0), |run| run.next(batch.number, now, KEPT_MONEY));
        let attempt = match next {
            Next::Send(attempt) => attempt,
            Next::Known(made, refused) => {
                self.count.there += made;
                self.count.old += refused;
                return Ok(());
            }
            Next::Lost => {
                let first = batch.lines.first().map_or(0, |(record, _)| record.line);
                return Err(Failure::new(6, format!("what became of the lines from {first} on was never heard, and the daemon has forgotten their key: sent again they could be made twice"))
                    .hint("look whether they were made; send those that were not from a file of their own"));
            }
        };
        let earlier = self.run.as_ref().is_some_and(|run| run.knows(batch.number));
        let mode = if self.args.atomic { BulkMode::Atomic } else { BulkMode::Independent };
        let items = batch.lines.iter().map(|(_, op)| serde_json::to_value(op)).collect::<Result<_, _>>()?;
        let op = BatchTransfers { mode, items };
        let body = known_by(&serde_json::to_vec(&op)?);
        let again = if attempt == 0 { String::new() } else { format!("-{attempt}") };
        let key = format!("file-{}-{}{again}", self.id, batch.number);
        if self.args.change.dry_run
            && let Some(run) = &self.run
            && let Some(reply) = self.answer_of(&key).await?
        {
            if run.differs(batch.number, attempt, &body) {
                return Err(other_flags());
            }
            return self.answered(&batch, reply, earlier).await;
        }
        if let Some(run) = &mut self.run {
            run.begun(batch.number, attempt, &body, now)?;
        }
        let reply = match self.change.make_under(&op, &key).await {
            Ok(Some(reply)) => reply,
            Ok(None) => return Ok(()),
            Err(failure) => return self.failed(&batch, failure),
        };
        self.answered(&batch, reply, earlier).await
    }

    /// What the daemon answered under a key: the real run would be told the same, and a dry run is told
    /// nothing of keys.
    async fn answer_of(&self, key: &str) -> Result<Option<Reply<BatchResult>>> {
        let verdict = self.client.call(&GetVerdict { key: key.to_owned() }).await?;
        let Some(data) = verdict.data else { return Ok(None) };
        self.change.only_tried();
        let answer = serde_json::from_value(data)?;
        Ok(Some(Reply { answer, request_id: String::new(), etag: None, replayed: true, dry_run: true }))
    }

    /// A batch that was refused as a whole.
    fn failed(&mut self, batch: &Batch<CreateTransfer>, failure: Failure) -> Result<()> {
        if failure.code == Some(ErrorCode::IdempotencyKeyReused) {
            return Err(other_flags());
        }
        let items =
            failure.details.get("items").filter(|_| self.args.atomic).and_then(Value::as_array).cloned();
        let (Some(_), Some(code)) = (items, failure.code) else { return Err(failure) };
        let guilty = failure.details["index"].as_u64().unwrap_or_default() as usize;
        let of = |index: usize| batch.lines.get(index).map_or(0, |(record, _)| record.line);
        let aborted = format!("not made, for line {} was refused", of(guilty));
        let message = failure.message.trim_start_matches(&format!("Item {guilty}: "));
        let message = message.trim_end_matches(" Nothing was changed.").to_owned();
        self.rejected.insert(batch.number);
        for (index, (record, _)) in batch.lines.iter().enumerate() {
            match index == guilty {
                true => self.refused(record, &ApiError::new(code, message.clone()))?,
                false => {
                    self.count.refused += 1;
                    if let Some(rejects) = &mut self.rejects {
                        rejects.add(record, &aborted)?;
                    }
                }
            }
        }
        if let Some(run) = &mut self.run {
            run.done(batch.number, 0, batch.lines.len() as u64)?;
        }
        Ok(())
    }

    async fn answered(
        &mut self,
        batch: &Batch<CreateTransfer>,
        reply: Reply<BatchResult>,
        earlier: bool,
    ) -> Result<()> {
        let (mut made, mut there, mut refused) = (0, 0, 0);
        let known = self.run.as_ref().filter(|_| reply.replayed).and_then(|run| run.rejects_of(batch.number));
        // a file of this name is written anew, and must hold them then
        let gone =
            |path: &&Path| !path.exists() || self.rejects.as_ref().is_some_and(|file| file.replaces(path));
        let known = known.filter(|path| !gone(path)).map(Path::to_owned);
        for outcome in reply.answer.items {
            let Some((record, op)) = batch.lines.get(outcome.index as usize) else { continue };
            if let Some(transfer) = outcome.data {
                made += 1;
                unheard(self.show(&transfer))?;
                continue;
            }
            let error = outcome.error.unwrap_or_else(|| ApiError::new(ErrorCode::Unknown, "was not made"));
            if let Some(transfer) = self.there_already(op, &error).await? {
                there += 1;
                unheard(self.show(&transfer))?;
            } else {
                refused += 1;
                match &known {
                    // somebody may have corrected them meanwhile, and sent them: they are not offered again
                    Some(path) => {
                        self.count.before += 1;
                        self.earlier.insert(path.clone());
                    }
                    None => {
                        self.rejected.insert(batch.number);
                        self.refused(record, &error)?;
                    }
                }
            }
        }
        if earlier && reply.replayed {
            there += std::mem::take(&mut made);
        }
        self.count.made += made;
        self.count.there += there;
        if let Some(run) = &mut self.run {
            run.done(batch.number, made + there, refused)?;
        }
        unheard(self.sink.page_end())?;
        let (count, total) = (&self.count, self.total);
        let done = count.made + count.there + count.refused + count.before + count.old;
        self.progress.at(|took| {
            let rate = done as f64 / took.max(Duration::from_millis(1)).as_secs_f64();
            let refused = if count.refused > 0 {
                format!(" · {} refused", grouped(count.refused))
            } else {
                String::new()
            };
            format!(
                "{} of {} lines{refused} · {} a second",
                grouped(done),
                grouped(total),
                grouped(rate as u64)
            )
        });
        Ok(())
    }

    fn show(&mut self, transfer: &Transfer) -> Result<()> {
        // people at a terminal get the figures; a million rows would only scroll by
        if self.cx.style()?.for_people() {
            return Ok(());
        }
        self.sink.row(&serde_json::to_vec(transfer)?)
    }

    fn refused(&mut self, record: &Record, error: &ApiError) -> Result<()> {
        self.count.refused += 1;
        let code = Some(error.code).filter(|code| *code != ErrorCode::Unknown);
        let why = format!("{}{}", said(error), code.map(|code| format!(" [{code}]")).unwrap_or_default());
        if self.count.refused <= SAID {
            self.progress.clear();
            self.cx.say(&format!("line {}: {}", record.line, bursar_shared::text::clean(&why)));
        }
        self.count.first.get_or_insert_with(|| error.clone());
        match &mut self.rejects {
            Some(rejects) => rejects.add(record, &why),
            None => Ok(()),
        }
    }

    /// The transfer that has this external id already, when it is the very same: an earlier run made it.
    async fn there_already(&mut self, op: &CreateTransfer, error: &ApiError) -> Result<Option<Transfer>> {
        let Some(name) = op.external_id.as_ref().filter(|_| error.code == ErrorCode::AlreadyExists) else {
            return Ok(None);
        };
        let list = List::<Transfer>::new().size(1).with("externalId", Op::Eq, name.as_str());
        let Ok(list) = list else { return Ok(None) };
        let Some(found) = self.client.call(&list).await?.rows.pop() else { return Ok(None) };
        let kind = match op.mode {
            Some(TransferMode::Hold) => TransferKind::Hold,
            _ => TransferKind::Transfer,
        };
        let same = found.kind == kind
            && found.currency == op.currency
            && found.amount == op.amount.minor()
            && self.reader.accounts.id(op.from_account_id).await? == Some(found.from_account_id)
            && self.reader.accounts.id(op.to_account_id).await? == Some(found.to_account_id);
        Ok(same.then_some(found))
    }

    /// Says what became of it.
    fn end(mut self, source: &Source, sent: Result<()>) -> Result<()> {
        self.progress.clear();
        // those of a dry run would be paid by the real run as well, once somebody corrected and sent them
        let rejects = self.rejects.take().filter(|_| !self.args.change.dry_run);
        let kept = match rejects.filter(|rejects| rejects.rows() > 0) {
            Some(rejects) => rejects.keep()?,
            None => None,
        };
        if let (Some(run), Some(kept)) = (&mut self.run, &kept) {
            let batches = std::mem::take(&mut self.rejected).into_iter().collect();
            run.kept(&std::path::absolute(kept)?, batches, session::local_now())?;
        }
        unheard(match sent.is_ok() && !self.cx.globals.as_curl && !self.cx.style()?.for_people() {
            true => self.sink.end(),
            // an array that is not closed is seen to be incomplete
            false => self.sink.page_end(),
        })?;
        let Count { made, there, refused, before, old, first } = self.count;
        let mut parts = Vec::new();
        if made > 0 || there == 0 {
            parts.push(format!("{} made", grouped(made)));
        }
        if there > 0 {
            parts.push(format!("{} made before", grouped(there)));
        }
        if refused + old > 0 {
            parts.push(format!("{} refused", grouped(refused + old)));
        }
        if before > 0 {
            parts.push(format!("{} refused before", grouped(before)));
        }
        let lines = format!("{} of {}: {}", grouped(self.total), source.name, parts.join(", "));
        let plural = if self.total == 1 { "line" } else { "lines" };
        if !self.cx.globals.as_curl && sent.is_ok() {
            let tried = if self.args.change.dry_run { "would be: " } else { "" };
            self.cx.say(&format!("{tried}{}", lines.replacen(" of ", &format!(" {plural} of "), 1)));
            if self.args.change.dry_run && self.batches > 1 {
                self.cx.say(
                    "each 1,000 lines were tried by themselves: what those before them move was not there",
                );
            }
        }
        if let Some(kept) = &kept {
            self.cx.say(&format!("refused lines, and why: {}", kept.display()));
        }
        if let Err(mut failure) = sent {
            if failure.quiet {
                return Err(failure);
            }
            let refused = refused + before;
            failure.message = format!("{}; so far {}", failure.message, parts.join(", "));
            *failure.details = json!({
                "made": made, "madeBefore": there, "refused": refused + old, "lines": self.total,
                "cause": *failure.details,
            });
            if matches!(failure.exit, 4 | 8 | 9 | 11 | 13 | 130) {
                failure.hint = Some(format!(
                    "then run the same command again: every line is made once{}",
                    match failure.exit {
                        4 => " (bursar auth login)",
                        _ => "",
                    }
                ));
            }
            return Err(failure);
        }
        let earlier: Vec<String> = self.earlier.iter().map(|path| path.display().to_string()).collect();
        let earlier = earlier.join(", ");
        if before > 0 {
            self.cx.say(&format!("refused by an earlier run, and not tried again: {earlier}"));
        }
        let refused = refused + old + before;
        if refused == 0 || self.cx.globals.as_curl {
            return Ok(());
        }
        let exit = match &first {
            Some(first) if made + there == 0 => first.code.class().exit(),
            _ => 10,
        };
        let mut failure =
            Failure::new(exit, format!("{} of {} lines were refused", grouped(refused), grouped(self.total)));
        *failure.details = json!({ "made": made, "madeBefore": there, "refused": refused, "lines": self.total, "rejects": kept });
        Err(match kept {
            Some(kept) => failure.hint(format!("correct them in {0} and send that file", kept.display())),
            None if before > 0 => failure.hint(format!("correct and send {earlier}, unless you did")),
            None => failure.hint("correct them, and try again"),
        })
    }
}
