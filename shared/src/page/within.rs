//! A list below one record, as the entries of an account are.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::{Condition, List, Resource};
use crate::decode::{Decode, Decoder};

/// What names a record that has a list of its own.
pub trait Holds<R>: Decode + Serialize + JsonSchema {
    /// What the list is, for documents.
    const ABOUT: &'static str;
}

/// A list below one record.
#[derive(Debug, Clone, PartialEq)]
pub struct Within<I, R: Resource> {
    /// Of which record.
    pub id: I,
    /// Which of its rows.
    pub list: List<R>,
}

impl<I, R: Resource> Within<I, R> {
    /// All conditions, for repositories.
    pub fn filter(&self) -> &[Condition] {
        &self.list.filter
    }
}

impl<I: Serialize, R: Resource> Serialize for Within<I, R> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        use serde::ser::Error;
        let mut members = serde_json::to_value(&self.list).map_err(S::Error::custom)?;
        members["id"] = serde_json::to_value(&self.id).map_err(S::Error::custom)?;
        members.serialize(to)
    }
}

impl<I: Decode, R: Resource> Decode for Within<I, R> {
    fn decode(value: &Value, at: &mut Decoder<'_>) -> Option<Self> {
        let mut members = at.object(value)?.clone();
        let id = members.remove("id");
        let id = at.inside("id", |at| match &id {
            Some(id) => I::decode(id, at),
            None => I::absent(at),
        });
        let list = List::decode(&Value::Object(members), at);
        Some(Self { id: id?, list: list? })
    }
}

impl<I: Holds<R>, R: Resource> JsonSchema for Within<I, R> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("{}Within{}", R::NAME, I::schema_name()).into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = List::<R>::json_schema(generator);
        let id = generator.subschema_for::<I>();
        if let Some(Value::Object(members)) = schema.get_mut("properties") {
            members.insert("id".to_owned(), id.to_value());
        }
        schema.insert("required".to_owned(), serde_json::json!(["id"]));
        schema.insert("description".to_owned(), I::ABOUT.into());
        schema
    }
}
