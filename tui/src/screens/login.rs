//! Signing in: server, email, password; what is wrong is said beside the field it is about.

use bursar_shared::{
    error::ErrorCode,
    field::{Email, Secret},
    time::Timestamp,
};
use ratatui::layout::Rect;
use tui_input::Input;

use crate::{
    keys::{Code, Key},
    message::{Request, Slot, Task, Trouble},
    model::Model,
    text::{Clean, clock},
    widgets::{
        canvas::{Canvas, Hit, bit},
        field,
        overlay::middle,
    },
};

const SERVER: u8 = 0;
const EMAIL: u8 = 1;
const PASSWORD: u8 = 2;
const BUTTON: u8 = 3;

/// What is wrong.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// The field it is about; the button for what is about all of it.
    pub field: u8,
    /// In words.
    pub text: String,
    /// What the daemon's log calls the request.
    pub request_id: Option<String>,
    /// When it may be tried again.
    pub retry_at: Option<Timestamp>,
}

/// Signing in.
#[derive(Debug, Default)]
pub struct Login {
    /// Where.
    pub server: Input,
    /// Who.
    pub email: Input,
    /// The password; forgotten as soon as it was sent.
    pub password: Input,
    /// The field that is typed in.
    pub at: u8,
    /// A request is under way since then.
    pub busy: Option<Timestamp>,
    /// What is wrong.
    pub problem: Option<Problem>,
    /// Why one is here.
    pub notice: Option<String>,
}

impl Login {
    /// For this server; the first empty field is typed in.
    pub fn new(server: &str) -> Self {
        let at = if server.is_empty() { SERVER } else { EMAIL };
        Self { server: Input::new(server.to_owned()), at, ..Self::default() }
    }

    /// Who was signed in here last.
    pub fn set_email(&mut self, email: &str) {
        self.email = Input::new(email.to_owned());
        self.at = if email.is_empty() { EMAIL } else { PASSWORD };
    }

    fn input(&mut self) -> Option<&mut Input> {
        match self.at {
            SERVER => Some(&mut self.server),
            EMAIL => Some(&mut self.email),
            PASSWORD => Some(&mut self.password),
            _ => None,
        }
    }

    fn wrong(&mut self, field: u8, text: impl Into<String>) {
        self.at = field;
        self.problem = Some(Problem { field, text: text.into(), request_id: None, retry_at: None });
    }

    /// The daemon, or the way to it, said no.
    pub fn fail(&mut self, trouble: Trouble) {
        self.busy = None;
        let text = trouble.message();
        let request_id = trouble.request_id().map(str::to_owned);
        let (field, retry_at) = match &trouble {
            Trouble::Unreachable(_) | Trouble::Lost(_) | Trouble::Local(_) | Trouble::Other(_) => {
                (SERVER, None)
            }
            Trouble::Refused { error, retry_at, .. } => match error.code {
                ErrorCode::InvalidCredentials => (PASSWORD, *retry_at),
                _ => (BUTTON, *retry_at),
            },
            Trouble::SignedOut => (BUTTON, None),
        };
        self.at = field.min(PASSWORD);
        self.problem = Some(Problem { field, text, request_id, retry_at });
    }
}

/// A key at the sign-in.
pub fn key(model: &mut Model, key: Key) -> Vec<Task> {
    let login = &mut model.login;
    match (key.ctrl, key.code) {
        (true, Code::Char('c')) => return crate::update::perform(model, crate::actions::Do::Quit),
        (_, Code::F(1)) => return crate::update::perform(model, crate::actions::Do::Help),
        (true, Code::Char('l')) => return crate::update::perform(model, crate::actions::Do::Redraw),
        (false, Code::Tab | Code::Down) => login.at = (login.at + 1) % (BUTTON + 1),
        (false, Code::BackTab | Code::Up) => login.at = (login.at + BUTTON) % (BUTTON + 1),
        (false, Code::Enter) if login.at < PASSWORD => login.at += 1,
        (false, Code::Enter) => return submit(model),
        (false, Code::Esc) => {
            login.problem = None;
            if login.busy.take().is_some() {
                model.tickets.forget(Slot::Session);
                return vec![Task::Drop(Slot::Session)];
            }
        }
        _ => {
            let busy = login.busy.is_some();
            if let Some(input) = login.input().filter(|_| !busy)
                && field::edit(input, key)
            {
                login.problem = None;
            }
        }
    }
    Vec::new()
}

/// Text was pasted.
pub fn paste(model: &mut Model, text: &str) {
    if model.login.busy.is_none()
        && let Some(input) = model.login.input()
    {
        field::paste(input, text);
        model.login.problem = None;
    }
}

/// A click on a field or the button.
pub fn click(model: &mut Model, hit: Option<Hit>) -> Vec<Task> {
    match hit {
        Some(Hit::Field(BUTTON)) => submit(model),
        Some(Hit::Field(at)) => {
            model.login.at = at;
            Vec::new()
        }
        _ => Vec::new(),
    }
}

