//! The store's keys: made at the first start, read, and rotated by age or by hand (docs/adr/0017).

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bursar_shared::{error::ErrorCode, time::Timestamp};
use serde::Serialize;
use serde_json::json;

use crate::{
    auth::{KeyRing, SealError, Sealer, SigningKey, TokenSettings, random, signer},
    clock::Clock,
    config::{Config, LONGEST_REFRESH},
    db::{Db, How, Label, Outcome, Plain, Tx, Written, urgent},
    error::{BoxError, Error, Result, broken, refuse},
    log::{Draft, Row, Stamp},
    repositories::{
        secrets::{self, CURSORS, TOKENS},
        sessions,
    },
};

/// So long a key is published before it signs: whoever keeps `/.well-known/jwks.json` no longer than this never
/// meets a key that they do not know.
const AHEAD: Duration = Duration::from_secs(86_400);
/// What times of daemons may differ by, and more: by clocks that differ more nothing is rotated.
const SLACK: Duration = Duration::from_secs(3_600);
/// So long a key stays after another one began to sign: its last token has expired then.
const KEPT: Duration = Duration::from_secs(LONGEST_REFRESH as u64 + SLACK.as_secs());
/// So soon a key signs that is to sign at once: all daemons have heard of it, whatever their clocks.
const MOMENT: Duration = Duration::from_secs(10);

/// The kind of thing that rows of the log call a key.
const RESOURCE: &str = "signing_key";
/// The kind of the row after which no token of before is good.
const REVOKED: &str = "signing_key.revoked";

/// Whether a row of the log says that the keys changed.
pub fn tells_of_keys(row: &Row) -> bool {
    row.resource_type == RESOURCE
}

/// Whether a row of the log says that all sessions ended.
pub fn ends_everything(row: &Row) -> bool {
    row.kind == REVOKED
}

/// The keys of a running daemon.
#[derive(Debug)]
pub struct Keys {
    /// What signs and checks tokens.
    pub ring: KeyRing,
    sealer: Arc<Sealer>,
    period: Option<Duration>,
    /// Why some of them cannot be used.
    wrong: Mutex<Option<String>>,
}

impl Keys {
    /// The keys of this store, made at its first start, and the secret that signs cursors.
    ///
    /// # Errors
    /// When the store or the master key cannot be used.
    pub async fn open(
        db: &Db,
        clock: &Clock,
        config: &Config,
    ) -> std::result::Result<(Self, [u8; 32]), BoxError> {
        let sealer = Arc::new(sealer(config)?);
        let mut stored = db.read(secrets::all).await?.0;
        if !stored.iter().any(|row| row.purpose == TOKENS) || !stored.iter().any(|row| row.purpose == CURSORS)
        {
            let (sealer, now) = (sealer.clone(), clock.now());
            let first = stored.is_empty();
            db.write(urgent("keys.create"), by("keys"), move |tx| {
                let cursors = random::<32>().map_err(|why| broken("making a key")(why.into()))?;
                // named, so that of two daemons that start at once one makes it, and the other waits
                secrets::insert(tx, &sealed(&sealer, "cursors-1", CURSORS, &cursors, now, now)?)?;
                if !secrets::lock(tx)?.iter().any(|row| row.purpose == TOKENS) {
                    // later somebody took them away by hand, and daemons that run must hear of this one
                    if first {
                        make(tx, &sealer, now)?
                    } else {
                        publish(tx, &sealer, now, "none was left")?
                    };
                }
                Ok(Outcome::Done(Plain(())))
            })
            .await?;
            stored = db.read(secrets::all).await?.0;
        }
        let (mut signing, mut cursors) = (Vec::new(), None);
        for row in stored {
            let secret = sealer.open(&row.purpose, &row.value)?;
            if sealer.should_seal(&row.value) {
                // a master key that is given later seals what was stored before
                let (id, sealed) = (row.id.clone(), sealer.seal(&row.purpose, &secret)?);
                db.write(urgent("keys.seal"), by("keys"), move |tx| {
                    secrets::replace(tx, &id, &sealed)?;
                    Ok(Outcome::Done(Plain(())))
                })
                .await?;
            }
            if row.purpose == TOKENS {
                signing.push(of_row(&row, &secret)?);
            } else {
                cursors = <[u8; 32]>::try_from(secret.as_slice()).ok();
            }
        }
        let settings = TokenSettings {
            issuer: config.issuer.clone(),
            access: config.access_ttl,
            refresh: config.refresh_ttl,
            ..TokenSettings::default()
        };
        let ring = KeyRing::new(settings, signing)?;
        let keys = Self { ring, sealer, period: config.key_rotation, wrong: Mutex::default() };
        Ok((keys, cursors.ok_or("the cursor key in the store is damaged")?))
    }

