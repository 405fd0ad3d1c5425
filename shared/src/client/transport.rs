//! One request to the daemon, repeated while that is safe and worth it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use reqwest::{
    Url,
    header::{HeaderMap, HeaderName, HeaderValue},
};
use serde::Deserialize;

use super::{Error, How, Options};
use crate::{
    error::{ApiError, ErrorCode},
    id,
};

/// The most bytes an answer may have.
const MAX_ANSWER: usize = 32 << 20;
/// How often a request is sent at most.
const TRIES: u32 = 3;
/// The first pause between two tries; it doubles, and a random part keeps callers apart.
const PAUSE: Duration = Duration::from_millis(200);
/// Longer than any stream lasts: tokens end it within minutes.
const FOREVER: Duration = Duration::from_secs(365 * 86_400);
/// A daemon that wants more patience than this is not waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// A request as it is sent, whichever try it is.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) body: Option<Vec<u8>>,
    pub(super) headers: Vec<(String, String)>,
    if_match: Option<i64>,
    /// The idempotency key; reads have none.
    key: Option<String>,
    /// Whether anything may be changed by it.
    pub(super) changes: bool,
    pub(super) tries: u32,
    pub(super) timeout: Option<Duration>,
}

impl Request {
    pub(super) fn new(method: &str, mut target: String, body: Option<Vec<u8>>, how: &How) -> Self {
        let write = !matches!(method, "GET" | "HEAD" | "OPTIONS");
        if how.dry_run && write {
            target.push(if target.contains('?') { '&' } else { '?' });
            target.push_str("dryRun=true");
        }
        Self {
            method: method.to_owned(),
            target,
            body,
            headers: Vec::new(),
            if_match: how.if_match,
            key: write.then(|| how.key.clone().unwrap_or_else(id::idempotency_key)),
            changes: write && !how.dry_run,
            tries: if how.once { 1 } else { TRIES },
            timeout: None,
        }
    }
}

/// An answer as it came.
#[derive(Debug, Clone)]
pub struct Raw {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
    /// What the body is.
    pub content_type: Option<String>,
    /// What the daemon's log calls the request.
    pub request_id: Option<String>,
    /// The entity tag.
    pub etag: Option<String>,
    /// Whether this was answered before, to the same key.
    pub replayed: bool,
    /// All headers, in order.
    pub headers: Vec<(String, String)>,
}

/// What one try came to.
enum Try {
    Answered(Raw, Option<Duration>),
    /// It never left.
    NotSent(String),
    /// It may have arrived; its answer did not.
    Lost(String),
}

/// The way to the daemon.
#[derive(Clone)]
pub(super) struct Transport(Arc<Way>);

struct Way {
    server: String,
    http: reqwest::Client,
    timeout: Duration,
}

impl Transport {
    pub(super) fn new(server: &str, options: Options) -> Result<Self, Error> {
        let url = address(server, options.insecure_http)?;
        let local = |wrong: reqwest::Error| Error::Local(format!("no client can be made: {}", chain(&wrong)));
        let mut builder = reqwest::Client::builder()
            .user_agent(&options.user_agent)
            .http1_only()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .timeout(options.timeout)
            .connect_timeout(Duration::from_secs(5).min(options.timeout / 2));
        if is_loopback(&url) {
            builder = builder.no_proxy();
        }
        if url.scheme() == "https" {
            // an error means that somebody installed one before us, which is as good
            let _ = rustls::crypto::ring::default_provider().install_default();
            if let Some(path) = &options.ca_cert {
                let unreadable = |why: String| Error::Local(format!("{}: {why}", path.display()));
                let pem = std::fs::read(path).map_err(|wrong| unreadable(wrong.to_string()))?;
                let roots = reqwest::Certificate::from_pem_bundle(&pem).map_err(|w| unreadable(chain(&w)))?;
                if roots.is_empty() {
                    return Err(unreadable("holds no certificate".to_owned()));
                }
                builder = builder.tls_certs_merge(roots);
            }
        } else {
            let _ = rustls::crypto::ring::default_provider().install_default();
            // the system's roots take a while to read and are of no use here
            builder = builder.tls_certs_only([]);
        }
        let server = url.as_str().trim_end_matches('/').to_owned();
        Ok(Self(Arc::new(Way { server, http: builder.build().map_err(local)?, timeout: options.timeout })))
    }

