//! What can be done to a store without a running daemon: make a person, or let one in again, rotate keys.

use std::sync::Arc;

use bursar_shared::{
    field::{Email, Name, Password, RoleName, UserKind, UserStatus},
    id::UserId,
    operations::users::User,
};
use serde_json::json;

pub use crate::keys::{Rotation, Turned};
use crate::{
    auth::Hasher,
    clock::Clock,
    config::Config,
    db::{Db, How, Outcome, Plain, Written, schema_state, urgent},
    error::{BoxError, refuse},
    keys::{self, Wish},
    log::{Draft, Stamp},
    repositories::{roles, users},
    services::auth::end_sessions,
};

/// What became of it.
#[derive(Debug, Clone, PartialEq)]
pub enum Made {
    /// There was nobody with this email.
    Created(User),
    /// There was: they are active again, have the role and the new password, and were signed out.
    Recovered(User),
}

/// Makes a person with a role and a password, or recovers one: works beside a running daemon, which
/// hears of it within a quarter of a second.
///
/// # Errors
/// When the password is weak, the role does not exist, or the store cannot be used.
pub async fn create(
    config: &Config,
    email: Email,
    name: Name,
    role: RoleName,
    password: Password,
) -> Result<Made, BoxError> {
    crate::check_folder(config)?;
    // only what changes the schema needs the folder for itself: a running daemon has it
    if !schema_state(&config.location)?.pending.is_empty() {
        crate::migrate(config)?;
    }
    let hasher = Hasher::new(1)?;
    if let Some(why) = hasher.weakness(password.as_str(), &[email.as_str(), name.as_str()]).await? {
        return Err(format!("the password is too weak: it {why}").into());
    }
    let hash = hasher.hash(password.as_str()).await?;
    let db = Db::for_command(config, Clock::default())?;
    let how = How { stamp: Stamp::system("admin"), key: None, dry_run: false };
    let made = db
        .write(urgent("admin.create"), how, move |tx| {
            let wanted = [role.as_str().to_owned()];
            let roles = roles::named(tx, &wanted)?;
            let Some(role) = roles.get(&wanted[0]) else {
                let why = format!("There is no role {}.", wanted[0]);
                return Err(refuse(bursar_shared::error::ErrorCode::NotFound, why));
            };
            let now = tx.now();
            let found = users::find_by_email(tx, &email)?;
            let recovered = found.is_some();
            let mut row =
                found.unwrap_or_else(|| users::Row::new(UserId::new(), &email, &name, UserKind::Human, now));
            let id: UserId =
                row.id.parse().map_err(|why| crate::error::broken("id of a user")(Box::new(why)))?;
            row.password_hash = Some(hash.clone());
            row.status = UserStatus::Active.as_str().to_owned();
            if recovered {
                row.version += 1;
                row.updated_at = now.micros().max(row.created_at);
                users::update(tx, &row, false)?;
            } else {
                users::insert(tx, &row)?;
            }
            let held =
                users::roles_of(tx, std::slice::from_ref(&row.id))?.remove(&row.id).unwrap_or_default();
            let mut role_ids: Vec<String> =
                roles::named(tx, &held)?.values().map(|role| role.id.clone()).collect();
            if !role_ids.contains(&role.id) {
                role_ids.push(role.id.clone());
            }
            users::set_roles(tx, &id, &role_ids)?;
            if recovered {
                end_sessions(tx, &row.id, None, "recovered")?;
            }
            let user = users::shown(tx, &row)?;
            let kind = if recovered { "user.recovered" } else { "user.created" };
            tx.log(Draft::new(kind, "user", id).version(row.version).data(&json!(user)));
            Ok(Outcome::Done(Plain(if recovered { Made::Recovered(user) } else { Made::Created(user) })))
        })
        .await;
    match made {
        Ok(Written::Done(Plain(made))) => Ok(made),
        Ok(Written::Replayed(_)) => Err("a write without a key was replayed".into()),
        Err(why) => Err(keys::said(why)),
    }
}

/// Rotates the keys that sign tokens: works beside running daemons, which hear of it within a quarter of a
/// second. `dry_run` does it and undoes it; a key that would be made has no name then.
///
/// # Errors
/// When there is no store or it has no keys yet, the master key is not the store's, or, unless keys are revoked,
/// this machine's clock is wrong.
pub async fn rotate_keys(
    config: &Config,
    clock: Clock,
    rotation: Rotation,
    dry_run: bool,
) -> Result<Turned, BoxError> {
    let state = schema_state(&config.location)?;
    if state.applied.is_empty() {
        return Err(format!("there is no store at {:?}", config.location).into());
    }
    if !state.pending.is_empty() {
        return Err("the store is of an older version: run bursar migrate first".into());
    }
    let sealer = Arc::new(keys::sealer(config)?);
    let db = Db::for_command(config, clock.clone())?;
    // a key that leaked is revoked by whatever clock
    if let Some(why) = clock.distrust().filter(|_| rotation != Rotation::RevokeOld) {
        return Err(format!("no key is rotated by a clock that is wrong: {why}").into());
    }
    let how = How { stamp: Stamp::system("admin"), key: None, dry_run };
    let mut turned = keys::turn(&db, sealer, how, Wish::Hand(rotation)).await.map_err(keys::said)?;
    if dry_run && turned.published {
        turned.kid = None;
    }
    Ok(turned)
}
