//! THE table: every operation the daemon understands, one row each.
//!
//! method, path, who may call it, request -> answer, and the errors beyond the usual ones.

pub mod accounts;
pub mod auth;
pub mod ledger;
pub mod log;
pub mod roles;
pub mod system;
pub mod transfers;
pub mod users;

use accounts::*;
use auth::*;
use ledger::*;
use log::*;
use roles::*;
use system::*;
use transfers::*;
use users::*;

use crate::{
    error::ErrorCode,
    operation::{Access, Admits, Created, Done, Method, Needs, Operation, Public, SignedIn, Streamed},
    page::{List, Page},
    permission::*,
};

macro_rules! operations {
    ($($method:ident $path:literal $access:ty, $name:ty as $text:literal -> $answer:ty $(, body $limit:literal)? $(, key $keyed:literal)? $(; ! $($error:ident)+)?;)+) => {
        $(impl Operation for $name {
            const NAME: &'static str = $text;
            const METHOD: Method = Method::$method;
            const PATH: &'static str = $path;
            type Access = $access;
            type Answer = $answer;
            const ERRORS: &'static [ErrorCode] = &[$($(ErrorCode::$error),+)?];
            $(const BODY_LIMIT: usize = $limit;)?
            $(const KEYED: bool = $keyed;)?
        })+

        /// Every operation, for tests and documents that must not miss one.
        pub const ALL: &[Row] = &[$(Row {
            name: $text,
            method: Method::$method,
            path: $path,
            access: <$access as Admits>::ACCESS,
            keyed: <$name as Operation>::KEYED,
            errors: <$name as Operation>::ERRORS,
        }),+];

        /// Shows every operation as a type.
        pub fn visit(visitor: &mut impl Visitor) {
            $(visitor.operation::<$name>();)+
        }
    };
}

/// An operation as a value.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// Its name.
    pub name: &'static str,
    /// How it is sent.
    pub method: Method,
    /// Where to.
    pub path: &'static str,
    /// Who may call it.
    pub access: Access,
    /// Whether it is refused without an `Idempotency-Key`.
    pub keyed: bool,
    /// The errors beyond the usual ones.
    pub errors: &'static [ErrorCode],
}

impl Row {
    /// The operation that a request with this method and target (path, perhaps a query) is; none when there is
    /// no such operation.
    pub fn of(method: &str, target: &str) -> Option<&'static Self> {
        let path = target.split('?').next().unwrap_or_default();
        let fits = |pattern: &str| {
            pattern.split('/').count() == path.split('/').count()
                && pattern
                    .split('/')
                    .zip(path.split('/'))
                    .all(|(part, given)| part.starts_with('{') || part == given)
        };
        // a word in a path is more than a place for an id
        ALL.iter()
            .filter(|row| row.method.as_str() == method && fits(row.path))
            .min_by_key(|row| row.path.matches('{').count())
    }

    /// Whether it compares the version of a record, as `If-Match` asks for.
    pub fn compares_versions(&self) -> bool {
        self.errors.contains(&ErrorCode::VersionMismatch)
    }
}

/// Somebody who wants to see every operation as a type.
pub trait Visitor {
    /// One of them.
    fn operation<O>(&mut self)
    where
        O: Operation + schemars::JsonSchema;
}