    pub(super) fn server(&self) -> &str {
        &self.0.server
    }

    /// Sends until there is a verdict, or no more tries.
    pub(super) async fn run(&self, request: &Request, token: Option<&str>) -> Result<Raw, Error> {
        let begun = Instant::now();
        let request_id = id::request_id();
        // why an earlier try may have been carried out without our knowing
        let mut lost: Option<String> = None;
        for round in 1.. {
            let tried = match self.once(request, token, &request_id).await {
                Err(Error::Protocol(why)) if request.changes => {
                    return Err(self.unknown(request, why, &request_id));
                }
                tried => tried?,
            };
            let mut pause = PAUSE * (1 << (round - 1));
            let verdict = match tried {
                Try::Answered(raw, retry_after) => {
                    let Some(error) = refusal(&raw) else {
                        // what makes no sense says as little about a change as no answer does
                        if request.changes && !makes_sense(&raw) {
                            let why = "what answered makes no sense".to_owned();
                            return Err(self.unknown(request, why, &request_id));
                        }
                        return Ok(raw);
                    };
                    let (explained, error) = error;
                    let code = error.code;
                    // only an answer of the daemon itself says that nothing happened
                    if !explained && raw.status >= 500 && request.changes {
                        lost = Some(format!("a proxy answered {}", raw.status));
                    }
                    if error.details["outcome"] == "unknown" && request.changes {
                        lost = Some("the daemon lost its database while committing".to_owned());
                    }
                    let again = matches!(raw.status, 429 | 502 | 503 | 504)
                        && code != ErrorCode::StorageFull
                        && retry_after.is_none_or(|wait| wait <= PATIENCE);
                    pause = retry_after.unwrap_or(pause);
                    let (status, replayed) = (raw.status, raw.replayed);
                    let refused =
                        Error::Api { status, error, request_id: raw.request_id, retry_after, replayed };
                    // what is told again was said of the one that was lost
                    let verdict_of_this_try = !replayed && matches!(status, 401 | 403 | 429 | 502..=504);
                    match &lost {
                        // the refusal is about this try, not about the one that was lost
                        Some(why) if verdict_of_this_try => {
                            (again, self.unknown(request, why.clone(), &request_id))
                        }
                        _ => (again, refused),
                    }
                }
                Try::NotSent(why) => {
                    let verdict = match &lost {
                        Some(before) => self.unknown(request, before.clone(), &request_id),
                        None => self.unreachable(why),
                    };
                    (true, verdict)
                }
                Try::Lost(why) if request.changes => {
                    lost = Some(why.clone());
                    (true, self.unknown(request, why, &request_id))
                }
                Try::Lost(why) => (true, self.unreachable(why)),
            };
            let (again, error) = verdict;
            // a try that begins after a whole time limit would keep people waiting for nothing
            if !again || round >= request.tries || begun.elapsed() >= self.0.timeout {
                return Err(error);
            }
            tokio::time::sleep(jittered(pause)).await;
        }
        Err(self.unreachable("nothing was tried".to_owned()))
    }

    /// Opens a stream, once; only what it begins with has a time limit.
    pub(super) async fn open(&self, request: &Request, token: &str) -> Result<reqwest::Response, Error> {
        let request_id = id::request_id();
        let (method, url) = self.where_to(request)?;
        let mut headers = headers(request, Some(token), &request_id)?;
        headers.insert("accept", HeaderValue::from_static("text/event-stream, application/json"));
        // the whole answer may take for ever
        let sending = self.0.http.request(method, url).headers(headers).timeout(FOREVER);
        let response = match tokio::time::timeout(self.0.timeout, sending.send()).await {
            Ok(Ok(response)) => response,
            Ok(Err(wrong)) => return Err(self.unreachable(chain(&wrong))),
            Err(_) => return Err(self.unreachable("no answer in time".to_owned())),
        };
        let streams = response.headers().get("content-type").is_some_and(|kind| kind == "text/event-stream");
        if response.status() == 200 && streams {
            return Ok(response);
        }
        match tokio::time::timeout(self.0.timeout, whole(response)).await {
            Ok(Ok(Try::Answered(raw, retry_after))) => match refusal(&raw) {
                Some((_, error)) => {
                    let (status, request_id, replayed) = (raw.status, raw.request_id, raw.replayed);
                    Err(Error::Api { status, error, request_id, retry_after, replayed })
                }
                None => Err(Error::Protocol("the answer is no stream".to_owned())),
            },
            Ok(Ok(Try::NotSent(why) | Try::Lost(why))) => Err(self.unreachable(why)),
            Ok(Err(why)) => Err(why),
            Err(_) => Err(self.unreachable("no answer in time".to_owned())),
        }
    }

