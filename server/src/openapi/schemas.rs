//! The schemas of requests and answers, as schemars makes them, in the shape that OpenAPI wants.

use bursar_shared::{decode::OPTIONAL, envelope::Meta, error::ApiError};
use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Value, json};

use super::{Member, Object};

/// Requests are read and answers are written, which are two views of one type.
pub(super) struct Schemas {
    requests: SchemaGenerator,
    answers: SchemaGenerator,
}

fn settings() -> SchemaSettings {
    SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    })
}

impl Schemas {
    pub(super) fn new() -> Self {
        let mut answers = settings().for_serialize().into_generator();
        answers.subschema_for::<Meta>();
        answers.subschema_for::<ApiError>();
        Self { requests: settings().for_deserialize().into_generator(), answers }
    }

    /// The schema of a request itself.
    pub(super) fn request<T: JsonSchema>(&mut self) -> Value {
        let mut schema = T::json_schema(&mut self.requests).to_value();
        leave_out(&mut schema, self.requests.definitions());
        tidy(&mut schema);
        schema
    }

    /// The schema of the data of an answer; a reference, if the type has a name.
    pub(super) fn answer<T: JsonSchema>(&mut self) -> Value {
        let mut schema = self.answers.subschema_for::<T>().to_value();
        tidy(&mut schema);
        schema
    }

    /// Whether records of this schema have an id and a version.
    pub(super) fn is_versioned(&self, schema: &Value) -> bool {
        let name = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
        let properties = self.answers.definitions().get(name).map(|definition| &definition["properties"]);
        properties.is_some_and(|properties| {
            properties.get("id").is_some() && properties["version"]["type"] == "integer"
        })
    }

    /// All named schemas.
    pub(super) fn finish(mut self) -> Object {
        let mut all = self.requests.take_definitions(true);
        let named = all.clone();
        all.values_mut().for_each(|definition| leave_out(definition, &named));
        for (name, definition) in self.answers.take_definitions(true) {
            // a type that is both sent and answered must look the same in both directions
            debug_assert!(all.get(&name).is_none_or(|other| *other == definition), "{name} has two shapes");
            all.insert(name, definition);
        }
        for definition in all.values_mut() {
            tidy(definition);
            // said where the type is used: in requests only
            definition.as_object_mut().and_then(|definition| definition.remove(OPTIONAL));
        }
        split_meta(&mut all);
        // what this daemon sends is never the code that a client makes of a newer one
        if let Some(code) = all.get_mut("ErrorCode") {
            for list in ["oneOf", "enum"] {
                if let Some(list) = code.get_mut(list).and_then(Value::as_array_mut) {
                    list.retain(|item| *item != "UNKNOWN" && item["const"] != "UNKNOWN");
                }
            }
        }
        all.insert(
            "ErrorEnvelope".to_owned(),
            json!({
                "type": "object",
                "description": "An answer that says what went wrong.",
                "required": ["data", "error", "meta"],
                "properties": {
                    "data": { "type": "null" },
                    "error": { "$ref": "#/components/schemas/ApiError" },
                    "meta": { "$ref": "#/components/schemas/Meta" },
                },
            }),
        );
        all
    }
}

/// `Meta` says what lists have and others have not; here they are two.
fn split_meta(all: &mut Object) {
    let Some(meta) = all.get_mut("Meta") else { return };
    let mut page = meta.clone();
    if let Some(properties) = meta["properties"].as_object_mut() {
        properties.remove("pagination");
        properties.remove("included");
    }
    page["description"] = "About the page of a list.".into();
    page["properties"]["pagination"] = json!({ "$ref": "#/components/schemas/Pagination" });
    if let Some(required) = page["required"].as_array_mut() {
        required.push("pagination".into());
    }
    all.insert("PageMeta".to_owned(), page);
}

/// A member of a request whose named type is marked may be left out too.
fn leave_out(schema: &mut Value, named: &Object) {
    let is_marked = |member: &Value| {
        let name = member["$ref"].as_str().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
        named.get(name).is_some_and(|definition| definition.get(OPTIONAL).is_some())
    };
    let Some(Value::Object(properties)) = schema.get("properties") else { return };
    let optional: Vec<String> =
        properties.iter().filter(|(_, member)| is_marked(member)).map(|(name, _)| name.clone()).collect();
    if let Some(Value::Array(required)) = schema.get_mut("required") {
        required.retain(|name| !optional.iter().any(|other| name == other));
    }
}

/// Takes the marks of optional members out, and unwraps doc comments, wherever they stand.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(tidy),
        Value::Object(object) => {
            if let Some(Value::String(about)) = object.get_mut("description") {
                *about = super::unwrapped(about);
            }
            let mut optional = Vec::new();
            if let Some(Value::Object(properties)) = object.get_mut("properties") {
                for (name, member) in properties {
                    if member.as_object_mut().is_some_and(|member| member.remove(OPTIONAL).is_some()) {
                        optional.push(name.clone());
                    }
                }
            }
            if let Some(Value::Array(required)) = object.get_mut("required") {
                required.retain(|name| !optional.iter().any(|other| name == other));
                if required.is_empty() {
                    object.remove("required");
                }
            }
            // an optional member is wrapped in order to be marked: unwrapped again
            for wrap in ["allOf", "oneOf"] {
                if let Some(Value::Array(all)) = object.get_mut(wrap)
                    && all.len() == 1
                    && let Some(Value::Object(only)) = all.pop()
                {
                    object.remove(wrap);
                    for (name, value) in only {
                        object.entry(name).or_insert(value);
                    }
                }
            }
            object.values_mut().for_each(tidy);
        }
        _ => {}
    }
}

/// The members of a request's schema.
pub(super) fn members(request: &Value) -> Vec<Member> {
    let required = request["required"].as_array();
    let properties = request["properties"].as_object();
    let each = properties.into_iter().flatten().map(|(name, schema)| {
        let mut schema = schema.clone();
        let about = schema.as_object_mut().and_then(|schema| schema.remove("description"));
        Member {
            name: name.clone(),
            schema,
            about: about.and_then(|about| about.as_str().map(str::to_owned)),
            required: required.is_some_and(|required| required.iter().any(|other| other == name)),
        }
    });
    each.collect()
}
