//! `InlineString` against `String`.
#![cfg(not(any(loom, shuttle)))]

use inline_error::{Full, InlineString};
use proptest::prelude::*;
use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::hash::{Hash, Hasher};

/// A `String` that obeys the same limit.
#[derive(Default)]
struct Oracle<const N: usize>(String);

impl<const N: usize> Oracle<N> {
    fn push_str(&mut self, text: &str) -> Result<(), Full> {
        let needed = self.0.len() + text.len();
        if needed > N {
            return InlineString::<N>::copy_of(&format!("{}{text}", self.0)).map(drop);
        }
        self.0.push_str(text);
        Ok(())
    }

    fn push_fitting<'t>(&mut self, text: &'t str) -> &'t str {
        let mut rest = text;
        for c in text.chars() {
            if self.0.len() + c.len_utf8() > N {
                break;
            }
            self.0.push(c);
            rest = &rest[c.len_utf8()..];
        }
        rest
    }
}

#[derive(Clone, Debug)]
enum Step {
    Push(String),
    Fit(String),
    Char(char),
    Pop,
    Truncate(usize),
    Clear,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let text = || prop_oneof!["[a-zß€🦀]{0,9}", "\\PC{0,6}"];
    let step = prop_oneof![
        4 => text().prop_map(Step::Push),
        4 => text().prop_map(Step::Fit),
        4 => any::<char>().prop_map(Step::Char),
        2 => Just(Step::Pop),
        1 => (0usize..20).prop_map(Step::Truncate),
        1 => Just(Step::Clear),
    ];
    prop::collection::vec(step, 0..40)
}

fn agree<const N: usize>(steps: &[Step]) {
    assert_eq!(size_of::<InlineString<N>>(), N + 1);
    let (mut ours, mut oracle) = (InlineString::<N>::new(), Oracle::<N>::default());
    for step in steps {
        match step {
            Step::Push(text) => assert_eq!(ours.push_str(text), oracle.push_str(text)),
            Step::Fit(text) => assert_eq!(ours.push_fitting(text), oracle.push_fitting(text)),
            Step::Char(c) => assert_eq!(
                ours.push(*c).is_ok(),
                oracle.push_str(c.encode_utf8(&mut [0; 4])).is_ok()
            ),
            Step::Pop => assert_eq!(ours.pop(), oracle.0.pop()),
            Step::Truncate(len) => {
                if oracle.0.is_char_boundary(*len) {
                    ours.truncate(*len);
                    oracle.0.truncate(*len);
                }
            }
            Step::Clear => {
                ours.clear();
                oracle.0.clear();
            }
        }
        assert_eq!(ours.as_str(), oracle.0);
        assert!(std::str::from_utf8(ours.as_bytes()).is_ok());
        assert_eq!(
            (ours.len(), ours.free(), ours.is_empty()),
            (oracle.0.len(), N - oracle.0.len(), oracle.0.is_empty())
        );
    }
}

proptest! {
    #[test]
    fn c5_behaves_as_a_string_of_limited_length(steps in steps()) {
        agree::<0>(&steps);
        agree::<1>(&steps);
        agree::<3>(&steps);
        agree::<16>(&steps);
        agree::<255>(&steps);
    }

    #[test]
    fn c5_compares_hashes_and_orders_as_str(a in "\\PC{0,5}", b in "\\PC{0,5}") {
        let ours = |t: &str| InlineString::<32>::copy_of(t).unwrap();
        let hash = |t: &dyn Fn(&mut DefaultHasher)| { let mut h = DefaultHasher::new(); t(&mut h); h.finish() };
        prop_assert_eq!(ours(&a) == ours(&b), a == b);
        prop_assert_eq!(ours(&a).cmp(&ours(&b)), a.cmp(&b));
        prop_assert_eq!(ours(&a).partial_cmp(&ours(&b)), a.as_str().partial_cmp(&b));
        prop_assert_eq!(hash(&|h| ours(&a).hash(h)), hash(&|h| a.as_str().hash(h)));
    }

    #[test]
    fn c5_writing_formats_as_a_string_does(n in any::<i64>(), text in "\\PC{0,9}") {
        let mut ours = InlineString::<255>::new();
        write!(ours, "{n:>8}|{text:?}|{n:x}").unwrap();
        prop_assert_eq!(ours.as_str(), format!("{n:>8}|{text:?}|{n:x}"));
    }
}

