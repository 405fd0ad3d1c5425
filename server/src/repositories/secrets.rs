//! Keys in the store: what signs tokens and cursors, shared by all daemons on one database.

use bursar_shared::time::Timestamp;
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
    /// Its name.
    pub id: String,
    /// `tokens` or `cursors`.
    pub purpose: String,
    /// The sealed bytes.
    pub value: String,
    /// Microseconds since 1970.
    pub created_at: i64,
}

/// All of them, oldest first.
pub fn all(conn: &mut Conn) -> Result<Vec<Row>> {
    Ok(secrets::table.order((secrets::created_at, secrets::id)).select(Row::as_select()).load(conn)?)
}

/// Puts a secret there unless another daemon was quicker with one of the same name.
pub fn insert(conn: &mut Conn, id: &str, purpose: &str, value: &str, now: Timestamp) -> Result<()> {
    let row = Row {
        id: id.to_owned(),
        purpose: purpose.to_owned(),
        value: value.to_owned(),
        created_at: now.micros(),
    };
    both!(conn, |conn| diesel::insert_into(secrets::table)
        .values(&row)
        .on_conflict_do_nothing()
        .execute(conn))?;
    Ok(())
}

/// Puts another sealed form in the place of a secret.
pub fn replace(conn: &mut Conn, id: &str, value: &str) -> Result<()> {
    diesel::update(secrets::table.find(id)).set(secrets::value.eq(value)).execute(conn)?;
    Ok(())
}
