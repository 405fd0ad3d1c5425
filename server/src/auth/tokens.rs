//! Access and refresh tokens: JWTs, Ed25519 only, checked more strictly than the library does by itself.
//!
//! The algorithm comes from the key, never from the token; a key comes from the ring, never from the
//! token; every claim is required and typed; time is an argument.

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bursar_shared::{
    id::{SessionId, UserId},
    time::Timestamp,
};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{NoRandomness, provider, random};

/// Clocks of two machines may differ by so many seconds.
const LEEWAY: i64 = 5;
/// Longer texts are not ours.
const LONGEST: usize = 8 * 1024;

/// Why a token is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenError {
    /// It is ours and was right, and its time is over.
    Expired,
    /// It is not ours, or not of this kind; says why, for the log only.
    Invalid(&'static str),
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired => f.write_str("the token has expired"),
            Self::Invalid(why) => write!(f, "the token is not valid: {why}"),
        }
    }
}

impl std::error::Error for TokenError {}

/// Why there is no key, or nothing was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyError {
    /// No randomness for a new key or token.
    NoRandomness,
    /// A stored seed is not 32 bytes.
    BadSeed,
    /// No key of the ring may sign.
    NoSigner,
    /// The library refused; says why.
    Refused(String),
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRandomness => NoRandomness.fmt(f),
            Self::BadSeed => f.write_str("a signing key must be 32 bytes"),
            Self::NoSigner => f.write_str("no signing key is in use"),
            Self::Refused(why) => write!(f, "cannot sign a token: {why}"),
        }
    }
}

impl std::error::Error for KeyError {}

impl From<NoRandomness> for KeyError {
    fn from(_: NoRandomness) -> Self {
        Self::NoRandomness
    }
}

/// What all tokens of this daemon have in common.
#[derive(Debug, Clone)]
pub struct TokenSettings {
    /// The `iss` of every token.
    pub issuer: String,
    /// The `aud` of every token.
    pub audience: String,
    /// How long an access token lives.
    pub access: Duration,
    /// How long a refresh token lives.
    pub refresh: Duration,
}

impl Default for TokenSettings {
    fn default() -> Self {
        Self {
            issuer: "bursar".to_owned(),
            audience: "bursar".to_owned(),
            access: Duration::from_secs(15 * 60),
            refresh: Duration::from_secs(7 * 24 * 3600),
        }
    }
}

/// One signing key.
#[derive(Clone)]
pub struct SigningKey {
    /// Its name: the thumbprint of the public key (RFC 7638).
    pub kid: String,
    /// The secret: 32 bytes. Stored sealed.
    pub seed: [u8; 32],
    /// From when on it signs, until another one does; it verifies as long as it is in the ring.
    pub signs_from: Timestamp,
    public: [u8; 32],
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("kid", &self.kid).finish_non_exhaustive()
    }
}

impl SigningKey {
    /// Makes a new key.
    ///
    /// # Errors
    /// [`KeyError::NoRandomness`].
    pub fn generate(signs_from: Timestamp) -> Result<Self, KeyError> {
        Self::from_seed(&random::<32>()?, signs_from)
    }

    /// A key from the store.
    ///
    /// # Errors
    /// [`KeyError::BadSeed`].
    pub fn from_seed(seed: &[u8], signs_from: Timestamp) -> Result<Self, KeyError> {
        let seed: [u8; 32] = seed.try_into().map_err(|_| KeyError::BadSeed)?;
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| KeyError::BadSeed)?;
        let public: [u8; 32] = pair.public_key().as_ref().try_into().map_err(|_| KeyError::BadSeed)?;
        // RFC 7638: the required members of the JWK in this order, without spaces
        let canonical =
            format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, URL_SAFE_NO_PAD.encode(public));
        let kid = super::digest(&canonical);
        Ok(Self { kid, seed, signs_from, public })
    }
}

