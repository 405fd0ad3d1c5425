//! The tables, declared once for both engines: text and 64-bit integers only.

diesel::table! {
    users (id) {
        id -> Text,
        email -> Text,
        name -> Text,
        name_sort -> Text,
        status -> Text,
        kind -> Text,
        external_id -> Nullable<Text>,
        metadata -> Text,
        password_hash -> Nullable<Text>,
        last_login_at -> Nullable<BigInt>,
        version -> BigInt,
        created_at -> BigInt,
        updated_at -> BigInt,
    }
}

diesel::table! {
    user_terms (term, user_id) {
        term -> Text,
        user_id -> Text,
    }
}

diesel::table! {
    roles (id) {
        id -> Text,
        name -> Text,
        description -> Text,
        built_in -> BigInt,
        permissions -> Text,
        version -> BigInt,
        created_at -> BigInt,
        updated_at -> BigInt,
    }
}

diesel::table! {
    user_roles (user_id, role_id) {
        user_id -> Text,
        role_id -> Text,
    }
}

diesel::table! {
    sessions (id) {
        id -> Text,
        user_id -> Text,
        generation -> BigInt,
        refresh_key_hash -> Nullable<Text>,
        ip -> Nullable<Text>,
        user_agent -> Nullable<Text>,
        created_at -> BigInt,
        last_used_at -> BigInt,
        expires_at -> BigInt,
        ends_at -> BigInt,
        revoked_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    password_resets (user_id) {
        user_id -> Text,
        token_hash -> Text,
        expires_at -> BigInt,
    }
}

diesel::table! {
    idempotency_keys (principal, key) {
        principal -> Text,
        key -> Text,
        fingerprint -> Text,
        status -> Nullable<BigInt>,
        body -> Nullable<Text>,
        created_at -> BigInt,
        expires_at -> BigInt,
    }
}

diesel::table! {
    secrets (id) {
        id -> Text,
        purpose -> Text,
        value -> Text,
        created_at -> BigInt,
        signs_from -> BigInt,
    }
}

diesel::table! {
    log (seq) {
        seq -> BigInt,
        id -> Text,
        #[sql_name = "type"]
        kind -> Text,
        at -> BigInt,
        actor_id -> Nullable<Text>,
        actor_kind -> Text,
        actor_ip -> Nullable<Text>,
        request_id -> Text,
        resource_type -> Text,
        resource_id -> Nullable<Text>,
        resource_version -> Nullable<BigInt>,
        data -> Text,
        changes -> Text,
        hash -> Text,
    }
}

diesel::table! {
    log_head (id) {
        id -> BigInt,
        seq -> BigInt,
        hash -> Text,
    }
}

diesel::table! {
    counters (name) {
        name -> Text,
        value -> BigInt,
    }
}

diesel::table! {
    accounts (id) {
        id -> Text,
        number -> BigInt,
        name -> Text,
        name_sort -> Text,
        owner_id -> Nullable<Text>,
        system_key -> Nullable<Text>,
        currency -> Text,
        status -> Text,
        overdraft_limit -> Nullable<BigInt>,
        max_balance -> Nullable<BigInt>,
        debits_posted -> BigInt,
        credits_posted -> BigInt,
        debits_pending -> BigInt,
        credits_pending -> BigInt,
        entry_seq -> BigInt,
        moved_at -> BigInt,
        external_id -> Nullable<Text>,
        metadata -> Text,
        version -> BigInt,
        created_at -> BigInt,
        updated_at -> BigInt,
    }
}

diesel::table! {
    transfers (id) {
        id -> Text,
        kind -> Text,
        status -> Text,
        parent_id -> Nullable<Text>,
        from_account_id -> Text,
        from_seq -> BigInt,
        to_account_id -> Text,
        to_seq -> BigInt,
        amount -> BigInt,
        currency -> Text,
        captured_amount -> BigInt,
        reversed_amount -> BigInt,
        reason -> Nullable<Text>,
        description -> Text,
        external_id -> Nullable<Text>,
        actor_id -> Nullable<Text>,
        request_id -> Text,
        expires_at -> Nullable<BigInt>,
        metadata -> Text,
        created_at -> BigInt,
    }
}

diesel::table! {
    entries (account_id, seq) {
        account_id -> Text,
        seq -> BigInt,
        transfer_id -> Text,
        side -> Text,
        amount -> BigInt,
        debits_posted -> BigInt,
        credits_posted -> BigInt,
        debits_pending -> BigInt,
        credits_pending -> BigInt,
        created_at -> BigInt,
    }
}

diesel::joinable!(entries -> transfers (transfer_id));
diesel::joinable!(user_roles -> users (user_id));
diesel::joinable!(user_roles -> roles (role_id));
diesel::joinable!(user_terms -> users (user_id));
diesel::joinable!(sessions -> users (user_id));
diesel::allow_tables_to_appear_in_same_query!(accounts, entries, transfers, log);
diesel::allow_tables_to_appear_in_same_query!(
    users,
    user_terms,
    roles,
    user_roles,
    sessions,
    password_resets
);
diesel::allow_tables_to_appear_in_same_query!(log, sessions);
