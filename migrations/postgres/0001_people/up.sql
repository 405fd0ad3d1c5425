-- People, roles, sessions, idempotency keys, secrets and the log.
-- Ids are TypeIDs, times are microseconds since 1970 in UTC, both made by the daemon.
-- Every constraint has a name; a unique index is named <table>_<column>, because SQLite reports
-- only "table.column" and one rule must do for both engines.
-- Text is compared byte by byte (COLLATE "C"), as SQLite does, so both engines sort alike.
-- Times start at zero so that no clock can push a row before 1970.

-- Guards name tables without their schema. They look here, and last among the temporary tables of a session, which
-- would else be looked at first and say whatever somebody put there.
SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', TRUE);

CREATE TABLE users (
  id            TEXT COLLATE "C" NOT NULL CONSTRAINT users_id PRIMARY KEY,
  email         TEXT COLLATE "C" NOT NULL,
  name          TEXT COLLATE "C" NOT NULL,
  name_sort     TEXT COLLATE "C" NOT NULL,
  status        TEXT COLLATE "C" NOT NULL,
  kind          TEXT COLLATE "C" NOT NULL,
  external_id   TEXT COLLATE "C",
  metadata      TEXT COLLATE "C" NOT NULL,
  password_hash TEXT COLLATE "C",
  last_login_at BIGINT,
  version       BIGINT NOT NULL,
  created_at    BIGINT NOT NULL,
  updated_at    BIGINT NOT NULL,
  CONSTRAINT users_id_is_typed     CHECK (id ~ '^usr_[0-7][0-9a-hjkmnp-tv-z]{25}$'),
  CONSTRAINT users_email_is_lower  CHECK (email = lower(email) AND length(email) BETWEEN 3 AND 254),
  CONSTRAINT users_name_is_bounded CHECK (length(name) BETWEEN 1 AND 200),
  CONSTRAINT users_status_is_known CHECK (status IN ('active', 'suspended', 'deleted')),
  CONSTRAINT users_kind_is_known   CHECK (kind IN ('human', 'service')),
  CONSTRAINT users_version_counts  CHECK (version >= 1),
  CONSTRAINT users_times_are_sane  CHECK (created_at >= 0 AND updated_at >= created_at)
);
CREATE UNIQUE INDEX users_email ON users (email) WHERE status <> 'deleted';
CREATE UNIQUE INDEX users_external_id ON users (external_id) WHERE external_id IS NOT NULL;
CREATE INDEX users_by_created ON users (created_at, id);
CREATE INDEX users_by_name ON users (name_sort, id);
CREATE INDEX users_by_email ON users (email, id);
CREATE INDEX users_by_status ON users (status, created_at, id);
CREATE INDEX users_by_kind ON users (kind, created_at, id);

-- deleted is final
CREATE FUNCTION users_deleted_is_final() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'users_deleted_is_final' USING ERRCODE = 'check_violation', CONSTRAINT = 'users_deleted_is_final'; END $$;
CREATE TRIGGER users_deleted_is_final BEFORE UPDATE ON users
FOR EACH ROW WHEN (OLD.status = 'deleted' AND NEW.status <> 'deleted') EXECUTE FUNCTION users_deleted_is_final();
-- the books refer to people for ever
CREATE FUNCTION users_are_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'users_are_kept' USING ERRCODE = 'check_violation', CONSTRAINT = 'users_are_kept'; END $$;
CREATE TRIGGER users_are_kept BEFORE DELETE ON users
FOR EACH ROW EXECUTE FUNCTION users_are_kept();

-- the words that a search finds a person by
CREATE TABLE user_terms (
  term    TEXT COLLATE "C" NOT NULL,
  user_id TEXT COLLATE "C" NOT NULL,
  CONSTRAINT user_terms_pk PRIMARY KEY (term, user_id),
  CONSTRAINT user_terms_user FOREIGN KEY (user_id) REFERENCES users (id)
);
CREATE INDEX user_terms_by_user ON user_terms (user_id);

CREATE TABLE roles (
  id          TEXT COLLATE "C" NOT NULL CONSTRAINT roles_id PRIMARY KEY,
  name        TEXT COLLATE "C" NOT NULL,
  description TEXT COLLATE "C" NOT NULL,
  built_in    BIGINT NOT NULL,
  permissions TEXT COLLATE "C" NOT NULL,
  version     BIGINT NOT NULL,
  created_at  BIGINT NOT NULL,
  updated_at  BIGINT NOT NULL,
  CONSTRAINT roles_id_is_typed CHECK (id ~ '^rol_[0-7][0-9a-hjkmnp-tv-z]{25}$'),
  CONSTRAINT roles_built_in_is_a_flag CHECK (built_in IN (0, 1)),
  CONSTRAINT roles_version_counts CHECK (version >= 1)
);
CREATE UNIQUE INDEX roles_name ON roles (name);
CREATE INDEX roles_by_name ON roles (name, id);
CREATE INDEX roles_by_created ON roles (created_at, id);

