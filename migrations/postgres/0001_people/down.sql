DROP TABLE log_head;
DROP TABLE log;
DROP TABLE secrets;
DROP TABLE idempotency_keys;
DROP TABLE password_resets;
DROP TABLE sessions;
DROP TABLE user_roles;
DROP TABLE roles;
DROP TABLE user_terms;
DROP TABLE users;

DROP FUNCTION users_deleted_is_final, users_are_kept, sessions_generation_steps, sessions_revoked_is_final,
  log_is_not_edited, log_is_not_deleted, log_has_no_gaps, tables_are_not_truncated, log_head_is_kept, log_head_goes_up;
