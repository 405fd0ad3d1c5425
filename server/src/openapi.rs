//! The OpenAPI 3.1 document and the reference in docs/api.md, both made from the table of operations.
//!
//! Nothing is described twice: methods, paths, access and errors come from the table, schemas and words
//! from the types and their doc comments.

mod errors;
mod markdown;
mod paths;
mod schemas;

use bursar_shared::{
    error::ErrorCode,
    operation::{Access, Admits, Answer, Method, Operation},
    operations::{self, Visitor},
};
use schemars::JsonSchema;
use serde_json::{Map, Value, json};

pub use self::markdown::markdown;
use self::schemas::Schemas;

/// A JSON object.
type Object = Map<String, Value>;

/// One operation as both documents need it.
struct Described {
    name: &'static str,
    method: Method,
    path: &'static str,
    access: Access,
    status: u16,
    paged: bool,
    streamed: bool,
    /// Whether it needs an idempotency key.
    keyed: bool,
    /// Whether it is also answered as a table.
    csv: bool,
    /// Beyond the usual ones.
    errors: &'static [ErrorCode],
    body_limit: usize,
    /// The doc comment of the request.
    about: String,
    /// Members in the path.
    path_members: Vec<Member>,
    /// Members of the query, or of the body.
    members: Vec<Member>,
    /// The schema of the answer's data.
    data: Value,
    /// Whether the data has an id and a version, and so the answer an entity tag.
    versioned: bool,
}

/// One member of a request.
struct Member {
    name: String,
    schema: Value,
    about: Option<String>,
    required: bool,
}

impl Described {
    fn is_write(&self) -> bool {
        self.method != Method::Get
    }

    fn is_auth(&self) -> bool {
        self.path.starts_with("/v1/auth/")
    }

    /// Sign-ins have no rehearsal.
    fn has_dry_run(&self) -> bool {
        self.is_write() && !self.is_auth()
    }

    /// Auth endpoints do not use the table of keys, but a refresh says by its key that it is the same again.
    fn has_key(&self) -> bool {
        self.has_dry_run() || self.name == "Refresh"
    }

    /// A bulk request has it in its items.
    fn has_if_match(&self) -> bool {
        self.is_write() && self.errors.contains(&ErrorCode::VersionMismatch) && !self.path.ends_with("/bulk")
    }

    fn has_not_modified(&self) -> bool {
        self.method == Method::Get && self.versioned && !self.paged
    }

    fn tag(&self) -> &'static str {
        let subject = self.path.trim_start_matches("/v1/").split('/').next().unwrap_or_default();
        match subject {
            "auth" => "auth",
            "me" => "me",
            "users" => "users",
            "roles" | "permissions" => "roles",
            "sessions" => "sessions",
            "events" => "events",
            "audit" => "audit",
            "accounts" => "accounts",
            "transfers" => "transfers",
            "ledger" => "ledger",
            _ => "system",
        }
    }

    /// The first sentence of what it does, without the full stop.
    fn summary(&self) -> String {
        let first = self.about.split_inclusive(['.', ';', '?']).next().unwrap_or_default();
        first.trim_end_matches(['.', ';']).to_owned()
    }
}

/// Subjects, in the order of the documents.
const TAGS: &[(&str, &str)] = &[
    ("auth", "Signing in and out."),
    ("me", "One's own profile, password and sessions."),
    ("users", "People and services."),
    ("roles", "Roles and the permissions they give."),
    ("sessions", "Everybody's sign-ins."),
    ("accounts", "Accounts, their balances and entries."),
    ("transfers", "Money that moves, or is held."),
    ("ledger", "The books as a whole."),
    ("events", "What changed."),
    ("audit", "Everything that happened, chained by hashes."),
    ("system", "About the daemon."),
    ("probes", "Outside of the API: health, figures, keys."),
];

struct Reader {
    schemas: Schemas,
    operations: Vec<Described>,
}

impl Visitor for Reader {
    fn operation<O: Operation + JsonSchema>(&mut self) {
        let request = self.schemas.request::<O>();
        let data = self.schemas.answer::<<O::Answer as Answer>::Data>();
        let about = match request.get("description").and_then(Value::as_str) {
            Some(about) => unwrapped(about),
            // lists are one type; their name says it
            None => format!("{}.", words(O::NAME)),
        };
        let in_path: Vec<&str> =
            O::PATH.split(['{', '}']).enumerate().filter(|(n, _)| n % 2 == 1).map(|(_, name)| name).collect();
        let (path_members, members) = schemas::members(&request)
            .into_iter()
            .partition(|member| in_path.contains(&member.name.as_str()));
        self.operations.push(Described {
            name: O::NAME,
            method: O::METHOD,
            path: O::PATH,
            access: <O::Access as Admits>::ACCESS,
            status: O::Answer::STATUS,
            paged: O::Answer::PAGED,
            streamed: O::Answer::STREAMED,
            keyed: O::KEYED,
            csv: O::Answer::TABLE,
            errors: O::ERRORS,
            body_limit: O::BODY_LIMIT,
            about,
            path_members,
            members,
            versioned: self.schemas.is_versioned(&data),
            data,
        });
    }
}

fn read() -> Reader {
    let mut reader = Reader { schemas: Schemas::new(), operations: Vec::new() };
    operations::visit(&mut reader);
    reader
}

/// A doc comment as one line a paragraph.
fn unwrapped(text: &str) -> String {
    text.split("\n\n").map(|part| part.replace('\n', " ")).collect::<Vec<_>>().join("\n\n")
}

/// `ListUsers` as `List users`.
fn words(name: &str) -> String {
    let mut text = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !text.is_empty() {
            text.push(' ');
            text.extend(letter.to_lowercase());
        } else {
            text.push(letter);
        }
    }
    text
}

fn lower_camel(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

/// The OpenAPI 3.1 document: `/openapi.json`.
pub fn document() -> Value {
    let Reader { schemas, operations } = read();
    let mut components = errors::Responses::default();
    let mut bodies = Object::new();
    let mut paths = Object::new();
    for operation in &operations {
        let item = paths.entry(operation.path).or_insert_with(|| json!({}));
        item[operation.method.as_str().to_lowercase()] =
            paths::operation(operation, &mut components, &mut bodies);
    }
    for (path, item) in paths::probes() {
        paths.insert(path.to_owned(), item);
    }
    let mut definitions = schemas.finish();
    definitions.append(&mut bodies);
    let tags: Vec<Value> =
        TAGS.iter().map(|(name, about)| json!({ "name": name, "description": about })).collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Bursar",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The back office in your terminal: users, orders and money behind one patterned API. \
                Every answer is an envelope of data, error and meta.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/", "description": "This daemon." }],
        "tags": tags,
        "security": [{ "bearer": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": { "bearer": {
                "type": "http", "scheme": "bearer", "bearerFormat": "JWT",
                "description": "The access token of a sign-in.",
            } },
            "schemas": definitions,
            "responses": components.finish(),
            "headers": paths::headers(),
            "parameters": paths::parameters(),
        },
    })
}

#[cfg(test)]
#[path = "openapi_tests.rs"]
mod tests;