operations! {
    Post   "/v1/auth/login"           Public,                   Login            as "Login"            -> Tokens; ! InvalidCredentials UserSuspended TemporarilyLocked;
    Post   "/v1/auth/refresh"         Public,                   Refresh          as "Refresh"          -> Tokens; ! TokenExpired TokenInvalid SessionRevoked RefreshReused;
    Post   "/v1/auth/logout"          SignedIn,                 Logout           as "Logout"           -> Done;
    Post   "/v1/auth/password"        Public,                   SetPassword      as "SetPassword"      -> Done; ! TokenExpired TokenInvalid UserSuspended;
    Get    "/v1/me"                   SignedIn,                 Me               as "Me"               -> User;
    Patch  "/v1/me"                   SignedIn,                 UpdateMe         as "UpdateMe"         -> User; ! VersionMismatch;
    Post   "/v1/me/password"          SignedIn,                 ChangePassword   as "ChangePassword"   -> Done; ! InvalidCredentials TemporarilyLocked;
    Get    "/v1/me/sessions"          SignedIn,                 MySessions       as "MySessions"       -> Sessions;
    Delete "/v1/me/sessions/{id}"     SignedIn,                 EndMySession     as "EndMySession"     -> Done; ! NotFound;
    Get    "/v1/capabilities"         SignedIn,                 GetCapabilities  as "GetCapabilities"  -> Capabilities;

    Get    "/v1/users"                Needs<UsersRead>,         List<User>       as "ListUsers"        -> Page<User>; ! NotFound QueryTooBroad;
    Post   "/v1/users"                Needs<UsersWrite>,        CreateUser       as "CreateUser"       -> Created<User>; ! AlreadyExists Escalation;
    Post   "/v1/users/bulk"           Needs<UsersWrite>,        BulkUsers        as "BulkUsers"        -> BulkResult, body 8388608; ! AlreadyExists Escalation NotFound InUse VersionMismatch IllegalTransition LastOwner SelfAction BatchAborted;
    Get    "/v1/users/{id}"           Needs<UsersRead>,         GetUser          as "GetUser"          -> User; ! NotFound;
    Patch  "/v1/users/{id}"           Needs<UsersWrite>,        UpdateUser       as "UpdateUser"       -> User; ! NotFound AlreadyExists VersionMismatch IllegalTransition Escalation;
    Delete "/v1/users/{id}"           Needs<UsersDelete>,       DeleteUser       as "DeleteUser"       -> Done; ! NotFound InUse VersionMismatch IllegalTransition Escalation LastOwner SelfAction;
    Post   "/v1/users/{id}/suspend"   Needs<UsersSuspend>,      SuspendUser      as "SuspendUser"      -> User; ! NotFound VersionMismatch IllegalTransition Escalation LastOwner SelfAction;
    Post   "/v1/users/{id}/activate"  Needs<UsersSuspend>,      ActivateUser     as "ActivateUser"     -> User; ! NotFound VersionMismatch IllegalTransition Escalation;
    Put    "/v1/users/{id}/roles"     Needs<RolesGrant>,        SetUserRoles     as "SetUserRoles"     -> User; ! NotFound VersionMismatch IllegalTransition Escalation LastOwner;
    Post   "/v1/users/{id}/password-reset" Needs<CredentialsReset>, ResetPassword as "ResetPassword"   -> PasswordReset; ! NotFound VersionMismatch IllegalTransition Escalation;
    Get    "/v1/users/{id}/permissions" Needs<UsersRead>,       GetUserPermissions as "GetUserPermissions" -> EffectivePermissions; ! NotFound;
    Get    "/v1/users/{id}/timeline"  Needs<UsersRead>,         Timeline         as "ListTimeline"     -> Page<Event>; ! NotFound QueryTooBroad;

    Get    "/v1/roles"                Needs<RolesRead>,         List<Role>       as "ListRoles"        -> Page<Role>; ! NotFound QueryTooBroad;
    Get    "/v1/roles/{id}"           Needs<RolesRead>,         GetRole          as "GetRole"          -> Role; ! NotFound;
    Get    "/v1/permissions"          Needs<RolesRead>,         ListPermissions  as "ListPermissions"  -> PermissionList;

    Get    "/v1/sessions"             Needs<SessionsRead>,      List<Session>    as "ListSessions"     -> Page<Session>; ! NotFound QueryTooBroad;
    Delete "/v1/sessions/{id}"        Needs<SessionsRevoke>,    RevokeSession    as "RevokeSession"    -> Done; ! NotFound Escalation;
    Post   "/v1/sessions/revoke"      Needs<SessionsRevoke>,    RevokeSessions   as "RevokeSessions"   -> Revoked; ! NotFound Escalation;

    Get    "/v1/accounts"             Needs<AccountsRead>,      List<Account>    as "ListAccounts"     -> Page<Account>; ! NotFound QueryTooBroad;
    Post   "/v1/accounts"             Needs<AccountsWrite>,     CreateAccount    as "CreateAccount"    -> Created<Account>; ! AlreadyExists NotFound IllegalTransition;
    Get    "/v1/accounts/{id}"        Needs<AccountsRead>,      GetAccount       as "GetAccount"       -> Account; ! NotFound;
    Patch  "/v1/accounts/{id}"        Needs<AccountsWrite>,     UpdateAccount    as "UpdateAccount"    -> Account; ! NotFound AlreadyExists VersionMismatch IllegalTransition InsufficientFunds BalanceLimit AmountOutOfRange;
    Post   "/v1/accounts/{id}/freeze" Needs<AccountsFreeze>,    FreezeAccount    as "FreezeAccount"    -> Account; ! NotFound VersionMismatch IllegalTransition;
    Post   "/v1/accounts/{id}/unfreeze" Needs<AccountsFreeze>,  UnfreezeAccount  as "UnfreezeAccount"  -> Account; ! NotFound VersionMismatch IllegalTransition;
    Post   "/v1/accounts/{id}/close"  Needs<AccountsClose>,     CloseAccount     as "CloseAccount"     -> Account, key true; ! NotFound VersionMismatch IllegalTransition AccountNotEmpty InsufficientFunds BalanceLimit AmountOutOfRange AccountFrozen AccountClosed CurrencyMismatch;
    Get    "/v1/accounts/{id}/balance" Needs<AccountsRead>,     GetBalance       as "GetBalance"       -> Balance; ! NotFound;
    Get    "/v1/accounts/{id}/entries" Needs<AccountsRead>,     ListEntries      as "ListEntries"      -> Page<Entry>; ! NotFound QueryTooBroad;
    Get    "/v1/accounts/{id}/statement" Needs<AccountsRead>,   GetStatement     as "GetStatement"     -> Statement; ! NotFound QueryTooBroad;

    Get    "/v1/transfers"            Needs<TransfersRead>,     List<Transfer>   as "ListTransfers"    -> Page<Transfer>; ! NotFound QueryTooBroad;
    Post   "/v1/transfers"            Needs<TransfersCreate>,   CreateTransfer   as "CreateTransfer"   -> Created<Transfer>, key true; ! NotFound AlreadyExists CurrencyMismatch InsufficientFunds BalanceLimit AmountOutOfRange AccountFrozen AccountClosed;
    Post   "/v1/transfers/batch"      Needs<TransfersCreate>,   BatchTransfers   as "BatchTransfers"   -> BatchResult, body 8388608, key true; ! NotFound AlreadyExists CurrencyMismatch InsufficientFunds BalanceLimit AmountOutOfRange AccountFrozen AccountClosed BatchAborted;
    Get    "/v1/transfers/{id}"       Needs<TransfersRead>,     GetTransfer      as "GetTransfer"      -> Transfer; ! NotFound;
    Post   "/v1/transfers/{id}/capture" Needs<TransfersCreate>, CaptureTransfer  as "CaptureTransfer"  -> Created<Transfer>, key true; ! NotFound HoldNotPending CaptureExceedsHold AccountFrozen AmountOutOfRange;
    Post   "/v1/transfers/{id}/void"  Needs<TransfersCreate>,   VoidTransfer     as "VoidTransfer"     -> Created<Transfer>, key true; ! NotFound HoldNotPending;
    Post   "/v1/transfers/{id}/reverse" Needs<TransfersReverse>, ReverseTransfer as "ReverseTransfer"  -> Created<Transfer>, key true; ! NotFound NotReversible ReversalExceedsTransfer InsufficientFunds BalanceLimit AmountOutOfRange AccountFrozen AccountClosed;

    Get    "/v1/ledger/trial-balance" Needs<LedgerRead>,        GetTrialBalance  as "GetTrialBalance"  -> TrialBalance;
    Get    "/v1/ledger/flows"         Needs<LedgerRead>,        GetFlows         as "GetFlows"         -> Flows;
    Post   "/v1/ledger/verify"        Needs<LedgerVerify>,      VerifyLedger     as "VerifyLedger"     -> LedgerReport;

    Get    "/v1/events"               Needs<EventsRead>,        List<Event>      as "ListEvents"       -> Page<Event>; ! NotFound QueryTooBroad;
    Get    "/v1/events/stream"        Needs<EventsRead>,        StreamEvents     as "StreamEvents"     -> Streamed<Event>;
    Get    "/v1/audit"                Needs<AuditRead>,         List<AuditEntry> as "ListAudit"        -> Page<AuditEntry>; ! NotFound QueryTooBroad;
    Get    "/v1/audit/{id}"           Needs<AuditRead>,         GetAuditEntry    as "GetAuditEntry"    -> AuditEntry; ! NotFound;
    Post   "/v1/audit/verify"         Needs<AuditRead>,         VerifyAudit      as "VerifyAudit"      -> AuditReport;

    Get    "/v1/stats"                Needs<SystemRead>,        GetStats         as "GetStats"         -> Stats;
    Get    "/v1/version"              SignedIn,                 GetVersion       as "GetVersion"       -> Version;
    Get    "/v1/idempotency/{key}"    SignedIn,                 GetVerdict       as "GetVerdict"       -> Verdict;
}
