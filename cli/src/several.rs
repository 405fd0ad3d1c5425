//! One thing done to several records: ids as arguments, or one a line on stdin.

use std::io::{self, BufRead as _};

use crate::{
    context::Cx,
    error::{Failure, Result},
    output,
};

/// The ids given, `-` replaced by the lines of stdin, read as they come.
pub(crate) fn ids(given: &[String]) -> impl Iterator<Item = Result<String>> {
    let stdin = given.iter().any(|id| id == "-").then(|| {
        io::stdin().lock().lines().filter_map(|line| match line {
            // the first column of a TSV row, so that lists can be piped as they are
            Ok(line) => {
                let id = line.split('\t').next().unwrap_or_default().trim().to_owned();
                (!id.is_empty()).then_some(Ok(id))
            }
            Err(wrong) => Some(Err(Failure::usage(format!("stdin cannot be read: {wrong}")))),
        })
    });
    let given: Vec<Result<String>> = given.iter().filter(|id| *id != "-").cloned().map(Ok).collect();
    given.into_iter().chain(stdin.into_iter().flatten())
}

/// Whether it is one record and no list.
pub(crate) fn is_one(given: &[String]) -> bool {
    given.len() == 1 && given[0] != "-"
}

/// An id as it may be written: also `users/usr_...`, as `-o name` prints it.
pub(crate) fn bare(id: &str) -> &str {
    id.rsplit_once('/').map_or(id, |(_, id)| id)
}

/// What became of each of several; the first failure is reported as it is, all are counted.
#[derive(Default)]
pub(crate) struct Tally {
    done: u64,
    failed: u64,
    first: Option<Failure>,
}

impl Tally {
    /// One was done, or not. A failure that would hit all the others too ends the command.
    pub(crate) fn add(&mut self, cx: &Cx, one: bool, id: &str, result: Result<()>) -> Result<()> {
        let failure = match result {
            Ok(()) => None,
            // done, and only not heard: those that follow are to be done as well
            Err(failure) if failure.is_end_of_output() => None,
            Err(failure) => Some(failure),
        };
        let Some(failure) = failure else {
            self.done += 1;
            return Ok(());
        };
        if one || failure.quiet || matches!(failure.exit, 1 | 4 | 8 | 9 | 11) {
            return Err(failure);
        }
        let code = failure.code.map(|code| format!(" [{code}]")).unwrap_or_default();
        let (id, message) = (bursar_shared::text::clean(id), bursar_shared::text::clean(&failure.message));
        // some begin with it
        let named = message.starts_with(&*id);
        cx.say(&if named { format!("{message}{code}") } else { format!("{id}: {message}{code}") });
        self.failed += 1;
        self.first.get_or_insert(failure);
        Ok(())
    }

    /// How the command ends: 10 when some were done and some were not.
    pub(crate) fn end(self) -> Result<()> {
        match self.first {
            None => Ok(()),
            Some(first) if self.done == 0 && self.failed == 1 => Err(first),
            Some(first) => {
                let exit = if self.done == 0 { first.exit } else { 10 };
                let mut failure = Failure::new(
                    exit,
                    format!(
                        "{} of {} failed; the first: {}",
                        self.failed,
                        self.done + self.failed,
                        first.message
                    ),
                );
                failure.request_id = first.request_id;
                failure.hint = first.hint;
                failure.details = Box::new(serde_json::json!({ "done": self.done, "failed": self.failed }));
                Err(failure)
            }
        }
    }
}

/// Whether any `-` stands among them and a terminal would be waited for.
pub(crate) fn refuse_terminal(given: &[String]) -> Result<()> {
    if given.iter().any(|id| id == "-") && output::stdin_is_terminal() {
        return Err(Failure::usage("- reads ids from stdin, and stdin is a terminal"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_done_and_some_not_is_partial() {
        let cx = Cx::new(crate::context::Globals { quiet: true, ..Default::default() });
        let mut tally = Tally::default();
        tally.add(&cx, false, "a", Ok(())).unwrap();
        tally.add(&cx, false, "b", Err(Failure::new(3, "not there"))).unwrap();
        tally.add(&cx, false, "c", Err(Failure::silent(0))).unwrap();
        assert_eq!((tally.done, tally.failed), (2, 1));
        assert_eq!(tally.end().unwrap_err().exit, 10);
        let mut none = Tally::default();
        none.add(&cx, false, "b", Err(Failure::new(3, "not there"))).unwrap();
        none.add(&cx, false, "c", Err(Failure::new(6, "stale"))).unwrap();
        assert_eq!(none.end().unwrap_err().exit, 3);
        assert_eq!(Tally::default().add(&cx, false, "a", Err(Failure::new(9, "gone"))).unwrap_err().exit, 9);
    }

    #[test]
    fn ids_may_carry_the_name_of_their_kind() {
        assert_eq!(bare("users/usr_1"), "usr_1");
        assert_eq!(bare("ada@example.com"), "ada@example.com");
    }
}
