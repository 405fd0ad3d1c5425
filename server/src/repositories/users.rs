//! People in the store.

use std::{
    collections::{BTreeMap, BTreeSet},
    marker::PhantomData,
};

use bursar_shared::{
    field::{Email, ExternalId, Metadata, Name, UserKind, UserStatus},
    id::UserId,
    operations::users::User,
    page::{Condition, FilterValue, List, Op, Page},
    time::Timestamp,
};
use diesel::{
    prelude::*,
    sql_types::{Array, Text},
};

use super::page::{CountOf, Fetch, Key, Source, compare_text, compare_time, keyset};
use crate::{
    auth::CursorKey,
    db::{Conn, MultiBackend, both, statement},
    error::{Result, broken, not_found},
    schema::{roles, user_roles, user_terms, users},
};

/// A person as the store has them, without their roles.
#[derive(Debug, Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = users)]
pub struct Row {
    /// The id.
    pub id: String,
    /// Lower-cased.
    pub email: String,
    /// The name.
    pub name: String,
    /// The name as it is sorted.
    pub name_sort: String,
    /// `active`, `suspended` or `deleted`.
    pub status: String,
    /// `human` or `service`.
    pub kind: String,
    /// The caller's own id.
    pub external_id: Option<String>,
    /// JSON.
    pub metadata: String,
    /// PHC text or bcrypt.
    pub password_hash: Option<String>,
    /// Microseconds since 1970.
    pub last_login_at: Option<i64>,
    /// Raised by every edit.
    pub version: i64,
    /// Microseconds since 1970.
    pub created_at: i64,
    /// Microseconds since 1970.
    pub updated_at: i64,
}

/// A value in the store that should not be there.
fn damaged<T, E: std::error::Error + Send + Sync + 'static>(read: std::result::Result<T, E>) -> Result<T> {
    read.map_err(|why| broken("a value of the store")(Box::new(why)))
}

impl Row {
    /// A new person, active, version 1.
    pub fn new(id: UserId, email: &Email, name: &Name, kind: UserKind, now: Timestamp) -> Self {
        Self {
            id: id.to_string(),
            email: email.as_str().to_owned(),
            name: name.as_str().to_owned(),
            name_sort: sort_form(name.as_str()),
            status: UserStatus::Active.as_str().to_owned(),
            kind: kind.as_str().to_owned(),
            external_id: None,
            metadata: "{}".to_owned(),
            password_hash: None,
            last_login_at: None,
            version: 1,
            created_at: now.micros(),
            updated_at: now.micros(),
        }
    }

    /// As the API shows them.
    pub fn user(&self, roles: Vec<String>) -> Result<User> {
        // what is stored was valid when it was written: read as answers are, not checked again
        let email: Email = serde_json::from_value(self.email.clone().into())?;
        let name: Name = serde_json::from_value(self.name.clone().into())?;
        let external_id: Option<ExternalId> =
            self.external_id.clone().map(|id| serde_json::from_value(id.into())).transpose()?;
        let metadata: Metadata = serde_json::from_str(&self.metadata)?;
        Ok(User {
            id: damaged(self.id.parse())?,
            email,
            name,
            status: damaged(self.status.parse())?,
            kind: damaged(self.kind.parse())?,
            roles,
            external_id,
            metadata,
            last_login_at: self.last_login_at.map(Timestamp::from_micros),
            version: self.version,
            created_at: Timestamp::from_micros(self.created_at),
            updated_at: Timestamp::from_micros(self.updated_at),
            sessions: None,
            accounts: None,
        })
    }
}

/// How a name is sorted and searched by its beginning.
pub fn sort_form(name: &str) -> String {
    name.to_lowercase()
}

/// The words that a search finds a person by: of the name, and the parts of the email's local part.
pub fn terms(name: &str, email: &str) -> BTreeSet<String> {
    let local = email.split('@').next().unwrap_or_default();
    words(name).chain(words(local)).collect()
}

fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|letter: char| !letter.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(|word| word.to_lowercase().chars().take(64).collect())
}

