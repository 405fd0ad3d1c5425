//! Money from the command line: decimals in and out, minor units in JSON, and rules that say no.

use serde_json::json;

use crate::support::house;

#[tokio::test(flavor = "multi_thread")]
async fn decimals_for_people_and_minor_units_for_programs() {
    let (_daemon, home) = house().await;
    let args = [
        "accounts",
        "create",
        "--name",
        "Wallet",
        "--currency",
        "EUR",
        "--overdraft-limit",
        "5.00",
        "--max-balance",
        "none",
        "-o",
        "json",
    ];
    let wallet = home.run(&args).json();
    assert_eq!(
        (&wallet["overdraftLimit"], &wallet["maxBalance"], &wallet["number"]),
        (&json!(500), &json!(null), &json!(1))
    );
    home.run(&["accounts", "create", "--name", "Shop", "--currency", "EUR"]).ok();
    let paid = home
        .run(&[
            "transfers",
            "create",
            "--from",
            "world:EUR",
            "--to",
            "1",
            "--amount",
            "12.5",
            "--currency",
            "EUR",
            "--reason",
            "deposit",
            "-o",
            "json",
        ])
        .json();
    assert_eq!((&paid["amount"], &paid["toAccountId"]), (&json!(1_250), &wallet["id"]));
    assert_eq!(
        home.run(&["accounts", "get", "1", "--fields", "balances.posted,balances.available"]).ok(),
        "12.50\t17.50\n"
    );
    assert_eq!(
        home.run(&["accounts", "balance", "world:EUR", "--fields", "balances.posted,currency", "-o", "csv"])
            .ok(),
        "balances.posted,currency\r\n-12.50,EUR\r\n"
    );
    // more digits than the currency has are refused, not rounded
    let wrong = home
        .run(&["transfers", "create", "--from", "1", "--to", "2", "--amount", "1.005", "--currency", "EUR"])
        .fails(7);
    assert!(wrong.contains("more digits behind the point"), "{wrong}");
    let short = home
        .run(&["transfers", "create", "--from", "1", "--to", "2", "--amount", "17.51", "--currency", "EUR"])
        .fails(12);
    assert!(short.contains("INSUFFICIENT_FUNDS") && short.contains("17.50 EUR"), "{short}");
    let hold = home
        .run(&[
            "transfers",
            "create",
            "--from",
            "1",
            "--to",
            "2",
            "--amount",
            "4",
            "--currency",
            "EUR",
            "--hold",
            "--expires-in",
            "600",
            "-o",
            "json",
        ])
        .json();
    let id = hold["id"].as_str().unwrap();
    let captured = home.run(&["transfers", "capture", id, "--amount", "3.99", "-o", "json"]).json();
    assert_eq!((&captured["kind"], &captured["amount"]), (&json!("capture"), &json!(399)));
    let over = home.run(&["transfers", "reverse", id, "--reason", "x"]).fails(12);
    assert!(over.contains("reverse the transfer or the capture"), "{over}");
    let over = home
        .run(&["transfers", "reverse", captured["id"].as_str().unwrap(), "--amount", "5", "--reason", "x"])
        .fails(12);
    assert!(over.contains("Only 3.99 EUR are left to reverse."), "{over}");
    home.run(&["transfers", "void", id]).fails(12);
    let back = home
        .run(&[
            "transfers",
            "reverse",
            captured["id"].as_str().unwrap(),
            "--amount",
            "0.99",
            "--reason",
            "mistake",
            "--fields",
            "amount",
        ])
        .ok();
    assert_eq!(back, "0.99\n");
    let tried = home.run(&[
        "transfers",
        "create",
        "--from",
        "1",
        "--to",
        "2",
        "--amount",
        "1",
        "--currency",
        "EUR",
        "--dry-run",
    ]);
    assert!(tried.code == 0 && tried.err.contains("nothing was changed"), "{}", tried.err);
    let entries = home.run(&["accounts", "entries", "1", "--fields", "seq,kind,change,posted"]).ok();
    assert_eq!(
        entries,
        "4\treversal\t0.99\t9.50\n3\tcapture\t-3.99\t8.51\n2\thold\t0.00\t12.50\n1\ttransfer\t12.50\t12.50\n"
    );
    let statement = home.run(&["accounts", "statement", "1", "-o", "json"]).json();
    assert_eq!((&statement["opening"]["posted"], &statement["closing"]["posted"]), (&json!(0), &json!(950)));
    assert_eq!(home.run(&["ledger", "trial-balance"]).ok(), "EUR\t3\t17.48\t17.48\t0.00\t0.00\n");
    assert_eq!(home.run(&["ledger", "flows"]).ok(), "EUR\t12.50\t0.00\n");
    let flow = home.run(&["ledger", "flows", "--jq", ".moneyInHourly | [length, add]", "-o", "json"]).json();
    assert_eq!(flow, json!([24, 1250]));
    assert_eq!(home.run(&["ledger", "verify"]).ok(), "true\t3\t4\t8\t\n");
    let listed = home.run(&["transfers", "list", "--filter", "kind:hold", "-o", "name"]).ok();
    assert_eq!(
        home.run(&["transfers", "get", listed.trim(), "--fields", "status,capturedAmount"]).ok(),
        "captured\t3.99\n"
    );
    home.run(&["accounts", "freeze", "1", "--reason", "suspicious"]).ok();
    home.run(&["accounts", "close", "1", "--sweep-to", "2"]).fails(2);
    home.run(&["accounts", "close", "1", "--sweep-to", "2", "--yes"]).fails(12);
    home.run(&["accounts", "unfreeze", "1"]).ok();
    let close = ["accounts", "close", "1", "--sweep-to", "2", "--yes", "--expect"];
    let changed = home.run(&[&close[..], &["9.49"]].concat()).fails(6);
    assert!(changed.contains("holds something else"), "{changed}");
    assert_eq!(
        home.run(&[
            "accounts",
            "close",
            "1",
            "--sweep-to",
            "2",
            "--expect",
            "9.5",
            "--yes",
            "--fields",
            "status,balances.posted"
        ])
        .ok(),
        "closed\t0.00\n"
    );
    assert_eq!(
        home.run(&[
            "accounts",
            "list",
            "--filter",
            "status:active",
            "--sort",
            "number",
            "--fields",
            "number,balances.posted"
        ])
        .ok(),
        "2\t12.50\n3\t-12.50\n"
    );
    home.run(&["accounts", "get", "99"]).fails(3);
    assert_eq!(
        home.run(&["transfers", "list", "--filter", "currency:EUR amount>=12.50", "--fields", "amount"]).ok(),
        "12.50\n"
    );
    assert!(home.run(&["help", "money"]).ok().contains("world:EUR"));
    let call = home
        .run(&[
            "transfers",
            "create",
            "--from",
            "world:EUR",
            "--to",
            "2",
            "--amount",
            "1",
            "--currency",
            "EUR",
            "--as-curl",
        ])
        .ok();
    assert!(call.contains("/v1/transfers") && call.to_lowercase().contains("idempotency-key"), "{call}");
    assert!(call.contains("\"amount\":100,") && call.contains("\"fromAccountId\":\"world:EUR\""), "{call}");
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_said_in_the_words_that_were_typed() {
    let (_daemon, home) = house().await;
    for name in ["Wallet", "Shop"] {
        home.run(&["accounts", "create", "--name", name, "--currency", "eur"]).ok();
    }
    let pay = ["transfers", "create", "--from", "world:EUR", "--to", "1"];
    home.run(&[&pay[..], &["--amount", "10"]].concat()).ok();
    let fails = |code: i32, args: &[&str], wanted: &[&str]| {
        let wrong = home.run(args).fails(code);
        for wanted in wanted {
            assert!(wrong.contains(wanted), "{args:?}: {wrong}");
        }
        assert!(wrong.contains("\n  next: ") && !wrong.contains("next: nothing"), "{args:?}: {wrong}");
    };
    // whoever finds a wrong value, it is 7; the command line itself is 2
    fails(7, &[&pay[..], &["--amount", "-5"]].concat(), &["--amount must be at least 0.01 EUR"]);
    fails(7, &[&pay[..], &["--amount", "5", "--currency", "euro"]].concat(), &["--currency must be"]);
    fails(
        7,
        &[&pay[..], &["--amount", "5", "--hold", "--expires-in", "1y"]].concat(),
        &["--expires-in", "7d"],
    );
    fails(7, &["transfers", "create", "--to", "1", "--amount", "5"], &["--from is required"]);
    fails(7, &["transfers", "create", "--from", "1", "--to", "1", "--amount", "5"], &["--to is the account"]);
    fails(7, &["accounts", "close", "1", "--sweep-to", "1", "--yes"], &["--sweep-to is the account"]);
    fails(7, &["users", "get", "foo"], &["USER must be an id"]);
    fails(7, &["users", "list", "--cursor", "x"], &["--cursor is not a cursor"]);
    fails(2, &["transfers", "list", "--filter", "amount>10.50"], &["1050 is 10.50 EUR", "currency:EUR"]);
    fails(2, &["accounts", "list", "--sort", "available"], &["createdAt, number, name", "sort the rest"]);
    // a rule that refuses says what can be done
    fails(12, &["accounts", "close", "1", "--yes"], &["whose --sweep-to is given", "--sweep-to ACCOUNT"]);
    fails(
        12,
        &["transfers", "create", "--from", "1", "--to", "2", "--amount", "11"],
        &["bursar accounts balance acc_"],
    );
    home.run(&["accounts", "freeze", "1"]).ok();
    fails(
        12,
        &["transfers", "create", "--from", "1", "--to", "2", "--amount", "1"],
        &["bursar accounts unfreeze acc_"],
    );
    let hold = home
        .run(&[&pay[..], &["--amount", "1", "--hold", "--expires-in", "1h30m", "-o", "json"]].concat())
        .json();
    assert!(hold["expiresAt"].is_string(), "{hold}");
    let statement = home.run(&["accounts", "statement", "1", "-o", "csv", "--fields", "kind,posted"]);
    assert!(statement.err.contains("30 days; --from"), "{}", statement.err);
    assert_eq!(
        statement.ok(),
        "kind,posted\r\nopening,0.00\r\ntransfer,10.00\r\nhold,10.00\r\nclosing,10.00\r\n"
    );
    assert!(home.run(&["pending", "resume"]).err.contains("nothing is pending"));
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_fit_the_terminal_and_ids_stay_whole() {
    let (_daemon, home) = house().await;
    home.run(&["accounts", "create", "--name", "Wallet", "--currency", "EUR"]).ok();
    for amount in ["1", "2"] {
        let pay = [
            "transfers",
            "create",
            "--from",
            "world:EUR",
            "--to",
            "1",
            "--reason",
            "a rather long reason to move money",
        ];
        home.run(&[&pay[..], &["--amount", amount]].concat()).ok();
    }
    let ids = home.run(&["transfers", "list", "--fields", "id"]).ok();
    for columns in [80, 120] {
        let line = format!("stty cols {columns}; bursar transfers list --limit 1; read line");
        let terminal = crate::terminal::Terminal::shell(&home, &line);
        terminal.resize(columns, 30);
        terminal.shows("more columns: -o wide");
        let text = terminal.text();
        assert!(text.contains(ids.lines().next().unwrap()) && text.contains("2.00"), "{text}");
        assert!(text.contains("next: --page 2 --page-size 1"), "{text}");
        let rows: Vec<&str> =
            text.lines().filter(|line| line.contains("trf_") || line.starts_with("ID ")).collect();
        assert!(
            rows.len() == 2 && rows.iter().all(|row| row.trim_end().chars().count() <= columns.into()),
            "{text}"
        );
        assert_eq!(text.contains("CREATED"), columns == 120, "{text}");
    }
    let wide = home.run(&["transfers", "list", "-o", "wide", "--limit", "1"]).ok();
    assert!(wide.starts_with("ID ") && wide.contains("acc_") && wide.contains("CREATED"), "{wide}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_have_no_minor_units_and_no_end_is_a_word() {
    let (_daemon, home) = house().await;
    home.run(&["accounts", "create", "--name", "Wallet", "--currency", "EUR"]).ok();
    let pay = ["transfers", "create", "--from", "world:EUR", "--to", "1", "--amount", "12.34"];
    let card = home.run(&[&pay[..], &["-o", "table"]].concat()).ok();
    assert!(card.contains("12.34") && !card.contains('[') && !card.contains("balances"), "{card}");
    let json = home.run(&[&pay[..], &["-o", "json"]].concat()).json();
    assert_eq!(json["accounts"][1]["balances"]["posted"], 2_468);
    let world = ["accounts", "get", "world:EUR"];
    let card = home.run(&[&world[..], &["-o", "table"]].concat()).ok();
    let value = |title: &str| {
        let line = card.lines().find(|line| line.starts_with(title)).unwrap_or_else(|| panic!("{card}"));
        line.split_whitespace().next_back().unwrap().to_owned()
    };
    let unlimited = ["Available", "Overdraft limit", "Max balance"].map(value);
    assert_eq!(unlimited, ["unlimited"; 3], "{card}");
    let table = home.run(&["accounts", "list", "-o", "table"]).ok();
    assert!(table.contains("unlimited"), "{table}");
    let fields = ["--fields", "balances.available,maxBalance"];
    assert_eq!(home.run(&[&world[..], &fields].concat()).ok(), "\\N\t\\N\n");
    let csv = home.run(&[&world[..], &fields, &["-o", "csv"]].concat()).ok();
    assert_eq!(csv, "balances.available,maxBalance\r\n,\r\n");
    assert!(home.run(&[&world[..], &["-o", "json"]].concat()).json()["maxBalance"].is_null());
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_say_what_they_span_and_which_flag_is_wrong() {
    let (_daemon, home) = house().await;
    home.run(&["accounts", "create", "--name", "Wallet", "--currency", "EUR"]).ok();
    home.run(&["transfers", "create", "--from", "world:EUR", "--to", "1", "--amount", "5"]).ok();
    let statement = |more: &[&str]| home.run(&[&["accounts", "statement", "1"], more].concat());
    let said = |more: &[&str]| {
        let ran = statement(more);
        assert_eq!(ran.code, 0, "{}", ran.err);
        ran.err
    };
    assert!(said(&[]).ends_with("until now: 30 days; --from says otherwise\n"));
    let until = said(&["--to", "2130-01-01"]);
    assert!(until.contains(", 30 days before now, until 2130-01-01T00:00:00Z;"), "{until}");
    assert_eq!(said(&["--from", "-1d", "--to", "2130-01-01"]), "");
    for (flags, wanted) in [
        (&["--from", "2130-01-01"][..], "error: --from must not be after now: that is what --to is"),
        (
            &["--to", "2020-01-01"][..],
            "error: --to must not be earlier than 30 days ago: that is what --from is",
        ),
        (&["--from", "2020-02-01", "--to", "2020-01-01"][..], "error: --to must not be before --from"),
    ] {
        let refused = statement(flags).fails(7);
        assert!(refused.starts_with(wanted) && refused.contains("00:00 UTC"), "{refused}");
    }
    // what it held before and afterwards is no entry
    assert_eq!(statement(&["-o", "name"]).out, "entries/1\n");
    assert_eq!(
        statement(&["-o", "csv", "--fields", "kind"]).out,
        "kind\r\nopening\r\ntransfer\r\nclosing\r\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn negative_money_is_a_wrong_value_and_no_unknown_flag() {
    let (_daemon, home) = house().await;
    let create = ["accounts", "create", "--name", "Wallet", "--currency", "EUR"];
    home.run(&create).ok();
    for command in [&create[..], &["accounts", "update", "1"]] {
        for flag in ["--overdraft-limit", "--max-balance"] {
            let refused = home.run(&[command, &[flag, "-5"]].concat()).fails(7);
            let wanted = format!("error: {flag} must be at least 0.00 EUR, or none: limits have no sign");
            assert!(refused.starts_with(&wanted), "{refused}");
        }
    }
    home.run(&["transfers", "create", "--from", "world:EUR", "--to", "1", "--amount", "-5"]).fails(7);
    home.run(&["accounts", "close", "1", "--expect", "-5", "--yes"]).fails(6);
    home.run(&["accounts", "update", "1", "--overdraft-limit", "5"]).ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_word_that_finds_nothing_says_where_it_looked() {
    let (_daemon, home) = house().await;
    home.run(&["accounts", "create", "--name", "Wallet", "--currency", "EUR"]).ok();
    let pay = ["transfers", "create", "--from", "world:EUR", "--to", "1", "--amount", "5"];
    home.run(&[&pay[..], &["--reason", "hall", "--external-id", "inv-1"]].concat()).ok();
    let shell = |line: &str| crate::terminal::Terminal::shell(&home, line);
    let mut terminal = shell("stty cols 120; bursar transfers list --filter hall; echo code $?");
    terminal.shows(
        "nothing by \"hall\": words look at an exact id or external id, not at reasons or descriptions",
    );
    terminal.shows("code 0");
    assert_eq!(terminal.ends_sane(), 0);
    // what is found, or was not searched by a word, needs no words
    for filter in ["inv-1", "currency:USD"] {
        let mut terminal = shell(&format!("bursar transfers list --filter {filter}; echo code $?"));
        terminal.shows("code 0");
        assert!(!terminal.text().contains("words look at"), "{}", terminal.text());
        assert_eq!(terminal.ends_sane(), 0);
    }
    assert_eq!(home.run(&["transfers", "list", "--filter", "hall"]).err, "");
    for (list, words) in
        [("transfers", "not at reasons"), ("accounts", "system account"), ("users", "or email")]
    {
        let help = home.run(&[list, "list", "--help"]).ok().split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(help.contains("words look at an exact id") && help.contains(words), "{help}");
    }
}
