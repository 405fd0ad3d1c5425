//! `bursar api`: any method and path, with everything that the other commands have around it.

use bursar_shared::client::{Client, How, Raw};
use clap::Args;
use serde_json::{Map, Value, value::RawValue};

use crate::{
    change::{Change, ChangeArgs, Weight},
    context::{Cx, block_on},
    curl,
    error::{Failure, Result},
    list,
    output::{self, Format, Sink},
    prompt, views,
};

/// Calls the daemon with any method and path.
#[derive(Debug, Args)]
pub(crate) struct Api {
    /// The method; without one GET, or POST when there are fields
    #[arg(value_name = "[METHOD] PATH", required = true, num_args = 1..=2)]
    call: Vec<String>,
    /// A field of the body, or of the query for GET; @FILE, true, 12 and null are what they look like
    #[arg(id = "typed_fields", short = 'F', long = "field", value_name = "KEY=VALUE")]
    fields: Vec<String>,
    /// The same, always as text
    #[arg(short = 'f', long = "raw-field", value_name = "KEY=TEXT")]
    texts: Vec<String>,
    /// The body, from a file or from stdin (-)
    #[arg(long, value_name = "FILE", conflicts_with_all = ["typed_fields", "texts"])]
    input: Option<String>,
    /// A further header
    #[arg(id = "http_header", short = 'H', value_name = "NAME: VALUE")]
    header: Vec<String>,
    /// Show the status and the headers too
    #[arg(short, long)]
    include: bool,
    /// Follow the cursors: all rows as one list
    #[arg(long)]
    paginate: bool,
    /// With --paginate: stop after so many rows
    #[arg(long, value_name = "N", requires = "paginate")]
    limit: Option<u64>,
    #[command(flatten)]
    change: ChangeArgs,
}

/// A value as it looks: text only when it is nothing else.
fn typed(text: &str) -> Result<Value> {
    if let Some(path) = text.strip_prefix('@') {
        let text = prompt::read_file(path)?;
        return Ok(Value::String(String::from_utf8_lossy(&text).into_owned()));
    }
    Ok(match serde_json::from_str(text) {
        Ok(
            value @ (Value::Bool(_) | Value::Null | Value::Number(_) | Value::Array(_) | Value::Object(_)),
        ) => value,
        _ => Value::String(text.to_owned()),
    })
}

/// Puts a value where `key`, `key[inner]` or `key[]` says.
fn put(members: &mut Map<String, Value>, key: &str, value: Value) -> Result<()> {
    let wrong = || Failure::usage(format!("{key} must look like key, key[inner] or key[]"));
    let Some((outer, inner)) = key.split_once('[') else {
        members.insert(key.to_owned(), value);
        return Ok(());
    };
    let inner = inner.strip_suffix(']').ok_or_else(wrong)?;
    if inner.is_empty() {
        let list = members.entry(outer.to_owned()).or_insert_with(|| Value::Array(Vec::new()));
        list.as_array_mut().ok_or_else(wrong)?.push(value);
    } else {
        let object = members.entry(outer.to_owned()).or_insert_with(|| Value::Object(Map::new()));
        object.as_object_mut().ok_or_else(wrong)?.insert(inner.to_owned(), value);
    }
    Ok(())
}

impl Api {
    fn method_and_path(&self) -> Result<(String, String)> {
        let fields = !self.fields.is_empty() || !self.texts.is_empty() || self.input.is_some();
        let (method, path) = match self.call.as_slice() {
            [method, path] => (method.to_ascii_uppercase(), path),
            [path] => (if fields && !self.paginate { "POST" } else { "GET" }.to_owned(), path),
            _ => return Err(Failure::usage("a path is needed, like /v1/users")),
        };
        if !matches!(method.as_str(), "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE") {
            return Err(Failure::usage(format!("{method} is not a method")));
        }
        if path.contains("://") {
            return Err(Failure::usage("only paths: the token must not go to another server"));
        }
        let path = match path.strip_prefix('/') {
            Some(_) => path.clone(),
            None => format!("/v1/{path}"),
        };
        Ok((method, path))
    }

    fn members(&self, query: bool) -> Result<Map<String, Value>> {
        let mut members = Map::new();
        let pair = |text: &str| -> Result<(String, String)> {
            let (key, value) = text
                .split_once('=')
                .ok_or_else(|| Failure::usage(format!("{text} must look like key=value")))?;
            Ok((key.to_owned(), value.to_owned()))
        };
        let mut add = |key: String, value: Value| match query {
            // parameters have brackets in their names: filter[status]
            true => {
                members.insert(key, value);
                Ok(())
            }
            false => put(&mut members, &key, value),
        };
        for text in &self.fields {
            let (key, value) = pair(text)?;
            add(key, typed(&value)?)?;
        }
        for text in &self.texts {
            let (key, value) = pair(text)?;
            add(key, Value::String(value))?;
        }
        Ok(members)
    }

