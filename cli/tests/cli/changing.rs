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
    home.run(&["pending", "resume"]).fails_with_some_output(11);
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
    home.run(&["pending", "resume"]).fails_with_some_output(11);
    line.garbling.store(false, Ordering::Relaxed);
    assert_eq!(home.run(&["pending", "resume", "--jq", ".replayed"]).ok(), "true\n");
    assert_eq!(home.run(&["pending", "list"]).ok(), "");
    // into a pipe goes what became of it, too
    line.lossy.store(true, Ordering::Relaxed);
    home.run(&["users", "create", "--email", "dan@example.com", "--name", "Dan"]).fails(11);
    line.lossy.store(false, Ordering::Relaxed);
    let told = home.run(&["pending", "resume"]).ok();
    let told: Vec<&str> = told.trim_end().split('\t').collect();
    assert!(told.len() == 3 && told[1] == "true" && told[2].starts_with("usr_"), "{told:?}");
    let count = home.run(&["users", "list", "--filter", "email:bob@example.com", "-o", "name"]).ok();
    assert_eq!(count.lines().count(), 1);
    home.run(&["pending", "resume", "nothing"]).fails(3);
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
