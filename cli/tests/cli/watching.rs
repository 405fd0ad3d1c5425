//! `--watch`: a list, then what changes of it, across a restart of the daemon.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up should stop at once")]

use std::{
    io::{BufRead as _, BufReader, Lines},
    process::{Child, ChildStderr, ChildStdout},
};

use crate::support::{Home, house, house_that_comes_back};

/// A command that does not end, and what it prints.
struct Watch {
    child: Child,
    out: Lines<BufReader<ChildStdout>>,
    err: Lines<BufReader<ChildStderr>>,
}

impl Watch {
    fn of(home: &Home, args: &[&str]) -> Self {
        let mut child = home.command(args).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap()).lines();
        let err = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, out, err }
    }

    fn next(&mut self) -> String {
        self.out.next().unwrap().unwrap()
    }

    fn says(&mut self, text: &str) {
        let said = self.err.next().unwrap().unwrap();
        assert!(said.contains(text), "{said}");
    }

    /// Ends as ^C ends it.
    fn interrupt(mut self) -> Option<i32> {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
        // what had happened already may still come
        for row in self.out.by_ref() {
            row.unwrap();
        }
        self.child.wait().unwrap().code()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn people_that_change_are_shown_while_they_match_across_a_restart() {
    let (mut daemon, home) = house_that_comes_back().await;
    daemon.person("bob", "support").await;
    let args =
        ["users", "list", "--watch", "--filter", "status:active role:support", "--fields", "name,status"];
    let mut watch = Watch::of(&home, &args);
    assert_eq!(watch.next(), "bob\tactive");
    daemon.person("eve", "support").await;
    assert_eq!(watch.next(), "eve\tactive");
    // neither of these belongs to the list
    daemon.person("cat", "customer").await;
    home.run(&["users", "suspend", "eve@example.com"]).ok();
    home.run(&["users", "update", "bob@example.com", "--name", "Bob"]).ok();
    assert_eq!(watch.next(), "Bob\tactive");
    daemon.pause().await;
    watch.says("trying again");
    daemon.resume().await;
    home.run(&["users", "activate", "eve@example.com"]).ok();
    assert_eq!(watch.next(), "eve\tactive");
    watch.says("connected again");
    assert_eq!(watch.interrupt(), Some(130));
}

#[tokio::test(flavor = "multi_thread")]
async fn money_is_watched_in_every_format_that_streams() {
    let (_daemon, home) = house().await;
    for name in ["Till", "Ann"] {
        home.run(&["accounts", "create", "--name", name, "--currency", "EUR"]).ok();
    }
    let fields = "number,balances.posted";
    let mut accounts = Watch::of(
        &home,
        &[
            "accounts", "list", "-w", "--sort", "number", "--fields", fields, "-o", "csv", "--filter",
            "number<3",
        ],
    );
    let begin: Vec<String> = (0..3).map(|_| accounts.next()).collect();
    assert_eq!(begin, ["number,balances.posted", "1,0.00", "2,0.00"]);
    let mut transfers = Watch::of(
        &home,
        &[
            "transfers",
            "list",
            "--watch",
            "--fields",
            "kind,status,capturedAmount",
            "-o",
            "jsonl",
            "--limit",
            "3",
        ],
    );
    let mut log = Watch::of(
        &home,
        &["events", "list", "--watch", "--filter", "type:^account.", "-o", "table", "--fields", "type"],
    );
    assert_eq!([log.next(), log.next(), log.next()], ["TYPE", "account.created", "account.created"]);
    home.run(&["transfers", "create", "--from", "world:EUR", "--to", "1", "--amount", "5"]).ok();
    assert_eq!(accounts.next(), "1,5.00");
    let hold = home
        .run(&["transfers", "create", "--from", "1", "--to", "2", "--amount", "2", "--hold", "--jq", ".id"])
        .ok();
    home.run(&["transfers", "capture", hold.trim()]).ok();
    // world:EUR came to be with its first transfer
    assert_eq!(log.next(), "account.created");
    home.run(&["accounts", "freeze", "2"]).ok();
    assert_eq!(log.next(), "account.frozen");
    log.interrupt();
    let mut seen = Vec::new();
    while let Some(Ok(row)) = transfers.out.next() {
        seen.push(row);
    }
    assert_eq!(seen.len(), 3);
    assert!(seen.iter().any(|row| row.contains("\"hold\"") || row.contains("\"capture\"")), "{seen:?}");
    assert!(transfers.child.wait().unwrap().success());
    let mut last = String::new();
    while last != "2,2.00" {
        last = accounts.next();
    }
    accounts.interrupt();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_watched_and_what_cannot_be_watched_says_so() {
    let (daemon, home) = house().await;
    let mut audit = Watch::of(
        &home,
        &["audit", "list", "--watch", "--filter", "type:session.created", "--fields", "type"],
    );
    assert_eq!(audit.next(), "session.created");
    let bob = daemon.person("bob", "support").await;
    let other = Home::new();
    other.sign_in(&daemon.url(), &bob);
    assert_eq!(audit.next(), "session.created");
    audit.interrupt();
    let wrong = home.run(&["roles", "list", "--watch"]).fails(2);
    assert!(wrong.contains("nothing tells") && wrong.contains("events tail"), "{wrong}");
    home.run(&["users", "list", "--watch", "-o", "json"]).fails(2);
    home.run(&["users", "list", "--watch", "--page", "2"]).fails(2);
    home.run(&["accounts", "entries", "world:EUR", "--watch"]).fails(2);
    home.run(&["users", "timeline", "bob@example.com", "--watch"]).fails(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_seen_enough_ends_it_though_nothing_more_happens() {
    let (_daemon, home) = house().await;
    for args in [&["events", "tail", "-n", "1"][..], &["users", "list", "--watch"]] {
        let mut watch = Watch::of(&home, args);
        watch.next();
        drop(watch.out);
        assert!(watch.child.wait().unwrap().success());
    }
}
