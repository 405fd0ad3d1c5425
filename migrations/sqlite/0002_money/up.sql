-- Accounts, transfers and their entries: money that the database itself refuses to lose.
-- A transfer debits one account and credits another, and leaves one entry on each. An entry continues
-- the one before it, and an account's counters change only to what its last entry says, so one UPDATE
-- may stand for many entries. Within a transaction the order is: transfers, entries, accounts.
-- Amounts are whole minor units below 2^53, because a JSON number holds no more.

-- numbers that people read: one row a kind
CREATE TABLE counters (
  name  TEXT NOT NULL CONSTRAINT counters_pk PRIMARY KEY,
  value INTEGER NOT NULL,
  CONSTRAINT counters_go_up CHECK (value >= 0)
) STRICT;
INSERT INTO counters (name, value) VALUES ('accounts', 0);

CREATE TABLE accounts (
  id              TEXT NOT NULL CONSTRAINT accounts_id PRIMARY KEY,
  number          INTEGER NOT NULL,
  name            TEXT NOT NULL,
  name_sort       TEXT NOT NULL,
  owner_id        TEXT,
  system_key      TEXT,
  currency        TEXT NOT NULL,
  status          TEXT NOT NULL,
  overdraft_limit INTEGER,
  max_balance     INTEGER,
  debits_posted   INTEGER NOT NULL,
  credits_posted  INTEGER NOT NULL,
  debits_pending  INTEGER NOT NULL,
  credits_pending INTEGER NOT NULL,
  entry_seq       INTEGER NOT NULL,
  moved_at        INTEGER NOT NULL,
  external_id     TEXT,
  metadata        TEXT NOT NULL,
  version         INTEGER NOT NULL,
  created_at      INTEGER NOT NULL,
  updated_at      INTEGER NOT NULL,
  CONSTRAINT accounts_id_is_typed CHECK (id GLOB 'acc_[0-7]*' AND length(CAST(id AS BLOB)) = 30 AND substr(id, 5) NOT GLOB '*[^0-9a-hjkmnp-tv-z]*'),
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
) STRICT;
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
  account_id      TEXT NOT NULL,
  seq             INTEGER NOT NULL,
  transfer_id     TEXT NOT NULL,
  side            TEXT NOT NULL,
  amount          INTEGER NOT NULL,
  debits_posted   INTEGER NOT NULL,
  credits_posted  INTEGER NOT NULL,
  debits_pending  INTEGER NOT NULL,
  credits_pending INTEGER NOT NULL,
  created_at      INTEGER NOT NULL,
  CONSTRAINT entries_pk PRIMARY KEY (account_id, seq),
  CONSTRAINT entries_side_is_known CHECK (side IN ('debit', 'credit'))
) STRICT, WITHOUT ROWID;