    /// Takes the keys as the store has them now. One that cannot be opened is left out: its tokens are refused
    /// here, which [`Keys::wrong`] says until it can.
    pub fn take(&self, stored: &[secrets::Row]) {
        let known = self.ring.published();
        let (mut signing, mut wrong) = (Vec::new(), None);
        for row in stored.iter().filter(|row| row.purpose == TOKENS) {
            // what is in use needs no master key: another daemon may have sealed it meanwhile
            let taken = match known.iter().find(|key| key.kid == row.id) {
                Some(key) => {
                    let mut key = key.clone();
                    key.signs_from = Timestamp::from_micros(row.signs_from);
                    Ok(key)
                }
                None => opened(&self.sealer, row),
            };
            match taken {
                Ok(key) => signing.push(key),
                Err(why) => {
                    let why = format!("the signing key {}: {why}", row.id);
                    tracing::error!("{why}; its tokens are refused here");
                    wrong = Some(why);
                }
            }
        }
        if signing.is_empty() && wrong.is_none() {
            wrong = Some("the store has no signing key: restart the daemon, which makes one".to_owned());
        }
        self.ring.replace(signing);
        *self.wrong.lock().unwrap_or_else(PoisonError::into_inner) = wrong;
    }

    /// Why some of the keys cannot be used, for whoever asks whether the daemon is ready.
    pub fn wrong(&self) -> Option<String> {
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether there is something to rotate, as far as this daemon knows; asks nobody.
    pub fn is_due(&self, now: Timestamp) -> bool {
        !due(&self.ring.times(), now, self.period).is_empty()
    }

    /// How long the key that signs has done so, in seconds.
    pub fn age(&self, now: Timestamp) -> u64 {
        let times = self.ring.times();
        times.get(signer(&times, now)).map_or(0, |from| now.since(*from).as_secs())
    }

    /// Rotates what is due, unless another daemon was quicker.
    ///
    /// # Errors
    /// As [`turn`].
    pub async fn rotate(&self, db: &Db) -> Result<Turned> {
        turn(db, self.sealer.clone(), by("rotation"), Wish::Age(self.period)).await
    }
}

/// What seals the keys in the store.
///
/// # Errors
/// When the file of the master key cannot be used.
pub fn sealer(config: &Config) -> std::result::Result<Sealer, SealError> {
    config.master_key_file.as_deref().map_or_else(|| Ok(Sealer::plain()), Sealer::from_file)
}

fn by(doing: &str) -> How {
    How { stamp: Stamp::system(doing), key: None, dry_run: false }
}

fn times(keys: &[SigningKey]) -> Vec<Timestamp> {
    keys.iter().map(|key| key.signs_from).collect()
}

/// The key that a row holds.
fn opened(sealer: &Sealer, row: &secrets::Row) -> std::result::Result<SigningKey, BoxError> {
    of_row(row, &sealer.open(&row.purpose, &row.value)?)
}

/// The same when it is open already. What lies under the name of another key is not believed.
fn of_row(row: &secrets::Row, secret: &[u8]) -> std::result::Result<SigningKey, BoxError> {
    let key = SigningKey::from_seed(secret, Timestamp::from_micros(row.signs_from))?;
    if key.kid != row.id {
        return Err(format!("the signing key {} in the store is another one", row.id).into());
    }
    Ok(key)
}

fn sealed(
    sealer: &Sealer,
    id: &str,
    purpose: &str,
    secret: &[u8],
    now: Timestamp,
    signs_from: Timestamp,
) -> Result<secrets::Row> {
    let value = sealer.seal(purpose, secret).map_err(|why| broken("sealing a key")(why.into()))?;
    Ok(secrets::Row {
        id: id.to_owned(),
        purpose: purpose.to_owned(),
        value,
        created_at: now.micros(),
        signs_from: signs_from.micros(),
    })
}

/// Makes a key that signs from then on; answers its name.
fn make(tx: &mut Tx<'_>, sealer: &Sealer, signs_from: Timestamp) -> Result<String> {
    let key = SigningKey::generate(signs_from).map_err(|why| broken("making a key")(why.into()))?;
    let row = sealed(sealer, &key.kid, TOKENS, &key.seed, tx.now(), signs_from)?;
    secrets::insert(tx, &row)?;
    Ok(key.kid)
}

/// What time asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// A further key, which signs from then on.
    Make(Timestamp),
    /// The key at this place signs from then on.
    Begin(usize, Timestamp),
    /// The key at this place is thrown away.
    Delete(usize),
}

