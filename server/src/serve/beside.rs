//! What comes beside an operation in headers and parameters: key, version, dry run, the last row seen.

use axum::http::{HeaderName, HeaderValue, header, request::Parts};
use bursar_shared::{
    error::{ApiError, ErrorCode},
    operation::{Answer, Method, Operation},
    wire,
};
use ring::digest;

use super::Seen;
use crate::{
    cx::Beside,
    error::{Result, refuse},
};

static IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
static LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// What came beside the operation: key, version, dry run.
pub(super) fn beside<O: Operation>(parts: &Parts, seen: &Seen) -> Result<Beside> {
    let writes = O::METHOD != Method::Get;
    let header = |name: &HeaderName| parts.headers.get(name).map(HeaderValue::to_str);
    let malformed = |what: &str| refuse(ErrorCode::MalformedRequest, what);
    let key = match header(&IDEMPOTENCY_KEY).filter(|_| writes) {
        None => None,
        Some(Ok(text)) => {
            // RFC 8941 strings are accepted beside bare ones
            let key = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
            let fits = (16..=128).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic());
            Some(key.to_owned())
                .filter(|_| fits)
                .ok_or_else(|| malformed("Idempotency-Key must have 16 to 128 visible ASCII characters."))?
                .into()
        }
        Some(Err(_)) => return Err(malformed("Idempotency-Key must be visible ASCII.")),
    };
    let if_match = match header(&header::IF_MATCH).filter(|_| writes) {
        None | Some(Ok("*")) => None,
        Some(text) => {
            let version = text.ok().and_then(|text| {
                let tag = text.trim().trim_matches('"');
                // of a list (RFC 9110, 13.1.1) no tag could be named in the refusal: one copy was read
                (!tag.contains(',')).then(|| tag.split('-').next()?.parse().ok()).flatten()
            });
            Some(version.ok_or_else(|| malformed("If-Match must be one ETag of a record, or its version."))?)
        }
    };
    let last_event_id = match header(&LAST_EVENT_ID).filter(|_| <O::Answer as Answer>::STREAMED) {
        None => None,
        Some(text) => {
            let seq = text.ok().and_then(|text| text.parse().ok()).filter(|seq: &i64| *seq >= 0);
            Some(seq.ok_or_else(|| malformed("Last-Event-ID must be the number of a row of the log."))?)
        }
    };
    let dry_run = O::takes_dry_run() && dry_run(parts.uri.query().unwrap_or(""))?;
    if O::KEYED && key.is_none() && !dry_run {
        let why = "Money moves only with an Idempotency-Key: 16 to 128 visible ASCII characters, made for this \
                   request and sent again with it.";
        return Err(refuse(ErrorCode::IdempotencyKeyRequired, why));
    }
    let user_agent = parts.headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
    Ok(Beside {
        request_id: seen.request_id.clone(),
        ip: seen.ip,
        user_agent: user_agent.map(|text| text.chars().take(200).collect()),
        key,
        fingerprint: String::new(),
        keyed: O::KEYED,
        if_match,
        dry_run,
        last_event_id,
    })
}

fn dry_run(query: &str) -> Result<bool> {
    match wire::read_query(query, &mut Vec::new()).get("dryRun").and_then(|value| value.as_str()) {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(ApiError::violation("?dryRun", "type", "must be true or false").into()),
    }
}

/// What makes two requests the same.
pub(super) fn fingerprint<O: Operation>(parts: &Parts, query: &str, body: &[u8]) -> String {
    let mut sum = digest::Context::new(&digest::SHA256);
    let mut pairs: Vec<&str> = query.split('&').collect();
    pairs.sort_unstable();
    for part in [O::METHOD.as_str().as_bytes(), parts.uri.path().as_bytes(), pairs.join("&").as_bytes(), body]
    {
        sum.update(&(part.len() as u64).to_be_bytes());
        sum.update(part);
    }
    sum.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether the caller names `text/csv` as what they accept.
pub(super) fn wants_csv(parts: &Parts) -> bool {
    let accepted = parts.headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut kinds = accepted.flat_map(|list| list.split(','));
    kinds.any(|kind| kind.split(';').next().unwrap_or("").trim().eq_ignore_ascii_case("text/csv"))
}
