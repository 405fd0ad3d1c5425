//! The only reader of a terminal: questions, and secrets from a prompt, stdin or a file.

use std::{
    fs::File,
    io::{self, BufRead as _, Read},
    path::PathBuf,
};

use bursar_shared::client::session;
use clap::Args;
use rpassword::ConfigBuilder;
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};

use crate::{
    context::Cx,
    error::{Failure, Result},
    output,
};

/// Where a password comes from; no flag takes it as its value.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct PasswordFrom {
    /// Read the password from the first line of stdin
    #[arg(long)]
    pub password_stdin: bool,
    /// Read the password from the first line of a file
    #[arg(long, value_name = "FILE", conflicts_with = "password_stdin")]
    pub password_file: Option<PathBuf>,
}

impl PasswordFrom {
    /// The password, if a flag says where it is.
    pub(crate) fn given(&self) -> Result<Option<String>> {
        if self.password_stdin {
            return secret_lines(1).map(|mut lines| lines.pop());
        }
        let Some(path) = &self.password_file else { return Ok(None) };
        let text = session::read_private(path)?
            .ok_or_else(|| Failure::usage(format!("{} does not exist", path.display())))?;
        let text =
            String::from_utf8(text).map_err(|_| Failure::usage(format!("{} is not text", path.display())))?;
        Ok(text.lines().next().map(str::to_owned))
    }

    /// The password, asked for when no flag says where it is.
    pub(crate) fn get(&self, cx: &Cx, words: &str) -> Result<String> {
        match self.given()? {
            Some(password) => Ok(password),
            None => secret(cx, words, "--password-stdin"),
        }
    }
}

/// So many first lines of stdin.
pub(crate) fn secret_lines(count: usize) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for line in io::stdin().lock().lines().take(count) {
        lines.push(line.map_err(|wrong| Failure::usage(format!("stdin cannot be read: {wrong}")))?);
    }
    if lines.len() < count || lines.iter().any(String::is_empty) {
        return Err(Failure::usage(format!("stdin has fewer than {count} lines that are not empty")));
    }
    Ok(lines)
}

/// Asks for a secret; it is not shown. Without a terminal names the flag that gives it.
pub(crate) fn secret(cx: &Cx, words: &str, flag: &str) -> Result<String> {
    if !cx.can_ask() {
        return Err(Failure::usage(format!("{flag} is needed: there is nobody to ask")));
    }
    // silent before it asks: who types at once is not seen either
    let terminal = Silent::new().map_err(|wrong| Failure::new(1, format!("the terminal: {wrong}")))?;
    output::ask(words);
    let typed = ConfigBuilder::new().input_reader(terminal).output_discard().build();
    let typed = rpassword::read_password_with_config(typed);
    output::say("");
    typed.map_err(|_| Failure::silent(130))
}

/// The terminal while it does not show what is typed; as it was before when this is dropped.
///
/// The keys come one by one, and `^c` as an error: as a signal it would end the program with the
/// terminal still silent.
struct Silent {
    keys: File,
    before: Termios,
}

impl Silent {
    fn new() -> io::Result<Self> {
        let keys = File::open("/dev/tty")?;
        let before = tcgetattr(&keys)?;
        let mut silent = before.clone();
        let shown = LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON | LocalModes::ISIG;
        silent.local_modes.remove(shown);
        silent.special_codes[SpecialCodeIndex::VMIN] = 1;
        silent.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(&keys, OptionalActions::Now, &silent)?;
        Ok(Self { keys, before })
    }
}

impl Read for Silent {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        const INTERRUPT: u8 = 3;
        let count = self.keys.read(buffer)?;
        if buffer[..count].contains(&INTERRUPT) {
            return Err(io::Error::other("interrupted"));
        }
        Ok(count)
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        // the terminal may be gone, and then nobody misses it
        let _ = tcsetattr(&self.keys, OptionalActions::Now, &self.before);
    }
}

/// Asks for a new secret twice.
pub(crate) fn new_secret(cx: &Cx, flag: &str) -> Result<String> {
    let first = secret(cx, "New password (12 characters or more): ", flag)?;
    if first != secret(cx, "Once more: ", flag)? {
        return Err(Failure::usage("the two passwords differ"));
    }
    Ok(first)
}

/// Asks for a line. Without a terminal names the flag that gives it.
pub(crate) fn line(cx: &Cx, words: &str, flag: &str) -> Result<String> {
    if !cx.can_ask() {
        return Err(Failure::usage(format!("{flag} is needed: there is nobody to ask")));
    }
    output::ask(words);
    let mut text = String::new();
    match io::stdin().lock().read_line(&mut text) {
        Ok(0) | Err(_) => Err(Failure::silent(130)),
        Ok(_) => Ok(text.trim().to_owned()),
    }
}

/// Asks whether to go on. Without a terminal `--yes` is needed.
pub(crate) fn confirm(cx: &Cx, question: &str) -> Result<()> {
    if cx.globals.yes {
        return Ok(());
    }
    if !cx.can_ask() {
        return Err(Failure::usage(format!("--yes is needed: there is nobody to ask ({question})")));
    }
    match line(cx, &format!("{question} [y/N] "), "--yes")?.to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Failure::new(5, "not confirmed; nothing was changed")),
    }
}

/// All of a file, or of stdin when it is `-`.
pub(crate) fn read_file(path: &str) -> Result<Vec<u8>> {
    /// More than any request may have.
    const MOST: u64 = 9 << 20;
    let mut text = Vec::new();
    let read = if path == "-" {
        io::stdin().lock().take(MOST).read_to_end(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(MOST).read_to_end(&mut text))
    };
    read.map_err(|wrong| Failure::usage(format!("{path}: {wrong}")))?;
    if text.len() as u64 >= MOST {
        return Err(Failure::usage(format!("{path} is longer than any request may be")));
    }
    Ok(text)
}
