//! Rows that were made since a list was read: counted as far as they match its filter, and up to a bound.

use std::collections::BTreeSet;

use bursar_shared::{
    filter::Filter,
    operations::log::Event,
    page::{Condition, FilterValue, Op},
    time::Timestamp,
};
use serde_json::Value;

use crate::text::number;

/// So many are counted.
const MOST: usize = 1_000;

/// Rows made since a list was read.
#[derive(Debug, Default)]
pub struct Newer {
    ids: BTreeSet<String>,
    /// Those of them that were made since the list was asked for again: the answer may lack them.
    since: BTreeSet<String>,
    /// There are more of them.
    more: bool,
    /// The filter says something about them that cannot be told here.
    unsure: bool,
    /// What comes now was counted before.
    held: bool,
}

impl Newer {
    /// Counts a row, unless it is said not to match the filter; whether that changed something. `None`
    /// says that it is not known here.
    pub fn add(&mut self, id: &str, fits: Option<bool>) -> bool {
        if self.held || fits == Some(false) || self.ids.contains(id) {
            return false;
        }
        if self.ids.len() >= MOST {
            return !std::mem::replace(&mut self.more, true);
        }
        self.unsure |= fits.is_none();
        self.since.insert(id.to_owned());
        self.ids.insert(id.to_owned())
    }

    /// The list is asked for again.
    pub fn asked(&mut self) {
        self.since.clear();
    }

    /// The list is here: what was made while it was under way is still newer, unless it is in it.
    pub fn read(&mut self, held: impl Fn(&str) -> bool) {
        self.since.retain(|id| !held(id));
        self.ids.clone_from(&self.since);
        self.more &= self.ids.len() >= MOST;
        self.unsure &= !self.ids.is_empty();
    }

    /// What comes from now on was counted before, or not.
    pub fn hold(&mut self, held: bool) {
        self.held = held;
    }

    /// Whether what comes now was counted before.
    pub fn is_held(&self) -> bool {
        self.held
    }

    /// How many are counted.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// In words: `3 newer`, `1,000+ newer`, and whether the filter was looked at.
    pub fn text(&self) -> Option<String> {
        let more = if self.more { "+" } else { "" };
        let unsure = if self.unsure { " (filter not applied)" } else { "" };
        (!self.ids.is_empty()).then(|| format!("{}{more} newer{unsure}", number(self.ids.len() as u64)))
    }
}

/// Whether a filter holds of the record that an event is about, as far as its data say.
pub fn fits(filter: &Filter, event: &Event) -> Option<bool> {
    fit(filter, &event.data, event.timestamp)
}

/// The same of any record, as the wire has it.
pub fn fit(filter: &Filter, data: &Value, now: Timestamp) -> Option<bool> {
    let mut all = filter.q.is_none().then_some(true);
    for condition in &filter.conditions {
        match meets(condition, data, now) {
            Some(false) => return Some(false),
            None => all = None,
            Some(true) => {}
        }
    }
    all
}

fn meets(condition: &Condition, data: &Value, now: Timestamp) -> Option<bool> {
    let either = |names: [&str; 2]| {
        let sides = names.map(|name| data.get(name).and_then(Value::as_str));
        let [Some(one), Some(other)] = sides else { return None };
        Some(condition.holds_of(one) || condition.holds_of(other))
    };
    match condition.field {
        "role" => {
            let roles = data.get("roles")?.as_array()?;
            return Some(roles.iter().filter_map(Value::as_str).any(|role| condition.holds_of(role)));
        }
        "accountId" => return either(["fromAccountId", "toAccountId"]),
        _ => {}
    }
    let value = data.get(condition.field)?;
    match (&condition.value, condition.op) {
        (FilterValue::Null(wanted), Op::IsNull) => Some(value.is_null() == *wanted),
        _ if value.is_null() => Some(false),
        (FilterValue::Text(wanted), Op::Prefix) => {
            let text = value.as_str()?;
            // how the store compares letters is its own business
            let near = text.to_lowercase().starts_with(&wanted.to_lowercase());
            let same = condition.holds_of(text);
            (near == same).then_some(same)
        }
        (FilterValue::Text(_) | FilterValue::Texts(_), _) => Some(condition.holds_of(value.as_str()?)),
        (FilterValue::Integer(wanted), op) => compared(op, value.as_i64()?.cmp(wanted)),
        (FilterValue::Time(wanted), op) => {
            let time: Timestamp = value.as_str()?.parse().ok()?;
            compared(op, time.cmp(&wanted.resolve(now)))
        }
        _ => None,
    }
}

