//! Roles and permissions: requests and answers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    id::RoleId,
    operation::plain,
    page::{Field, Resource, Sort},
    permission::Permissions,
    request,
    time::Timestamp,
};

/// A named set of permissions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Role {
    /// Its id.
    pub id: RoleId,
    /// Its unique name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Whether every store has it and nobody can change it.
    pub built_in: bool,
    /// What it allows.
    pub permissions: Permissions,
    /// Raised by every edit.
    pub version: i64,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last edited.
    pub updated_at: Timestamp,
}

impl Resource for Role {
    const NAME: &'static str = "roles";
    const FIELDS: &'static [Field] = &[Field::prefix("name")];
    const SORTS: &'static [&'static str] = &["name", "createdAt"];
    const DEFAULT_SORT: Sort = Sort { key: "name", descending: false };

    fn id(&self) -> String {
        self.id.to_string()
    }
}

request! {
    /// Reads a role.
    pub struct GetRole {
        /// Which.
        pub id: RoleId,
    }
}

request! {
    /// All permissions there are.
    pub struct ListPermissions {}
}

/// A permission, described.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PermissionInfo {
    /// Its name: `resource:action`.
    pub name: String,
    /// What it allows.
    pub description: String,
}

/// All permissions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct PermissionList(pub Vec<PermissionInfo>);

plain! {
    Role, etag |role| format!("\"{}-0\"", role.version);
    PermissionList;
}