/// What is to be done at `now` about keys that sign from these times on, the earliest first, when each is to sign
/// for `period`.
fn due(times: &[Timestamp], now: Timestamp, period: Option<Duration>) -> Vec<Step> {
    let mut steps = Vec::new();
    let signing = signer(times, now);
    for (place, from) in times.iter().enumerate() {
        // nobody publishes a key so early: it was dated by a clock that was wrong, and would stand in the way
        // of all others until that time comes
        if *from > now + AHEAD + SLACK {
            steps.push(Step::Begin(place, now + AHEAD));
        }
        if place < signing && times[place + 1] + KEPT <= now {
            steps.push(Step::Delete(place));
        }
    }
    if let (Some(period), Some(since), true) = (period, times.get(signing), signing + 1 == times.len()) {
        let ends = *since + period;
        if ends <= now + AHEAD {
            steps.push(Step::Make(ends.max(now + AHEAD)));
        }
    }
    steps
}

/// How the keys that sign tokens are rotated by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotation {
    /// Another key is published, and signs in a day, when everybody knows it.
    Soon,
    /// Another key signs within ten seconds, when all daemons know it; other services may not.
    Now,
    /// Another key signs at once; all tokens and sessions of before are over.
    RevokeOld,
}

/// What somebody wants of the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// What time asks for, when a key is to sign for so long.
    Age(Option<Duration>),
    /// What somebody asks for.
    Hand(Rotation),
}

/// What became of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Turned {
    /// The key that signs next, or from now on; none when nothing was due.
    pub kid: Option<String>,
    /// From when on it signs.
    pub signs_from: Option<Timestamp>,
    /// Whether it is new; else it was published before.
    pub published: bool,
    /// Keys whose tokens were good and are not any more.
    pub revoked: Vec<String>,
    /// Sessions that ended with them.
    pub sessions_ended: u64,
}

/// Changes the keys as somebody wishes, alone: whoever comes second finds what the first did, so that of many
/// daemons one makes a key. Daemons hear of it in the log, and switch by their clocks.
///
/// # Errors
/// When the store has no keys yet, or the master key is not that of the store; those of the database.
pub async fn turn(db: &Db, sealer: Arc<Sealer>, how: How, wish: Wish) -> Result<Turned> {
    // on a full disk a leaked key can be made worthless; the others wait
    let label = match wish {
        Wish::Hand(Rotation::RevokeOld) => urgent("keys.turn"),
        _ => Label::from("keys.turn"),
    };
    let written = db.write(label, how, move |tx| {
        let stored = secrets::lock(tx)?;
        let keys = all_open(&sealer, &stored)?;
        let turned = match wish {
            Wish::Age(period) => by_age(tx, &sealer, &keys, period)?,
            Wish::Hand(Rotation::Soon) => ahead(tx, &sealer, &keys, AHEAD)?,
            Wish::Hand(Rotation::Now) => ahead(tx, &sealer, &keys, MOMENT)?,
            Wish::Hand(Rotation::RevokeOld) => revoke(tx, &sealer, &keys)?,
        };
        Ok(Outcome::Done(Plain(turned)))
    });
    match written.await? {
        Written::Done(Plain(turned)) => Ok(turned),
        Written::Replayed(_) => Err(broken("rotating keys")("a write without a key was replayed".into())),
    }
}

