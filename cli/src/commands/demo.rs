//! `bursar demo`: a throw-away daemon with lifelike people in it, and the dashboard on top.

use bursar_server::{
    admin,
    config::{Config, Sources},
};
use bursar_shared::{
    client::{Client, Options, session::Store},
    decode::Change as Field,
    field::{BulkMode, Email},
    operations::users::{BulkItem, BulkOp, BulkUsers, SuspendUser, UpdateUser, User},
    page::List,
};
use clap::Args;
use serde_json::json;

use super::server::{broken, run_daemon};
use crate::{
    context::Cx,
    error::{Failure, Result},
    output,
};

/// A throw-away daemon.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// How many people
    #[arg(long, default_value_t = 250, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    users: u64,
    /// The same number brings the same people
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where to listen; 0 takes a free port
    #[arg(long, default_value_t = 0)]
    port: u16,
}

/// Who signs in.
const EMAIL: &str = "owner@demo.example.com";
/// Everybody may know it: the daemon is on this machine only, and gone afterwards.
const PASSWORD: &str = "throw-away books, 4 columns";

const FIRST: &[&str] = &[
    "Ada",
    "Grace",
    "Alan",
    "Edsger",
    "Barbara",
    "Donald",
    "Frances",
    "John",
    "Katherine",
    "Ken",
    "Margaret",
    "Dennis",
    "Radia",
    "Tony",
    "Shafi",
    "Leslie",
    "Adele",
    "Niklaus",
    "Karen",
    "Vint",
    "Annie",
    "Jean",
    "Zoë",
    "José",
    "Søren",
    "Łukasz",
    "Mei",
    "Aarav",
    "Fatima",
    "Yuki",
];
const LAST: &[&str] = &[
    "Lovelace",
    "Hopper",
    "Turing",
    "Dijkstra",
    "Liskov",
    "Knuth",
    "Allen",
    "McCarthy",
    "Johnson",
    "Thompson",
    "Hamilton",
    "Ritchie",
    "Perlman",
    "Hoare",
    "Goldwasser",
    "Lamport",
    "Goldberg",
    "Wirth",
    "Jones",
    "Cerf",
    "Easley",
    "Bartik",
    "Müller",
    "Núñez",
    "Nakamura",
    "Okafor",
    "Haddad",
    "Petrova",
    "O'Hara",
    "Ibsen",
];

/// Numbers that look random and are the same every time (SplitMix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % below.max(1) as u64).unwrap_or(0)
    }

    fn pick<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.roll(list.len())]
    }
}

/// A name as it may stand in an address.
fn ascii(name: &str) -> String {
    let plain = |letter: char| match letter {
        'ë' => "e",
        'é' => "e",
        'ø' => "o",
        'Ł' => "l",
        'ü' => "u",
        'ú' => "u",
        'ñ' => "n",
        _ => "",
    };
    let mut out = String::new();
    for letter in name.chars() {
        if letter.is_ascii_alphabetic() {
            out.push(letter.to_ascii_lowercase());
        } else {
            out.push_str(plain(letter));
        }
    }
    out
}

fn person(number: u64, dice: &mut Dice) -> BulkItem {
    let (first, last) = (dice.pick(FIRST), dice.pick(LAST));
    let service = dice.roll(20) == 0;
    let role = match dice.roll(40) {
        0 => Some("admin"),
        1 | 2 => Some("finance"),
        3..=8 => Some("support"),
        9 => Some("auditor"),
        10..=34 => Some("customer"),
        _ => None,
    };
    let data = if service {
        json!({
            "email": format!("{}-sync-{number}@robots.example.com", ascii(last)),
            "name": format!("{last} sync"), "kind": "service", "roles": role.map(|role| [role]).into_iter().flatten().collect::<Vec<_>>(),
        })
    } else {
        json!({
            "email": format!("{}.{}{number}@example.com", ascii(first), ascii(last)),
            "name": format!("{first} {last}"),
            "roles": role.map(|role| [role]).into_iter().flatten().collect::<Vec<_>>(),
            "externalId": (dice.roll(3) == 0).then(|| format!("crm-{}", 10_000 + number)),
            "metadata": { "team": dice.pick(&["north", "south", "east", "west"]) },
        })
    };
    BulkItem { op: BulkOp::Create, id: None, if_match: None, data: Some(data) }
}

