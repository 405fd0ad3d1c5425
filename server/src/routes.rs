//! Where everything is mounted: one line an operation, and the few endpoints that are none.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Request, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use bursar_shared::error::{ApiError, ErrorCode};
use serde_json::json;

use crate::{
    app::Shared,
    openapi,
    serve::{RouterExt, refused},
    services::{
        accounts, auth, bulk, ledger, log, me, roles, sessions, stream, system, transfers, users as people,
    },
};

/// Everything.
pub fn router(app: Shared) -> Router {
    let operations = Router::new()
        .op(auth::login)
        .op(auth::refresh)
        .op(auth::logout)
        .op(auth::set_password)
        .op(me::get)
        .op(me::update)
        .op(me::change_password)
        .op(me::list_sessions)
        .op(me::end_session)
        .op(me::capabilities)
        .op(people::list)
        .op(people::create)
        .op(bulk::run)
        .op(people::get)
        .op(people::update)
        .op(people::delete)
        .op(people::suspend)
        .op(people::activate)
        .op(people::set_roles)
        .op(people::reset_password)
        .op(people::permissions)
        .op(log::timeline)
        .op(roles::list)
        .op(roles::get)
        .op(roles::permissions)
        .op(sessions::list)
        .op(sessions::revoke)
        .op(sessions::revoke_all)
        .op(accounts::list)
        .op(accounts::create)
        .op(accounts::get)
        .op(accounts::update)
        .op(accounts::freeze)
        .op(accounts::unfreeze)
        .op(accounts::close)
        .op(accounts::balance)
        .op(accounts::entries)
        .op(accounts::statement)
        .op(transfers::list)
        .op(transfers::create)
        .op(transfers::batch)
        .op(transfers::get)
        .op(transfers::capture)
        .op(transfers::void)
        .op(transfers::reverse)
        .op(ledger::trial_balance)
        .op(ledger::flows)
        .op(ledger::verify)
        .op(log::events)
        .stream(stream::follow)
        .op(log::audit)
        .op(log::get)
        .op(log::verify)
        .op(system::stats)
        .op(system::version)
        .op(system::verdict);
    let beside = app.config.metrics_listen.is_none();
    let mut all = operations
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(ready))
        .route("/openapi.json", get(document))
        .route("/.well-known/jwks.json", get(jwks));
    if beside {
        all = all.route("/metrics", get(metrics));
    }
    all.fallback(unknown_path).method_not_allowed_fallback(wrong_method).with_state(app)
}

/// `/metrics` alone, for a listener of its own.
pub fn metrics_router(app: Shared) -> Router {
    Router::new().route("/metrics", get(metrics)).with_state(app)
}

async fn ready(State(app): State<Shared>) -> Response {
    let checked = system::has_owner(&app).await;
    let draining = app.is_draining();
    let database = if checked.is_some() && app.db.takes_writes() { "ok" } else { "unavailable" };
    let owner = match checked {
        Some(true) => "ok",
        Some(false) => "missing",
        None => "unknown",
    };
    // a store without an owner serves, but says so: somebody has to make the first one
    let (wrong, keys) = (app.clock.distrust(), app.keys.wrong());
    // a full disk is said and no reason to send nobody here: there is no other daemon on the store, and who
    // reads it or takes access away must reach this one
    let fine = database == "ok" && !draining && wrong.is_none() && keys.is_none();
    let status = if fine { "ok" } else { "unavailable" };
    let body = json!({
        "status": status,
        "checks": {
            "database": database,
            "owner": owner,
            "draining": draining,
            "clock": wrong.as_deref().unwrap_or("ok"),
            "storage": app.db.room().shortage().unwrap_or("ok"),
            "keys": keys.as_deref().unwrap_or("ok"),
        },
    });
    let code = if fine { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(body)).into_response()
}

async fn document() -> Response {
    static TEXT: std::sync::LazyLock<Arc<str>> =
        std::sync::LazyLock::new(|| openapi::document().to_string().into());
    ([(header::CONTENT_TYPE, "application/json")], TEXT.to_string()).into_response()
}

async fn jwks(State(app): State<Shared>) -> Response {
    ([(header::CACHE_CONTROL, "public, max-age=300")], Json(app.keys.ring.jwks())).into_response()
}

async fn metrics(State(app): State<Shared>) -> Response {
    ledger::show_imbalances(&app).await;
    let text = app.metrics.render();
    ([(header::CONTENT_TYPE, crate::metrics::CONTENT_TYPE)], text).into_response()
}

async fn unknown_path(State(app): State<Shared>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let path: String = bursar_shared::text::clean(parts.uri.path()).chars().take(200).collect();
    let error = ApiError::new(ErrorCode::NotFound, "There is nothing at this path; see /openapi.json.");
    refused(&app, &parts, error.with(json!({ "path": path })))
}

async fn wrong_method(State(app): State<Shared>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let error =
        ApiError::new(ErrorCode::MethodNotAllowed, "This path does not take this method; see /openapi.json.");
    refused(&app, &parts, error)
}
