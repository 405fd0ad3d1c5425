//! A lifelike store of any size, the same for the same seed: people, sessions and a log that tells
//! how they came.

mod money;

use std::time::Duration;

use bursar_shared::{
    field::{Email, Name, UserKind, UserStatus},
    id::{SessionId, UserId},
    operations::log::Actor,
    time::Timestamp,
};
use serde_json::json;

use crate::{
    auth::Hasher,
    clock::Clock,
    config::Config,
    db::{Conn, Db, How, Outcome, Plain, Tx, both, migrate},
    error::{BoxError, Error, Result},
    log::{Draft, Stamp},
    repositories::{roles, sessions, users},
    schema,
};

/// Who signs in to a demo.
pub const EMAIL: &str = "demo@example.com";
/// With this password: the daemon listens on loopback alone, and the store is thrown away.
pub const PASSWORD: &str = "demo money is not real";

/// People written in one transaction.
const CHUNK: u64 = 2_000;
const MINUTE: i64 = 60_000_000;
const DAY: i64 = 24 * 60 * MINUTE;
/// The store's history goes back two years.
const HISTORY: i64 = 730 * DAY;

/// How large, and which of the many.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// People, the staff included.
    pub users: u64,
    /// Transfers between some of them.
    pub transfers: u64,
    /// The same seed makes the same people.
    pub seed: u64,
}

/// Small, quick and repeatable random numbers (splitmix64, S. Vigna, public domain).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.roll() % end.max(1)
    }

    fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[usize::try_from(self.below(list.len() as u64)).unwrap_or(0)]
    }

    fn chance(&mut self, one_in: u64) -> bool {
        self.below(one_in) == 0
    }
}

const FIRST: &[&str] = &[
    "Ada",
    "Aisha",
    "Alan",
    "Amara",
    "Anders",
    "Ángel",
    "Anna",
    "Astrid",
    "Barbara",
    "Bilal",
    "Björn",
    "Carlos",
    "Chiara",
    "Chloé",
    "Daniel",
    "Dmitri",
    "Edsger",
    "Elena",
    "Emeka",
    "Emma",
    "Fatima",
    "Felix",
    "Frances",
    "Grace",
    "Hana",
    "Hedy",
    "Hiroshi",
    "Ibrahim",
    "Ines",
    "Ivan",
    "James",
    "Jana",
    "Joan",
    "João",
    "Karen",
    "Katherine",
    "Kofi",
    "Lars",
    "Leila",
    "Liam",
    "Lucía",
    "Łukasz",
    "Mai",
    "Margaret",
    "María",
    "Mateo",
    "Mia",
    "Mohammed",
    "Nadia",
    "Niklaus",
    "Nina",
    "Noor",
    "Olga",
    "Omar",
    "Petra",
    "Priya",
    "Radia",
    "Rahul",
    "Rosa",
    "Samuel",
    "Sofia",
    "Søren",
    "Tim",
    "Tomás",
    "Uma",
    "Vera",
    "Wei",
    "Xiomara",
    "Yasmin",
    "Yusuf",
    "Zoë",
    "Žofia",
];

const LAST: &[&str] = &[
    "Adeyemi",
    "Allen",
    "Andersson",
    "Bauer",
    "Becker",
    "Berg",
    "Bianchi",
    "Carvalho",
    "Chen",
    "Clarke",
    "Cohen",
    "Costa",
    "Dijkstra",
    "Dubois",
    "Ekström",
    "Ferrari",
    "Fischer",
    "García",
    "González",
    "Goldberg",
    "Gupta",
    "Hamilton",
    "Hansen",
    "Hopper",
    "Ito",
    "Ivanov",
    "Jensen",
    "Johnson",
    "Kaya",
    "Keller",
    "Khan",
    "Kim",
    "Kowalski",
    "Lamarr",
    "Larsen",
    "Lee",
    "Liskov",
    "López",
    "Lovelace",
    "Martin",
    "Meyer",
    "Müller",
    "Nakamura",
    "Nguyen",
    "Novák",
    "O'Brien",
    "Okafor",
    "Olsen",
    "Park",
    "Patel",
    "Pérez",
    "Petrov",
    "Popescu",
    "Rossi",
    "Sato",
    "Schmidt",
    "Silva",
    "Singh",
    "Smith",
    "Suzuki",
    "Tanaka",
    "Torvalds",
    "Turing",
    "van den Berg",
    "Wang",
    "Weber",
    "Wilson",
    "Wirth",
    "Yılmaz",
    "Young",
    "Zhang",
    "Zimmermann",
];

const HOSTS: &[&str] = &["example.com", "example.net", "example.org", "mail.example.com"];
const PLANS: &[&str] = &["free", "free", "free", "team", "team", "business"];
const COUNTRIES: &[&str] = &["DE", "FR", "ES", "PL", "SE", "JP", "IN", "NG", "BR", "US", "GB", "TR"];
const REASONS: &[&str] =
    &["chargeback", "asked to", "unpaid invoice", "reported for spam", "looks like a takeover"];

