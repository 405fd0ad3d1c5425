//! Both engines hold the same: tables, columns, nullability, constraints, indexes and triggers.

use std::{collections::BTreeMap, fs, path::Path};

use bursar_server::{Location, testing::TestServer};

use crate::support::{rows, rows_at};

fn migrations(engine: &str) -> Vec<(String, String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("migrations").join(engine);
    let mut names: Vec<String> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let read = |name: &str, file: &str| fs::read_to_string(folder.join(name).join(file)).unwrap();
    names.into_iter().map(|name| (name.clone(), read(&name, "up.sql"), read(&name, "down.sql"))).collect()
}

/// The names that follow these words in a migration, sorted.
fn named(sql: &str, words: &str) -> Vec<String> {
    let sql: String = sql.lines().map(|line| line.split("--").next().unwrap()).collect::<Vec<_>>().join(" ");
    let sql = sql.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut names: Vec<String> = sql
        .match_indices(&format!("{words} "))
        .map(|(at, found)| sql[at + found.len()..].split([' ', '(', ';', ',']).next().unwrap().to_owned())
        // in PL/pgSQL the name of a constraint is also given to an error
        .filter(|name| name != "=")
        .collect();
    names.sort();
    names
}

#[test]
fn both_folders_have_the_same_migrations_with_the_same_names() {
    let (sqlite, postgres) = (migrations("sqlite"), migrations("postgres"));
    assert!(!sqlite.is_empty());
    assert_eq!(
        sqlite.iter().map(|one| &one.0).collect::<Vec<_>>(),
        postgres.iter().map(|one| &one.0).collect::<Vec<_>>()
    );
    for ((name, up, _), (_, other, _)) in sqlite.iter().zip(&postgres) {
        for words in ["CREATE TABLE", "CREATE INDEX", "CREATE UNIQUE INDEX", "CONSTRAINT"] {
            assert_eq!(named(up, words), named(other, words), "{words} in {name}");
        }
        // TRUNCATE is PostgreSQL's alone, and OR REPLACE SQLite's
        let alone = |name: &String| name.ends_with("_truncated") || name.contains("replace");
        let triggers = |sql| -> Vec<String> {
            named(sql, "CREATE TRIGGER").into_iter().filter(|name| !alone(name)).collect()
        };
        assert_eq!(triggers(up), triggers(other), "triggers in {name}");
    }
}

#[test]
fn every_table_is_strict_every_constraint_named_and_every_text_compared_by_bytes() {
    for (name, up, _) in migrations("sqlite") {
        let tables = up.matches("CREATE TABLE").count();
        assert_eq!(up.matches(") STRICT").count(), tables, "{name}");
        for table in up.split("CREATE TABLE").skip(1) {
            let body = table.split(") STRICT").next().unwrap();
            for line in body.lines().filter(|line| !line.trim_start().starts_with("--")) {
                let rule =
                    ["CHECK", "FOREIGN KEY", "PRIMARY KEY", "UNIQUE"].iter().any(|word| line.contains(word));
                assert!(!rule || line.contains("CONSTRAINT"), "{name}: {line}");
            }
        }
    }
    for (name, up, _) in migrations("postgres") {
        for line in up.lines().filter(|line| line.starts_with("  ") && line.contains(" TEXT")) {
            assert!(line.contains("COLLATE \"C\""), "{name}: {line}");
        }
    }
}

/// Every column as `table.column type null`, by one map of types.
fn columns(location: &Location) -> Vec<String> {
    let sql = match location {
        Location::Sqlite(_) => {
            "SELECT t.name || '.' || c.name || ' ' || c.type || CASE c.\"notnull\" WHEN 1 THEN '' ELSE ' null' END AS value
             FROM pragma_table_list AS t JOIN pragma_table_info(t.name) AS c
             WHERE t.schema = 'main' AND t.type = 'table' AND t.name NOT LIKE 'sqlite_%' AND t.name NOT LIKE '\\_\\_diesel%' ESCAPE '\\'"
        }
        Location::Postgres(_) => {
            "SELECT table_name || '.' || column_name || ' ' || data_type || CASE is_nullable WHEN 'NO' THEN '' ELSE ' null' END AS value
             FROM information_schema.columns WHERE table_schema = 'public' AND table_name NOT LIKE '\\_\\_diesel%'"
        }
    };
    let types = BTreeMap::from([("bigint", "INTEGER"), ("text", "TEXT")]);
    let mut found: Vec<String> = rows_at(location, sql)
        .into_iter()
        .map(|column| {
            types.iter().fold(column, |column, (theirs, ours)| {
                column.replace(&format!(" {theirs}"), &format!(" {ours}"))
            })
        })
        .collect();
    found.sort();
    found
}

