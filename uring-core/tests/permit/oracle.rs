//! Slow and plain: a path rewritten until nothing is left to rewrite, patterns matched by trying everything, rules one after the other.

use super::permit::{Mounts, MountsBuilder, Pattern, Rules, RulesBuilder, Verdict};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// The normal spelling and whether only a directory can be meant; `None` for what has none.
pub(crate) fn normal(path: &[u8]) -> Option<(Vec<u8>, bool)> {
    if path.len() > 4095 || path.first() != Some(&b'/') || path.contains(&0) {
        return None;
    }
    let directory = [&b"/"[..], b"/.", b"/.."].iter().any(|end| path.ends_with(end));
    let mut text = [path, b"/"].concat();
    let find = |text: &[u8], what: &[u8]| text.windows(what.len()).position(|window| window == what);
    loop {
        if let Some(at) = find(&text, b"//") {
            text.remove(at);
        } else if let Some(at) = find(&text, b"/./") {
            text.drain(at..at + 2);
        } else if let Some(at) = find(&text, b"/../") {
            let before = text[..at].iter().rposition(|&byte| byte == b'/')?;
            text.drain(before..at + 3);
        } else {
            break;
        }
    }
    if text.len() > 1 {
        text.pop();
    }
    Some((text, directory))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Exact,
    Prefix,
    Glob,
}

/// A rule: whether it allows, what kind it is, what it was written as.
pub(crate) type Rule = (bool, Kind, Vec<u8>);

fn components(path: &[u8]) -> Vec<&[u8]> {
    path.split(|&byte| byte == b'/')
        .filter(|part| !part.is_empty())
        .collect()
}

fn matches(kind: Kind, pattern: &[u8], path: &[u8]) -> bool {
    let (parts, names) = (components(pattern), components(path));
    match kind {
        Kind::Exact => parts == names,
        Kind::Prefix => names.len() >= parts.len() && names[..parts.len()] == parts,
        Kind::Glob => glob(&parts, &names),
    }
}

fn glob(parts: &[&[u8]], names: &[&[u8]]) -> bool {
    match (parts, names) {
        ([], names) => names.is_empty(),
        ([b"**", rest @ ..], names) => (0..=names.len()).any(|skipped| glob(rest, &names[skipped..])),
        (_, []) => false,
        ([part, rest @ ..], [name, names @ ..]) => component(part, name) && glob(rest, names),
    }
}

fn component(part: &[u8], name: &[u8]) -> bool {
    match (part, name) {
        ([], name) => name.is_empty(),
        ([b'*', rest @ ..], name) => (0..=name.len()).any(|skipped| component(rest, &name[skipped..])),
        (_, []) => false,
        ([b'?', rest @ ..], [_, name @ ..]) => component(rest, name),
        ([b'\\', one, rest @ ..], [byte, name @ ..]) => one == byte && component(rest, name),
        ([b'[', class @ ..], [byte, name @ ..]) => {
            let (negated, class) = class
                .strip_prefix(b"!")
                .map_or((false, class), |class| (true, class));
            let (set, rest) = members(class);
            in_class(&set, *byte) != negated && component(rest, name)
        }
        ([one, rest @ ..], [byte, name @ ..]) => one == byte && component(rest, name),
    }
}

/// The bytes of a class, each with whether it stood after a `\`, and what comes after its end.
fn members(class: &[u8]) -> (Vec<(u8, bool)>, &[u8]) {
    match class {
        [b']', rest @ ..] => (Vec::new(), rest),
        [b'\\', one, rest @ ..] => {
            let (mut set, rest) = members(rest);
            set.insert(0, (*one, true));
            (set, rest)
        }
        [one, rest @ ..] => {
            let (mut set, rest) = members(rest);
            set.insert(0, (*one, false));
            (set, rest)
        }
        [] => unreachable!("a class that is not closed is refused"),
    }
}

fn in_class(set: &[(u8, bool)], byte: u8) -> bool {
    match set {
        [] => false,
        [(low, _), (b'-', false), (high, _), rest @ ..] => {
            (low..=high).contains(&&byte) || in_class(rest, byte)
        }
        [(one, _), rest @ ..] => *one == byte || in_class(rest, byte),
    }
}

/// The rule that decides on a normal path.
pub(crate) fn first(rules: &[Rule], path: &[u8]) -> Option<usize> {
    rules
        .iter()
        .position(|(_, kind, pattern)| matches(*kind, pattern, path))
}

/// The longest mount that holds a normal path, by its number.
pub(crate) fn longest(mounts: &[Vec<u8>], path: &[u8]) -> Option<usize> {
    let holds = |mount: &&Vec<u8>| matches(Kind::Prefix, mount, path);
    let longest = mounts
        .iter()
        .filter(holds)
        .max_by_key(|mount| components(mount).len())?;
    mounts.iter().position(|mount| mount == longest)
}

/// The same rules, ours.
pub(crate) fn builder(rules: &[Rule]) -> RulesBuilder {
    rules
        .iter()
        .fold(Rules::builder(), |built, (allows, kind, text)| {
            let text = OsStr::from_bytes(text);
            let pattern = match kind {
                Kind::Exact => Pattern::exact(text),
                Kind::Prefix => Pattern::prefix(text),
                Kind::Glob => Pattern::glob(text),
            };
            built.rule(if *allows { Verdict::Allow } else { Verdict::Deny }, pattern)
        })
}

/// The same mounts, ours, each leading to its number.
pub(crate) fn mount_builder(mounts: &[Vec<u8>]) -> MountsBuilder<usize> {
    let numbered = mounts.iter().zip(0..);
    numbered.fold(Mounts::builder(), |built, (at, number)| {
        built.mount(OsStr::from_bytes(at), number)
    })
}
