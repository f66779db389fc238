//! What only the inside shows: forged collisions, paths that end at the end of memory.

use super::guard::Guarded;
use super::heads::Key;
use super::*;
use crate::permit;
use proptest::prelude::*;

#[path = "../../tests/permit/drawn.rs"]
mod drawn;
#[path = "../../tests/permit/oracle.rs"]
mod oracle;

const WAYS: [Search; 4] = [Search::Scalar, Search::Sse2, Search::Avx2, Search::Map];

proptest! {
    /// Every anchor of one depth has the same hash: what a rule or a mount does is then up to the comparison alone.
    #[test]
    fn c8_a_hash_that_collides_neither_grants_nor_denies(
        rules in drawn::rules(24),
        mounts in drawn::mounts(12),
        paths in proptest::collection::vec(drawn::path(), 1..12),
    ) {
        for way in WAYS {
            let ours = oracle::builder(&rules).compile(way, Key::COLLIDING).unwrap();
            let to = oracle::mount_builder(&mounts).compile(way, Key::COLLIDING).unwrap();
            for path in &paths {
                let (Ok(normal), Some((plain, _))) = (Normal::of(path), oracle::normal(path)) else { continue };
                let got = ours.decide(&normal);
                prop_assert_eq!(got.rule, oracle::first(&rules, &plain), "{:?}", way);
                let found = to.resolve(&normal).map(|found| *found.target);
                prop_assert_eq!(found, oracle::longest(&mounts, &plain), "{:?}", way);
            }
        }
    }
}

/// A collision that a stranger could look for: two paths of one tag under a key that is known.
#[test]
fn c8_a_path_forged_to_hit_a_rule_is_not_that_rules_path() {
    let key = Key::random();
    let tag = |path: &str| heads::Heads::of(path.as_bytes(), key).last().0;
    let mut forged = Vec::new();
    for number in 0..200_000u32 {
        let path = format!("/open/{number}");
        if tag(&path) == tag("/open/door") {
            forged.push(path);
        }
    }
    assert!(forged.len() > 4, "one in 8,192 has the tag: {}", forged.len());
    for way in WAYS {
        let build = |rules: RulesBuilder| rules.compile(way, key).unwrap();
        let allowed = build(Rules::builder().allow(Pattern::prefix("/open/door")));
        let denied = build(
            Rules::builder()
                .deny(Pattern::exact("/open/door"))
                .otherwise(Verdict::Allow),
        );
        let decide = |rules: &Rules, path: &str| rules.decide(&Normal::of(path).unwrap()).verdict;
        for path in &forged {
            assert_eq!(decide(&allowed, path), Verdict::Deny, "{way:?} {path}");
            assert_eq!(decide(&denied, path), Verdict::Allow, "{way:?} {path}");
        }
        assert_eq!(decide(&allowed, "/open/door/x"), Verdict::Allow);
        assert_eq!(decide(&denied, "/open/door"), Verdict::Deny);
    }
}

#[test]
fn c8_a_path_that_ends_with_the_memory_is_read_to_its_end_and_no_further() {
    let text = b"/srv/www/a-name-of-some-length/img/\xff\xfe/12345678/index.html/deep/er/still".repeat(3);
    let rules = Rules::builder()
        .deny(Pattern::glob("/**/never?*"))
        .deny(Pattern::glob("/srv/*/[!a]*/**"))
        .allow(Pattern::prefix("/srv"));
    for way in WAYS {
        let rules = rules.clone().build_by(way).unwrap();
        let mounts = Mounts::builder()
            .mount("/srv/www", 1)
            .mount("/", 0)
            .build_by(way)
            .unwrap();
        for len in 1..=text.len() {
            let path = Guarded::new(&text[..len]);
            let copy = text[..len].to_vec();
            let (path, copy) = (Normal::of(&path[..]).unwrap(), Normal::of(&copy).unwrap());
            assert_eq!(rules.decide(&path), rules.decide(&copy), "{way:?} {len}");
            let to = |path| {
                mounts
                    .resolve(path)
                    .map(|found| (*found.target, found.rest.to_vec()))
            };
            assert_eq!(to(&path), to(&copy));
        }
    }
}

/// What a root that follows links rests on: said to be one verdict, it is one.
mod beneath {
    use super::*;
    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn c8_a_verdict_said_to_hold_beneath_a_path_holds_for_all_beneath_it(
            rules in drawn::rules(6),
            prefix in drawn::normal_path(),
            rest in proptest::collection::vec(drawn::normal_path(), 1..20),
        ) {
            let ours = oracle::builder(&rules).build().unwrap();
            if let Ok(verdict) = ours.verdict_beneath(&prefix) {
                for rest in rest.iter().map(Vec::as_slice).chain([&b"/"[..]]) {
                    let path = [&prefix[..], rest].concat();
                    let path = Normal::of(&path).unwrap();
                    prop_assert_eq!(ours.decide(&path).verdict, verdict);
                }
            }
        }
    }

    #[test]
    fn c8_one_verdict_beneath_a_path_is_seen_where_there_is_one() {
        let rules = |rules: RulesBuilder| rules.build().unwrap();
        let some = rules(
            Rules::builder()
                .deny(Pattern::prefix("/etc"))
                .deny(Pattern::glob("/users/*/.ssh/**"))
                .allow(Pattern::prefix("/srv"))
                .deny(Pattern::exact("/srv/x")),
        );
        assert_eq!(some.verdict_beneath(b"/srv"), Ok(Verdict::Allow));
        assert_eq!(
            some.verdict_beneath(b"/srv/x"),
            Ok(Verdict::Allow),
            "the first decides"
        );
        assert_eq!(some.verdict_beneath(b"/etc/ssl"), Ok(Verdict::Deny));
        assert_eq!(some.verdict_beneath(b"/"), Err(2));
        let glob = rules(
            Rules::builder()
                .deny(Pattern::glob("/srv/**/k"))
                .allow(Pattern::prefix("/srv")),
        );
        assert_eq!(glob.verdict_beneath(b"/srv/a/b"), Err(0));
        let exact = rules(
            Rules::builder()
                .deny(Pattern::exact("/srv/k"))
                .allow(Pattern::prefix("/srv")),
        );
        assert_eq!(exact.verdict_beneath(b"/srv"), Err(0));
        assert_eq!(exact.verdict_beneath(b"/srv/k/deeper"), Ok(Verdict::Allow));
    }
}
