//! Operation <-> path, query and body: written once for both ends.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::{
    decode::Decoder,
    error::{ApiError, ErrorCode},
    operation::Operation,
};

/// How deep JSON may be nested.
pub const MAX_DEPTH: usize = 32;

/// An operation as it travels.
#[derive(Debug, Clone, PartialEq)]
pub struct Encoded {
    /// Path and query.
    pub target: String,
    /// The JSON body, for methods that have one.
    pub body: Option<Vec<u8>>,
}

/// The `{members}` of a path, in order.
pub fn path_members(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

fn escape(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
        out
    })
}

fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// Writes an operation for sending.
///
/// # Errors
/// When a request cannot be written as JSON, or a member of the path is missing: a mistake in the
/// request type, which the round-trip test finds.
pub fn encode<O: Operation>(op: &O) -> Result<Encoded, serde_json::Error> {
    let Value::Object(mut members) = serde_json::to_value(op)? else {
        return Err(serde_json::Error::custom("an operation must be a struct"));
    };
    let mut target = String::with_capacity(O::PATH.len() + 32);
    for part in O::PATH.split('/').skip(1) {
        target.push('/');
        match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
            Some(name) => {
                let value = members.remove(name).as_ref().and_then(as_text);
                let value =
                    value.ok_or_else(|| serde_json::Error::custom("a member of the path is missing"))?;
                target.push_str(&escape(&value));
            }
            None => target.push_str(part),
        }
    }
    if O::METHOD.has_body() {
        return Ok(Encoded { target, body: Some(serde_json::to_vec(&members)?) });
    }
    for (count, (name, value)) in
        members.iter().filter_map(|(name, value)| Some((name, as_text(value)?))).enumerate()
    {
        target.push(if count == 0 { '?' } else { '&' });
        target.push_str(&escape(name));
        target.push('=');
        target.push_str(&escape(&value));
    }
    Ok(Encoded { target, body: None })
}

/// Reads an operation: path members, the query, the body.
///
/// # Errors
/// `MALFORMED_REQUEST` when the body is not JSON, `VALIDATION_FAILED` with all faults otherwise.
pub fn decode<O: Operation>(path: &[(&str, &str)], query: &str, body: &[u8]) -> Result<O, ApiError> {
    let mut violations = Vec::new();
    let mut members = if O::METHOD.has_body() {
        // parameters of a write (dryRun) were taken by the wrapper
        let mut twice = Vec::new();
        let query = read_query(query, &mut twice);
        let mut at = Decoder::new(&mut violations, true);
        let known = if O::takes_dry_run() { vec!["dryRun".to_owned()] } else { Vec::new() };
        at.refuse_unknown(&query, &known, &[]);
        refuse_twice(&mut at, &twice);
        if body.iter().all(u8::is_ascii_whitespace) {
            Map::new()
        } else {
            match parse(body)? {
                Value::Object(members) => members,
                _ => return Err(ApiError::violation("/", "type", "must be an object")),
            }
        }
    } else {
        if !body.is_empty() {
            return Err(ApiError::new(ErrorCode::MalformedRequest, "This request takes no body."));
        }
        let mut twice = Vec::new();
        let mut query = read_query(query, &mut twice);
        if O::takes_dry_run() {
            query.remove("dryRun");
        }
        let mut at = Decoder::new(&mut violations, true);
        refuse_twice(&mut at, &twice);
        query
    };
    let params = !O::METHOD.has_body();
    for (name, value) in path {
        if members.contains_key(*name) {
            Decoder::new(&mut violations, params)
                .inside(name, |at| at.fail("unknown_field", "stands in the path already"));
        }
        members.insert((*name).to_owned(), Value::String((*value).to_owned()));
    }
    let op = O::decode(&Value::Object(members), &mut Decoder::new(&mut violations, params));
    match op {
        Some(op) if violations.is_empty() => Ok(op),
        _ => Err(ApiError::invalid(violations)),
    }
}

fn refuse_twice(at: &mut Decoder<'_>, names: &[String]) {
    for name in names {
        at.inside(&crate::decode::printable(name), |at| at.fail("type", "is given twice"));
    }
}

/// The pairs of a query; names that stand there twice go to `twice`.
pub fn read_query(query: &str, twice: &mut Vec<String>) -> Map<String, Value> {
    let mut members = Map::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if members.insert(name.clone().into_owned(), Value::String(value.into_owned())).is_some() {
            twice.push(name.into_owned());
        }
    }
    members
}

/// Reads JSON, refusing nesting beyond [`MAX_DEPTH`] and members that stand there twice.
///
/// # Errors
/// `MALFORMED_REQUEST` with line and column.
pub fn parse(body: &[u8]) -> Result<Value, ApiError> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let value = Strict { depth: 0 }.deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
    value.map_err(|wrong| {
        let place = serde_json::json!({ "line": wrong.line(), "column": wrong.column() });
        let what = crate::decode::printable(&wrong.to_string());
        ApiError::new(ErrorCode::MalformedRequest, format!("The body is not JSON: {what}.")).with(place)
    })
}

#[derive(Clone, Copy)]
struct Strict {
    depth: usize,
}

impl Strict {
    /// A list or an object begins here, an empty one too.
    fn opens<E: serde::de::Error>(self) -> Result<(), E> {
        if self.depth >= MAX_DEPTH {
            return Err(E::custom("nested too deeply"));
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }
    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }
    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        self.opens()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Self { depth: self.depth + 1 })? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        self.opens()?;
        let mut map = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let value = members.next_value_seed(Self { depth: self.depth + 1 })?;
            if map.insert(name, value).is_some() {
                return Err(A::Error::custom("a member stands there twice"));
            }
        }
        Ok(Value::Object(map))
    }
}