CREATE TABLE user_roles (
  user_id TEXT COLLATE "C" NOT NULL,
  role_id TEXT COLLATE "C" NOT NULL,
  CONSTRAINT user_roles_pk PRIMARY KEY (user_id, role_id),
  CONSTRAINT user_roles_user FOREIGN KEY (user_id) REFERENCES users (id),
  CONSTRAINT user_roles_role FOREIGN KEY (role_id) REFERENCES roles (id)
);
CREATE INDEX user_roles_by_role ON user_roles (role_id, user_id);

CREATE TABLE sessions (
  id               TEXT COLLATE "C" NOT NULL CONSTRAINT sessions_id PRIMARY KEY,
  user_id          TEXT COLLATE "C" NOT NULL,
  generation       BIGINT NOT NULL,
  refresh_key_hash TEXT COLLATE "C",
  ip               TEXT COLLATE "C",
  user_agent       TEXT COLLATE "C",
  created_at       BIGINT NOT NULL,
  last_used_at     BIGINT NOT NULL,
  expires_at       BIGINT NOT NULL,
  ends_at          BIGINT NOT NULL,
  revoked_at       BIGINT,
  CONSTRAINT sessions_id_is_typed CHECK (id ~ '^ses_[0-7][0-9a-hjkmnp-tv-z]{25}$'),
  CONSTRAINT sessions_user FOREIGN KEY (user_id) REFERENCES users (id),
  CONSTRAINT sessions_generation_counts CHECK (generation >= 1),
  CONSTRAINT sessions_end CHECK (expires_at <= ends_at)
);
CREATE INDEX sessions_by_user ON sessions (user_id, created_at, id);
CREATE INDEX sessions_by_created ON sessions (created_at, id);
CREATE INDEX sessions_by_last_used ON sessions (last_used_at, id);
CREATE INDEX sessions_by_expiry ON sessions (expires_at);
CREATE FUNCTION sessions_generation_steps() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'sessions_generation_steps' USING ERRCODE = 'check_violation', CONSTRAINT = 'sessions_generation_steps'; END $$;
CREATE TRIGGER sessions_generation_steps BEFORE UPDATE OF generation ON sessions
FOR EACH ROW WHEN (NEW.generation NOT IN (OLD.generation, OLD.generation + 1)) EXECUTE FUNCTION sessions_generation_steps();
CREATE FUNCTION sessions_revoked_is_final() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'sessions_revoked_is_final' USING ERRCODE = 'check_violation', CONSTRAINT = 'sessions_revoked_is_final'; END $$;
CREATE TRIGGER sessions_revoked_is_final BEFORE UPDATE ON sessions
FOR EACH ROW WHEN (OLD.revoked_at IS NOT NULL) EXECUTE FUNCTION sessions_revoked_is_final();

CREATE TABLE password_resets (
  user_id    TEXT COLLATE "C" NOT NULL CONSTRAINT password_resets_pk PRIMARY KEY,
  token_hash TEXT COLLATE "C" NOT NULL,
  expires_at BIGINT NOT NULL,
  CONSTRAINT password_resets_user FOREIGN KEY (user_id) REFERENCES users (id)
);
CREATE UNIQUE INDEX password_resets_token_hash ON password_resets (token_hash);

-- the verdict of a write, committed with its effect
CREATE TABLE idempotency_keys (
  principal   TEXT COLLATE "C" NOT NULL,
  key         TEXT COLLATE "C" NOT NULL,
  fingerprint TEXT COLLATE "C" NOT NULL,
  status      BIGINT,
  body        TEXT COLLATE "C",
  created_at  BIGINT NOT NULL,
  expires_at  BIGINT NOT NULL,
  CONSTRAINT idempotency_keys_pk PRIMARY KEY (principal, key)
-- room for the verdict, which is several times as long as its key: a new version beside the old one touches no index
) WITH (fillfactor = 12);
CREATE INDEX idempotency_keys_by_expiry ON idempotency_keys (expires_at);

-- keys that sign tokens and cursors, shared by all daemons on this database; one that signs tokens has its kid as id
CREATE TABLE secrets (
  id         TEXT COLLATE "C" NOT NULL CONSTRAINT secrets_id PRIMARY KEY,
  purpose    TEXT COLLATE "C" NOT NULL,
  value      TEXT COLLATE "C" NOT NULL,
  created_at BIGINT NOT NULL,
  signs_from BIGINT NOT NULL,
  CONSTRAINT secrets_purpose_is_known CHECK (purpose IN ('tokens', 'cursors')),
  CONSTRAINT secrets_signs_after_epoch CHECK (signs_from >= 0)
);

