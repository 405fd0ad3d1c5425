//! `--jq`: a jq program, compiled once, run on every row.

use jaq_core::{
    Compiler, Ctx, Filter, Vars, data,
    load::{Arena, File, Loader},
    unwrap_valr,
};
use jaq_json::{Val, read};

use crate::error::{Failure, Result};

/// A compiled jq program.
pub(crate) struct Jq {
    filter: Filter<data::JustLut<Val>>,
}

impl Jq {
    /// Compiles a program.
    pub(crate) fn new(code: &str) -> Result<Self> {
        let wrong = |what: String| Failure::usage(format!("--jq: {what}")).hint("bursar help jq");
        let defs = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
        let funs = jaq_core::funs().chain(jaq_std::funs()).chain(jaq_json::funs());
        let arena = Arena::default();
        let modules = Loader::new(defs)
            .load(&arena, File { code, path: () })
            .map_err(|_| wrong(format!("`{code}` is not a jq program")))?;
        let filter = Compiler::default().with_funs(funs).compile(modules).map_err(|errors| {
            let unknown: Vec<String> = errors
                .into_iter()
                .flat_map(|(_, undefined)| undefined)
                .map(|(name, _)| format!("`{name}` is not defined"))
                .collect();
            wrong(unknown.join(", "))
        })?;
        Ok(Self { filter })
    }

    /// Runs it on one row. With `raw`, texts come without quotes.
    pub(crate) fn run(&self, row: &[u8], raw: bool, mut each: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let row = read::parse_single(row)
            .map_err(|wrong| Failure::new(1, format!("a row cannot be read: {wrong}")))?;
        let context = Ctx::<data::JustLut<Val>>::new(&self.filter.lut, Vars::new([]));
        for result in self.filter.id.run((context, row)).map(unwrap_valr) {
            match result {
                Ok(Val::TStr(text)) if raw => each(&text)?,
                Ok(value) => each(value.to_string().as_bytes())?,
                Err(wrong) => return Err(Failure::new(7, format!("--jq: {wrong}")).hint("bursar help jq")),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(code: &str, row: &str, raw: bool) -> Result<Vec<String>> {
        let mut out = Vec::new();
        Jq::new(code)?.run(row.as_bytes(), raw, |line| {
            out.push(String::from_utf8_lossy(line).into_owned());
            Ok(())
        })?;
        Ok(out)
    }

    #[test]
    fn selects_and_shapes_rows() {
        let row = r#"{"email":"ada@x.io","roles":["admin","support"],"n":12345678901234567}"#;
        assert_eq!(run(".email", row, true).unwrap(), ["ada@x.io"]);
        assert_eq!(run(".email", row, false).unwrap(), [r#""ada@x.io""#]);
        assert_eq!(run(".roles[]", row, true).unwrap(), ["admin", "support"]);
        assert_eq!(run(r#"select(.email=="x")"#, row, true).unwrap(), [""; 0]);
        assert_eq!(run("{n}", row, true).unwrap(), [r#"{"n":12345678901234567}"#]);
        assert_eq!(run(".roles|length", row, true).unwrap(), ["2"]);
    }

    #[test]
    fn mistakes_are_usage_errors() {
        assert_eq!(run(".[", "{}", true).unwrap_err().exit, 2);
        let unknown = run("fly(1)", "{}", true).unwrap_err();
        assert!(unknown.message.contains("fly"), "{}", unknown.message);
        assert_eq!(run(".a.b", r#"{"a":1}"#, true).unwrap_err().exit, 7);
    }
}
