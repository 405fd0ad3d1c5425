//! A line of a file as a transfer: columns are called as the flags are, or as the API has them.

use std::collections::HashMap;

use bursar_shared::{
    client::{Client, Error},
    decode::{Decode, Decoder},
    id::AccountId,
    money::Currency,
    operations::{
        accounts::{Account, AccountRef, GetAccount},
        transfers::CreateTransfer,
    },
    page::{List, Op, Sort},
};
use serde_json::{Map, Value, json};

use crate::{
    bulk::{NOTES, source::Record},
    error::Result,
    money,
};

/// Members of a transfer, and what their columns are called: `-`, `_` and capitals do not matter.
const COLUMNS: &[(&str, &[&str])] = &[
    ("fromAccountId", &["from", "fromaccountid"]),
    ("toAccountId", &["to", "toaccountid"]),
    ("amount", &["amount"]),
    ("currency", &["currency"]),
    ("hold", &["hold"]),
    ("mode", &["mode"]),
    ("expiresIn", &["expiresin"]),
    ("expiresInSeconds", &["expiresinseconds"]),
    ("reason", &["reason"]),
    ("description", &["description"]),
    ("externalId", &["externalid"]),
    ("metadata", &["metadata"]),
];

/// What may stand in a heading, for people.
pub(super) const VALID: &str = "from, to, amount, currency, hold, expires-in, reason, description, \
                                external-id, metadata.KEY";

/// The member that a column is about; `metadata.plan` is about one fact.
pub(super) fn member(column: &str) -> Option<String> {
    if let Some(key) = column.strip_prefix("metadata.") {
        return Some(format!("metadata.{key}"));
    }
    let plain: String =
        column.chars().filter(|letter| !"-_ ".contains(*letter)).collect::<String>().to_ascii_lowercase();
    COLUMNS.iter().find(|(_, names)| names.contains(&plain.as_str())).map(|(name, _)| (*name).to_owned())
}

/// What an account is, as far as a transfer must know.
#[derive(Debug, Clone, Copy)]
struct Known {
    id: AccountId,
    currency: Currency,
}

/// Accounts that lines name, each asked for once.
pub(super) struct Accounts<'a> {
    client: &'a Client,
    numbers: HashMap<i64, Option<Known>>,
    others: HashMap<AccountRef, Option<Known>>,
}

/// More than these are not kept in memory.
const KEPT: usize = 100_000;

impl<'a> Accounts<'a> {
    pub(super) fn new(client: &'a Client) -> Self {
        Self { client, numbers: HashMap::new(), others: HashMap::new() }
    }

    /// The account of this number. The more numbers a file has, the more are asked for at once.
    async fn by_number(&mut self, number: i64) -> Result<Option<Known>> {
        if let Some(known) = self.numbers.get(&number) {
            return Ok(*known);
        }
        let most = u32::try_from(self.numbers.len()).unwrap_or(u32::MAX).clamp(1, 1_000);
        if self.numbers.len() >= KEPT {
            self.numbers.clear();
        }
        let list = List::<Account>::new().size(most).sorted(Sort { key: "number", descending: false });
        let list = list.with("number", Op::Gte, &number.to_string()).map_err(crate::error::Failure::usage)?;
        for account in self.client.call(&list).await?.rows {
            let known = Known { id: account.id, currency: account.currency };
            self.numbers.insert(account.number, Some(known));
        }
        Ok(*self.numbers.entry(number).or_insert(None))
    }

    async fn by_ref(&mut self, account: AccountRef) -> Result<Option<Known>> {
        if let Some(known) = self.others.get(&account) {
            return Ok(*known);
        }
        if self.others.len() >= KEPT {
            self.others.clear();
        }
        let known = match self.client.call(&GetAccount { id: account }).await {
            Ok(account) => Some(Known { id: account.id, currency: account.currency }),
            Err(Error::Api { status: 404, .. }) => None,
            Err(why) => return Err(why.into()),
        };
        self.others.insert(account, known);
        Ok(known)
    }

