//! The one connection type: an enum of both engines, so that repositories are written once.

#![expect(missing_docs, reason = "the derive makes types and functions that it does not explain")]

use diesel::{MultiConnection, PgConnection, SqliteConnection};

/// A connection to either engine.
#[derive(MultiConnection)]
pub enum Conn {
    /// PostgreSQL.
    Pg(PgConnection),
    /// SQLite.
    Sqlite(SqliteConnection),
}
