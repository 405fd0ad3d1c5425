//! Lists: one query for every resource, and a page of its rows.

use std::{collections::BTreeMap, fmt, marker::PhantomData, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize, Serializer, de::DeserializeOwned, ser::SerializeMap};
use serde_json::{Value, json};

use crate::{
    decode::{Decode, Decoder, integer, printable},
    field::{Position, TotalMode},
    permission::Permission,
    time::TimeExpr,
};

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
            Kind::Integer => {
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
    /// Whether `q` searches it.
    const SEARCH: bool = false;
    /// Whether `after` (a sequence number) is understood.
    const AFTER: bool = false;

    /// What tells this row from all others.
    fn id(&self) -> String;

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

/// The query of a list.
pub struct List<R> {
    /// Which page, from 1; offset mode.
    pub page: Option<u32>,
    /// Rows a page.
    pub page_size: Option<u32>,
    /// Where to go on; keyset mode.
    pub cursor: Option<String>,
    /// Which end to enter at; keyset mode.
    pub position: Option<Position>,
    /// The id of a row to enter around; keyset mode.
    pub around: Option<String>,
    /// The order.
    pub sort: Option<Sort>,
    /// What must hold of each row.
    pub filter: Vec<Condition>,
    /// A search.
    pub q: Option<String>,
    /// What to load along.
    pub include: Vec<&'static str>,
    /// How many of it a row, at most.
    pub include_limit: Option<u32>,
    /// How to count.
    pub total: Option<TotalMode>,
    /// Only rows after this sequence number, oldest first.
    pub after: Option<i64>,
    rows: PhantomData<fn() -> R>,
}

impl<R> Default for List<R> {
    fn default() -> Self {
        Self {
            page: None,
            page_size: None,
            cursor: None,
            position: None,
            around: None,
            sort: None,
            filter: Vec::new(),
            q: None,
            include: Vec::new(),
            include_limit: None,
            total: None,
            after: None,
            rows: PhantomData,
        }
    }
}

impl<R> Clone for List<R> {
    fn clone(&self) -> Self {
        Self {
            cursor: self.cursor.clone(),
            around: self.around.clone(),
            filter: self.filter.clone(),
            q: self.q.clone(),
            include: self.include.clone(),
            rows: PhantomData,
            ..*self
        }
    }
}

impl<R: Resource> PartialEq for List<R> {
    fn eq(&self, other: &Self) -> bool {
        serde_json::to_value(self).ok() == serde_json::to_value(other).ok()
    }
}

impl<R: Resource> fmt::Debug for List<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", R::NAME, serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

impl<R: Resource> List<R> {
    /// Everything, in the default order.
    pub fn new() -> Self {
        Self::default()
    }

    /// So many rows a page.
    #[must_use]
    pub fn size(mut self, rows: u32) -> Self {
        self.page_size = Some(rows);
        self
    }

    /// Another order.
    #[must_use]
    pub fn sorted(mut self, sort: Sort) -> Self {
        self.sort = Some(sort);
        self
    }

    /// One more condition; the value is read as the field demands.
    pub fn with(mut self, field: &str, op: Op, value: &str) -> Result<Self, String> {
        let field = R::field(field).ok_or_else(|| unknown_field::<R>(field))?;
        let value = field.read(op, value)?;
        self.filter.push(Condition { field: field.name, op, value });
        Ok(self)
    }

    /// The order in force.
    pub fn order(&self) -> Sort {
        self.sort.unwrap_or(R::DEFAULT_SORT)
    }

    /// Rows a page.
    pub fn rows(&self) -> u32 {
        self.page_size.unwrap_or(DEFAULT_PAGE_SIZE)
    }
}

/// The words for a field that cannot be filtered by.
pub fn unknown_field<R: Resource>(name: &str) -> String {
    let valid: Vec<&str> = R::FIELDS.iter().map(|field| field.name).collect();
    format!("{} cannot be filtered by; valid: {}", printable(name), valid.join(", "))
}

impl<R: Resource> Serialize for List<R> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(None)?;
        macro_rules! put { ($($name:literal $value:expr;)+) => { $(if let Some(value) = &$value {
            map.serialize_entry($name, value)?;
        })+ } }
        put! {
            "page" self.page;
            "pageSize" self.page_size;
            "cursor" self.cursor;
            "position" self.position;
            "around" self.around;
            "sort" self.sort.map(|sort| sort.to_string());
            "q" self.q;
            "include" (!self.include.is_empty()).then(|| self.include.join(","));
            "includeLimit" self.include_limit;
            "total" self.total;
            "after" self.after;
        }
        for Condition { field, op, value } in &self.filter {
            let name = match op {
                Op::Eq => format!("filter[{field}]"),
                _ => format!("filter[{field}][{}]", op.as_str()),
            };
            map.serialize_entry(&name, &value.to_string())?;
        }
        map.end()
    }
}

