//! Keys in the store: what signs tokens and cursors, shared by all daemons on one database.

use diesel::prelude::*;

use crate::{
    db::{Conn, both},
    error::Result,
    schema::secrets,
};

/// A secret as the store has it: sealed when there is a master key.
#[derive(Debug, Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = secrets)]
pub struct Row {
    /// Its name; of a key that signs tokens the `kid`.
    pub id: String,
    /// `tokens` or `cursors`.
    pub purpose: String,
    /// The sealed bytes.
    pub value: String,
    /// Microseconds since 1970.
    pub created_at: i64,
    /// From when on it signs.
    pub signs_from: i64,
}

/// Purpose of the keys that sign tokens.
pub const TOKENS: &str = "tokens";
/// Purpose of the one key that signs cursors.
pub const CURSORS: &str = "cursors";

/// All of them, by when they sign.
pub fn all(conn: &mut Conn) -> Result<Vec<Row>> {
    Ok(secrets::table.order((secrets::signs_from, secrets::id)).select(Row::as_select()).load(conn)?)
}

/// The same, held against everybody else who changes them until the transaction ends. What holds is the row of
/// the cursor key, which is never replaced; in SQLite there is one writer anyway.
pub fn lock(conn: &mut Conn) -> Result<Vec<Row>> {
    if let Conn::Pg(pg) = conn {
        let cursors = secrets::table.filter(secrets::purpose.eq(CURSORS)).select(secrets::id);
        cursors.for_update().load::<String>(pg)?;
    }
    all(conn)
}

/// Puts a secret there unless another daemon was quicker with one of the same name.
pub fn insert(conn: &mut Conn, row: &Row) -> Result<()> {
    both!(conn, |conn| diesel::insert_into(secrets::table)
        .values(row)
        .on_conflict_do_nothing()
        .execute(conn))?;
    Ok(())
}

/// Lets a key sign from another time on.
pub fn begin(conn: &mut Conn, id: &str, signs_from: i64) -> Result<()> {
    diesel::update(secrets::table.find(id)).set(secrets::signs_from.eq(signs_from)).execute(conn)?;
    Ok(())
}

/// Throws a secret away.
pub fn delete(conn: &mut Conn, id: &str) -> Result<()> {
    diesel::delete(secrets::table.find(id)).execute(conn)?;
    Ok(())
}

/// Puts another sealed form in the place of a secret.
pub fn replace(conn: &mut Conn, id: &str, value: &str) -> Result<()> {
    diesel::update(secrets::table.find(id)).set(secrets::value.eq(value)).execute(conn)?;
    Ok(())
}