/// Who a token is for.
#[derive(Debug, Clone, Copy)]
pub struct Who<'a> {
    /// The person.
    pub user: UserId,
    /// Their session.
    pub session: SessionId,
    /// Their email.
    pub email: &'a str,
    /// Names of their roles; for other services to read.
    pub roles: &'a [String],
}

/// A signed token and when it ends.
#[derive(Clone)]
pub struct Signed {
    /// The JWT.
    pub token: String,
    /// Its `exp`.
    pub expires_at: Timestamp,
}

impl fmt::Debug for Signed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signed").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// What an access token says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessClaims {
    /// Who made it.
    pub iss: String,
    /// Whom it is for.
    pub aud: String,
    /// The person.
    pub sub: UserId,
    /// Their session.
    pub sid: SessionId,
    /// Their email when it was made.
    pub email: String,
    /// Their roles when it was made; this daemon decides nothing by them.
    pub roles: Vec<String>,
    /// `access`.
    #[serde(rename = "type")]
    pub kind: String,
    /// When it was made, in seconds after 1970.
    pub iat: i64,
    /// From when on it holds.
    pub nbf: i64,
    /// Until when.
    pub exp: i64,
    /// Tells it from all others.
    pub jti: String,
}

impl AccessClaims {
    /// Until when the daemon accepts the token: its end, and what clocks may differ by.
    pub fn accepted_until(&self) -> Timestamp {
        Timestamp::from_micros(self.exp.saturating_add(LEEWAY).saturating_mul(1_000_000))
    }
}

/// An access token whose signature is right, and the key that it is right by.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked {
    /// The key.
    pub kid: Arc<str>,
    /// What the token says.
    pub claims: AccessClaims,
}

/// What a refresh token says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefreshClaims {
    /// Who made it.
    pub iss: String,
    /// Whom it is for.
    pub aud: String,
    /// The person.
    pub sub: UserId,
    /// Their session.
    pub sid: SessionId,
    /// The session's generation that it spends.
    #[serde(rename = "gen")]
    pub generation: i64,
    /// `refresh`.
    #[serde(rename = "type")]
    pub kind: String,
    /// When it was made, in seconds after 1970.
    pub iat: i64,
    /// From when on it holds.
    pub nbf: i64,
    /// Until when.
    pub exp: i64,
    /// Tells it from all others.
    pub jti: String,
}

/// The two kinds of tokens, told apart by header and claim.
trait Claims: Serialize + DeserializeOwned {
    const TYP: &'static str;
    const KIND: &'static str;
    fn kind(&self) -> &str;
    /// `iat`, `nbf`, `exp`.
    fn times(&self) -> (i64, i64, i64);
    fn jti(&self) -> &str;
}

macro_rules! claims {
    ($($name:ident $typ:literal $kind:literal;)+) => {$(
        impl Claims for $name {
            const TYP: &'static str = $typ;
            const KIND: &'static str = $kind;
            fn kind(&self) -> &str {
                &self.kind
            }
            fn times(&self) -> (i64, i64, i64) {
                (self.iat, self.nbf, self.exp)
            }
            fn jti(&self) -> &str {
                &self.jti
            }
        }
    )+};
}
claims! {
    // RFC 9068 names the first
    AccessClaims "at+jwt" "access";
    RefreshClaims "rt+jwt" "refresh";
}

/// The header as we write it; any further member (`jwk`, `jku`, `x5u`, `crit`, ...) is refused.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StrictHeader {
    alg: String,
    kid: String,
    typ: String,
}

struct Ready {
    kid: Arc<str>,
    key: SigningKey,
    encoding: EncodingKey,
    decoding: DecodingKey,
}

/// The keys that are published. Which of them signs is a matter of time; all verify.
pub struct KeyRing {
    /// By when they sign. There are two or three, so that looking through them beats a map.
    keys: RwLock<Arc<[Ready]>>,
    settings: TokenSettings,
    validation: Validation,
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRing").field("keys", &self.published()).finish_non_exhaustive()
    }
}

