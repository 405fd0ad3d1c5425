//! How it looks: themes, glyphs, and what the environment asks for.

use ratatui::style::{Color, Modifier, Style};

/// The themes there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ThemeName {
    /// For dark backgrounds.
    Dark,
    /// For light backgrounds.
    Light,
    /// No colour at all.
    Mono,
    /// The strongest differences.
    HighContrast,
}

impl ThemeName {
    /// All of them.
    pub const ALL: &'static [Self] = &[Self::Dark, Self::Light, Self::Mono, Self::HighContrast];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dark => "dark",
            Self::Light => "light",
            Self::Mono => "mono",
            Self::HighContrast => "high-contrast",
        }
    }
}

impl std::str::FromStr for ThemeName {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().copied().find(|name| name.as_str() == text);
        found.ok_or_else(|| format!("{text} is no theme; valid: dark, light, mono, high-contrast"))
    }
}

/// What the person and their terminal want to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// The colours.
    pub theme: ThemeName,
    /// Whether only ASCII is drawn.
    pub ascii: bool,
    /// Whether clicks and the wheel are taken.
    pub mouse: bool,
    /// Whether the terminal knows 256 colours; else the sixteen.
    pub deep: bool,
    /// Whether the terminal is asked if its background is light.
    pub asks: bool,
}

impl Default for Look {
    fn default() -> Self {
        Self { theme: ThemeName::Dark, ascii: false, mouse: true, deep: true, asks: false }
    }
}

impl Look {
    /// Takes the theme for a light background, or for a dark one; whether that is another.
    pub fn fits(&mut self, light: bool) -> bool {
        let theme = if light { ThemeName::Light } else { ThemeName::Dark };
        std::mem::replace(&mut self.theme, theme) != theme
    }

    /// What the environment asks for: `NO_COLOR`, `TERM`, `COLORTERM`, `COLORFGBG` and the locale.
    pub fn from_env(variable: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let term = set("TERM").unwrap_or_default();
        let locale = set("LC_ALL").or_else(|| set("LC_CTYPE")).or_else(|| set("LANG"));
        let utf8 = locale.as_deref().is_none_or(|name| {
            let name = name.to_ascii_lowercase();
            name.contains("utf-8") || name.contains("utf8")
        });
        // the variable's second half is the background: 7 and 15 are the light greys
        let pair = set("COLORFGBG");
        let light = pair.as_ref().is_some_and(|pair| matches!(pair.rsplit(';').next(), Some("7" | "15")));
        let theme = match () {
            () if set("NO_COLOR").is_some() || term == "dumb" => ThemeName::Mono,
            () if light => ThemeName::Light,
            () => ThemeName::Dark,
        };
        Self {
            theme,
            ascii: !utf8 || term == "linux" || term == "dumb",
            mouse: true,
            // the console and what is no terminal would show the question
            asks: theme != ThemeName::Mono && pair.is_none() && !matches!(term.as_str(), "" | "linux"),
            deep: term.contains("256") || term.contains("kitty") || set("COLORTERM").is_some(),
        }
    }
}

/// What each kind of thing on the screen looks like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Theme {
    /// Ordinary text.
    pub text: Style,
    /// What is less important.
    pub dim: Style,
    /// What is more important.
    pub strong: Style,
    /// Titles, and where one is.
    pub accent: Style,
    /// Lines between things.
    pub rule: Style,
    /// The row under the cursor.
    pub cursor: Style,
    /// A mark.
    pub mark: Style,
    /// Fine.
    pub good: Style,
    /// Look here.
    pub warn: Style,
    /// Wrong.
    pub bad: Style,
    /// A field for typing.
    pub field: Style,
    /// The field that is typed in.
    pub field_on: Style,
    /// A key in a hint.
    pub key: Style,
    /// The line that says that something is wrong with everything shown.
    pub banner: Style,
    /// The signs it is drawn with.
    pub glyphs: &'static Glyphs,
}

