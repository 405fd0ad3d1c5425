//! Roles: named sets of permissions.

use bursar_shared::{operations::roles::Role, page::List, permission::Permission};

use crate::{
    actions::Do,
    listing::{Column, Rows},
    message::Request,
    model::Model,
    text::{Clean, day, minute},
    widgets::canvas::{Bit, bit},
    window::Row,
};

impl Rows for Role {
    const TITLE: &'static str = "Roles";
    const NOTHING: &'static str = "there are no roles";
    const COLUMNS: &'static [Column<Self>] = &[
        Column {
            title: "NAME",
            min: 14,
            share: 0,
            right: false,
            shown: true,
            sort: Some("name"),
            cell: |role, _, theme| bit(role.name.clone(), theme.text),
        },
        Column {
            title: "ALLOWS",
            min: 7,
            share: 0,
            right: true,
            shown: true,
            sort: None,
            cell: |role, _, theme| match role.permissions.iter().count() {
                count if count == Permission::ALL.len() => bit("all", theme.warn),
                count => bit(count.to_string(), theme.text),
            },
        },
        Column {
            title: "KIND",
            min: 8,
            share: 0,
            right: false,
            shown: true,
            sort: None,
            cell: |role, _, theme| bit(if role.built_in { "built in" } else { "own" }, theme.dim),
        },
        Column {
            title: "DESCRIPTION",
            min: 20,
            share: 1,
            right: false,
            shown: true,
            sort: None,
            cell: |role, _, theme| bit(role.description.clone(), theme.text),
        },
        Column {
            title: "CREATED",
            min: 10,
            share: 0,
            right: true,
            shown: false,
            sort: Some("createdAt"),
            cell: |role, _, theme| match role.built_in {
                // they are as old as the program, and no day is known of that
                true => bit("built in", theme.dim),
                false => bit(day(role.created_at), theme.dim),
            },
        },
    ];

    fn request(list: List<Self>) -> Request {
        Request::Roles(list)
    }

    fn outdates(&self, other: &Self) -> bool {
        self.version > other.version
    }

    fn called(&self, _: &Model) -> String {
        self.name.clone()
    }

    fn lines(row: &Row<Self>, model: &Model, width: u16, whole: bool) -> Vec<Vec<Bit>> {
        let (role, theme) = (&row.record, &model.theme);
        let indent = if whole { "  " } else { "" };
        let mut lines = if whole { vec![Vec::new()] } else { Vec::new() };
        let room = usize::from(width).saturating_sub(indent.len()).max(8);
        for line in Clean::of(&role.description).wrap(room) {
            lines.push(vec![bit(indent.to_owned(), theme.text), Bit { text: line, style: theme.text }]);
        }
        let fact = |name: &str, value: String| {
            vec![bit(format!("{indent}{name:<10}"), theme.dim), bit(value, theme.text)]
        };
        lines
            .push(fact("kind", if role.built_in { "built in, cannot be changed" } else { "own" }.to_owned()));
        lines.push(fact("id", role.id.to_string()));
        if !role.built_in {
            lines.push(fact("created", format!("{}Z", minute(role.created_at))));
            lines.push(fact("version", role.version.to_string()));
        }
        lines.push(Vec::new());
        let count = role.permissions.iter().count();
        lines.push(vec![bit(format!("{indent}PERMISSIONS {count}"), theme.accent)]);
        if count == 0 {
            lines.push(vec![bit(format!("{indent}none: only what everybody may"), theme.dim)]);
        }
        if whole {
            lines.extend(role.permissions.iter().map(|permission| {
                vec![
                    bit(format!("{indent}{:<20}", permission.as_str()), theme.text),
                    bit(permission.about(), theme.dim),
                ]
            }));
        } else {
            lines.extend(super::person::grouped(role.permissions, theme, width));
        }
        lines.push(Vec::new());
        let key = model.keys.key_of(Do::GoPerson);
        lines.push(vec![bit(format!("{indent}{key}"), theme.key), bit(" lists who has it", theme.dim)]);
        lines
    }
}