/// Fills the daemon through its own front door.
async fn seed(client: &Client, users: u64, seed: u64) -> Result<()> {
    let mut dice = Dice(seed);
    let mut number = 0;
    while number < users {
        let upto = (number + 500).min(users);
        let items = (number..upto).map(|number| person(number, &mut dice)).collect();
        number = upto;
        let result = client.call(&BulkUsers { mode: BulkMode::Independent, items }).await?;
        if let Some(error) = result.items.iter().find_map(|item| item.error.as_ref()) {
            return Err(Failure::new(1, format!("a person could not be made: {error}")));
        }
    }
    // a few things happen to them, so that the log has something to tell
    let some = client.call(&List::<User>::new().size(60)).await?.rows;
    for (place, user) in some.iter().filter(|user| user.email.as_str() != EMAIL).enumerate() {
        match place % 6 {
            0 => {
                let reason = "invoice overdue".parse().ok();
                client.call(&SuspendUser { id: user.id, reason }).await?;
            }
            1 => {
                let name = format!("{} jun.", user.name).parse().map_or(Field::Keep, Field::Set);
                let op = UpdateUser {
                    id: user.id,
                    email: Field::Keep,
                    name,
                    external_id: Field::Keep,
                    metadata: Field::Keep,
                };
                client.call(&op).await?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Starts it, fills it, and opens the dashboard; without a terminal it says how to reach it.
pub(crate) fn run(cx: &Cx, args: Demo) -> Result<()> {
    let folder = tempfile::Builder::new().prefix("bursar-demo-").tempdir();
    let folder = folder.map_err(|wrong| broken(format!("no folder can be made: {wrong}")))?;
    let flags = [
        ("listen", format!("127.0.0.1:{}", args.port)),
        ("data-dir", folder.path().display().to_string()),
        ("limits", "off".to_owned()),
        ("log-level", "error".to_owned()),
    ];
    let flags = flags.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let config = Config::load(&Sources { flags, ..Sources::default() }).map_err(broken)?;
    run_daemon(async {
        let wrong = |wrong: bursar_shared::field::Fault| Failure::new(1, wrong.to_string());
        let email: Email = EMAIL.parse().map_err(wrong)?;
        let (name, role) = ("Demo Owner".parse().map_err(wrong)?, "owner".parse().map_err(wrong)?);
        let password = PASSWORD.parse().map_err(wrong)?;
        admin::create(&config, email.clone(), name, role, password).await.map_err(broken)?;
        let running = bursar_server::start(config).await.map_err(broken)?;
        let server = format!("http://{}", running.address);
        let client = Client::new(&server, Options::default())?.with_session(Store::memory());
        client.sign_in(email, PASSWORD.parse().map_err(wrong)?).await?;
        cx.say(&format!("filling in {} people ...", args.users));
        seed(&client, args.users, args.seed).await?;
        output::say(&format!("bursar: listening on {server}"));
        output::say(&format!("sign in: {EMAIL} / {PASSWORD}"));
        output::say(&format!("for example: bursar auth login --server {server} --email {EMAIL}"));
        #[cfg(feature = "tui")]
        if output::stdout_is_terminal() && cx.can_ask() {
            let shown = tokio::task::block_in_place(|| {
                super::tui::beside(cx, client, Some("demo".to_owned()), Some(EMAIL.to_owned()))
            });
            running.stop().await;
            return shown;
        }
        bursar_server::run_until_signal(running).await.map_err(broken)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_brings_the_same_people_and_all_are_valid() {
        let people = |seed: u64| -> Vec<_> {
            let mut dice = Dice(seed);
            (0..300).map(|number| person(number, &mut dice).data).collect()
        };
        assert_eq!(people(1), people(1));
        assert_ne!(people(1), people(2));
        for data in people(1).into_iter().flatten() {
            let members = data.as_object().unwrap().clone();
            crate::change::request::<bursar_shared::operations::users::CreateUser>(members).unwrap();
        }
    }
}
