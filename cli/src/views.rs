//! What tables, TSV and CSV show of each kind of record. Columns are only added at the end: scripts
//! count them.

use crate::output::{Column, View};

const fn col(title: &'static str, path: &'static str) -> Column {
    Column { title, path, wide: false }
}

/// A column that tables have only when they may be wide.
const fn far(title: &'static str, path: &'static str) -> Column {
    Column { title, path, wide: true }
}

/// People.
pub(crate) const USERS: View = View {
    name: "users",
    key: "id",
    columns: &[
        col("Id", "id"),
        col("Email", "email"),
        col("Name", "name"),
        col("Roles", "roles"),
        col("Status", "status"),
        col("Created", "createdAt"),
    ],
};

/// Roles.
pub(crate) const ROLES: View = View {
    name: "roles",
    key: "id",
    columns: &[
        col("Id", "id"),
        col("Name", "name"),
        col("Built in", "builtIn"),
        col("Description", "description"),
    ],
};

/// Permissions.
pub(crate) const PERMISSIONS: View = View {
    name: "permissions",
    key: "name",
    columns: &[col("Name", "name"), col("Description", "description")],
};

/// What somebody may do, and by which role.
pub(crate) const GRANTS: View = View {
    name: "permissions",
    key: "permission",
    columns: &[col("Permission", "permission"), col("By", "by")],
};

/// Sessions.
pub(crate) const SESSIONS: View = View {
    name: "sessions",
    key: "id",
    columns: &[
        col("Id", "id"),
        col("User", "userId"),
        far("Current", "current"),
        col("Ip", "ip"),
        far("Program", "userAgent"),
        far("Created", "createdAt"),
        col("Last used", "lastUsedAt"),
        far("Expires", "expiresAt"),
        col("Revoked", "revokedAt"),
    ],
};

/// Keys that sign tokens, and what became of those before.
#[cfg(feature = "server")]
pub(crate) const KEYS: View = View {
    name: "keys",
    key: "kid",
    columns: &[
        col("Key", "kid"),
        col("Signs from", "signsFrom"),
        col("Published", "published"),
        col("Sessions ended", "sessionsEnded"),
        col("Revoked", "revoked"),
    ],
};

/// Changes that were sent again, and what they came to.
pub(crate) const RESUMED: View = View {
    name: "pending",
    key: "key",
    columns: &[
        col("Key", "key"),
        col("Done before", "replayed"),
        col("Made", "data.id"),
        col("Result", "result"),
    ],
};

const LOG: &[Column] = &[
    col("Seq", "seq"),
    col("Time", "timestamp"),
    col("Type", "type"),
    col("Actor", "actor.id"),
    col("Resource", "resource.id"),
    far("Request", "requestId"),
    far("Id", "id"),
];

/// Events.
pub(crate) const EVENTS: View = View { name: "events", key: "id", columns: LOG };
/// The audit log.
pub(crate) const AUDIT: View = View { name: "audit", key: "id", columns: LOG };

/// What the chain of hashes says.
pub(crate) const AUDIT_REPORT: View = View {
    name: "audit",
    key: "headSeq",
    columns: &[
        col("Ok", "ok"),
        col("Checked", "checked"),
        col("Head", "headSeq"),
        col("First broken", "firstBrokenSeq"),
    ],
};

/// Figures.
pub(crate) const STATS: View = View {
    name: "stats",
    key: "version",
    columns: &[
        col("Active people", "users.active"),
        col("Suspended people", "users.suspended"),
        col("Deleted people", "users.deleted"),
        col("New people (7 days)", "users.createdLastWeek"),
        col("Live sessions", "sessionsActive"),
        col("Log head", "logHead"),
        col("Uptime (s)", "uptimeSeconds"),
        col("Engine", "engine"),
        col("Version", "version"),
    ],
};

/// A way to a new password.
pub(crate) const RESET: View = View {
    name: "password-reset",
    key: "resetToken",
    columns: &[col("Reset token", "resetToken"), col("Expires", "expiresAt")],
};

/// What a bulk revocation did.
pub(crate) const REVOKED: View =
    View { name: "sessions", key: "revoked", columns: &[col("Revoked", "revoked")] };

