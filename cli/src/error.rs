//! Why a command failed: what, why, one next step, the request id and the exit code.

use bursar_shared::{
    client,
    error::{ApiError, ErrorCode},
    filter::FilterError,
    money::Currency,
    text::clean,
};
use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr as _;

/// Why a command ended otherwise than hoped.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    /// The exit code; an interface (`bursar help exit-codes`).
    pub exit: u8,
    /// The daemon's code, when it was the daemon that refused.
    pub code: Option<ErrorCode>,
    /// What went wrong, and why.
    pub message: String,
    /// More lines of it.
    pub lines: Vec<String>,
    /// The next step.
    pub hint: Option<String>,
    /// What the daemon's log calls the request.
    pub request_id: Option<String>,
    /// Facts for programs.
    pub details: Box<Value>,
    /// Nothing is said: all was said already, or there is nobody left to listen.
    pub quiet: bool,
}

/// What a command ends with.
pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

/// The name of an exit code.
pub(crate) const fn class_of(exit: u8) -> &'static str {
    match exit {
        0 => "ok",
        2 => "usage",
        3 => "not_found",
        4 => "auth",
        5 => "forbidden",
        6 => "conflict",
        7 => "invalid",
        8 => "throttled",
        9 => "unreachable",
        10 => "partial",
        11 => "unknown_outcome",
        12 => "refused",
        13 => "server_error",
        15 => "no",
        130 | 143 => "interrupted",
        _ => "bug",
    }
}

impl Failure {
    /// A failure of this exit code.
    pub(crate) fn new(exit: u8, message: impl Into<String>) -> Self {
        Self {
            exit,
            code: None,
            message: message.into(),
            lines: Vec::new(),
            hint: None,
            request_id: None,
            details: Box::new(json!({})),
            quiet: false,
        }
    }

    /// The command was not understood, or lacks something.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(2, message)
    }

    /// A value is wrong, as the daemon would say of it.
    pub(crate) fn value(message: impl Into<String>) -> Self {
        Self::new(7, message)
    }

    /// Whether nobody reads our output any more. A change that was made is made all the same, and those that
    /// come after it are not to be dropped without a word.
    pub(crate) fn is_end_of_output(&self) -> bool {
        self.quiet && self.exit == 0
    }

    /// Ends with this code and says nothing.
    pub(crate) fn silent(exit: u8) -> Self {
        Self { quiet: true, ..Self::new(exit, "") }
    }

    /// The same with the next step.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// A mistake in a filter, with carets below it.
    pub(crate) fn filter(text: &str, wrong: &FilterError) -> Self {
        // the mistake is shown where it stands, so what is before it must take as much room
        let (before, rest) = text.split_at(wrong.at);
        let (mistake, after) = rest.split_at(wrong.len);
        let (before, mistake, after) = (clean(before), clean(mistake), clean(after));
        let mut failure = Self::usage(format!("the filter is wrong: {}", wrong.message));
        failure.lines.push(format!("{before}{mistake}{after}"));
        failure.lines.push(format!("{}{}", " ".repeat(before.width()), "^".repeat(mistake.width().max(1))));
        failure.details = Box::new(json!({ "filter": text, "at": wrong.at, "length": wrong.len }));
        failure.hint("bursar help filters")
    }

    /// A request that cannot work, found before anything was sent.
    pub(crate) fn invalid(error: &ApiError) -> Self {
        let mut failure = Self::new(7, error.message.clone());
        failure.explain(error);
        failure
    }

    fn explain(&mut self, error: &ApiError) {
        self.code = Some(error.code);
        *self.details = error.details.clone();
        let violations = error.violations();
        if violations.len() > 1 {
            let wide = violations.iter().map(|v| clean(&v.pointer).width()).max().unwrap_or(0);
            for violation in violations {
                let pointer = clean(&violation.pointer).into_owned();
                let gap = " ".repeat(wide - pointer.width() + 2);
                self.lines.push(format!("{pointer}{gap}{}", clean(&violation.message)));
            }
        }
        if let Some(missing) = error.details.get("missing").filter(|_| error.code == ErrorCode::Forbidden) {
            self.lines.push(format!("missing: {}", clean(&crate::output::plain(missing))));
        }
    }

    /// Whether the same command may work later without anybody doing anything.
    fn retryable(&self) -> bool {
        matches!(self.exit, 8 | 9 | 11 | 13)
    }

    /// For programs.
    pub(crate) fn to_json(&self) -> Value {
        json!({ "error": {
            "code": self.code.map(ErrorCode::as_str),
            "class": class_of(self.exit),
            "exitCode": self.exit,
            "message": self.message,
            "details": self.details,
            "hint": self.hint,
            "requestId": self.request_id,
            "retryable": self.retryable(),
        }})
    }

    /// For people; nothing in it can steer their terminal.
    pub(crate) fn to_text(&self) -> String {
        // what a parser says of a file points into its lines; what a daemon says stays on one
        let message = match self.code {
            None => self.message.lines().map(clean).collect::<Vec<_>>().join("\n  "),
            Some(_) => clean(&self.message).into_owned(),
        };
        let mut text = format!("error: {message}");
        if let Some(code) = self.code.filter(|code| *code != ErrorCode::Unknown) {
            text.push_str(&format!("   [{code}]"));
        }
        for line in &self.lines {
            text.push_str(&format!("\n  {line}"));
        }
        if let Some(hint) = self.hint.as_deref().filter(|hint| !hint.is_empty()) {
            text.push_str(&format!("\n  next: {}", clean(hint)));
        }
        text.push_str("\n  ");
        if let Some(id) = &self.request_id {
            text.push_str(&format!("request {} · ", clean(id)));
        }
        text.push_str(&format!("exit {} (bursar help exit-codes)", self.exit));
        text
    }
}

