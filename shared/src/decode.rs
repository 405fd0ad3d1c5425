//! Reading a request: every fault of a body or its parameters is found, not only the first.
//!
//! serde stops at the first mistake; people who fill in forms, and scripts that print what to
//! correct, want all of them. So requests are decoded by this small trait, and `request!` writes the
//! implementation for a struct. Answers are read by serde, which is quicker.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use crate::error::Violation;

/// A value that can be read from JSON, or from the text of a parameter, reporting every fault.
pub trait Decode: Sized {
    /// Reads `value`; on a fault reports it to `at` and returns nothing.
    fn decode(value: &Value, at: &mut Decoder<'_>) -> Option<Self>;

    /// What a missing member means: by default a fault.
    fn absent(at: &mut Decoder<'_>) -> Option<Self> {
        at.fail("required", "is required");
        None
    }

    /// Whether this value is written by leaving the member out.
    fn is_absent(&self) -> bool {
        false
    }
}

/// Where we are in a request, and what was found wrong so far.
pub struct Decoder<'a> {
    pointer: String,
    violations: &'a mut Vec<Violation>,
    /// Values came as text (query and path parameters), so `"3"` is a number.
    params: bool,
}

impl<'a> Decoder<'a> {
    /// A reader of a body, or of parameters.
    pub fn new(violations: &'a mut Vec<Violation>, params: bool) -> Self {
        Self { pointer: String::new(), violations, params }
    }

    /// Reports a fault at the present place.
    pub fn fail(&mut self, rule: &str, message: impl Into<String>) {
        let pointer = if self.pointer.is_empty() { "/".to_owned() } else { self.pointer.clone() };
        self.violations.push(Violation { pointer, rule: rule.to_owned(), message: message.into() });
    }

    /// Whether values came as text.
    pub fn params(&self) -> bool {
        self.params
    }

    /// Runs `read` one level down.
    pub fn inside<T>(&mut self, name: &str, read: impl FnOnce(&mut Self) -> T) -> T {
        let back = self.pointer.len();
        if self.params {
            self.pointer.push('?');
            self.pointer.push_str(name);
        } else {
            self.pointer.push('/');
            // RFC 6901
            self.pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
        }
        let read = read(self);
        self.pointer.truncate(back);
        read
    }

    /// The members of an object.
    pub fn object<'v>(&mut self, value: &'v Value) -> Option<&'v Map<String, Value>> {
        let object = value.as_object();
        if object.is_none() {
            self.fail("type", "must be an object");
        }
        object
    }

    /// The text of a string.
    pub fn text<'v>(&mut self, value: &'v Value) -> Option<&'v str> {
        let text = value.as_str();
        if text.is_none() {
            self.fail("type", "must be a string");
        }
        text
    }

    /// One member of an object.
    pub fn member<T: Decode>(&mut self, object: &Map<String, Value>, name: &str) -> Option<T> {
        self.inside(name, |at| match object.get(name) {
            Some(value) => T::decode(value, at),
            None => T::absent(at),
        })
    }

    /// Reports the members that do not belong.
    pub fn refuse_unknown(&mut self, object: &Map<String, Value>, known: &[String], read_only: &[&str]) {
        for name in object.keys().filter(|name| !known.contains(name)) {
            let params = self.params;
            self.inside(&printable(name), |at| {
                if params {
                    at.fail(
                        "unknown_parameter",
                        format!("is not a parameter here; valid: {}", known.join(", ")),
                    );
                } else if read_only.contains(&name.as_str()) {
                    at.fail("read_only", "cannot be set here");
                } else {
                    at.fail("unknown_field", format!("is not a member here; valid: {}", known.join(", ")));
                }
            });
        }
    }
}

/// A member name for an error: short, and harmless wherever it is shown.
pub(crate) fn printable(name: &str) -> String {
    crate::text::clean(name).chars().take(64).collect()
}

/// `snake_case` as the wire's `camelCase`.
pub fn camel(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut upper = false;
    for letter in name.chars() {
        if letter == '_' {
            upper = true;
        } else if std::mem::take(&mut upper) {
            out.push(letter.to_ascii_uppercase());
        } else {
            out.push(letter);
        }
    }
    out
}

impl<T: Decode> Decode for Option<T> {
    fn decode(value: &Value, at: &mut Decoder<'_>) -> Option<Self> {
        if value.is_null() { Some(None) } else { T::decode(value, at).map(Some) }
    }
    fn absent(_: &mut Decoder<'_>) -> Option<Self> {
        Some(None)
    }
    fn is_absent(&self) -> bool {
        self.is_none()
    }
}

/// A member of a JSON Merge Patch (RFC 7396): left as it is, or set. `Change<Option<T>>` can also be
/// cleared by null.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Change<T> {
    /// Absent: leave it.
    #[default]
    Keep,
    /// Present: set it.
    Set(T),
}

impl<T> Change<T> {
    /// The new value, if there is one.
    pub fn value(&self) -> Option<&T> {
        match self {
            Self::Keep => None,
            Self::Set(value) => Some(value),
        }
    }

    /// A change that is only made when the value is there.
    pub fn from_option(value: Option<T>) -> Self {
        value.map_or(Self::Keep, Self::Set)
    }
}

