//! Who may do what: permissions, the sets that hold them, and the roles that every store has.

use std::{collections::BTreeSet, fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A permission as a type, so that an operation's access is checked by the compiler.
pub trait Permit: Send + Sync + 'static {
    /// The permission it stands for.
    const PERMISSION: Permission;
}

macro_rules! permissions {
    ($($name:ident $text:literal $about:literal;)+) => {
        /// One thing that a caller may or may not do.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        pub enum Permission {
            $(#[doc = $about] #[serde(rename = $text)] $name),+
        }

        impl Permission {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// As the wire has it: `resource:action`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),+ }
            }

            /// What it allows, for people.
            pub const fn about(self) -> &'static str {
                match self { $(Self::$name => $about),+ }
            }
        }

        $(
            #[doc = concat!("The permission `", $text, "` as a type.")]
            #[derive(Debug)]
            pub struct $name;
            impl Permit for $name {
                const PERMISSION: Permission = Permission::$name;
            }
        )+
    };
}

permissions! {
    UsersRead "users:read" "See people.";
    UsersWrite "users:write" "Create and edit people.";
    UsersSuspend "users:suspend" "Suspend and activate people.";
    UsersDelete "users:delete" "Delete people.";
    CredentialsReset "credentials:reset" "Start a password reset.";
    CredentialsWrite "credentials:write" "Set ready password hashes.";
    RolesRead "roles:read" "See roles and permissions.";
    RolesWrite "roles:write" "Create and edit roles.";
    RolesGrant "roles:grant" "Give roles to people and take them away.";
    SessionsRead "sessions:read" "See who is signed in.";
    SessionsRevoke "sessions:revoke" "Sign people out.";
    KeysRead "keys:read" "See API keys.";
    KeysWrite "keys:write" "Create and revoke API keys.";
    AccountsRead "accounts:read" "See accounts, their balances, and their statements: with whom money moved, and why.";
    AccountsWrite "accounts:write" "Create and edit accounts.";
    AccountsLimits "accounts:limits" "Set overdrafts and maxima.";
    AccountsFreeze "accounts:freeze" "Freeze and unfreeze accounts.";
    AccountsClose "accounts:close" "Close accounts.";
    TransfersRead "transfers:read" "See transfers.";
    TransfersCreate "transfers:create" "Move money.";
    TransfersReverse "transfers:reverse" "Reverse transfers.";
    LedgerRead "ledger:read" "See the trial balance.";
    LedgerVerify "ledger:verify" "Recompute the ledger.";
    LedgerIssue "ledger:issue" "Move money into and out of the books.";
    OrdersRead "orders:read" "See orders.";
    OrdersWrite "orders:write" "Create and edit orders.";
    OrdersCancel "orders:cancel" "Cancel orders.";
    PaymentsCreate "payments:create" "Take payments.";
    RefundsCreate "refunds:create" "Give money back.";
    AuditRead "audit:read" "See the whole log and verify it.";
    EventsRead "events:read" "See changes as they happen.";
    WebhooksRead "webhooks:read" "See webhooks.";
    WebhooksWrite "webhooks:write" "Create and edit webhooks.";
    SystemRead "system:read" "See figures and health.";
    SystemBackup "system:backup" "Back the store up.";
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Permission {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .iter()
            .copied()
            .find(|permission| permission.as_str() == text)
            .ok_or_else(|| format!("{text} is not a permission"))
    }
}

/// A set of permissions, small enough to copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Permissions(u64);

impl Permissions {
    /// Nothing.
    pub const NONE: Self = Self(0);

    /// Everything.
    pub const fn all() -> Self {
        Self((1 << Permission::ALL.len()) - 1)
    }

    /// These.
    pub const fn of(list: &[Permission]) -> Self {
        let mut bits = 0;
        let mut at = 0;
        while at < list.len() {
            bits |= 1 << list[at] as u64;
            at += 1;
        }
        Self(bits)
    }

    /// Whether it holds this one.
    pub const fn has(self, permission: Permission) -> bool {
        self.0 & (1 << permission as u64) != 0
    }

