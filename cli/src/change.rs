//! Every change: protected? asked? written down, sent, answered, said.

use base64::Engine as _;
use bursar_shared::{
    client::{self, Client, How, Raw, Reply, profile::Protect, session},
    decode::{Decode, Decoder},
    error::{ApiError, ErrorCode},
    id,
    operation::Operation,
    operations::Row,
    wire,
};
use clap::Args;
use serde_json::{Map, Value};

use crate::{
    context::Cx,
    curl,
    error::{Failure, Result},
    journal::{Journal, Pending},
    prompt,
};

/// Flags of every change.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ChangeArgs {
    /// Only if the record still has this version; for records that have one and are there already
    #[arg(long, value_name = "VERSION")]
    pub if_match: Option<i64>,
    /// Let the daemon try it for real and undo it
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// The idempotency key; made when absent
    #[arg(long, value_name = "KEY", env = "BURSAR_IDEMPOTENCY_KEY", hide_short_help = true)]
    pub idempotency_key: Option<String>,
}

/// Whether a change is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weight {
    /// Can be undone: not asked about.
    Light,
    /// Cannot be undone: asked about, or `--yes`.
    Heavy,
}

/// A change, ready to be made, once or to many.
pub(crate) struct Change<'a> {
    cx: &'a Cx,
    client: &'a Client,
    journal: Journal,
    args: &'a ChangeArgs,
    context: Option<String>,
    who: String,
    /// Whether it was said that this is only tried.
    tried: std::cell::Cell<bool>,
}

impl<'a> Change<'a> {
    /// Checks that changes may be made here, and asks when that is due. `what` completes "Really ...?".
    pub(crate) fn begin(
        cx: &'a Cx,
        client: &'a Client,
        args: &'a ChangeArgs,
        weight: Weight,
        what: &str,
    ) -> Result<Self> {
        let target = cx.target()?;
        let fits = |key: &str| (16..=128).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic());
        if args.idempotency_key.as_deref().is_some_and(|key| !fits(key)) {
            return Err(Failure::usage("--idempotency-key must be 16 to 128 visible characters"));
        }
        let change = Self {
            cx,
            client,
            journal: Journal::new(&cx.paths()?),
            args,
            context: target.name.clone(),
            who: who(client)?,
            tried: std::cell::Cell::new(false),
        };
        if args.dry_run || cx.globals.as_curl {
            return Ok(change);
        }
        match (target.protect, weight) {
            (Protect::Readonly, _) => {
                let name = target.name.unwrap_or_default();
                return Err(Failure::new(5, format!("the context {name} is read-only; nothing was sent"))
                    .hint(format!(
                        "bursar context create {name} --server {} --protect confirm",
                        target.server
                    )));
            }
            (Protect::Confirm, _) => {
                let name = target.name.unwrap_or_default();
                prompt::confirm(cx, &format!("{name} ({}): really {what}?", target.server))?;
            }
            (Protect::None, Weight::Heavy) => prompt::confirm(cx, &format!("Really {what}?"))?,
            (Protect::None, Weight::Light) => {}
        }
        Ok(change)
    }

    /// How it is sent. A key given by hand is good for one change only.
    fn how(&self, if_match: Option<i64>) -> How {
        How {
            if_match: if_match.or(self.args.if_match),
            key: Some(self.args.idempotency_key.clone().unwrap_or_else(id::idempotency_key)),
            dry_run: self.args.dry_run,
            once: false,
        }
    }

    /// Makes the change; nothing comes back when it was only shown as a curl command.
    pub(crate) async fn make<O: Operation>(&self, op: &O) -> Result<Option<Reply<O::Answer>>> {
        self.make_if(op, None).await
    }

    /// Makes the change if the record still has this version.
    pub(crate) async fn make_if<O: Operation>(
        &self,
        op: &O,
        if_match: Option<i64>,
    ) -> Result<Option<Reply<O::Answer>>> {
        let reply = self.send(op, self.how(if_match)).await?;
        if reply.as_ref().is_some_and(|reply| reply.replayed && !reply.dry_run) {
            self.cx.say("this was done before, under the same key");
        }
        Ok(reply)
    }

    /// Makes a change under a key that follows from what it is; the caller says what became of it.
    pub(crate) async fn make_under<O: Operation>(
        &self,
        op: &O,
        key: &str,
    ) -> Result<Option<Reply<O::Answer>>> {
        self.send(op, How { key: Some(key.to_owned()), ..self.how(None) }).await
    }

    async fn send<O: Operation>(&self, op: &O, how: How) -> Result<Option<Reply<O::Answer>>> {
        // the daemon would not look at it: a guard that guards nothing is worse than none
        if how.if_match.is_some() && !O::ERRORS.contains(&ErrorCode::VersionMismatch) {
            return Err(Failure::usage(
                "--if-match means nothing here: no version is compared; nothing was sent",
            )
            .hint("leave it out"));
        }
        if self.cx.globals.as_curl {
            curl::print(self.cx, self.client, op, &how)?;
            return Ok(None);
        }
        let encoded = wire::encode(op).map_err(|wrong| Failure::new(1, wrong.to_string()))?;
        let again = self.write_down(O::METHOD.as_str(), &encoded.target, encoded.body.as_deref(), &how)?;
        let reply = self.judged(self.client.send(op, &how).await, &how, again)?;
        if reply.dry_run {
            self.only_tried();
        }
        Ok(Some(reply))
    }

    /// Says once that nothing is changed.
    pub(crate) fn only_tried(&self) {
        if !self.tried.replace(true) {
            self.cx.say("dry run: nothing was changed");
        }
    }

    /// Makes a change that is no known operation.
    pub(crate) async fn make_raw(
        &self,
        method: &str,
        target: &str,
        body: Option<Vec<u8>>,
        headers: &[(String, String)],
    ) -> Result<Raw> {
        let how = self.how(None);
        // what is not known here may well compare versions
        guarded(&how, Row::of(method, target).is_none_or(Row::compares_versions))?;
        let again = self.write_down(method, target, body.as_deref(), &how)?;
        self.judged(self.client.send_raw(method, target, body, headers, &how).await, &how, again)
    }

    /// Before a change is sent it is written down, so that a lost answer, or our end, is no riddle; says whether
    /// it was sent before.
    fn write_down(&self, method: &str, target: &str, body: Option<&[u8]>, how: &How) -> Result<bool> {
        if how.dry_run {
            return Ok(false);
        }
        self.journal.write(&Pending {
            key: how.key.clone().unwrap_or_default(),
            context: self.context.clone(),
            server: self.client.server().to_owned(),
            who: self.who.clone(),
            at: session::local_now(),
            method: method.to_owned(),
            target: target.to_owned(),
            if_match: how.if_match,
            body: body.map(|body| String::from_utf8_lossy(body).into_owned()),
        })
    }

    /// A change with a verdict is forgotten.
    fn judged<T>(&self, sent: Result<T, client::Error>, how: &How, again: bool) -> Result<T> {
        if !how.dry_run && !sent.as_ref().is_err_and(|why| why.leaves_open(again)) {
            self.journal.remove(how.key.as_deref().unwrap_or_default())?;
        }
        Ok(sent?)
    }
}