CREATE TABLE transfers (
  id              TEXT NOT NULL CONSTRAINT transfers_id PRIMARY KEY,
  kind            TEXT NOT NULL,
  status          TEXT NOT NULL,
  parent_id       TEXT,
  from_account_id TEXT NOT NULL,
  from_seq        INTEGER NOT NULL,
  to_account_id   TEXT NOT NULL,
  to_seq          INTEGER NOT NULL,
  amount          INTEGER NOT NULL,
  currency        TEXT NOT NULL,
  captured_amount INTEGER NOT NULL,
  reversed_amount INTEGER NOT NULL,
  reason          TEXT,
  description     TEXT NOT NULL,
  external_id     TEXT,
  actor_id        TEXT,
  request_id      TEXT NOT NULL,
  expires_at      INTEGER,
  metadata        TEXT NOT NULL,
  created_at      INTEGER NOT NULL,
  CONSTRAINT transfers_id_is_typed CHECK (id GLOB 'trf_[0-7]*' AND length(CAST(id AS BLOB)) = 30 AND substr(id, 5) NOT GLOB '*[^0-9a-hjkmnp-tv-z]*'),
  CONSTRAINT transfers_kind_is_known CHECK (kind IN ('transfer', 'hold', 'capture', 'void', 'expiry', 'reversal')),
  CONSTRAINT transfers_status_fits_kind CHECK (CASE kind WHEN 'hold' THEN status IN ('pending', 'captured', 'voided', 'expired') ELSE status = 'posted' END),
  CONSTRAINT transfers_parent_fits_kind CHECK ((kind IN ('capture', 'void', 'expiry', 'reversal')) = (parent_id IS NOT NULL)),
  CONSTRAINT transfers_parent FOREIGN KEY (parent_id) REFERENCES transfers (id) DEFERRABLE INITIALLY DEFERRED,
  CONSTRAINT transfers_from FOREIGN KEY (from_account_id, currency) REFERENCES accounts (id, currency) DEFERRABLE INITIALLY DEFERRED,
  CONSTRAINT transfers_to FOREIGN KEY (to_account_id, currency) REFERENCES accounts (id, currency) DEFERRABLE INITIALLY DEFERRED,
  -- no COMMIT before both entries are there
  CONSTRAINT transfers_debit FOREIGN KEY (from_account_id, from_seq) REFERENCES entries (account_id, seq) DEFERRABLE INITIALLY DEFERRED,
  CONSTRAINT transfers_credit FOREIGN KEY (to_account_id, to_seq) REFERENCES entries (account_id, seq) DEFERRABLE INITIALLY DEFERRED,
  CONSTRAINT transfers_have_two_accounts CHECK (from_account_id <> to_account_id),
  CONSTRAINT transfers_amount_counts CHECK (amount BETWEEN 1 AND 9007199254740991),
  CONSTRAINT transfers_captured_fits CHECK (captured_amount BETWEEN 0 AND amount AND (captured_amount > 0) = (status = 'captured')),
  CONSTRAINT transfers_reversed_fits CHECK (reversed_amount BETWEEN 0 AND amount AND (reversed_amount = 0 OR kind IN ('transfer', 'capture'))),
  CONSTRAINT transfers_expiry_fits_kind CHECK (expires_at IS NULL OR kind = 'hold'),
  CONSTRAINT transfers_time_is_sane CHECK (created_at >= 0)
) STRICT;
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

-- What is refused of the statements that run for every transfer fails and does not abort: each row is judged before
-- it is written, so there is nothing of it to undo, and SQLite keeps no copies of pages for that case.

-- ---------- accounts

CREATE TRIGGER accounts_begin_at_zero BEFORE INSERT ON accounts
WHEN NEW.debits_posted <> 0 OR NEW.credits_posted <> 0 OR NEW.debits_pending <> 0 OR NEW.credits_pending <> 0 OR NEW.entry_seq <> 0 OR NEW.moved_at <> 0
BEGIN SELECT RAISE(ABORT, 'accounts_begin_at_zero'); END;
-- OR REPLACE deletes what is in the way, and where recursive_triggers is off, as in a plain shell, no trigger
-- hears of it: so what is in the way is looked for first, and refused under the name of the index it breaks
CREATE TRIGGER accounts_are_not_replaced BEFORE INSERT ON accounts
BEGIN
  SELECT RAISE(ABORT, 'accounts_id') WHERE EXISTS (SELECT 1 FROM accounts AS o WHERE o.id = NEW.id OR o.rowid = NEW.rowid);
  SELECT RAISE(ABORT, 'accounts_number') WHERE EXISTS (SELECT 1 FROM accounts AS o WHERE o.number = NEW.number);
  SELECT RAISE(ABORT, 'accounts_system_key') WHERE EXISTS (SELECT 1 FROM accounts AS o WHERE o.system_key = NEW.system_key AND o.currency = NEW.currency);
  SELECT RAISE(ABORT, 'accounts_external_id') WHERE EXISTS (SELECT 1 FROM accounts AS o WHERE o.external_id = NEW.external_id);
END;
CREATE TRIGGER accounts_replace_none BEFORE UPDATE OF external_id ON accounts WHEN NEW.external_id IS NOT OLD.external_id
BEGIN
  SELECT RAISE(ABORT, 'accounts_external_id') WHERE EXISTS (SELECT 1 FROM accounts AS o WHERE o.external_id = NEW.external_id);