-- the one log: audit, events, webhooks and cache invalidation read it
CREATE TABLE log (
  seq              BIGINT NOT NULL CONSTRAINT log_seq PRIMARY KEY,
  id               TEXT COLLATE "C" NOT NULL,
  type             TEXT COLLATE "C" NOT NULL,
  at               BIGINT NOT NULL,
  actor_id         TEXT COLLATE "C",
  actor_kind       TEXT COLLATE "C" NOT NULL,
  actor_ip         TEXT COLLATE "C",
  request_id       TEXT COLLATE "C" NOT NULL,
  resource_type    TEXT COLLATE "C" NOT NULL,
  resource_id      TEXT COLLATE "C",
  resource_version BIGINT,
  data             TEXT COLLATE "C" NOT NULL,
  changes          TEXT COLLATE "C" NOT NULL,
  hash             TEXT COLLATE "C" NOT NULL,
  CONSTRAINT log_seq_counts CHECK (seq >= 1),
  CONSTRAINT log_actor_is_known CHECK (actor_kind IN ('user', 'api_key', 'system', 'anonymous'))
);
CREATE UNIQUE INDEX log_id ON log (id);
CREATE INDEX log_by_type ON log (type, seq);
CREATE INDEX log_by_resource ON log (resource_id, seq);
CREATE INDEX log_by_actor ON log (actor_id, seq);
CREATE INDEX log_by_request ON log (request_id, seq);
CREATE INDEX log_by_time ON log (at);
CREATE FUNCTION log_is_not_edited() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'log_is_append_only' USING ERRCODE = 'check_violation', CONSTRAINT = 'log_is_append_only'; END $$;
CREATE TRIGGER log_is_not_edited BEFORE UPDATE ON log
FOR EACH ROW EXECUTE FUNCTION log_is_not_edited();
CREATE FUNCTION log_is_not_deleted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'log_is_append_only' USING ERRCODE = 'check_violation', CONSTRAINT = 'log_is_append_only'; END $$;
CREATE TRIGGER log_is_not_deleted BEFORE DELETE ON log
FOR EACH ROW EXECUTE FUNCTION log_is_not_deleted();
CREATE FUNCTION log_has_no_gaps() RETURNS trigger LANGUAGE plpgsql
SET search_path FROM CURRENT SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE first BIGINT; last BIGINT; many BIGINT;
BEGIN
  SELECT MIN(f.seq), MAX(f.seq), COUNT(*) INTO first, last, many FROM fresh AS f;
  IF last - first + 1 <> many OR last <> (SELECT MAX(l.seq) FROM log AS l)
    OR first > 1 AND NOT EXISTS (SELECT FROM log AS l WHERE l.seq = first - 1)
  THEN RAISE EXCEPTION 'log_has_no_gaps' USING ERRCODE = 'check_violation', CONSTRAINT = 'log_has_no_gaps'; END IF;
  RETURN NULL;
END $$;
-- once a statement: a function call a row costs a quarter of what the row costs
CREATE TRIGGER log_has_no_gaps AFTER INSERT ON log
REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION log_has_no_gaps();

-- TRUNCATE passes row triggers by
CREATE FUNCTION tables_are_not_truncated() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'log_is_append_only' USING ERRCODE = 'check_violation', CONSTRAINT = 'log_is_append_only'; END $$;
CREATE TRIGGER log_is_not_truncated BEFORE TRUNCATE ON log EXECUTE FUNCTION tables_are_not_truncated();
CREATE TRIGGER users_are_not_truncated BEFORE TRUNCATE ON users EXECUTE FUNCTION tables_are_not_truncated();

-- the last number and hash: one row, taken last before COMMIT, so numbers follow commits
CREATE TABLE log_head (
  id   BIGINT NOT NULL CONSTRAINT log_head_pk PRIMARY KEY,
  seq  BIGINT NOT NULL,
  hash TEXT COLLATE "C" NOT NULL,
  CONSTRAINT log_head_is_one CHECK (id = 1),
  CONSTRAINT log_head_counts CHECK (seq >= 0)
);
CREATE FUNCTION log_head_is_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'log_is_append_only' USING ERRCODE = 'check_violation', CONSTRAINT = 'log_is_append_only'; END $$;
CREATE TRIGGER log_head_is_kept BEFORE DELETE ON log_head
FOR EACH ROW EXECUTE FUNCTION log_head_is_kept();
CREATE FUNCTION log_head_goes_up() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'log_is_append_only' USING ERRCODE = 'check_violation', CONSTRAINT = 'log_is_append_only'; END $$;
CREATE TRIGGER log_head_goes_up BEFORE UPDATE ON log_head
FOR EACH ROW WHEN (NEW.seq < OLD.seq) EXECUTE FUNCTION log_head_goes_up();
INSERT INTO log_head (id, seq, hash) VALUES (1, 0, '0000000000000000000000000000000000000000000000000000000000000000');

-- what the built-in roles allow is in the program; here they can be referred to
INSERT INTO roles (id, name, description, built_in, permissions, version, created_at, updated_at) VALUES
  ('rol_00000000000000000000000001', 'owner',    '', 1, '', 1, 0, 0),
  ('rol_00000000000000000000000002', 'admin',    '', 1, '', 1, 0, 0),
  ('rol_00000000000000000000000003', 'finance',  '', 1, '', 1, 0, 0),
  ('rol_00000000000000000000000004', 'support',  '', 1, '', 1, 0, 0),
  ('rol_00000000000000000000000005', 'auditor',  '', 1, '', 1, 0, 0),
  ('rol_00000000000000000000000006', 'customer', '', 1, '', 1, 0, 0);