/// The least text that is greater than all that begin with `prefix`; nothing when there is none.
pub fn prefix_end(prefix: &str) -> Option<String> {
    let mut letters: Vec<char> = prefix.chars().collect();
    while let Some(last) = letters.pop() {
        let next = (last as u32 + 1..=0x10_ffff).find_map(char::from_u32);
        if let Some(next) = next {
            letters.push(next);
            return Some(letters.into_iter().collect());
        }
    }
    None
}

/// The person with this id.
pub fn find(conn: &mut Conn, id: &UserId) -> Result<Option<Row>> {
    Ok(users::table.find(id.to_string()).select(Row::as_select()).first(conn).optional()?)
}

/// The person with this id.
///
/// # Errors
/// `NOT_FOUND`.
pub fn get(conn: &mut Conn, id: &UserId) -> Result<Row> {
    find(conn, id)?.ok_or_else(|| not_found("user", id))
}

/// The person with this id, held until the transaction ends.
///
/// # Errors
/// `NOT_FOUND`.
pub fn lock(conn: &mut Conn, id: &UserId) -> Result<Row> {
    let row = match conn {
        Conn::Pg(pg) => {
            users::table.find(id.to_string()).select(Row::as_select()).for_update().first(pg).optional()?
        }
        // the transaction began as the only writer
        Conn::Sqlite(sqlite) => {
            users::table.find(id.to_string()).select(Row::as_select()).first(sqlite).optional()?
        }
    };
    row.ok_or_else(|| not_found("user", id))
}

/// The person with this email, unless deleted.
pub fn find_by_email(conn: &mut Conn, email: &Email) -> Result<Option<Row>> {
    Ok(users::table
        .filter(users::email.eq(email.as_str()))
        .filter(users::status.ne(UserStatus::Deleted.as_str()))
        .select(Row::as_select())
        .first(conn)
        .optional()?)
}

/// A new person, their search words included.
///
/// # Errors
/// Broken constraints, named by the caller.
pub fn insert(conn: &mut Conn, row: &Row) -> QueryResult<()> {
    diesel::insert_into(users::table).values(row).execute(conn)?;
    index(conn, row)
}

/// Writes a changed person back, search words included.
///
/// # Errors
/// Broken constraints, named by the caller.
pub fn update(conn: &mut Conn, row: &Row, reindex: bool) -> QueryResult<()> {
    diesel::update(users::table.find(&row.id))
        .set((
            users::email.eq(&row.email),
            users::name.eq(&row.name),
            users::name_sort.eq(&row.name_sort),
            users::status.eq(&row.status),
            users::external_id.eq(&row.external_id),
            users::metadata.eq(&row.metadata),
            users::password_hash.eq(&row.password_hash),
            users::version.eq(row.version),
            users::updated_at.eq(row.updated_at),
        ))
        .execute(conn)?;
    if reindex {
        diesel::delete(user_terms::table.filter(user_terms::user_id.eq(&row.id))).execute(conn)?;
        index(conn, row)?;
    }
    Ok(())
}

/// Notes when somebody signed in; raises no version.
pub fn touch_login(conn: &mut Conn, id: &UserId, now: Timestamp) -> Result<()> {
    diesel::update(users::table.find(id.to_string()))
        .set(users::last_login_at.eq(now.micros()))
        .execute(conn)?;
    Ok(())
}

/// Replaces the password hash, raising no version: a rehash is not an edit.
pub fn set_hash(conn: &mut Conn, id: &UserId, hash: &str) -> Result<()> {
    diesel::update(users::table.find(id.to_string())).set(users::password_hash.eq(hash)).execute(conn)?;
    Ok(())
}

fn index(conn: &mut Conn, row: &Row) -> QueryResult<()> {
    if row.status == UserStatus::Deleted.as_str() {
        return Ok(());
    }
    let terms = terms(&row.name, &row.email);
    let user_id = row.id.as_str();
    match conn {
        Conn::Sqlite(sqlite) => {
            let terms = serde_json::Value::from(Vec::from_iter(terms)).to_string();
            InsertTerms { user_id, terms: &terms, _of: PhantomData }.execute(sqlite)?
        }
        Conn::Pg(pg) => {
            let terms = Vec::from_iter(terms.iter().map(String::as_str));
            InsertTermsToo { user_id, terms, _of: PhantomData }.execute(pg)?
        }
    };
    Ok(())
}

