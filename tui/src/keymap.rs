//! Which keys do what: those of the table of actions, and those that the person set instead.

use std::collections::BTreeMap;

use bursar_shared::text::nearest;

use crate::{
    actions::{ACTIONS, Action, Do, Group, action},
    keys::{Key, shown},
};

/// The keys that the person set, by the name of the action.
#[derive(Debug, Clone, Default)]
pub struct Keymap {
    own: BTreeMap<&'static str, Vec<String>>,
}

/// Where a name of an action stands, the part before its first dot, is where its keys work: these work
/// everywhere, any two of the others never on the same screen.
const EVERYWHERE: &[&str] = &["app", "go", "list", "row"];

impl Keymap {
    /// With these keys instead of those of the table, by the name of the action. An action without keys is
    /// left to the palette.
    ///
    /// # Errors
    /// Which action or key there is not, or which key would mean two things.
    pub fn new(own: &BTreeMap<String, Vec<String>>) -> Result<Self, String> {
        let mut map = Self::default();
        for (name, keys) in own {
            let Some(action) = ACTIONS.iter().find(|action| action.name == *name) else {
                let near = nearest(name, ACTIONS.iter().map(|action| action.name));
                let meant = near.map_or_else(String::new, |near| format!("; did you mean {near}?"));
                return Err(format!("{name} is no action{meant}"));
            };
            for written in keys {
                let parts = written.split(' ').collect::<Vec<_>>();
                if let Some(dead) = parts.iter().find_map(|part| Key::read(part).and_then(Key::dead)) {
                    return Err(format!("{name}: \"{written}\" cannot be pressed: {dead}"));
                }
                if parts.is_empty() || parts.len() > 2 || parts.iter().any(|key| Key::read(key).is_none()) {
                    return Err(format!(
                        "{name}: \"{written}\" is no key; keys are written like j, S, ^d, enter, f2, shift-down, or two of them like g u"
                    ));
                }
            }
            let slip = |written: &&String| !written.split(' ').filter_map(Key::read).any(Key::is_deliberate);
            if begins_a_change(action)
                && let Some(written) = keys.iter().find(slip)
            {
                return Err(format!(
                    "{name}: \"{written}\" is hit too easily for a change; it takes a capital letter, one with control like ^x, or a function key"
                ));
            }
            let mut keys = keys.clone();
            // whatever is set, there is a way out
            if action.what == Do::Quit && !keys.iter().any(|key| key == "^c") {
                keys.push("^c".to_owned());
            }
            map.own.insert(action.name, keys);
        }
        map.clash().map_or(Ok(map), Err)
    }

    /// The first key that would mean two things on one screen.
    fn clash(&self) -> Option<String> {
        for (at, one) in ACTIONS.iter().enumerate() {
            for other in &ACTIONS[at + 1..] {
                if !self.own.contains_key(one.name) && !self.own.contains_key(other.name) {
                    continue;
                }
                let (area, others) = (area(one), area(other));
                let apart = area != others && !EVERYWHERE.contains(&area) && !EVERYWHERE.contains(&others);
                if apart || one.keys.iter().any(|key| other.keys.contains(key)) {
                    continue;
                }
                let same =
                    self.of(one).into_iter().find(|key| self.of(other).iter().any(|its| meets(key, its)));
                if let Some(key) = same {
                    let key = shown(key);
                    return Some(format!(
                        "{key} would mean two things, {} and {}; give one of them another key",
                        one.name, other.name
                    ));
                }
            }
        }
        None
    }

    /// The keys of an action, the first of which is shown; two in a row are written with a space between.
    pub fn of<'a>(&'a self, action: &Action) -> Vec<&'a str> {
        match self.own.get(action.name) {
            Some(own) => own.iter().map(String::as_str).collect(),
            None => action.keys.to_vec(),
        }
    }

    /// The key that a hint shows for an action, as it is written for people.
    pub fn shown(&self, action: &Action) -> String {
        self.of(action).first().map_or_else(String::new, |keys| shown(keys))
    }

    /// The same, for words that name it.
    pub fn key_of(&self, what: Do) -> String {
        let key = action(what).map_or_else(String::new, |action| self.shown(action));
        if key.is_empty() { ":".to_owned() } else { key }
    }

    /// A sentence that names keys by what they do, `press {list.down}`, with the keys that do it.
    pub fn fill(&self, sentence: &str) -> String {
        let mut parts = sentence.split('{');
        let mut filled = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let named = part.split_once('}').and_then(|(name, rest)| {
                ACTIONS.iter().find(|action| action.name == name).map(|action| (action.what, rest))
            });
            match named {
                Some((what, rest)) => filled.extend([&self.key_of(what), rest]),
                None => filled.extend(["{", part]),
            }
        }
        filled
    }

    /// All keys of an action, as they are written for people.
    pub fn all_shown(&self, action: &Action) -> String {
        self.of(action).into_iter().map(shown).collect::<Vec<_>>().join(" ")
    }
}

