//! Does what `update` asked for: the only file that talks to the daemon.

mod money;

use std::{
    collections::HashMap,
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use bursar_shared::{
    client::{Client, Error, Followed, How, Reply, session::local_now},
    field::{BulkMode, Reason},
    id::UserId,
    operation::Operation,
    operations::{
        auth::{GetCapabilities, Me, RevokeSession, RevokeSessions},
        log::{Event, StreamEvents, Timeline, VerifyAudit},
        roles::Role,
        system::{GetStats, GetVerdict, GetVersion, VerdictState},
        users::{
            ActivateUser, BulkItem, BulkUsers, DeleteUser, GetUser, GetUserPermissions, ResetPassword,
            SetUserRoles, SuspendUser,
        },
    },
    page::{List, MAX_PAGE_SIZE},
    wire,
};
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::{sync::mpsc::UnboundedSender, task::JoinHandle, time};

use crate::{
    Connect, Host, Sending,
    change::{Change, Effect, Item},
    message::{Alarm, Answer, Heard, Msg, Plan, Request, Slot, Ticket, Trouble},
};

/// A request that takes longer than this is said to be under way.
const SLOW: Duration = Duration::from_millis(200);
/// A daemon that does not answer a pulse within this is not there.
const PULSE_LIMIT: Duration = Duration::from_secs(3);
/// Rows of the followed log that are taken in one step.
const AT_ONCE: usize = 200;
/// Rows of a timeline.
const TIMELINE: u32 = 50;
/// People whose names are asked for at the same time.
const NAMES_AT_ONCE: usize = 8;
/// How far an export is, is said this often.
const PROGRESS: Duration = Duration::from_millis(100);
/// Events one pulse brings at most; the next brings the rest.
const PULSE_ROWS: u32 = 200;

/// The tasks under way.
pub(crate) struct Tasks {
    client: Client,
    connect: Connect,
    host: Arc<dyn Host>,
    to: UnboundedSender<Msg>,
    requests: HashMap<Slot, JoinHandle<()>>,
    alarms: HashMap<std::mem::Discriminant<Alarm>, JoinHandle<()>>,
    /// The sign-out, which is not given up for anything.
    farewell: Option<JoinHandle<()>>,
}

impl Tasks {
    /// Talks through this client; answers go there.
    pub(crate) fn new(
        client: Client,
        connect: Connect,
        host: Arc<dyn Host>,
        to: UnboundedSender<Msg>,
    ) -> Self {
        Self { client, connect, host, to, requests: HashMap::new(), alarms: HashMap::new(), farewell: None }
    }

    /// Asks the daemon; an older request of the same slot is given up.
    pub(crate) fn ask(&mut self, ticket: Ticket, request: Request) {
        if let Request::SignIn { server, .. } = &request
            && server.trim_end_matches('/') != self.client.server()
        {
            match (self.connect)(server) {
                Ok(client) => self.client = client,
                Err(why) => {
                    let _ = self.to.send(Msg::Answer(ticket, Err(Trouble::Other(why))));
                    return;
                }
            }
        }
        let request = match request {
            Request::Contexts => {
                let answer = self.host.contexts().map(Answer::Contexts).map_err(Trouble::Other);
                let _ = self.to.send(Msg::Answer(ticket, answer));
                return;
            }
            Request::Switch(name) => {
                let answer = self.host.open(&name).map(|(client, opened)| {
                    self.client = client;
                    Answer::Switched(Box::new(opened))
                });
                let _ = self.to.send(Msg::Answer(ticket, answer.map_err(Trouble::Other)));
                return;
            }
            request => request,
        };
        let (client, to) = (self.client.clone(), self.to.clone());
        if let Request::Export(plan) = request {
            let host = self.host.clone();
            let task = self.spawn(async move {
                let answer = export(client, host, plan, ticket, &to).await;
                let _ = to.send(Msg::Answer(ticket, answer));
            });
            if let Some(before) = self.requests.insert(ticket.slot, task) {
                before.abort();
            }
            return;
        }
        if let Request::Follow(after) = request {
            let task = self.spawn(follow(client, after, ticket, to));
            if let Some(before) = self.requests.insert(ticket.slot, task) {
                before.abort();
            }
            return;
        }
        let leaves = matches!(request, Request::SignOut);
        let host = self.host.clone();
        let task = self.spawn(async move {
            fail::fail_point!("tui-task");
            let mut answer = Box::pin(answer(client, host, request));
            let answer = match time::timeout(SLOW, &mut answer).await {
                Ok(answer) => answer,
                Err(_) => {
                    let _ = to.send(Msg::Alarm(Alarm::Slow(ticket)));
                    answer.await
                }
            };
            // the loop has ended when nobody listens
            let _ = to.send(Msg::Answer(ticket, answer));
        });
        if leaves {
            self.farewell = Some(task);
        } else if let Some(before) = self.requests.insert(ticket.slot, task) {
            before.abort();
        }
    }

    /// Runs it beside the loop; one that panics ends the loop, for its answer never comes.
    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        let to = self.to.clone();
        tokio::spawn(async move {
            if AssertUnwindSafe(work).catch_unwind().await.is_err() {
                let _ = to.send(Msg::Broken);
            }
        })
    }

    /// A change needs not be remembered any more.
    pub(crate) fn forget(&self, key: &str) {
        self.host.judged(key);
    }

    /// Gives up what a slot waits for.
    pub(crate) fn drop(&mut self, slot: Slot) {
        if let Some(task) = self.requests.remove(&slot) {
            task.abort();
        }
    }

    /// Says so after this long.
    pub(crate) fn wake(&mut self, after: Duration, alarm: Alarm) {
        let to = self.to.clone();
        let task = self.spawn(async move {
            time::sleep(after).await;
            let _ = to.send(Msg::Alarm(alarm));
        });
        if let Some(before) = self.alarms.insert(std::mem::discriminant(&alarm), task) {
            before.abort();
        }
    }

    /// Waits a moment for a sign-out that is still on its way.
    pub(crate) async fn finish(&mut self) {
        if let Some(task) = self.farewell.take() {
            let _ = time::timeout(Duration::from_secs(2), task).await;
        }
    }
}

