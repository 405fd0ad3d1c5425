//! A living ledger for the demo: wallets of its people, shops, and thirty days of payments between them.

use bursar_shared::{
    field::{AccountStatus, TransferMode},
    id::AccountId,
    money::{Amount, Currency},
    operations::{
        accounts::AccountRef,
        transfers::{CaptureTransfer, CreateTransfer, ReverseTransfer, Transfer, VoidTransfer},
    },
    time::Timestamp,
};

use super::{DAY, Db, Dice, change, fault};
use crate::{
    db::{How, Outcome, Plain, Tx, Written},
    error::{BoxError, Result},
    ledger::What,
    log::{Draft, Stamp},
    repositories::{accounts, users},
};

/// Transfers written in one transaction.
const CHUNK: u64 = 250;
/// As many transfers as are spread over the hours.
const SMALL: u64 = 20_000;
/// How far back they go.
const PERIOD: i64 = 30 * DAY;

/// Shops, and what they are paid in.
const SHOPS: &[(&str, &str)] = &[
    ("Corner coffee", "EUR"),
    ("Book cellar", "EUR"),
    ("Night market", "EUR"),
    ("Ramen Yokocho", "JPY"),
    ("Hardware & sons", "USD"),
];
const WHY: &[&str] = &["coffee", "books", "groceries", "rent", "a present", "lunch", "tickets", "repair"];

/// An account that takes part.
#[derive(Debug, Clone, Copy)]
struct Place {
    id: AccountId,
    currency: Currency,
}

/// Opens accounts and moves money between them; tells how far it is: transfers tried, of so many.
pub(super) async fn fill(
    db: &Db,
    transfers: u64,
    now: Timestamp,
    dice: &mut Dice,
    progress: &impl Fn(u64, u64),
) -> std::result::Result<(), BoxError> {
    if transfers == 0 {
        return Ok(());
    }
    let begin = Timestamp::from_micros(now.micros() - PERIOD);
    let (wallets, shops) = open(db, transfers, begin, dice).await?;
    if wallets.is_empty() {
        // nobody was there a month ago
        return Ok(());
    }
    let mut written = 0;
    while written < transfers {
        let count = CHUNK.min(transfers - written);
        let step = PERIOD / i64::try_from(transfers).unwrap_or(i64::MAX).max(1);
        let at =
            Timestamp::from_micros(begin.micros() + step.saturating_mul(i64::try_from(written).unwrap_or(0)));
        let deeds: Vec<What> = (0..count).map(|_| deed(&wallets, &shops, dice)).collect();
        let span = step.saturating_mul(i64::try_from(count).unwrap_or(0));
        // all of them at one moment would be no life, and one by one would take its time
        let pieces: Vec<&[What]> = deeds.chunks(if transfers <= SMALL { 10 } else { deeds.len() }).collect();
        let part = span / (i64::try_from(pieces.len()).unwrap_or(i64::MAX).max(1) + 1);
        let mut moved = Vec::new();
        let mut then = at.micros();
        for piece in pieces {
            moved.extend(post(db, piece.to_vec(), Timestamp::from_micros(then)).await?);
            then += part;
        }
        let ends = moved.iter().filter_map(|one| end(one, dice)).collect();
        post(db, ends, Timestamp::from_micros(then)).await?;
        written += count;
        progress(written, transfers);
    }
    let suspect = wallets.last().copied();
    let at = Timestamp::from_micros(now.micros() - DAY / 24);
    change(db, move |tx| suspect.map_or(Ok(()), |place| freeze(tx, place.id, at))).await
}

/// Wallets for some customers, and the shops.
async fn open(
    db: &Db,
    transfers: u64,
    begin: Timestamp,
    dice: &mut Dice,
) -> std::result::Result<(Vec<Place>, Vec<Place>), BoxError> {
    let many = i64::try_from((transfers / 6).clamp(20, 100_000)).unwrap_or(20);
    let people = db.read(move |conn| users::customers_before(conn, begin, many)).await.map_err(fault)?.0;
    let mut rows: Vec<accounts::Row> = Vec::new();
    for (id, name) in people {
        let code = if dice.chance(12) { dice.pick(&["USD", "JPY"]) } else { "EUR" };
        let mut row =
            accounts::Row::new(AccountId::new(), 0, &format!("{name}'s wallet"), currency(code)?, begin);
        row.owner_id = Some(id);
        row.overdraft_limit = Some(if dice.chance(10) { 50_000 } else { 0 });
        rows.push(row);
    }
    for (name, code) in SHOPS {
        rows.push(accounts::Row::new(AccountId::new(), 0, name, currency(code)?, begin));
    }
    let place = |row: &accounts::Row| {
        Ok::<_, BoxError>(Place { id: row.id.parse()?, currency: row.currency.parse()? })
    };
    let mut places = rows.iter().map(place).collect::<std::result::Result<Vec<_>, _>>()?;
    for some in rows.chunks(500) {
        let some = some.to_vec();
        change(db, move |tx| {
            for row in &some {
                let row = accounts::Row { number: accounts::next_number(tx)?, ..row.clone() };
                accounts::insert(tx, &row)?;
                let shown = row.account()?;
                tx.log_at(Draft::new("account.created", "account", &row.id).version(1).data(&shown), begin);
            }
            Ok(())
        })
        .await?;
    }
    let shops = places.split_off(places.len() - SHOPS.len());
    Ok((places, shops))
}

