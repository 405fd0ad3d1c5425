//! Signing in and out, one's own profile and sessions: requests and answers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::users::User;
use crate::{
    decode::Change,
    field::{Email, Name, Password, Secret},
    id::{SessionId, UserId},
    operation::{Located, plain},
    page::{Field, Include, Kind, Op, Resource, Sort},
    permission::{Permission, Permissions},
    request,
    time::Timestamp,
};

request! {
    /// Signs in with email and password.
    pub struct Login {
        /// Who.
        pub email: Email,
        /// The password.
        pub password: Secret,
    }
}

request! {
    /// Trades a refresh token for a new pair. Sent again with the same `Idempotency-Key` it answers
    /// the same pair, as long as that was not used.
    pub struct Refresh {
        /// The refresh token.
        pub refresh_token: Secret,
    }
}

request! {
    /// Ends the present session, or the one the refresh token belongs to.
    pub struct Logout {
        /// Whose session to end, if not the present one.
        pub refresh_token: Option<Secret>,
    }
}

request! {
    /// Sets a password with the one-time token of a reset.
    pub struct SetPassword {
        /// The one-time token.
        pub reset_token: Secret,
        /// The new password.
        pub new_password: Password,
    }
}

request! {
    /// Who am I?
    pub struct Me {}
}

request! {
    /// Edits one's own profile.
    pub struct UpdateMe {
        /// The new name.
        pub name: Change<Name>,
    }
    read_only: ["id", "email", "status", "kind", "roles", "externalId", "metadata", "lastLoginAt", "version", "createdAt", "updatedAt"]
}

request! {
    /// Changes one's own password; all other sessions end.
    pub struct ChangePassword {
        /// The password so far.
        pub current_password: Secret,
        /// The new password.
        pub new_password: Password,
    }
}

request! {
    /// One's own live sessions.
    pub struct MySessions {}
}

request! {
    /// Ends one of one's own sessions.
    pub struct EndMySession {
        /// Which.
        pub id: SessionId,
    }
}

request! {
    /// What the caller may do, and what this daemon can.
    pub struct GetCapabilities {}
}

/// A signed-in pair of tokens.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tokens {
    /// Goes with every request: a JWT, signed with EdDSA.
    pub access_token: String,
    /// Until when.
    pub access_expires_at: Timestamp,
    /// Buys the next pair, once.
    pub refresh_token: String,
    /// Until when.
    pub refresh_expires_at: Timestamp,
    /// Always `Bearer`.
    pub token_type: String,
    /// Who signed in.
    pub user: User,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").field("user", &self.user.id).finish_non_exhaustive()
    }
}

/// One sign-in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    /// Its id; the `sid` of its tokens.
    pub id: SessionId,
    /// Who.
    pub user_id: UserId,
    /// Whether the caller uses it now.
    pub current: bool,
    /// Where it was begun.
    pub ip: Option<String>,
    /// By which program.
    pub user_agent: Option<String>,
    /// When it was begun.
    pub created_at: Timestamp,
    /// When it was last refreshed.
    pub last_used_at: Timestamp,
    /// When it ends by itself.
    pub expires_at: Timestamp,
    /// When it was ended.
    pub revoked_at: Option<Timestamp>,
    /// With `include=user`: whose it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<Box<User>>,
}

impl Resource for Session {
    const NAME: &'static str = "sessions";
    const FIELDS: &'static [Field] = &[
        Field::exact("userId", Kind::Id(UserId::PREFIX)),
        Field::range("createdAt", Kind::Time),
        Field::range("lastUsedAt", Kind::Time),
        Field::range("expiresAt", Kind::Time),
        Field { name: "revokedAt", kind: Kind::Time, ops: &[Op::IsNull] },
    ];
    const SORTS: &'static [&'static str] = &["createdAt", "lastUsedAt"];
    const DEFAULT_SORT: Sort = Sort { key: "createdAt", descending: true };
    const INCLUDES: &'static [Include] = &[Include { name: "user", needs: Permission::UsersRead }];

    fn id(&self) -> String {
        self.id.to_string()
    }
}

impl Located for Session {
    fn path(&self) -> String {
        format!("/v1/sessions/{}", self.id)
    }
}

/// A few sessions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Sessions(pub Vec<Session>);

/// What the caller may do, and what this daemon can.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Capabilities {
    /// The caller.
    pub user_id: UserId,
    /// The caller's roles.
    pub roles: Vec<String>,
    /// The caller's permissions.
    pub permissions: Permissions,
    /// Names of the operations the caller may call.
    pub operations: Vec<String>,
    /// `sqlite` or `postgres`.
    pub engine: String,
}

request! {
    /// Ends a session.
    pub struct RevokeSession {
        /// Which.
        pub id: SessionId,
    }
}

request! {
    /// Ends all sessions of a person.
    pub struct RevokeSessions {
        /// Whose.
        pub user_id: UserId,
    }
}

/// How many sessions were ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Revoked {
    /// That many.
    pub revoked: u64,
}

plain! {
    Tokens;
    Sessions;
    Capabilities;
    Revoked;
}
