//! Lists: what a resource allows, one comparison, one page of rows.

mod list;
mod within;

use std::{collections::BTreeMap, fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

pub use self::{
    list::{List, unknown_field},
    within::{Holds, Within},
};
use crate::{money::Currency, permission::Permission, time::TimeExpr};

/// Rows a page has when nobody says.
pub const DEFAULT_PAGE_SIZE: u32 = 20;
/// Rows a page may have at most.
pub const MAX_PAGE_SIZE: u32 = 1_000;
/// The last row that offset paging reaches; beyond, only cursors do.
pub const MAX_OFFSET_ROW: u32 = 10_000;

/// How a filter compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Op {
    /// Equal.
    Eq,
    /// Not equal.
    Ne,
    /// Less.
    Lt,
    /// Less or equal.
    Lte,
    /// Greater.
    Gt,
    /// Greater or equal.
    Gte,
    /// One of several.
    In,
    /// Begins with.
    Prefix,
    /// Empty, or not.
    IsNull,
}

impl Op {
    /// All of them.
    pub const ALL: &'static [Self] =
        &[Self::Eq, Self::Ne, Self::Lt, Self::Lte, Self::Gt, Self::Gte, Self::In, Self::Prefix, Self::IsNull];

    /// As in `filter[field][op]`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Eq => "eq",
            Self::Ne => "ne",
            Self::Lt => "lt",
            Self::Lte => "lte",
            Self::Gt => "gt",
            Self::Gte => "gte",
            Self::In => "in",
            Self::Prefix => "prefix",
            Self::IsNull => "isnull",
        }
    }
}

/// What the values of a field look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One line of text.
    Text,
    /// An id with this prefix.
    Id(&'static str),
    /// One of these words.
    Word(&'static [&'static str]),
    /// A point in time.
    Time,
    /// A whole number.
    Integer,
    /// Money in minor units of the row's currency, the field `currency`.
    Money,
}

/// A field that a list can be filtered by.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Its name on the wire.
    pub name: &'static str,
    /// What its values look like.
    pub kind: Kind,
    /// How it may be compared.
    pub ops: &'static [Op],
}

impl Field {
    /// Equal, unequal, one of.
    pub const fn exact(name: &'static str, kind: Kind) -> Self {
        Self { name, kind, ops: &[Op::Eq, Op::Ne, Op::In] }
    }

    /// Equal, one of, and by prefix.
    pub const fn prefix(name: &'static str) -> Self {
        Self { name, kind: Kind::Text, ops: &[Op::Eq, Op::In, Op::Prefix] }
    }

    /// Ordered values.
    pub const fn range(name: &'static str, kind: Kind) -> Self {
        Self { name, kind, ops: &[Op::Eq, Op::Lt, Op::Lte, Op::Gt, Op::Gte] }
    }

    /// Ordered values that may be missing.
    pub const fn optional_range(name: &'static str, kind: Kind) -> Self {
        Self { name, kind, ops: &[Op::Eq, Op::Lt, Op::Lte, Op::Gt, Op::Gte, Op::IsNull] }
    }

    /// Reads the value of one comparison.
    pub fn read(&self, op: Op, text: &str) -> Result<FilterValue, String> {
        if !self.ops.contains(&op) {
            let valid: Vec<&str> = self.ops.iter().map(|op| op.as_str()).collect();
            return Err(format!("cannot be compared by {}; valid: {}", op.as_str(), valid.join(", ")));
        }
        match op {
            Op::IsNull => match text {
                "true" => Ok(FilterValue::Null(true)),
                "false" => Ok(FilterValue::Null(false)),
                _ => Err("must be true or false".to_owned()),
            },
            Op::In => {
                let items: Vec<&str> = text.split(',').collect();
                if items.len() > 100 {
                    return Err("must have at most 100 values".to_owned());
                }
                let items = items.into_iter().map(|item| {
                    self.read_one(item)?;
                    Ok(item.to_owned())
                });
                items.collect::<Result<_, String>>().map(FilterValue::Texts)
            }
            _ => self.read_one(text),
        }
    }

    fn read_one(&self, text: &str) -> Result<FilterValue, String> {
        if text.is_empty() || text.chars().count() > 500 || text.chars().any(char::is_control) {
            return Err("must have 1 to 500 characters and no controls".to_owned());
        }
        match self.kind {
            Kind::Text => Ok(FilterValue::Text(text.to_owned())),
            Kind::Id(prefix) => {
                if text.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('_')) && text.is_ascii() {
                    Ok(FilterValue::Text(text.to_owned()))
                } else {
                    Err(format!("must be an id like {prefix}_01j9zq3v5tf8c8m1k2n3p4q5r6"))
                }
            }
            Kind::Word(words) if words.contains(&text) => Ok(FilterValue::Text(text.to_owned())),
            Kind::Word(words) => Err(format!("must be one of {}", words.join(", "))),
            Kind::Time => text.parse().map(FilterValue::Time),
            Kind::Integer | Kind::Money => {
                text.parse().map(FilterValue::Integer).map_err(|_| "must be a whole number".to_owned())
            }
        }
    }
}

