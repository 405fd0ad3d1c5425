-- People, roles, sessions, idempotency keys, secrets and the log.
-- Ids are TypeIDs, times are microseconds since 1970 in UTC, both made by the daemon.
-- Every constraint has a name; a unique index is named <table>_<column>, because SQLite reports
-- only "table.column" and one rule must do for both engines.
-- Times start at zero so that no clock can push a row before 1970.

CREATE TABLE users (
  id            TEXT NOT NULL CONSTRAINT users_id PRIMARY KEY,
  email         TEXT NOT NULL,
  name          TEXT NOT NULL,
  name_sort     TEXT NOT NULL,
  status        TEXT NOT NULL,
  kind          TEXT NOT NULL,
  external_id   TEXT,
  metadata      TEXT NOT NULL,
  password_hash TEXT,
  last_login_at INTEGER,
  version       INTEGER NOT NULL,
  created_at    INTEGER NOT NULL,
  updated_at    INTEGER NOT NULL,
  CONSTRAINT users_id_is_typed     CHECK (id GLOB 'usr_[0-7]*' AND length(CAST(id AS BLOB)) = 30 AND substr(id, 5) NOT GLOB '*[^0-9a-hjkmnp-tv-z]*'),
  CONSTRAINT users_email_is_lower  CHECK (email = lower(email) AND length(email) BETWEEN 3 AND 254),
  CONSTRAINT users_name_is_bounded CHECK (length(name) BETWEEN 1 AND 200),
  CONSTRAINT users_status_is_known CHECK (status IN ('active', 'suspended', 'deleted')),
  CONSTRAINT users_kind_is_known   CHECK (kind IN ('human', 'service')),
  CONSTRAINT users_version_counts  CHECK (version >= 1),
  CONSTRAINT users_times_are_sane  CHECK (created_at >= 0 AND updated_at >= created_at)
) STRICT;
CREATE UNIQUE INDEX users_email ON users (email) WHERE status <> 'deleted';
CREATE UNIQUE INDEX users_external_id ON users (external_id) WHERE external_id IS NOT NULL;
CREATE INDEX users_by_created ON users (created_at, id);
CREATE INDEX users_by_name ON users (name_sort, id);
CREATE INDEX users_by_email ON users (email, id);
CREATE INDEX users_by_status ON users (status, created_at, id);
CREATE INDEX users_by_kind ON users (kind, created_at, id);

-- deleted is final
CREATE TRIGGER users_deleted_is_final BEFORE UPDATE ON users WHEN OLD.status = 'deleted' AND NEW.status <> 'deleted'
BEGIN SELECT RAISE(ABORT, 'users_deleted_is_final'); END;
-- the books refer to people for ever
CREATE TRIGGER users_are_kept BEFORE DELETE ON users
BEGIN SELECT RAISE(ABORT, 'users_are_kept'); END;
-- OR REPLACE deletes what is in the way, and where recursive_triggers is off, as in a plain shell, no trigger
-- hears of it: so what is in the way is looked for first, and refused under the name of the index it breaks
CREATE TRIGGER users_are_not_replaced BEFORE INSERT ON users
BEGIN
  SELECT RAISE(ABORT, 'users_id') WHERE EXISTS (SELECT 1 FROM users AS o WHERE o.id = NEW.id OR o.rowid = NEW.rowid);
  SELECT RAISE(ABORT, 'users_email') WHERE NEW.status <> 'deleted' AND EXISTS (SELECT 1 FROM users AS o WHERE o.email = NEW.email AND o.status <> 'deleted');
  SELECT RAISE(ABORT, 'users_external_id') WHERE EXISTS (SELECT 1 FROM users AS o WHERE o.external_id = NEW.external_id);
END;
CREATE TRIGGER users_replace_nobody BEFORE UPDATE ON users
BEGIN
  SELECT RAISE(ABORT, 'users_id') WHERE NEW.id <> OLD.id OR NEW.rowid <> OLD.rowid;
  SELECT RAISE(ABORT, 'users_email') WHERE NEW.status <> 'deleted' AND NEW.email <> OLD.email
    AND EXISTS (SELECT 1 FROM users AS o WHERE o.email = NEW.email AND o.status <> 'deleted');
  SELECT RAISE(ABORT, 'users_external_id') WHERE NEW.external_id IS NOT OLD.external_id
    AND EXISTS (SELECT 1 FROM users AS o WHERE o.external_id = NEW.external_id);
END;

