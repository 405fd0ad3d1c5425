//! The one HTTP client: calls operations, keeps a session alive, repeats safely.
//!
//! A call is `client.call(&op)`; everything else here is how that stays true when answers are lost,
//! tokens expire and several processes share one session.

mod error;
#[cfg(test)]
mod fake;
mod follow;
mod pages;
#[cfg(test)]
mod processes;
pub mod profile;
pub mod session;
#[cfg(test)]
mod tests;
mod transport;

use std::{path::PathBuf, sync::Arc, time::Duration};

pub use error::Error;
pub use follow::Followed;
pub use pages::{RawPage, RawPages};
pub use transport::{Raw, check_address};

use futures_util::{Stream, StreamExt as _};

use crate::{
    envelope::Envelope,
    field::{Email, Secret},
    operation::{Access, Admits, Answer, Operation},
    operations::auth::{Login, Logout, Tokens},
    page::{List, Page, Resource},
    time::Timestamp,
    wire,
};

/// How a client behaves, whoever is signed in.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long one request may take.
    pub timeout: Duration,
    /// A file with further root certificates, PEM.
    pub ca_cert: Option<PathBuf>,
    /// What the daemon's session list shows.
    pub user_agent: String,
    /// Whether passwords and tokens may travel unencrypted beyond this machine.
    pub insecure_http: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(30),
            ca_cert: None,
            user_agent: concat!("bursar/", env!("CARGO_PKG_VERSION")).to_owned(),
            insecure_http: false,
        }
    }
}

/// How one call is made.
#[derive(Debug, Clone, Default)]
pub struct How {
    /// Only if the record still has this version.
    pub if_match: Option<i64>,
    /// The idempotency key of a write; made when absent.
    pub key: Option<String>,
    /// Try it for real and undo it.
    pub dry_run: bool,
    /// Not again when there is no answer: for callers who ask again by themselves.
    pub once: bool,
}

/// An answer and what came with it.
#[derive(Debug, Clone)]
pub struct Reply<A> {
    /// The answer itself.
    pub answer: A,
    /// What the daemon's log calls the request.
    pub request_id: String,
    /// The entity tag, for records.
    pub etag: Option<String>,
    /// Whether this was answered before, to the same key.
    pub replayed: bool,
    /// Whether nothing was really changed.
    pub dry_run: bool,
}

/// A way to one daemon, cheap to clone; clones share connections and session.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    transport: transport::Transport,
    session: session::Store,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("server", &self.server()).finish_non_exhaustive()
    }
}

impl Client {
    /// A client of the daemon at `server` (`https://host[:port]`); nobody is signed in.
    ///
    /// # Errors
    /// [`Error::Local`] when the address or a certificate cannot be used.
    pub fn new(server: &str, options: Options) -> Result<Self, Error> {
        let transport = transport::Transport::new(server, options)?;
        Ok(Self(Arc::new(Inner { transport, session: session::Store::nobody() })))
    }

    /// The same with credentials: in memory, in a file shared with other processes, or an API key.
    #[must_use]
    pub fn with_session(self, store: session::Store) -> Self {
        Self(Arc::new(Inner { transport: self.0.transport.clone(), session: store }))
    }

    /// The daemon's address.
    pub fn server(&self) -> &str {
        self.0.transport.server()
    }

    /// Where its credentials are.
    pub fn session(&self) -> &session::Store {
        &self.0.session
    }

    /// Signs in and keeps the tokens.
    ///
    /// # Errors
    /// `INVALID_CREDENTIALS`, `USER_SUSPENDED`, `TEMPORARILY_LOCKED`, or no connection.
    pub async fn sign_in(&self, email: Email, password: Secret) -> Result<Tokens, Error> {
        let (reply, now) = self.exchange(&Login { email, password }, &How::default()).await?;
        self.0.session.keep(self.server(), &reply.answer, now).await?;
        Ok(reply.answer)
    }

    /// Ends the session. The local tokens are forgotten even when the daemon cannot be told.
    ///
    /// # Errors
    /// When the daemon could not be told; its session then ends by itself.
    pub async fn sign_out(&self) -> Result<(), Error> {
        let told = self.call(&Logout { refresh_token: None }).await;
        self.0.session.forget().await?;
        match told {
            // a session that is over already is as good
            Err(Error::NotSignedIn) => Ok(()),
            Err(Error::Api { status: 401, .. }) => Ok(()),
            other => other.map(|_| ()),
        }
    }

    /// A token that is good now, refreshed when it must be.
    ///
    /// # Errors
    /// [`Error::NotSignedIn`], or why it could not be refreshed.
    pub async fn access_token(&self) -> Result<String, Error> {
        self.token(None).await?.ok_or(Error::NotSignedIn)
    }

    async fn token(&self, rejected: Option<&str>) -> Result<Option<String>, Error> {
        self.0.session.token(&self.0.transport, rejected).await
    }

    /// Calls an operation.
    ///
    /// # Errors
    /// What the daemon refused, or why there is no answer.
    pub async fn call<O: Operation>(&self, op: &O) -> Result<O::Answer, Error> {
        self.send(op, &How::default()).await.map(|reply| reply.answer)
    }

