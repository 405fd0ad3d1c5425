DROP TRIGGER users_with_accounts_stay;
DROP TRIGGER accounts_are_kept;
DROP TRIGGER transfers_are_kept;
DROP TRIGGER entries_are_kept;
DROP TABLE transfers;
DROP TABLE entries;
DROP TABLE accounts;
DROP TABLE counters;
