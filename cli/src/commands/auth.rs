//! `bursar auth`: signing in and out, and who one is.

use bursar_shared::{
    client::{
        self,
        profile::{Context, is_context_name, name_of_server},
        session::Store,
    },
    field::{Email, Password, Secret},
    operations::auth::{ChangePassword, GetCapabilities, Me, SetPassword},
};
use clap::{Args, Subcommand};
use serde_json::json;

use crate::{
    context::{Cx, api_key, block_on},
    curl,
    error::{Failure, Result},
    output,
    prompt::{self, PasswordFrom},
    views,
};

/// Commands about signing in.
#[derive(Debug, Subcommand)]
pub(crate) enum Auth {
    /// Sign in; the context is made when it is new, and used from now on
    Login(Login),
    /// Sign out: the session ends, the tokens are forgotten
    Logout,
    /// Show who is signed in; exit code 4 when nobody is
    Status,
    /// Ask the daemon who you are
    Whoami,
    /// Print a token that is good now
    Token,
    /// Ask whether you may do something; exit code 15 when not
    CanI(CanI),
    /// Change your password, or set one with a reset token
    Password(ChangeMine),
}

/// Signs in.
#[derive(Debug, Args)]
pub(crate) struct Login {
    /// Who
    #[arg(long)]
    email: Option<String>,
    #[command(flatten)]
    password: PasswordFrom,
}

/// Asks for a permission.
#[derive(Debug, Args)]
pub(crate) struct CanI {
    /// A permission (users:write) or an operation (CreateUser)
    what: String,
}

/// Changes one's password.
#[derive(Debug, Args)]
pub(crate) struct ChangeMine {
    /// Read two lines from stdin: the password so far (or the reset token), and the new one
    #[arg(long)]
    password_stdin: bool,
    /// Use a reset token instead of the password so far
    #[arg(long)]
    reset: bool,
}

/// Runs one of them.
pub(crate) fn run(cx: &Cx, command: Auth) -> Result<()> {
    match command {
        Auth::Login(args) => login(cx, args),
        Auth::Logout => logout(cx),
        Auth::Status => status(cx),
        Auth::Whoami => {
            let client = cx.client()?;
            if cx.globals.as_curl {
                return curl::print(cx, &client, &Me {}, &Default::default());
            }
            let me = block_on(async { Ok(client.call(&Me {}).await?) })?;
            output::one(cx.style()?, &views::USERS, &me)
        }
        Auth::Token => {
            let client = cx.client()?;
            let token = block_on(async { Ok(client.access_token().await?) })?;
            output::text(&format!("{token}\n"))
        }
        Auth::CanI(args) => can_i(cx, &args.what),
        Auth::Password(args) => password(cx, &args),
    }
}

fn login(cx: &Cx, args: Login) -> Result<()> {
    let paths = cx.paths()?;
    let profile = cx.profile()?;
    // signing in is how a context comes to be, so its name may be new
    let named = cx.globals.context.clone();
    let new = named.as_ref().is_some_and(|name| !profile.contexts.contains_key(name));
    let target = if new {
        Cx::new(crate::context::Globals { context: None, ..cx.globals.clone() }).target()?
    } else {
        cx.target()?
    };
    if new && cx.globals.server.is_none() {
        return Err(Failure::usage("--server is needed: where is the daemon of the new context?"));
    }
    let email = match args.email.or_else(|| target.email.clone()) {
        Some(email) => email,
        None => prompt::line(cx, "Email: ", "--email")?,
    };
    let email: Email = email.parse().map_err(|wrong| Failure::value(format!("--email {wrong}")))?;
    let name = named.or_else(|| target.name.clone()).unwrap_or_else(|| name_of_server(&target.server));
    if !is_context_name(&name) {
        return Err(Failure::usage(format!("{name} cannot be a name: letters, digits, - _ .")));
    }
    let words = format!("Password of {email} at {}: ", target.server);
    let password: Secret = args
        .password
        .get(cx, &words)?
        .parse()
        .map_err(|wrong| Failure::usage(format!("the password {wrong}")))?;
    let client = cx.client_of(&target)?.with_session(Store::file(paths.credentials(&name)));
    let tokens = block_on(async { Ok(client.sign_in(email, password).await?) })?;
    // read again: somebody may have changed the contexts while we asked
    let mut profile = cx.profile()?;
    let server = client.server().to_owned();
    let context = profile.contexts.entry(name.clone()).or_insert_with(|| Context {
        server: server.clone(),
        email: None,
        protect: target.protect,
        ca_cert: cx.globals.ca_cert.as_deref().and_then(|path| std::path::absolute(path).ok()),
    });
    context.server = server;
    context.email = Some(tokens.user.email.to_string());
    profile.current = Some(name.clone());
    profile.save(&paths)?;
    cx.say(&format!("signed in as {} at {} (context {name})", tokens.user.email, client.server()));
    Ok(())
}

