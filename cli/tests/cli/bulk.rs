//! Files of transfers: checked as a whole, sent in batches, each line made once whatever dies meanwhile.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up should stop at once")]

use std::{fs, process::Stdio, sync::atomic::Ordering};

use bursar_server::testing::TestServer;
use serde_json::{Value, json};

use crate::support::{Home, Line, finish, house};

/// Two accounts in euros, 1 and 2; the first has this much.
async fn till(money: &str) -> (TestServer, Home) {
    let (daemon, home) = house().await;
    for name in ["Till", "Ann"] {
        home.run(&["accounts", "create", "--name", name, "--currency", "EUR"]).ok();
    }
    home.run(&["transfers", "create", "--from", "world:EUR", "--to", "1", "--amount", money]).ok();
    (daemon, home)
}

fn write(home: &Home, name: &str, text: &str) {
    fs::write(home.path().join(name), text).unwrap();
}

fn read(home: &Home, name: &str) -> String {
    fs::read_to_string(home.path().join(name)).unwrap()
}

/// What an account holds, and what its last entry is.
fn holds(home: &Home, account: &str) -> String {
    home.run(&["accounts", "get", account, "--fields", "balances.posted,entrySeq"]).ok()
}

const SEND: &[&str] = &["transfers", "create", "-f", "credits.csv"];

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_file_is_looked_at_before_anything_is_sent() {
    let (_daemon, home) = till("100").await;
    let text = "\u{feff}from,to,amount,currency,external-id,hold,expires-in\r\n\
                1,2,1.005,EUR,,,\r\n\
                1,2,12.34,EUR,a,,\r\n\
                1,2,\"1,50\",EUR,,,\r\n\
                1,1,1,EUR,,,\r\n\
                1,99,1,EUR,,,\r\n\
                1,2,99999999999999999999,EUR,,,\r\n\
                1,2,1,EUR,a,,\r\n\
                1,2,-1,eur,,,\r\n\
                1,2,1\r\n\
                ,2,1,EURO,,,\r\n\
                1,2,1,EUR,,,1h\r\n";
    write(&home, "credits.csv", text);
    insta::assert_snapshot!(home.run(SEND).fails(7), @r"
    error: 10 of 11 lines of credits.csv cannot work; nothing was sent
      line 2: amount has more digits behind the point than the 2 that EUR has
      line 4: amount must be an amount of EUR like 12.34
      line 5: to is the account that the money comes from
      line 6: to: no account has the number 99
      line 7: amount is more than 90071992547409.91 EUR, the greatest amount there is
      line 8: external-id a stands on an earlier line too
      line 9: amount must be at least 0.01 EUR: money goes from one account to another, never backwards
      line 10: has 3 values for 7 columns
      line 11: from is missing; currency must be a currency of ISO 4217 like EUR
      line 12: expires-in is for holds: hold must be true
      next: correct the file and send it again
      exit 7 (bursar help exit-codes)
    ");
    assert_eq!(holds(&home, "2"), "0.00\t0\n");
    let wrong: Value = serde_json::from_str(&home.run(&[SEND, &["-o", "json"]].concat()).fails(7)).unwrap();
    assert_eq!(
        (&wrong["error"]["details"]["wrong"], &wrong["error"]["details"]["lines"][0]["line"]),
        (&json!(10), &json!(2))
    );
    write(&home, "credits.csv", "from,to,amuont\n1,2,5\n");
    let wrong = home.run(SEND).fails(7);
    assert!(wrong.contains("unknown column amuont") && wrong.contains("metadata.KEY"), "{wrong}");
    write(&home, "credits.csv", "from,to,amount\n");
    assert!(home.run(SEND).err.contains("no lines"));
    home.run(&["transfers", "create", "-f", "nowhere.csv"]).fails(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_made_once_and_says_the_same_again() {
    let (_daemon, home) = till("100").await;
    // as a spreadsheet writes it: a mark at its beginning, CRLF, quotes, its own order of columns
    let text = "\u{feff}Amount,To,Description,metadata.plan,External ID\r\n\
                10.5,2,\"two \"\"quoted\"\" words,\r\nand a line\",pro,inv-1\r\n\r\n\
                1,world:EUR,,,inv-2\r\n";
    write(&home, "credits.csv", text);
    let args = [SEND, &["--from", "1", "--reason", "payout", "-o", "jsonl"]].concat();
    let tried = home.run(&[&args[..], &["--dry-run"]].concat());
    assert!(
        tried.err.matches("nothing was changed").count() == 1 && tried.err.contains("2 made"),
        "{}",
        tried.err
    );
    assert_eq!(holds(&home, "1"), "100.00\t1\n");
    let first = home.run(&args);
    assert_eq!(first.err, "2 lines of credits.csv: 2 made\n");
    let rows: Vec<Value> = first.out.lines().map(|row| serde_json::from_str(row).unwrap()).collect();
    assert_eq!(
        (&rows[0]["amount"], &rows[0]["metadata"]["plan"], &rows[0]["reason"]),
        (&json!(1_050), &json!("pro"), &json!("payout"))
    );
    assert_eq!(rows[0]["description"], "two \"quoted\" words,\nand a line");
    assert_eq!(rows[1]["externalId"], "inv-2");
    assert_eq!(holds(&home, "1"), "88.50\t3\n");
    // the same lines are the same run, however they are written down
    let again = home.run(&args);
    assert_eq!(
        again.err,
        "going on with an earlier run: 2 of 2 lines were made\n2 lines of credits.csv: 2 made before\n"
    );
    assert_eq!(again.out, first.out);
    let text = "external-id;metadata.plan;to;amount;description\n\
                inv-1;pro;2;10.5;\"two \"\"quoted\"\" words,\r\nand a line\"\ninv-2;;world:EUR;1;\n";
    write(&home, "credits.csv", text);
    assert_eq!(home.run(&args).out, first.out);
    // other flags would make other transfers of them
    let other = home.run(&[SEND, &["--from", "1", "--reason", "gift"]].concat()).fails(6);
    assert!(other.contains("other flags") && other.contains("--run"), "{other}");
    assert_eq!(holds(&home, "1"), "88.50\t3\n");
    // once more on purpose: but external ids are there once
    let more = home.run(&[&args[..], &["--run", "february"]].concat());
    assert_eq!((more.code, more.err.as_str()), (0, "2 lines of credits.csv: 2 made before\n"));
    write(&home, "plain.csv", "from,to,amount\n1,2,0.01\n");
    let plain = ["transfers", "create", "-f", "plain.csv"];
    for (run, posted) in [(None, "88.49"), (None, "88.49"), (Some("2"), "88.48"), (Some("2"), "88.48")] {
        let args: Vec<&str> = plain.into_iter().chain(run.iter().flat_map(|run| ["--run", run])).collect();
        home.run(&args).ok();
        assert!(holds(&home, "1").starts_with(posted));
    }
    assert_eq!(home.run(&["pending", "list"]).ok(), "");
    home.run(&["ledger", "verify"]).ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_lines_are_corrected_and_sent_alone() {
    let (_daemon, home) = till("10").await;
    let text = "from,to,amount,note\n1,2,6,\n1,2,5,\n1,2,3,\n";
    write(&home, "credits.csv", &text.replace("note", "reason").replace("5,", "5,rent"));
    let partial = home.run(&[SEND, &["-o", "tsv", "--fields", "amount"]].concat());
    assert_eq!((partial.code, partial.out.as_str()), (10, "6.00\n3.00\n"), "{}", partial.err);
    assert!(
        partial.err.contains("line 3: Only 4.00 EUR") && partial.err.contains("credits.rejects.csv"),
        "{}",
        partial.err
    );
    let rejects = read(&home, "credits.rejects.csv");
    let (heading, row) = rejects.split_once('\n').unwrap();
    assert_eq!(heading, "from,to,amount,reason,line,error");
    assert!(row.starts_with("1,2,5,rent,3,") && row.contains("[INSUFFICIENT_FUNDS]"), "{row}");
    // corrected in the first file, the others would be made twice
    let whole = home.run(&["transfers", "create", "-f", "credits.csv"]);
    assert_eq!(whole.code, 10, "the same file says the same again: {}", whole.err);
    // but not as if it were news, and never beside a file that may have been corrected and sent
    assert!(
        whole.err.contains("2 made before, 1 refused before") && !whole.err.contains("Only 4.00"),
        "{}",
        whole.err
    );
    assert!(!home.path().join("credits.rejects-2.csv").exists());
    write(&home, "credits.csv", "from,to,amount\n1,2,6\n1,2,1\n1,2,3\n");
    let refused = home.run(SEND).fails(6);
    assert!(refused.contains("made twice") && refused.contains("--run"), "{refused}");
    // nothing of it could be made yet; once there is money, the same lines are
    let rest = ["transfers", "create", "-f", "credits.rejects.csv"];
    let short = home.run(&rest);
    assert_eq!(short.code, 12, "{}", short.err);
    home.run(&["transfers", "create", "--from", "world:EUR", "--to", "1", "--amount", "4"]).ok();
    assert_eq!(home.run(&rest).code, 0);
    assert_eq!(holds(&home, "2"), "14.00\t3\n");
    // and once only
    assert_eq!(home.run(&rest).code, 0);
    assert_eq!(holds(&home, "2"), "14.00\t3\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_names_its_own_rejects_and_none_are_sent_that_were_made_since() {
    let (_daemon, home) = till("10").await;
    write(&home, "credits.csv", "from,to,amount\n1,2,6\n1,2,5\n1,2,3\n");
    let all = home.run(&[SEND, &["--atomic"]].concat());
    assert!(all.code == 12 && all.err.contains("send that file"), "{}", all.err);
    assert_eq!(read(&home, "credits.rejects.csv").lines().count(), 4);
    let each = home.run(SEND);
    assert!(each.code == 10 && each.err.contains("credits.rejects-2.csv"), "{}", each.err);
    assert_eq!(read(&home, "credits.rejects-2.csv").lines().count(), 2);
    let again = home.run(SEND);
    assert_eq!(again.code, 10);
    assert_eq!(again.err.matches("credits.rejects-2.csv").count(), 2, "{}", again.err);
    assert!(!again.err.contains("credits.rejects.csv"), "{}", again.err);
    // the file of the first attempt has the lines that the second one made: as they are they are that run,
    // and corrected they would be made twice
    let old = ["transfers", "create", "-f", "credits.rejects.csv"];
    let same = home.run(&old);
    assert!(same.err.contains("2 made before, 1 refused before"), "{}", same.err);
    let text = read(&home, "credits.rejects.csv").replace("1,2,5,", "1,2,1,");
    write(&home, "credits.rejects.csv", &text);
    let refused = home.run(&old).fails(6);
    assert!(
        refused.contains("of which 2 were made since") && refused.contains("credits.rejects-2.csv"),
        "{refused}"
    );
    assert_eq!(holds(&home, "2"), "9.00\t2\n");
    write(&home, "credits.rejects-2.csv", "from,to,amount\n1,2,1\n");
    home.run(&["transfers", "create", "-f", "credits.rejects-2.csv"]).ok();
    assert_eq!(holds(&home, "2"), "10.00\t3\n");
    // on purpose all is possible
    home.run(&["transfers", "create", "--from", "world:EUR", "--to", "1", "--amount", "100"]).ok();
    home.run(&[&old[..], &["--run", "all of it"]].concat()).ok();
    assert_eq!(holds(&home, "2"), "20.00\t6\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_whose_refused_lines_were_sent_apart_is_not_sent_again() {
    let (_daemon, home) = till("1").await;
    write(&home, "credits.csv", "from,to,amount\n1,2,6\n1,2,5\n");
    assert_eq!(home.run(SEND).code, 12);
    home.run(&["transfers", "create", "--from", "world:EUR", "--to", "1", "--amount", "99"]).ok();
    let text = read(&home, "credits.rejects.csv").replace("1,2,5,", "1,2,4,");
    write(&home, "credits.rejects.csv", &text);
    home.run(&["transfers", "create", "-f", "credits.rejects.csv"]).ok();
    let refused = home.run(SEND).fails(6);
    assert!(refused.contains("2 were made") && refused.contains("credits.rejects.csv"), "{refused}");
    assert_eq!(holds(&home, "2"), "10.00\t2\n");
    home.run(&[SEND, &["--run", "again"]].concat()).ok();
    assert_eq!(holds(&home, "2"), "21.00\t4\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_named_file_of_rejects_keeps_those_of_the_run_before() {
    let (_daemon, home) = till("10").await;
    write(&home, "credits.csv", "from,to,amount\n1,2,6\n1,2,5\n1,2,3\n");
    let args = [SEND, &["--rejects", "wrong.csv"]].concat();
    for _ in 0..2 {
        assert_eq!(home.run(&args).code, 10);
        assert!(read(&home, "wrong.csv").contains("1,2,5,3,"));
    }
    fs::remove_file(home.path().join("wrong.csv")).unwrap();
    assert_eq!(home.run(SEND).code, 10);
    assert!(read(&home, "credits.rejects.csv").contains("1,2,5,3,"), "what was thrown away is written again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_grew_is_not_paid_again() {
    let (_daemon, home) = till("100").await;
    let text = "from,to,amount\n1,2,8\n1,2,9\n";
    write(&home, "credits.csv", text);
    assert_eq!(home.run(SEND).code, 0);
    write(&home, "credits.csv", &format!("{text}1,2,10\n"));
    let refused = home.run(SEND).fails(6);
    assert!(refused.contains("begins with the 2 lines") && refused.contains("--run"), "{refused}");
    assert_eq!(holds(&home, "2"), "17.00\t2\n");
    // nor are the same lines when they were sent under a name before
    write(&home, "named.csv", "from,to,amount\n1,2,3\n");
    let named = ["transfers", "create", "-f", "named.csv"];
    for _ in 0..2 {
        home.run(&[&named[..], &["--run", "july"]].concat()).ok();
    }
    let refused = home.run(&named).fails(6);
    assert!(refused.contains("begins with the 1 line "), "{refused}");
    write(&home, "named.csv", "from,to,amount\n1,2,3\n1,2,4\n");
    home.run(&[&named[..], &["--run", "july"]].concat()).fails(6);
    assert_eq!(holds(&home, "2"), "20.00\t3\n");
    // other lines in a file of the same name are other transfers
    write(&home, "credits.csv", "from,to,amount\n1,2,10\n1,2,8\n1,2,9\n");
    assert_eq!(home.run(SEND).code, 0);
    assert_eq!(holds(&home, "2"), "47.00\t6\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_with_ids_of_ones_own_are_made_once_in_whatever_file() {
    let (_daemon, home) = till("10").await;
    write(&home, "credits.csv", "from,to,amount,external-id\n1,2,6,a\n1,2,5,b\n");
    assert_eq!(home.run(SEND).code, 10);
    write(&home, "credits.csv", "from,to,amount,external-id\n1,2,6,a\n1,2,4,b\n1,2,7,a2\n");
    let again = home.run(SEND);
    assert!(again.code == 10 && again.err.contains("1 made, 1 made before, 1 refused"), "{}", again.err);
    // another transfer under the same id is no repetition
    write(&home, "other.csv", "from,to,amount,external-id\n1,2,5,a\n");
    let other = home.run(&["transfers", "create", "-f", "other.csv"]);
    assert!(other.code == 6 && other.err.contains("[ALREADY_EXISTS]"), "{}", other.err);
    assert_eq!(holds(&home, "2"), "10.00\t2\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_or_none_and_from_a_pipe() {
    let (_daemon, home) = till("10").await;
    let lines = "{\"from\":\"1\",\"to\":2,\"amount\":\"6\"}\n{\"from\":\"1\",\"to\":2,\"amount\":\"5\"}\n";
    let args = ["transfers", "create", "-f", "-"];
    let none = home.feed(&[&args[..], &["--atomic"]].concat(), lines);
    assert_eq!((none.code, none.out.as_str()), (12, ""), "{}", none.err);
    let rejects = read(&home, "stdin.rejects.jsonl");
    assert!(
        rejects.contains("for line 2 was refused") && rejects.contains("INSUFFICIENT_FUNDS"),
        "{rejects}"
    );
    assert_eq!(holds(&home, "2"), "0.00\t0\n");
    let wrong = home.feed(&args, "{\"from\":\"1\",\"to\":2,\"amount\":5}\n").fails(7);
    assert!(wrong.contains("must be a text") && wrong.contains("minor units"), "{wrong}");
    let id = home.run(&["accounts", "get", "1", "--jq", ".id"]).ok();
    let other = home.run(&["accounts", "get", "2", "--jq", ".id"]).ok();
    let wire =
        json!({ "fromAccountId": id.trim(), "toAccountId": other.trim(), "amount": 150, "currency": "EUR" });
    let two =
        home.feed(&[&args[..], &["--atomic", "--fields", "amount"]].concat(), &format!("{wire}\n{wire}\n"));
    assert_eq!(two.ok(), "1.50\n1.50\n");
    // one request as the API has it is one transfer
    assert_eq!(home.feed(&[&args[..], &["--fields", "amount"]].concat(), &wire.to_string()).ok(), "1.50\n");
    let call = home.feed(&[&args[..], &["--as-curl"]].concat(), lines).ok();
    assert!(
        call.contains("/v1/transfers/batch")
            && call.contains("Idempotency-Key: file-")
            && call.contains("\"amount\":600"),
        "{call}"
    );
    assert_eq!(holds(&home, "2"), "4.50\t3\n");
}

/// A file of so many lines, a cent each.
fn cents(home: &Home, lines: usize) {
    let rows: String = (0..lines).map(|line| format!("1,2,0.01,payout {line}\n")).collect();
    write(home, "credits.csv", &format!("from,to,amount,description\n{rows}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_asked_for_again() {
    let (daemon, home) = till("100").await;
    let line = Line::to(&daemon.url());
    let eve = daemon.person("eve", "owner").await;
    home.sign_in(&line.server, &eve);
    cents(&home, 1_200);
    // accounts are looked up, then answers are lost: from the first batch on
    let mut command = home.command(SEND);
    command.env("BURSAR_TIMEOUT", "20");
    let lossy = line.lossy.clone();
    let requests = line.requests();
    std::thread::scope(|threads| {
        threads.spawn(|| {
            while line.requests() < requests + 3 {
                std::thread::yield_now();
            }
            lossy.store(true, Ordering::Relaxed);
        });
        let lost = finish(command, "");
        assert_eq!(lost.code, 11, "{}{}", lost.out, lost.err);
        assert!(lost.err.contains("run the same command again"), "{}", lost.err);
    });
    line.lossy.store(false, Ordering::Relaxed);
    let rest = home.run(SEND);
    assert_eq!(rest.code, 0, "{}", rest.err);
    assert!(rest.err.contains("1,200 lines of credits.csv"), "{}", rest.err);
    assert_eq!(holds(&home, "2"), "12.00\t1200\n");
    assert_eq!(home.run(&["pending", "list"]).ok(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_listening_stops_no_line() {
    let (_daemon, home) = till("100").await;
    cents(&home, 2_500);
    let mut child = home.command(SEND).spawn().unwrap();
    drop(child.stdout.take());
    let ended = child.wait_with_output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(ended.status.success() && said.contains("2,500 made"), "{said}");
    assert_eq!(holds(&home, "2"), "25.00\t2500\n");
    // the same for one change after another
    let mut command = home.command(&["accounts", "freeze", "1", "-o", "json"]);
    command.stdin(Stdio::null());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
    assert_eq!(home.run(&["accounts", "get", "1", "--fields", "status"]).ok(), "frozen\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_of_many_batches_says_what_it_cannot_see() {
    let (_daemon, home) = till("12").await;
    cents(&home, 1_500);
    let tried = home.run(&[SEND, &["--dry-run"]].concat());
    assert!(tried.err.contains("each 1,000 lines were tried by themselves"), "{}", tried.err);
}

/// What a dry run says and what the real run after it says, without the words that are the dry run's own; what
/// is written down is the same before and after the dry run.
#[track_caller]
fn tried_and_done(home: &Home, args: &[&str]) -> (i32, String) {
    let written = || {
        let list = |folder: std::path::PathBuf| -> Vec<(String, Vec<u8>)> {
            let entries = fs::read_dir(folder).into_iter().flatten().flatten();
            let files = entries.filter(|entry| entry.path().is_file());
            files.map(|file| (format!("{:?}", file.path()), fs::read(file.path()).unwrap())).collect()
        };
        let mut all = [list(home.path().to_owned()), list(home.path().join("state/runs"))].concat();
        all.sort();
        all
    };
    let before = (written(), holds(home, "1"));
    let tried = home.run(&[args, &["--dry-run"]].concat());
    assert_eq!((written(), holds(home, "1")), before);
    let done = home.run(args);
    let words = |text: &str| {
        let own = ["dry run:", "refused lines, and why:", "  next:"];
        let lines = text.lines().filter(|line| !own.iter().any(|begin| line.starts_with(begin)));
        lines.collect::<Vec<_>>().join("\n").replace("would be: ", "")
    };
    assert_eq!((tried.code, words(&tried.err)), (done.code, words(&done.err)));
    (done.code, done.err)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_says_what_the_real_one_does() {
    let (daemon, home) = till("10").await;
    write(&home, "credits.csv", "from,to,amount\n1,2,6\n1,2,5\n1,2,3\n");
    let atomic = tried_and_done(&home, &[SEND, &["--atomic"]].concat());
    assert_eq!(atomic.0, 12, "{}", atomic.1);
    assert!(fs::read_dir(home.path().join("state/runs")).unwrap().count() > 0, "what is compared is there");
    let first = tried_and_done(&home, SEND);
    assert!(first.0 == 10 && first.1.contains("2 made, 1 refused"), "{}", first.1);
    let again = tried_and_done(&home, SEND);
    assert!(again.0 == 10 && again.1.contains("2 made before, 1 refused before"), "{}", again.1);
    for _ in 0..2 {
        let named = tried_and_done(&home, &[SEND, &["--rejects", "wrong.csv"]].concat());
        assert!(named.0 == 10 && named.1.contains("2 made before"), "{}", named.1);
    }
    home.run(&[SEND, &["--rejects", "nowhere/wrong.csv", "--dry-run"]].concat()).fails(2);
    let flags = tried_and_done(&home, &[SEND, &["--reason", "gift"]].concat());
    assert!(flags.0 == 6 && flags.1.contains("other flags"), "{}", flags.1);
    write(&home, "credits.csv", "from,to,amount\n1,2,6\n1,2,1\n1,2,3\n");
    let other = tried_and_done(&home, SEND);
    assert!(other.0 == 6 && other.1.contains("with other lines"), "{}", other.1);
    write(&home, "credits.rejects.csv", "from,to,amount\n1,2,0.1\n");
    assert_eq!(tried_and_done(&home, &["transfers", "create", "-f", "credits.rejects.csv"]).0, 6);
    write(&home, "more.csv", "from,to,amount\n1,2,0.1\n");
    let more = ["transfers", "create", "-f", "more.csv"];
    assert!(tried_and_done(&home, &more).1.contains("1 made"));
    write(&home, "more.csv", "from,to,amount\n1,2,0.1\n1,2,0.2\n");
    let grown = tried_and_done(&home, &more);
    assert!(grown.0 == 6 && grown.1.contains("begins with"), "{}", grown.1);
    // what was sent and not answered is asked for
    let line = Line::to(&daemon.url());
    let eve = daemon.person("eve", "owner").await;
    home.sign_in(&line.server, &eve);
    let of = |number: &str| home.run(&["accounts", "get", number, "--jq", ".id"]).ok().trim().to_owned();
    write(&home, "lost.csv", &format!("from,to,amount,currency\n{},{},0.3,EUR\n", of("1"), of("2")));
    let lost = ["transfers", "create", "-f", "lost.csv"];
    line.lossy.store(true, Ordering::Relaxed);
    home.run(&lost).fails(11);
    line.lossy.store(false, Ordering::Relaxed);
    let there = tried_and_done(&home, &lost);
    assert!(there.0 == 0 && there.1.contains("1 made before"), "{}", there.1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_killed_goes_on_where_it_was() {
    let (_daemon, home) = till("100").await;
    cents(&home, 2_500);
    let made =
        || home.run(&["accounts", "get", "2", "--fields", "entrySeq"]).ok().trim().parse::<u64>().unwrap();
    for wanted in [1, 1_001] {
        let mut child = home.command(SEND).stdout(Stdio::null()).spawn().unwrap();
        while made() < wanted {}
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let done = home.run(SEND);
    assert_eq!(done.code, 0, "{}", done.err);
    assert!(done.err.contains("going on with an earlier run"), "{}", done.err);
    assert_eq!(holds(&home, "2"), "25.00\t2500\n");
    assert_eq!(done.out.lines().count(), 2_500);
    let again = home.run(SEND);
    assert!(again.err.contains("2,500 made before"), "{}", again.err);
    assert_eq!(again.ok(), done.out);
    assert_eq!(home.run(&["ledger", "verify", "--jq", ".ok"]).ok(), "true\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn at_a_terminal_it_says_how_far_it_is_and_c_stops_between_batches() {
    let (_daemon, home) = till("100").await;
    cents(&home, 3_500);
    let line = "trap : INT; bursar transfers create -f credits.csv; echo code $?";
    let mut terminal = crate::terminal::Terminal::shell(&home, line);
    terminal.shows("of 3,500 lines · ");
    terminal.press("\x03");
    terminal.shows("code 130");
    let text = terminal.text();
    assert!(text.contains("run the same command again") && text.contains("so far"), "{text}");
    assert_eq!(terminal.ends_sane(), 0);
    let rest = home.run(SEND);
    assert!(rest.code == 0 && rest.err.contains("going on with an earlier run"), "{}", rest.err);
    assert_eq!(holds(&home, "2"), "35.00\t3500\n");
}