/// `filter[field]` or `filter[field][op]`, taken apart.
fn filter_name(name: &str) -> Option<(&str, &str)> {
    let inner = name.strip_prefix("filter[")?.strip_suffix(']')?;
    Some(inner.split_once("][").unwrap_or((inner, "eq")))
}

impl<R: Resource> List<R> {
    fn known() -> Vec<String> {
        let mut known: Vec<String> =
            ["page", "pageSize", "cursor", "position", "around", "sort", "filter[field]", "total"]
                .map(str::to_owned)
                .to_vec();
        if R::SEARCH {
            known.push("q".to_owned());
        }
        if R::AFTER {
            known.push("after".to_owned());
        }
        if !R::INCLUDES.is_empty() {
            known.extend(["include".to_owned(), "includeLimit".to_owned()]);
        }
        known
    }

    fn read_filter(&mut self, name: &str, value: &Value, at: &mut Decoder<'_>) {
        at.inside(&printable(name), |at| {
            let Some((field, op)) = filter_name(name) else {
                return at.fail("invalid_filter", "must look like filter[field] or filter[field][op]");
            };
            let Some(field) = R::field(field) else {
                return at.fail("invalid_filter", unknown_field::<R>(field));
            };
            let Some(op) = Op::ALL.iter().copied().find(|known| known.as_str() == op) else {
                return at.fail(
                    "invalid_filter",
                    "must be compared by eq, ne, lt, lte, gt, gte, in, prefix or isnull",
                );
            };
            let Some(text) = at.text(value) else { return };
            // filter[status]=open,completed means one of them
            let op =
                if op == Op::Eq && text.contains(',') && field.ops.contains(&Op::In) { Op::In } else { op };
            match field.read(op, text) {
                Ok(value) => self.filter.push(Condition { field: field.name, op, value }),
                Err(why) => at.fail("invalid_filter", why),
            }
        });
    }

    fn read_include(&mut self, value: &Value, at: &mut Decoder<'_>) {
        let Some(text) = at.text(value) else { return };
        for name in text.split(',') {
            match R::INCLUDES.iter().find(|include| include.name == name) {
                Some(include) if self.include.contains(&include.name) => {}
                Some(include) => self.include.push(include.name),
                None => {
                    let valid: Vec<&str> = R::INCLUDES.iter().map(|include| include.name).collect();
                    at.fail("invalid_include", format!("has an unknown name; valid: {}", valid.join(", ")));
                }
            }
        }
    }
}

impl<R: Resource> Decode for List<R> {
    fn decode(value: &Value, at: &mut Decoder<'_>) -> Option<Self> {
        let object = at.object(value)?;
        let mut list = Self::default();
        // a fault is reported where it is found; the caller refuses the request when there is any
        for (name, value) in object {
            if name.starts_with("filter[") {
                list.read_filter(name, value, at);
                continue;
            }
            let mut unknown = false;
            at.inside(&printable(name), |at| match name.as_str() {
                "page" => list.page = bounded(value, at, 1, i64::from(u32::MAX)),
                "pageSize" => list.page_size = bounded(value, at, 1, i64::from(MAX_PAGE_SIZE)),
                "cursor" => list.cursor = String::decode(value, at),
                "position" => list.position = Position::decode(value, at),
                "around" => list.around = String::decode(value, at),
                "sort" => match at.text(value).map(|text| R::sort(text)) {
                    Some(Some(sort)) => list.sort = Some(sort),
                    Some(None) => at.fail(
                        "invalid_sort",
                        format!("must be one of {}, with - in front for descending", R::SORTS.join(", ")),
                    ),
                    None => {}
                },
                "total" => list.total = TotalMode::decode(value, at),
                "q" if R::SEARCH => {
                    list.q = String::decode(value, at).filter(|q| {
                        let fits = (1..=200).contains(&q.chars().count());
                        if !fits {
                            at.fail("length", "must have 1 to 200 characters");
                        }
                        fits
                    });
                }
                "after" if R::AFTER => list.after = integer(value, at, 0, i64::MAX),
                "include" if !R::INCLUDES.is_empty() => list.read_include(value, at),
                "includeLimit" if !R::INCLUDES.is_empty() => list.include_limit = bounded(value, at, 1, 100),
                _ => unknown = true,
            });
            if unknown {
                let mut one = serde_json::Map::new();
                one.insert(name.clone(), Value::Null);
                at.refuse_unknown(&one, &Self::known(), &[]);
            }
        }
        let keyset =
            [list.cursor.is_some(), list.position.is_some(), list.around.is_some(), list.after.is_some()]
                .into_iter()
                .filter(|set| *set)
                .count();
        if keyset > 1 || (keyset == 1 && list.page.is_some()) {
            at.inside(if list.page.is_some() { "page" } else { "cursor" }, |at| {
                at.fail("modes_mixed", "only one of page, cursor, position, around and after can be used");
            });
        }
        Some(list)
    }
}

