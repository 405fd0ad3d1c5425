//! The house's own rules: which part may use which, and how files look.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The text of all source files below a folder of the workspace, without their tests.
pub fn sources(folder: &str) -> Vec<(String, String)> {
    fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap_or_else(|why| panic!("{}: {why}", folder.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, found);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                found.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let (mut paths, at) = (Vec::new(), root.join(folder));
    if at.is_file() {
        paths.push(at);
    } else {
        collect(&at, &mut paths);
        let beside = at.with_extension("rs");
        if beside.is_file() {
            paths.push(beside);
        }
    }
    paths.sort();
    assert!(!paths.is_empty(), "{folder} has no sources");
    let read = |path: PathBuf| {
        let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        (name, fs::read_to_string(&path).unwrap())
    };
    paths.into_iter().map(read).collect()
}

/// What of a file is compiled into the program.
pub fn program(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap()
}

/// Paths that a file names: `use` lines with their braces taken apart, and paths in the code.
fn named(text: &str) -> Vec<String> {
    let code: String = program(text)
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n");
    let mut paths = Vec::new();
    for part in code.split(';') {
        let Some(at) =
            part.find("use ").filter(|at| *at == 0 || part.as_bytes()[at - 1].is_ascii_whitespace())
        else {
            continue;
        };
        spread(&part[at + 4..].split_whitespace().collect::<String>(), "", &mut paths);
    }
    for word in code.split(|letter: char| !(letter.is_alphanumeric() || letter == '_' || letter == ':')) {
        if word.contains("::") {
            paths.push(word.to_owned());
        }
    }
    paths
}

/// `a::{b, c::{d, e}}` as `a::b`, `a::c::d`, `a::c::e`.
fn spread(tree: &str, before: &str, paths: &mut Vec<String>) {
    let Some((head, rest)) = tree.split_once('{') else {
        paths.push(format!("{before}{tree}"));
        return;
    };
    let (mut depth, mut start) = (0, 0);
    let inner = rest.strip_suffix('}').unwrap_or(rest);
    for (at, letter) in inner.char_indices().chain([(inner.len(), ',')]) {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                if start < at {
                    spread(&inner[start..at], &format!("{before}{head}"), paths);
                }
                start = at + 1;
            }
            _ => {}
        }
    }
}

#[test]
fn the_reader_of_uses_sees_through_braces() {
    let text = "use a::{b, c::{d, e as f}};\npub use g::h;\nfn x() { i::j(); }\n// use k::l;\n#[cfg(test)]\nuse m::n;";
    let seen = named(text);
    for path in ["a::b", "a::c::d", "a::c::easf", "g::h", "i::j"] {
        assert!(seen.iter().any(|one| one == path), "{path} in {seen:?}");
    }
    assert!(!seen.iter().any(|one| one.contains("k::") || one.contains("m::")), "{seen:?}");
}

#[test]
fn arrows_go_right_and_down() {
    // which sources may never name what
    let never: &[(&str, &[&str])] = &[
        ("tui/src", &["bursar_cli", "bursar_server", "diesel", "axum", "reqwest"]),
        ("cli/src", &["diesel", "axum", "bursar_server::testing"]),
        ("shared/src", &["bursar_server", "bursar_cli", "bursar_tui", "axum", "diesel"]),
        (
            "server/src/repositories",
            &[
                "crate::services",
                "crate::routes",
                "crate::serve",
                "crate::cx",
                "crate::app",
                "r2d2",
                "diesel::r2d2",
                "axum",
                "hyper",
                "http",
            ],
        ),
        (
            "server/src/services",
            &[
                "axum",
                "hyper",
                "http",
                "StatusCode",
                "crate::schema",
                "crate::routes",
                "crate::serve",
                "diesel::prelude",
            ],
        ),
        ("server/src/routes.rs", &["crate::repositories", "crate::schema", "diesel"]),
        ("server/src/db", &["crate::services", "crate::repositories", "axum"]),
        ("server/src/auth", &["crate::services", "crate::repositories", "axum", "diesel"]),
    ];
    let mut broken = Vec::new();
    for (folder, forbidden) in never {
        for (file, text) in sources(folder) {
            for path in named(&text) {
                if forbidden.iter().any(|one| path == *one || path.starts_with(&format!("{one}::"))) {
                    broken.push(format!("{file} names {path}"));
                }
            }
        }
    }
    // the core of shared is for every program; only its client talks to anybody
    for (file, text) in sources("shared/src").into_iter().filter(|(file, _)| !file.contains("src/client")) {
        for path in named(&text) {
            if ["tokio", "reqwest", "rustls", "crate::client"].iter().any(|one| path.starts_with(one)) {
                broken.push(format!("{file} names {path}"));
            }
        }
    }
    // of the command line only the commands that start something name what they start
    for (file, text) in sources("cli/src") {
        let starts =
            ["server.rs", "demo.rs", "tui.rs", "tui/"].map(|name| format!("cli/src/commands/{name}"));
        for path in named(&text).into_iter().filter(|_| !starts.iter().any(|start| file.starts_with(start))) {
            if path.starts_with("bursar_server") || path.starts_with("bursar_tui") {
                broken.push(format!("{file} names {path}"));
            }
        }
    }
    broken.sort();
    broken.dedup();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn paths_of_the_api_stand_in_the_table_alone() {
    for folder in ["tui/src", "cli/src", "server/src/services", "server/src/repositories"] {
        for (file, text) in sources(folder) {
            let lines = program(&text)
                .lines()
                .filter(|line| line.contains("\"/v1/") && !line.trim_start().starts_with("//"));
            // the raw command puts the version before what somebody typed
            let lines: Vec<&str> = lines
                .filter(|line| {
                    !(file == "cli/src/commands/api.rs" && line.contains("format!(\"/v1/{path}\")"))
                })
                .collect();
            assert!(lines.is_empty(), "{file}: {lines:?}");
        }
    }
}

#[test]
fn files_say_their_job_and_stay_short() {
    for folder in ["shared/src", "server/src", "tui/src", "cli/src", "server/tests", "tui/tests"] {
        for (file, text) in sources(folder) {
            assert!(text.starts_with("//! "), "{file} does not say its job in its first line");
            let tests = file.contains("/tests/") || file.ends_with("_tests.rs");
            let lines = text.lines().count();
            assert!(tests || lines <= 600, "{file} has {lines} lines");
        }
    }
}
