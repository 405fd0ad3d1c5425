//! Reading: lists, formats, filters, raw calls, help, and what errors look like.

use std::io::{BufRead as _, BufReader, Read as _};

use serde_json::{Value, json};

use crate::support::{Home, Line, endless, house};

#[tokio::test(flavor = "multi_thread")]
async fn lists_look_as_they_were_asked_for() {
    let (daemon, home) = house().await;
    daemon.person("bob", "support").await;
    daemon.person("=cmd", "customer").await;
    let list = |more: &[&str]| {
        let args = [&["users", "list", "--sort", "email", "--fields", "email,name,roles"], more].concat();
        home.run(&args).ok()
    };
    // not a terminal: TSV, full values, no heading
    assert_eq!(
        list(&[]),
        "=cmd@example.com\t=cmd\tcustomer\nann@example.com\tann\towner\nbob@example.com\tbob\tsupport\n"
    );
    assert_eq!(
        list(&["-o", "csv"]),
        "email,name,roles\r\n'=cmd@example.com,'=cmd,customer\r\nann@example.com,ann,owner\r\nbob@example.com,bob,support\r\n"
    );
    assert_eq!(
        list(&["-o", "table"]),
        "EMAIL             NAME  ROLES\n=cmd@example.com  =cmd  customer\nann@example.com   ann   owner\nbob@example.com   bob   support\n"
    );
    assert_eq!(
        list(&["-o", "jsonl", "--limit", "1"]),
        "{\"email\":\"=cmd@example.com\",\"name\":\"=cmd\",\"roles\":[\"customer\"]}\n"
    );
    let rows: Value = serde_json::from_str(&list(&["-o", "json"])).unwrap();
    assert_eq!(rows[1], json!({ "email": "ann@example.com", "name": "ann", "roles": ["owner"] }));
    let names = home.run(&["users", "list", "-o", "name"]).ok();
    assert!(names.lines().all(|line| line.starts_with("users/usr_")) && names.lines().count() == 3);
    assert_eq!(home.run(&["users", "list", "--filter", "email:^zz", "-o", "json"]).ok(), "[]\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn json_lines_are_the_very_bytes_of_the_daemon() {
    let (_daemon, home) = house().await;
    let line = home.run(&["users", "list", "-o", "jsonl"]).ok();
    let whole = home.run(&["api", "/v1/users?position=start&pageSize=1000", "-i"]).ok();
    assert!(whole.starts_with("HTTP/1.1 200\n"));
    let token = home.run(&["auth", "token"]).ok();
    let request = home.run(&["users", "list", "--as-curl"]).ok();
    assert!(request.contains("$(bursar -c ") && !request.contains(token.trim()));
    let user: Value = serde_json::from_str(&line).unwrap();
    // as the type has it, not sorted by some map
    assert!(line.starts_with("{\"id\":\"usr_") && line.find("\"email\"") < line.find("\"createdAt\""));
    assert_eq!(user["email"], "ann@example.com");
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_get_all_pages() {
    let (daemon, home) = house().await;
    for number in 0..7 {
        daemon.person(&format!("p{number}"), "customer").await;
    }
    let args = ["users", "list", "--page-size", "3", "--sort", "email", "--jq", ".email"];
    let all = home.run(&args).ok();
    assert_eq!(all.lines().count(), 8);
    assert!(all.lines().is_sorted());
    let third = home.run(&["users", "list", "--page", "3", "--page-size", "3", "-o", "name"]).ok();
    assert_eq!(third.lines().count(), 2);
    assert_eq!(home.run(&["api", "users", "--paginate", "--limit", "5"]).ok().lines().count(), 5);
    let filtered = home.run(&["users", "list", "--filter", "role:customer p3", "--jq", ".email"]).ok();
    assert_eq!(filtered, "p3@example.com\n");
}

#[test]
fn a_reader_that_has_seen_enough_stops_the_fetching() {
    for rows in [3, 1_000] {
        let (server, pages) = endless(rows);
        let home = Home::new();
        let mut command = home.command(&["users", "list", "-o", "jsonl", "--server", &server]);
        let mut child = command.env("BURSAR_API_KEY", "brs_test").spawn().unwrap();
        let mut reader = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        drop(reader);
        // a faster client would have written the next page before we were gone
        pages.allow_more();
        let mut complaints = String::new();
        child.stderr.take().unwrap().read_to_string(&mut complaints).unwrap();
        assert!(child.wait().unwrap().success(), "{complaints}");
        assert_eq!((line.contains("ada@example.com"), complaints.as_str()), (true, ""));
        assert!(pages.asked() <= 2, "{} pages", pages.asked());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_say_what_why_and_what_next() {
    let (daemon, home) = house().await;
    let wrong = home.run(&["users", "list", "--filter", "status:open"]).fails(2);
    insta::assert_snapshot!(wrong, @r"
    error: the filter is wrong: status must be one of active, suspended, deleted
      status:open
             ^^^^
      next: bursar help filters
      exit 2 (bursar help exit-codes)
    ");
    let wrong = home.run(&["users", "get", "nobody@example.com"]).fails(3);
    assert!(wrong.contains("next: bursar users list --filter email:^nob"), "{wrong}");
    let wrong = home.run(&["users", "get", "usr_01h455vb4pex5vsknk084sn02q", "-o", "json"]).fails(3);
    let wrong: Value = serde_json::from_str(&wrong).unwrap();
    assert_eq!(wrong["error"]["code"], "NOT_FOUND");
    assert_eq!((&wrong["error"]["exitCode"], &wrong["error"]["class"]), (&json!(3), &json!("not_found")));
    assert!(wrong["error"]["requestId"].as_str().is_some_and(|id| id.starts_with("req_")));
    home.run(&["users", "list", "--sort", "age"]).fails(2);
    home.run(&["users", "list", "--fields", "colour"]).fails(2);
    home.run(&["users", "list", "--jq", ".["]).fails(2);
    home.run(&["users", "lisst"]).fails(2);
    home.run(&["users", "list", "-c", "nowhere"]).fails(2);
    home.run(&["users", "list", "--server", "http://bursar.example.com"]).fails(2);
    // nobody is signed in there, so nothing is sent there
    home.run(&["users", "list", "--server", "http://127.0.0.1:1"]).fails(4);
    let mut command = home.command(&["users", "list", "--server", "http://127.0.0.1:1"]);
    command.env("BURSAR_API_KEY", "brs_test");
    let unreachable = crate::support::finish(command, "").fails(9);
    assert!(unreachable.contains("nothing was changed"), "{unreachable}");
    let other = Home::new();
    let nobody = other.run(&["users", "list", "--server", &daemon.url(), "-o", "jsonl"]).fails(4);
    assert!(nobody.starts_with("{\"error\":"), "{nobody}");
    let support = daemon.person("sue", "support").await;
    other.sign_in(&daemon.url(), &support);
    let refused = other.run(&["audit", "list"]).fails(5);
    assert!(refused.contains("audit:read") && refused.contains("[FORBIDDEN]"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_daemon_says_cannot_steer_the_terminal() {
    let (daemon, home) = house().await;
    let name = "Mallory\u{202e}gpj";
    home.run(&["users", "create", "--email", "m@example.com", "--name", name]).ok();
    let table = home.run(&["users", "list", "-o", "table"]).ok();
    assert!(table.contains("Mallory\\u{202e}gpj"), "{table}");
    // programs get it as it is
    assert!(home.run(&["users", "list", "-o", "jsonl"]).ok().contains(name));
    drop(daemon);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_the_figures_and_the_rest_can_be_read() {
    let (daemon, home) = house().await;
    let report = home.run(&["audit", "verify", "-o", "json"]).json();
    assert_eq!(report["ok"], true);
    let seqs = home.run(&["audit", "list", "--jq", ".seq"]).ok();
    assert_eq!(seqs.lines().last(), Some("1"));
    let first = home.run(&["audit", "list", "--limit", "1", "-o", "name"]).ok();
    let entry = home.run(&["audit", "get", first.trim(), "-o", "json"]).json();
    assert!(entry["hash"].is_string());
    let events = home.run(&["events", "list", "--filter", "type:user.created", "--jq", ".type"]).ok();
    let life = home.run(&["users", "timeline", "ann@example.com", "--jq", ".type"]).ok();
    assert_eq!(life.lines().last(), Some("user.created"), "{life}");
    assert_eq!(events, "user.created\n");
    assert_eq!(home.run(&["stats", "-o", "json"]).json()["users"]["active"], 1);
    assert_eq!(home.run(&["roles", "get", "support", "--fields", "name"]).ok(), "support\n");
    assert_eq!(home.run(&["roles", "list"]).ok().lines().count(), 6);
    assert!(home.run(&["permissions"]).ok().contains("users:read\t"));
    assert_eq!(home.run(&["sessions", "list", "--user", "ann@example.com"]).ok().lines().count(), 1);
    assert!(home.run(&["api", "/v1/me", "--jq", ".email"]).ok().starts_with("ann@"));
    assert_eq!(home.run(&["auth", "can-i", "users:write"]).ok(), "yes\n");
    if daemon.is_postgres() {
        return;
    }
    // somebody with a shell on the machine
    let tampering = "DROP TRIGGER log_is_not_edited; UPDATE log SET type = 'user.updated' WHERE seq = 1";
    daemon.sql(tampering).await.unwrap();
    let broken = home.run(&["audit", "verify", "-o", "json"]);
    assert_eq!((broken.code, broken.out.contains("\"ok\": false")), (15, true), "{}", broken.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_record_costs_one_request() {
    let (daemon, home) = house().await;
    let line = Line::to(&daemon.url());
    let user = daemon.person("bob", "support").await;
    let key = home.run(&["auth", "token"]).ok();
    for who in [user.id.to_string(), user.email.to_string()] {
        let mut command = home.command(&["users", "get", &who, "--server", &line.server, "--fields", "name"]);
        command.env("BURSAR_API_KEY", key.trim());
        let before = line.requests();
        assert_eq!(crate::support::finish(command, "").ok(), "bob\n");
        assert_eq!(line.requests() - before, 1);
    }
}

#[test]
fn help_and_versions_need_nothing() {
    let home = Home::new();
    let bare = |args: &[&str]| {
        let mut command = home.command(args);
        command.env_clear();
        crate::support::finish(command, "")
    };
    assert_eq!(bare(&["--version"]).ok(), format!("bursar {}\n", env!("CARGO_PKG_VERSION")));
    let help = bare(&[]).ok();
    assert!(help.contains("users") && help.contains("context"), "{help}");
    assert_eq!(bare(&["help"]).ok(), help);
    for topic in bare(&["help", "topics"]).ok().lines() {
        let name = topic.split_whitespace().next().unwrap();
        assert!(!bare(&["help", name]).ok().is_empty());
    }
    assert!(bare(&["help", "users", "create"]).ok().contains("--email"));
    assert!(bare(&["users", "list", "--help"]).ok().contains("--filter"));
    bare(&["help", "nothing"]).fails(2);
    for shell in ["bash", "zsh", "fish"] {
        assert!(bare(&["completions", shell]).ok().contains("suspend"));
    }
    let settings = bare(&["serve", "--help"]).ok();
    assert!(settings.contains("--trusted-proxies") && settings.contains("BURSAR_DATA_DIR"), "{settings}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_prints_rows_as_they_come() {
    use std::io::BufRead as _;
    let (daemon, home) = house().await;
    let mut command = home.command(&["events", "tail", "-n", "1", "--limit", "3", "-o", "jsonl"]);
    let mut child = command.spawn().unwrap();
    let mut lines = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
    let mut kind = || {
        let line: serde_json::Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        line["type"].as_str().unwrap().to_owned()
    };
    // what was there, and then what comes, each as soon as it is there
    assert_eq!(kind(), "session.created");
    daemon.person("bob", "support").await;
    assert_eq!(kind(), "user.created");
    daemon.person("eve", "support").await;
    assert_eq!(kind(), "user.created");
    assert!(child.wait().unwrap().success());
    let wrong = home.run(&["events", "tail", "--filter", "timestamp>-1d"]).fails(2);
    assert!(wrong.contains("resourceId"), "{wrong}");
    let wrong = home.run(&["events", "tail", "--after", "999999"]).fails(7);
    assert!(wrong.contains("last row of the log"), "{wrong}");
    let curl = home.run(&["events", "tail", "--after", "0", "--as-curl"]).ok();
    assert!(curl.contains("/v1/events/stream?after=0"), "{curl}");
}