impl<T: Decode> Decode for Change<T> {
    fn decode(value: &Value, at: &mut Decoder<'_>) -> Option<Self> {
        T::decode(value, at).map(Self::Set)
    }
    fn absent(_: &mut Decoder<'_>) -> Option<Self> {
        Some(Self::Keep)
    }
    fn is_absent(&self) -> bool {
        matches!(self, Self::Keep)
    }
}

impl<T: Serialize> Serialize for Change<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Keep => to.serialize_none(),
            Self::Set(value) => value.serialize(to),
        }
    }
}

/// Marks a schema whose member may be left out; the OpenAPI writer takes it out again.
pub const OPTIONAL: &str = "x-optional";

impl<T: JsonSchema> JsonSchema for Change<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("Change_{}", T::schema_name()).into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let inner = generator.subschema_for::<T>();
        schemars::json_schema!({ "allOf": [inner], OPTIONAL: true })
    }
}

impl Decode for String {
    fn decode(value: &Value, at: &mut Decoder<'_>) -> Option<Self> {
        let text = at.text(value)?;
        if text.chars().any(char::is_control) {
            at.fail("pattern", "must not contain control characters");
            return None;
        }
        Some(text.to_owned())
    }
}

impl Decode for bool {
    fn decode(value: &Value, at: &mut Decoder<'_>) -> Option<Self> {
        let read = match value {
            Value::Bool(value) => Some(*value),
            Value::String(text) if at.params => match text.as_str() {
                "true" => Some(true),
                "false" => Some(false),
                _ => None,
            },
            _ => None,
        };
        if read.is_none() {
            at.fail("type", "must be true or false");
        }
        read
    }
}

/// A whole number within bounds, or a fault.
pub fn integer(value: &Value, at: &mut Decoder<'_>, min: i64, max: i64) -> Option<i64> {
    let read = match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) if at.params => text.parse().ok(),
        _ => None,
    };
    match read {
        Some(number) if (min..=max).contains(&number) => Some(number),
        Some(_) => {
            at.fail("range", format!("must be between {min} and {max}"));
            None
        }
        None => {
            at.fail("type", "must be a whole number");
            None
        }
    }
}

impl Decode for i64 {
    fn decode(value: &Value, at: &mut Decoder<'_>) -> Option<Self> {
        integer(value, at, Self::MIN, Self::MAX)
    }
}

impl Decode for u32 {
    fn decode(value: &Value, at: &mut Decoder<'_>) -> Option<Self> {
        integer(value, at, 0, i64::from(Self::MAX)).and_then(|n| Self::try_from(n).ok())
    }
}

impl Decode for Value {
    fn decode(value: &Value, _: &mut Decoder<'_>) -> Option<Self> {
        Some(value.clone())
    }
}

impl<T: Decode> Decode for Vec<T> {
    fn decode(value: &Value, at: &mut Decoder<'_>) -> Option<Self> {
        let Some(items) = value.as_array() else {
            at.fail("type", "must be a list");
            return None;
        };
        if items.len() > 1_000 {
            at.fail("length", "must have at most 1000 items");
            return None;
        }
        // every item is read, so that all faults are found
        let read: Vec<Option<T>> = items
            .iter()
            .enumerate()
            .map(|(index, item)| at.inside(&index.to_string(), |at| T::decode(item, at)))
            .collect();
        read.into_iter().collect()
    }
}

impl<T: Decode> Decode for BTreeMap<String, T> {
    fn decode(value: &Value, at: &mut Decoder<'_>) -> Option<Self> {
        let object = at.object(value)?;
        let read: Vec<Option<(String, T)>> = object
            .iter()
            .map(|(name, item)| at.inside(&printable(name), |at| Some((name.clone(), T::decode(item, at)?))))
            .collect();
        read.into_iter().collect()
    }
}

/// Declares a request: the struct, how it is written, its schema, and how it is read.
///
/// Members that a client might send because it saw them in an answer are named after the braces
/// (`read_only: [...]`), so that the refusal says why.
#[macro_export]
macro_rules! request {
    (
        $(#[$meta:meta])*
        pub struct $name:ident { $($(#[$fmeta:meta])* pub $field:ident: $type:ty),* $(,)? }
        $(read_only: [$($read_only:literal),* $(,)?])?
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, serde::Serialize, schemars::JsonSchema)]
        #[serde(rename_all = "camelCase")]
        #[schemars(deny_unknown_fields)]
        pub struct $name {
            $(
                $(#[$fmeta])*
                #[serde(skip_serializing_if = "crate::decode::Decode::is_absent")]
                pub $field: $type,
            )*
        }

        impl $crate::decode::Decode for $name {
            fn decode(
                value: &serde_json::Value,
                at: &mut $crate::decode::Decoder<'_>,
            ) -> Option<Self> {
                static KNOWN: std::sync::LazyLock<Vec<String>> = std::sync::LazyLock::new(|| {
                    vec![$($crate::decode::camel(stringify!($field))),*]
                });
                let object = at.object(value)?;
                at.refuse_unknown(object, &KNOWN, &[$($($read_only),*)?]);
                $(let $field = at.member::<$type>(object, &$crate::decode::camel(stringify!($field)));)*
                Some(Self { $($field: $field?),* })
            }
        }
    };
}
