//! The context of a request: the app, who is asking, and what came beside the operation.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use bursar_shared::{
    envelope::Meta,
    error::{ApiError, ErrorCode},
    id::{SessionId, UserId},
    operation::{Access, Admits, Answer, Created, Needs, Public, SignedIn},
    operations::{log::Actor, transfers::Transfer},
    permission::{Permission, Permissions, Permit},
    time::Timestamp,
};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    app::Shared,
    db::{Conn, How, Kept, Keyed, Label, Order, Outcome, Plain, Stored, Tx, Written},
    error::{Error, Result, broken, refuse},
    ledger::{Asker, What},
    log::Stamp,
    repositories::{
        roles::{self, Standing},
        sessions,
    },
};

/// How long a verdict is kept under its key.
const KEEP: Duration = Duration::from_secs(72 * 3_600);
/// The same where money moves: who comes back later must not move it again.
const KEEP_MONEY: Duration = Duration::from_secs(30 * 86_400);

/// Members that are shown once: null in what is kept under an idempotency key.
const SHOWN_ONCE: &[&str] = &["resetToken"];

/// Who is asking.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The person.
    pub user: UserId,
    /// Their session.
    pub session: SessionId,
    /// Where they stand.
    pub standing: Arc<Standing>,
    /// What they may do.
    pub permissions: Permissions,
    /// When the credential runs out.
    pub expires: Timestamp,
}

impl Caller {
    /// Refuses without this permission.
    ///
    /// # Errors
    /// `FORBIDDEN` with `details.missing`.
    pub fn needs(&self, permission: Permission) -> Result<()> {
        if self.permissions.has(permission) {
            return Ok(());
        }
        Err(ApiError::new(ErrorCode::Forbidden, format!("You need the permission {permission}."))
            .with(json!({ "missing": [permission] }))
            .into())
    }
}

/// Turns who is asking into who the service talks to, or refuses.
pub trait Admit: Admits {
    /// Whom the service talks to.
    type Who: Actors + Clone + Send + Sync + 'static;

    /// Admits, or refuses.
    ///
    /// # Errors
    /// 401 and 403.
    fn admit(caller: Option<Caller>) -> Result<Self::Who>;
}

fn signed_in(caller: Option<Caller>) -> Result<Caller> {
    caller.ok_or_else(|| refuse(ErrorCode::Unauthenticated, "Sign in first: no credential was sent."))
}

impl Admit for Public {
    type Who = ();
    fn admit(_: Option<Caller>) -> Result<()> {
        Ok(())
    }
}

impl Admit for SignedIn {
    type Who = Caller;
    fn admit(caller: Option<Caller>) -> Result<Caller> {
        signed_in(caller)
    }
}

impl<P: Permit> Admit for Needs<P> {
    type Who = Caller;
    fn admit(caller: Option<Caller>) -> Result<Caller> {
        let caller = signed_in(caller)?;
        if let Access::Needs(permission) = Self::ACCESS {
            caller.needs(permission)?;
        }
        Ok(caller)
    }
}

/// Who goes into the log as the one who did it.
pub trait Actors {
    /// Them.
    fn actor(&self, ip: IpAddr) -> Actor;
    /// Whose idempotency keys these are; nothing for strangers, who have none.
    fn principal(&self) -> Option<String>;
    /// Refuses when rights were withdrawn or the session ended since the request was admitted: a write
    /// may have waited.
    ///
    /// # Errors
    /// 401 and 403.
    fn still(&self, conn: &mut Conn, at: Timestamp) -> Result<()>;
}

impl Actors for () {
    fn actor(&self, ip: IpAddr) -> Actor {
        Actor { id: None, kind: "anonymous".to_owned(), ip: Some(ip.to_string()) }
    }
    fn principal(&self) -> Option<String> {
        None
    }
    fn still(&self, _: &mut Conn, _: Timestamp) -> Result<()> {
        Ok(())
    }
}

impl Actors for Caller {
    fn actor(&self, ip: IpAddr) -> Actor {
        user_actor(self.user, ip)
    }
    fn principal(&self) -> Option<String> {
        Some(self.user.to_string())
    }
    fn still(&self, conn: &mut Conn, at: Timestamp) -> Result<()> {
        let now = roles::standing(conn, &self.user)?;
        let live = sessions::find(conn, self.session)?.is_some_and(|session| session.is_live(at));
        Ok(roles::still(self.permissions, now.as_ref().filter(|_| live))?)
    }
}

