//! The screens about money in every state at 120x36 and 80x24, with styles.

use bursar_shared::permission::{Permission, Permissions};
use bursar_tui::message::{Alarm, Heard};

use crate::{
    books::{account, hostile_account, moved_event},
    goldens::{cut, golden, later},
    support::Desk,
};

/// On a screen, once everything beside the row is read.
fn on(width: u16, height: u16, keys: &str) -> Desk {
    let mut desk = Desk::home(width, height);
    desk.press(keys);
    desk.ring(Alarm::Rest);
    desk
}

#[test]
fn accounts() {
    golden("accounts", |w, h| on(w, h, "7 j"));
    golden("accounts-world", |w, h| on(w, h, "7"));
    golden("account", |w, h| on(w, h, "7 j j j enter"));
    golden("accounts-changed", |w, h| {
        let mut desk = on(w, h, "7 j");
        desk.hear(Heard::Live);
        let moved = moved_event(&desk, 121, 1, 2, 250);
        desk.hear(Heard::Rows(vec![moved]));
        desk
    });
    golden("accounts-offline", |w, h| {
        let mut desk = on(w, h, "7 j");
        cut(&mut desk);
        desk
    });
    golden("accounts-hostile", |w, h| {
        let mut desk = Desk::home(w, h);
        desk.account = hostile_account;
        desk.press("7 j");
        desk
    });
    golden("accounts-forbidden", |w, h| {
        let mut desk = Desk::new(w, h);
        desk.permissions = [Permission::EventsRead].into_iter().collect::<Permissions>();
        desk.sign_in();
        desk.press("7");
        desk
    });
    golden("user-accounts", |w, h| {
        let mut desk = Desk::users(w, h);
        desk.model.users.list.window.amend(|user| user.accounts = Some(vec![account(1), account(3)]));
        desk.press("j");
        desk
    });
}

#[test]
fn a_statement() {
    golden("statement", |w, h| on(w, h, "7 j o"));
    golden("statement-differs", |w, h| {
        let mut desk = Desk::home(w, h);
        desk.falsified = Some(125);
        desk.press("7 j o j j");
        desk
    });
    golden("statement-filtered", |w, h| on(w, h, "7 j o / kind:hold enter"));
    golden("statement-entry", |w, h| on(w, h, "7 j o j enter"));
    golden("statement-live", |w, h| {
        let mut desk = on(w, h, "7 j o j");
        desk.hear(Heard::Live);
        let moved = moved_event(&desk, 121, 1, 2, 250);
        desk.hear(Heard::Rows(vec![moved]));
        desk
    });
}

#[test]
fn transfers() {
    golden("transfers", |w, h| on(w, h, "8 j"));
    golden("transfer", |w, h| on(w, h, "8 j j j j j enter"));
    golden("transfers-menu", |w, h| on(w, h, "8 j x"));
    golden("transfers-verified", |w, h| on(w, h, "8 v"));
    golden("home-needs-you", |w, h| {
        let mut desk = Desk::new(w, h);
        desk.broken = Some(7);
        desk.sign_in();
        desk
    });
}

#[test]
fn forms_about_money() {
    golden("form-transfer", |w, h| on(w, h, "7 j T 1002 tab 12.5 tab tab tab rent"));
    golden("form-transfer-offers", |w, h| {
        let mut desk = on(w, h, "7 j T book");
        desk.ring(Alarm::Seek);
        desk.press("^n");
        desk
    });
    golden("form-transfer-wrong", |w, h| on(w, h, "7 j T 1007 tab 1.234 tab tab 2x ^s"));
    golden("form-reverse", |w, h| on(w, h, "8 ^u ^u R duplicate"));
    golden("form-capture", |w, h| on(w, h, "8 j C ^u 2"));
    golden("form-account", |w, h| on(w, h, "7 N Till tab EUR tab ada tab 50 tab none"));
    golden("form-account-edit", |w, h| on(w, h, "7 j j e tab ^u 25.00"));
    golden("form-close", |w, h| on(w, h, "7 j j D 1004 tab"));
}

/// The second account pays 2.50 EUR while it is under review.
fn poorer_meanwhile(mut desk: Desk) -> Desk {
    desk.hear(Heard::Live);
    let moved = moved_event(&desk, 121, 1, 4, 250);
    desk.account = |n| {
        let mut account = account(n);
        if n == 1 {
            account.balances.posted -= 250;
            account.balances.available = account.balances.available.map(|minor| minor - 250);
        }
        account
    };
    desk.hear(Heard::Rows(vec![moved]));
    desk
}

#[test]
fn reviews_of_money() {
    let send = "7 j T 1002 tab 12.5 tab tab tab rent ^s";
    golden("review-transfer", |w, h| on(w, h, send));
    golden("review-transfer-typed", |w, h| {
        let mut desk = on(w, h, send);
        later(&mut desk);
        desk.press("tab 12.5");
        desk
    });
    golden("review-transfer-asked-again", |w, h| poorer_meanwhile(on(w, h, send)));
    golden("review-transfer-moved-meanwhile", |w, h| {
        let mut desk = poorer_meanwhile(on(w, h, send));
        desk.ring(Alarm::Again);
        desk
    });
    golden("review-hold", |w, h| on(w, h, "7 j T 1002 tab 12.5 tab right tab 2h ^s"));
    golden("review-reverse", |w, h| on(w, h, "8 R duplicate ^s"));
    golden("review-capture", |w, h| on(w, h, "8 j C ^u 2 ^s"));
    golden("review-void", |w, h| on(w, h, "8 j V tab"));
    golden("review-freeze", |w, h| on(w, h, "7 j F"));
    golden("review-close", |w, h| on(w, h, "7 j j D 1004 tab ^s"));
    golden("review-account", |w, h| on(w, h, "7 N Till tab EUR tab ada1 tab 50 ^s"));
    golden("review-limits", |w, h| on(w, h, "7 j j e tab ^u 25.00 tab ^u none ^s"));
    golden("conflict-account", |w, h| {
        let mut desk = on(w, h, "7 j j e tab ^u 25.00");
        let mut theirs = account(2);
        theirs.version += 2;
        theirs.name = "Theirs".parse().unwrap();
        desk.overtaken_account = Some(theirs);
        desk.press("^s j");
        desk
    });
}
