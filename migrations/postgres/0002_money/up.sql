-- Accounts, transfers and their entries: money that the database itself refuses to lose.
-- A transfer debits one account and credits another, and leaves one entry on each. An entry continues
-- the one before it, and an account's counters change only to what its last entry says, so one UPDATE
-- may stand for many entries. Within a transaction the order is: transfers, entries, accounts.
-- The checks of many rows look at them all at once, after the statement: a function call a row would cost
-- more than the rows. They must find rows by their keys, also where a plan was made for an empty table.
-- Amounts are whole minor units below 2^53, because a JSON number holds no more.

-- no temporary table fools a guard: see 0001
SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', TRUE);

-- numbers that people read: one row a kind
CREATE TABLE counters (
  name  TEXT COLLATE "C" NOT NULL CONSTRAINT counters_pk PRIMARY KEY,
  value BIGINT NOT NULL,
  CONSTRAINT counters_go_up CHECK (value >= 0)
);
INSERT INTO counters (name, value) VALUES ('accounts', 0);

CREATE TABLE accounts (
  id              TEXT COLLATE "C" NOT NULL CONSTRAINT accounts_id PRIMARY KEY,
  number          BIGINT NOT NULL,
  name            TEXT COLLATE "C" NOT NULL,
  name_sort       TEXT COLLATE "C" NOT NULL,
  owner_id        TEXT COLLATE "C",
  system_key      TEXT COLLATE "C",
  currency        TEXT COLLATE "C" NOT NULL,
  status          TEXT COLLATE "C" NOT NULL,
  overdraft_limit BIGINT,
  max_balance     BIGINT,
  debits_posted   BIGINT NOT NULL,
  credits_posted  BIGINT NOT NULL,
  debits_pending  BIGINT NOT NULL,
  credits_pending BIGINT NOT NULL,
  entry_seq       BIGINT NOT NULL,
  moved_at        BIGINT NOT NULL,
  external_id     TEXT COLLATE "C",
  metadata        TEXT COLLATE "C" NOT NULL,
  version         BIGINT NOT NULL,
  created_at      BIGINT NOT NULL,
  updated_at      BIGINT NOT NULL,
  CONSTRAINT accounts_id_is_typed CHECK (id ~ '^acc_[0-7][0-9a-hjkmnp-tv-z]{25}$'),
  CONSTRAINT accounts_number_counts CHECK (number >= 1),
  CONSTRAINT accounts_name_is_bounded CHECK (length(name) BETWEEN 1 AND 200),
  CONSTRAINT accounts_owner FOREIGN KEY (owner_id) REFERENCES users (id),
  CONSTRAINT accounts_currency_is_a_code CHECK (length(currency) = 3 AND currency = upper(currency)),
  CONSTRAINT accounts_status_is_known CHECK (status IN ('active', 'frozen', 'closed')),
  CONSTRAINT accounts_system_is_unlimited CHECK (system_key IS NULL OR (system_key IN ('world', 'revenue') AND owner_id IS NULL AND overdraft_limit IS NULL AND max_balance IS NULL AND status = 'active')),
  CONSTRAINT accounts_overdraft_counts CHECK (overdraft_limit IS NULL OR overdraft_limit BETWEEN 0 AND 9007199254740991),
  CONSTRAINT accounts_max_counts CHECK (max_balance IS NULL OR max_balance BETWEEN 0 AND 9007199254740991),
  CONSTRAINT accounts_counters_fit CHECK (debits_posted BETWEEN 0 AND 9007199254740991 AND credits_posted BETWEEN 0 AND 9007199254740991 AND debits_pending BETWEEN 0 AND 9007199254740991 AND credits_pending BETWEEN 0 AND 9007199254740991),
  -- what is available is a number in JSON, too; without what is held, so that letting go is never refused
  CONSTRAINT accounts_available_counts CHECK (overdraft_limit IS NULL OR credits_posted - debits_posted + overdraft_limit <= 9007199254740991),
  CONSTRAINT accounts_funds CHECK (overdraft_limit IS NULL OR credits_posted - debits_posted - debits_pending >= -overdraft_limit),
  CONSTRAINT accounts_balance_limit CHECK (max_balance IS NULL OR credits_posted + credits_pending - debits_posted <= max_balance),
  CONSTRAINT accounts_closed_is_empty CHECK (status <> 'closed' OR (debits_posted = credits_posted AND debits_pending = 0 AND credits_pending = 0)),
  CONSTRAINT accounts_entry_seq_counts CHECK (entry_seq >= 0 AND moved_at >= 0),
  CONSTRAINT accounts_version_counts CHECK (version >= 1),
  CONSTRAINT accounts_times_are_sane CHECK (created_at >= 0 AND updated_at >= created_at),
  CONSTRAINT accounts_in_currency UNIQUE (id, currency)
-- room for the counters that change all the time: a new version beside the old one touches no index
) WITH (fillfactor = 50);
CREATE UNIQUE INDEX accounts_number ON accounts (number);
CREATE UNIQUE INDEX accounts_system_key ON accounts (system_key, currency) WHERE system_key IS NOT NULL;
CREATE UNIQUE INDEX accounts_external_id ON accounts (external_id) WHERE external_id IS NOT NULL;
CREATE INDEX accounts_by_created ON accounts (created_at, id);
CREATE INDEX accounts_by_number ON accounts (number, id);
CREATE INDEX accounts_by_name ON accounts (name_sort, id);
CREATE INDEX accounts_by_owner ON accounts (owner_id, created_at, id);
CREATE INDEX accounts_by_status ON accounts (status, created_at, id);
CREATE INDEX accounts_by_currency ON accounts (currency, created_at, id);