    /// What either holds.
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What this holds and `other` does not.
    pub const fn minus(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether `other` holds all of this.
    pub const fn is_within(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    /// Whether it holds nothing.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// One after the other, in the order of [`Permission::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Permission> {
        Permission::ALL.iter().copied().filter(move |permission| self.has(*permission))
    }

    /// What a stored grant means: a permission, or a wildcard (`users:*`, `*:read`, `*:*`).
    pub fn of_grant(grant: &str) -> Self {
        let Some((resource, action)) = grant.split_once(':') else { return Self::NONE };
        let matching: Vec<Permission> = Permission::ALL
            .iter()
            .copied()
            .filter(|permission| {
                permission.as_str().split_once(':').is_some_and(|(r, a)| {
                    (resource == "*" || resource == r) && (action == "*" || action == a)
                })
            })
            .collect();
        Self::of(&matching)
    }
}

impl FromIterator<Permission> for Permissions {
    fn from_iter<I: IntoIterator<Item = Permission>>(list: I) -> Self {
        list.into_iter().fold(Self::NONE, |set, one| set.union(Self::of(&[one])))
    }
}

impl Serialize for Permissions {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for Permissions {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        // a permission of a newer daemon is nothing this client can use
        let list = BTreeSet::<String>::deserialize(from)?;
        Ok(list.iter().filter_map(|text| text.parse().ok()).collect())
    }
}

impl JsonSchema for Permissions {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Permissions".into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let one = generator.subschema_for::<Permission>();
        schemars::json_schema!({ "type": "array", "items": one, "uniqueItems": true })
    }
}

/// A role that every store has and nobody can change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BuiltIn {
    /// Its name.
    pub name: &'static str,
    /// What it is for.
    pub description: &'static str,
    /// What it may do.
    pub permissions: Permissions,
}

/// The role that holds everything; somebody active always has it.
pub const OWNER: &str = "owner";

use Permission as P;

const READING: Permissions =
    Permissions::of(&[P::UsersRead, P::OrdersRead, P::AccountsRead, P::TransfersRead, P::EventsRead]);

/// The built-in roles, the mightiest first.
pub const BUILT_IN: &[BuiltIn] = &[
    BuiltIn { name: OWNER, description: "Everything.", permissions: Permissions::all() },
    BuiltIn {
        name: "admin",
        description: "Everything but issuing and reversing money.",
        permissions: Permissions::all().minus(Permissions::of(&[
            P::TransfersReverse,
            P::AccountsLimits,
            P::AccountsClose,
            P::LedgerIssue,
        ])),
    },
    BuiltIn {
        name: "finance",
        description: "Accounts, transfers, reversals and the ledger.",
        permissions: READING.union(Permissions::of(&[
            P::LedgerRead,
            P::LedgerVerify,
            P::OrdersWrite,
            P::OrdersCancel,
            P::PaymentsCreate,
            P::RefundsCreate,
            P::TransfersCreate,
            P::AccountsWrite,
            P::AccountsFreeze,
            P::TransfersReverse,
            P::AccountsLimits,
            P::AccountsClose,
            P::LedgerIssue,
        ])),
    },
    BuiltIn {
        name: "support",
        description: "People, their sessions and their orders.",
        permissions: READING.union(Permissions::of(&[
            P::UsersWrite,
            P::UsersSuspend,
            P::SessionsRevoke,
            P::CredentialsReset,
            P::SessionsRead,
            P::OrdersWrite,
            P::OrdersCancel,
            P::PaymentsCreate,
            P::RefundsCreate,
        ])),
    },
    BuiltIn {
        name: "auditor",
        description: "Reads everything, changes nothing.",
        permissions: READING.union(Permissions::of(&[
            P::SessionsRead,
            P::RolesRead,
            P::KeysRead,
            P::WebhooksRead,
            P::AuditRead,
            P::SystemRead,
            P::LedgerRead,
            P::LedgerVerify,
        ])),
    },
    BuiltIn { name: "customer", description: "Only their own profile.", permissions: Permissions::NONE },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_mean_what_they_say() {
        assert_eq!(Permissions::of_grant("*:*"), Permissions::all());
        assert_eq!(Permissions::of_grant("users:*").iter().count(), 4);
        assert!(Permissions::of_grant("*:read").has(Permission::AuditRead));
        assert!(Permissions::of_grant("users:fly").is_empty());
    }

    #[test]
    fn the_owner_holds_what_any_role_holds() {
        let owner = Permissions::all();
        assert!(BUILT_IN.iter().all(|role| role.permissions.is_within(owner)));
        assert_eq!(owner.iter().count(), Permission::ALL.len());
    }
}