/// Which of these signs, by when they do, the earliest first: the last whose time has come. By a clock that is
/// behind all of them the first, because somebody must.
pub fn signer(times: &[Timestamp], now: Timestamp) -> usize {
    times.partition_point(|from| *from <= now).saturating_sub(1)
}

impl KeyRing {
    /// A ring of these keys.
    ///
    /// # Errors
    /// [`KeyError::NoSigner`] when there is none.
    pub fn new(settings: TokenSettings, keys: Vec<SigningKey>) -> Result<Self, KeyError> {
        provider::install();
        if keys.is_empty() {
            return Err(KeyError::NoSigner);
        }
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[&settings.issuer]);
        validation.set_audience(&[&settings.audience]);
        validation.set_required_spec_claims(&["iss", "aud", "sub", "exp", "nbf"]);
        // the library would ask the machine's clock: `verify` compares with the given time
        validation.validate_exp = false;
        validation.validate_nbf = false;
        Ok(Self { keys: RwLock::new(ready(keys)), settings, validation })
    }

    /// Takes these keys instead: tokens of all others are worth nothing from now on.
    pub fn replace(&self, keys: Vec<SigningKey>) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = ready(keys);
    }

    fn keys(&self) -> Arc<[Ready]> {
        // a panic under this lock leaves the keys of before, or those of after
        self.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The keys, by when they sign.
    pub fn published(&self) -> Vec<SigningKey> {
        self.keys().iter().map(|ready| ready.key.clone()).collect()
    }

    /// When they sign from, the earliest first.
    pub fn times(&self) -> Vec<Timestamp> {
        self.keys().iter().map(|ready| ready.key.signs_from).collect()
    }

    /// Whether a key is still there: what was checked with it earlier is worth no more than it is.
    pub fn holds(&self, kid: &str) -> bool {
        self.keys().iter().any(|ready| *ready.kid == *kid)
    }

    /// Makes an access token.
    ///
    /// # Errors
    /// Without randomness.
    pub fn sign_access(&self, who: Who<'_>, now: Timestamp) -> Result<Signed, KeyError> {
        let iat = now.seconds();
        let exp = iat.saturating_add(seconds(self.settings.access));
        self.sign(
            &AccessClaims {
                iss: self.settings.issuer.clone(),
                aud: self.settings.audience.clone(),
                sub: who.user,
                sid: who.session,
                email: who.email.to_owned(),
                roles: who.roles.to_vec(),
                kind: AccessClaims::KIND.to_owned(),
                iat,
                nbf: iat,
                exp,
                jti: jti()?,
            },
            now,
            exp,
        )
    }

    /// Makes a refresh token for a generation of a session; it lives as long as the settings say, but
    /// not beyond `latest`, the end of the session.
    ///
    /// # Errors
    /// Without randomness.
    pub fn sign_refresh(
        &self,
        user: UserId,
        session: SessionId,
        generation: i64,
        now: Timestamp,
        latest: Timestamp,
    ) -> Result<Signed, KeyError> {
        let iat = now.seconds();
        let exp = iat.saturating_add(seconds(self.settings.refresh)).min(latest.seconds());
        self.sign(
            &RefreshClaims {
                iss: self.settings.issuer.clone(),
                aud: self.settings.audience.clone(),
                sub: user,
                sid: session,
                generation,
                kind: RefreshClaims::KIND.to_owned(),
                iat,
                nbf: iat,
                exp,
                jti: jti()?,
            },
            now,
            exp,
        )
    }

    fn sign<C: Claims>(&self, claims: &C, now: Timestamp, exp: i64) -> Result<Signed, KeyError> {
        let keys = self.keys();
        let times: Vec<Timestamp> = keys.iter().map(|ready| ready.key.signs_from).collect();
        let ready = keys.get(signer(&times, now)).ok_or(KeyError::NoSigner)?;
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(C::TYP.to_owned());
        header.kid = Some(ready.key.kid.clone());
        let token = jsonwebtoken::encode(&header, claims, &ready.encoding)
            .map_err(|why| KeyError::Refused(why.to_string()))?;
        Ok(Signed { token, expires_at: Timestamp::from_micros(exp.saturating_mul(1_000_000)) })
    }

    /// What an access token says, if it is ours and holds at `now`.
    ///
    /// # Errors
    /// [`TokenError::Expired`] only when everything else is right.
    pub fn verify_access(&self, token: &str, now: Timestamp) -> Result<Checked, TokenError> {
        self.verify(token, now, self.settings.access).map(|(kid, claims)| Checked { kid, claims })
    }

    /// What a refresh token says, if it is ours and holds at `now`.
    ///
    /// # Errors
    /// [`TokenError::Expired`] only when everything else is right.
    pub fn verify_refresh(&self, token: &str, now: Timestamp) -> Result<RefreshClaims, TokenError> {
        self.verify(token, now, self.settings.refresh).map(|(_, claims)| claims)
    }

    fn verify<C: Claims>(
        &self,
        token: &str,
        now: Timestamp,
        lifetime: Duration,
    ) -> Result<(Arc<str>, C), TokenError> {
        let invalid = TokenError::Invalid;
        if token.len() > LONGEST {
            return Err(invalid("too long"));
        }
        let header = token.split('.').next().and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
        let header: StrictHeader = header
            .and_then(|json| serde_json::from_slice(&json).ok())
            .ok_or(invalid("the header is not like ours"))?;
        if header.alg != "EdDSA" {
            return Err(invalid("another algorithm"));
        }
        if header.typ != C::TYP {
            return Err(invalid("another kind of token"));
        }
        let keys = self.keys();
        let ready = keys.iter().find(|ready| *ready.kid == *header.kid).ok_or(invalid("an unknown key"))?;
        let claims = jsonwebtoken::decode::<C>(token, &ready.decoding, &self.validation)
            .map_err(|_| invalid("signature, issuer, audience or a claim"))?
            .claims;
        if claims.kind() != C::KIND {
            return Err(invalid("another kind of claims"));
        }
        if claims.jti().is_empty() {
            return Err(invalid("no id"));
        }
        let (iat, nbf, exp) = claims.times();
        let now = now.seconds();
        if iat.saturating_sub(LEEWAY) > now || nbf.saturating_sub(LEEWAY) > now {
            return Err(invalid("from the future"));
        }
        if exp < iat || exp.saturating_sub(iat) > seconds(lifetime) {
            return Err(invalid("lives longer than ours do"));
        }
        if exp.saturating_add(LEEWAY) <= now {
            return Err(TokenError::Expired);
        }
        Ok((ready.kid.clone(), claims))
    }

    /// The public keys as a JWK set, the one that signs last first: `/.well-known/jwks.json`.
    pub fn jwks(&self) -> Value {
        let keys = self.keys();
        let jwk = |key: &SigningKey| {
            json!({
                "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA",
                "kid": key.kid, "x": URL_SAFE_NO_PAD.encode(key.public),
            })
        };
        json!({ "keys": keys.iter().rev().map(|ready| jwk(&ready.key)).collect::<Vec<_>>() })
    }
}

fn ready(mut keys: Vec<SigningKey>) -> Arc<[Ready]> {
    keys.sort_by(|a, b| (a.signs_from, &a.kid).cmp(&(b.signs_from, &b.kid)));
    let ready = keys.into_iter().map(|key| Ready {
        kid: key.kid.as_str().into(),
        encoding: EncodingKey::from_ed_der(&key.seed),
        decoding: DecodingKey::from_ed_der(&key.public),
        key,
    });
    ready.collect()
}

fn jti() -> Result<String, KeyError> {
    Ok(URL_SAFE_NO_PAD.encode(random::<16>()?))
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[path = "tokens_tests.rs"]
mod tests;
