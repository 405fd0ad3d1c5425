//! What a command runs in: flags, environment, context file, in this order; and the client made of them.

use std::{path::PathBuf, time::Duration};

use bursar_shared::{
    client::{
        Client, Options, check_address,
        profile::{Context, Paths, Profile, Protect},
        session::{self, Store},
    },
    field::Secret,
};
use clap::Args;

use crate::{
    error::{Failure, Result},
    jq::Jq,
    output::{Format, Style},
};

/// Where the daemon listens when nobody says.
pub(crate) const DEFAULT_SERVER: &str = "http://127.0.0.1:8460";

// Flags that every command understands. No doc comment: clap would take it for what the program is about.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Globals {
    /// The context: which daemon, and who you are there
    #[arg(short, long, global = true, value_name = "NAME", env = "BURSAR_CONTEXT")]
    pub context: Option<String>,
    /// The daemon's address
    #[arg(long, global = true, value_name = "URL", env = "BURSAR_SERVER")]
    pub server: Option<String>,
    /// How data is written [default: table at a terminal, else tsv]
    #[arg(short, long, global = true, value_name = "FORMAT", env = "BURSAR_OUTPUT", value_enum)]
    pub output: Option<Format>,
    /// Only these fields, separated by commas; dotted ones reach inside
    #[arg(long, global = true, value_name = "LIST", value_delimiter = ',')]
    pub fields: Vec<String>,
    /// A jq program, run on every row
    #[arg(long, global = true, value_name = "EXPR")]
    pub jq: Option<String>,
    /// With headings
    #[arg(long, global = true, overrides_with = "no_header", hide_short_help = true)]
    pub header: bool,
    /// Without headings
    #[arg(long, global = true, hide_short_help = true)]
    pub no_header: bool,
    /// Print the call as a curl command, and send nothing
    #[arg(long, global = true)]
    pub as_curl: bool,
    /// Do not ask before a change
    #[arg(short, long, global = true)]
    pub yes: bool,
    /// Never ask anything
    #[arg(long, global = true, hide_short_help = true)]
    pub no_input: bool,
    /// Say nothing but errors
    #[arg(short, long, global = true, hide_short_help = true)]
    pub quiet: bool,
    /// How long one request may take, in seconds
    #[arg(long, global = true, value_name = "SECONDS", env = "BURSAR_TIMEOUT", hide_short_help = true)]
    pub timeout: Option<f64>,
    /// A file with further root certificates (PEM)
    #[arg(long, global = true, value_name = "FILE", env = "BURSAR_CA_CERT", hide_short_help = true)]
    pub ca_cert: Option<PathBuf>,
    /// The folder of contexts and credentials [default: the XDG folders]
    #[arg(long, global = true, value_name = "DIR", env = "BURSAR_CONFIG_DIR", hide_short_help = true)]
    pub config_dir: Option<PathBuf>,
    /// Let passwords and tokens travel unencrypted beyond this machine
    #[arg(long, global = true, hide_short_help = true)]
    pub insecure_http: bool,
}

/// Reads one variable; an empty one is as none.
#[expect(clippy::disallowed_methods, reason = "the one place where the client reads its environment")]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The daemon a command talks to.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// The context, when one fits.
    pub name: Option<String>,
    /// The daemon's address.
    pub server: String,
    /// What may be done to it.
    pub protect: Protect,
    /// Who signed in last.
    pub email: Option<String>,
    ca_cert: Option<PathBuf>,
}

/// What a command runs in.
#[derive(Debug)]
pub(crate) struct Cx {
    /// The flags.
    pub globals: Globals,
}

impl Cx {
    /// What these flags make.
    pub(crate) fn new(mut globals: Globals) -> Self {
        // a variable that is set to nothing is as one that is not set
        for text in [&mut globals.context, &mut globals.server] {
            if text.as_deref() == Some("") {
                *text = None;
            }
        }
        Self { globals }
    }

    /// Where files are.
    pub(crate) fn paths(&self) -> Result<Paths> {
        Ok(Paths::new(self.globals.config_dir.as_deref())?)
    }