#[test]
fn c5_a_character_is_never_split_at_any_boundary() {
    for text in ["aß", "a€", "a🦀", "ßß", "🦀🦀", "e\u{301}"] {
        for pad in 0..8 {
            let padded = "x".repeat(pad) + text;
            let (head, rest) = InlineString::<7>::fitting(&padded);
            assert_eq!(format!("{head}{rest}"), padded);
            assert!(
                head.len() <= 7
                    && (rest.is_empty() || head.len() + rest.chars().next().unwrap().len_utf8() > 7)
            );
        }
    }
}

#[test]
fn c5_what_does_not_fit_is_refused_whole() {
    let mut name = InlineString::<4>::copy_of("ring").unwrap();
    let full = name.push_str("s").unwrap_err();
    assert_eq!((full.needed, full.capacity, name.as_str()), (5, 4, "ring"));
    assert!(write!(name, "{}", 7).is_err());
    assert_eq!(name, "ring");
    assert_eq!(
        full.to_string(),
        "the text takes 5 bytes where 4 fit: shorten it or use a String"
    );
    assert!("rings".parse::<InlineString<4>>().is_err() && InlineString::<4>::try_from("rings").is_err());
}

#[test]
fn c5_a_map_keyed_by_it_is_searched_with_str() {
    let key = |t| InlineString::<8>::copy_of(t).unwrap();
    let hash: HashMap<_, _> = [(key("one"), 1), (key("two"), 2)].into();
    let tree: BTreeMap<_, _> = [(key("one"), 1), (key("two"), 2)].into();
    assert_eq!(
        (hash.get("two"), tree.get("one"), tree.get("ten")),
        (Some(&2), Some(&1), None)
    );
}

#[test]
fn c5_stands_wherever_a_str_does() {
    fn takes(text: impl AsRef<str>) -> usize {
        text.as_ref().len()
    }
    let text: InlineString<8> = "grüße".parse().unwrap();
    assert_eq!(takes(text), 7);
    assert!("grüße" == text && text == *"grüße");
    assert!(*"grüße" == text && text == "grüße");
    assert_eq!(format!("[{text:>7}] {text:?}"), "[  grüße] \"grüße\"");
    assert_eq!(text.to_uppercase(), "GRÜSSE");
    #[cfg(feature = "alloc")]
    assert_eq!(String::from(text), "grüße");
    let bytes: &[u8] = text.as_ref();
    assert_eq!(bytes.len(), 7);
    let copy = text; // `Copy`
    assert_eq!(copy, text);
    assert_eq!(
        InlineString::<3>::copy_of("abc").unwrap(),
        InlineString::<9>::copy_of("abc").unwrap()
    );
}

#[test]
#[should_panic(expected = "inside a character")]
fn c5_truncating_inside_a_character_panics() {
    InlineString::<8>::copy_of("é").unwrap().truncate(1);
}

#[cfg(feature = "serde")]
#[test]
fn c5_serde_reads_and_writes_a_plain_string() {
    let text: InlineString<8> = serde_json::from_str("\"gr\\u00fcn\"").unwrap();
    assert_eq!(serde_json::to_string(&text).unwrap(), "\"grün\"");
    let error = serde_json::from_str::<InlineString<3>>("\"four\"").unwrap_err();
    assert!(error.to_string().contains("takes 4 bytes where 3 fit"), "{error}");
    assert!(
        serde_json::from_str::<InlineString<3>>("7")
            .unwrap_err()
            .to_string()
            .contains("at most 3 bytes")
    );
}

#[test]
#[cfg(feature = "alloc")]
fn c5_is_compared_with_a_string_too() {
    let text = InlineString::<8>::copy_of("abc").unwrap();
    assert_eq!(text, String::from("abc"));
    assert_ne!(text, String::from("abd"));
}