    fn where_to(&self, request: &Request) -> Result<(reqwest::Method, Url), Error> {
        let method = reqwest::Method::from_bytes(request.method.as_bytes())
            .map_err(|_| Error::Local(format!("{} is not an HTTP method", request.method)))?;
        let url = Url::parse(&format!("{}{}", self.0.server, request.target))
            .map_err(|wrong| Error::Local(format!("{}: {wrong}", request.target)))?;
        Ok((method, url))
    }

    fn unreachable(&self, reason: String) -> Error {
        Error::Unreachable { server: self.0.server.clone(), reason }
    }

    pub(super) fn unknown(&self, request: &Request, reason: String, request_id: &str) -> Error {
        match &request.key {
            Some(key) => Error::Unknown {
                key: key.clone(),
                server: self.0.server.clone(),
                reason,
                request_id: request_id.to_owned(),
            },
            None => self.unreachable(reason),
        }
    }

    async fn once(&self, request: &Request, token: Option<&str>, request_id: &str) -> Result<Try, Error> {
        let (method, url) = self.where_to(request)?;
        let mut sending = self.0.http.request(method, url).headers(headers(request, token, request_id)?);
        if let Some(body) = &request.body {
            sending = sending.body(body.clone());
        }
        if let Some(timeout) = request.timeout {
            sending = sending.timeout(timeout);
        }
        match sending.send().await {
            Ok(response) => whole(response).await,
            Err(wrong) if wrong.is_connect() => Ok(Try::NotSent(chain(&wrong))),
            Err(wrong) if wrong.is_builder() => Err(Error::Local(chain(&wrong))),
            Err(wrong) => Ok(Try::Lost(chain(&wrong))),
        }
    }
}

/// Reads an answer to its end.
async fn whole(mut response: reqwest::Response) -> Result<Try, Error> {
    let text =
        |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let retry_after = text("retry-after").and_then(|text| text.parse().ok()).map(Duration::from_secs);
    let mut raw = Raw {
        status: response.status().as_u16(),
        body: Vec::new(),
        content_type: text("content-type"),
        request_id: text("x-request-id"),
        etag: text("etag"),
        replayed: text("idempotency-replayed").as_deref() == Some("true"),
        headers: response
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect(),
    };
    let announced = response.content_length().and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
    raw.body.reserve(announced.min(MAX_ANSWER));
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if raw.body.len() + chunk.len() > MAX_ANSWER => {
                return Err(Error::Protocol("the answer is longer than 32 MiB".to_owned()));
            }
            Ok(Some(chunk)) => raw.body.extend_from_slice(&chunk),
            Ok(None) => return Ok(Try::Answered(raw, retry_after)),
            Err(wrong) => return Ok(Try::Lost(chain(&wrong))),
        }
    }
}

fn headers(request: &Request, token: Option<&str>, request_id: &str) -> Result<HeaderMap, Error> {
    let mut headers = HeaderMap::new();
    let mut put = |name: &str, value: &str| {
        let wrong = || Error::Local(format!("the header {name} cannot be sent"));
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
        let value = HeaderValue::from_str(value).map_err(|_| wrong())?;
        headers.insert(name, value);
        Ok::<(), Error>(())
    };
    put("accept", "application/json")?;
    put("x-request-id", request_id)?;
    if request.body.is_some() {
        put("content-type", "application/json")?;
    }
    if let Some(token) = token {
        put("authorization", &format!("Bearer {token}"))?;
    }
    if let Some(key) = &request.key {
        put("idempotency-key", key)?;
    }
    if let Some(version) = request.if_match {
        put("if-match", &format!("\"{version}\""))?;
    }
    for (name, value) in &request.headers {
        put(name, value)?;
    }
    Ok(headers)
}