statement! {
    /// The search words of a person, a JSON array.
    sqlite InsertTerms { user_id: &'a str as Text, terms: &'a str as Text },
    "INSERT INTO user_terms (term, user_id) SELECT word.value, ? FROM json_each(?) AS word"
}
statement! {
    /// The search words of a person.
    postgres InsertTermsToo { user_id: &'a str as Text, terms: Vec<&'a str> as Array<Text> },
    "INSERT INTO user_terms (term, user_id) SELECT word, ?::text FROM unnest(?::text[]) AS word"
}

/// The names of the roles of these people, sorted; one query for all.
pub fn roles_of(conn: &mut Conn, ids: &[String]) -> Result<BTreeMap<String, Vec<String>>> {
    let pairs: Vec<(String, String)> = user_roles::table
        .inner_join(roles::table)
        .filter(user_roles::user_id.eq_any(ids))
        .order((user_roles::user_id, roles::name))
        .select((user_roles::user_id, roles::name))
        .load(conn)?;
    let mut of: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (user, role) in pairs {
        of.entry(user).or_default().push(role);
    }
    Ok(of)
}

/// These people as the API shows them; two queries, however many.
pub fn shown_all(conn: &mut Conn, ids: &[String]) -> Result<BTreeMap<String, User>> {
    let rows: Vec<Row> = users::table.filter(users::id.eq_any(ids)).select(Row::as_select()).load(conn)?;
    let mut roles = roles_of(conn, ids)?;
    rows.into_iter()
        .map(|row| {
            let user = row.user(roles.remove(&row.id).unwrap_or_default())?;
            Ok((row.id, user))
        })
        .collect()
}

/// The person as the API shows them, roles included.
///
/// # Errors
/// When the store holds something that should not be there.
pub fn shown(conn: &mut Conn, row: &Row) -> Result<User> {
    let mut roles = roles_of(conn, std::slice::from_ref(&row.id))?;
    row.user(roles.remove(&row.id).unwrap_or_default())
}

/// Gives a person exactly these roles.
pub fn set_roles(conn: &mut Conn, id: &UserId, role_ids: &[String]) -> Result<()> {
    let id = id.to_string();
    diesel::delete(user_roles::table.filter(user_roles::user_id.eq(&id))).execute(conn)?;
    let rows: Vec<_> = role_ids
        .iter()
        .map(|role| (user_roles::user_id.eq(id.clone()), user_roles::role_id.eq(role.clone())))
        .collect();
    if !rows.is_empty() {
        both!(conn, |conn| diesel::insert_into(user_roles::table).values(&rows).execute(conn))?;
    }
    Ok(())
}

/// Whether somebody active other than `but` has this role. On PostgreSQL the role is held first, so
/// that two owners who remove each other do it one after the other.
pub fn somebody_else_has_role(conn: &mut Conn, role: &str, but: &str) -> Result<bool> {
    if let Conn::Pg(pg) = conn {
        let _: Option<String> =
            roles::table.filter(roles::name.eq(role)).select(roles::id).for_update().first(pg).optional()?;
    }
    let found: Vec<String> = user_roles::table
        .inner_join(roles::table)
        .inner_join(users::table)
        .filter(roles::name.eq(role))
        .filter(users::status.eq(UserStatus::Active.as_str()))
        .filter(users::id.ne(but))
        .limit(1)
        .select(users::id)
        .load(conn)?;
    Ok(!found.is_empty())
}

/// Whether anybody active has this role.
pub fn anyone_with_role(conn: &mut Conn, role: &str) -> Result<bool> {
    let found: Option<String> = user_roles::table
        .inner_join(roles::table)
        .inner_join(users::table)
        .filter(roles::name.eq(role))
        .filter(users::status.eq(UserStatus::Active.as_str()))
        .select(users::id)
        .first(conn)
        .optional()?;
    Ok(found.is_some())
}