fn bounded(value: &Value, at: &mut Decoder<'_>, min: i64, max: i64) -> Option<u32> {
    integer(value, at, min, max).and_then(|number| u32::try_from(number).ok())
}

impl<R: Resource> JsonSchema for List<R> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("List_{}", R::NAME).into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let mut properties = serde_json::Map::new();
        let sorts: Vec<String> =
            R::SORTS.iter().flat_map(|key| [(*key).to_owned(), format!("-{key}")]).collect();
        let mut put = |name: &str, schema: Value| properties.insert(name.to_owned(), schema);
        put(
            "page",
            json!({"type": "integer", "minimum": 1, "description": "Offset mode: which page, from 1; up to row 10,000."}),
        );
        put(
            "pageSize",
            json!({"type": "integer", "minimum": 1, "maximum": MAX_PAGE_SIZE, "default": DEFAULT_PAGE_SIZE}),
        );
        put(
            "cursor",
            json!({"type": "string", "description": "Keyset mode: nextCursor or prevCursor of another page."}),
        );
        put(
            "position",
            json!({"type": "string", "enum": Position::WORDS, "description": "Keyset mode: which end to enter at."}),
        );
        put(
            "around",
            json!({"type": "string", "description": "Keyset mode: the id of the row to enter around."}),
        );
        put("sort", json!({"type": "string", "enum": sorts, "default": R::DEFAULT_SORT.to_string()}));
        put(
            "total",
            json!({"type": "string", "enum": TotalMode::WORDS, "description": "How to count; bounded in offset mode, none in keyset mode."}),
        );
        if R::SEARCH {
            put(
                "q",
                json!({"type": "string", "minLength": 1, "maxLength": 200, "description": "An exact id, number or email, else words by their beginnings."}),
            );
        }
        if R::AFTER {
            put(
                "after",
                json!({"type": "integer", "minimum": 0, "description": "Rows after this sequence number, oldest first."}),
            );
        }
        if !R::INCLUDES.is_empty() {
            let names: Vec<&str> = R::INCLUDES.iter().map(|include| include.name).collect();
            put(
                "include",
                json!({"type": "string", "description": format!("What to load along, separated by commas: {}.", names.join(", "))}),
            );
            put("includeLimit", json!({"type": "integer", "minimum": 1, "maximum": 100, "default": 10}));
        }
        for field in R::FIELDS {
            for op in field.ops {
                let name = match op {
                    Op::Eq => format!("filter[{}]", field.name),
                    _ => format!("filter[{}][{}]", field.name, op.as_str()),
                };
                let schema = match (op, field.kind) {
                    (Op::IsNull, _) => json!({"type": "boolean"}),
                    (Op::In, _) => {
                        json!({"type": "string", "description": "Several values, separated by commas."})
                    }
                    (_, Kind::Word(words)) => json!({"type": "string", "enum": words}),
                    (_, Kind::Integer) => json!({"type": "integer"}),
                    (_, Kind::Time) => {
                        json!({"type": "string", "description": "A time, a day, today, or a distance back like -7d."})
                    }
                    (_, Kind::Id(prefix)) => json!({"type": "string", "pattern": format!("^{prefix}_")}),
                    (_, Kind::Text) => json!({"type": "string", "minLength": 1, "maxLength": 500}),
                };
                put(&name, schema);
            }
        }
        json_schema!({ "type": "object", "properties": properties, "additionalProperties": false })
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