/// The signs things are drawn with; every one takes one cell.
#[derive(Debug, PartialEq, Eq)]
pub struct Glyphs {
    /// Lines: across, down, and the four corners from the upper left clockwise.
    pub lines: [&'static str; 6],
    /// The row under the cursor.
    pub cursor: &'static str,
    /// A marked row.
    pub mark: &'static str,
    /// A row that changed since it was read.
    pub changed: &'static str,
    /// A row that is not there any more.
    pub gone: &'static str,
    /// A good state.
    pub good: &'static str,
    /// A state in between.
    pub wait: &'static str,
    /// A stopped state.
    pub stop: &'static str,
    /// Text was cut.
    pub ellipsis: char,
    /// Ascending and descending.
    pub order: [&'static str; 2],
    /// The edge of a banner.
    pub edge: &'static str,
    /// Heights, lowest first.
    pub heights: &'static [&'static str],
    /// A hidden letter.
    pub hidden: char,
    /// Between a place and what is in it.
    pub path: &'static str,
    /// Between facts.
    pub dot: &'static str,
    /// From before to after.
    pub arrow: &'static str,
    /// Whether data is written in ASCII too.
    pub ascii: bool,
}

const UNICODE: Glyphs = Glyphs {
    lines: ["─", "│", "╭", "╮", "╯", "╰"],
    cursor: "›",
    mark: "✓",
    changed: "·",
    gone: "~",
    good: "●",
    wait: "◐",
    stop: "✖",
    ellipsis: '…',
    order: ["↑", "↓"],
    edge: "▌",
    heights: &["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"],
    hidden: '•',
    path: "›",
    dot: "·",
    arrow: "→",
    ascii: false,
};

const ASCII: Glyphs = Glyphs {
    lines: ["-", "|", "+", "+", "+", "+"],
    cursor: ">",
    mark: "+",
    changed: ".",
    gone: "~",
    good: "*",
    wait: "~",
    stop: "x",
    ellipsis: '~',
    order: ["^", "v"],
    edge: "!",
    heights: &["_", ".", ":", "-", "=", "+", "*", "#"],
    hidden: '*',
    path: ">",
    dot: "-",
    arrow: ">",
    ascii: true,
};

impl Theme {
    /// The theme for a look.
    pub fn of(look: Look) -> Self {
        let plain = Style::new();
        let bold = plain.add_modifier(Modifier::BOLD);
        // a colour of the 256, and its neighbour among the sixteen
        let ink = |deep: u8, flat: Color| if look.deep { Color::Indexed(deep) } else { flat };
        let glyphs = if look.ascii { &ASCII } else { &UNICODE };
        let mono = Self {
            text: plain,
            dim: plain,
            strong: bold,
            accent: bold,
            rule: plain,
            cursor: plain.add_modifier(Modifier::REVERSED),
            mark: bold,
            good: plain,
            warn: bold,
            bad: bold,
            field: plain.add_modifier(Modifier::UNDERLINED),
            field_on: plain.add_modifier(Modifier::UNDERLINED | Modifier::BOLD),
            key: bold,
            banner: plain.add_modifier(Modifier::REVERSED),
            glyphs,
        };
        match look.theme {
            ThemeName::Mono => mono,
            ThemeName::Dark => Self {
                dim: plain.fg(ink(247, Color::Gray)),
                accent: bold.fg(ink(117, Color::Cyan)),
                rule: plain.fg(ink(240, Color::DarkGray)),
                cursor: bold.fg(ink(255, Color::White)).bg(ink(24, Color::Blue)),
                mark: bold.fg(ink(221, Color::Yellow)),
                good: plain.fg(ink(114, Color::Green)),
                warn: plain.fg(ink(221, Color::Yellow)),
                bad: bold.fg(ink(210, Color::LightRed)),
                field: plain.bg(ink(236, Color::Black)),
                field_on: plain.fg(ink(255, Color::White)).bg(ink(24, Color::Blue)),
                key: plain.fg(ink(117, Color::Cyan)),
                banner: bold.fg(ink(255, Color::White)).bg(ink(88, Color::Red)),
                ..mono
            },
            ThemeName::Light => Self {
                dim: plain.fg(ink(240, Color::DarkGray)),
                accent: bold.fg(ink(25, Color::Blue)),
                rule: plain.fg(ink(248, Color::Gray)),
                cursor: bold.fg(ink(16, Color::Black)).bg(ink(153, Color::Cyan)),
                mark: bold.fg(ink(94, Color::Magenta)),
                good: plain.fg(ink(22, Color::Green)),
                warn: plain.fg(ink(94, Color::Magenta)),
                bad: bold.fg(ink(124, Color::Red)),
                field: plain.bg(ink(254, Color::White)),
                field_on: plain.fg(ink(16, Color::Black)).bg(ink(153, Color::Cyan)),
                key: plain.fg(ink(25, Color::Blue)),
                banner: bold.fg(ink(231, Color::White)).bg(ink(124, Color::Red)),
                ..mono
            },
            ThemeName::HighContrast => Self {
                text: plain.fg(ink(231, Color::White)).bg(ink(16, Color::Black)),
                dim: plain.fg(ink(231, Color::White)).bg(ink(16, Color::Black)),
                strong: bold.fg(ink(231, Color::White)).bg(ink(16, Color::Black)),
                accent: bold.fg(ink(226, Color::Yellow)).bg(ink(16, Color::Black)),
                rule: plain.fg(ink(231, Color::White)).bg(ink(16, Color::Black)),
                cursor: bold.fg(ink(16, Color::Black)).bg(ink(226, Color::Yellow)),
                mark: bold.fg(ink(226, Color::Yellow)).bg(ink(16, Color::Black)),
                good: bold.fg(ink(46, Color::LightGreen)).bg(ink(16, Color::Black)),
                warn: bold.fg(ink(226, Color::Yellow)).bg(ink(16, Color::Black)),
                bad: bold.fg(ink(217, Color::LightRed)).bg(ink(16, Color::Black)),
                field: plain.add_modifier(Modifier::UNDERLINED),
                field_on: bold.fg(ink(16, Color::Black)).bg(ink(231, Color::White)),
                key: bold.fg(ink(51, Color::LightCyan)).bg(ink(16, Color::Black)),
                banner: bold.fg(ink(16, Color::Black)).bg(ink(226, Color::Yellow)),
                glyphs,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rgb(color: Color) -> Option<[f64; 3]> {
        let Color::Indexed(index) = color else { return None };
        let cube = |step: u8| if step == 0 { 0 } else { 55 + 40 * step };
        let [r, g, b] = match index {
            16..=231 => {
                let index = index - 16;
                [cube(index / 36), cube(index / 6 % 6), cube(index % 6)]
            }
            232.. => [8 + 10 * (index - 232); 3],
            _ => return None,
        };
        Some([r, g, b].map(|part| {
            let part = f64::from(part) / 255.0;
            if part <= 0.03928 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
        }))
    }

    fn contrast(one: [f64; 3], other: [f64; 3]) -> f64 {
        let light = |[r, g, b]: [f64; 3]| 0.2126 * r + 0.7152 * g + 0.0722 * b;
        let (one, other) = (light(one), light(other));
        (one.max(other) + 0.05) / (one.min(other) + 0.05)
    }

    #[test]
    fn every_text_can_be_read_on_its_background() {
        for (name, background) in
            [(ThemeName::Dark, 235), (ThemeName::Light, 231), (ThemeName::HighContrast, 16)]
        {
            let theme = Theme::of(Look { theme: name, ..Look::default() });
            for style in [
                theme.dim,
                theme.accent,
                theme.cursor,
                theme.mark,
                theme.good,
                theme.warn,
                theme.bad,
                theme.field_on,
                theme.key,
                theme.banner,
            ] {
                let (Some(ink), Some(paper)) =
                    (style.fg.and_then(rgb), rgb(style.bg.unwrap_or(Color::Indexed(background))))
                else {
                    continue;
                };
                assert!(contrast(ink, paper) >= 4.5, "{name:?} {style:?}: {:.1}", contrast(ink, paper));
            }
        }
    }

    #[test]
    fn the_environment_is_heard() {
        let look = |pairs: &'static [(&str, &str)]| {
            Look::from_env(|name| {
                pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
            })
        };
        assert_eq!(look(&[("NO_COLOR", "1"), ("TERM", "xterm-256color")]).theme, ThemeName::Mono);
        assert_eq!(look(&[("NO_COLOR", "")]).theme, ThemeName::Dark);
        assert_eq!(look(&[("COLORFGBG", "0;15")]).theme, ThemeName::Light);
        assert!(look(&[("TERM", "xterm-256color")]).asks);
        for told in [("COLORFGBG", "0;15"), ("NO_COLOR", "1"), ("TERM", "linux"), ("TERM", "dumb")] {
            assert!(!Look::from_env(|name| (told.0 == name).then(|| told.1.to_owned())).asks, "{told:?}");
        }
        assert!(look(&[("LANG", "C")]).ascii);
        assert!(!look(&[("LANG", "de_DE.UTF-8")]).ascii);
        assert!(!look(&[("TERM", "xterm")]).deep);
    }
}