END;
CREATE TRIGGER accounts_identity_is_fixed BEFORE UPDATE ON accounts
WHEN NEW.id <> OLD.id OR NEW.rowid <> OLD.rowid OR NEW.number <> OLD.number OR NEW.currency <> OLD.currency OR NEW.owner_id IS NOT OLD.owner_id OR NEW.system_key IS NOT OLD.system_key OR NEW.created_at <> OLD.created_at
BEGIN SELECT RAISE(FAIL, 'accounts_identity_is_fixed'); END;
CREATE TRIGGER accounts_closed_is_final BEFORE UPDATE ON accounts WHEN OLD.status = 'closed' AND NEW.status <> 'closed'
BEGIN SELECT RAISE(FAIL, 'accounts_closed_is_final'); END;
-- counters change only to what the account's last entry says
CREATE TRIGGER accounts_follow_entries BEFORE UPDATE ON accounts
WHEN NEW.debits_posted <> OLD.debits_posted OR NEW.credits_posted <> OLD.credits_posted OR NEW.debits_pending <> OLD.debits_pending OR NEW.credits_pending <> OLD.credits_pending OR NEW.entry_seq <> OLD.entry_seq OR NEW.moved_at <> OLD.moved_at
BEGIN
  SELECT RAISE(FAIL, 'accounts_follow_entries') WHERE NEW.entry_seq <= OLD.entry_seq
    OR EXISTS (SELECT 1 FROM entries AS e WHERE e.account_id = NEW.id AND e.seq = NEW.entry_seq + 1)
    OR NOT EXISTS (SELECT 1 FROM entries AS e WHERE e.account_id = NEW.id AND e.seq = NEW.entry_seq AND e.created_at = NEW.moved_at
      AND e.debits_posted = NEW.debits_posted AND e.credits_posted = NEW.credits_posted AND e.debits_pending = NEW.debits_pending AND e.credits_pending = NEW.credits_pending);
END;
CREATE TRIGGER accounts_are_kept BEFORE DELETE ON accounts BEGIN SELECT RAISE(ABORT, 'accounts_are_kept'); END;
-- whoever has money, or could get some, stays
CREATE TRIGGER users_with_accounts_stay BEFORE UPDATE ON users WHEN NEW.status = 'deleted' AND OLD.status <> 'deleted'
BEGIN
  SELECT RAISE(ABORT, 'users_with_accounts_stay') WHERE EXISTS (SELECT 1 FROM accounts AS a WHERE a.owner_id = NEW.id AND a.status <> 'closed');
END;

-- ---------- transfers

