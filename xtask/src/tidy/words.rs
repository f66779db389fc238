//! The repository speaks of the project alone: no path of one machine, no file beside the checkout.

use super::Violation;

/// Places that only one machine has. Written in halves, so that this file does not name them.
const FOREIGN: [(&str, &str); 5] = [
    ("../sha", "red"),
    ("/wo", "rk/"),
    ("/ro", "ot/"),
    ("/ho", "me/"),
    ("/tmp/ba", "sh"),
];

/// Names of places that do not belong in a file that others clone.
pub(crate) fn check(path: &str, text: &str) -> Vec<Violation> {
    if path == "Cargo.lock" {
        return Vec::new();
    }
    let mut violations = Vec::new();
    for (at, line) in text.lines().enumerate() {
        for (head, tail) in FOREIGN {
            let word = format!("{head}{tail}");
            if line.contains(&word) {
                let what = format!("names `{word}`, which no clone has");
                violations.push(Violation::new(format!("{path}:{}", at + 1), what));
            }
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_planted_foreign_path_is_found() {
        assert_eq!(
            check("README.md", &format!("see {}{}/X.md", "../sha", "red")).len(),
            1
        );
        assert_eq!(check("a.rs", &format!("\"{}{}x\"", "/ro", "ot/")).len(), 1);
        assert!(check("README.md", "see docs/SAFETY.md").is_empty());
    }
}