/// Whether it begins a change with what is under the cursor. One that only opens a form to type in may have
/// any key, as some have in the table.
fn begins_a_change(action: &Action) -> bool {
    let deliberate = |keys: &str| Key::read(keys).is_some_and(Key::is_deliberate);
    (action.group == Group::Change || action.what == Do::Undo)
        && action.keys.iter().all(|keys| deliberate(keys))
}

fn area(action: &Action) -> &'static str {
    let area = action.name.split('.').next().unwrap_or_default();
    // somebody is made from every screen
    if action.what == Do::Create { "app" } else { area }
}

/// Whether two keys cannot both work: they are the same, or one of them begins the other.
fn meets(one: &str, other: &str) -> bool {
    let begins = |one: &str, other: &str| other.split_once(' ').is_some_and(|(first, _)| first == one);
    one == other || begins(one, other) || begins(other, one)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &[&str])]) -> Result<Keymap, String> {
        let own = pairs.iter().map(|(name, keys)| {
            ((*name).to_owned(), keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>())
        });
        Keymap::new(&own.collect())
    }

    #[test]
    fn keys_take_the_place_of_those_of_the_table() {
        let map = map(&[("user.suspend", &["f2", "g S"]), ("list.pane", &[])]).unwrap();
        assert_eq!(map.of(action(Do::Suspend).unwrap()), ["f2", "g S"]);
        assert_eq!(map.key_of(Do::Suspend), "f2");
        assert_eq!(map.key_of(Do::Pane), ":");
        assert_eq!(map.key_of(Do::Filter), "/");
        let filled = map.fill("{user.suspend} and {list.pane}, {list.filter}; {nothing} {");
        assert_eq!(filled, "f2 and :, /; {nothing} {");
    }

    #[test]
    fn what_cannot_be_is_said_at_once() {
        let wrong = |pairs| map(pairs).unwrap_err();
        assert!(wrong(&[("user.suspnd", &["S"])]).contains("did you mean user.suspend?"));
        assert!(wrong(&[("list.down", &["hyper-j"])]).contains("\"hyper-j\" is no key"));
        assert!(wrong(&[("list.down", &["a b c"])]).contains("is no key"));
        assert!(wrong(&[("list.down", &["k"])]).contains("k would mean two things, list.down and list.up"));
        // what changes something is not begun by a slip of the hand
        assert!(wrong(&[("user.suspend", &["f2", "h"])]).contains("\"h\" is hit too easily for a change"));
        assert!(wrong(&[("transfer.create", &["enter"])]).contains("too easily"));
        assert!(wrong(&[("app.undo", &["g z"])]).contains("too easily"));
        map(&[("user.suspend", &["g S", "^x", "f2"]), ("user.edit", &["h"])]).unwrap();
        // nor is a key taken that no terminal sends
        assert!(wrong(&[("list.down", &["^S"])]).contains("cannot be pressed: write ^s"));
        assert!(wrong(&[("list.down", &["^i"])]).contains("cannot be pressed: terminals send tab"));
        assert!(wrong(&[("list.down", &["^1"])]).contains("cannot be pressed"));
        // the first of two keys cannot be a key by itself
        assert!(wrong(&[("list.pane", &["g"])]).contains("would mean two things"));
        // moving both is no clash, nor are the same keys on different screens
        map(&[("list.down", &["k"]), ("list.up", &["j"])]).unwrap();
        map(&[("session.end", &["R"])]).unwrap();
        map(&[]).unwrap();
    }

    #[test]
    fn there_is_always_a_way_out() {
        let quit = |keys: &[&str]| {
            let map = map(&[("app.quit", keys)]).unwrap();
            map.of(action(Do::Quit).unwrap()).join(" ")
        };
        assert_eq!(quit(&["Q"]), "Q ^c");
        assert_eq!(quit(&[]), "^c");
        assert_eq!(quit(&["^c", "q"]), "^c q");
        let wrong = map(&[("app.quit", &["Q"]), ("list.pane", &["^c"])]).unwrap_err();
        assert!(wrong.contains("^c would mean two things"), "{wrong}");
    }
}