/// Passes on what the log brings, for as long as somebody listens.
async fn follow(client: Client, after: Option<i64>, ticket: Ticket, to: UnboundedSender<Msg>) {
    let followed = client.follow(StreamEvents { after, filter: Vec::new() });
    let mut several = std::pin::pin!(followed.ready_chunks(AT_ONCE));
    while let Some(several) = several.next().await {
        let mut rows = Vec::new();
        let mut all = Vec::new();
        for one in several {
            let heard = match one {
                Followed::Row(event) => {
                    rows.push(*event);
                    continue;
                }
                // nothing to be seen of it
                Followed::Beat { .. } => continue,
                Followed::Live { .. } => Heard::Live,
                Followed::Lost { why, .. } => Heard::Lost(trouble(why)),
                Followed::Ended(why) => Heard::Ended(trouble(why)),
            };
            if !rows.is_empty() {
                all.push(Heard::Rows(std::mem::take(&mut rows)));
            }
            all.push(heard);
        }
        if !rows.is_empty() {
            all.push(Heard::Rows(rows));
        }
        for heard in all {
            if to.send(Msg::Heard(ticket, heard)).is_err() {
                return;
            }
        }
    }
}

async fn answer(client: Client, host: Arc<dyn Host>, request: Request) -> Result<Answer, Trouble> {
    match request {
        Request::SignIn { email, password, .. } => {
            let tokens = client.sign_in(email, password).await.map_err(trouble)?;
            let capabilities = client.call(&GetCapabilities {}).await.map_err(trouble)?;
            Ok(Answer::Who(Box::new(tokens.user), Box::new(capabilities)))
        }
        Request::SignOut => {
            client.sign_out().await.map_err(trouble)?;
            Ok(Answer::SignedOut)
        }
        Request::Who => {
            let (me, may) = (Me {}, GetCapabilities {});
            let (user, capabilities) =
                futures_util::future::try_join(client.call(&me), client.call(&may)).await.map_err(trouble)?;
            Ok(Answer::Who(Box::new(user), Box::new(capabilities)))
        }
        Request::Rights => {
            client.call(&GetCapabilities {}).await.map(Box::new).map(Answer::Rights).map_err(trouble)
        }
        Request::Pulse(after) => {
            // the next pulse is the second try
            let once = How { once: true, ..How::default() };
            let pulse = async {
                match after {
                    Some(_) => {
                        let mut list = List::<Event>::new().size(PULSE_ROWS);
                        list.after = after;
                        client.send(&list, &once).await.map(|reply| reply.answer.rows)
                    }
                    None => client.send(&GetVersion {}, &once).await.map(|_| Vec::new()),
                }
            };
            match time::timeout(PULSE_LIMIT, pulse).await {
                Ok(rows) => rows.map(Answer::Pulse).map_err(trouble),
                Err(_) => Err(Trouble::Unreachable(format!(
                    "{} did not answer within {} s",
                    client.server(),
                    PULSE_LIMIT.as_secs()
                ))),
            }
        }
        Request::Follow(_) | Request::Export(_) | Request::Contexts | Request::Switch(_) => {
            Err(Trouble::Other("this is done elsewhere".to_owned()))
        }
        Request::Stats => client.call(&GetStats {}).await.map(Box::new).map(Answer::Stats).map_err(trouble),
        Request::Events(list) => client.call(&list).await.map(Answer::Events).map_err(trouble),
        Request::Users(list) => client.call(&list).await.map(Answer::Users).map_err(trouble),
        Request::Sessions(list) => client.call(&list).await.map(Answer::Sessions).map_err(trouble),
        Request::Roles(list) => client.call(&list).await.map(Answer::Roles).map_err(trouble),
        Request::Audit(list) => client.call(&list).await.map(Answer::Audit).map_err(trouble),
        Request::AllRoles => {
            let list = List::<Role>::new().size(MAX_PAGE_SIZE);
            client.call(&list).await.map(|page| Answer::AllRoles(page.rows)).map_err(trouble)
        }
        Request::Timeline(id) => {
            let op = Timeline { id, list: List::new().size(TIMELINE) };
            client.call(&op).await.map(|page| Answer::Timeline(id, page.rows)).map_err(trouble)
        }
        Request::Names(ids) => Ok(Answer::Names(names(client, ids).await)),
        Request::Verify => client.call(&VerifyAudit {}).await.map(Answer::Verified).map_err(trouble),
        Request::Permissions(id) => {
            let answer = client.call(&GetUserPermissions { id }).await;
            answer.map(Box::new).map(Answer::Permissions).map_err(trouble)
        }
        Request::Rehearse(change, version) => {
            let how = How { if_match: version, dry_run: true, ..How::default() };
            carry(&client, &*host, change, None, &how).await.map(Answer::Rehearsed)
        }
        Request::Carry(change, key, version, reason) => {
            let how = How { if_match: version, key: Some(key), ..How::default() };
            carry(&client, &*host, change, reason, &how).await.map(Answer::Changed)
        }
        Request::Verdict(key) => {
            let verdict = client.call(&GetVerdict { key: key.clone() }).await.map_err(trouble)?;
            // one that the daemon knows nothing of may still be on its way: it stays written down
            if verdict.state == VerdictState::Done {
                host.judged(&key);
            }
            Ok(Answer::Verdict(Box::new(verdict)))
        }
        request => money::answer(&client, request).await,
    }
}

