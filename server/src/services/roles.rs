//! Roles and permissions, read.

use bursar_shared::{
    operations::roles::{GetRole, ListPermissions, PermissionInfo, PermissionList, Role},
    page::{List, Page},
    permission::Permission,
};

use crate::{cx::Cx, error::Result, repositories::roles};

/// One page of roles.
pub async fn list(cx: Cx, list: List<Role>) -> Result<Page<Role>> {
    let (now, app) = (cx.now(), cx.app.clone());
    cx.read(move |conn| {
        let page = roles::page(conn, &list, &app.cursors, now)?;
        let rows = page.rows.iter().map(roles::Row::role).collect::<Result<_>>()?;
        Ok(Page { rows, pagination: page.pagination, included: page.included })
    })
    .await
}

/// Reads a role.
pub async fn get(cx: Cx, op: GetRole) -> Result<Role> {
    cx.read(move |conn| roles::get(conn, op.id)?.role()).await
}

/// All permissions there are.
pub async fn permissions(_: Cx, _: ListPermissions) -> Result<PermissionList> {
    let about = |permission: &Permission| PermissionInfo {
        name: permission.to_string(),
        description: permission.about().to_owned(),
    };
    Ok(PermissionList(Permission::ALL.iter().map(about).collect()))
}
