//! What came into the books and left them, hour by hour.

use std::time::Duration;

use bursar_shared::{
    client::Client,
    operations::{
        accounts::AccountRef,
        ledger::{CurrencyFlow, GetFlows},
        transfers::ReverseTransfer,
    },
};

use crate::{
    lists::plan,
    money::{between, fund, open, pay, start},
    support::{Random, seed},
};

async fn flows(client: &Client) -> Vec<CurrencyFlow> {
    client.call(&GetFlows {}).await.unwrap().currencies
}

#[tokio::test]
async fn what_comes_in_and_goes_out_is_told_by_the_hour_and_what_stays_inside_is_not() {
    let (s, owner) = start().await;
    assert_eq!(flows(&owner).await, []);
    let (a, b, yen) =
        (open(&owner, "a", "EUR").await, open(&owner, "b", "EUR").await, open(&owner, "c", "JPY").await);
    let world: AccountRef = "world:EUR".parse().unwrap();
    // too long ago to be told
    fund(&owner, &a, 5_000).await;
    s.clock.forward(Duration::from_secs(25 * 3_600));
    let came = fund(&owner, &a, 700).await;
    s.clock.forward(Duration::from_secs(90 * 60));
    pay(&owner, &a, &b, 300).await;
    fund(&owner, &yen, 40).await;
    owner.call(&between(b.id.into(), world, 120, "EUR")).await.unwrap();
    let reverse = ReverseTransfer { id: came.id, amount: None, reason: "mistake".parse().unwrap() };
    owner.call(&reverse).await.unwrap();
    let mut expected =
        [("EUR", 700, 820), ("JPY", 40, 0)].map(|(currency, money_in, money_out)| CurrencyFlow {
            currency: currency.parse().unwrap(),
            money_in,
            money_out,
            money_in_hourly: vec![0; 24],
            money_out_hourly: vec![0; 24],
        });
    expected[0].money_in_hourly[22] = 700;
    expected[0].money_out_hourly[23] = 820;
    expected[1].money_in_hourly[23] = 40;
    assert_eq!(flows(&owner).await, expected);
    // hours move on
    s.clock.forward(Duration::from_secs(23 * 3_600));
    let later = flows(&owner).await;
    assert_eq!((later[0].money_in, later[0].money_out_hourly[0], later[1].money_in_hourly[0]), (0, 820, 40));
}

#[tokio::test]
async fn halving_finds_what_adding_up_finds() {
    let mut random = Random(seed());
    let (s, owner) = start().await;
    let a = open(&owner, "a", "EUR").await;
    let world: AccountRef = "world:EUR".parse().unwrap();
    let mut made = Vec::new();
    for _ in 0..60 {
        s.clock.forward(Duration::from_secs(random.below(4_000) as u64));
        let minor = 1 + random.below(50) as i64;
        let held: i64 = made.iter().map(|(_, minor)| minor).sum();
        let minor = if random.below(3) == 0 && held > minor { -minor } else { minor };
        let transfer = match minor {
            1.. => fund(&owner, &a, minor).await,
            _ => owner.call(&between(a.id.into(), world, -minor, "EUR")).await.unwrap().0,
        };
        made.push((transfer.created_at, minor));
    }
    let told = owner.call(&GetFlows {}).await.unwrap();
    let mut hourly = [[0_i64; 24]; 2];
    for (at, minor) in made.iter().filter(|(at, _)| *at >= told.from) {
        let hour = (at.since(told.from).as_secs() / 3_600).min(23) as usize;
        hourly[usize::from(*minor < 0)][hour] += minor.abs();
    }
    let flow = &told.currencies[0];
    assert_eq!((&flow.money_in_hourly[..], &flow.money_out_hourly[..]), (&hourly[0][..], &hourly[1][..]));
}

#[tokio::test]
async fn no_hour_walks_the_entries() {
    let (s, owner) = start().await;
    let a = open(&owner, "a", "EUR").await;
    fund(&owner, &a, 5).await;
    let made = s.statements(flows(&owner)).await;
    let by_hour: Vec<_> = made.iter().filter(|one| one.contains("WITH RECURSIVE hours")).collect();
    assert_eq!(by_hour.len(), 1, "{made:#?}");
    let plan = plan(&s, by_hour[0]);
    // once to halve, once to read what was found: each by its key
    let of_entries: Vec<_> =
        plan.iter().filter(|line| line.contains(" e USING") || line.contains("on entries")).collect();
    let by_key = |line: &&&String| line.contains("PRIMARY KEY") || line.contains("entries_pk");
    assert_eq!(of_entries.iter().filter(by_key).count(), 2, "{plan:#?}");
    assert!(
        !plan.iter().any(|line| line.contains("SCAN e") || line.contains("Seq Scan on entries")),
        "{plan:#?}"
    );
}