/// What people are called; those who cannot be read are left out.
async fn names(client: Client, ids: Vec<UserId>) -> Vec<(UserId, String)> {
    let asked = ids.into_iter().map(|id| {
        let client = client.clone();
        async move {
            let user = client.call(&GetUser { id, include: None }).await;
            user.ok().map(|user| (id, user.email.into_string()))
        }
    });
    let named = futures_util::stream::iter(asked).buffer_unordered(NAMES_AT_ONCE);
    named.filter_map(std::future::ready).collect().await
}

/// Writes a list to a file, page by page; says how far it is.
async fn export(
    client: Client,
    host: Arc<dyn Host>,
    plan: Plan,
    ticket: Ticket,
    to: &UnboundedSender<Msg>,
) -> Result<Answer, Trouble> {
    let mut sink = host.export(plan.noun, plan.format, &plan.path).map_err(Trouble::Other)?;
    let mut pages = client.raw_pages(&plan.target);
    let (mut rows, mut said) = (0, Instant::now());
    while let Some(page) = pages.next().await.map_err(trouble)? {
        pages.read_ahead().await;
        for row in page.rows() {
            sink.row(row).map_err(Trouble::Other)?;
            rows += 1;
        }
        if said.elapsed() >= PROGRESS {
            said = Instant::now();
            let _ = to.send(Msg::Progress(ticket, rows));
        }
    }
    let path = sink.end().map_err(Trouble::Other)?;
    Ok(Answer::Exported(rows, path))
}