    fn headers(&self) -> Result<Vec<(String, String)>> {
        self.header
            .iter()
            .map(|line| match line.split_once(':') {
                Some((name, value)) => Ok((name.trim().to_owned(), value.trim().to_owned())),
                None => Err(Failure::usage(format!("{line} must look like Name: value"))),
            })
            .collect()
    }
}

/// Runs the call.
pub(crate) fn run(cx: &Cx, args: Api) -> Result<()> {
    let (method, mut target) = args.method_and_path()?;
    let reads = matches!(method.as_str(), "GET" | "HEAD");
    let members = args.members(reads || method == "DELETE")?;
    let body = if reads || method == "DELETE" {
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, value) in &members {
            query.append_pair(name, &output::plain(value));
        }
        let query = query.finish();
        if !query.is_empty() {
            target.push(if target.contains('?') { '&' } else { '?' });
            target.push_str(&query);
        }
        None
    } else {
        Some(match &args.input {
            Some(path) => prompt::read_file(path)?,
            None => serde_json::to_vec(&members)?,
        })
    };
    let client = cx.client()?;
    if args.paginate {
        if !reads {
            return Err(Failure::usage("--paginate is for lists"));
        }
        return block_on(paginate(cx, &client, &target, args.limit));
    }
    let how = How {
        if_match: args.change.if_match,
        key: args.change.idempotency_key.clone(),
        dry_run: args.change.dry_run,
        once: false,
    };
    if cx.globals.as_curl {
        let text = curl::command(
            client.server(),
            cx.target()?.name.as_deref(),
            &method,
            &target,
            body.as_deref(),
            &how,
            false,
        );
        return output::text(&text);
    }
    let headers = args.headers()?;
    let raw = block_on(async {
        if reads {
            return Ok(client.send_raw(&method, &target, None, &headers, &how).await?);
        }
        let change = Change::begin(cx, &client, &args.change, Weight::Light, &format!("{method} {target}"))?;
        change.make_raw(&method, &target, body, &headers).await
    })?;
    show(cx, &args, &raw)
}

async fn paginate(cx: &Cx, client: &Client, target: &str, limit: Option<u64>) -> Result<()> {
    let mut style = cx.style()?;
    // rows of any kind have no columns; JSON Lines is what can always be written
    if style.format.is_none() || (style.format == Some(Format::Table) && style.fields.is_empty()) {
        style.format = style.format.or(Some(Format::Jsonl));
    }
    let mut pages = client.raw_pages(target);
    if let Some(limit) = limit {
        pages = pages.limit(limit);
    }
    let mut sink = Sink::new(style, &views::ANYTHING, true);
    list::stream(&mut pages, &mut sink, limit).await.map(|_| ())
}

fn show(cx: &Cx, args: &Api, raw: &Raw) -> Result<()> {
    #[derive(serde::Deserialize)]
    struct Data<'a> {
        #[serde(borrow)]
        data: &'a RawValue,
    }
    if args.include {
        let mut head = format!("HTTP/1.1 {}\n", raw.status);
        for (name, value) in &raw.headers {
            head.push_str(&format!("{name}: {}\n", bursar_shared::text::clean(value)));
        }
        output::text(&(head + "\n"))?;
    }
    let is_json = raw.content_type.as_deref().is_some_and(|kind| kind.starts_with("application/json"));
    if !is_json || raw.body.is_empty() {
        return output::bytes(&raw.body);
    }
    // what has no envelope is shown whole
    let data = match serde_json::from_slice::<Data<'_>>(&raw.body) {
        Ok(envelope) => envelope.data.get().as_bytes(),
        Err(_) => &raw.body,
    };
    let mut style = cx.style()?;
    if style.jq.is_none() && style.format.is_none_or(|format| format == Format::Table) {
        style.format = Some(Format::Json);
    }
    match serde_json::from_slice::<Vec<&RawValue>>(data) {
        Ok(rows) => {
            let mut sink = Sink::new(style, &views::ANYTHING, true);
            for row in rows {
                sink.row(row.get().as_bytes())?;
            }
            sink.end()
        }
        Err(_) => {
            let mut sink = Sink::new(style, &views::ANYTHING, false);
            sink.row(data)?;
            sink.end()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_nest_and_are_what_they_look_like() {
        let args = Api {
            call: vec!["users".to_owned()],
            fields: ["n=12", "on=true", "roles[]=support", "metadata[team]=7a", "x=null"]
                .map(str::to_owned)
                .to_vec(),
            texts: vec!["t=12".to_owned()],
            input: None,
            header: vec![],
            include: false,
            paginate: false,
            limit: None,
            change: ChangeArgs::default(),
        };
        assert_eq!(args.method_and_path().unwrap(), ("POST".to_owned(), "/v1/users".to_owned()));
        assert_eq!(
            Value::Object(args.members(false).unwrap()),
            json!({"n": 12, "on": true, "roles": ["support"], "metadata": {"team": "7a"}, "x": null, "t": "12"})
        );
    }
}
