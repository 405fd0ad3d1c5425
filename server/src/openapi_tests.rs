//! The document is complete and refers to nothing that is not there.

use std::collections::BTreeSet;

use super::*;

fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        Value::Object(members) => {
            found.extend(members.get("$ref").and_then(Value::as_str));
            members.values().for_each(|member| references(member, found));
        }
        _ => {}
    }
}

#[test]
fn has_every_operation_once() {
    let document = document();
    let mut ids = BTreeSet::new();
    for row in operations::ALL {
        let operation = &document["paths"][row.path][row.method.as_str().to_lowercase()];
        assert_eq!(operation["operationId"], lower_camel(row.name), "{}", row.path);
        assert!(ids.insert(operation["operationId"].to_string()));
        assert!(!operation["summary"].as_str().unwrap().is_empty());
        assert!(TAGS.iter().any(|(tag, _)| operation["tags"][0] == *tag));
        match row.access {
            Access::Public => assert_eq!(operation["security"], json!([])),
            Access::SignedIn => {
                assert!(operation["security"].is_null() && operation["x-permission"].is_null())
            }
            Access::Needs(permission) => assert_eq!(operation["x-permission"], permission.as_str()),
        }
        for status in ["400", "405", "413", "422", "429", "500", "503", "504"] {
            assert!(operation["responses"][status].is_object(), "{} {status}", row.name);
        }
        // every member of the path is described
        let described =
            operation["parameters"].as_array().unwrap().iter().filter(|one| one["in"] == "path").count();
        assert_eq!(described, row.path.matches('{').count(), "{}", row.path);
    }
    let all: usize =
        document["paths"].as_object().unwrap().values().map(|item| item.as_object().unwrap().len()).sum();
    assert_eq!(all, operations::ALL.len() + 5);
}

#[test]
fn refers_to_what_is_there_and_uses_what_is_there() {
    let document = document();
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    for path in &found {
        assert!(document.pointer(path.strip_prefix('#').unwrap()).is_some(), "{path}");
    }
    for kind in ["schemas", "responses", "headers", "parameters"] {
        for name in document["components"][kind].as_object().unwrap().keys() {
            assert!(
                found.contains(format!("#/components/{kind}/{name}").as_str()),
                "{kind}/{name} is not used"
            );
        }
    }
    // the marks of optional members did their work
    assert!(!document.to_string().contains(bursar_shared::decode::OPTIONAL));
}

#[test]
fn uses_every_error_code() {
    let responses = document()["components"]["responses"].to_string();
    let schema = document()["components"]["schemas"]["ErrorCode"].to_string();
    for code in ErrorCode::ALL {
        assert!(schema.contains(&format!("\"{code}\"")), "{code}");
        assert!(responses.contains(&format!("\"{code}\"")), "{code}");
    }
    assert!(!schema.contains("UNKNOWN"));
}

#[test]
fn describes_parameters_bodies_and_headers() {
    let document = document();
    let names = |path: &str, method: &str| -> Vec<String> {
        let parameters = document["paths"][path][method]["parameters"].as_array().unwrap();
        let name = |one: &Value| match one["$ref"].as_str() {
            Some(path) => path.rsplit('/').next().unwrap().to_owned(),
            None => format!("{}:{}", one["in"].as_str().unwrap(), one["name"].as_str().unwrap()),
        };
        parameters.iter().map(name).collect()
    };
    let list = names("/v1/users", "get");
    for name in ["query:page", "query:cursor", "query:filter[status]", "query:sort", "query:include"] {
        assert!(list.contains(&name.to_owned()), "{name}: {list:?}");
    }
    assert!(!list.contains(&"dryRun".to_owned()));
    let update = names("/v1/users/{id}", "patch");
    assert_eq!(update, ["path:id", "dryRun", "Idempotency-Key", "If-Match", "X-Request-Id"]);
    assert_eq!(names("/v1/auth/login", "post"), ["X-Request-Id"]);
    assert!(names("/v1/events/stream", "get").contains(&"Last-Event-ID".to_owned()));
    assert_eq!(names("/v1/auth/refresh", "post"), ["Idempotency-Key", "X-Request-Id"]);

    let schemas = &document["components"]["schemas"];
    assert_eq!(schemas["LoginRequest"]["required"], json!(["email", "password"]));
    assert_eq!(schemas["LoginRequest"]["additionalProperties"], json!(false));
    // everything of an edit may be left out, and the id stands in the path
    assert!(schemas["UpdateUserRequest"]["required"].is_null());
    assert!(schemas["UpdateUserRequest"]["properties"]["id"].is_null());
    assert_eq!(schemas["CreateUserRequest"]["required"], json!(["email", "name"]));

    let users = &document["paths"]["/v1/users"];
    let created = &users["post"]["responses"]["201"];
    assert!(created["headers"]["Location"].is_object() && users["post"]["responses"]["200"].is_object());
    let meta = |answer: &Value| {
        answer["content"]["application/json"]["schema"]["properties"]["meta"]["$ref"].clone()
    };
    assert_eq!(meta(created), "#/components/schemas/Meta");
    assert_eq!(meta(&users["get"]["responses"]["200"]), "#/components/schemas/PageMeta");
    assert!(schemas["Meta"]["properties"]["pagination"].is_null());
    assert!(schemas["PageMeta"]["required"].as_array().unwrap().contains(&"pagination".into()));
    assert!(document["paths"]["/v1/users/{id}"]["get"]["responses"]["304"].is_object());
    assert!(document["paths"]["/v1/version"]["get"]["responses"]["304"].is_null());
}

#[test]
fn the_reference_names_every_operation_and_every_code() {
    let text = markdown();
    for row in operations::ALL {
        assert!(text.contains(&format!("### {} `{}`\n", row.method.as_str(), row.path)), "{}", row.path);
        assert!(text.contains(&format!("- operation: `{}`\n", row.name)));
    }
    for code in ErrorCode::ALL {
        assert!(text.contains(&format!("| `{code}`")), "{code}");
    }
}