/// Sends a change. One that is meant is written down before, and forgotten when there is a verdict.
async fn send<O: Operation>(
    client: &Client,
    host: &dyn Host,
    op: &O,
    how: &How,
) -> Result<Reply<O::Answer>, Error> {
    let key = how.key.as_deref().filter(|_| !how.dry_run);
    let mut again = false;
    if let Some(key) = key {
        let encoded = wire::encode(op).map_err(|wrong| Error::Local(wrong.to_string()))?;
        let (method, target) = (O::METHOD.as_str(), encoded.target.as_str());
        let change = Sending { key, method, target, body: encoded.body.as_deref(), if_match: how.if_match };
        again = host.write_down(client, &change).map_err(Error::Local)?;
    }
    let sent = client.send(op, how).await;
    if let Some(key) = key.filter(|_| !sent.as_ref().is_err_and(|why| why.leaves_open(again))) {
        host.judged(key);
    }
    sent
}

async fn carry(
    client: &Client,
    host: &dyn Host,
    change: Change,
    reason: Option<Reason>,
    how: &How,
) -> Result<Effect, Trouble> {
    let person = |user| Effect::Person(Box::new(user));
    // sessions have no version, nor has what is not there yet
    let bare = How { if_match: None, ..how.clone() };
    match change {
        Change::Suspend(id, reason) => {
            send(client, host, &SuspendUser { id, reason }, how).await.map(|r| person(r.answer))
        }
        Change::Activate(id, reason) => {
            send(client, host, &ActivateUser { id, reason }, how).await.map(|r| person(r.answer))
        }
        Change::Delete(id) => send(client, host, &DeleteUser { id }, how).await.map(|_| Effect::Gone),
        Change::EndSessions(user_id) => send(client, host, &RevokeSessions { user_id }, &bare)
            .await
            .map(|r| Effect::Ended(r.answer.revoked)),
        Change::EndSession(id) => {
            send(client, host, &RevokeSession { id }, &bare).await.map(|_| Effect::Gone)
        }
        Change::Reset(id) => {
            send(client, host, &ResetPassword { id }, how).await.map(|r| Effect::Token(r.answer))
        }
        Change::Roles(id, roles) => {
            send(client, host, &SetUserRoles { id, roles }, how).await.map(|r| person(r.answer))
        }
        Change::Create(op) => send(client, host, &*op, &bare).await.map(|r| person(r.answer.0)),
        Change::Edit(op) => send(client, host, &*op, how).await.map(|r| person(r.answer)),
        Change::Many(op, items) => {
            let data = reason.map(|reason| serde_json::json!({ "reason": reason }));
            let item = |Item { id, version, .. }| BulkItem {
                op,
                id: Some(id),
                if_match: version,
                data: data.clone(),
            };
            let items = items.into_iter().map(item).collect();
            let op = BulkUsers { mode: BulkMode::Independent, items };
            send(client, host, &op, &bare).await.map(|r| Effect::Many(r.answer))
        }
        Change::Money(deed) => money::carry(client, host, *deed, how).await,
    }
    .map_err(trouble)
}

fn trouble(error: Error) -> Trouble {
    match error {
        Error::Api { error, request_id, retry_after, .. } => {
            Trouble::Refused { error, request_id, retry_at: retry_after.map(|wait| local_now() + wait) }
        }
        Error::Unreachable { server, reason } => Trouble::Unreachable(format!("{server}: {reason}")),
        Error::Unknown { server, reason, .. } => Trouble::Lost(format!("{server}: {reason}")),
        Error::NotSignedIn => Trouble::SignedOut,
        Error::Protocol(_) => Trouble::Other(error.to_string()),
        Error::Local(_) => Trouble::Local(error.to_string()),
    }
}