CREATE TABLE entries (
  account_id      TEXT COLLATE "C" NOT NULL,
  seq             BIGINT NOT NULL,
  transfer_id     TEXT COLLATE "C" NOT NULL,
  side            TEXT COLLATE "C" NOT NULL,
  amount          BIGINT NOT NULL,
  debits_posted   BIGINT NOT NULL,
  credits_posted  BIGINT NOT NULL,
  debits_pending  BIGINT NOT NULL,
  credits_pending BIGINT NOT NULL,
  created_at      BIGINT NOT NULL,
  CONSTRAINT entries_pk PRIMARY KEY (account_id, seq),
  CONSTRAINT entries_side_is_known CHECK (side IN ('debit', 'credit'))
);

CREATE TABLE transfers (
  id              TEXT COLLATE "C" NOT NULL CONSTRAINT transfers_id PRIMARY KEY,
  kind            TEXT COLLATE "C" NOT NULL,
  status          TEXT COLLATE "C" NOT NULL,
  parent_id       TEXT COLLATE "C",
  from_account_id TEXT COLLATE "C" NOT NULL,
  from_seq        BIGINT NOT NULL,
  to_account_id   TEXT COLLATE "C" NOT NULL,
  to_seq          BIGINT NOT NULL,
  amount          BIGINT NOT NULL,
  currency        TEXT COLLATE "C" NOT NULL,
  captured_amount BIGINT NOT NULL,
  reversed_amount BIGINT NOT NULL,
  reason          TEXT COLLATE "C",
  description     TEXT COLLATE "C" NOT NULL,
  external_id     TEXT COLLATE "C",
  actor_id        TEXT COLLATE "C",
  request_id      TEXT COLLATE "C" NOT NULL,
  expires_at      BIGINT,
  metadata        TEXT COLLATE "C" NOT NULL,
  created_at      BIGINT NOT NULL,
  CONSTRAINT transfers_id_is_typed CHECK (id ~ '^trf_[0-7][0-9a-hjkmnp-tv-z]{25}$'),
  CONSTRAINT transfers_kind_is_known CHECK (kind IN ('transfer', 'hold', 'capture', 'void', 'expiry', 'reversal')),
  CONSTRAINT transfers_status_fits_kind CHECK (CASE kind WHEN 'hold' THEN status IN ('pending', 'captured', 'voided', 'expired') ELSE status = 'posted' END),
  CONSTRAINT transfers_parent_fits_kind CHECK ((kind IN ('capture', 'void', 'expiry', 'reversal')) = (parent_id IS NOT NULL)),
  CONSTRAINT transfers_parent FOREIGN KEY (parent_id) REFERENCES transfers (id),
  CONSTRAINT transfers_from FOREIGN KEY (from_account_id, currency) REFERENCES accounts (id, currency),
  CONSTRAINT transfers_to FOREIGN KEY (to_account_id, currency) REFERENCES accounts (id, currency),
  -- no COMMIT before both entries are there
  CONSTRAINT transfers_debit FOREIGN KEY (from_account_id, from_seq) REFERENCES entries (account_id, seq) DEFERRABLE INITIALLY DEFERRED,
  CONSTRAINT transfers_credit FOREIGN KEY (to_account_id, to_seq) REFERENCES entries (account_id, seq) DEFERRABLE INITIALLY DEFERRED,
  CONSTRAINT transfers_have_two_accounts CHECK (from_account_id <> to_account_id),
  CONSTRAINT transfers_amount_counts CHECK (amount BETWEEN 1 AND 9007199254740991),
  CONSTRAINT transfers_captured_fits CHECK (captured_amount BETWEEN 0 AND amount AND (captured_amount > 0) = (status = 'captured')),
  CONSTRAINT transfers_reversed_fits CHECK (reversed_amount BETWEEN 0 AND amount AND (reversed_amount = 0 OR kind IN ('transfer', 'capture'))),
  CONSTRAINT transfers_expiry_fits_kind CHECK (expires_at IS NULL OR kind = 'hold'),
  CONSTRAINT transfers_time_is_sane CHECK (created_at >= 0)
);
CREATE UNIQUE INDEX transfers_external_id ON transfers (external_id) WHERE external_id IS NOT NULL;
-- a hold is resolved once, ever
CREATE UNIQUE INDEX transfers_parent_id ON transfers (parent_id) WHERE kind IN ('capture', 'void', 'expiry');
CREATE UNIQUE INDEX transfers_from_account_id ON transfers (from_account_id, from_seq);
CREATE UNIQUE INDEX transfers_to_account_id ON transfers (to_account_id, to_seq);
CREATE INDEX transfers_by_created ON transfers (created_at, id);
CREATE INDEX transfers_by_amount ON transfers (amount, id);
CREATE INDEX transfers_by_status ON transfers (status, created_at, id);
CREATE INDEX transfers_by_parent ON transfers (parent_id, created_at, id) WHERE parent_id IS NOT NULL;
CREATE INDEX transfers_by_expiry ON transfers (expires_at) WHERE status = 'pending' AND expires_at IS NOT NULL;

