//! First match and longest prefix, however they are searched for.

use super::{drawn, oracle};
use proptest::prelude::*;
use uring_core::permit::{Mounts, Normal, Pattern, Rules, Search, Verdict};

const WAYS: [Search; 5] = [
    Search::Auto,
    Search::Scalar,
    Search::Sse2,
    Search::Avx2,
    Search::Map,
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn c8_the_first_rule_that_matches_decides_and_the_longest_mount_holds(
        rules in prop_oneof![drawn::rules(8), drawn::rules(80)],
        mounts in drawn::mounts(40),
        paths in proptest::collection::vec(drawn::path(), 1..20),
    ) {
        for way in WAYS {
            let ours = oracle::builder(&rules).build_by(way).unwrap();
            let to = oracle::mount_builder(&mounts).build_by(way).unwrap();
            for path in &paths {
                let (Ok(path), Some((normal, _))) = (Normal::of(path), oracle::normal(path)) else { continue };
                let (got, first) = (ours.decide(&path), oracle::first(&rules, &normal));
                prop_assert_eq!(got.rule, first, "{:?}", way);
                let allowed = first.is_some_and(|rule| rules[rule].0);
                prop_assert_eq!(got.verdict == Verdict::Allow, allowed);
                let found = to.resolve(&path);
                let longest = oracle::longest(&mounts, &normal);
                prop_assert_eq!(found.as_ref().map(|found| *found.target), longest, "{:?}", way);
                if let Some(found) = found {
                    let slash: &[u8] = if found.mount == b"/" || found.rest.is_empty() { b"" } else { b"/" };
                    prop_assert_eq!([found.mount, slash, found.rest].concat(), normal);
                }
            }
        }
    }
}

/// As many as make a table a map by itself, and all the same in another way: order and length hold at any size.
#[test]
fn c8_a_thousand_rules_and_mounts_keep_their_order() {
    let paths: Vec<String> = (0..1500)
        .map(|number| format!("/srv/{}/{}/{number}", number % 7, number % 31))
        .collect();
    for way in WAYS {
        let rules = paths.iter().fold(Rules::builder(), |rules, path| {
            let rules = rules.deny(Pattern::exact(path));
            // Never reached for that path itself.
            rules.allow(Pattern::prefix(path))
        });
        let rules = rules.allow(Pattern::prefix("/srv/3")).build_by(way).unwrap();
        let mounts = paths
            .iter()
            .zip(0..)
            .fold(Mounts::builder(), |mounts, (path, at)| mounts.mount(path, at));
        let mounts = mounts.mount("/srv", 9_999).build_by(way).unwrap();
        for (number, path) in paths.iter().enumerate() {
            let below = format!("{path}/x");
            let (exact, below) = (Normal::of(path).unwrap(), Normal::of(&below).unwrap());
            assert_eq!(rules.decide(&exact).rule, Some(2 * number), "{way:?}");
            assert_eq!(rules.decide(&below).rule, Some(2 * number + 1), "{way:?}");
            assert_eq!(mounts.resolve(&below).map(|found| *found.target), Some(number));
        }
        let other = Normal::of("/srv/3/other").unwrap();
        assert_eq!(rules.decide(&other).rule, Some(3_000));
        assert_eq!(mounts.resolve(&other).map(|found| *found.target), Some(9_999));
        assert_eq!(rules.decide(&Normal::of("/srv/4/other").unwrap()).rule, None);
    }
}

#[test]
fn c8_a_prefix_ends_where_a_component_ends() {
    for way in WAYS {
        let rules = Rules::builder()
            .allow(Pattern::prefix("/srv/www"))
            .build_by(way)
            .unwrap();
        let allowed = |path: &str| rules.decide(&Normal::of(path).unwrap()).verdict == Verdict::Allow;
        assert!(allowed("/srv/www") && allowed("/srv/www/") && allowed("/srv/www/a/b"));
        for path in [
            "/srv/wwwx",
            "/srv/ww",
            "/srv",
            "/srv/www.bak/a",
            "/srv/WWW/a",
            "/",
            "/x/srv/www",
        ] {
            assert!(!allowed(path), "{way:?} {path}");
        }
        let mounts = Mounts::builder()
            .mount("/a/b", 1)
            .mount("/a", 0)
            .build_by(way)
            .unwrap();
        let to = |path: &str| {
            mounts
                .resolve(&Normal::of(path).unwrap())
                .map(|found| *found.target)
        };
        assert_eq!(
            (
                to("/a/b"),
                to("/a/b/c"),
                to("/a/bc"),
                to("/a"),
                to("/ab"),
                to("/")
            ),
            (Some(1), Some(1), Some(0), Some(0), None, None)
        );
    }
}

/// Eight components and more have no hash of their own; their first seven find them.
#[test]
fn c8_deep_paths_are_told_apart_past_what_is_hashed() {
    let deep = "/1/2/3/4/5/6/7/8/9";
    for way in WAYS {
        let rules = Rules::builder()
            .deny(Pattern::exact("/1/2/3/4/5/6/7/8/x"))
            .deny(Pattern::exact("/1/2/3/4/5/6/7"))
            .allow(Pattern::exact(deep))
            .allow(Pattern::glob("/1/2/3/4/5/6/7/8/9/*"))
            .build_by(way)
            .unwrap();
        let rule = |path: &str| rules.decide(&Normal::of(path).unwrap()).rule;
        assert_eq!(rule("/1/2/3/4/5/6/7/8/x"), Some(0));
        assert_eq!(rule("/1/2/3/4/5/6/7"), Some(1));
        assert_eq!(rule(deep), Some(2));
        assert_eq!(rule("/1/2/3/4/5/6/7/8/9/10"), Some(3));
        assert_eq!(rule("/1/2/3/4/5/6/7/8"), None);
        let mounts = Mounts::builder()
            .mount("/1/2/3/4/5/6/7/8", 8)
            .mount("/1/2/3/4/5/6/7", 7);
        let mounts = mounts.mount(deep, 9).build_by(way).unwrap();
        let to = |path: &str| {
            mounts
                .resolve(&Normal::of(path).unwrap())
                .map(|found| *found.target)
        };
        assert_eq!(
            (to(deep), to("/1/2/3/4/5/6/7/8/x"), to("/1/2/3/4/5/6/7/x")),
            (Some(9), Some(8), Some(7))
        );
    }
}

#[test]
fn c8_nothing_is_allowed_by_no_rule_unless_so_said() {
    let path = Normal::of("/x").unwrap();
    let none = Rules::builder().build().unwrap();
    assert_eq!((none.decide(&path).verdict, none.len()), (Verdict::Deny, 0));
    let open = Rules::builder().otherwise(Verdict::Allow).build().unwrap();
    assert_eq!(
        (open.decide(&path).verdict, open.decide(&path).rule),
        (Verdict::Allow, None)
    );
    assert!(open.is_empty() && Mounts::<()>::builder().build().unwrap().resolve(&path).is_none());
}
