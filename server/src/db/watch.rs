//! Watching queries: how many a request took, which were slow, and which took too long.

use std::{
    cell::Cell,
    ffi::{c_char, c_int, c_void},
    sync::Once,
    time::{Duration, Instant},
};

use diesel::connection::InstrumentationEvent;
use libsqlite3_sys as ffi;

/// From here on a query is worth a line in the log.
const SLOW: Duration = Duration::from_millis(250);
/// SQLite calls back after so many steps of its machine: about a millisecond.
const STEPS: c_int = 20_000;

thread_local! {
    static QUERIES: Cell<u32> = const { Cell::new(0) };
    static BEGUN: Cell<Option<Instant>> = const { Cell::new(None) };
    static DEADLINE: Cell<Option<Instant>> = const { Cell::new(None) };
}

#[cfg(feature = "testing")]
thread_local! {
    static STATEMENTS: std::cell::RefCell<Vec<String>> = const { std::cell::RefCell::new(Vec::new()) };
}

/// The statements that this thread made since it was last asked, for tests that explain them.
#[cfg(feature = "testing")]
pub(super) fn statements() -> Vec<String> {
    STATEMENTS.take()
}

/// Counts the queries that this thread makes from now on.
pub(super) fn start_counting() {
    QUERIES.set(0);
}

/// Queries since [`start_counting`].
pub(super) fn counted() -> u32 {
    QUERIES.get()
}

/// SQLite statements of this thread end with an error after this moment.
pub(super) fn set_deadline(at: Option<Instant>) {
    DEADLINE.set(at);
}

/// Called by Diesel around each query of any connection.
pub(super) fn saw(event: &InstrumentationEvent<'_>) {
    match event {
        InstrumentationEvent::StartQuery {
            #[cfg(feature = "testing")]
            query,
            ..
        } => {
            #[cfg(feature = "testing")]
            STATEMENTS.with_borrow_mut(|list| {
                // threads that only write are never asked
                list.truncate(100);
                list.push(query.to_string());
            });
            QUERIES.set(QUERIES.get() + 1);
            BEGUN.set(Some(Instant::now()));
        }
        InstrumentationEvent::FinishQuery { query, .. } => {
            let took = BEGUN.take().map(|begun| begun.elapsed()).unwrap_or_default();
            if took >= SLOW {
                let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
                // bound values may be secrets, so only the statement is written
                let text = query.to_string();
                let statement = text.split(" -- binds").next().unwrap_or_default();
                tracing::warn!(millis, statement, "slow query");
            }
        }
        _ => {}
    }
}

/// Makes every SQLite connection that is opened from now on look at the deadline of its thread.
///
/// Diesel gives no handle to the connection, so the callback is installed through SQLite's own
/// list of things to do when a connection opens (docs/adr/0003).
pub(super) fn limit_sqlite_statements() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        #[expect(unsafe_code, reason = "hands SQLite a function with the signature it asks for")]
        unsafe {
            ffi::sqlite3_auto_extension(Some(install));
        }
    });
}

#[expect(unsafe_code, reason = "called by SQLite with a live connection; the callback keeps no pointer")]
unsafe extern "C" fn install(
    connection: *mut ffi::sqlite3,
    _: *mut *mut c_char,
    _: *const ffi::sqlite3_api_routines,
) -> c_int {
    unsafe { ffi::sqlite3_progress_handler(connection, STEPS, Some(out_of_time), std::ptr::null_mut()) };
    ffi::SQLITE_OK
}

/// Nonzero makes SQLite end the running statement with `SQLITE_INTERRUPT`.
extern "C" fn out_of_time(_: *mut c_void) -> c_int {
    c_int::from(DEADLINE.get().is_some_and(|at| Instant::now() >= at))
}

/// Adds to the count of this thread.
pub(super) fn add(queries: u32) {
    QUERIES.set(QUERIES.get() + queries);
}