/// Staff: name, local part of the email, role.
const STAFF: &[(&str, &str, &str)] = &[
    ("Demo Owner", "demo", "owner"),
    ("Grace Hopper", "grace", "admin"),
    ("Luca Pacioli", "luca", "finance"),
    ("Ada Lovelace", "ada", "support"),
    ("Alan Turing", "alan", "support"),
    ("Mary Jackson", "mary", "auditor"),
];

fn plain(name: &str) -> String {
    name.chars()
        .flat_map(char::to_lowercase)
        .filter_map(|letter| match letter {
            'a'..='z' => Some(letter),
            'á' | 'ã' | 'ä' => Some('a'),
            'é' | 'ë' => Some('e'),
            'í' | 'ı' => Some('i'),
            'ó' | 'ö' | 'ø' => Some('o'),
            'ú' | 'ü' => Some('u'),
            'ł' => Some('l'),
            'ž' => Some('z'),
            _ => None,
        })
        .collect()
}

/// A UUIDv7 of that moment (RFC 9562), so that ids sort as they would have.
fn bits_at(at: Timestamp, dice: &mut Dice) -> u128 {
    let millis = u128::from(u64::try_from(at.micros() / 1_000).unwrap_or(0)) & 0xffff_ffff_ffff;
    let random = u128::from(dice.roll()) << 64 | u128::from(dice.roll());
    let (a, b) = (random >> 64 & 0xfff, random & 0x3fff_ffff_ffff_ffff);
    millis << 80 | 7 << 76 | a << 64 | 2 << 62 | b
}

/// A person to be written.
struct Person {
    row: users::Row,
    role: &'static str,
    /// Suspended later, and why.
    suspended: Option<(Timestamp, &'static str)>,
}

/// Fills an empty store, and tells how far it is: people written, of so many; then transfers.
///
/// # Errors
/// When the store cannot be used, or is not empty.
pub async fn fill(
    config: &Config,
    size: Size,
    progress: impl Fn(u64, u64),
) -> std::result::Result<(), BoxError> {
    crate::check_folder(config)?;
    migrate(&config.location)?;
    let clock = Clock::default();
    let db = Db::for_command(config, clock.clone())?;
    let (anybody, _) = db.read(users::count_by_status).await.map_err(fault)?;
    if !anybody.is_empty() {
        return Err("the store has people already; a demo fills only an empty one".into());
    }
    let hash = Hasher::new(1)?.hash(PASSWORD).await?;
    let now = clock.now();
    let begin = Timestamp::from_micros(now.micros() - HISTORY);
    let total = size.users.max(STAFF.len() as u64);
    let mut dice = Dice(size.seed);
    let mut written = 0;
    while written < total {
        let count = CHUNK.min(total - written);
        let people: Vec<Person> = (written..written + count)
            .map(|number| person(number, total, begin, now, &hash, &mut dice))
            .collect();
        change(&db, move |tx| write_people(tx, &people)).await?;
        written += count;
        progress(written, total);
    }
    let seed = dice.roll();
    money::fill(&db, size.transfers, now, &mut dice, &progress).await?;
    change(&db, move |tx| last_day(tx, now, &mut Dice(seed))).await?;
    Ok(())
}

fn fault(why: Error) -> BoxError {
    why.to_string().into()
}

async fn change(
    db: &Db,
    change: impl Fn(&mut Tx<'_>) -> Result<()> + Send + Sync + 'static,
) -> std::result::Result<(), BoxError> {
    let how = How { stamp: Stamp::system("demo"), key: None, dry_run: false };
    db.write("demo", how, move |tx| change(tx).map(Plain).map(Outcome::Done)).await.map(drop).map_err(fault)
}

fn person(number: u64, total: u64, begin: Timestamp, now: Timestamp, hash: &str, dice: &mut Dice) -> Person {
    let staff = usize::try_from(number).ok().and_then(|place| STAFF.get(place));
    // more and more people come, evenly enough that the last hour has some too
    let share = (number as f64 / total as f64).sqrt();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "a rough spread over time"
    )]
    let since = (share * (HISTORY - DAY) as f64) as i64;
    let at = Timestamp::from_micros(begin.micros() + since + number as i64 % 997);
    let (name, email) = match staff {
        Some((name, local, _)) => ((*name).to_owned(), format!("{local}@example.com")),
        None => {
            let (first, last) = (dice.pick(FIRST), dice.pick(LAST));
            let email = format!("{}.{}.{number}@{}", plain(first), plain(last), dice.pick(HOSTS));
            (format!("{first} {last}"), email)
        }
    };
    let service = staff.is_none() && dice.chance(400);
    let name = if service { format!("{name}'s robot") } else { name };
    let id = UserId::from_bits(bits_at(at, dice));
    let mut row = users::Row {
        id: id.to_string(),
        name_sort: users::sort_form(&name),
        name,
        email,
        status: UserStatus::Active.as_str().to_owned(),
        kind: if service { UserKind::Service } else { UserKind::Human }.as_str().to_owned(),
        external_id: (staff.is_none() && dice.chance(3)).then(|| format!("crm-{number}")),
        metadata: "{}".to_owned(),
        password_hash: staff.map(|_| hash.to_owned()),
        last_login_at: None,
        version: 1,
        created_at: at.micros(),
        updated_at: at.micros(),
    };
    if staff.is_none() {
        row.metadata = json!({ "plan": dice.pick(PLANS), "country": dice.pick(COUNTRIES) }).to_string();
        if dice.chance(2) {
            let after = i64::try_from(dice.below(u64::try_from(now.micros() - at.micros()).unwrap_or(1)))
                .unwrap_or(0);
            row.last_login_at = Some(at.micros() + after);
        }
    }
    // the log goes on from person to person, so a suspension stands right behind its creation
    let suspended = (staff.is_none() && dice.chance(25)).then(|| {
        let when = Timestamp::from_micros(at.micros() + 1);
        row.status = UserStatus::Suspended.as_str().to_owned();
        row.version = 2;
        row.updated_at = when.micros();
        (when, dice.pick(REASONS))
    });
    Person { row, role: staff.map_or("customer", |(_, _, role)| role), suspended }
}

