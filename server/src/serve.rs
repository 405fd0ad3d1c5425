//! The wrapper that every operation passes: id, who, limit, admit, decode and check, service,
//! envelope, one log line.

mod beside;

use std::{
    convert::Infallible,
    panic::AssertUnwindSafe,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    extract::{FromRequestParts, OriginalUri, RawPathParams, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, request::Parts},
    response::Response,
    routing::{MethodFilter, on},
};
use bursar_shared::{
    envelope::{Envelope, Meta},
    error::{ApiError, ErrorCode},
    id,
    operation::{Access, Admits, Answer, Extras, Method, Operation},
    wire,
};
use futures_util::{FutureExt as _, StreamExt as _};
use serde_json::json;

use self::beside::{beside, fingerprint, wants_csv};
use crate::{
    app::Shared,
    cx::{Admit, Caller, Cx, Notes, user_actor},
    db::{How, Outcome, Plain, recorded},
    error::{Error, Refusal, Result, broken, later, refuse},
    limits::{ANONYMOUS, SESSION, Verdict, network, ratelimit, ratelimit_policy, retry_after},
    listener::{
        Peer,
        body::{ReadError, read},
    },
    log::{Draft, Stamp},
    services::{
        auth::{session_revoked, token_error},
        stream::Frames,
    },
};

/// How long a request may take: its body, and until the last thing is begun for it. What was begun to be
/// written is waited for.
const TIME: Duration = Duration::from_secs(30);

/// The header by which requests are found in the log.
static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
static REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
static RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
static RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

type Who<O> = <<O as Operation>::Access as Admit>::Who;

/// Mounts operations.
pub trait RouterExt {
    /// Mounts the operation that the service takes. A public operation whose service asks for a
    /// caller, or the other way round, does not compile.
    #[must_use]
    fn op<O, F, Fut>(self, service: F) -> Self
    where
        O: Operation,
        O::Access: Admit,
        F: Fn(Cx<Who<O>>, O) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<O::Answer>> + Send;

    /// Mounts an operation whose answer is a stream of server-sent events.
    #[must_use]
    fn stream<O, F, Fut>(self, service: F) -> Self
    where
        O: Operation,
        O::Access: Admit,
        F: Fn(Cx<Who<O>>, O) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<Frames>> + Send;
}

impl RouterExt for Router<Shared> {
    fn op<O, F, Fut>(self, service: F) -> Self
    where
        O: Operation,
        O::Access: Admit,
        F: Fn(Cx<Who<O>>, O) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<O::Answer>> + Send,
    {
        let handler = move |State(app): State<Shared>, request: Request| {
            let service = service.clone();
            async move { handle::<O, F, Fut>(app, request, service).await }
        };
        self.route(O::PATH, on(method(O::METHOD), handler))
    }

    fn stream<O, F, Fut>(self, service: F) -> Self
    where
        O: Operation,
        O::Access: Admit,
        F: Fn(Cx<Who<O>>, O) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<Frames>> + Send,
    {
        const { assert!(<O::Answer as Answer>::STREAMED, "this operation answers with an envelope") };
        let handler = move |State(app): State<Shared>, request: Request| {
            let service = service.clone();
            async move { handle_stream::<O, F, Fut>(app, request, service).await }
        };
        self.route(O::PATH, on(method(O::METHOD), handler))
    }
}

const fn method(method: Method) -> MethodFilter {
    match method {
        Method::Get => MethodFilter::GET,
        Method::Post => MethodFilter::POST,
        Method::Put => MethodFilter::PUT,
        Method::Patch => MethodFilter::PATCH,
        Method::Delete => MethodFilter::DELETE,
    }
}

/// What is known of a request before anything is decided.
struct Seen {
    begun: Instant,
    request_id: String,
    ip: std::net::IpAddr,
    caller: Option<Caller>,
    verdicts: Vec<Verdict>,
    dry_run: bool,
    notes: Arc<Notes>,
}

