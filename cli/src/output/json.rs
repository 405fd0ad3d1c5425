//! JSON as the daemon wrote it: indented, on one line, or cut down to some fields; never reordered.

use serde_json::value::RawValue;

/// Writes JSON indented by two spaces; members and numbers stay as they came.
pub(crate) fn indent(json: &[u8], depth: usize, out: &mut Vec<u8>) {
    let mut depth = depth;
    let mut bytes = json.iter().copied().peekable();
    let line = |depth: usize, out: &mut Vec<u8>| {
        out.push(b'\n');
        out.extend(std::iter::repeat_n(b' ', depth * 2));
    };
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => {
                out.push(byte);
                while let Some(byte) = bytes.next() {
                    out.push(byte);
                    match byte {
                        b'\\' => out.extend(bytes.next()),
                        b'"' => break,
                        _ => {}
                    }
                }
            }
            b'{' | b'[' => {
                out.push(byte);
                while bytes.next_if(u8::is_ascii_whitespace).is_some() {}
                if let Some(close) = bytes.next_if(|next| matches!(next, b'}' | b']')) {
                    out.push(close);
                } else {
                    depth += 1;
                    line(depth, out);
                }
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                line(depth, out);
                out.push(byte);
            }
            b',' => {
                out.push(byte);
                line(depth, out);
            }
            b':' => out.extend(b": "),
            byte if byte.is_ascii_whitespace() => {}
            byte => out.push(byte),
        }
    }
}

/// Writes JSON on one line.
pub(crate) fn compact(json: &[u8], out: &mut Vec<u8>) {
    // the daemon writes rows compactly; a row with a line break would be two lines of JSON Lines
    if !json.contains(&b'\n') {
        return out.extend_from_slice(json);
    }
    let mut quoted = false;
    let mut escaped = false;
    for &byte in json {
        if quoted {
            quoted = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
        } else if byte.is_ascii_whitespace() {
            continue;
        } else {
            quoted = byte == b'"';
        }
        out.push(byte);
    }
}

/// Some fields of an object, in the order they were asked for, dotted ones nested again.
pub(crate) struct Fields(Vec<(String, Fields)>);

impl Fields {
    /// Reads a list of dotted names.
    pub(crate) fn new<S: AsRef<str>>(names: &[S]) -> Self {
        let mut fields = Self(Vec::new());
        for name in names {
            let mut at = &mut fields;
            for part in name.as_ref().split('.') {
                let place = at.0.iter().position(|(known, _)| known == part).unwrap_or_else(|| {
                    at.0.push((part.to_owned(), Self(Vec::new())));
                    at.0.len() - 1
                });
                at = &mut at.0[place].1;
            }
        }
        fields
    }

    /// Writes only these fields of `json`; what is not there is null.
    pub(crate) fn pick(&self, json: &[u8], out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
        if self.0.is_empty() {
            compact(json, out);
            return Ok(());
        }
        let Ok(members) = serde_json::from_slice::<std::collections::HashMap<String, &RawValue>>(json) else {
            // a part of something that has no parts, or of nothing
            out.extend(b"null");
            return Ok(());
        };
        for (count, (name, inner)) in self.0.iter().enumerate() {
            out.push(if count == 0 { b'{' } else { b',' });
            serde_json::to_writer(&mut *out, name)?;
            out.push(b':');
            match members.get(name) {
                Some(value) => inner.pick(value.get().as_bytes(), out)?,
                None => out.extend(b"null"),
            }
        }
        out.push(b'}');
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: &str =
        r#"{"id":"a","z":[],"n":1.10,"actor":{"id":"u","ip":null},"t":"x, {\"y\\\": [1]\\","list":[1,{}]}"#;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn indents_without_changing_anything() {
        let shown = text(|out| indent(ROW.as_bytes(), 0, out));
        insta::assert_snapshot!(shown, @r#"
        {
          "id": "a",
          "z": [],
          "n": 1.10,
          "actor": {
            "id": "u",
            "ip": null
          },
          "t": "x, {\"y\\\": [1]\\",
          "list": [
            1,
            {}
          ]
        }
        "#);
        assert_eq!(text(|out| compact(shown.as_bytes(), out)), ROW);
    }

    #[test]
    fn picks_fields_in_the_order_asked_for() {
        let fields = Fields::new(&["actor.ip", "n", "actor.id", "gone", "n.x"]);
        let picked = text(|out| fields.pick(ROW.as_bytes(), out).unwrap());
        assert_eq!(picked, r#"{"actor":{"ip":null,"id":"u"},"n":null,"gone":null}"#);
    }
}
