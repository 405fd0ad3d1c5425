//! When keys are made, begin and go, over years; and what a daemon does with those that it cannot use.

use proptest::prelude::*;

use super::*;

const DAY: Duration = Duration::from_secs(86_400);
const QUARTER: Duration = Duration::from_secs(90 * 86_400);
const BEGIN: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

/// Days after the beginning.
fn day(days: u32) -> Timestamp {
    BEGIN + DAY * days
}

#[test]
fn a_key_is_published_a_day_ahead_and_thrown_away_after_its_last_token() {
    let due = |times: &[Timestamp], now| due(times, now, Some(QUARTER));
    assert_eq!(due(&[day(0)], day(0)), []);
    assert_eq!(due(&[day(0)], day(89) - SLACK), []);
    assert_eq!(due(&[day(0)], day(89)), [Step::Make(day(90))]);
    assert_eq!(due(&[day(0), day(90)], day(89)), []);
    assert_eq!(due(&[day(0), day(90)], day(97)), []);
    assert_eq!(due(&[day(0), day(90)], day(97) + SLACK), [Step::Delete(0)]);
    // nothing ran meanwhile: a day ahead all the same
    assert_eq!(due(&[day(0)], day(300)), [Step::Make(day(301))]);
    assert_eq!(due(&[day(0), day(90)], day(300)), [Step::Delete(0), Step::Make(day(301))]);
    // a backup of a time when the next was published but did not sign
    assert_eq!(due(&[day(0), day(90)], day(120)), [Step::Delete(0)]);
    assert_eq!(super::due(&[day(0)], day(3_000), None), []);
    assert_eq!(super::due(&[day(0), day(90)], day(3_000), None), [Step::Delete(0)]);
}

#[test]
fn what_a_wrong_clock_dated_is_brought_into_time() {
    let due = |times: &[Timestamp], now| due(times, now, Some(QUARTER));
    assert_eq!(due(&[day(0), day(9_000)], day(10)), [Step::Begin(1, day(11))]);
    // the only one signs meanwhile: somebody must
    assert_eq!(due(&[day(9_000)], day(10)), [Step::Begin(0, day(11))]);
    assert_eq!(signer(&[day(9_000)], day(10)), 0);
}

proptest! {
    /// Whatever the period and however long nothing ran: the signer was published a day before, nothing is
    /// thrown away whose tokens are good, nothing piles up.
    #[test]
    fn holds_over_years(days in 1_u32..400, sleeps in prop::collection::vec(1_u32..600, 1..200)) {
        let period = DAY * days;
        let mut keys = vec![(BEGIN, BEGIN - DAY)];
        let mut now = BEGIN;
        for hours in sleeps {
            now = now + Duration::from_secs(3_600) * hours;
            let times: Vec<_> = keys.iter().map(|key| key.0).collect();
            let mut gone = Vec::new();
            for step in due(&times, now, Some(period)) {
                match step {
                    Step::Make(from) => keys.push((from, now)),
                    Step::Begin(..) => prop_assert!(false, "no clock was wrong"),
                    Step::Delete(place) => gone.push(times[place]),
                }
            }
            let successor = |from: Timestamp| times[times.iter().position(|time| *time == from).unwrap() + 1];
            for from in &gone {
                prop_assert!(successor(*from) + Duration::from_secs(LONGEST_REFRESH.into()) < now);
            }
            keys.retain(|key| !gone.contains(&key.0));
            let times: Vec<_> = keys.iter().map(|key| key.0).collect();
            let signing = signer(&times, now);
            prop_assert!(times[signing] <= now);
            prop_assert!(keys[signing].1 + DAY <= keys[signing].0.max(BEGIN));
            prop_assert!(due(&times, now, Some(period)).is_empty(), "{times:?}");
            prop_assert!(keys.len() <= 11);
            prop_assert!(keys.len() - signing <= 2);
        }
    }
}

fn held(sealer: Sealer, keys: Vec<SigningKey>) -> Keys {
    let ring = KeyRing::new(TokenSettings::default(), keys).unwrap();
    Keys { ring, sealer: Arc::new(sealer), period: None, wrong: Mutex::default() }
}

/// A key as the store has it.
fn stored(sealer: &Sealer, key: &SigningKey) -> secrets::Row {
    sealed(sealer, &key.kid, TOKENS, &key.seed, key.signs_from, key.signs_from).unwrap()
}

#[test]
fn what_cannot_be_opened_is_left_out_and_said() {
    let key = |days| SigningKey::generate(day(days)).unwrap();
    let (ours, theirs) = (Sealer::new(&[1; 32]), Sealer::new(&[2; 32]));
    let (old, new) = (key(0), key(1));
    let keys = held(Sealer::new(&[1; 32]), vec![old.clone()]);
    // another daemon sealed all anew: what is in use stays so, what is new cannot be used
    keys.take(&[stored(&theirs, &old), stored(&theirs, &new)]);
    assert!(keys.ring.holds(&old.kid) && !keys.ring.holds(&new.kid));
    let why = keys.wrong().unwrap();
    assert!(why.contains(&new.kid) && why.contains("the master key does not open"), "{why}");
    // a key under the name of another
    let forged = secrets::Row { id: key(2).kid, ..stored(&ours, &new) };
    keys.take(&[stored(&ours, &old), forged]);
    assert_eq!(keys.ring.published().len(), 1);
    assert!(keys.wrong().unwrap().contains("is another one"));
    // somebody deleted them by hand
    keys.take(&[]);
    assert!(keys.wrong().unwrap().contains("no signing key"));
    // and put right
    keys.take(&[stored(&ours, &old), stored(&ours, &new)]);
    assert!(keys.ring.holds(&new.kid));
    assert_eq!(keys.wrong(), None);
    assert_eq!(keys.age(day(3)), 2 * 86_400);
}