/// Contexts.
pub(crate) const CONTEXTS: View = View {
    name: "contexts",
    key: "name",
    columns: &[
        col("Name", "name"),
        col("Current", "current"),
        col("Server", "server"),
        col("Email", "email"),
        col("Protect", "protect"),
        col("Signed in", "signedIn"),
    ],
};

/// Who is signed in here.
pub(crate) const STATUS: View = View {
    name: "status",
    key: "email",
    columns: &[
        col("Context", "context"),
        col("Server", "server"),
        col("Signed in", "signedIn"),
        col("By", "by"),
        col("Email", "email"),
        col("Access until", "accessExpiresAt"),
        col("Session until", "refreshExpiresAt"),
        col("Protect", "protect"),
    ],
};

/// Accounts.
pub(crate) const ACCOUNTS: View = View {
    name: "accounts",
    key: "id",
    columns: &[
        col("Id", "id"),
        col("Number", "number"),
        col("Name", "name"),
        col("Currency", "currency"),
        col("Posted", "balances.posted"),
        col("Available", "balances.available"),
        col("Status", "status"),
        far("Owner", "ownerId"),
    ],
};

/// What an account held.
pub(crate) const BALANCE: View = View {
    name: "balances",
    key: "accountId",
    columns: &[
        col("Account", "accountId"),
        col("At", "asOf"),
        col("Currency", "currency"),
        col("Posted", "balances.posted"),
        col("Pending in", "balances.pendingIn"),
        col("Pending out", "balances.pendingOut"),
        col("Available", "balances.available"),
    ],
};

/// What happened to an account.
pub(crate) const ENTRIES: View = View {
    name: "entries",
    key: "seq",
    columns: &[
        col("Seq", "seq"),
        col("Time", "createdAt"),
        col("Kind", "kind"),
        far("Side", "side"),
        col("Amount", "amount"),
        col("Change", "change"),
        col("Posted", "posted"),
        col("Currency", "currency"),
        far("Counterparty", "counterpartyId"),
        col("Reason", "reason"),
        far("Description", "description"),
        col("Transfer", "transferId"),
    ],
};

/// Transfers.
pub(crate) const TRANSFERS: View = View {
    name: "transfers",
    key: "id",
    columns: &[
        col("Id", "id"),
        col("Kind", "kind"),
        col("Status", "status"),
        col("Amount", "amount"),
        col("Currency", "currency"),
        far("From", "fromAccountId"),
        far("To", "toAccountId"),
        col("Reason", "reason"),
        col("Created", "createdAt"),
    ],
};

/// Both sides of every currency.
pub(crate) const TRIAL_BALANCE: View = View {
    name: "currencies",
    key: "currency",
    columns: &[
        col("Currency", "currency"),
        col("Accounts", "accounts"),
        col("Debits", "debits"),
        col("Credits", "credits"),
        col("Pending", "pending"),
        col("Imbalance", "imbalance"),
    ],
};

/// What came in and went out.
pub(crate) const FLOWS: View = View {
    name: "flows",
    key: "currency",
    columns: &[col("Currency", "currency"), col("In", "moneyIn"), col("Out", "moneyOut")],
};

/// What recomputing the books came to.
pub(crate) const LEDGER_REPORT: View = View {
    name: "ledger",
    key: "ok",
    columns: &[
        col("Ok", "ok"),
        col("Accounts", "checked.accounts"),
        col("Transfers", "checked.transfers"),
        col("Entries", "checked.entries"),
        col("Problems", "problems"),
    ],
};

/// Changes on their way.
pub(crate) const PENDING: View = View {
    name: "pending",
    key: "key",
    columns: &[
        col("Key", "key"),
        col("At", "at"),
        far("Method", "method"),
        far("Target", "target"),
        far("Who", "who"),
        far("Server", "server"),
        col("Amount", "amount"),
        col("Currency", "currency"),
        col("What", "what"),
        far("From", "fromAccountId"),
        far("To", "toAccountId"),
        far("Reason", "reason"),
    ],
};

/// Versions.
pub(crate) const VERSIONS: View = View {
    name: "versions",
    key: "client",
    columns: &[col("Client", "client"), col("Daemon", "daemon"), col("Server", "server")],
};

/// Anything the daemon answers.
pub(crate) const ANYTHING: View = View { name: "rows", key: "id", columns: &[] };