-- ---------- accounts

CREATE FUNCTION accounts_begin_at_zero() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'accounts_begin_at_zero' USING ERRCODE = 'check_violation', CONSTRAINT = 'accounts_begin_at_zero'; END $$;
CREATE TRIGGER accounts_begin_at_zero BEFORE INSERT ON accounts FOR EACH ROW
WHEN (NEW.debits_posted <> 0 OR NEW.credits_posted <> 0 OR NEW.debits_pending <> 0 OR NEW.credits_pending <> 0 OR NEW.entry_seq <> 0 OR NEW.moved_at <> 0)
EXECUTE FUNCTION accounts_begin_at_zero();
CREATE FUNCTION accounts_identity_is_fixed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'accounts_identity_is_fixed' USING ERRCODE = 'check_violation', CONSTRAINT = 'accounts_identity_is_fixed'; END $$;
CREATE TRIGGER accounts_identity_is_fixed BEFORE UPDATE ON accounts FOR EACH ROW
WHEN (NEW.id <> OLD.id OR NEW.number <> OLD.number OR NEW.currency <> OLD.currency OR NEW.owner_id IS DISTINCT FROM OLD.owner_id OR NEW.system_key IS DISTINCT FROM OLD.system_key OR NEW.created_at <> OLD.created_at)
EXECUTE FUNCTION accounts_identity_is_fixed();
CREATE FUNCTION accounts_closed_is_final() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'accounts_closed_is_final' USING ERRCODE = 'check_violation', CONSTRAINT = 'accounts_closed_is_final'; END $$;
CREATE TRIGGER accounts_closed_is_final BEFORE UPDATE ON accounts FOR EACH ROW
WHEN (OLD.status = 'closed' AND NEW.status <> 'closed') EXECUTE FUNCTION accounts_closed_is_final();
-- counters change only to what the account's last entry says. Whether all accounts agree with their last entries is
-- asked first, since pairing each with what it was before costs the square of how many they are.
CREATE FUNCTION accounts_follow_entries() RETURNS trigger LANGUAGE plpgsql
SET search_path FROM CURRENT SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
  IF NOT EXISTS (
    SELECT 1 FROM after AS n
      LEFT JOIN LATERAL (SELECT * FROM entries AS e WHERE e.account_id = n.id AND e.seq >= n.entry_seq ORDER BY e.seq DESC LIMIT 1) AS e ON TRUE
    WHERE (n.entry_seq, n.debits_posted, n.credits_posted, n.debits_pending, n.credits_pending, n.moved_at)
        IS DISTINCT FROM (COALESCE(e.seq, 0), COALESCE(e.debits_posted, 0), COALESCE(e.credits_posted, 0), COALESCE(e.debits_pending, 0), COALESCE(e.credits_pending, 0), COALESCE(e.created_at, 0))
  ) THEN RETURN NULL; END IF;
  -- some do not: that is refused where this statement brought it about
  IF EXISTS (
    SELECT 1 FROM before AS o JOIN after AS n ON n.id = o.id
      LEFT JOIN entries AS e ON e.account_id = n.id AND e.seq = n.entry_seq
      LEFT JOIN entries AS later ON later.account_id = n.id AND later.seq = n.entry_seq + 1
    WHERE (n.debits_posted, n.credits_posted, n.debits_pending, n.credits_pending, n.entry_seq, n.moved_at)
        IS DISTINCT FROM (o.debits_posted, o.credits_posted, o.debits_pending, o.credits_pending, o.entry_seq, o.moved_at)
      AND (n.entry_seq <= o.entry_seq OR later.seq IS NOT NULL
        OR (n.debits_posted, n.credits_posted, n.debits_pending, n.credits_pending, n.moved_at)
          IS DISTINCT FROM (e.debits_posted, e.credits_posted, e.debits_pending, e.credits_pending, e.created_at))
  ) THEN RAISE EXCEPTION 'accounts_follow_entries' USING ERRCODE = 'check_violation', CONSTRAINT = 'accounts_follow_entries'; END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER accounts_follow_entries AFTER UPDATE ON accounts