CREATE TRIGGER transfers_are_sound BEFORE INSERT ON transfers
BEGIN
  -- nothing is replaced, as with accounts
  SELECT RAISE(FAIL, 'transfers_id') WHERE EXISTS (SELECT 1 FROM transfers AS o WHERE o.id = NEW.id)
    OR EXISTS (SELECT 1 FROM transfers AS o WHERE o.rowid = NEW.rowid);
  SELECT RAISE(FAIL, 'transfers_external_id') WHERE NEW.external_id IS NOT NULL AND EXISTS (SELECT 1 FROM transfers AS o WHERE o.external_id = NEW.external_id);
  SELECT RAISE(FAIL, 'transfers_parent_id') WHERE NEW.kind IN ('capture', 'void', 'expiry')
    AND EXISTS (SELECT 1 FROM transfers AS o WHERE o.parent_id = NEW.parent_id AND o.kind IN ('capture', 'void', 'expiry'));
  -- an entry belongs to one transfer: what debits it would else be taken for what credits another
  SELECT RAISE(FAIL, 'transfers_share_no_entry') WHERE EXISTS (SELECT 1 FROM transfers AS o WHERE o.from_account_id = NEW.from_account_id AND o.from_seq = NEW.from_seq)
    OR EXISTS (SELECT 1 FROM transfers AS o WHERE o.to_account_id = NEW.to_account_id AND o.to_seq = NEW.to_seq)
    OR EXISTS (SELECT 1 FROM transfers AS o WHERE o.to_account_id = NEW.from_account_id AND o.to_seq = NEW.from_seq)
    OR EXISTS (SELECT 1 FROM transfers AS o WHERE o.from_account_id = NEW.to_account_id AND o.from_seq = NEW.to_seq);
  SELECT RAISE(FAIL, 'transfers_begin_fresh') WHERE NEW.status <> CASE NEW.kind WHEN 'hold' THEN 'pending' ELSE 'posted' END
    OR NEW.captured_amount <> 0 OR NEW.reversed_amount <> 0;
  -- both accounts are there, in this currency, and take part; nothing goes out of a frozen one, and what was held
  -- there may be let go
  SELECT CASE
      WHEN (f.currency = NEW.currency) IS NOT TRUE THEN RAISE(FAIL, 'transfers_from')
      WHEN (t.currency = NEW.currency) IS NOT TRUE THEN RAISE(FAIL, 'transfers_to')
      WHEN f.status = 'closed' OR t.status = 'closed' THEN RAISE(FAIL, 'transfers_spare_closed_accounts')
      WHEN f.status = 'frozen' AND NEW.kind NOT IN ('void', 'expiry') THEN RAISE(FAIL, 'transfers_spare_frozen_accounts')
    END
    FROM (SELECT 1) LEFT JOIN accounts AS f ON f.id = NEW.from_account_id LEFT JOIN accounts AS t ON t.id = NEW.to_account_id;
  SELECT RAISE(FAIL, 'transfers_parent') WHERE NEW.parent_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM transfers AS o WHERE o.id = NEW.parent_id);
  SELECT RAISE(FAIL, 'transfers_resolve_a_hold') WHERE NEW.kind IN ('capture', 'void', 'expiry')
    AND NOT EXISTS (SELECT 1 FROM transfers AS h WHERE h.id = NEW.parent_id AND h.kind = 'hold' AND h.status = 'pending'
      AND h.from_account_id = NEW.from_account_id AND h.to_account_id = NEW.to_account_id AND h.currency = NEW.currency
      AND CASE NEW.kind
        WHEN 'capture' THEN NEW.amount <= h.amount AND (h.expires_at IS NULL OR NEW.created_at < h.expires_at)
        WHEN 'void' THEN NEW.amount = h.amount
        ELSE NEW.amount = h.amount AND h.expires_at IS NOT NULL AND NEW.created_at >= h.expires_at END);
  SELECT RAISE(FAIL, 'transfers_reverse_within_amount') WHERE NEW.kind = 'reversal'
    AND NOT EXISTS (SELECT 1 FROM transfers AS o WHERE o.id = NEW.parent_id AND o.kind IN ('transfer', 'capture')
      AND o.from_account_id = NEW.to_account_id AND o.to_account_id = NEW.from_account_id AND o.currency = NEW.currency
      AND NEW.amount + (SELECT COALESCE(SUM(r.amount), 0) FROM transfers AS r WHERE r.parent_id = o.id AND r.kind = 'reversal') <= o.amount);
END;
CREATE TRIGGER transfers_are_fixed BEFORE UPDATE ON transfers
WHEN NEW.id <> OLD.id OR NEW.rowid <> OLD.rowid OR NEW.kind <> OLD.kind OR NEW.parent_id IS NOT OLD.parent_id OR NEW.from_account_id <> OLD.from_account_id OR NEW.from_seq <> OLD.from_seq
  OR NEW.to_account_id <> OLD.to_account_id OR NEW.to_seq <> OLD.to_seq OR NEW.amount <> OLD.amount OR NEW.currency <> OLD.currency OR NEW.reason IS NOT OLD.reason
  OR NEW.description <> OLD.description OR NEW.external_id IS NOT OLD.external_id OR NEW.actor_id IS NOT OLD.actor_id OR NEW.request_id <> OLD.request_id
  OR NEW.expires_at IS NOT OLD.expires_at OR NEW.metadata <> OLD.metadata OR NEW.created_at <> OLD.created_at