/// Refuses a version where none is compared: a guard that guards nothing is worse than none.
fn guarded(how: &How, compares: bool) -> Result<()> {
    match how.if_match {
        Some(_) if !compares => {
            Err(Failure::usage("--if-match means nothing here: no version is compared; nothing was sent")
                .hint("leave it out"))
        }
        _ => Ok(()),
    }
}

/// Whose keys they are: the daemon keeps them by caller.
pub(crate) fn who(client: &Client) -> Result<String> {
    if let Some(token) = client.session().given() {
        return Ok(of_token(token));
    }
    Ok(client.session().credentials()?.map(|credentials| credentials.email).unwrap_or_default())
}

/// Whose a token is that was given as it is: the person whom it names, or the beginning of an API key, which
/// is no secret.
fn of_token(token: &str) -> String {
    #[derive(serde::Deserialize)]
    struct Claims {
        sub: String,
    }
    let claims =
        token.split('.').nth(1).and_then(|part| base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(part).ok());
    match claims.and_then(|claims| serde_json::from_slice::<Claims>(&claims).ok()) {
        Some(claims) => format!("token of {}", claims.sub),
        None => format!("key {}", token.chars().take(12).collect::<String>()),
    }
}

/// Reads a request from members that flags and files gave; all faults at once, nothing is sent.
pub(crate) fn request<O: Decode>(members: Map<String, Value>) -> Result<O> {
    let mut violations = Vec::new();
    let op = O::decode(&Value::Object(members), &mut Decoder::new(&mut violations, false));
    match op {
        Some(op) if violations.is_empty() => Ok(op),
        _ => Err(Failure::invalid(&ApiError::invalid(violations)).hint("correct the flags or the file")),
    }
}

/// The members of a JSON file, or of stdin when it is `-`.
pub(crate) fn members_of(path: Option<&str>) -> Result<Map<String, Value>> {
    let Some(path) = path else { return Ok(Map::new()) };
    object(path, &prompt::read_file(path)?)
}

/// The members of the JSON object that a file holds.
pub(crate) fn object(path: &str, text: &[u8]) -> Result<Map<String, Value>> {
    match serde_json::from_slice(text) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) => Err(Failure::usage(format!("{path} must hold one JSON object"))),
        Err(wrong) => Err(Failure::usage(format!("{path} is not JSON: {wrong}"))),
    }
}

/// Reads `key=value` flags.
pub(crate) fn pairs(flags: &[String], flag: &str) -> Result<Map<String, Value>> {
    flags
        .iter()
        .map(|pair| match pair.split_once('=') {
            Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), Value::String(value.to_owned()))),
            _ => Err(Failure::usage(format!("{flag} must look like key=value"))),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_by_its_person_and_a_key_by_its_beginning() {
        // {"sub":"usr_1"}
        assert_eq!(of_token("e30.eyJzdWIiOiJ1c3JfMSJ9.c2ln"), "token of usr_1");
        assert_eq!(of_token("brs_live_abcdefghijkl"), "key brs_live_abc");
    }
}