/// The keys that sign tokens, when this sealer is the right one for all that is there: another one would leave
/// a key behind that no daemon can open.
fn all_open(sealer: &Sealer, stored: &[secrets::Row]) -> Result<Vec<SigningKey>> {
    let cannot = |why: BoxError| refuse(ErrorCode::Internal, why.to_string());
    let mut keys = Vec::new();
    for row in stored {
        if sealer.should_seal(&row.value) {
            let why = "the store's secrets are not sealed: leave --master-key-file out, or start the daemon with it \
                       first, which seals them";
            return Err(cannot(why.into()));
        }
        let secret = sealer.open(&row.purpose, &row.value).map_err(|why| cannot(why.into()))?;
        if row.purpose == TOKENS {
            keys.push(of_row(row, &secret).map_err(cannot)?);
        }
    }
    if keys.is_empty() {
        return Err(cannot("the store has no keys yet: the daemon makes them at its first start".into()));
    }
    Ok(keys)
}

fn publish(tx: &mut Tx<'_>, sealer: &Sealer, signs_from: Timestamp, reason: &str) -> Result<String> {
    let kid = make(tx, sealer, signs_from)?;
    let facts = json!({ "signsFrom": signs_from, "reason": reason });
    tx.log(Draft::new("signing_key.published", RESOURCE, &kid).data(&facts));
    Ok(kid)
}

fn begin(tx: &mut Tx<'_>, key: &SigningKey, signs_from: Timestamp) -> Result<()> {
    secrets::begin(tx, &key.kid, signs_from.micros())?;
    let (before, after) = (json!({ "signsFrom": key.signs_from }), json!({ "signsFrom": signs_from }));
    tx.log(Draft::new("signing_key.rescheduled", RESOURCE, &key.kid).changes(&before, &after));
    Ok(())
}

fn by_age(tx: &mut Tx<'_>, sealer: &Sealer, keys: &[SigningKey], period: Option<Duration>) -> Result<Turned> {
    let mut turned = Turned::default();
    for step in due(&times(keys), tx.now(), period) {
        match step {
            Step::Make(signs_from) => {
                turned.kid = Some(publish(tx, sealer, signs_from, "age")?);
                turned.signs_from = Some(signs_from);
                turned.published = true;
            }
            Step::Begin(place, signs_from) => begin(tx, &keys[place], signs_from)?,
            Step::Delete(place) => {
                let kid = &keys[place].kid;
                secrets::delete(tx, kid)?;
                let facts = json!({ "reason": "its last token has expired" });
                tx.log(Draft::new("signing_key.deleted", RESOURCE, kid).data(&facts));
            }
        }
    }
    Ok(turned)
}

/// The next key signs after so long, or earlier if that was settled; one that is published already is taken, so
/// that asking twice makes one.
fn ahead(tx: &mut Tx<'_>, sealer: &Sealer, keys: &[SigningKey], wait: Duration) -> Result<Turned> {
    let now = tx.now();
    let mut signs_from = now + wait;
    let next = keys.get(signer(&times(keys), now) + 1);
    let kid = match next {
        // whoever waited for another who did the same has a clock of before
        Some(next) if next.signs_from <= signs_from + MOMENT => {
            signs_from = next.signs_from;
            next.kid.clone()
        }
        Some(next) => {
            begin(tx, next, signs_from)?;
            next.kid.clone()
        }
        None => publish(tx, sealer, signs_from, "by hand")?,
    };
    let published = next.is_none();
    Ok(Turned { kid: Some(kid), signs_from: Some(signs_from), published, ..Turned::default() })
}

/// Never a key that was there: who has read one may have read all.
fn revoke(tx: &mut Tx<'_>, sealer: &Sealer, keys: &[SigningKey]) -> Result<Turned> {
    let now = tx.now();
    let kid = publish(tx, sealer, now, "revocation")?;
    // a forged token that is being traded in at this moment must not come out as a good one
    let sessions_ended = sessions::revoke_all(tx, now)?;
    for key in keys {
        secrets::delete(tx, &key.kid)?;
        let facts = json!({ "sessionsEnded": sessions_ended });
        tx.log(Draft::new(REVOKED, RESOURCE, &key.kid).data(&facts));
    }
    let revoked = keys.iter().map(|key| key.kid.clone()).collect();
    Ok(Turned { kid: Some(kid), signs_from: Some(now), published: true, revoked, sessions_ended })
}

/// A refusal in its words alone.
pub fn said(why: Error) -> BoxError {
    match why {
        Error::Refused(refusal) => refusal.error.message.into(),
        why => Box::new(why),
    }
}

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;