    /// All contexts.
    pub(crate) fn profile(&self) -> Result<Profile> {
        Ok(Profile::load(&self.paths()?)?)
    }

    /// The daemon that is meant.
    pub(crate) fn target(&self) -> Result<Target> {
        let profile = self.profile()?;
        let given = match &self.globals.server {
            Some(server) => Some(check_address(server, self.globals.insecure_http)?),
            None => None,
        };
        let name = match (&self.globals.context, &given) {
            (Some(name), _) => Some(name.clone()),
            (None, Some(server)) => profile.named_by_server(server).map(str::to_owned),
            (None, None) => profile.current.clone(),
        };
        let context = match &name {
            Some(name) => profile
                .context(name)
                .cloned()
                .map_err(|unknown| Failure::from(unknown).hint("bursar context list"))?,
            None => Context {
                server: given.clone().unwrap_or_else(|| DEFAULT_SERVER.to_owned()),
                email: None,
                protect: Protect::None,
                ca_cert: None,
            },
        };
        // another address than the context's is another daemon: its credentials stay at home
        let same = given.as_ref().is_none_or(|server| *server == context.server);
        Ok(Target {
            name: name.filter(|_| same),
            server: given.unwrap_or(context.server),
            protect: context.protect,
            email: context.email,
            ca_cert: context.ca_cert,
        })
    }

    /// A client of any daemon; nobody is signed in.
    pub(crate) fn client_of(&self, target: &Target) -> Result<Client> {
        let mut options = Options { insecure_http: self.globals.insecure_http, ..Options::default() };
        options.ca_cert = self.globals.ca_cert.clone().or_else(|| target.ca_cert.clone());
        if let Some(seconds) = self.globals.timeout {
            options.timeout = Duration::try_from_secs_f64(seconds)
                .ok()
                .filter(|timeout| !timeout.is_zero())
                .ok_or_else(|| Failure::usage("--timeout must be a number of seconds above 0"))?;
        }
        Ok(Client::new(&target.server, options)?)
    }

    /// The client of the daemon that is meant, with whoever is signed in there.
    pub(crate) fn client(&self) -> Result<Client> {
        let target = self.target()?;
        let client = self.client_of(&target)?;
        if let Some(key) = api_key()? {
            return Ok(client.with_session(Store::key(&key)));
        }
        Ok(match &target.name {
            Some(name) => client.with_session(Store::file(self.paths()?.credentials(name))),
            None => client,
        })
    }

    /// How the output is to look; compiles the jq program.
    pub(crate) fn style(&self) -> Result<Style> {
        let header = match (self.globals.header, self.globals.no_header) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            _ => None,
        };
        Ok(Style {
            format: self.globals.output,
            fields: self.globals.fields.iter().map(|name| name.trim().to_owned()).collect(),
            jq: self.globals.jq.as_deref().map(Jq::new).transpose()?,
            header,
        })
    }

    /// Whether a person can be asked something.
    pub(crate) fn can_ask(&self) -> bool {
        !self.globals.no_input && crate::output::can_ask()
    }

    /// Says something to the person, if they want to hear it.
    pub(crate) fn say(&self, text: &str) {
        if !self.globals.quiet {
            crate::output::say(text);
        }
    }
}

/// The API key of the environment.
pub(crate) fn api_key() -> Result<Option<Secret>> {
    let key = match (variable("BURSAR_API_KEY"), variable("BURSAR_API_KEY_FILE")) {
        (Some(key), _) => key,
        (None, Some(path)) => {
            let path = PathBuf::from(path);
            let text = session::read_private(&path)?
                .ok_or_else(|| Failure::usage(format!("{} does not exist", path.display())))?;
            String::from_utf8_lossy(&text).trim().to_owned()
        }
        (None, None) => return Ok(None),
    };
    key.parse().map(Some).map_err(|_| Failure::usage("BURSAR_API_KEY holds no key"))
}

/// Runs a client command: one thread is enough to wait.
pub(crate) fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|wrong| Failure::new(1, format!("nothing can be run: {wrong}")))?
        .block_on(work)
}