REFERENCING OLD TABLE AS before NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION accounts_follow_entries();
CREATE FUNCTION accounts_are_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'accounts_are_kept' USING ERRCODE = 'check_violation', CONSTRAINT = 'accounts_are_kept'; END $$;
CREATE TRIGGER accounts_are_kept BEFORE DELETE ON accounts FOR EACH ROW EXECUTE FUNCTION accounts_are_kept();
-- whoever has money, or could get some, stays
CREATE FUNCTION users_with_accounts_stay() RETURNS trigger LANGUAGE plpgsql
SET search_path FROM CURRENT AS $$
BEGIN
  IF EXISTS (SELECT 1 FROM accounts AS a WHERE a.owner_id = NEW.id AND a.status <> 'closed')
  THEN RAISE EXCEPTION 'users_with_accounts_stay' USING ERRCODE = 'check_violation', CONSTRAINT = 'users_with_accounts_stay'; END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER users_with_accounts_stay BEFORE UPDATE ON users FOR EACH ROW
WHEN (NEW.status = 'deleted' AND OLD.status <> 'deleted') EXECUTE FUNCTION users_with_accounts_stay();

-- ---------- transfers

CREATE FUNCTION transfers_are_sound() RETURNS trigger LANGUAGE plpgsql
SET search_path FROM CURRENT SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE broken text;
BEGIN
  -- what is judged must not change before this is committed: two who reverse one transfer, or one who freezes while
  -- another pays, would each see the world without the other. In the one order in which the daemon, too, holds accounts.
  PERFORM FROM accounts AS a WHERE a.id = ANY (ARRAY(SELECT t.from_account_id FROM fresh AS t) || ARRAY(SELECT t.to_account_id FROM fresh AS t))
    ORDER BY a.id FOR NO KEY UPDATE;
  IF EXISTS (SELECT FROM fresh AS t WHERE t.parent_id IS NOT NULL) THEN
    PERFORM FROM transfers AS p WHERE p.id = ANY (ARRAY(SELECT t.parent_id FROM fresh AS t WHERE t.parent_id IS NOT NULL))
      ORDER BY p.id FOR NO KEY UPDATE;
  END IF;
  SELECT judged.what INTO broken FROM (
    SELECT CASE
      WHEN t.status <> CASE t.kind WHEN 'hold' THEN 'pending' ELSE 'posted' END OR t.captured_amount <> 0 OR t.reversed_amount <> 0
        THEN 'transfers_begin_fresh'
      WHEN a.status = 'closed' OR b.status = 'closed' THEN 'transfers_spare_closed_accounts'
      -- nothing goes out of a frozen account; what was held there may be let go
      WHEN t.kind NOT IN ('void', 'expiry') AND a.status = 'frozen' THEN 'transfers_spare_frozen_accounts'
      WHEN t.kind IN ('capture', 'void', 'expiry') AND NOT COALESCE(p.kind = 'hold' AND p.status = 'pending'
          AND p.from_account_id = t.from_account_id AND p.to_account_id = t.to_account_id AND p.currency = t.currency
          AND CASE t.kind
            WHEN 'capture' THEN t.amount <= p.amount AND (p.expires_at IS NULL OR t.created_at < p.expires_at)
            WHEN 'void' THEN t.amount = p.amount
            ELSE t.amount = p.amount AND p.expires_at IS NOT NULL AND t.created_at >= p.expires_at END, FALSE)
        THEN 'transfers_resolve_a_hold'
      WHEN t.kind = 'reversal' AND NOT COALESCE(p.kind IN ('transfer', 'capture')
          AND p.from_account_id = t.to_account_id AND p.to_account_id = t.from_account_id AND p.currency = t.currency
          AND (SELECT SUM(r.amount) FROM transfers AS r WHERE r.parent_id = p.id AND r.kind = 'reversal') <= p.amount, FALSE)
        THEN 'transfers_reverse_within_amount'
      -- an entry belongs to one transfer: what debits it would else be taken for what credits another
      -- (no EXISTS: PostgreSQL may answer many of those by reading the whole table into a hash)
      WHEN (SELECT TRUE FROM transfers AS o WHERE o.to_account_id = t.from_account_id AND o.to_seq = t.from_seq)
          OR (SELECT TRUE FROM transfers AS o WHERE o.from_account_id = t.to_account_id AND o.from_seq = t.to_seq)
        THEN 'transfers_share_no_entry'
      END AS what
    FROM fresh AS t JOIN accounts AS a ON a.id = t.from_account_id JOIN accounts AS b ON b.id = t.to_account_id
      LEFT JOIN transfers AS p ON p.id = t.parent_id
  ) AS judged WHERE judged.what IS NOT NULL LIMIT 1;
  IF broken IS NOT NULL THEN RAISE EXCEPTION '%', broken USING ERRCODE = 'check_violation', CONSTRAINT = broken; END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER transfers_are_sound AFTER INSERT ON transfers
REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION transfers_are_sound();
CREATE FUNCTION transfers_are_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'transfers_are_append_only' USING ERRCODE = 'check_violation', CONSTRAINT = 'transfers_are_append_only'; END $$;
CREATE TRIGGER transfers_are_fixed BEFORE UPDATE ON transfers FOR EACH ROW
WHEN ((NEW.id, NEW.kind, NEW.parent_id, NEW.from_account_id, NEW.from_seq, NEW.to_account_id, NEW.to_seq, NEW.amount, NEW.currency, NEW.reason, NEW.description, NEW.external_id, NEW.actor_id, NEW.request_id, NEW.expires_at, NEW.metadata, NEW.created_at)
  IS DISTINCT FROM (OLD.id, OLD.kind, OLD.parent_id, OLD.from_account_id, OLD.from_seq, OLD.to_account_id, OLD.to_seq, OLD.amount, OLD.currency, OLD.reason, OLD.description, OLD.external_id, OLD.actor_id, OLD.request_id, OLD.expires_at, OLD.metadata, OLD.created_at))
EXECUTE FUNCTION transfers_are_append_only();
-- the state of a hold, and what was captured and reversed, say what the children say
CREATE FUNCTION transfers_follow_children() RETURNS trigger LANGUAGE plpgsql
SET search_path FROM CURRENT AS $$
BEGIN
  IF (NEW.status <> OLD.status OR NEW.captured_amount <> OLD.captured_amount)
    AND NOT (OLD.status = 'pending' AND EXISTS (SELECT 1 FROM transfers AS c WHERE c.parent_id = OLD.id AND CASE c.kind
      WHEN 'capture' THEN NEW.status = 'captured' AND NEW.captured_amount = c.amount
      WHEN 'void' THEN NEW.status = 'voided' AND NEW.captured_amount = 0
      WHEN 'expiry' THEN NEW.status = 'expired' AND NEW.captured_amount = 0
      ELSE FALSE END))
    OR NEW.reversed_amount <> OLD.reversed_amount
    AND NOT (NEW.reversed_amount > OLD.reversed_amount
      AND NEW.reversed_amount = (SELECT COALESCE(SUM(r.amount), 0) FROM transfers AS r WHERE r.parent_id = OLD.id AND r.kind = 'reversal'))
  THEN RAISE EXCEPTION 'transfers_follow_children' USING ERRCODE = 'check_violation', CONSTRAINT = 'transfers_follow_children'; END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER transfers_follow_children BEFORE UPDATE ON transfers FOR EACH ROW EXECUTE FUNCTION transfers_follow_children();