/// A person, as the log has them.
pub fn user_actor(user: UserId, ip: IpAddr) -> Actor {
    Actor { id: Some(user.to_string()), kind: "user".to_owned(), ip: Some(ip.to_string()) }
}

/// What came beside the operation.
#[derive(Debug, Clone)]
pub struct Beside {
    /// What the log calls the request.
    pub request_id: String,
    /// Where it came from.
    pub ip: IpAddr,
    /// By which program.
    pub user_agent: Option<String>,
    /// The `Idempotency-Key`.
    pub key: Option<String>,
    /// SHA-256 over method, path, query and body; only with a key.
    pub fingerprint: String,
    /// Whether money moves: the key is required, and kept longer.
    pub keyed: bool,
    /// The version part of `If-Match`.
    pub if_match: Option<i64>,
    /// Only to see what would happen.
    pub dry_run: bool,
    /// The last row that a stream brought before it broke off.
    pub last_event_id: Option<i64>,
}

/// What a service found out for the envelope and the log line.
#[derive(Debug, Default)]
pub struct Notes {
    /// Database queries made.
    pub queries: AtomicU32,
    /// Whether the answer was given before.
    pub replayed: AtomicBool,
}

/// The context of a request.
pub struct Cx<W = Caller> {
    /// What a service may touch.
    pub app: Shared,
    /// Who is asking.
    pub who: W,
    /// What came beside the operation.
    pub beside: Beside,
    /// What the service found out.
    pub notes: Arc<Notes>,
    /// By when nothing new is begun for this request any more.
    pub deadline: Instant,
}

/// The answer to a request whose time is over before it changed anything.
fn out_of_time() -> Error {
    refuse(ErrorCode::Timeout, "The answer took too long; nothing was changed.")
}

impl<W> Cx<W> {
    /// Refuses once the time of the request is over; asked before what takes long.
    ///
    /// # Errors
    /// `TIMEOUT`.
    pub fn in_time(&self) -> Result<()> {
        if Instant::now() < self.deadline { Ok(()) } else { Err(out_of_time()) }
    }
}

