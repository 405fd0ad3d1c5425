//! Attacks on tokens: each is refused, and for the right reason.

use ring::hmac;

use super::*;

const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

fn after(seconds: u64) -> Timestamp {
    NOW + Duration::from_secs(seconds)
}

fn key() -> SigningKey {
    SigningKey::from_seed(&[1; 32], NOW).unwrap()
}

fn ring() -> KeyRing {
    KeyRing::new(TokenSettings::default(), vec![key()]).unwrap()
}

fn access(ring: &KeyRing) -> String {
    let roles = ["support".to_owned()];
    let who = Who { user: UserId::new(), session: SessionId::new(), email: "ann@example.com", roles: &roles };
    ring.sign_access(who, NOW).unwrap().token
}

fn refresh(ring: &KeyRing) -> String {
    let end = after(30 * 86_400);
    ring.sign_refresh(UserId::new(), SessionId::new(), 3, NOW, end).unwrap().token
}

fn encode(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn part(token: &str, number: usize) -> Value {
    let part = token.split('.').nth(number).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

/// A token with this header and these claims, signed by the real key.
fn forge(header: &Value, claims: &Value) -> String {
    let message = format!("{}.{}", encode(header), encode(claims));
    let pair = Ed25519KeyPair::from_seed_unchecked(&key().seed).unwrap();
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(pair.sign(message.as_bytes())))
}

/// The reason for which a changed access token is refused.
fn refused(ring: &KeyRing, change: impl FnOnce(&mut Value, &mut Value)) -> &'static str {
    let token = access(ring);
    let (mut header, mut claims) = (part(&token, 0), part(&token, 1));
    change(&mut header, &mut claims);
    match ring.verify_access(&forge(&header, &claims), NOW) {
        Err(TokenError::Invalid(why)) => why,
        other => panic!("{other:?}"),
    }
}

const CLAIMS: &str = "signature, issuer, audience or a claim";
const HEADER: &str = "the header is not like ours";

#[test]
fn reads_what_it_signed() {
    let ring = ring();
    let claims = ring.verify_access(&access(&ring), NOW).unwrap().claims;
    assert_eq!((claims.email.as_str(), claims.roles.len()), ("ann@example.com", 1));
    assert_eq!(claims.exp - claims.iat, 900);
    let claims = ring.verify_refresh(&refresh(&ring), NOW).unwrap();
    assert_eq!((claims.generation, claims.exp - claims.iat), (3, 7 * 86_400));
    let mut members: Vec<String> = part(&access(&ring), 1).as_object().unwrap().keys().cloned().collect();
    members.sort();
    assert_eq!(members, ["aud", "email", "exp", "iat", "iss", "jti", "nbf", "roles", "sid", "sub", "type"]);
}

#[test]
fn a_forged_copy_of_our_own_is_accepted_so_that_the_other_tests_mean_something() {
    let ring = ring();
    let token = access(&ring);
    assert!(ring.verify_access(&forge(&part(&token, 0), &part(&token, 1)), NOW).is_ok());
}

#[test]
fn refuses_other_algorithms() {
    let ring = ring();
    for alg in ["none", "None", "HS256", "RS256", "ES256", "eddsa", ""] {
        assert_eq!(refused(&ring, |header, _| header["alg"] = alg.into()), "another algorithm");
    }
    // without a signature at all
    let token = access(&ring);
    let mut header = part(&token, 0);
    header["alg"] = "none".into();
    let none = format!("{}.{}.", encode(&header), encode(&part(&token, 1)));
    assert_eq!(ring.verify_access(&none, NOW), Err(TokenError::Invalid("another algorithm")));
}

#[test]
fn refuses_a_mac_made_with_the_public_key() {
    let ring = ring();
    let token = access(&ring);
    for alg in ["HS256", "EdDSA"] {
        let mut header = part(&token, 0);
        header["alg"] = alg.into();
        let message = format!("{}.{}", encode(&header), encode(&part(&token, 1)));
        let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key().public), message.as_bytes());
        let token = format!("{message}.{}", URL_SAFE_NO_PAD.encode(mac));
        assert!(matches!(ring.verify_access(&token, NOW), Err(TokenError::Invalid(_))));
    }
}

