//! Statements that are prepared once a connection.
//!
//! Diesel never caches prepared UPDATEs, `sql_query`, inserts of many rows or ON CONFLICT: on a path that
//! runs thousands of times a second, SQLite then spends its time parsing. A type with a static query id
//! is cached; `statement!` writes such a type.

/// Declares a statement of one engine. Each `?` of the text is bound to the next field; one that answers
/// with rows says the types of their columns.
macro_rules! statement {
    (
        $(#[$meta:meta])*
        $engine:ident $name:ident { $($field:ident: $rust:ty as $sql:ty),* $(,)? }
        $(-> $columns:ty)?, $text:expr
    ) => {
        $(#[$meta])*
        #[derive(Debug)]
        pub(crate) struct $name<'a> {
            $(pub(crate) $field: $rust,)*
            pub(crate) _of: std::marker::PhantomData<&'a ()>,
        }

        impl diesel::query_builder::QueryId for $name<'_> {
            type QueryId = $name<'static>;
            const HAS_STATIC_QUERY_ID: bool = true;
        }

        impl diesel::query_builder::QueryFragment<$crate::db::statement::engine!($engine backend)> for $name<'_> {
            fn walk_ast<'b>(
                &'b self,
                mut out: diesel::query_builder::AstPass<'_, 'b, $crate::db::statement::engine!($engine backend)>,
            ) -> diesel::QueryResult<()> {
                let mut parts = $text.split('?');
                out.push_sql(parts.next().unwrap_or_default());
                $(
                    out.push_bind_param::<$sql, _>(&self.$field)?;
                    out.push_sql(parts.next().unwrap_or_default());
                )*
                Ok(())
            }
        }

        $(impl diesel::query_builder::Query for $name<'_> {
            type SqlType = $columns;
        })?

        impl diesel::RunQueryDsl<$crate::db::statement::engine!($engine connection)> for $name<'_> {}
    };
}
pub(crate) use statement;

/// The types of Diesel for an engine.
macro_rules! engine {
    (sqlite backend) => {
        diesel::sqlite::Sqlite
    };
    (sqlite connection) => {
        diesel::SqliteConnection
    };
    (postgres backend) => {
        diesel::pg::Pg
    };
    (postgres connection) => {
        diesel::PgConnection
    };
}
pub(crate) use engine;