CREATE TRIGGER transfers_are_kept BEFORE DELETE ON transfers FOR EACH ROW EXECUTE FUNCTION transfers_are_append_only();

-- ---------- entries

-- An entry belongs to a transfer that names it, continues the one before it by exactly what the transfer
-- does, is later than it, and leaves the account within its limits, also in the middle of many.
CREATE FUNCTION entries_chain() RETURNS trigger LANGUAGE plpgsql
SET search_path FROM CURRENT SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE broken text;
BEGIN
  SELECT judged.what INTO broken FROM (
    SELECT CASE
      WHEN NOT COALESCE(t.amount = e.amount AND t.created_at = e.created_at
          AND CASE e.side WHEN 'debit' THEN t.from_account_id = e.account_id AND t.from_seq = e.seq ELSE t.to_account_id = e.account_id AND t.to_seq = e.seq END
          AND e.seq > a.entry_seq AND (e.seq = 1 OR p.seq IS NOT NULL) AND e.created_at > COALESCE(p.created_at, -1)
          AND e.debits_posted = COALESCE(p.debits_posted, 0)
            + CASE WHEN e.side = 'debit' AND t.kind IN ('transfer', 'capture', 'reversal') THEN t.amount ELSE 0 END
          AND e.credits_posted = COALESCE(p.credits_posted, 0)
            + CASE WHEN e.side = 'credit' AND t.kind IN ('transfer', 'capture', 'reversal') THEN t.amount ELSE 0 END
          AND e.debits_pending = COALESCE(p.debits_pending, 0)
            + CASE WHEN e.side = 'debit' THEN CASE t.kind WHEN 'hold' THEN t.amount WHEN 'capture' THEN -h.amount WHEN 'void' THEN -h.amount WHEN 'expiry' THEN -h.amount ELSE 0 END ELSE 0 END
          AND e.credits_pending = COALESCE(p.credits_pending, 0)
            + CASE WHEN e.side = 'credit' THEN CASE t.kind WHEN 'hold' THEN t.amount WHEN 'capture' THEN -h.amount WHEN 'void' THEN -h.amount WHEN 'expiry' THEN -h.amount ELSE 0 END ELSE 0 END, FALSE)
        THEN 'entries_chain'
      WHEN e.credits_posted - e.debits_posted - e.debits_pending < -a.overdraft_limit THEN 'accounts_funds'
      WHEN e.credits_posted + e.credits_pending - e.debits_posted > a.max_balance THEN 'accounts_balance_limit'
      END AS what
    FROM fresh AS e
      LEFT JOIN transfers AS t ON t.id = e.transfer_id
      LEFT JOIN accounts AS a ON a.id = e.account_id
      LEFT JOIN entries AS p ON p.account_id = e.account_id AND p.seq = e.seq - 1
      LEFT JOIN transfers AS h ON h.id = t.parent_id
  ) AS judged WHERE judged.what IS NOT NULL LIMIT 1;
  IF broken IS NOT NULL THEN RAISE EXCEPTION '%', broken USING ERRCODE = 'check_violation', CONSTRAINT = broken; END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER entries_chain AFTER INSERT ON entries
REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION entries_chain();
CREATE FUNCTION entries_are_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'entries_are_append_only' USING ERRCODE = 'check_violation', CONSTRAINT = 'entries_are_append_only'; END $$;
CREATE TRIGGER entries_are_fixed BEFORE UPDATE ON entries FOR EACH ROW EXECUTE FUNCTION entries_are_append_only();
CREATE TRIGGER entries_are_kept BEFORE DELETE ON entries FOR EACH ROW EXECUTE FUNCTION entries_are_append_only();

-- TRUNCATE passes row triggers by
CREATE FUNCTION books_are_not_truncated() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'books_are_not_truncated' USING ERRCODE = 'check_violation', CONSTRAINT = 'books_are_not_truncated'; END $$;
CREATE TRIGGER accounts_are_not_truncated BEFORE TRUNCATE ON accounts EXECUTE FUNCTION books_are_not_truncated();
CREATE TRIGGER transfers_are_not_truncated BEFORE TRUNCATE ON transfers EXECUTE FUNCTION books_are_not_truncated();
CREATE TRIGGER entries_are_not_truncated BEFORE TRUNCATE ON entries EXECUTE FUNCTION books_are_not_truncated();