#[test]
fn takes_keys_from_its_map_only() {
    let ring = ring();
    for kid in ["", "other", "../../../dev/null", "' or 1=1 --", "https://evil.example/jwks.json", "\0"] {
        assert_eq!(refused(&ring, |header, _| header["kid"] = kid.into()), "an unknown key", "{kid}");
    }
    assert_eq!(refused(&ring, |header, _| header["kid"] = 7.into()), HEADER);
    assert_eq!(refused(&ring, |header, _| drop(header.as_object_mut().unwrap().remove("kid"))), HEADER);
    // a key of somebody else, under our name
    let theirs = SigningKey { kid: key().kid, ..SigningKey::from_seed(&[2; 32], NOW).unwrap() };
    let theirs = KeyRing::new(TokenSettings::default(), vec![theirs]).unwrap();
    assert_eq!(ring.verify_access(&access(&theirs), NOW), Err(TokenError::Invalid(CLAIMS)));
}

#[test]
fn refuses_headers_that_bring_a_key_or_demand_something() {
    let ring = ring();
    let jwk = ring.jwks()["keys"][0].clone();
    for (name, value) in [
        ("jwk", jwk),
        ("jku", json!("https://evil.example/jwks.json")),
        ("x5u", json!("https://evil.example/cert.pem")),
        ("x5c", json!(["MIIB"])),
        ("crit", json!(["exp"])),
        ("b64", json!(false)),
        ("zip", json!("DEF")),
        ("cty", json!("JWT")),
    ] {
        assert_eq!(refused(&ring, |header, _| header[name] = value), HEADER, "{name}");
    }
}

#[test]
fn never_confuses_the_two_kinds() {
    let ring = ring();
    let other = Err(TokenError::Invalid("another kind of token"));
    assert_eq!(ring.verify_access(&refresh(&ring), NOW), other);
    assert_eq!(
        ring.verify_refresh(&access(&ring), NOW).map(|_| ()),
        Err(TokenError::Invalid("another kind of token"))
    );
    for typ in ["JWT", "rt+jwt", "AT+JWT", ""] {
        assert_eq!(refused(&ring, |header, _| header["typ"] = typ.into()), "another kind of token");
    }
    assert_eq!(refused(&ring, |_, claims| claims["type"] = "refresh".into()), "another kind of claims");
    // the claims of one under the header of the other
    let forged = forge(&part(&access(&ring), 0), &part(&refresh(&ring), 1));
    assert_eq!(ring.verify_access(&forged, NOW), Err(TokenError::Invalid(CLAIMS)));
}

#[test]
fn demands_every_claim_and_its_type() {
    let ring = ring();
    for name in ["iss", "aud", "sub", "sid", "email", "roles", "type", "iat", "nbf", "exp", "jti"] {
        assert_eq!(
            refused(&ring, |_, claims| drop(claims.as_object_mut().unwrap().remove(name))),
            CLAIMS,
            "{name}"
        );
        assert_eq!(refused(&ring, |_, claims| claims[name] = Value::Null), CLAIMS, "{name}");
        assert_eq!(refused(&ring, |_, claims| claims[name] = json!({"a": 1})), CLAIMS, "{name}");
    }
    for name in ["iat", "nbf", "exp"] {
        for wrong in [json!("1800000000"), json!(1.5), json!(1e300), json!(true)] {
            assert_eq!(refused(&ring, |_, claims| claims[name] = wrong), CLAIMS, "{name}");
        }
    }
    assert_eq!(refused(&ring, |_, claims| claims["iss"] = "evil".into()), CLAIMS);
    assert_eq!(refused(&ring, |_, claims| claims["aud"] = "evil".into()), CLAIMS);
    assert_eq!(refused(&ring, |_, claims| claims["aud"] = json!(["bursar", "evil"])), CLAIMS);
    assert_eq!(refused(&ring, |_, claims| claims["sub"] = claims["sid"].clone()), CLAIMS);
    assert_eq!(refused(&ring, |_, claims| claims["jti"] = "".into()), "no id");
    assert_eq!(refused(&ring, |_, claims| claims["owner"] = true.into()), CLAIMS);
}