fn compared(op: Op, order: std::cmp::Ordering) -> Option<bool> {
    match op {
        Op::Eq => Some(order.is_eq()),
        Op::Ne => Some(order.is_ne()),
        Op::Lt => Some(order.is_lt()),
        Op::Lte => Some(order.is_le()),
        Op::Gt => Some(order.is_gt()),
        Op::Gte => Some(order.is_ge()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use bursar_shared::{filter, operations::transfers::Transfer, operations::users::User, page::Resource};
    use serde_json::json;

    use super::*;

    fn judged<R: Resource>(text: &str, data: Value) -> Option<bool> {
        let event = json!({
            "id": "evt_01h455vb4pex5vsknk084sn02q", "seq": 1, "type": "user.created",
            "timestamp": "2026-01-15T09:30:00.000000Z", "actor": {"id": null, "kind": "system", "ip": null},
            "requestId": "req_test", "resource": {"type": "user", "id": null, "version": null},
            "data": data, "changes": null, "hash": "",
        });
        fits(&filter::parse::<R>(text).unwrap(), &serde_json::from_value(event).unwrap())
    }

    #[test]
    fn a_filter_is_judged_as_far_as_the_data_say() {
        let user = json!({"status": "active", "email": "ada@example.com", "roles": ["admin"],
            "externalId": null, "createdAt": "2026-01-15T09:29:00.000000Z"});
        for (text, wanted) in [
            ("", Some(true)),
            ("status:active", Some(true)),
            ("status:suspended", Some(false)),
            ("role:admin status:active,suspended", Some(true)),
            ("role:owner", Some(false)),
            ("email:^ada", Some(true)),
            ("email:^ADA", None),
            ("email:^bob", Some(false)),
            ("externalId:null", Some(true)),
            ("created>-7d", Some(true)),
            ("created<2026-01-01", Some(false)),
            // what is not there, and words, cannot be told here; what is false is false all the same
            ("kind:human", None),
            ("ada", None),
            ("ada status:suspended", Some(false)),
        ] {
            assert_eq!(judged::<User>(text, user.clone()), wanted, "{text}");
        }
        let money = json!({"fromAccountId": "acc_01h455vb4pex5vsknk084sn02q", "toAccountId": "acc_01h455vb4pex5vsknk084sn02r", "amount": 500});
        for (text, wanted) in [
            ("accountId:acc_01h455vb4pex5vsknk084sn02r", Some(true)),
            ("accountId:acc_01h455vb4pex5vsknk084sn02s", Some(false)),
        ] {
            assert_eq!(judged::<Transfer>(text, money.clone()), wanted, "{text}");
        }
    }

    #[test]
    fn what_is_counted_has_a_bound_and_what_came_meanwhile_stays() {
        let mut newer = Newer::default();
        for n in 0..2_000 {
            newer.add(&n.to_string(), Some(true));
        }
        assert_eq!(newer.text().as_deref(), Some("1,000+ newer"));
        newer.asked();
        newer.read(|_| false);
        assert_eq!(newer.text(), None);
        newer.add("before", Some(true));
        newer.asked();
        newer.add("read", Some(true));
        newer.add("after", None);
        newer.read(|id| id == "read");
        assert_eq!(newer.text().as_deref(), Some("1 newer (filter not applied)"));
    }
}