/// Sends it, unless something is wrong with it already here.
fn submit(model: &mut Model) -> Vec<Task> {
    let login = &mut model.login;
    if login.busy.is_some() {
        return Vec::new();
    }
    let server = login.server.value().trim().to_owned();
    if server.is_empty() {
        login.wrong(SERVER, "where is the daemon? For example http://127.0.0.1:8460");
        return Vec::new();
    }
    let email: Email = match login.email.value().trim().parse() {
        Ok(email) => email,
        Err(wrong) => {
            login.wrong(EMAIL, wrong.to_string());
            return Vec::new();
        }
    };
    let password: Secret = match login.password.value().parse() {
        Ok(password) => password,
        Err(_) if login.password.value().is_empty() => {
            login.wrong(PASSWORD, "the password is missing");
            return Vec::new();
        }
        Err(wrong) => {
            login.wrong(PASSWORD, wrong.to_string());
            return Vec::new();
        }
    };
    login.problem = None;
    login.password = Input::default();
    login.busy = Some(model.now);
    vec![Task::Ask(model.tickets.issue(Slot::Session), Request::SignIn { server, email, password })]
}

/// Draws it.
pub fn draw(canvas: &mut Canvas<'_>, model: &Model) {
    let theme = canvas.theme;
    let login = &model.login;
    let whole = canvas.area();
    let body = Rect { height: whole.height.saturating_sub(1), ..whole };
    let area = middle(body, whole.width.saturating_sub(4).clamp(20, 74), 15.min(body.height));
    let title = [bit("Bursar", theme.accent), bit(concat!(" ", env!("CARGO_PKG_VERSION")), theme.dim)];
    let inside = canvas.frame(area, &title, &[bit("sign in", theme.dim)]);
    let (left, width) = (inside.x + 2, inside.width.saturating_sub(4));
    let label = match width {
        40.. => 11,
        20.. => 9,
        _ => 0,
    };
    // in a low terminal the blank lines go first
    let step = if inside.height >= 13 { 2 } else { 1 };
    let mut y = inside.y + u16::from(step == 2);
    let fields = [
        (SERVER, "Server", &login.server, false),
        (EMAIL, "Email", &login.email, false),
        (PASSWORD, "Password", &login.password, true),
    ];
    for (field, name, input, hidden) in fields {
        if y >= inside.bottom() {
            break;
        }
        let on = login.at == field && login.busy.is_none();
        let style = if on { theme.accent } else { theme.text };
        canvas.text(left, y, label, &Clean::fixed(name), style);
        if on && left > inside.x {
            canvas.text(left - 1, y, 1, &Clean::fixed(theme.glyphs.cursor), theme.accent);
        }
        let place = Rect { x: left + label, y, width: width.saturating_sub(label), height: 1 };
        field::draw(canvas, place, input, hidden, on, Some(field));
        y += step;
    }
    if y < inside.bottom() {
        let on = login.at == BUTTON && login.busy.is_none();
        let text = if login.busy.is_some() { "[ signing in… ]" } else { "[ Sign in ]" };
        let style = if on { theme.cursor } else { theme.strong };
        let x = left + label;
        let used = canvas.text(x, y, width.saturating_sub(label), &Clean::fixed(text), style);
        canvas.hits.push((Rect { x, y, width: used, height: 1 }, Hit::Field(BUTTON)));
        if on && x > inside.x {
            canvas.text(x - 2, y, 1, &Clean::fixed(theme.glyphs.cursor), theme.accent);
        }
        y += step;
    }
    let mut words: Vec<(String, ratatui::style::Style)> = Vec::new();
    if let Some(since) = login.busy {
        words.push((format!("asked at {}; esc gives up", clock(since)), theme.dim));
    } else if let Some(problem) = &login.problem {
        words.push((format!("{} {}", theme.glyphs.stop, problem.text), theme.bad));
        let mut facts: Vec<String> = Vec::new();
        facts.extend(problem.retry_at.map(|at| format!("next try at {}", clock(at))));
        facts.extend(problem.request_id.as_ref().map(|id| format!("request {id}")));
        if !facts.is_empty() {
            words.push((facts.join(&format!(" {} ", theme.glyphs.dot)), theme.dim));
        }
    } else {
        words.extend(login.notice.clone().map(|notice| (notice, theme.warn)));
        if login.server.value().starts_with("http://") {
            words.push(("not encrypted: fit for this machine only".to_owned(), theme.dim));
        }
    }
    for (text, style) in words {
        for line in Clean::of(text).wrap(usize::from(width.max(1))) {
            if y < inside.bottom() {
                canvas.text(left, y, width, &line, style);
            }
            y += 1;
        }
    }
    let hints = [("tab", "next"), ("enter", "sign in"), ("f1", "help"), ("^c", "quit")].map(|(key, does)| {
        [bit(key, theme.key), bit(" ", theme.text), bit(does, theme.dim), bit("  ", theme.text)]
    });
    let y = whole.bottom().saturating_sub(1);
    canvas.line(whole.x + 1, y, whole.width.saturating_sub(1), hints.as_flattened());
}