BEGIN SELECT RAISE(ABORT, 'transfers_are_append_only'); END;
-- the state of a hold, and what was captured and reversed, say what the children say
CREATE TRIGGER transfers_follow_children BEFORE UPDATE ON transfers
BEGIN
  SELECT RAISE(ABORT, 'transfers_follow_children') WHERE (NEW.status <> OLD.status OR NEW.captured_amount <> OLD.captured_amount)
    AND NOT (OLD.status = 'pending' AND EXISTS (SELECT 1 FROM transfers AS c WHERE c.parent_id = OLD.id AND CASE c.kind
      WHEN 'capture' THEN NEW.status = 'captured' AND NEW.captured_amount = c.amount
      WHEN 'void' THEN NEW.status = 'voided' AND NEW.captured_amount = 0
      WHEN 'expiry' THEN NEW.status = 'expired' AND NEW.captured_amount = 0
      ELSE FALSE END));
  SELECT RAISE(ABORT, 'transfers_follow_children') WHERE NEW.reversed_amount <> OLD.reversed_amount
    AND NOT (NEW.reversed_amount > OLD.reversed_amount
      AND NEW.reversed_amount = (SELECT COALESCE(SUM(r.amount), 0) FROM transfers AS r WHERE r.parent_id = OLD.id AND r.kind = 'reversal'));
END;
CREATE TRIGGER transfers_are_kept BEFORE DELETE ON transfers BEGIN SELECT RAISE(ABORT, 'transfers_are_append_only'); END;

-- ---------- entries

-- An entry belongs to a transfer that names it, continues the one before it by exactly what the transfer
-- does, is later than it, and leaves the account within its limits, also in the middle of many.
CREATE TRIGGER entries_chain BEFORE INSERT ON entries
BEGIN
  SELECT CASE
      WHEN (t.amount = NEW.amount AND t.created_at = NEW.created_at
        AND CASE NEW.side WHEN 'debit' THEN t.from_account_id = NEW.account_id AND t.from_seq = NEW.seq ELSE t.to_account_id = NEW.account_id AND t.to_seq = NEW.seq END
        AND NEW.seq > a.entry_seq AND (NEW.seq = 1 OR p.seq IS NOT NULL) AND NEW.created_at > COALESCE(p.created_at, -1)
        AND NEW.debits_posted = COALESCE(p.debits_posted, 0)
          + CASE WHEN NEW.side = 'debit' AND t.kind IN ('transfer', 'capture', 'reversal') THEN t.amount ELSE 0 END
        AND NEW.credits_posted = COALESCE(p.credits_posted, 0)
          + CASE WHEN NEW.side = 'credit' AND t.kind IN ('transfer', 'capture', 'reversal') THEN t.amount ELSE 0 END
        AND NEW.debits_pending = COALESCE(p.debits_pending, 0)
          + CASE WHEN NEW.side = 'debit' THEN CASE t.kind WHEN 'hold' THEN t.amount WHEN 'capture' THEN -h.amount WHEN 'void' THEN -h.amount WHEN 'expiry' THEN -h.amount ELSE 0 END ELSE 0 END
        AND NEW.credits_pending = COALESCE(p.credits_pending, 0)
          + CASE WHEN NEW.side = 'credit' THEN CASE t.kind WHEN 'hold' THEN t.amount WHEN 'capture' THEN -h.amount WHEN 'void' THEN -h.amount WHEN 'expiry' THEN -h.amount ELSE 0 END ELSE 0 END)
        IS NOT TRUE THEN RAISE(FAIL, 'entries_chain')
      WHEN NEW.credits_posted - NEW.debits_posted - NEW.debits_pending < -a.overdraft_limit THEN RAISE(FAIL, 'accounts_funds')
      WHEN NEW.credits_posted + NEW.credits_pending - NEW.debits_posted > a.max_balance THEN RAISE(FAIL, 'accounts_balance_limit')
    END
    FROM (SELECT 1) LEFT JOIN accounts AS a ON a.id = NEW.account_id
      LEFT JOIN entries AS p ON p.account_id = NEW.account_id AND p.seq = NEW.seq - 1
      LEFT JOIN transfers AS t ON t.id = NEW.transfer_id
      LEFT JOIN transfers AS h ON h.id = t.parent_id;
END;
CREATE TRIGGER entries_are_fixed BEFORE UPDATE ON entries BEGIN SELECT RAISE(ABORT, 'entries_are_append_only'); END;
CREATE TRIGGER entries_are_kept BEFORE DELETE ON entries BEGIN SELECT RAISE(ABORT, 'entries_are_append_only'); END;