fn logout(cx: &Cx) -> Result<()> {
    let client = cx.client()?;
    if client.session().is_key() {
        return Err(Failure::usage("an API key has no session; unset BURSAR_API_KEY"));
    }
    match block_on(async { Ok(client.sign_out().await) })? {
        Ok(()) => {
            cx.say("signed out");
            Ok(())
        }
        Err(wrong) => {
            let failure = Failure::from(wrong);
            cx.say("the tokens here are forgotten; the daemon was not told, its session ends by itself");
            Err(failure)
        }
    }
}

fn status(cx: &Cx) -> Result<()> {
    let target = cx.target()?;
    if api_key()?.is_some() {
        let row = json!({
            "context": target.name, "server": target.server, "signedIn": true, "by": "api key",
            "email": null, "accessExpiresAt": null, "refreshExpiresAt": null,
            "protect": target.protect.as_str(),
        });
        return output::one(cx.style()?, &views::STATUS, &row);
    }
    let credentials = match &target.name {
        Some(name) => Store::file(cx.paths()?.credentials(name)).credentials()?,
        None => None,
    };
    let live = credentials.filter(|credentials| credentials.server == target.server && credentials.is_live());
    let Some(credentials) = live else {
        let failure: Failure = client::Error::NotSignedIn.into();
        return Err(Failure { message: format!("nobody is signed in at {}", target.server), ..failure });
    };
    let row = json!({
        "context": target.name,
        "server": target.server,
        "signedIn": true,
        "by": "session",
        "email": credentials.email,
        "accessExpiresAt": credentials.access_expires_at,
        "refreshExpiresAt": credentials.refresh_expires_at,
        "protect": target.protect.as_str(),
    });
    output::one(cx.style()?, &views::STATUS, &row)
}

fn can_i(cx: &Cx, what: &str) -> Result<()> {
    let permission = what.parse::<bursar_shared::permission::Permission>().ok();
    let operation = bursar_shared::operations::ALL.iter().find(|row| row.name.eq_ignore_ascii_case(what));
    if permission.is_none() && operation.is_none() {
        return Err(Failure::usage(format!("{what} is neither a permission nor an operation"))
            .hint("bursar permissions"));
    }
    let client = cx.client()?;
    let mine = block_on(async { Ok(client.call(&GetCapabilities {}).await?) })?;
    let may = permission.is_some_and(|permission| mine.permissions.has(permission))
        || operation.is_some_and(|row| mine.operations.iter().any(|name| name == row.name));
    let format = cx.style()?.format();
    match format {
        output::Format::Json | output::Format::Jsonl => {
            output::one(cx.style()?, &views::ANYTHING, &json!({ "what": what, "allowed": may }))?;
        }
        _ => output::text(if may { "yes\n" } else { "no\n" })?,
    }
    if may { Ok(()) } else { Err(Failure::silent(15)) }
}

fn password(cx: &Cx, args: &ChangeMine) -> Result<()> {
    let (proof, new) = if args.password_stdin {
        let mut lines = prompt::secret_lines(2)?;
        (lines.swap_remove(0), lines.remove(0))
    } else {
        let words = if args.reset { "Reset token: " } else { "Password so far: " };
        (prompt::secret(cx, words, "--password-stdin")?, prompt::new_secret(cx, "--password-stdin")?)
    };
    let proof: Secret = proof.parse().map_err(|wrong| Failure::usage(format!("the first secret {wrong}")))?;
    let new: Password = new.parse().map_err(|wrong| Failure::new(7, format!("the new password {wrong}")))?;
    let client = cx.client()?;
    block_on(async {
        if args.reset {
            client.call(&SetPassword { reset_token: proof, new_password: new }).await?;
        } else {
            client.call(&ChangePassword { current_password: proof, new_password: new }).await?;
        }
        Ok(())
    })?;
    cx.say("the password is changed");
    Ok(())
}