/// Some active customer among the latest five hundred.
pub fn some_customer(conn: &mut Conn, random: u64) -> Result<Option<Row>> {
    let count: i64 = users::table.count().get_result(conn)?;
    let skip = i64::try_from(random % 500).unwrap_or(0) % count.max(1);
    Ok(users::table
        .filter(users::status.eq(UserStatus::Active.as_str()))
        .filter(users::password_hash.is_null())
        .order(users::created_at.desc())
        .offset(skip)
        .select(Row::as_select())
        .first(conn)
        .optional()?)
}

/// Ids and names of some active customers who were there before a moment, the latest first.
pub fn customers_before(conn: &mut Conn, before: Timestamp, most: i64) -> Result<Vec<(String, String)>> {
    Ok(users::table
        .filter(users::status.eq(UserStatus::Active.as_str()))
        .filter(users::password_hash.is_null())
        .filter(users::created_at.lt(before.micros()))
        .order((users::created_at.desc(), users::id.desc()))
        .limit(most)
        .select((users::id, users::name))
        .load(conn)?)
}

/// People by where they stand.
pub fn count_by_status(conn: &mut Conn) -> Result<BTreeMap<String, i64>> {
    let counts: Vec<(String, i64)> =
        users::table.group_by(users::status).select((users::status, diesel::dsl::count_star())).load(conn)?;
    Ok(counts.into_iter().collect())
}

/// People created since a moment.
pub fn count_since(conn: &mut Conn, since: Timestamp) -> Result<i64> {
    Ok(users::table.filter(users::created_at.ge(since.micros())).count().get_result(conn)?)
}

/// One page of people.
///
/// # Errors
/// Those of [`super::page::page`].
pub fn page(conn: &mut Conn, list: &List<User>, cursors: &CursorKey, now: Timestamp) -> Result<Page<Row>> {
    super::page::page(conn, &Users { list }, list, cursors, now)
}

struct Users<'a> {
    list: &'a List<User>,
}

type Boxed<'a> = users::BoxedQuery<'a, MultiBackend>;

impl Users<'_> {
    fn filtered(&self, now: Timestamp) -> Boxed<'static> {
        let mut query = users::table.into_boxed::<MultiBackend>();
        // only who is asked for by name: "not active" does not mean the deleted ones
        let names_status = self.list.filter.iter().any(|c| c.field == "status" && c.op != Op::Ne);
        if !names_status {
            query = query.filter(users::status.ne(UserStatus::Deleted.as_str()));
        }
        for condition in &self.list.filter {
            query = narrow(query, condition, now);
        }
        if let Some(q) = &self.list.q {
            query = search(query, q);
        }
        query
    }
}

fn narrow<'a>(query: Boxed<'a>, condition: &Condition, now: Timestamp) -> Boxed<'a> {
    match condition.field {
        "status" => compare_text!(query, users::status, condition),
        "kind" => compare_text!(query, users::kind, condition),
        "email" => match &condition.value {
            FilterValue::Text(text) => {
                let lower =
                    Condition { value: FilterValue::Text(text.to_ascii_lowercase()), ..condition.clone() };
                compare_text!(query, users::email, &lower)
            }
            FilterValue::Texts(texts) => {
                let lower: Vec<String> = texts.iter().map(|text| text.to_ascii_lowercase()).collect();
                query.filter(users::email.eq_any(lower))
            }
            _ => compare_text!(query, users::email, condition),
        },
        "name" => match &condition.value {
            FilterValue::Text(text) => {
                let sorted = Condition { value: FilterValue::Text(sort_form(text)), ..condition.clone() };
                compare_text!(query, users::name_sort, &sorted)
            }
            FilterValue::Texts(texts) => {
                let sorted: Vec<String> = texts.iter().map(|text| sort_form(text)).collect();
                query.filter(users::name_sort.eq_any(sorted))
            }
            _ => query,
        },
        "externalId" => match &condition.value {
            FilterValue::Null(true) => query.filter(users::external_id.is_null()),
            FilterValue::Null(false) => query.filter(users::external_id.is_not_null()),
            FilterValue::Text(text) => query.filter(users::external_id.eq(text.clone())),
            FilterValue::Texts(texts) => query.filter(users::external_id.eq_any(texts.clone())),
            _ => query,
        },
        "role" => {
            let names = match &condition.value {
                FilterValue::Text(name) => vec![name.clone()],
                FilterValue::Texts(names) => names.clone(),
                _ => Vec::new(),
            };
            query.filter(
                users::id.eq_any(
                    user_roles::table
                        .inner_join(roles::table)
                        .filter(roles::name.eq_any(names))
                        .select(user_roles::user_id),
                ),
            )
        }
        "createdAt" => compare_time!(query, users::created_at, condition, now),
        "lastLoginAt" => match &condition.value {
            FilterValue::Null(true) => query.filter(users::last_login_at.is_null()),
            FilterValue::Null(false) => query.filter(users::last_login_at.is_not_null()),
            _ => compare_time!(query, users::last_login_at, condition, now),
        },
        _ => query,
    }
}