/// What a refusal says, with its figures as people write money.
pub(crate) fn said(refusal: &ApiError) -> String {
    let currency: Option<Currency> =
        refusal.details.get("currency").and_then(Value::as_str).and_then(|code| code.parse().ok());
    let money = |name: &str| {
        let (minor, currency) = (refusal.details.get(name)?.as_i64()?, currency?);
        Some(format!("{} {currency}", currency.decimal(minor)))
    };
    let told = match refusal.code {
        ErrorCode::CaptureExceedsHold => money("held").map(|held| format!("Only {held} were held.")),
        ErrorCode::ReversalExceedsTransfer => match refusal.details["left"] == 0 {
            true => Some("Nothing of it is left to reverse.".to_owned()),
            false => money("left").map(|left| format!("Only {left} are left to reverse.")),
        },
        // the daemon counts in minor units
        ErrorCode::AmountOutOfRange => money("max")
            .map(|most| refusal.message.replace("below 2^53 minor units", &format!("within {most}"))),
        _ => None,
    };
    told.unwrap_or_else(|| refusal.message.clone())
}

/// The next step after a refusal, where its kind alone says too little.
pub(crate) fn next_step(refusal: &ApiError) -> Option<String> {
    let of = |name: &str| refusal.details.get(name).map(crate::output::plain).filter(|text| !text.is_empty());
    let account = of("accountId").unwrap_or_else(|| "ACCOUNT".to_owned());
    Some(match refusal.code {
        ErrorCode::InsufficientFunds => {
            format!("move less, or bring money in first: bursar accounts balance {account}")
        }
        ErrorCode::BalanceLimit => {
            format!("move less, or raise the limit: bursar accounts update {account} --max-balance AMOUNT")
        }
        ErrorCode::AmountOutOfRange => match of("limit").as_deref() {
            Some("turnover") => "move what it holds to another account, and use that".to_owned(),
            Some("held") => "capture or void some of its holds first".to_owned(),
            _ => format!("lower its limit: bursar accounts update {account} --overdraft-limit AMOUNT"),
        },
        ErrorCode::AccountFrozen => format!("find out why, then: bursar accounts unfreeze {account}"),
        ErrorCode::AccountClosed => "it stays closed: use another account".to_owned(),
        ErrorCode::AccountNotEmpty => {
            let pending =
                |name: &str| refusal.details["balances"][name].as_i64().is_some_and(|held| held != 0);
            match pending("pendingIn") || pending("pendingOut") {
                true => format!("bursar transfers list --filter 'status:pending accountId:{account}'"),
                false => format!("bursar accounts close {account} --sweep-to ACCOUNT"),
            }
        }
        ErrorCode::HoldNotPending => "bursar transfers get TRANSFER shows what became of it".to_owned(),
        ErrorCode::ReversalExceedsTransfer if refusal.details["left"] == 0 => {
            "nothing is to be done: all of it was reversed before".to_owned()
        }
        ErrorCode::CaptureExceedsHold | ErrorCode::ReversalExceedsTransfer => {
            "take less, or leave --amount out for all that is left".to_owned()
        }
        ErrorCode::NotReversible => "reverse the transfer or the capture that moved the money".to_owned(),
        ErrorCode::CurrencyMismatch => {
            "both accounts and the amount must have one currency: bursar accounts get ACCOUNT".to_owned()
        }
        ErrorCode::IdempotencyKeyReused => {
            "take another key, or send what was sent under this one".to_owned()
        }
        ErrorCode::VersionMismatch if !refusal.details["expectedBalance"].is_null() => {
            "money moved meanwhile: look what it holds now, and whether it is still to be closed".to_owned()
        }
        ErrorCode::VersionMismatch => "somebody else saved it first: read it again and repeat".to_owned(),
        ErrorCode::IllegalTransition => "look how it stands: it may be so already".to_owned(),
        ErrorCode::AlreadyExists => "look for the one that is there, or choose another".to_owned(),
        ErrorCode::QueryTooBroad => "narrow the filter, or a shorter time".to_owned(),
        ErrorCode::ValidationFailed => "correct the flags or the file".to_owned(),
        ErrorCode::NotFound => {
            let resource =
                of("resource").filter(|name| name.bytes().all(|byte| byte.is_ascii_lowercase()))?;
            format!("look for it: bursar {resource}{} list", if resource.ends_with('s') { "" } else { "s" })
        }
        _ => return None,
    })
}