/// Every index as `name on table (columns)`.
fn indexes(location: &Location) -> Vec<String> {
    let sql = match location {
        Location::Sqlite(_) => {
            "SELECT i.name || ' ' || t.name || ' ' || i.\"unique\" || ' ' || (SELECT group_concat(c.name) FROM pragma_index_info(i.name) AS c) AS value
             FROM pragma_table_list AS t JOIN pragma_index_list(t.name) AS i WHERE i.origin = 'c'"
        }
        Location::Postgres(_) => {
            "SELECT i.relname || ' ' || t.relname || ' ' || CASE WHEN x.indisunique THEN '1' ELSE '0' END || ' ' ||
             (SELECT string_agg(a.attname, ',' ORDER BY k.place) FROM unnest(x.indkey) WITH ORDINALITY AS k(number, place)
              JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum = k.number) AS value
             FROM pg_index AS x JOIN pg_class AS i ON i.oid = x.indexrelid JOIN pg_class AS t ON t.oid = x.indrelid
             JOIN pg_namespace AS n ON n.oid = t.relnamespace
             WHERE n.nspname = 'public' AND t.relname NOT LIKE '\\_\\_diesel%' AND NOT EXISTS (SELECT 1 FROM pg_constraint AS c WHERE c.conindid = i.oid)"
        }
    };
    let mut found = rows_at(location, sql);
    found.sort();
    found
}

/// A SQLite store of its own, migrated.
async fn sqlite() -> (tempfile::TempDir, Location) {
    let folder = tempfile::tempdir().unwrap();
    let flags = [("listen", "127.0.0.1:0"), ("data-dir", folder.path().to_str().unwrap())];
    let flags = flags.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    let sources = bursar_server::config::Sources { flags, ..Default::default() };
    let config = bursar_server::config::Config::load(&sources).unwrap();
    assert!(!bursar_server::migrate(&config).unwrap().is_empty());
    assert!(bursar_server::migrate(&config).unwrap().is_empty(), "what was done is done again");
    (folder, config.location)
}

#[tokio::test]
async fn both_engines_have_the_same_columns_and_indexes() {
    let (_folder, here) = sqlite().await;
    assert!(columns(&here).len() > 50, "{:?}", columns(&here));
    assert!(indexes(&here).len() > 10, "{:?}", indexes(&here));
    let s = TestServer::start().await;
    if !s.is_postgres() {
        println!("only SQLite is at hand; the names in both folders are compared by another test");
    }
    assert_eq!(columns(s.location()), columns(&here));
    assert_eq!(indexes(s.location()), indexes(&here));
}

#[tokio::test]
async fn down_takes_everything_away_and_up_brings_it_back() {
    let mut s = TestServer::start().await;
    let (columns_before, indexes_before) = (columns(s.location()), indexes(s.location()));
    s.pause().await;
    let engine = if s.is_postgres() { "postgres" } else { "sqlite" };
    for (name, _, down) in migrations(engine).into_iter().rev() {
        s.sql(&down).await.unwrap_or_else(|why| panic!("{name}: {why}"));
    }
    assert_eq!(columns(s.location()), Vec::<String>::new());
    if s.is_postgres() {
        let left = rows(
            &s,
            "SELECT proname::text AS value FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND proname NOT LIKE 'diesel_%'",
        );
        assert_eq!(left, Vec::<String>::new());
    }
    s.sql("DELETE FROM __diesel_schema_migrations").await.unwrap();
    s.resume().await;
    assert_eq!((columns(s.location()), indexes(s.location())), (columns_before, indexes_before));
    s.signed_in("owner", "owner").await;
}