/// An exact id or email; else all words by their beginnings. Only what holds no word is taken for an
/// external id: others are found by `filter[externalId]`, which has an index of its own.
fn search<'a>(query: Boxed<'a>, q: &str) -> Boxed<'a> {
    let q = q.trim();
    if q.parse::<UserId>().is_ok() {
        return query.filter(users::id.eq(q.to_owned()));
    }
    if q.contains('@') && q.parse::<Email>().is_ok() {
        return query.filter(users::email.eq(q.to_ascii_lowercase()));
    }
    let mut query = query;
    let mut any = false;
    for word in words(q).take(5) {
        any = true;
        // no word begins with the greatest character there is, so it can stand for "to the end"
        let end = prefix_end(&word).unwrap_or_else(|| char::MAX.to_string());
        let found = user_terms::table.filter(user_terms::term.ge(word)).filter(user_terms::term.lt(end));
        query = query.filter(users::id.eq_any(found.select(user_terms::user_id)));
    }
    if any { query } else { query.filter(users::external_id.eq(q.to_owned())) }
}

impl Source<User> for Users<'_> {
    type Row = Row;

    fn rows(&self, conn: &mut Conn, fetch: &Fetch) -> QueryResult<Vec<Row>> {
        let query = self.filtered(fetch.now);
        let query = match fetch.key {
            "name" => keyset!(query, fetch, users::name_sort, users::id, text),
            "email" => keyset!(query, fetch, users::email, users::id, text),
            _ => keyset!(query, fetch, users::created_at, users::id, integer),
        };
        query.limit(fetch.limit).offset(fetch.offset).select(Row::as_select()).load(conn)
    }

    fn count(&self, conn: &mut Conn, most: i64, now: Timestamp) -> QueryResult<i64> {
        CountOf(self.filtered(now).select(users::id).limit(most)).get_result(conn)
    }

    fn key(row: &Row, key: &'static str) -> (Key, String) {
        let value = match key {
            "name" => Key::Text(row.name_sort.clone()),
            "email" => Key::Text(row.email.clone()),
            _ => Key::Integer(row.created_at),
        };
        (value, row.id.clone())
    }

    fn locate(&self, conn: &mut Conn, id: &str) -> QueryResult<Option<Row>> {
        users::table.find(id.to_owned()).select(Row::as_select()).first(conn).optional()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_prefix_is_the_next_text() {
        assert_eq!(prefix_end("ada").as_deref(), Some("adb"));
        assert_eq!(prefix_end("a\u{10ffff}").as_deref(), Some("b"));
        assert_eq!(prefix_end("\u{d7ff}").as_deref(), Some("\u{e000}"));
        assert_eq!(prefix_end(""), None);
    }

    #[test]
    fn people_are_found_by_the_words_of_name_and_email() {
        let found = terms("Ada King-Noel", "countess.lovelace@example.com");
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["ada", "countess", "king", "lovelace", "noel"]);
    }
}
