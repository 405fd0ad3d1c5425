//! What can be done to a store without a running daemon: make a person, or let one in again, rotate keys.

use std::sync::Arc;

use bursar_shared::{
    field::{Email, Name, Password, RoleName, UserKind, UserStatus},
    id::UserId,
    operations::users::User,
};
use serde_json::json;

use crate::{
    auth::Hasher,
    clock::Clock,
    config::Config,
    db::{Db, How, Outcome, Plain, Room, Written, schema_state, urgent},
    error::{BoxError, refuse},
    keys::{self, Turned, Wish},
    log::{Bus, Draft, Stamp},
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
    // what is kept back belongs to the daemon that holds the store; what it gave up is there for us too
    let room = Room::unkept();
    let (clock, bus) = (Clock::default(), Bus::default());
    let db = Db::open(&config.location, 1, config.group, clock, bus, Default::default(), room)?;
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

/// How the keys that sign tokens are rotated by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotation {
    /// Another key is published, and signs in a day, when everybody knows it.
    Soon,
    /// Another key signs within ten seconds, when all daemons know it; other services may not.
    Now,
    /// Another key signs at once; all tokens and sessions of before are over.
    RevokeOld,
}

/// What a rotation came to, or would.
pub type Rotated = Turned;

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
) -> Result<Rotated, BoxError> {
    let state = schema_state(&config.location)?;
    if state.applied.is_empty() {
        return Err(format!("there is no store at {:?}", config.location).into());
    }
    if !state.pending.is_empty() {
        return Err("the store is of an older version: run bursar migrate first".into());
    }
    let sealer = Arc::new(keys::sealer(config)?);
    let room = Room::unkept();
    let db =
        Db::open(&config.location, 1, config.group, clock.clone(), Bus::default(), Default::default(), room)?;
    let wish = match rotation {
        Rotation::Soon => Wish::Soon,
        Rotation::Now => Wish::Now,
        Rotation::RevokeOld => Wish::Revoke,
    };
    // a key that leaked is revoked by whatever clock
    if let Some(why) = clock.distrust().filter(|_| wish != Wish::Revoke) {
        return Err(format!("no key is rotated by a clock that is wrong: {why}").into());
    }
    let how = How { stamp: Stamp::system("admin"), key: None, dry_run };
    let mut turned = keys::turn(&db, sealer, how, wish).await.map_err(keys::said)?;
    if dry_run && turned.published {
        turned.kid = None;
    }
    Ok(turned)
}