/// What a field is compared with.
#[derive(Debug, Clone, PartialEq)]
pub enum FilterValue {
    /// A text, a word or an id.
    Text(String),
    /// Several of them.
    Texts(Vec<String>),
    /// A whole number.
    Integer(i64),
    /// A time, perhaps relative.
    Time(TimeExpr),
    /// Whether the field is empty.
    Null(bool),
}

impl fmt::Display for FilterValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Texts(items) => f.write_str(&items.join(",")),
            Self::Integer(number) => number.fmt(f),
            Self::Time(time) => time.fmt(f),
            Self::Null(null) => null.fmt(f),
        }
    }
}

/// One comparison; all comparisons of a list must hold.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    /// The field's name on the wire.
    pub field: &'static str,
    /// How it is compared.
    pub op: Op,
    /// With what.
    pub value: FilterValue,
}

impl Condition {
    /// Whether it holds of a text, as the store would say.
    pub fn holds_of(&self, text: &str) -> bool {
        match (self.op, &self.value) {
            (Op::Eq, FilterValue::Text(wanted)) => text == wanted,
            (Op::Ne, FilterValue::Text(wanted)) => text != wanted,
            (Op::Prefix, FilterValue::Text(wanted)) => text.starts_with(wanted.as_str()),
            (Op::In, FilterValue::Texts(wanted)) => wanted.iter().any(|one| one == text),
            _ => false,
        }
    }
}

/// The order of a list: one key, the id breaks ties.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sort {
    /// The key's name on the wire.
    pub key: &'static str,
    /// Whether the greatest comes first.
    pub descending: bool,
}

impl fmt::Display for Sort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.descending { "-" } else { "" }, self.key)
    }
}

/// What can be loaded along with a row, in one query for the whole page.
#[derive(Debug, Clone, Copy)]
pub struct Include {
    /// Its name on the wire.
    pub name: &'static str,
    /// What the caller must hold to see it.
    pub needs: Permission,
}

/// A kind of record that can be listed: what its lists allow.
pub trait Resource:
    Serialize + DeserializeOwned + JsonSchema + Clone + fmt::Debug + Send + Sync + 'static
{
    /// The plural, as in the path.
    const NAME: &'static str;
    /// What it can be filtered by.
    const FIELDS: &'static [Field];
    /// What it can be sorted by.
    const SORTS: &'static [&'static str];
    /// The order when nobody says.
    const DEFAULT_SORT: Sort = Sort { key: "createdAt", descending: true };
    /// What can be loaded along.
    const INCLUDES: &'static [Include] = &[];
    /// What the words of `q` look at, to be read behind "words look at"; nothing where there is no search.
    const SEARCHED: &'static str = "";
    /// Whether `q` searches it.
    const SEARCH: bool = !Self::SEARCHED.is_empty();
    /// Whether `after` (a sequence number) is understood.
    const AFTER: bool = false;

    /// What tells this row from all others.
    fn id(&self) -> String;

    /// The currencies of the money in this row.
    fn currencies(&self) -> Vec<Currency> {
        Vec::new()
    }

    /// The field of this name.
    fn field(name: &str) -> Option<&'static Field> {
        Self::FIELDS.iter().find(|field| field.name == name)
    }

    /// Reads an order: a key, `-` in front for descending.
    fn sort(text: &str) -> Option<Sort> {
        let (descending, name) = match text.strip_prefix('-') {
            Some(name) => (true, name),
            None => (false, text),
        };
        let key = Self::SORTS.iter().copied().find(|key| *key == name)?;
        Some(Sort { key, descending })
    }
}

/// How a page was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PageMode {
    /// By number.
    Page,
    /// By cursor.
    Cursor,
}

/// How true the total is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TotalAccuracy {
    /// That many.
    Exact,
    /// That many or more.
    AtLeast,
    /// Not counted.
    None,
}

/// Where a page lies in its list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pagination {
    /// How it was asked for.
    pub mode: PageMode,
    /// Its number; null in cursor mode.
    pub page: Option<u32>,
    /// Rows it may have.
    pub page_size: u32,
    /// Rows the list has, as far as counted.
    pub total: Option<u64>,
    /// Pages the list has; null unless the total is exact.
    pub total_pages: Option<u64>,
    /// How true the total is.
    pub total_accuracy: TotalAccuracy,
    /// Whether there is a next page.
    pub has_more: bool,
    /// How to get the next page.
    pub next_cursor: Option<String>,
    /// How to get the page before; null at the start.
    pub prev_cursor: Option<String>,
}

/// What an include left out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Included {
    /// Children a row, at most.
    pub limit: u32,
    /// Ids of the rows that have more.
    pub truncated: Vec<String>,
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<R> {
    /// The rows, in the list's order.
    pub rows: Vec<R>,
    /// Where they lie.
    pub pagination: Pagination,
    /// What was loaded along, by include.
    pub included: BTreeMap<String, Included>,
}

impl FromStr for Op {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.iter().copied().find(|op| op.as_str() == text).ok_or(())
    }
}
