//! One operation of the document: parameters, body and answers; and what lies outside of the table.

use bursar_shared::operation::Access;
use serde_json::{Value, json};

use super::{Described, Member, Object, errors, lower_camel};

fn parameter(name: &str) -> Value {
    json!({ "$ref": format!("#/components/parameters/{name}") })
}

fn header(name: &str) -> Value {
    json!({ "$ref": format!("#/components/headers/{name}") })
}

/// A parameter is text: it can be left out, but not null.
fn without_null(mut schema: Value) -> Value {
    if let Some(kinds) = schema.get_mut("type").and_then(Value::as_array_mut) {
        kinds.retain(|kind| kind != "null");
        if let [only] = kinds.as_slice() {
            schema["type"] = only.clone();
        }
    }
    if let Some(any) = schema.get_mut("anyOf").and_then(Value::as_array_mut) {
        any.retain(|one| one["type"] != "null");
        if let [only] = any.as_slice() {
            return only.clone();
        }
    }
    schema
}

fn as_parameter(member: &Member, place: &str) -> Value {
    let mut parameter = json!({
        "name": member.name,
        "in": place,
        "required": member.required || place == "path",
        "schema": without_null(member.schema.clone()),
    });
    if let Some(about) = &member.about {
        parameter["description"] = about.as_str().into();
    }
    parameter
}

/// The operation object.
pub(super) fn operation(
    operation: &Described,
    components: &mut errors::Responses,
    bodies: &mut Object,
) -> Value {
    let mut parameters: Vec<Value> =
        operation.path_members.iter().map(|member| as_parameter(member, "path")).collect();
    if !operation.method.has_body() {
        parameters.extend(operation.members.iter().map(|member| as_parameter(member, "query")));
    }
    for (applies, name) in [
        (operation.has_dry_run(), "dryRun"),
        (operation.has_key() && !operation.keyed, "Idempotency-Key"),
        (operation.keyed, "Required-Idempotency-Key"),
        (operation.has_if_match(), "If-Match"),
        (operation.has_not_modified(), "If-None-Match"),
        (operation.streamed, "Last-Event-ID"),
        (true, "X-Request-Id"),
    ] {
        if applies {
            parameters.push(parameter(name));
        }
    }
    let mut answers = Object::new();
    answers.insert(operation.status.to_string(), success(operation));
    if operation.status != 200 && operation.has_dry_run() {
        let mut rehearsed = success(operation);
        rehearsed["description"] = "What would have happened; nothing was changed.".into();
        answers.insert("200".to_owned(), rehearsed);
    }
    if operation.has_not_modified() {
        let description = "Not changed since the entity tag was sent.";
        answers.insert(
            "304".to_owned(),
            json!({ "description": description, "headers": { "ETag": header("ETag") } }),
        );
    }
    for (status, codes) in errors::of(operation) {
        answers.insert(status.to_string(), components.refer(&codes));
    }
    for (status, name) in [("414", "UriTooLong"), ("431", "HeadTooLarge")] {
        answers.insert(status.to_owned(), json!({ "$ref": format!("#/components/responses/{name}") }));
    }
    let mut object = json!({
        "operationId": lower_camel(operation.name),
        "tags": [operation.tag()],
        "summary": operation.summary(),
        "description": description(operation),
        "parameters": parameters,
        "responses": answers,
    });
    match operation.access {
        Access::Public => object["security"] = json!([]),
        Access::SignedIn => {}
        Access::Needs(permission) => object["x-permission"] = permission.as_str().into(),
    }
    if operation.method.has_body() {
        let name = format!("{}Request", operation.name);
        bodies.insert(name.clone(), body(&operation.members));
        object["requestBody"] = json!({
            // a body without required members may be left out
            "required": operation.members.iter().any(|member| member.required),
            "content": { "application/json": {
                "schema": { "$ref": format!("#/components/schemas/{name}") },
            } },
        });
    }
    object
}

fn description(operation: &Described) -> String {
    let who = match operation.access {
        Access::Public => "Everybody may.".to_owned(),
        Access::SignedIn => "Whoever is signed in may.".to_owned(),
        Access::Needs(permission) => format!("Needs `{permission}`."),
    };
    format!("{}\n\n{who}", operation.about)
}

/// The body: what is left of the request without the members of the path.
fn body(members: &[Member]) -> Value {
    let mut properties = Object::new();
    for member in members {
        let mut schema = member.schema.clone();
        if let (Some(schema), Some(about)) = (schema.as_object_mut(), &member.about) {
            schema.insert("description".to_owned(), about.as_str().into());
        }
        properties.insert(member.name.clone(), schema);
    }
    let mut body = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    let required: Vec<&str> =
        members.iter().filter(|member| member.required).map(|member| member.name.as_str()).collect();
    if !required.is_empty() {
        body["required"] = json!(required);
    }
    body
}

