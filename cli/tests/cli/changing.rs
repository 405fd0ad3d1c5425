//! Changing: flags and files, many at once, dry runs, protection, and answers that are lost.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use crate::support::{Line, house};

#[tokio::test(flavor = "multi_thread")]
async fn a_person_from_the_cradle_to_the_grave() {
    let (_daemon, home) = house().await;
    let args = [
        "users",
        "create",
        "--email",
        "Bob@Example.com",
        "--name",
        "Bob",
        "--role",
        "support,auditor",
        "--metadata",
        "team=a=b",
        "--password-stdin",
        "-o",
        "json",
    ];
    let bob = home.feed(&args, "plenty of words to guess\n").json();
    assert_eq!(bob["email"], "bob@example.com");
    assert_eq!(bob["roles"], json!(["auditor", "support"]));
    assert_eq!(bob["metadata"], json!({ "team": "a=b" }));
    let id = bob["id"].as_str().unwrap();

    let args = ["users", "update", id, "--name", "Robert", "--no-metadata", "team", "--external-id", "crm-1"];
    home.run(&args).ok();
    let bob = home.run(&["users", "get", "bob@example.com", "-o", "json"]).json();
    assert_eq!((&bob["name"], &bob["metadata"]), (&json!("Robert"), &json!({})));
    assert_eq!(bob["externalId"], "crm-1");
    let patch = r#"{"externalId": null}"#;
    let bob = home.feed(&["users", "update", id, "-f", "-", "-o", "json"], patch).json();
    assert_eq!(bob["externalId"], Value::Null);

    let stale = home.run(&["users", "update", id, "--name", "B", "--if-match", "1"]).fails(6);
    assert!(stale.contains("[VERSION_MISMATCH]"), "{stale}");
    let taken = home.run(&["users", "create", "--email", "bob@example.com", "--name", "B"]).fails(6);
    assert!(taken.contains("[ALREADY_EXISTS]"), "{taken}");

    let roles = home.run(&["users", "roles", id, "--remove", "auditor", "--fields", "roles"]).ok();
    assert_eq!(roles, "support\n");
    let may = home.run(&["users", "permissions", id]).ok();
    assert!(may.contains("users:write\tsupport\n"), "{may}");
    let token = home.run(&["users", "reset-password", id, "--fields", "resetToken"]).ok();
    assert!(token.trim().len() > 20);

    home.run(&["users", "delete", id]).fails(2);
    let tried = home.run(&["users", "delete", id, "--dry-run"]);
    assert_eq!((tried.code, tried.out.as_str()), (0, ""));
    home.run(&["users", "delete", id, "--yes"]).ok();
    assert_eq!(home.run(&["users", "get", id, "-o", "json"]).json()["status"], "deleted");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_faults_are_named_before_anything_is_sent() {
    let (_daemon, home) = house().await;
    let args = ["users", "create", "--email", "ada@", "--name", "", "--server", "http://127.0.0.1:1"];
    let wrong = home.run(&args).fails(7);
    assert!(wrong.contains("--email") && wrong.contains("--name"), "{wrong}");
    let wrong = home.feed(&["users", "create", "-f", "-"], r#"{"emial": "a@b.io"}"#).fails(7);
    assert!(wrong.contains("/emial") && wrong.contains("valid: email, name"), "{wrong}");
    home.feed(&["users", "create", "-f", "-"], "[]").fails(2);
    home.run(&["users", "update", "ann@example.com"]).fails(2);
    home.run(&["users", "create", "--email", "a@b.io", "--password-file", "nowhere"]).fails(2);
    // what only the daemon knows
    let args = ["users", "create", "--email", "a@b.io", "--name", "A", "--password-stdin"];
    let weak = home.feed(&args, "aaaaaaaaaaaaaaaa\n").fails(7);
    assert!(weak.contains("exit 7") && weak.contains("request req_"), "{weak}");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_from_stdin() {
    let (daemon, home) = house().await;
    for name in ["bob", "cid", "dan"] {
        daemon.person(name, "customer").await;
    }
    let names = home.run(&["users", "list", "--filter", "role:customer", "-o", "name"]).ok();
    let done = home.feed(&["users", "suspend", "-", "--reason", "spring cleaning"], &names).ok();
    assert_eq!(done.lines().filter(|line| line.contains("\tsuspended\t")).count(), 3);
    // whole rows of TSV as they come, and one that is nobody
    let rows = home.run(&["users", "list", "--filter", "status:suspended"]).ok();
    let some = home.feed(&["users", "activate", "-"], &format!("{rows}nobody@example.com\n"));
    assert_eq!((some.code, some.out.lines().count()), (10, 3));
    assert!(some.err.contains("1 of 4 failed"), "{}", some.err);
    let again = home.run(&["users", "activate", "bob@example.com"]).fails(6);
    assert!(again.contains("[ILLEGAL_TRANSITION]"), "{again}");
}

#[tokio::test(flavor = "multi_thread")]
async fn dry_runs_and_curl_change_nothing() {
    let (_daemon, home) = house().await;
    let args = ["users", "create", "--email", "a@b.io", "--name", "A"];
    let tried = home.run(&[&args[..], &["-n", "-o", "json"]].concat());
    assert!(tried.err.contains("dry run"), "{}", tried.err);
    assert_eq!(tried.json()["email"], "a@b.io");
    let curl = home.run(&[&args[..], &["--as-curl"]].concat()).ok();
    assert!(curl.starts_with("curl -sS -X POST 'http://127.0.0.1:"), "{curl}");
    assert!(curl.contains("Idempotency-Key: "), "{curl}");
    let update = ["users", "update", "ann@example.com", "--name", "Ann B."];
    let curl = home.run(&[&update[..], &["--as-curl", "--if-match", "3"]].concat()).ok();
    assert!(curl.contains("If-Match: \"3\""), "{curl}");
    assert_eq!(home.run(&["users", "list"]).ok().lines().count(), 1);
    assert_eq!(home.run(&["pending", "list"]).ok(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_is_refused_where_none_is_compared() {
    let (_daemon, home) = house().await;
    for name in ["Till", "Ann"] {
        home.run(&["accounts", "create", "--name", name, "--currency", "EUR"]).ok();
    }
    let pay = ["transfers", "create", "--from", "world:EUR", "--to", "1", "--amount"];
    let paid = home.run(&[&pay[..], &["5", "--fields", "id"]].concat()).ok();
    let held = home.run(&[&pay[..], &["4", "--hold", "--fields", "id"]].concat()).ok();
    let (paid, held) = (paid.trim(), held.trim());
    let commands: &[&[&str]] = &[
        &[&pay[..], &["3"]].concat(),
        &["transfers", "capture", held],
        &["transfers", "void", held],
        &["transfers", "reverse", paid, "--reason", "x"],
        &["accounts", "create", "--name", "New", "--currency", "EUR"],
        &["users", "create", "--email", "a@b.io", "--name", "A"],
        &["sessions", "revoke", "--user", "ann@example.com", "--yes"],
        &["api", "POST", "/v1/accounts", "-F", "name=New", "-F", "currency=EUR"],
    ];
    for command in commands {
        let refused = home.run(&[command, &["--if-match", "3"][..]].concat()).fails(2);
        assert!(refused.contains("--if-match means nothing here"), "{refused}");
    }
    assert_eq!(
        home.run(&["accounts", "list", "--fields", "balances.posted"]).ok().matches("5.00").count(),
        2
    );
    assert_eq!(home.run(&["accounts", "list", "-o", "name"]).ok().lines().count(), 3);
    // where records change it counts
    home.run(&["accounts", "freeze", "2", "--if-match", "7"]).fails(6);
    home.run(&["accounts", "freeze", "2", "--if-match", "1"]).ok();
    let id = home.run(&["accounts", "get", "2", "--jq", ".id"]).ok();
    let unfreeze = format!("/v1/accounts/{}/unfreeze", id.trim());
    home.run(&["api", "POST", &unfreeze, "--if-match", "7"]).fails_with_some_output(6);
    home.run(&["api", "POST", &unfreeze, "--if-match", "2"]).ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn protected_contexts_are_protected() {
    let (_daemon, home) = house().await;
    let name = home.run(&["context", "show", "--fields", "name"]).ok();
    let name = name.trim();
    let create = ["users", "create", "--email", "a@b.io", "--name", "A"];
    home.run(&["context", "create", name, "--protect", "readonly"]).ok();
    let refused = home.run(&create).fails(5);
    assert!(refused.contains("read-only; nothing was sent"), "{refused}");
    home.run(&["api", "POST", "/v1/users", "-F", "email=a@b.io", "-F", "name=A"]).fails(5);
    home.run(&[&create[..], &["--dry-run"]].concat()).ok();
    home.run(&["context", "create", name, "--protect", "confirm"]).ok();
    home.run(&create).fails(2);
    home.run(&[&create[..], &["--yes"]].concat()).ok();
    assert_eq!(home.run(&["users", "list"]).ok().lines().count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_whose_answer_was_lost_is_finished_and_made_once() {
    let (daemon, home) = house().await;
    let line = Line::to(&daemon.url());
    let owner = daemon.person("eve", "owner").await;
    home.sign_in(&line.server, &owner);
    line.lossy.store(true, Ordering::Relaxed);
    let lost = home.run(&["users", "create", "--email", "bob@example.com", "--name", "Bob", "-o", "json"]);
    let lost: Value = serde_json::from_str(&lost.fails(11)).unwrap();
    let key = lost["error"]["details"]["idempotencyKey"].as_str().unwrap();
    assert_eq!(lost["error"]["hint"], format!("bursar pending resume {key}"));
    home.run(&["pending", "resume", "--yes"]).fails_with_some_output(11);
    let listed = home.run(&["pending", "list", "-o", "jsonl"]).json();
    assert_eq!((listed["key"].as_str(), listed["target"].as_str()), (Some(key), Some("/v1/users")));

    line.lossy.store(false, Ordering::Relaxed);
    let resumed = home.run(&["pending", "resume", &key[..6], "-o", "jsonl"]).json();
    assert_eq!(resumed["data"]["email"], "bob@example.com");
    assert_eq!(resumed["replayed"], true);
    assert_eq!(home.run(&["pending", "list"]).ok(), "");
    // a proxy whose page says 200 says nothing about it, also when it is asked again
    line.garbling.store(true, Ordering::Relaxed);
    home.run(&["users", "create", "--email", "cat@example.com", "--name", "Cat"]).fails(11);
    home.run(&["pending", "resume", "--yes"]).fails_with_some_output(11);
    line.garbling.store(false, Ordering::Relaxed);
    assert_eq!(home.run(&["pending", "resume", "--yes", "--jq", ".replayed"]).ok(), "true\n");
    assert_eq!(home.run(&["pending", "list"]).ok(), "");
    // into a pipe goes what became of it, too
    line.lossy.store(true, Ordering::Relaxed);
    home.run(&["users", "create", "--email", "dan@example.com", "--name", "Dan"]).fails(11);
    line.lossy.store(false, Ordering::Relaxed);
    let told = home.run(&["pending", "resume", "--yes"]).ok();
    let told: Vec<&str> = told.trim_end().split('\t').collect();
    assert!(told.len() == 4 && told[1] == "true" && told[2].starts_with("usr_"), "{told:?}");
    assert!(told[3].starts_with("create user Dan dan@example.com: was done before: usr_"), "{told:?}");
    let count = home.run(&["users", "list", "--filter", "email:bob@example.com", "-o", "name"]).ok();
    assert_eq!(count.lines().count(), 1);
    home.run(&["pending", "resume", "nothing"]).fails(3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pending_is_told_apart_asked_about_and_said_afterwards() {
    let (daemon, home) = house().await;
    home.run(&["accounts", "create", "--name", "Till", "--currency", "EUR"]).ok();
    let line = Line::to(&daemon.url());
    let owner = daemon.person("eve", "owner").await;
    home.sign_in(&line.server, &owner);
    // nothing is pending: nobody is asked
    for doing in ["resume", "drop"] {
        let none = home.run(&["pending", doing]);
        assert_eq!((none.code, none.err.as_str()), (0, "nothing is pending: every change was answered\n"));
    }
    let id = home.run(&["accounts", "get", "1", "--jq", ".id"]).ok();
    let id = id.trim();
    line.lossy.store(true, Ordering::Relaxed);
    for (amount, reason) in [("12.34", "hall"), ("5", "sound")] {
        let pay = ["transfers", "create", "--from", "world:EUR", "--to", id, "--currency", "EUR"];
        home.run(&[&pay[..], &["--amount", amount, "--reason", reason]].concat()).fails(11);
    }
    let listed =
        home.run(&["pending", "list", "--fields", "amount,currency,fromAccountId,toAccountId,reason"]);
    assert_eq!(
        listed.ok(),
        format!("12.34\tEUR\tworld:EUR\t{id}\thall\n5.00\tEUR\tworld:EUR\t{id}\tsound\n")
    );
    let keys = home.run(&["pending", "list", "--fields", "key"]).ok();
    let keys: Vec<&str> = keys.lines().collect();
    let card = home.run(&["pending", "show", keys[0], "-o", "table"]).ok();
    assert!(card.contains(&format!("move 12.34 EUR from world:EUR to {id} · hall")), "{card}");
    line.lossy.store(false, Ordering::Relaxed);
    for doing in ["resume", "drop"] {
        let refused = home.run(&["pending", doing]).fails(2);
        assert!(refused.contains("--yes is needed") && refused.contains("2 changes"), "{refused}");
    }
    // at a terminal both are shown before anything is sent
    let mut terminal = crate::terminal::Terminal::shell(&home, "bursar pending resume; echo code $?");
    terminal.shows("Really send 2 changes? [y/N]");
    assert!(terminal.text().contains("12.34") && terminal.text().contains("5.00"), "{}", terminal.text());
    terminal.press("n\r");
    terminal.shows("code 5");
    assert_eq!(terminal.ends_sane(), 0);
    let one = home.run(&["pending", "resume", keys[0], "-o", "jsonl"]).json();
    let said = one["result"].as_str().unwrap();
    assert!(said.contains("hall: was done before: trf_") && said.contains("12.34 EUR then"), "{said}");
    let mut terminal = crate::terminal::Terminal::shell(&home, "bursar pending resume --yes; echo code $?");
    terminal.shows("code 0");
    let text: String = terminal.text().split_whitespace().collect();
    assert!(text.contains("sound:wasdonebefore:trf_") && !text.contains("DONEBEFORE"), "{text}");
    assert_eq!(terminal.ends_sane(), 0);
    assert_eq!(home.run(&["accounts", "get", "1", "--fields", "balances.posted"]).ok(), "17.34\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_batch_is_said_how_many_lines_were_made_and_refused() {
    let (daemon, home) = house().await;
    for name in ["Till", "Ann"] {
        home.run(&["accounts", "create", "--name", name, "--currency", "EUR"]).ok();
    }
    home.run(&["transfers", "create", "--from", "world:EUR", "--to", "1", "--amount", "10"]).ok();
    let line = Line::to(&daemon.url());
    let owner = daemon.person("eve", "owner").await;
    home.sign_in(&line.server, &owner);
    let of = |number: &str| home.run(&["accounts", "get", number, "--jq", ".id"]).ok().trim().to_owned();
    let row = |amount: &str| format!("{},{},{amount},EUR\n", of("1"), of("2"));
    let text = format!("from,to,amount,currency\n{}{}{}", row("6"), row("5"), row("3"));
    std::fs::write(home.path().join("m.csv"), text).unwrap();
    line.lossy.store(true, Ordering::Relaxed);
    home.run(&["transfers", "create", "-f", "m.csv"]).fails(11);
    line.lossy.store(false, Ordering::Relaxed);
    let listed = home.run(&["pending", "list", "-o", "jsonl"]).json();
    assert_eq!((&listed["lines"], &listed["amount"]), (&json!(3), &json!(1_400)));
    let resumed = home.run(&["pending", "resume", "--yes", "-o", "jsonl"]);
    assert_eq!(resumed.code, 10, "{}", resumed.err);
    let row: Value = serde_json::from_str(&resumed.out).unwrap();
    assert_eq!((&row["made"], &row["refused"]), (&json!(2), &json!(1)));
    let said = row["result"].as_str().unwrap();
    assert!(said.contains("3 transfers, 14.00 EUR in all: was done before: 2 made, 1 refused"), "{said}");
    assert!(said.contains("Only 4.00 EUR"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_ones_own_makes_a_script_repeatable() {
    let (_daemon, home) = house().await;
    let args =
        ["users", "create", "--email", "a@b.io", "--name", "A", "--idempotency-key", "import-2026-01-row-17"];
    let first = home.run(&args).ok();
    let second = home.run(&args);
    assert!(second.err.contains("done before"), "{}", second.err);
    assert_eq!(second.ok(), first);
    home.run(&["users", "create", "--email", "a@b.io", "--name", "A", "--idempotency-key", "short"]).fails(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn editing_sends_only_what_was_changed() {
    let (_daemon, home) = house().await;
    let script = home.path().join("editor.sh");
    std::fs::write(&script, "#!/bin/sh\nsed -i 's/\"ann\"/\"Ann B.\"/' \"$1\"\n").unwrap();
    let edit = |args: &[&str]| {
        let mut command = home.command(args);
        command.env("PATH", "/usr/bin:/bin").env("BURSAR_EDITOR", format!("/bin/sh {}", script.display()));
        crate::support::finish(command, "")
    };
    let edited = edit(&["users", "edit", "ann@example.com", "-o", "json"]).json();
    assert_eq!((&edited["name"], &edited["version"]), (&json!("Ann B."), &json!(2)));
    let same = edit(&["users", "edit", "ann@example.com"]);
    assert_eq!((same.code, same.err.as_str()), (0, "nothing was changed\n"));
    home.run(&["users", "edit", "ann@example.com"]).fails(2);
}