impl<W: Actors + Clone + Send + Sync + 'static> Cx<W> {
    /// Now.
    pub fn now(&self) -> Timestamp {
        self.app.clock.now()
    }

    /// Reads in a snapshot.
    ///
    /// # Errors
    /// Those of `look`, and of the database.
    pub async fn read<T, F>(&self, look: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Conn) -> Result<T> + Send + 'static,
    {
        self.looked(self.app.db.read(look)).await
    }

    /// Reads a row or two, and does not wait behind lists: signing in must not.
    ///
    /// # Errors
    /// Those of `look`, and of the database.
    pub async fn look_up<T, F>(&self, look: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Conn) -> Result<T> + Send + 'static,
    {
        self.looked(self.app.db.look_up(look)).await
    }

    /// Reads a piece of a walk that takes as long as it takes: the walk itself has no end by time, and a
    /// moment without a free connection does not end it.
    ///
    /// # Errors
    /// Those of `look`, and of the database.
    pub async fn piece<T, F>(&self, look: F) -> Result<T>
    where
        T: Send + 'static,
        F: Fn(&mut Conn) -> Result<T> + Clone + Send + 'static,
    {
        for _ in 0..5 {
            match self.app.db.read(look.clone()).await {
                Err(Error::Refused(busy)) if busy.error.code == ErrorCode::Overloaded => {}
                read => {
                    let (value, queries) = read?;
                    self.notes.queries.fetch_add(queries, Ordering::Relaxed);
                    return Ok(value);
                }
            }
        }
        self.read(look).await
    }

    async fn looked<T>(&self, look: impl Future<Output = Result<(T, u32)>>) -> Result<T> {
        let read = tokio::time::timeout_at(self.deadline, look).await;
        let (value, queries) = read.map_err(|_| out_of_time())??;
        self.notes.queries.fetch_add(queries, Ordering::Relaxed);
        Ok(value)
    }

    fn how(&self) -> How {
        let keep = if self.beside.keyed { KEEP_MONEY } else { KEEP };
        let key = self.beside.key.clone().zip(self.who.principal()).map(|(key, principal)| Keyed {
            principal,
            key,
            fingerprint: self.beside.fingerprint.clone(),
            keep,
        });
        How { stamp: self.stamp(), key, dry_run: self.beside.dry_run }
    }

    fn stamp(&self) -> Stamp {
        Stamp { actor: self.who.actor(self.beside.ip), request_id: self.beside.request_id.clone() }
    }

    /// Changes something: queue, begin, key, closure, log rows, commit, caches, answer. `change` may
    /// run more than once. With `dryRun` it is rolled back. On a full disk it is refused, unless `label` is
    /// [`urgent`](crate::db::urgent) or [`recorded`](crate::db::recorded).
    ///
    /// # Errors
    /// Those of `change`, of the key, and of the database.
    pub async fn write<A, F>(&self, label: impl Into<Label>, change: F) -> Result<A>
    where
        A: Answer,
        F: Fn(&mut Tx<'_>) -> Result<Outcome<A>> + Send + Sync + 'static,
    {
        self.in_time()?;
        let how = self.how();
        let who = self.who.clone();
        let written = self
            .app
            .db
            .write(label, how, move |tx| {
                let now = tx.now();
                who.still(tx, now)?;
                Ok(match change(tx)? {
                    Outcome::Done(answer) => Outcome::Done(Kept(answer)),
                    Outcome::Keep(refusal) => Outcome::Keep(refusal),
                })
            })
            .await?;
        match written {
            Written::Done(Kept(answer)) => Ok(answer),
            Written::Replayed(stored) => {
                self.notes.replayed.store(true, Ordering::Relaxed);
                replayed(stored, self.now())
            }
        }
    }

    /// Changes something without a key or dry run: for signing in and out.
    ///
    /// # Errors
    /// Those of `change`, and of the database.
    pub async fn write_plain<T, F>(&self, label: impl Into<Label>, change: F) -> Result<T>
    where
        T: Send + 'static,
        F: Fn(&mut Tx<'_>) -> Result<Outcome<T>> + Send + Sync + 'static,
    {
        let how = How { stamp: self.stamp(), key: None, dry_run: false };
        let written = self
            .app
            .db
            .write(label, how, move |tx| {
                Ok(match change(tx)? {
                    Outcome::Done(value) => Outcome::Done(Plain(value)),
                    Outcome::Keep(refusal) => Outcome::Keep(refusal),
                })
            })
            .await?;
        match written {
            Written::Done(Plain(value)) => Ok(value),
            Written::Replayed(_) => Err(broken("a write without a key was replayed")("impossible".into())),
        }
    }
}

impl Cx {
    /// Moves money, in a batch with others who do: queue, key, ledger, log rows, commit, answer. With
    /// `dryRun` it is rolled back.
    ///
    /// # Errors
    /// Refusals of the ledger, of the key, and of the database.
    pub async fn post(&self, what: What) -> Result<Created<Transfer>> {
        self.in_time()?;
        let (user, session, permissions) = (self.who.user, self.who.session, self.who.permissions);
        let asker = Some(Asker { user, session, permissions });
        let issues = self.who.permissions.has(Permission::LedgerIssue);
        match self.app.db.post(self.how(), Order { what, issues, asker }).await? {
            Written::Done(moved) => Ok(moved),
            Written::Replayed(stored) => {
                self.notes.replayed.store(true, Ordering::Relaxed);
                replayed(stored, self.now())
            }
        }
    }
}

fn replayed<A: Answer>(stored: Stored, now: Timestamp) -> Result<A> {
    match stored {
        Stored::Error(error) => Err(error.into()),
        Stored::Data(data) => {
            let data: Option<A::Data> = serde_json::from_value(data)?;
            A::from_parts(data, Meta::new(now, String::new()))
                .ok_or_else(|| broken("a stored answer")("its data is missing".into()))
        }
    }
}

/// What is kept of an answer: its data, without what is shown once.
pub(crate) fn kept(data: Option<Value>) -> Value {
    let mut data = data.unwrap_or(Value::Null);
    if let Value::Object(members) = &mut data {
        for name in SHOWN_ONCE {
            if let Some(secret) = members.get_mut(*name) {
                *secret = Value::Null;
            }
        }
    }
    data
}

/// Refuses a write to a copy that is stale.
///
/// # Errors
/// `VERSION_MISMATCH` with the current copy.
pub fn check_version(
    if_match: Option<i64>,
    version: i64,
    current: impl FnOnce() -> Result<Value>,
) -> Result<()> {
    match if_match {
        Some(seen) if seen != version => Err(ApiError::new(
            ErrorCode::VersionMismatch,
            format!("Somebody else saved first: you saw version {seen}, it is at {version}."),
        )
        .with(json!({ "current": current()? }))
        .into()),
        _ => Ok(()),
    }
}
