//! Signing in: contexts, tokens, API keys, and many processes with one session.

use bursar_server::{
    Location,
    testing::{PASSWORD, TestServer, eventually},
};
use serde_json::{Value, json};

use crate::support::{Home, finish, house};

#[tokio::test(flavor = "multi_thread")]
async fn in_and_out() {
    let daemon = TestServer::start().await;
    let home = Home::new();
    home.run(&["auth", "status", "--server", &daemon.url()]).fails(4);
    let owner = daemon.person("ann", "owner").await;
    let login = ["auth", "login", "--server", &daemon.url(), "--email", "ann@example.com"];
    let asked = home.run(&login).fails(2);
    assert!(asked.contains("--password-stdin"), "{asked}");
    let wrong = home.feed(&[&login[..], &["--password-stdin"]].concat(), "not the password\n").fails(4);
    assert!(wrong.contains("[INVALID_CREDENTIALS]"), "{wrong}");
    home.run(&["auth", "status"]).fails(4);
    home.sign_in(&daemon.url(), &owner);

    let status = home.run(&["auth", "status", "-o", "json"]).json();
    assert_eq!((&status["email"], &status["signedIn"]), (&"ann@example.com".into(), &true.into()));
    assert_eq!(home.run(&["auth", "whoami", "--fields", "email"]).ok(), "ann@example.com\n");
    assert_eq!(home.run(&["auth", "token"]).ok().split('.').count(), 3);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = home.path().join("state/credentials");
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
    }
    home.run(&["auth", "logout"]).ok();
    home.run(&["auth", "whoami"]).fails(4);
    assert_eq!(home.run(&["context", "list", "--fields", "email,signedIn"]).ok(), "ann@example.com\tfalse\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn contexts_keep_daemons_apart() {
    let (first, second) = (TestServer::start().await, TestServer::start().await);
    let home = Home::new();
    for (name, daemon) in [("one", &first), ("two", &second)] {
        daemon.person(name, "owner").await;
        let email = format!("{name}@example.com");
        let server = daemon.url();
        let args = ["auth", "login", "-c", name, "--server", &server, "--email", &email, "--password-stdin"];
        home.feed(&args, &format!("{PASSWORD}\n")).ok();
    }
    let who = |more: &[&str]| home.run(&[&["auth", "whoami", "--fields", "name"], more].concat()).ok();
    assert_eq!(who(&[]), "two\n");
    assert_eq!(who(&["-c", "one"]), "one\n");
    assert_eq!(who(&["--server", &first.url()]), "one\n");
    home.run(&["context", "use", "one"]).ok();
    assert_eq!(who(&[]), "one\n");
    let mut command = home.command(&["auth", "whoami", "--fields", "name"]);
    command.env("BURSAR_CONTEXT", "two");
    assert_eq!(finish(command, "").ok(), "two\n");
    // the tokens of one daemon are never shown to another
    home.run(&["auth", "whoami", "-c", "one", "--server", &second.url()]).fails(4);
    home.run(&["context", "use", "three"]).fails(2);
    home.run(&["context", "create", "../x", "--server", "http://127.0.0.1:1"]).fails(2);
    home.run(&["context", "delete", "one"]).fails(2);
    home.run(&["context", "delete", "one", "--yes"]).ok();
    assert_eq!(home.run(&["context", "list", "-o", "name"]).ok(), "contexts/two\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_in_the_environment_needs_no_sign_in() {
    let (daemon, home) = house().await;
    let token = home.run(&["auth", "token"]).ok();
    let other = Home::new();
    let mut command = other.command(&["auth", "whoami", "--fields", "name"]);
    command.env("BURSAR_SERVER", daemon.url()).env("BURSAR_API_KEY", token.trim());
    assert_eq!(finish(command, "").ok(), "ann\n");
    let mut command = other.command(&["auth", "whoami"]);
    command.env("BURSAR_SERVER", daemon.url()).env("BURSAR_API_KEY", "brs_wrong");
    finish(command, "").fails(4);
    let path = other.path().join("key");
    std::fs::write(&path, token).unwrap();
    let with_file = || {
        let mut command = other.command(&["auth", "whoami", "--fields", "name"]);
        command.env("BURSAR_SERVER", daemon.url()).env("BURSAR_API_KEY_FILE", &path);
        finish(command, "")
    };
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let loose = with_file().fails(2);
        assert!(loose.contains("chmod 600"), "{loose}");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    assert_eq!(with_file().ok(), "ann\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_are_changed_and_reset() {
    let (daemon, home) = house().await;
    let bob = daemon.person("bob", "support").await;
    let his = Home::new();
    his.sign_in(&daemon.url(), &bob);
    let new = "another phrase nobody guesses";
    let stdin = format!("{PASSWORD}\n{new}\n");
    his.feed(&["auth", "password", "--password-stdin"], &stdin).ok();
    let login =
        ["auth", "login", "--server", &daemon.url(), "--email", "bob@example.com", "--password-stdin"];
    his.feed(&login, &format!("{new}\n")).ok();
    let token = home.run(&["users", "reset-password", "bob@example.com", "--fields", "resetToken"]).ok();
    his.run(&["auth", "whoami"]).fails(4);
    let stdin = format!("{}\nyet another phrase of words\n", token.trim());
    his.feed(&["auth", "password", "--reset", "--password-stdin"], &stdin).ok();
    his.feed(&login, "yet another phrase of words\n").ok();
    his.feed(&["auth", "password", "--reset", "--password-stdin"], &stdin).fails(4);
    his.feed(&["auth", "password", "--password-stdin"], "only one line\n").fails(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_processes_share_one_session() {
    let daemon = TestServer::start_with(&[("limits", "off"), ("access-ttl", "1")]).await;
    let home = Home::new();
    let owner = daemon.person("ann", "owner").await;
    home.sign_in(&daemon.url(), &owner);
    std::thread::scope(|scope| {
        for number in 0..16 {
            let (home, clock) = (&home, &daemon.clock);
            scope.spawn(move || {
                for round in 0..6 {
                    // the daemon's clock goes on, so that every round finds its token expired
                    if number == 0 {
                        clock.forward(std::time::Duration::from_secs(2));
                    }
                    let mut command = home.command(&["auth", "whoami", "--fields", "name"]);
                    // every fifth is killed, whatever it is doing
                    if (number * 6 + round) % 5 == 0 {
                        let mut child = command.spawn().unwrap();
                        child.kill().unwrap();
                        child.wait().unwrap();
                    } else {
                        assert_eq!(finish(command, "").ok(), "ann\n");
                    }
                }
            });
        }
    });
    let sessions = home.run(&["sessions", "list", "--fields", "revokedAt"]).ok();
    assert_eq!(sessions, "\\N\n");
    let log =
        |kind: &str| home.run(&["audit", "list", "--filter", &format!("type:{kind}"), "-o", "name"]).ok();
    assert_ne!(log("session.refreshed"), "");
    assert_eq!(log("session.revoked,session.reuse_detected"), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_owner_is_made_beside_the_daemon() {
    let daemon = TestServer::start().await;
    let home = Home::new();
    if daemon.is_postgres() {
        return;
    }
    let folder = daemon.config().data_dir.display().to_string();
    let args = ["admin", "create", "--email", "root@example.com", "--data-dir", &folder];
    home.run(&args).fails(2);
    let weak = home.feed(&[&args[..], &["--password-stdin"]].concat(), "aaaaaaaaaaaa\n").fails(13);
    assert!(weak.contains("too weak"), "{weak}");
    let made = home.feed(&[&args[..], &["--password-stdin"]].concat(), &format!("{PASSWORD}\n"));
    assert!(made.err.contains("created (owner)"), "{}", made.err);
    let id = made.ok();
    let login =
        ["auth", "login", "--server", &daemon.url(), "--email", "root@example.com", "--password-stdin"];
    home.feed(&login, &format!("{PASSWORD}\n")).ok();
    assert_eq!(home.run(&["auth", "whoami", "--fields", "id"]).ok(), id);
    let state = home.run(&["migrate", "--check", "--data-dir", &folder]);
    assert_eq!(state.code, 0, "{}", state.err);
    let missing = home.run(&["serve", "--database", "sqlite:/nowhere/at/all.db"]).fails(13);
    assert!(missing.contains("--create"), "{missing}");
    home.run(&["serve", "--listen", "nonsense"]).fails(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_rotated_beside_the_daemon_and_a_leaked_one_is_revoked_at_once() {
    let (daemon, home) = house().await;
    let database = match daemon.location() {
        Location::Sqlite(path) => format!("sqlite:{}", path.display()),
        Location::Postgres(url) => url.clone(),
    };
    let rotate =
        |flags: &[&str]| home.run(&[&["admin", "rotate-keys", "--database", &database], flags].concat());
    // tried, nothing is changed
    let tried = rotate(&["--dry-run", "-o", "json"]);
    assert!(tried.err.contains("dry run: nothing was changed"), "{}", tried.err);
    let tried = tried.json();
    assert_eq!(
        (&tried["kid"], &tried["published"], &tried["sessionsEnded"]),
        (&Value::Null, &json!(true), &json!(0))
    );
    // nobody notices, so nobody is asked
    let next = rotate(&["-o", "json"]);
    assert!(next.err.contains("another key is published, and signs from"), "{}", next.err);
    let next = next.json();
    let again = rotate(&["-o", "json"]).json();
    assert_eq!((&again["kid"], &again["published"]), (&next["kid"], &json!(false)));
    assert_eq!(rotate(&["-o", "name"]).ok(), format!("keys/{}\n", next["kid"].as_str().unwrap()));
    // others may notice
    let asked = rotate(&["--now"]).fails(2);
    assert!(asked.contains("--yes is needed") && asked.contains("refuse new tokens"), "{asked}");
    let now = rotate(&["--now", "--yes", "-o", "json"]).json();
    assert_eq!(now["kid"], next["kid"]);
    home.run(&["auth", "whoami"]).ok();
    // everybody does
    let shown = rotate(&["--revoke-old", "--yes", "--as-curl"]).fails(2);
    assert!(shown.contains("calls no daemon"), "{shown}");
    home.run(&["auth", "whoami"]).ok();
    let asked = rotate(&["--revoke-old"]).fails(2);
    assert!(asked.contains("sessions that end: 1)") && asked.contains("everybody signs in again"), "{asked}");
    assert!(asked.contains("Really revoke 2 keys?"), "{asked}");
    home.run(&["auth", "whoami"]).ok();
    let revoked = rotate(&["--revoke-old", "-y", "-o", "json"]);
    assert!(revoked.err.contains("keys revoked: 2, sessions ended: 1"), "{}", revoked.err);
    let revoked = revoked.json();
    assert_eq!((revoked["revoked"].as_array().unwrap().len(), &revoked["sessionsEnded"]), (2, &json!(1)));
    assert_ne!(revoked["kid"], next["kid"]);
    // until then the session is over, and its token is still one
    let heard = || async { home.run(&["auth", "whoami"]).err.contains("TOKEN_INVALID") };
    eventually("the daemon heard of it", heard).await;
    let over = home.run(&["auth", "whoami"]).fails(4);
    assert!(over.contains("TOKEN_INVALID") && over.contains("bursar auth login"), "{over}");
    home.feed(&["auth", "login", "--email", "ann@example.com", "--password-stdin"], &format!("{PASSWORD}\n"))
        .ok();
    let kinds =
        ["audit", "list", "--filter", "type:signing_key.revoked", "--fields", "resource.id", "-o", "tsv"];
    let log = home.run(&kinds).ok();
    assert!(log.lines().count() == 2 && log.contains(next["kid"].as_str().unwrap()), "{log}");

    rotate(&["--now", "--revoke-old"]).fails(2);
    let nowhere = home.path().join("nowhere").display().to_string();
    let missing = home.run(&["admin", "rotate-keys", "--data-dir", &nowhere]).fails(13);
    assert!(missing.contains("there is no store at"), "{missing}");
    assert!(!std::path::Path::new(&nowhere).exists(), "an empty store was made");
}