fn write_people(tx: &mut Tx<'_>, people: &[Person]) -> Result<()> {
    let names: Vec<String> = people.iter().map(|person| person.role.to_owned()).collect();
    let known = roles::named(tx, &names)?;
    let rows: Vec<&users::Row> = people.iter().map(|person| &person.row).collect();
    insert_users(tx, &rows)?;
    let mut terms = Vec::new();
    let mut held = Vec::new();
    for Person { row, role, .. } in people {
        let words = users::terms(&row.name, &row.email);
        terms.extend(words.into_iter().map(|term| (term, row.id.clone())));
        if let Some(role) = known.get(*role) {
            held.push((row.id.clone(), role.id.clone()));
        }
    }
    insert_pairs(tx, &terms, &held)?;
    for person in people {
        let created = Timestamp::from_micros(person.row.created_at);
        let user = person.row.user(vec![person.role.to_owned()])?;
        let mut fresh = user.clone();
        if let Some((when, reason)) = person.suspended {
            fresh.status = UserStatus::Active;
            fresh.version = 1;
            fresh.updated_at = created;
            tx.log_at(Draft::new("user.created", "user", user.id).version(1).data(&fresh), created);
            let mut data = serde_json::to_value(&user)?;
            data["reason"] = json!(reason);
            tx.log_at(
                Draft::new("user.suspended", "user", user.id).version(2).changes(&fresh, &user).data(&data),
                when,
            );
        } else {
            tx.log_at(Draft::new("user.created", "user", user.id).version(1).data(&fresh), created);
        }
    }
    Ok(())
}

fn insert_users(conn: &mut Conn, rows: &[&users::Row]) -> Result<()> {
    use diesel::RunQueryDsl;
    for some in rows.chunks(1_000) {
        let some = some.to_vec();
        both!(conn, |conn| diesel::insert_into(schema::users::table).values(some).execute(conn))?;
    }
    Ok(())
}

fn insert_pairs(conn: &mut Conn, terms: &[(String, String)], held: &[(String, String)]) -> Result<()> {
    use diesel::{ExpressionMethods, RunQueryDsl};
    use schema::{user_roles, user_terms};
    for some in terms.chunks(5_000) {
        let rows: Vec<_> = some
            .iter()
            .map(|(term, user)| (user_terms::term.eq(term), user_terms::user_id.eq(user)))
            .collect();
        both!(conn, |conn| diesel::insert_into(user_terms::table).values(rows).execute(conn))?;
    }
    for some in held.chunks(5_000) {
        let rows: Vec<_> = some
            .iter()
            .map(|(user, role)| (user_roles::user_id.eq(user), user_roles::role_id.eq(role)))
            .collect();
        both!(conn, |conn| diesel::insert_into(user_roles::table).values(rows).execute(conn))?;
    }
    Ok(())
}