    /// Calls an operation and says how.
    ///
    /// # Errors
    /// What the daemon refused, or why there is no answer.
    pub async fn send<O: Operation>(&self, op: &O, how: &How) -> Result<Reply<O::Answer>, Error> {
        self.exchange(op, how).await.map(|(reply, _)| reply)
    }

    async fn exchange<O: Operation>(
        &self,
        op: &O,
        how: &How,
    ) -> Result<(Reply<O::Answer>, Timestamp), Error> {
        let encoded = wire::encode(op).map_err(|wrong| Error::Local(wrong.to_string()))?;
        let mut request = transport::Request::new(O::METHOD.as_str(), encoded.target, encoded.body, how);
        // a lost answer to these leaves nothing behind that somebody would have to look for
        if matches!(O::NAME, "Login" | "Refresh" | "Logout") {
            request.changes = false;
        }
        let public = <O::Access as Admits>::ACCESS == Access::Public;
        let raw = if public {
            self.0.transport.run(&request, None).await?
        } else {
            self.authorised(&request, false).await?
        };
        let request_id = raw.request_id.clone().unwrap_or_default();
        match read(raw) {
            Err(Error::Protocol(why)) if request.changes => {
                Err(self.0.transport.unknown(&request, why, &request_id))
            }
            read => read,
        }
    }

    /// Sends with a token; one that the daemon calls expired is refreshed once.
    async fn authorised(&self, request: &transport::Request, anonymous: bool) -> Result<Raw, Error> {
        let token = self.token(None).await?;
        if token.is_none() && !anonymous {
            return Err(Error::NotSignedIn);
        }
        match self.0.transport.run(request, token.as_deref()).await {
            Err(Error::Api { status: 401, error, .. })
                if error.code == crate::error::ErrorCode::TokenExpired && token.is_some() =>
            {
                let token = self.token(token.as_deref()).await?;
                self.0.transport.run(request, token.as_deref()).await
            }
            other => other,
        }
    }

    /// Opens a stream; a token that the daemon calls expired is refreshed once.
    async fn open_stream(&self, target: String) -> Result<reqwest::Response, Error> {
        let request = transport::Request::new("GET", target, None, &How::default());
        let token = self.access_token().await?;
        match self.0.transport.open(&request, &token).await {
            Err(Error::Api { status: 401, error, .. })
                if error.code == crate::error::ErrorCode::TokenExpired =>
            {
                let token = self.token(Some(&token)).await?.ok_or(Error::NotSignedIn)?;
                self.0.transport.open(&request, &token).await
            }
            other => other,
        }
    }

    /// Sends anything to the daemon: path and query, a body, and headers beside the usual ones. Signed
    /// in when somebody is.
    ///
    /// # Errors
    /// What the daemon refused, or why there is no answer.
    pub async fn send_raw(
        &self,
        method: &str,
        target: &str,
        body: Option<Vec<u8>>,
        headers: &[(String, String)],
        how: &How,
    ) -> Result<Raw, Error> {
        let mut request = transport::Request::new(method, target.to_owned(), body, how);
        request.headers = headers.to_vec();
        self.authorised(&request, true).await
    }

    /// The pages of a list from where it begins, each fetched while the one before is looked at. In
    /// page mode there is one.
    pub fn pages<R>(&self, list: List<R>) -> impl Stream<Item = Result<Page<R>, Error>> + Send + use<R>
    where
        R: Resource,
        List<R>: Operation<Answer = Page<R>>,
    {
        let target = wire::encode(&list).map(|encoded| encoded.target);
        let client = self.clone();
        let begin = match target {
            Ok(target) => Ok(client.raw_pages(&target)),
            Err(wrong) => Err(Error::Local(wrong.to_string())),
        };
        let stream = async move {
            match begin {
                Ok(pages) => pages.into_stream().boxed(),
                Err(wrong) => futures_util::stream::once(async { Err(wrong) }).boxed(),
            }
        };
        futures_util::FutureExt::flatten_stream(stream).map(|page| page.and_then(|page| page.typed()))
    }

    /// The pages of any list, rows as the daemon wrote them; `target` is path and query.
    pub fn raw_pages(&self, target: &str) -> RawPages {
        RawPages::new(self.clone(), target)
    }
}

/// Reads an envelope; gives also the daemon's clock.
fn read<A: Answer>(raw: Raw) -> Result<(Reply<A>, Timestamp), Error> {
    let envelope: Envelope<A::Data> = serde_json::from_slice(&raw.body)
        .map_err(|wrong| Error::Protocol(format!("the answer cannot be read: {wrong}")))?;
    let meta = envelope.meta;
    let now = meta.timestamp;
    let (request_id, replayed, dry_run) = (meta.request_id.clone(), meta.replayed, meta.dry_run);
    let answer = A::from_parts(envelope.data, meta)
        .ok_or_else(|| Error::Protocol("the answer lacks its data".to_owned()))?;
    Ok((Reply { answer, request_id, etag: raw.etag, replayed: replayed || raw.replayed, dry_run }, now))
}