#[test]
fn ends_on_time_and_does_not_begin_early() {
    let ring = ring();
    let token = access(&ring);
    assert!(ring.verify_access(&token, after(904)).is_ok());
    assert_eq!(ring.verify_access(&token, after(905)), Err(TokenError::Expired));
    assert_eq!(ring.verify_access(&token, after(10_000_000)), Err(TokenError::Expired));
    assert!(ring.verify_access(&token, NOW - Duration::from_secs(5)).is_ok());
    let early = ring.verify_access(&token, NOW - Duration::from_secs(6));
    assert_eq!(early, Err(TokenError::Invalid("from the future")));

    let iat = NOW.seconds();
    assert_eq!(refused(&ring, |_, claims| claims["nbf"] = (iat + 60).into()), "from the future");
    assert_eq!(refused(&ring, |_, claims| claims["exp"] = (iat + 901).into()), "lives longer than ours do");
    assert_eq!(refused(&ring, |_, claims| claims["exp"] = i64::MAX.into()), "lives longer than ours do");
    assert_eq!(refused(&ring, |_, claims| claims["iat"] = i64::MIN.into()), "lives longer than ours do");
    assert_eq!(refused(&ring, |_, claims| claims["exp"] = (iat - 1).into()), "lives longer than ours do");
}

#[test]
fn a_refresh_token_does_not_outlive_its_session() {
    let ring = ring();
    let signed = ring.sign_refresh(UserId::new(), SessionId::new(), 1, NOW, after(60)).unwrap();
    assert_eq!(signed.expires_at, after(60));
    assert_eq!(ring.verify_refresh(&signed.token, after(65)), Err(TokenError::Expired));
}

#[test]
fn notices_every_changed_letter() {
    let ring = ring();
    let token = access(&ring);
    for place in 0..token.len() {
        let mut bytes = token.clone().into_bytes();
        bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).unwrap();
        assert!(matches!(ring.verify_access(&changed, NOW), Err(TokenError::Invalid(_))), "{place}");
    }
    for changed in [
        format!("{token}="),
        format!("{token}."),
        format!(" {token}"),
        format!(".{token}"),
        token.replacen('.', "", 1),
        token[..token.len() - 1].to_owned(),
        String::new(),
        "..".to_owned(),
        "a.b.c".to_owned(),
        "A".repeat(1_000_000),
    ] {
        assert!(matches!(ring.verify_access(&changed, NOW), Err(TokenError::Invalid(_))));
    }
}

/// Which key signs at this time.
fn signs(ring: &KeyRing, now: Timestamp) -> String {
    let token = ring.sign_refresh(UserId::new(), SessionId::new(), 1, now, after(60)).unwrap().token;
    part(&token, 0)["kid"].as_str().unwrap().to_owned()
}

#[test]
fn a_key_signs_when_its_time_has_come_and_all_verify() {
    let old = key();
    let new = SigningKey::from_seed(&[2; 32], after(10)).unwrap();
    let ring = ring();
    let token = access(&ring);
    // in whatever order they come from the store
    ring.replace(vec![new.clone(), old.clone()]);
    assert_eq!(signs(&ring, after(9)), old.kid);
    assert_eq!(signs(&ring, after(10)), new.kid);
    // a clock that is behind all of them
    assert_eq!(signs(&ring, NOW - Duration::from_secs(5)), old.kid);
    assert_eq!(*ring.verify_access(&token, after(10)).unwrap().kid, *old.kid);
    let kids: Vec<Value> =
        ring.jwks()["keys"].as_array().unwrap().iter().map(|key| key["kid"].clone()).collect();
    assert_eq!(kids, [new.kid.clone(), old.kid.clone()]);

    // without its key a token is worth nothing
    ring.replace(vec![new.clone()]);
    assert_eq!(ring.verify_access(&token, NOW), Err(TokenError::Invalid("an unknown key")));
    assert!(ring.holds(&new.kid) && !ring.holds(&old.kid));
    assert_eq!(signs(&ring, NOW), new.kid);
    ring.replace(Vec::new());
    assert_eq!(
        ring.sign_refresh(UserId::new(), SessionId::new(), 1, NOW, after(60)).unwrap_err(),
        KeyError::NoSigner
    );
    assert_eq!(KeyRing::new(TokenSettings::default(), Vec::new()).unwrap_err(), KeyError::NoSigner);
    assert_eq!(SigningKey::from_seed(&[1; 31], NOW).unwrap_err(), KeyError::BadSeed);
}

#[test]
fn publishes_keys_in_standard_form() {
    // the key and its thumbprint from RFC 8037, appendix A
    let seed = URL_SAFE_NO_PAD.decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").unwrap();
    let key = SigningKey::from_seed(&seed, NOW).unwrap();
    let ring = KeyRing::new(TokenSettings::default(), vec![key]).unwrap();
    assert_eq!(
        ring.jwks(),
        json!({"keys": [{
            "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA",
            "kid": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
            "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
        }]})
    );
}