impl Seen {
    fn new(app: &Shared, parts: &Parts) -> Self {
        let offered = parts.headers.get(&REQUEST_ID).and_then(|value| value.to_str().ok());
        let request_id = match offered.filter(|text| id::is_request_id(text)) {
            Some(text) => text.to_owned(),
            None => id::request_id(),
        };
        let peer = parts
            .extensions
            .get::<Peer>()
            .map_or(std::net::Ipv4Addr::LOCALHOST.into(), |peer| peer.address.ip());
        let forwarded = parts.headers.get_all(&FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
        let forwarded: Vec<&str> = forwarded.collect();
        Self {
            begun: Instant::now(),
            request_id,
            ip: app.config.trusted_proxies.client(peer, forwarded.into_iter()),
            caller: None,
            verdicts: Vec::new(),
            dry_run: false,
            notes: Arc::default(),
        }
    }
}

async fn handle<O, F, Fut>(app: Shared, request: Request, service: F) -> Response
where
    O: Operation,
    O::Access: Admit,
    F: Fn(Cx<Who<O>>, O) -> Fut,
    Fut: Future<Output = Result<O::Answer>>,
{
    let (mut parts, body) = request.into_parts();
    let mut seen = Seen::new(&app, &parts);
    let result = run::<O, _, F, Fut>(&app, &mut parts, body, service, &mut seen).await;
    let etag_wanted = parts.headers.get(header::IF_NONE_MATCH).cloned();
    let (status, mut response, code, fault) = match result {
        Ok(answer) => match answer.csv().filter(|_| wants_csv(&parts)) {
            Some(table) => (200, csv(table), None, None),
            None => {
                let (data, extras) = answer.into_parts();
                let (status, response) =
                    success::<O>(&app, &parts, data.as_ref(), extras, etag_wanted.as_ref(), &seen);
                (status, response, None, None)
            }
        },
        Err(why) => failed(&app, why, &seen),
    };
    finish(&mut response, &seen, O::PATH.starts_with("/v1/auth/"));
    write_line::<O>(&app, &seen, status, code, fault);
    response
}

/// A table for spreadsheets: with the stream the only answer without the envelope.
fn csv(table: String) -> Response {
    let mut response = Response::new(Body::from(table));
    let kind = HeaderValue::from_static("text/csv; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

fn failed(app: &Shared, why: Error, seen: &Seen) -> (u16, Response, Option<ErrorCode>, Option<String>) {
    let (refusal, fault) = why.answer();
    let code = refusal.error.code;
    (code.status(), failure(app, &refusal, seen), Some(code), fault)
}

/// A stream begins like every answer; how it ends, it says itself.
async fn handle_stream<O, F, Fut>(app: Shared, request: Request, service: F) -> Response
where
    O: Operation,
    O::Access: Admit,
    F: Fn(Cx<Who<O>>, O) -> Fut,
    Fut: Future<Output = Result<Frames>>,
{
    let (mut parts, body) = request.into_parts();
    let mut seen = Seen::new(&app, &parts);
    let (status, mut response, code, fault) =
        match run::<O, _, F, Fut>(&app, &mut parts, body, service, &mut seen).await {
            Ok(frames) => {
                let mut response = Response::new(Body::from_stream(frames.map(Ok::<_, Infallible>)));
                let headers = response.headers_mut();
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
                // proxies that collect answers would hold rows back (nginx)
                headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
                (200, response, None, None)
            }
            Err(why) => failed(&app, why, &seen),
        };
    finish(&mut response, &seen, false);
    write_line::<O>(&app, &seen, status, code, fault);
    response
}

async fn run<O, T, F, Fut>(
    app: &Shared,
    parts: &mut Parts,
    body: Body,
    service: F,
    seen: &mut Seen,
) -> Result<T>
where
    O: Operation,
    O::Access: Admit,
    F: Fn(Cx<Who<O>>, O) -> Fut,
    Fut: Future<Output = Result<T>>,
{
    if app.is_draining() {
        return Err(later(ErrorCode::ShuttingDown, "The daemon is stopping.", Duration::from_secs(2)));
    }
    let credential = match O::Access::ACCESS {
        Access::Public => Ok(None),
        _ => authenticate(app, &parts.headers).await,
    };
    limit(app, seen, credential.as_ref().ok().and_then(Option::as_ref))?;
    seen.caller = credential?;
    let who = match O::Access::admit(seen.caller.clone()) {
        Ok(who) => who,
        // boxed: what is rare must not make every request larger
        Err(why) => return Err(Box::pin(note_denial::<O>(app, seen, why)).await),
    };
    let _counted = app.metrics.in_flight.enter();
    let Ok(_permit) = app.in_flight.try_acquire() else {
        return Err(later(
            ErrorCode::Overloaded,
            "Too many requests at this moment.",
            Duration::from_secs(1),
        ));
    };
    let mut beside = beside::<O>(parts, seen)?;
    seen.dry_run = beside.dry_run;
    let deadline = tokio::time::Instant::from_std(seen.begun) + TIME;
    let body = read_body::<O>(&parts.headers, body, deadline).await?;
    let path = RawPathParams::from_request_parts(parts, &())
        .await
        .map_err(|_| refuse(ErrorCode::MalformedRequest, "The path is not valid UTF-8."))?;
    let members: Vec<(&str, &str)> = path.iter().collect();
    let query = parts.uri.query().unwrap_or("");
    let op: O = wire::decode(&members, query, &body)?;
    if beside.key.is_some() {
        beside.fingerprint = fingerprint::<O>(parts, query, &body);
    }
    let cx = Cx { app: app.clone(), who, beside, notes: seen.notes.clone(), deadline };
    // a panic is a fault like any other: it is answered, and the connection stays
    let served = AssertUnwindSafe(async {
        fail::fail_point!("in-service");
        service(cx, op).await
    })
    .catch_unwind()
    .await;
    match served.unwrap_or_else(|_| Err(broken(O::NAME)("it panicked; the line before says where".into()))) {
        Err(why) if is_denial(&why) => Err(Box::pin(note_denial::<O>(app, seen, why)).await),
        done => done,
    }
}

/// Who sends this, if they say so.
async fn authenticate(app: &Shared, headers: &HeaderMap) -> Result<Option<Caller>> {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let invalid =
        || refuse(ErrorCode::TokenInvalid, "The Authorization header must be `Bearer` and a token.");
    let text = value.to_str().map_err(|_| invalid())?;
    let token = match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
        _ => return Err(invalid()),
    };
    let now = app.clock.now();
    let checked = match app.caches.tokens.get(token) {
        // a checked signature stays right; the time does not, and its key may be gone
        Some(checked) if checked.claims.exp > now.seconds() && app.keys.ring.holds(&checked.kid) => checked,
        _ => {
            let checked = Arc::new(app.keys.ring.verify_access(token, now).map_err(token_error)?);
            app.caches.tokens.insert(token.to_owned(), checked.clone());
            checked
        }
    };
    let claims = &checked.claims;
    let session = app.session(claims.sid).await?;
    let live =
        session.is_some_and(|session| session.is_live(now) && session.user_id == claims.sub.to_string());
    let standing = app.standing(claims.sub).await?;
    match standing {
        Some(standing) if live && standing.status == bursar_shared::field::UserStatus::Active => {
            Ok(Some(Caller {
                user: claims.sub,
                session: claims.sid,
                permissions: standing.permissions(),
                expires: claims.accepted_until(),
                standing,
            }))
        }
        _ => Err(session_revoked()),
    }
}

/// Counts the request: by session with a good credential, else by address.
fn limit(app: &Shared, seen: &mut Seen, caller: Option<&Caller>) -> Result<()> {
    if app.limiter.is_off() {
        return Ok(());
    }
    let verdict = match caller {
        Some(caller) => app.limiter.check(SESSION, caller.session),
        None => app.limiter.check(ANONYMOUS, network(seen.ip)),
    };
    seen.verdicts.push(verdict);
    if verdict.allowed {
        return Ok(());
    }
    let mut refusal = Refusal {
        error: ApiError::new(ErrorCode::RateLimited, "Too many requests."),
        retry_after: Some(verdict.retry_after),
    };
    refusal.error.details = json!({ "policies": [verdict.policy.name] });
    Err(Error::Refused(Box::new(refusal)))
}

fn is_denial(why: &Error) -> bool {
    matches!(why, Error::Refused(refusal) if refusal.error.code.status() == 403)
}

/// Every 403 of somebody who is signed in leaves a row in the log.
async fn note_denial<O: Operation>(app: &Shared, seen: &Seen, why: Error) -> Error {
    let (Some(caller), true) = (&seen.caller, is_denial(&why)) else { return why };
    let Error::Refused(refusal) = &why else { return why };
    let facts = json!({
        "operation": O::NAME,
        "code": refusal.error.code,
        "details": refusal.error.details,
    });
    let stamp = Stamp { actor: user_actor(caller.user, seen.ip), request_id: seen.request_id.clone() };
    let how = How { stamp, key: None, dry_run: false };
    let noted = app
        .db
        .write(recorded("access.denied"), how, move |tx| {
            tx.log(Draft::about("access.denied", "access").data(&facts));
            Ok(Outcome::Done(Plain(())))
        })
        .await;
    // that nothing is written on a full disk is told once, not once a request
    if let Err(fault) = noted
        && !app.db.room().is_short()
    {
        tracing::error!(request_id = seen.request_id, why = %fault, "a denial was not written down");
    }
    why
}

async fn read_body<O: Operation>(
    headers: &HeaderMap,
    body: Body,
    deadline: tokio::time::Instant,
) -> Result<axum::body::Bytes> {
    let bytes = read(body, O::BODY_LIMIT, deadline).await.map_err(|why| match why {
        ReadError::TooLarge => {
            let limit = O::BODY_LIMIT;
            let error =
                ApiError::new(ErrorCode::BodyTooLarge, format!("The body may have at most {limit} bytes."));
            Error::from(error.with(json!({ "limit": limit })))
        }
        ReadError::TooSlow => refuse(ErrorCode::Timeout, "The body took too long; nothing was changed."),
        ReadError::Broken => refuse(ErrorCode::MalformedRequest, "The body ended early."),
    })?;
    if !bytes.is_empty() && O::METHOD.has_body() {
        let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
        let kind = kind.split(';').next().unwrap_or("").trim();
        let json = kind.eq_ignore_ascii_case("application/json")
            || kind.eq_ignore_ascii_case("application/merge-patch+json");
        if !json {
            return Err(refuse(ErrorCode::UnsupportedMediaType, "The body must be application/json."));
        }
    }
    Ok(bytes)
}

fn meta(app: &Shared, seen: &Seen) -> Meta {
    let mut meta = Meta::new(app.clock.now(), seen.request_id.clone());
    meta.dry_run = seen.dry_run;
    meta.replayed = seen.notes.replayed.load(Ordering::Relaxed);
    meta
}

fn success<O: Operation>(
    app: &Shared,
    parts: &Parts,
    data: Option<&<O::Answer as Answer>::Data>,
    extras: Extras,
    etag_wanted: Option<&HeaderValue>,
    seen: &Seen,
) -> (u16, Response) {
    let mut meta = meta(app, seen);
    let includes = parts.uri.query().is_some_and(|query| query.contains("include="));
    let etag = extras.etag.filter(|_| O::METHOD == Method::Get && !includes);
    let status = if seen.dry_run { 200 } else { <O::Answer as Answer>::STATUS };
    let link = extras.pagination.as_ref().and_then(|pagination| links(parts, pagination));
    meta.pagination = extras.pagination;
    meta.included = extras.included;
    meta.currencies = extras.currencies;
    let unchanged = etag.as_ref().is_some_and(|etag| {
        etag_wanted.and_then(|value| value.to_str().ok()).is_some_and(|list| {
            // the weak comparison (RFC 9110, 13.1.2): proxies that compress weaken tags
            let mut tags = list.split(',').map(|one| one.trim().trim_start_matches("W/"));
            tags.any(|one| one == etag || one == "*")
        })
    });
    let (status, mut response) = match unchanged {
        true => (304, empty(304)),
        false => (status, envelope(status, &Envelope { data, error: None, meta })),
    };
    let headers = response.headers_mut();
    let mut put = |name: HeaderName, text: Option<String>| {
        if let Some(value) = text.and_then(|text| HeaderValue::from_str(&text).ok()) {
            headers.insert(name, value);
        }
    };
    put(header::ETAG, etag);
    put(header::LOCATION, extras.location.filter(|_| !seen.dry_run));
    put(header::LINK, link);
    (status, response)
}

/// `Link` with next and prev, for followers that do not read bodies (RFC 8288).
fn links(parts: &Parts, pagination: &bursar_shared::page::Pagination) -> Option<String> {
    let path = parts.extensions.get::<OriginalUri>().map_or(parts.uri.path(), |uri| uri.0.path());
    let kept: Vec<&str> = parts
        .uri
        .query()
        .unwrap_or("")
        .split('&')
        .filter(|pair| {
            let name = pair.split('=').next().unwrap_or("");
            !pair.is_empty() && !["page", "cursor", "position", "around", "after"].contains(&name)
        })
        .collect();
    let link = |cursor: &Option<String>, rel: &str| {
        cursor.as_ref().map(|cursor| {
            let mut query = kept.join("&");
            if !query.is_empty() {
                query.push('&');
            }
            format!("<{path}?{query}cursor={cursor}>; rel=\"{rel}\"")
        })
    };
    let all: Vec<String> = [link(&pagination.next_cursor, "next"), link(&pagination.prev_cursor, "prev")]
        .into_iter()
        .flatten()
        .collect();
    (!all.is_empty()).then(|| all.join(", "))
}

fn failure(app: &Shared, refusal: &Refusal, seen: &Seen) -> Response {
    let envelope_of: Envelope<()> =
        Envelope { data: None, error: Some(refusal.error.clone()), meta: meta(app, seen) };
    let mut response = envelope(refusal.error.code.status(), &envelope_of);
    let headers = response.headers_mut();
    if let Some(wait) = refusal.retry_after
        && let Ok(value) = HeaderValue::from_str(&retry_after(wait))
    {
        headers.insert(header::RETRY_AFTER, value);
    }
    if refusal.error.code.status() == 401 {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// Headers that every answer has.
fn finish(response: &mut Response, seen: &Seen, secret: bool) {
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&seen.request_id) {
        headers.insert(REQUEST_ID.clone(), value);
    }
    if seen.notes.replayed.load(Ordering::Relaxed) {
        headers.insert(REPLAYED.clone(), HeaderValue::from_static("true"));
    }
    if !seen.verdicts.is_empty() {
        for (name, text) in
            [(&RATE_LIMIT, ratelimit(&seen.verdicts)), (&RATE_LIMIT_POLICY, ratelimit_policy(&seen.verdicts))]
        {
            if let Ok(value) = HeaderValue::from_str(&text) {
                headers.insert(name.clone(), value);
            }
        }
    }
    let cached = if secret { "no-store" } else { "private, no-cache" };
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cached));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}

fn envelope<T: serde::Serialize>(status: u16, envelope: &Envelope<T>) -> Response {
    let bytes = serde_json::to_vec(envelope).unwrap_or_default();
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn empty(status: u16) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
}

/// The one line that a request leaves in the daemon's log.
fn write_line<O: Operation>(
    app: &Shared,
    seen: &Seen,
    status: u16,
    code: Option<ErrorCode>,
    fault: Option<String>,
) {
    let took = seen.begun.elapsed();
    app.metrics.operation(O::NAME).answered(status, took);
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    let queries = seen.notes.queries.load(Ordering::Relaxed);
    app.db.figures().of_requests.fetch_add(queries.into(), Ordering::Relaxed);
    let user = seen.caller.as_ref().map(|caller| caller.user.to_string());
    let (request_id, ip) = (&seen.request_id, seen.ip.to_string());
    let code = code.map(ErrorCode::as_str);
    match fault {
        Some(fault) => tracing::error!(
            request_id,
            operation = O::NAME,
            status,
            code,
            micros,
            queries,
            user,
            ip,
            fault,
            "request"
        ),
        None => tracing::info!(
            request_id,
            operation = O::NAME,
            status,
            code,
            micros,
            queries,
            user,
            ip,
            "request"
        ),
    }
}

/// An answer in the envelope for what is no operation: an unknown path, a wrong method.
pub fn refused(app: &Shared, parts: &Parts, error: ApiError) -> Response {
    let mut seen = Seen::new(app, parts);
    let refusal = match limit(app, &mut seen, None) {
        Err(Error::Refused(refusal)) => *refusal,
        _ => Refusal { error, retry_after: None },
    };
    let mut response = failure(app, &refusal, &seen);
    finish(&mut response, &seen, false);
    app.metrics.operation("other").answered(refusal.error.code.status(), seen.begun.elapsed());
    tracing::info!(
        request_id = seen.request_id,
        status = refusal.error.code.status(),
        code = refusal.error.code.as_str(),
        ip = %seen.ip,
        "request"
    );
    response
}