/// The refusal in an answer, and whether the daemon itself explained it.
/// Whether it is an answer of a daemon to a change: an envelope, or nothing where nothing is to be said.
fn makes_sense(raw: &Raw) -> bool {
    #[derive(Deserialize)]
    struct Envelope {
        #[serde(rename = "meta")]
        _meta: serde::de::IgnoredAny,
    }
    raw.status == 204 || serde_json::from_slice::<Envelope>(&raw.body).is_ok()
}

fn refusal(raw: &Raw) -> Option<(bool, ApiError)> {
    #[derive(Deserialize)]
    struct Refusal {
        error: ApiError,
    }
    if (200..300).contains(&raw.status) {
        return None;
    }
    match serde_json::from_slice::<Refusal>(&raw.body) {
        Ok(refusal) => Some((true, refusal.error)),
        Err(_) if (300..400).contains(&raw.status) => Some((
            false,
            ApiError::new(ErrorCode::Unknown, "the server sends us elsewhere; redirects are not followed"),
        )),
        Err(_) => Some((false, ApiError::new(ErrorCode::Unknown, "the server refused without a reason"))),
    }
}

/// Half to one and a half of it.
fn jittered(pause: Duration) -> Duration {
    let random = uuid::Uuid::new_v4().as_u128() as u32;
    pause.mul_f64(0.5 + f64::from(random) / f64::from(u32::MAX))
}

/// The whole story of an error, without the address that it repeats.
pub(super) fn chain(wrong: &reqwest::Error) -> String {
    if wrong.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut last: &dyn std::error::Error = wrong;
    let mut story = Vec::new();
    while let Some(source) = last.source() {
        story.push(source.to_string());
        last = source;
    }
    // the innermost says it; the others repeat that something failed
    story.pop().unwrap_or_else(|| wrong.to_string())
}

fn is_loopback(url: &Url) -> bool {
    match url.host_str() {
        Some("localhost") => true,
        Some(host) => {
            let host = host.trim_start_matches('[').trim_end_matches(']');
            host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        }
        None => false,
    }
}

/// Reads the daemon's address.
fn address(server: &str, insecure_http: bool) -> Result<Url, Error> {
    let wrong = |why: &str| Error::Local(format!("{server}: {why}"));
    let url = Url::parse(server).map_err(|_| wrong("must be an address like https://bursar.example.com"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong("must begin with http:// or https://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("must not carry a name or password"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("must end with the host or a path"));
    }
    if url.scheme() == "http" && !is_loopback(&url) && !insecure_http {
        return Err(wrong("plain http beyond this machine shows passwords to the network; use https"));
    }
    Ok(url)
}

/// Whether passwords and tokens can be sent to this address; gives it in the form that is kept.
///
/// # Errors
/// [`Error::Local`] with what is wrong.
pub fn check_address(server: &str, insecure_http: bool) -> Result<String, Error> {
    address(server, insecure_http).map(|url| url.as_str().trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_kept_in_one_form_and_plain_http_stays_at_home() {
        assert_eq!(check_address("HTTP://LocalHost:8460/", false).unwrap(), "http://localhost:8460");
        assert_eq!(check_address("https://x.example.com", false).unwrap(), "https://x.example.com");
        assert!(check_address("http://[::1]:1", false).is_ok());
        for wrong in
            ["http://x.example.com", "ftp://localhost", "https://a:b@x.io", "https://x.io/?a", "localhost:1"]
        {
            assert!(check_address(wrong, false).is_err(), "{wrong}");
        }
        assert!(check_address("http://x.example.com", true).is_ok());
    }

    #[test]
    fn pauses_differ_and_stay_near_what_was_asked() {
        let pauses: Vec<_> = (0..20).map(|_| jittered(PAUSE)).collect();
        assert!(pauses.iter().all(|p| (PAUSE / 2..=PAUSE * 3 / 2).contains(p)));
        assert!(pauses.windows(2).any(|two| two[0] != two[1]));
    }
}