-- the words that a search finds a person by
CREATE TABLE user_terms (
  term    TEXT NOT NULL,
  user_id TEXT NOT NULL,
  CONSTRAINT user_terms_pk PRIMARY KEY (term, user_id),
  CONSTRAINT user_terms_user FOREIGN KEY (user_id) REFERENCES users (id)
) STRICT, WITHOUT ROWID;
CREATE INDEX user_terms_by_user ON user_terms (user_id);

CREATE TABLE roles (
  id          TEXT NOT NULL CONSTRAINT roles_id PRIMARY KEY,
  name        TEXT NOT NULL,
  description TEXT NOT NULL,
  built_in    INTEGER NOT NULL,
  permissions TEXT NOT NULL,
  version     INTEGER NOT NULL,
  created_at  INTEGER NOT NULL,
  updated_at  INTEGER NOT NULL,
  CONSTRAINT roles_id_is_typed CHECK (id GLOB 'rol_[0-7]*' AND length(CAST(id AS BLOB)) = 30 AND substr(id, 5) NOT GLOB '*[^0-9a-hjkmnp-tv-z]*'),
  CONSTRAINT roles_built_in_is_a_flag CHECK (built_in IN (0, 1)),
  CONSTRAINT roles_version_counts CHECK (version >= 1)
) STRICT;
CREATE UNIQUE INDEX roles_name ON roles (name);
CREATE INDEX roles_by_name ON roles (name, id);
CREATE INDEX roles_by_created ON roles (created_at, id);

CREATE TABLE user_roles (
  user_id TEXT NOT NULL,
  role_id TEXT NOT NULL,
  CONSTRAINT user_roles_pk PRIMARY KEY (user_id, role_id),
  CONSTRAINT user_roles_user FOREIGN KEY (user_id) REFERENCES users (id),
  CONSTRAINT user_roles_role FOREIGN KEY (role_id) REFERENCES roles (id)
) STRICT, WITHOUT ROWID;
CREATE INDEX user_roles_by_role ON user_roles (role_id, user_id);

CREATE TABLE sessions (
  id               TEXT NOT NULL CONSTRAINT sessions_id PRIMARY KEY,
  user_id          TEXT NOT NULL,
  generation       INTEGER NOT NULL,
  refresh_key_hash TEXT,
  ip               TEXT,
  user_agent       TEXT,
  created_at       INTEGER NOT NULL,
  last_used_at     INTEGER NOT NULL,
  expires_at       INTEGER NOT NULL,
  ends_at          INTEGER NOT NULL,
  revoked_at       INTEGER,
  CONSTRAINT sessions_id_is_typed CHECK (id GLOB 'ses_[0-7]*' AND length(CAST(id AS BLOB)) = 30 AND substr(id, 5) NOT GLOB '*[^0-9a-hjkmnp-tv-z]*'),
  CONSTRAINT sessions_user FOREIGN KEY (user_id) REFERENCES users (id),
  CONSTRAINT sessions_generation_counts CHECK (generation >= 1),
  CONSTRAINT sessions_end CHECK (expires_at <= ends_at)
) STRICT;
CREATE INDEX sessions_by_user ON sessions (user_id, created_at, id);
CREATE INDEX sessions_by_created ON sessions (created_at, id);
CREATE INDEX sessions_by_last_used ON sessions (last_used_at, id);
CREATE INDEX sessions_by_expiry ON sessions (expires_at);
CREATE TRIGGER sessions_generation_steps BEFORE UPDATE OF generation ON sessions
WHEN NEW.generation NOT IN (OLD.generation, OLD.generation + 1)
BEGIN SELECT RAISE(ABORT, 'sessions_generation_steps'); END;
CREATE TRIGGER sessions_revoked_is_final BEFORE UPDATE ON sessions WHEN OLD.revoked_at IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'sessions_revoked_is_final'); END;

CREATE TABLE password_resets (
  user_id    TEXT NOT NULL CONSTRAINT password_resets_pk PRIMARY KEY,
  token_hash TEXT NOT NULL,
  expires_at INTEGER NOT NULL,
  CONSTRAINT password_resets_user FOREIGN KEY (user_id) REFERENCES users (id)
) STRICT;
CREATE UNIQUE INDEX password_resets_token_hash ON password_resets (token_hash);

-- the verdict of a write, committed with its effect
CREATE TABLE idempotency_keys (
  principal   TEXT NOT NULL,
  key         TEXT NOT NULL,
  fingerprint TEXT NOT NULL,
  status      INTEGER,
  body        TEXT,
  created_at  INTEGER NOT NULL,
  expires_at  INTEGER NOT NULL,
  CONSTRAINT idempotency_keys_pk PRIMARY KEY (principal, key)
) STRICT;
CREATE INDEX idempotency_keys_by_expiry ON idempotency_keys (expires_at);