/// The last day: staff sign in and out, somebody guesses passwords, people are edited.
fn last_day(tx: &mut Tx<'_>, now: Timestamp, dice: &mut Dice) -> Result<()> {
    let mut staff = Vec::new();
    for (_, local, _) in STAFF {
        let email: Email = format!("{local}@example.com").parse().map_err(misfit)?;
        staff.extend(users::find_by_email(tx, &email)?);
    }
    let actor = |row: &users::Row| Actor {
        id: Some(row.id.clone()),
        kind: "user".to_owned(),
        ip: Some("192.0.2.7".to_owned()),
    };
    let mut at = now.micros() - DAY;
    while at < now.micros() - MINUTE {
        // nights are quieter
        let hour = at / (60 * MINUTE) % 24;
        let pause = if (7..20).contains(&hour) { 12 } else { 45 };
        at += i64::try_from(dice.below(pause) + 2).unwrap_or(10) * MINUTE;
        let when = Timestamp::from_micros(at.min(now.micros() - MINUTE));
        let place = usize::try_from(dice.below(staff.len() as u64)).unwrap_or(0);
        let Some(who) = staff.get(place).cloned() else { return Ok(()) };
        match dice.below(10) {
            0..=3 => sign_in(tx, &who, when, now, dice, actor(&who))?,
            4 | 5 => {
                let facts = json!({ "email": format!("{}@example.com", dice.pick(&["admin", "root", "grace", "info"])), "userId": null, "reason": "wrong email or password" });
                let stranger = Actor {
                    id: None,
                    kind: "anonymous".to_owned(),
                    ip: Some(format!("203.0.113.{}", dice.below(250))),
                };
                tx.log_at(Draft::about("session.login_failed", "session").data(&facts).by(stranger), when);
            }
            _ => edit(tx, when, dice, actor(&who))?,
        }
    }
    Ok(())
}

fn misfit(why: bursar_shared::field::Fault) -> Error {
    crate::error::broken("a value of the demo")(Box::new(why))
}

fn sign_in(
    tx: &mut Tx<'_>,
    who: &users::Row,
    when: Timestamp,
    now: Timestamp,
    dice: &mut Dice,
    actor: Actor,
) -> Result<()> {
    let id = SessionId::from_bits(bits_at(when, dice));
    let ended = dice.chance(2).then(|| (when + Duration::from_secs(40)).micros().min(now.micros()));
    let row = sessions::Row {
        id: id.to_string(),
        user_id: who.id.clone(),
        generation: 1,
        refresh_key_hash: None,
        ip: actor.ip.clone(),
        user_agent: Some(dice.pick(&["bursar/0.1.0 (cli)", "bursar/0.1.0 (dashboard)"]).to_owned()),
        created_at: when.micros(),
        last_used_at: when.micros(),
        expires_at: when.micros() + 7 * DAY,
        ends_at: when.micros() + 30 * DAY,
        revoked_at: ended,
    };
    sessions::insert(tx, &row)?;
    let user: UserId = who.id.parse().map_err(|why| crate::error::broken("id of a user")(Box::new(why)))?;
    users::touch_login(tx, &user, when)?;
    let mut facts = serde_json::to_value(row.session(None)?)?;
    facts["email"] = json!(who.email);
    tx.log_at(Draft::new("session.created", "session", id).by(actor.clone()).data(&facts), when);
    if let Some(ended) = ended {
        let facts = json!({ "reason": "logout", "email": who.email });
        tx.log_at(
            Draft::new("session.revoked", "session", id).by(actor).data(&facts),
            Timestamp::from_micros(ended),
        );
    }
    Ok(())
}

/// Somebody of the staff changes somebody's plan.
fn edit(tx: &mut Tx<'_>, when: Timestamp, dice: &mut Dice, actor: Actor) -> Result<()> {
    let Some(mut row) = users::some_customer(tx, dice.roll())? else { return Ok(()) };
    let before = users::shown(tx, &row)?;
    let name: Name = before.name.clone();
    row.metadata =
        json!({ "plan": "business", "country": dice.pick(COUNTRIES), "note": format!("spoke to {name}") })
            .to_string();
    row.version += 1;
    row.updated_at = when.micros().max(row.created_at);
    users::update(tx, &row, false)?;
    let after = users::shown(tx, &row)?;
    tx.log_at(
        Draft::new("user.updated", "user", &row.id)
            .version(row.version)
            .changes(&before, &after)
            .data(&after)
            .by(actor),
        when,
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_people_with_valid_values() {
        let now = Timestamp::from_micros(1_800_000_000_000_000);
        let begin = Timestamp::from_micros(now.micros() - HISTORY);
        let make = || {
            let mut dice = Dice(7);
            (0..3_000).map(|n| person(n, 3_000, begin, now, "hash", &mut dice).row).collect::<Vec<_>>()
        };
        let people = make();
        for (row, again) in people.iter().zip(make()) {
            assert_eq!(row.id, again.id);
            assert!(row.email.parse::<Email>().is_ok(), "{}", row.email);
            assert!(row.name.parse::<Name>().is_ok());
            assert!(row.id.parse::<UserId>().is_ok());
        }
        assert!(people.is_sorted_by_key(|row| row.created_at));
    }
}
