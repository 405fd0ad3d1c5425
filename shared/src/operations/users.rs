//! People: requests and answers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{accounts::Account, auth::Session};
use crate::{
    decode::{Change, Decode, Decoder},
    error::ApiError,
    field::{
        BulkMode, Email, ExternalId, Metadata, MetadataPatch, Name, Password, PasswordHash, Reason, RoleName,
        UserKind, UserStatus,
    },
    id::UserId,
    money::Currency,
    operation::{Located, plain},
    page::{Field, Include, Kind, Op, Resource},
    permission::{Permission, Permissions},
    request,
    time::Timestamp,
};

/// A person or a service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct User {
    /// Its id.
    pub id: UserId,
    /// Unique among people not deleted.
    pub email: Email,
    /// The name.
    pub name: Name,
    /// Where they stand.
    pub status: UserStatus,
    /// Person or program.
    pub kind: UserKind,
    /// Names of their roles, sorted.
    pub roles: Vec<String>,
    /// The caller's own id.
    pub external_id: Option<ExternalId>,
    /// The caller's own facts.
    pub metadata: Metadata,
    /// When they last signed in.
    pub last_login_at: Option<Timestamp>,
    /// Raised by every edit and change of state.
    pub version: i64,
    /// When they were created.
    pub created_at: Timestamp,
    /// When they were last edited.
    pub updated_at: Timestamp,
    /// With `include=sessions`: their live sessions, newest first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessions: Option<Vec<Session>>,
    /// With `include=accounts`: their accounts, newest first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accounts: Option<Vec<Account>>,
}

impl Resource for User {
    const NAME: &'static str = "users";
    const FIELDS: &'static [Field] = &[
        Field::exact("status", Kind::Word(UserStatus::WORDS)),
        Field::exact("kind", Kind::Word(UserKind::WORDS)),
        Field { name: "role", kind: Kind::Text, ops: &[Op::Eq, Op::In] },
        Field::prefix("email"),
        Field::prefix("name"),
        Field { name: "externalId", kind: Kind::Text, ops: &[Op::Eq, Op::In, Op::IsNull] },
        Field::range("createdAt", Kind::Time),
        Field::optional_range("lastLoginAt", Kind::Time),
    ];
    const SORTS: &'static [&'static str] = &["createdAt", "name", "email"];
    const INCLUDES: &'static [Include] = &[
        Include { name: "sessions", needs: Permission::SessionsRead },
        Include { name: "accounts", needs: Permission::AccountsRead },
    ];
    const SEARCHED: &'static str = "an exact id or email, else at how the words of name and email begin";

    fn id(&self) -> String {
        self.id.to_string()
    }

    fn currencies(&self) -> Vec<Currency> {
        self.accounts.iter().flatten().map(|account| account.currency).collect()
    }
}

impl Located for User {
    fn path(&self) -> String {
        format!("/v1/users/{}", self.id)
    }
}

impl User {
    /// The entity tag: the version, and what changes without an edit.
    pub fn etag(&self) -> String {
        let seen = self.last_login_at.map_or(0, Timestamp::micros);
        format!("\"{}-{seen}\"", self.version)
    }
}

request! {
    /// Creates a person.
    pub struct CreateUser {
        /// Unique among people not deleted.
        pub email: Email,
        /// The name.
        pub name: Name,
        /// A password; without one they cannot sign in until it is reset.
        pub password: Option<Password>,
        /// A ready hash instead of a password; needs `credentials:write`.
        pub password_hash: Option<PasswordHash>,
        /// Role names; needs `roles:grant`.
        pub roles: Option<Vec<RoleName>>,
        /// Person or program; a person when absent.
        pub kind: Option<UserKind>,
        /// The caller's own id.
        pub external_id: Option<ExternalId>,
        /// The caller's own facts.
        pub metadata: Option<Metadata>,
    }
    read_only: ["id", "status", "lastLoginAt", "version", "createdAt", "updatedAt"]
}

request! {
    /// Reads a person.
    pub struct GetUser {
        /// Who.
        pub id: UserId,
        /// What to load along: `sessions`.
        pub include: Option<IncludeOfUser>,
    }
}

/// What can be loaded along with one person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum IncludeOfUser {
    /// Their live sessions.
    Sessions,
}

