//! How guessable a new password is.

use zxcvbn::{Score, zxcvbn};

/// Characters that are judged; more cannot make a password weaker, only slower to judge.
const MAX_JUDGED: usize = 128;

/// What is wrong with a new password, for a violation of the rule `weak_password`; nothing when it
/// is strong enough (zxcvbn 3 of 4). `context` is what an attacker tries first: the person's email and name.
pub(super) fn weakness(password: &str, context: &[&str]) -> Option<String> {
    let judged: String = password.chars().take(MAX_JUDGED).collect();
    let mut inputs = vec!["bursar".to_owned()];
    for text in context {
        let words = || text.split(|letter: char| !letter.is_alphanumeric()).filter(|word| word.len() > 2);
        inputs.push((*text).to_owned());
        inputs.extend(words().map(str::to_owned));
        // "Ada Lovelace" and ada.lovelace@ are also tried as adalovelace
        inputs.push(words().collect());
        inputs.extend(text.split_once('@').map(|(local, _)| local.replace(['.', '-', '_'], "")));
    }
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    let verdict = zxcvbn(&judged, &inputs);
    if verdict.score() >= Score::Three {
        return None;
    }
    let warning = verdict.feedback().and_then(|feedback| feedback.warning());
    Some(match warning {
        Some(warning) => format!("is too easy to guess: {warning}"),
        None => "is too easy to guess: take several uncommon words".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_strong_from_weak() {
        for weak in ["password1234", "aaaaaaaaaaaaaaaa", "qwertyuiop123", "123456789012"] {
            assert!(weakness(weak, &[]).is_some(), "{weak}");
        }
        for strong in ["correct horse battery staple", "vK9#mQ2$xL7pTz", "Zwölf Boxkämpfer jagen Viktor"] {
            assert_eq!(weakness(strong, &[]), None, "{strong}");
        }
    }

    #[test]
    fn knows_the_person() {
        let context = ["wilhelmina.tremblay@example.com", "Wilhelmina Tremblay"];
        assert!(weakness("wilhelminatremblay1", &context).is_some());
        assert_eq!(weakness("tide lantern orchid gravel", &context), None);
    }

    #[test]
    fn judges_a_huge_password_by_its_beginning() {
        assert!(weakness(&"a".repeat(1_000_000), &[]).is_some());
    }
}