fn currency(code: &str) -> std::result::Result<Currency, BoxError> {
    code.parse().map_err(|why: bursar_shared::field::Fault| BoxError::from(why.to_string()))
}

/// Something that happens: money comes in, is spent, is held, goes from one to another.
fn deed(wallets: &[Place], shops: &[Place], dice: &mut Dice) -> What {
    let one = dice.pick(wallets);
    let system = |key| AccountRef::System(key, one.currency);
    let (world, revenue) = (bursar_shared::field::SystemKey::World, bursar_shared::field::SystemKey::Revenue);
    let shop = shops.iter().find(|shop| shop.currency == one.currency).copied().unwrap_or(one);
    let friends: Vec<Place> = wallets
        .iter()
        .filter(|other| other.currency == one.currency && other.id != one.id)
        .take(64)
        .copied()
        .collect();
    let (from, to, most, mode) = match dice.below(10) {
        0..=3 => (system(world), one.id.into(), 80_000, None),
        4..=5 => (one.id.into(), shop.id.into(), 6_000, None),
        6 => (one.id.into(), system(revenue), 3_000, None),
        7 if !friends.is_empty() => (one.id.into(), dice.pick(&friends).id.into(), 9_000, None),
        _ => (one.id.into(), shop.id.into(), 12_000, Some(TransferMode::Hold)),
    };
    let minor = i64::try_from(dice.below(most)).unwrap_or(0) + 100;
    What::Create(Box::new(CreateTransfer {
        from_account_id: from,
        to_account_id: to,
        amount: Amount::new(minor).unwrap_or(Amount::ONE),
        currency: one.currency,
        mode,
        expires_in_seconds: None,
        reason: dice.pick(WHY).parse().ok(),
        description: None,
        external_id: None,
        metadata: None,
    }))
}

/// What becomes of a transfer later: most holds end, some payments are taken back.
fn end(one: &Transfer, dice: &mut Dice) -> Option<What> {
    use bursar_shared::field::TransferKind as Kind;
    match one.kind {
        Kind::Hold if dice.chance(4) => {
            let VoidTransfer { id, reason } =
                VoidTransfer { id: one.id, reason: "not picked up".parse().ok() };
            Some(What::Void(id, reason))
        }
        Kind::Hold if !dice.chance(5) => Some(What::Capture(CaptureTransfer { id: one.id, amount: None })),
        Kind::Transfer if dice.chance(40) => Some(What::Reverse(ReverseTransfer {
            id: one.id,
            amount: None,
            reason: "paid twice".parse().ok()?,
        })),
        _ => None,
    }
}

/// Moves money at some time in the past; what is refused is left out, as in life.
async fn post(db: &Db, whats: Vec<What>, at: Timestamp) -> std::result::Result<Vec<Transfer>, BoxError> {
    let how = How { stamp: Stamp::system("demo"), key: None, dry_run: false };
    let written = db
        .write("demo", how, move |tx| {
            let verdicts = tx.money_at(whats.clone(), true, at)?;
            let moved: Vec<Transfer> = verdicts.into_iter().filter_map(std::result::Result::ok).collect();
            Ok(Outcome::Done(Plain(moved)))
        })
        .await
        .map_err(fault)?;
    match written {
        Written::Done(Plain(moved)) => Ok(moved),
        Written::Replayed(_) => Err("a write without a key was replayed".into()),
    }
}

fn freeze(tx: &mut Tx<'_>, id: AccountId, at: Timestamp) -> Result<()> {
    let mut row = accounts::get(tx, id.into())?;
    let before = row.account()?;
    row.status = AccountStatus::Frozen.as_str().to_owned();
    row.version += 1;
    row.updated_at = at.micros();
    accounts::update(tx, &row)?;
    let after = row.account()?;
    let draft = Draft::new("account.frozen", "account", id).version(row.version).changes(&before, &after);
    tx.log_at(draft.data(&after), at);
    Ok(())
}
