//! Paths, rules and mounts at random, of few names, so that they meet.

use super::oracle::{Kind, Rule};
use proptest::prelude::*;
use proptest::sample::select;

const NAMES: [&[u8]; 9] = [
    b"a",
    b"b",
    b"ab",
    b"A",
    b".a",
    b"...",
    b"\xff",
    b"a-long-name",
    b"12345678",
];
const PARTS: [&[u8]; 13] = [
    b"**",
    b"**",
    b"*",
    b"?",
    b"a*",
    b"*b",
    b"[ab]",
    b"[!a-z]*",
    b"[\\a-\\b]",
    b"\\a",
    b"*a*b*",
    b"a",
    b"ab",
];
const ODD: [&[u8]; 5] = [b"", b".", b"..", b"..", b"a\0b"];

fn joined(parts: &[&[u8]]) -> Vec<u8> {
    match parts {
        [] => b"/".to_vec(),
        parts => parts.iter().flat_map(|part| [b"/", *part].concat()).collect(),
    }
}

/// A path in normal spelling, up to ten components deep.
pub(crate) fn normal_path() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(select(&NAMES[..]), 0..10).prop_map(|parts| joined(&parts))
}

/// A path as strangers spell it, refused now and then.
pub(crate) fn path() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        20 => select(&NAMES[..]),
        8 => select(&ODD[..4]),
        1 => select(&ODD[4..]),
    ];
    let spelt = proptest::collection::vec(part, 0..12).prop_map(|parts| joined(&parts));
    prop_oneof![
        12 => spelt.clone(),
        1 => spelt.prop_map(|path| path[1..].to_vec()),
        1 => proptest::collection::vec(select(&b"/.a\0"[..]), 0..24),
    ]
}

fn rule() -> impl Strategy<Value = Rule> {
    let globs = proptest::collection::vec(select(&PARTS[..]), 0..6).prop_map(|parts| joined(&parts));
    let some = prop_oneof![
        (Just(Kind::Exact), normal_path()),
        (Just(Kind::Prefix), normal_path()),
        (Just(Kind::Glob), globs),
    ];
    (any::<bool>(), some).prop_map(|(allows, (kind, text))| (allows, kind, text))
}

/// Fewer than `count` rules.
pub(crate) fn rules(count: usize) -> impl Strategy<Value = Vec<Rule>> {
    proptest::collection::vec(rule(), 0..count)
}

/// Fewer than `count` mounts, no two the same.
pub(crate) fn mounts(count: usize) -> impl Strategy<Value = Vec<Vec<u8>>> {
    proptest::collection::hash_set(normal_path(), 0..count.min(40))
        .prop_map(|mounts| mounts.into_iter().collect())
}
