//! The shape of sources: `lib.rs` holds no logic, nothing is left open, files and functions stay small.

use super::Violation;
use crate::source::{Source, without_tests};
use proc_macro2::{Delimiter, TokenStream, TokenTree};

const LINES_A_FILE: usize = 600;
const LINES_A_FUNCTION: usize = 70;

/// A library's `lib.rs` with items other than modules, re-exports, attributes and compile-time assertions.
pub(crate) fn lib_holds_no_logic(source: &Source) -> anyhow::Result<Vec<Violation>> {
    let library = source.path.ends_with("/src/lib.rs") && !source.path.starts_with("loom-tests/");
    if !library {
        return Ok(Vec::new());
    }
    let logic = without_tests(source.tokens()?)
        .into_iter()
        .find_map(|tree| match tree {
            TokenTree::Ident(word)
                if ["fn", "impl", "struct", "enum", "trait", "static"]
                    .contains(&word.to_string().as_str()) =>
            {
                Some((word.to_string(), word.span().start().line))
            }
            _ => None,
        });
    Ok(logic
        .map(|(word, line)| {
            let what = format!("`{word}` in lib.rs: it holds docs and re-exports alone");
            Violation::new(format!("{}:{line}", source.path), what)
        })
        .into_iter()
        .collect())
}

/// Macros and marks that say "not finished".
pub(crate) fn open_ends(source: &Source) -> anyhow::Result<Vec<Violation>> {
    let mut violations = Vec::new();
    find_open(source, source.tokens()?, &mut violations);
    for (at, line) in source.text.lines().enumerate() {
        let marks = ["TODO", "FIXME", "XXX"];
        let comment = line.split_once("//").map_or("", |(_, comment)| comment);
        if marks.iter().any(|mark| comment.contains(mark)) {
            violations.push(Violation::new(
                format!("{}:{}", source.path, at + 1),
                "left open: finish it or say what is missing",
            ));
        }
    }
    Ok(violations)
}

fn find_open(source: &Source, tokens: TokenStream, violations: &mut Vec<Violation>) {
    let trees: Vec<TokenTree> = tokens.into_iter().collect();
    for pair in trees.windows(2) {
        if let (TokenTree::Ident(word), TokenTree::Punct(bang)) = (&pair[0], &pair[1])
            && (*word == "todo" || *word == "unimplemented")
            && bang.as_char() == '!'
        {
            let place = format!("{}:{}", source.path, word.span().start().line);
            violations.push(Violation::new(
                place,
                format!("`{word}!`: a stub called done is a defect"),
            ));
        }
    }
    for tree in trees {
        if let TokenTree::Group(group) = tree {
            find_open(source, group.stream(), violations);
        }
    }
}

/// Files and functions that have grown past one idea: warnings, since a cap breeds `part2.rs`.
pub(crate) fn sizes(source: &Source) -> anyhow::Result<Vec<Violation>> {
    let mut warnings = Vec::new();
    let lines = source.text.lines().count();
    if lines > LINES_A_FILE {
        warnings.push(Violation::new(
            &source.path,
            format!("{lines} lines: which second idea lives here?"),
        ));
    }
    long_functions(source, source.tokens()?, &mut warnings);
    Ok(warnings)
}

fn long_functions(source: &Source, tokens: TokenStream, warnings: &mut Vec<Violation>) {
    let mut name = None;
    let mut previous = String::new();
    for tree in tokens {
        match &tree {
            TokenTree::Ident(word) if previous == "fn" => name = Some(word.to_string()),
            TokenTree::Punct(p) if p.as_char() == ';' => name = None,
            TokenTree::Group(group) => {
                if group.delimiter() == Delimiter::Brace
                    && let Some(name) = name.take()
                {
                    let (open, close) = (group.span_open().start().line, group.span_close().end().line);
                    if close - open > LINES_A_FUNCTION {
                        let what = format!("`{name}` has {} lines: move leaves out", close - open);
                        warnings.push(Violation::new(format!("{}:{open}", source.path), what));
                    }
                }
                long_functions(source, group.stream(), warnings);
            }
            _ => {}
        }
        previous = tree.to_string();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source {
            path: path.into(),
            text: text.into(),
        }
    }

    #[test]
    fn planted_logic_in_lib_is_found() {
        let logic = source("rcu-map/src/lib.rs", "mod a;\npub use a::B;\nfn f() {}\n");
        assert_eq!(lib_holds_no_logic(&logic).unwrap().len(), 1);
        let clean = source(
            "rcu-map/src/lib.rs",
            "//! Docs.\nmod a;\npub use a::B;\n#[cfg(test)]\nmod tests { fn f() {} }\n",
        );
        assert!(lib_holds_no_logic(&clean).unwrap().is_empty());
    }

    #[test]
    fn planted_stubs_are_found() {
        let stub = source("a.rs", concat!("fn f() { tod", "o!() }\n// TOD", "O: later\n"));
        assert_eq!(open_ends(&stub).unwrap().len(), 2);
        assert!(open_ends(&source("a.rs", "fn todo() {}\n")).unwrap().is_empty());
    }

    #[test]
    fn planted_long_files_and_functions_are_warned_of() {
        let body = "    g();\n".repeat(75);
        let long = source("a.rs", &format!("fn short() {{}}\nfn long() {{\n{body}}}\n"));
        assert_eq!(sizes(&long).unwrap().len(), 1);
        let file = source("a.rs", &"// x\n".repeat(601));
        assert_eq!(sizes(&file).unwrap().len(), 1);
    }
}
