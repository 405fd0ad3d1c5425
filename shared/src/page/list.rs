//! The query of a list: its parameters, how they are written, read and described.

use std::{fmt, marker::PhantomData};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::{Value, json};

use super::{Condition, DEFAULT_PAGE_SIZE, Kind, MAX_PAGE_SIZE, Op, Resource, Sort};
use crate::{
    decode::{Decode, Decoder, integer, printable},
    field::{Position, TotalMode},
};

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
    // times are also known without their `At`
    let short = valid.iter().filter_map(|name| name.strip_suffix("At"));
    let near = crate::text::nearest(name, valid.iter().copied().chain(short));
    let meant = near.map_or_else(String::new, |near| format!(" did you mean {near}?"));
    format!("{} cannot be filtered by;{meant} valid: {}", printable(name), valid.join(", "))
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
        if list.after.is_some() && list.sort.is_some_and(|sort| sort.descending) {
            at.inside("after", |at| at.fail("modes_mixed", "reads onwards; a descending sort reads back"));
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
                json!({"type": "string", "minLength": 1, "maxLength": 200, "description": format!("Words; they look at {}.", R::SEARCHED)}),
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
                    (_, Kind::Integer | Kind::Money) => json!({"type": "integer"}),
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