    /// The account that a text means, and its currency when that is known already.
    async fn find(&mut self, text: &str) -> Result<Result<(AccountRef, Option<Currency>), String>> {
        let bare = crate::several::bare(text.trim());
        if bare.bytes().all(|byte| byte.is_ascii_digit()) {
            let Ok(number) = bare.parse() else { return Ok(Err("is no account's number".to_owned())) };
            let known = self.by_number(number).await?;
            return Ok(known
                .map(|known| (known.id.into(), Some(known.currency)))
                .ok_or_else(|| format!("no account has the number {bare}")));
        }
        Ok(match bare.parse() {
            Ok(account @ AccountRef::System(_, currency)) => Ok((account, Some(currency))),
            Ok(account) => Ok((account, None)),
            Err(wrong) => Err(format!("{wrong}, or a number")),
        })
    }

    /// Its id; nothing when it is not there, as the books' own before their first transfer.
    pub(super) async fn id(&mut self, account: AccountRef) -> Result<Option<AccountId>> {
        match account {
            AccountRef::Id(id) => Ok(Some(id)),
            AccountRef::System(..) => Ok(self.by_ref(account).await?.map(|known| known.id)),
        }
    }

    /// Its currency; nothing when it is not there.
    async fn currency(&mut self, account: AccountRef) -> Result<Option<Currency>> {
        Ok(self.by_ref(account).await?.map(|known| known.currency))
    }
}

/// Reads lines, with flags for what they leave out.
pub(super) struct Reader<'a> {
    pub accounts: Accounts<'a>,
    /// What flags say, as columns.
    pub flags: Vec<(String, Value)>,
}

