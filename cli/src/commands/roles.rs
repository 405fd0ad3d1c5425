//! `bursar roles` and `bursar permissions`.

use bursar_shared::{
    client::Client,
    operations::roles::{GetRole, ListPermissions, Role},
    page::{Condition, FilterValue, List, Op},
};
use clap::{Args, Subcommand};

use crate::{
    context::{Cx, block_on},
    curl,
    error::{Failure, Result},
    list::{self, ListArgs},
    output::{self, Sink},
    several, views,
};

/// Commands on roles.
#[derive(Debug, Subcommand)]
pub(crate) enum Roles {
    /// List roles
    #[command(visible_alias = "ls")]
    List(ListArgs),
    /// Show a role, by id or name
    Get(Get),
}

/// Shows a role.
#[derive(Debug, Args)]
pub(crate) struct Get {
    /// An id or a name
    #[arg(value_name = "ROLE")]
    role: String,
}

/// All permissions.
#[derive(Debug, Args)]
pub(crate) struct Permissions {}

/// Runs one of them.
pub(crate) fn run(cx: &Cx, command: Roles) -> Result<()> {
    let client = cx.client()?;
    block_on(async {
        match command {
            Roles::List(args) => {
                let list = args.list::<Role>()?;
                list::run(cx, &client, &views::ROLES, &args, list).await
            }
            Roles::Get(args) => {
                let role = find(&client, several::bare(&args.role)).await?;
                output::one(cx.style()?, &views::ROLES, &role)
            }
        }
    })
}

async fn find(client: &Client, text: &str) -> Result<Role> {
    if let Ok(id) = text.parse() {
        return Ok(client.call(&GetRole { id }).await?);
    }
    let mut list = List::<Role>::new().size(1);
    list.filter.push(Condition { field: "name", op: Op::Eq, value: FilterValue::Text(text.to_owned()) });
    let found = client.call(&list).await?.rows.into_iter().next();
    found.ok_or_else(|| Failure::new(3, format!("there is no role {text}")).hint("bursar roles list"))
}

/// Lists all permissions.
pub(crate) fn permissions(cx: &Cx, _: Permissions) -> Result<()> {
    let client = cx.client()?;
    if cx.globals.as_curl {
        return curl::print(cx, &client, &ListPermissions {}, &Default::default());
    }
    block_on(async {
        let all = client.call(&ListPermissions {}).await?;
        let mut sink = Sink::new(cx.style()?, &views::PERMISSIONS, true);
        for permission in &all.0 {
            sink.row(&serde_json::to_vec(permission)?)?;
        }
        sink.end()
    })
}