impl Decode for IncludeOfUser {
    fn decode(value: &Value, at: &mut Decoder<'_>) -> Option<Self> {
        match at.text(value)? {
            "sessions" => Some(Self::Sessions),
            _ => {
                at.fail("invalid_include", "has an unknown name; valid: sessions");
                None
            }
        }
    }
}

request! {
    /// Edits a person: absent members stay as they are, null clears.
    pub struct UpdateUser {
        /// Who.
        pub id: UserId,
        /// The new email.
        pub email: Change<Email>,
        /// The new name.
        pub name: Change<Name>,
        /// The caller's own id.
        pub external_id: Change<Option<ExternalId>>,
        /// Facts to set; null takes one out.
        pub metadata: Change<MetadataPatch>,
    }
    read_only: ["status", "kind", "roles", "lastLoginAt", "version", "createdAt", "updatedAt"]
}

request! {
    /// Deletes a person: softly, the books keep them.
    pub struct DeleteUser {
        /// Who.
        pub id: UserId,
    }
}

request! {
    /// Suspends a person: their sessions end at once.
    pub struct SuspendUser {
        /// Who.
        pub id: UserId,
        /// Why; kept in the log.
        pub reason: Option<Reason>,
    }
}

request! {
    /// Lets a suspended person in again.
    pub struct ActivateUser {
        /// Who.
        pub id: UserId,
        /// Why; kept in the log.
        pub reason: Option<Reason>,
    }
}

request! {
    /// Gives a person exactly these roles.
    pub struct SetUserRoles {
        /// Who.
        pub id: UserId,
        /// All their roles from now on.
        pub roles: Vec<RoleName>,
    }
}

request! {
    /// Makes a one-time token with which the person sets a new password; their sessions end.
    pub struct ResetPassword {
        /// Who.
        pub id: UserId,
    }
}

request! {
    /// What a person may do, and by which role.
    pub struct GetUserPermissions {
        /// Who.
        pub id: UserId,
    }
}

/// What a person may do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EffectivePermissions {
    /// Who.
    pub user_id: UserId,
    /// All they may do; nothing while they are not active.
    pub permissions: Permissions,
    /// Which role gives what.
    pub by_role: std::collections::BTreeMap<String, Permissions>,
}

/// The way to a new password.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PasswordReset {
    /// For `POST /auth/password`; shown once, null in a replay.
    pub reset_token: Option<String>,
    /// Until when it works.
    pub expires_at: Timestamp,
}

impl std::fmt::Debug for PasswordReset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PasswordReset").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

request! {
    /// Many changes to people in one request.
    pub struct BulkUsers {
        /// Whether one failure undoes all.
        pub mode: BulkMode,
        /// Up to 1000 changes, done in order.
        pub items: Vec<BulkItem>,
    }
}

/// What one item of a bulk request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum BulkOp {
    /// As `POST /users`.
    Create,
    /// As `PATCH /users/{id}`.
    Update,
    /// As `POST /users/{id}/suspend`.
    Suspend,
    /// As `POST /users/{id}/activate`.
    Activate,
    /// As `DELETE /users/{id}`.
    Delete,
}

impl Decode for BulkOp {
    fn decode(value: &Value, at: &mut Decoder<'_>) -> Option<Self> {
        match at.text(value)? {
            "create" => Some(Self::Create),
            "update" => Some(Self::Update),
            "suspend" => Some(Self::Suspend),
            "activate" => Some(Self::Activate),
            "delete" => Some(Self::Delete),
            _ => {
                at.fail("enum", "must be one of create, update, suspend, activate, delete");
                None
            }
        }
    }
}

request! {
    /// One change of a bulk request.
    pub struct BulkItem {
        /// What to do.
        pub op: BulkOp,
        /// To whom; not for a create.
        pub id: Option<UserId>,
        /// Only if they still have this version.
        pub if_match: Option<i64>,
        /// The body that the single operation takes.
        pub data: Option<Value>,
    }
}

/// What became of a bulk request, item by item.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BulkResult {
    /// In the order of the request.
    pub items: Vec<BulkOutcome>,
}

/// What became of one item.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BulkOutcome {
    /// Its place in the request, from 0.
    pub index: u32,
    /// The status that the single operation would have had.
    pub status: u16,
    /// The person, if it went well and they were not deleted.
    pub data: Option<User>,
    /// What went wrong, if something did.
    pub error: Option<ApiError>,
}

plain! {
    User, etag User::etag;
    EffectivePermissions;
    PasswordReset;
    BulkResult;
}
