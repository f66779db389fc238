//! What metrics and their labels may be called.
//!
//! Prometheus documentation, "Data model". Colons, which it allows in the names of metrics, it keeps for recording rules.

use crate::{Field, Kind};

/// Whether a metric or a label may be called this: letters, digits and underscores, no digit first.
pub(crate) const fn allowed(name: &str) -> bool {
    let bytes = name.as_bytes();
    let mut i = 0;
    while i < bytes.len() {
        let fits = bytes[i] == b'_' || bytes[i].is_ascii_alphabetic() || (i > 0 && bytes[i].is_ascii_digit());
        if !fits {
            return false;
        }
        i += 1;
    }
    !bytes.is_empty()
}

/// What a metric's name ends in.
pub(crate) const fn suffix(kind: Kind) -> &'static str {
    match kind {
        Kind::Counter => "_total",
        Kind::Gauge => "",
    }
}

/// A field's name as others see it: a raw identifier without the mark.
#[doc(hidden)]
pub const fn named(field: &'static str) -> &'static str {
    match field.as_bytes() {
        [b'r', b'#', ..] => field.split_at(2).1,
        _ => field,
    }
}

/// Refuses, at compile time, a group that could not be exposed.
#[doc(hidden)]
pub const fn check(prefix: &str, fields: &[Field]) {
    assert!(
        allowed(prefix),
        "a group's name begins metric names: use letters, digits and underscores, no digit first"
    );
    let mut i = 0;
    while i < fields.len() {
        assert!(
            allowed(fields[i].name),
            "a statistic's name is part of a metric's name: use ASCII letters, digits and underscores"
        );
        assert!(
            !fields[i].help.is_empty(),
            "a statistic needs a doc comment: it is the metric's help text"
        );
        let mut other = 0;
        while other < i {
            assert!(
                !same_metric(&fields[i], &fields[other]),
                "two statistics make one metric name: a counter's ends in `_total`"
            );
            other += 1;
        }
        i += 1;
    }
}

const fn same_metric(one: &Field, other: &Field) -> bool {
    let (one, one_end) = (one.name.as_bytes(), suffix(one.kind).as_bytes());
    let (other, other_end) = (other.name.as_bytes(), suffix(other.kind).as_bytes());
    if one.len() + one_end.len() != other.len() + other_end.len() {
        return false;
    }
    let mut i = 0;
    while i < one.len() + one_end.len() {
        if at(one, one_end, i) != at(other, other_end, i) {
            return false;
        }
        i += 1;
    }
    true
}

const fn at(name: &[u8], end: &[u8], i: usize) -> u8 {
    if i < name.len() {
        name[i]
    } else {
        end[i - name.len()]
    }
}