impl Reader<'_> {
    /// The request that a line is, or all that is wrong with it. Fails when the daemon cannot be asked.
    pub(super) async fn read(&mut self, record: &Record) -> Result<Result<CreateTransfer, Vec<String>>> {
        let mut wrong = Vec::new();
        let mut given: Map<String, Value> = Map::new();
        let mut called: HashMap<String, &str> = HashMap::new();
        for (column, value) in &record.cells {
            if NOTES.contains(&column.as_str()) || value.is_null() {
                continue;
            }
            let Some(name) = member(column) else {
                wrong.push(format!("{column} is not known; valid: {VALID}"));
                continue;
            };
            if given.insert(name.clone(), value.clone()).is_some() {
                wrong.push(format!("{column} is there twice"));
            }
            called.insert(name, column);
        }
        for (name, value) in &self.flags {
            if let Some(column) = called.get(name) {
                wrong.push(format!("{column} is given here and by a flag"));
            }
            given.entry(name.clone()).or_insert_with(|| value.clone());
        }
        let name = |member: &str| -> String {
            let usual = || COLUMNS.iter().find(|(name, _)| *name == member).map(|(_, names)| names[0]);
            called.get(member).copied().or_else(usual).unwrap_or(member).to_owned()
        };
        let mut members: Map<String, Value> = Map::new();
        let mut ends: [Option<(AccountRef, Option<Currency>)>; 2] = [None; 2];
        for (end, member) in ends.iter_mut().zip(["fromAccountId", "toAccountId"]) {
            let text = match given.remove(member) {
                Some(value @ (Value::String(_) | Value::Number(_))) => crate::output::plain(&value),
                Some(_) => {
                    wrong.push(format!("{} must be an id or a number", name(member)));
                    continue;
                }
                None => {
                    wrong.push(format!("{} is missing", name(member)));
                    continue;
                }
            };
            match self.accounts.find(&text).await? {
                Ok(account) => *end = Some(account),
                Err(why) if why.starts_with("no account") => wrong.push(format!("{}: {why}", name(member))),
                Err(why) => wrong.push(format!("{} {why}", name(member))),
            }
            if let Some((account, _)) = *end {
                members.insert(member.to_owned(), json!(account));
            }
        }
        if let [Some((from, _)), Some((to, _))] = ends
            && from == to
        {
            wrong.push(format!("{} is the account that the money comes from", name("toAccountId")));
        }
        let currency = match given.remove("currency") {
            Some(value) => {
                match value.as_str().ok_or("must be a code like EUR".to_owned()).and_then(money::currency) {
                    Ok(currency) => Some(currency),
                    Err(why) => {
                        wrong.push(format!("{} {why}", name("currency")));
                        None
                    }
                }
            }
            // what an account holds is in its currency, and nothing else moves
            None => {
                let mut found = ends.iter().flatten().find_map(|(_, currency)| *currency);
                for (account, _) in ends.into_iter().flatten() {
                    if found.is_none() {
                        found = self.accounts.currency(account).await?;
                    }
                }
                if found.is_none() && ends.iter().all(Option::is_some) {
                    wrong.push("currency is missing, and the accounts are not there".to_owned());
                }
                found
            }
        };
        if let Some(currency) = currency {
            members.insert("currency".to_owned(), json!(currency));
        }
        let minor = called.get("fromAccountId").is_some_and(|name| *name == "fromAccountId");
        match (given.remove("amount"), currency) {
            (Some(Value::String(text)), Some(currency)) => match money::amount(&text, currency) {
                Ok(amount) => drop(members.insert("amount".to_owned(), json!(amount))),
                Err(why) => wrong.push(format!("{} {why}", name("amount"))),
            },
            // as the API has it, all of it
            (Some(value @ Value::Number(_)), _) if minor => drop(members.insert("amount".to_owned(), value)),
            (Some(Value::Number(_)), _) => wrong.push(format!(
                "{} must be a text like \"12.34\"; whole minor units go beside fromAccountId and toAccountId",
                name("amount")
            )),
            (Some(Value::String(_)), None) => {}
            (Some(_), _) => wrong.push(format!("{} must be a text like \"12.34\"", name("amount"))),
            (None, _) => wrong.push(format!("{} is missing", name("amount"))),
        }
        if let Some(value) = given.remove("hold") {
            match word(&value).as_str() {
                "true" | "yes" | "1" | "x" => drop(members.insert("mode".to_owned(), json!("hold"))),
                "false" | "no" | "0" => {}
                _ => wrong.push(format!("{} must be true or false", name("hold"))),
            }
        }
        for member in ["expiresIn", "expiresInSeconds"] {
            let Some(value) = given.remove(member) else { continue };
            match money::seconds(&word(&value)) {
                Ok(seconds) => drop(members.insert("expiresInSeconds".to_owned(), json!(seconds))),
                Err(why) => wrong.push(format!("{} {why}", name(member))),
            }
        }
        let mut facts = match given.remove("metadata") {
            Some(Value::Object(facts)) => facts,
            Some(_) => {
                wrong.push("metadata goes into a column a fact: metadata.KEY".to_owned());
                Map::new()
            }
            None => Map::new(),
        };
        for (member, value) in given {
            match member.strip_prefix("metadata.") {
                Some(key) => drop(facts.insert(key.to_owned(), value)),
                None => drop(members.insert(member, value)),
            }
        }
        if !facts.is_empty() {
            members.insert("metadata".to_owned(), facts.into());
        }
        if members.contains_key("expiresInSeconds") && members.get("mode") != Some(&json!("hold")) {
            wrong.push(format!("{} is for holds: hold must be true", name("expiresIn")));
        }
        let mut violations = Vec::new();
        let op = CreateTransfer::decode(&Value::Object(members), &mut Decoder::new(&mut violations, false));
        // what is missing was said above, in the words of the file
        let told = ["/fromAccountId", "/toAccountId", "/amount", "/currency"];
        for one in
            violations.iter().filter(|one| one.rule != "required" || !told.contains(&one.pointer.as_str()))
        {
            let (member, rest) = one
                .pointer
                .trim_start_matches('/')
                .split_once('/')
                .unwrap_or((one.pointer.trim_start_matches('/'), ""));
            let dot = if rest.is_empty() { "" } else { "." };
            wrong.push(format!("{}{dot}{rest} {}", name(member), one.message));
        }
        Ok(match op {
            Some(op) if wrong.is_empty() => Ok(op),
            _ => Err(wrong),
        })
    }
}

fn word(value: &Value) -> String {
    crate::output::plain(value).trim().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_called_as_flags_or_as_the_api_has_them() {
        for name in ["external-id", "externalId", "External ID", "external_id"] {
            assert_eq!(member(name).as_deref(), Some("externalId"), "{name}");
        }
        assert_eq!(member("expires-in").as_deref(), Some("expiresIn"));
        assert_eq!(member("metadata.Plan").as_deref(), Some("metadata.Plan"));
        assert_eq!(member("amuont"), None);
        for name in VALID.split(", ") {
            assert!(member(name).is_some(), "{name}");
        }
    }
}
