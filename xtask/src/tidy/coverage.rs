//! docs/COVERAGE.md: every requirement stands there, and what is marked shown is shown by something that exists.

use super::Violation;
use crate::source::Source;
use std::collections::{BTreeMap, BTreeSet};

const PAGE: &str = "docs/COVERAGE.md";

/// Every requirement's id.
fn ids() -> Vec<String> {
    let series = [("A", 16), ("B", 19), ("C", 17), ("D", 7), ("E", 16)];
    series
        .iter()
        .flat_map(|(letter, last)| (1..=*last).map(move |n| format!("{letter}{n}")))
        .collect()
}

/// What a line of the page may name.
#[derive(Debug, Default)]
pub(crate) struct Names {
    tests: BTreeSet<String>,
    compile_fail: BTreeSet<String>,
    claims: BTreeSet<String>,
}

impl Names {
    /// Collects test functions, named compile-fail examples and claim ids.
    pub(crate) fn read(sources: &[Source]) -> Self {
        let mut names = Self::default();
        for source in sources {
            let claims = source.path.starts_with("bench-suite/src/claims/");
            let mut test_ahead = false;
            let fails = source.text.contains("compile_fail");
            for line in source.text.lines().map(str::trim) {
                if line.starts_with("#[test]")
                    || line.starts_with("#[should_panic")
                    || line.starts_with("proptest!")
                {
                    test_ahead = true;
                }
                let word = |text: &str| {
                    text.split(|c: char| !(c.is_alphanumeric() || c == '_'))
                        .next()
                        .map(str::to_string)
                };
                if let Some(name) = line.strip_prefix("fn ").and_then(word) {
                    if test_ahead {
                        names.tests.insert(name);
                    }
                    test_ahead = false;
                }
                if fails && (line.starts_with("///") || line.starts_with("//!")) {
                    names
                        .compile_fail
                        .extend(line.split('`').skip(1).step_by(2).map(str::to_string));
                }
                if claims {
                    names
                        .claims
                        .extend(line.split('"').skip(1).step_by(2).map(str::to_string));
                }
            }
        }
        names
    }

    fn shows(&self, id: &str, what: &str) -> bool {
        if let Some(claim) = what.strip_prefix("claim ") {
            return self.claims.contains(claim);
        }
        let prefix = format!("{}_", id.to_lowercase());
        what.starts_with(&prefix) && (self.tests.contains(what) || self.compile_fail.contains(what))
    }
}

#[derive(Debug, Default)]
struct Section {
    line: usize,
    done: bool,
    open_lines: usize,
    shown_lines: usize,
}

/// Reads the page and reports ids that are missing or doubled, tests that do not exist, and false `done`s.
pub(crate) fn check(page: &str, names: &Names) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut sections: BTreeMap<String, Section> = BTreeMap::new();
    let mut current = String::new();
    for (at, line) in page.lines().enumerate() {
        let place = || format!("{PAGE}:{}", at + 1);
        if let Some(heading) = line.strip_prefix("### ") {
            let parts: Vec<&str> = heading.split(" · ").collect();
            current = parts[0].to_string();
            let state = parts.last().copied().unwrap_or("");
            if parts.len() != 3 || !["open", "done"].contains(&state) {
                violations.push(Violation::new(
                    place(),
                    "a heading reads `### ID · owner · open|done`",
                ));
            }
            let section = Section {
                line: at + 1,
                done: state == "done",
                ..Section::default()
            };
            if sections.insert(current.clone(), section).is_some() {
                violations.push(Violation::new(place(), format!("`{current}` stands twice")));
            }
        } else if let (true, Some(section)) = (line.starts_with("- [ ]"), sections.get_mut(&current)) {
            section.open_lines += 1;
        } else if let (true, Some(section)) = (line.starts_with("- [x]"), sections.get_mut(&current)) {
            section.shown_lines += 1;
            let shown: Vec<&str> = line.split('`').skip(1).step_by(2).collect();
            if shown.last().is_none_or(|what| !names.shows(&current, what)) {
                let what = format!(
                    "marked shown, but no test of `{current}` or claim is named at its end that exists"
                );
                violations.push(Violation::new(place(), what));
            }
        }
    }
    for id in ids() {
        if !sections.contains_key(&id) {
            violations.push(Violation::new(PAGE, format!("`{id}` is missing")));
        }
    }
    for (id, section) in &sections {
        if section.done && (section.open_lines > 0 || section.shown_lines == 0) {
            let what = format!("`{id}` is marked done, but has open lines or no line that is shown");
            violations.push(Violation::new(format!("{PAGE}:{}", section.line), what));
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        Names::read(&[
            Source {
                path: "a/tests/a.rs".into(),
                text: "#[test]\nfn c2_sum_is_exact() {\n}\nfn c2_helper() {}\n".into(),
            },
            Source {
                path: "bench-suite/src/claims/x.rs".into(),
                text: "id: \"ctr.add\",".into(),
            },
            Source {
                path: "a/src/b.rs".into(),
                text: "/// `c2_outlives` does not compile:\n/// ```compile_fail\n".into(),
            },
        ])
    }

    fn page(c2: &str) -> String {
        let others = ids()
            .into_iter()
            .filter(|id| id != "C2")
            .map(|id| format!("### {id} · x · open\n- [ ] y\n"));
        others.collect::<String>() + c2
    }

    fn found(c2: &str) -> usize {
        check(&page(c2), &names()).len()
    }

    #[test]
    fn what_exists_may_be_marked_shown_and_done() {
        assert_eq!(
            found("### C2 · flat-combine · done\n- [x] sum: `c2_sum_is_exact`\n"),
            0
        );
        assert_eq!(
            found("### C2 · flat-combine · done\n- [x] sum: `claim ctr.add`\n"),
            0
        );
        assert_eq!(
            found("### C2 · flat-combine · open\n- [x] `fn` of x: `c2_outlives`\n- [ ] y\n"),
            0
        );
    }

    #[test]
    fn a_planted_missing_id_is_found() {
        assert_eq!(found(""), 1);
    }

    #[test]
    fn a_planted_test_that_does_not_exist_is_found() {
        assert_eq!(found("### C2 · f · open\n- [x] sum: `c2_sum_is_wrong`\n"), 1);
        assert_eq!(
            found("### C2 · f · open\n- [x] a helper is no test: `c2_helper`\n"),
            1
        );
        assert_eq!(found("### C2 · f · open\n- [x] no name at all\n"), 1);
        assert_eq!(
            found("### C2 · f · open\n- [x] no such claim: `claim ctr.sub`\n"),
            1
        );
    }

    #[test]
    fn a_planted_false_done_is_found() {
        assert_eq!(
            found("### C2 · f · done\n- [x] sum: `c2_sum_is_exact`\n- [ ] more\n"),
            1
        );
        assert_eq!(found("### C2 · f · done\n"), 1);
        assert_eq!(found("### C2 · f · finished\n- [ ] y\n"), 1);
    }
}