impl From<client::Error> for Failure {
    fn from(error: client::Error) -> Self {
        let mut failure = Self::new(error.exit(), error.to_string());
        failure.request_id = error.request_id().map(str::to_owned);
        failure.hint = Some(error.hint().to_owned()).filter(|hint| !hint.is_empty());
        match &error {
            client::Error::Api { error: refusal, retry_after, status, .. } => {
                if refusal.code != ErrorCode::Unknown {
                    failure.message = said(refusal);
                }
                failure.explain(refusal);
                if let Some(step) = next_step(refusal) {
                    failure.hint = Some(step);
                }
                if let Some(wait) = retry_after {
                    failure.hint = Some(format!("wait {} s and repeat", wait.as_secs()));
                }
                if refusal.code == ErrorCode::Unknown {
                    failure.details = Box::new(json!({ "status": status }));
                }
            }
            client::Error::Unknown { key, .. } => {
                failure.details = Box::new(json!({ "idempotencyKey": key }));
                failure.hint = Some(format!("bursar pending resume {key}"));
            }
            _ => {}
        }
        failure
    }
}

impl From<std::io::Error> for Failure {
    fn from(wrong: std::io::Error) -> Self {
        if wrong.kind() == std::io::ErrorKind::BrokenPipe {
            // whoever read our output has seen enough; that is success
            return Self::silent(0);
        }
        Self::new(1, format!("output cannot be written: {wrong}"))
    }
}

impl From<serde_json::Error> for Failure {
    fn from(wrong: serde_json::Error) -> Self {
        Self::new(1, format!("an answer cannot be read: {wrong}"))
    }
}

#[cfg(test)]
mod tests {
    use bursar_shared::{filter, operations::users::User};

    use super::*;

    #[test]
    fn what_a_parser_says_of_a_file_keeps_its_lines() {
        let wrong = "TOML parse error at line 1, column 9\n  |\n1 | theme = light\n  |         ^^^^^\n";
        let text = Failure::usage(format!("dashboard.toml: {wrong}")).to_text();
        let lines: Vec<&str> = text.lines().collect();
        let at = lines.iter().position(|line| line.ends_with("theme = light")).expect(&text);
        assert_eq!(lines[at].find("light"), lines[at + 1].find('^'), "{text}");
        // what a daemon says stays on one line, and steers nothing
        let said =
            Failure { code: Some(ErrorCode::Forbidden), ..Failure::new(5, "a\nnext: \u{1b}[2J") }.to_text();
        assert!(said.starts_with("error: a\\u{a}next: \\u{1b}[2J"), "{said}");
    }

    #[test]
    fn carets_stand_below_the_mistake() {
        for (text, under) in [
            ("status:active colour:red", "colour"),
            ("名前 status:open", "open"),
            ("\u{1b} status:open", "open"),
        ] {
            let wrong = filter::parse::<User>(text).unwrap_err();
            let failure = Failure::filter(text, &wrong);
            let carets = &failure.lines[1];
            let start = carets.find('^').unwrap();
            let shown = &failure.lines[0];
            let place = shown.find(under).unwrap();
            assert_eq!(shown[..place].width(), start, "{}", failure.to_text());
            assert_eq!(failure.exit, 2);
            assert!(!failure.to_text().contains('\u{1b}'));
        }
    }

    #[test]
    fn a_refusal_says_what_and_what_next() {
        let error = ApiError::invalid(
            [("/email", "must be an email"), ("/name", "must not be blank\u{1b}[2J")]
                .map(|(pointer, message)| bursar_shared::error::Violation {
                    pointer: pointer.to_owned(),
                    rule: "format".to_owned(),
                    message: message.to_owned(),
                })
                .to_vec(),
        );
        let failure = Failure::from(client::Error::Api {
            status: 422,
            error,
            request_id: Some("req_1".to_owned()),
            retry_after: None,
            replayed: false,
        });
        insta::assert_snapshot!(failure.to_text(), @r"
        error: 2 values are invalid.   [VALIDATION_FAILED]
          /email  must be an email
          /name   must not be blank\u{1b}[2J
          next: correct the flags or the file
          request req_1 · exit 7 (bursar help exit-codes)
        ");
    }
}