fn success(operation: &Described) -> Value {
    let mut headers = json!({});
    for (applies, name) in [
        (true, "X-Request-Id"),
        (true, "RateLimit"),
        (true, "RateLimit-Policy"),
        (operation.status == 201, "Location"),
        (operation.versioned && !operation.paged, "ETag"),
        (operation.paged, "Link"),
        (operation.has_dry_run(), "Idempotency-Replayed"),
    ] {
        if applies {
            headers[name] = header(name);
        }
    }
    if operation.streamed {
        return json!({
            "description": "Server-sent events until the caller or the daemon ends them; the data of a row is:",
            "headers": headers,
            // OpenAPI 3.1 describes the whole text; 3.2 will have a word for one item of it
            "content": { "text/event-stream": {
                "schema": { "type": "string" }, "x-item-schema": operation.data,
            } },
        });
    }
    let (meta, description) = match (operation.paged, operation.status) {
        (true, _) => ("PageMeta", "A page of the list."),
        (false, 201) => ("Meta", "Created."),
        (false, _) => ("Meta", "Done."),
    };
    let mut content = json!({ "application/json": { "schema": {
        "type": "object",
        "required": ["data", "error", "meta"],
        "properties": {
            "data": operation.data,
            "error": { "type": "null" },
            "meta": { "$ref": format!("#/components/schemas/{meta}") },
        },
    } } });
    if operation.csv {
        content["text/csv"] = json!({ "schema": { "type": "string" } });
    }
    json!({ "description": description, "headers": headers, "content": content })
}

/// Parameters that many operations share.
pub(super) fn parameters() -> Value {
    json!({
        "dryRun": {
            "name": "dryRun", "in": "query", "required": false,
            "schema": { "type": "boolean", "default": false },
            "description": "Do everything, answer 200 with what would have happened, and change nothing.",
        },
        "Idempotency-Key": {
            "name": "Idempotency-Key", "in": "header", "required": false,
            "schema": { "type": "string", "minLength": 16, "maxLength": 128, "pattern": "^[!-~]+$" },
            "description": "The same request with the same key is done once, and answered the same again.",
        },
        "Required-Idempotency-Key": {
            "name": "Idempotency-Key", "in": "header", "required": true,
            "schema": { "type": "string", "minLength": 16, "maxLength": 128, "pattern": "^[!-~]+$" },
            "description": "Money moves only with a key: the same request with the same key moves it once, and is \
                answered the same again. Not asked for with dryRun.",
        },
        "If-Match": {
            "name": "If-Match", "in": "header", "required": false,
            "schema": { "type": "string" },
            "description": "The entity tag of the copy that this is based on; a stale one is refused.",
        },
        "If-None-Match": {
            "name": "If-None-Match", "in": "header", "required": false,
            "schema": { "type": "string" },
            "description": "The entity tag of the copy at hand; answered 304 while it is still true.",
        },
        "Last-Event-ID": {
            "name": "Last-Event-ID", "in": "header", "required": false,
            "schema": { "type": "string", "pattern": "^[0-9]+$" },
            "description": "The last row that came before the stream broke off; it goes on after that.",
        },
        "X-Request-Id": {
            "name": "X-Request-Id", "in": "header", "required": false,
            "schema": { "type": "string", "minLength": 8, "maxLength": 64, "pattern": "^[A-Za-z0-9_-]+$" },
            "description": "What the log shall call the request; another form is replaced.",
        },
    })
}

/// Headers that many answers share.
pub(super) fn headers() -> Value {
    let text = |about: &str| json!({ "description": about, "schema": { "type": "string" } });
    json!({
        "X-Request-Id": text("What the log calls the request."),
        "RateLimit": text("How much is left: \"session\";r=5999;t=1."),
        "RateLimit-Policy": text("How much is allowed: \"session\";q=6000;w=60."),
        "Retry-After": { "description": "Seconds to wait.", "schema": { "type": "integer", "minimum": 1 } },
        "Location": text("Where what was created is found."),
        "ETag": text("The version, for If-Match and If-None-Match."),
        "Link": text("The first, the next and the page before."),
        "Idempotency-Replayed": text("true, when this was answered before."),
    })
}

/// What lies outside of the table: public, without envelope, not limited.
pub(super) fn probes() -> [(&'static str, Value); 5] {
    let get = |id: &str, summary: &str, responses: Value| {
        json!({ "get": {
            "operationId": id, "tags": ["probes"], "summary": summary, "security": [], "responses": responses,
        } })
    };
    let json_of = |schema: Value| json!({ "application/json": { "schema": schema } });
    let ready = |about: &str| {
        let schema = json!({
            "type": "object",
            "required": ["status", "checks"],
            "properties": { "status": { "type": "string" }, "checks": { "type": "object" } },
        });
        json!({ "description": about, "content": json_of(schema) })
    };
    let keys = json!({
        "type": "object",
        "required": ["keys"],
        "properties": { "keys": { "type": "array", "items": { "type": "object" } } },
    });
    [
        (
            "/healthz",
            get("healthz", "Whether the process lives", json!({ "200": { "description": "It does." } })),
        ),
        (
            "/readyz",
            get(
                "readyz",
                "Whether requests can be answered",
                json!({ "200": ready("They can."), "503": ready("They cannot just now.") }),
            ),
        ),
        (
            "/metrics",
            get(
                "metrics",
                "Figures for Prometheus",
                json!({ "200": {
                    "description": "In the text format 0.0.4.",
                    "content": { "text/plain": { "schema": { "type": "string" } } },
                } }),
            ),
        ),
        (
            "/openapi.json",
            get(
                "openapi",
                "This document",
                json!({ "200": { "description": "OpenAPI 3.1.", "content": json_of(json!({ "type": "object" })) } }),
            ),
        ),
        (
            "/.well-known/jwks.json",
            get(
                "jwks",
                "The public keys that access tokens are signed with",
                json!({ "200": { "description": "A JWK set.", "content": json_of(keys) } }),
            ),
        ),
    ]
}