-- keys that sign tokens and cursors, shared by all daemons on this database; one that signs tokens has its kid as id
CREATE TABLE secrets (
  id         TEXT NOT NULL CONSTRAINT secrets_id PRIMARY KEY,
  purpose    TEXT NOT NULL,
  value      TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  signs_from INTEGER NOT NULL,
  CONSTRAINT secrets_purpose_is_known CHECK (purpose IN ('tokens', 'cursors')),
  CONSTRAINT secrets_signs_after_epoch CHECK (signs_from >= 0)
) STRICT;

-- the one log: audit, events, webhooks and cache invalidation read it
CREATE TABLE log (
  seq              INTEGER NOT NULL CONSTRAINT log_seq PRIMARY KEY,
  id               TEXT NOT NULL,
  type             TEXT NOT NULL,
  at               INTEGER NOT NULL,
  actor_id         TEXT,
  actor_kind       TEXT NOT NULL,
  actor_ip         TEXT,
  request_id       TEXT NOT NULL,
  resource_type    TEXT NOT NULL,
  resource_id      TEXT,
  resource_version INTEGER,
  data             TEXT NOT NULL,
  changes          TEXT NOT NULL,
  hash             TEXT NOT NULL,
  CONSTRAINT log_seq_counts CHECK (seq >= 1),
  CONSTRAINT log_actor_is_known CHECK (actor_kind IN ('user', 'api_key', 'system', 'anonymous'))
) STRICT;
CREATE UNIQUE INDEX log_id ON log (id);
CREATE INDEX log_by_type ON log (type, seq);
CREATE INDEX log_by_resource ON log (resource_id, seq);
CREATE INDEX log_by_actor ON log (actor_id, seq);
CREATE INDEX log_by_request ON log (request_id, seq);
CREATE INDEX log_by_time ON log (at);
CREATE TRIGGER log_is_not_edited BEFORE UPDATE ON log BEGIN SELECT RAISE(ABORT, 'log_is_append_only'); END;
CREATE TRIGGER log_is_not_deleted BEFORE DELETE ON log BEGIN SELECT RAISE(ABORT, 'log_is_append_only'); END;
CREATE TRIGGER log_has_no_gaps BEFORE INSERT ON log
WHEN NEW.seq <> 1 + (SELECT COALESCE(MAX(seq), 0) FROM log) OR EXISTS (SELECT 1 FROM log AS o WHERE o.id = NEW.id)
BEGIN SELECT RAISE(FAIL, 'log_has_no_gaps'); END;

-- the last number and hash: one row, taken last before COMMIT, so numbers follow commits
CREATE TABLE log_head (
  id   INTEGER NOT NULL CONSTRAINT log_head_pk PRIMARY KEY,
  seq  INTEGER NOT NULL,
  hash TEXT NOT NULL,
  CONSTRAINT log_head_is_one CHECK (id = 1),
  CONSTRAINT log_head_counts CHECK (seq >= 0)
) STRICT;
CREATE TRIGGER log_head_is_kept BEFORE DELETE ON log_head BEGIN SELECT RAISE(ABORT, 'log_is_append_only'); END;
CREATE TRIGGER log_head_goes_up BEFORE UPDATE ON log_head WHEN NEW.seq < OLD.seq
BEGIN SELECT RAISE(ABORT, 'log_is_append_only'); END;
INSERT INTO log_head (id, seq, hash) VALUES (1, 0, '0000000000000000000000000000000000000000000000000000000000000000');
CREATE TRIGGER log_head_is_not_replaced BEFORE INSERT ON log_head BEGIN SELECT RAISE(ABORT, 'log_is_append_only'); END;

-- what the built-in roles allow is in the program; here they can be referred to
INSERT INTO roles (id, name, description, built_in, permissions, version, created_at, updated_at) VALUES
  ('rol_00000000000000000000000001', 'owner',    '', 1, '', 1, 0, 0),
  ('rol_00000000000000000000000002', 'admin',    '', 1, '', 1, 0, 0),
  ('rol_00000000000000000000000003', 'finance',  '', 1, '', 1, 0, 0),
  ('rol_00000000000000000000000004', 'support',  '', 1, '', 1, 0, 0),
  ('rol_00000000000000000000000005', 'auditor',  '', 1, '', 1, 0, 0),
  ('rol_00000000000000000000000006', 'customer', '', 1, '', 1, 0, 0);
