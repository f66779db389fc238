//! Globs, and patterns that are refused.

use uring_core::permit::{BadPattern, Cause, Mounts, Normal, Pattern, Rules, Verdict};

fn globs(glob: &str, path: &[u8]) -> bool {
    let rules = Rules::builder().allow(Pattern::glob(glob)).build().unwrap();
    rules.decide(&Normal::of(path).unwrap()).verdict == Verdict::Allow
}

#[test]
fn c8_globs_match_components_and_nothing_across_them_but_by_two_stars() {
    for (glob, yes, no) in [
        (
            "/a/*",
            &["/a/b", "/a/.b", "/a/*"][..],
            &["/a", "/a/b/c", "/b/a"][..],
        ),
        ("/a/**", &["/a", "/a/b", "/a/b/c/d"], &["/ab", "/"]),
        ("/**", &["/", "/a", "/a/b"], &[]),
        ("/**/k", &["/k", "/a/k", "/a/b/k"], &["/kk", "/k/a", "/ak"]),
        (
            "/a/**/k/**",
            &["/a/k", "/a/x/k/y", "/a/k/k/k"],
            &["/a", "/k", "/b/k"],
        ),
        ("/**/a/**/b", &["/a/b", "/x/a/y/z/b", "/a/a/b/b"], &["/b/a", "/a"]),
        ("/**/**/x", &["/x", "/a/x"], &["/a"]),
        ("/a?c", &["/abc", "/a.c"], &["/ac", "/abbc", "/a/c"]),
        ("/*.rs", &["/.rs", "/a.rs", "/a.b.rs"], &["/a.rsx", "/a/b.rs"]),
        ("/a*b*c", &["/abc", "/aXbYc", "/abbcc"], &["/acb", "/ab/c"]),
        ("/[a-c_]x", &["/ax", "/cx", "/_x"], &["/dx", "/-x", "/x"]),
        ("/[!a-c]x", &["/dx", "/.x"], &["/ax", "/x"]),
        ("/[a-]", &["/a", "/-"], &["/b"]),
        ("/[\\]]", &["/]"], &["/\\"]),
        ("/\\*", &["/*"], &["/a", "/\\"]),
        ("/\\[a]", &["/[a]"], &["/a"]),
        ("/", &["/"], &["/a"]),
    ] {
        yes.iter()
            .for_each(|path| assert!(globs(glob, path.as_bytes()), "{glob} is to match {path}"));
        no.iter()
            .for_each(|path| assert!(!globs(glob, path.as_bytes()), "{glob} is not to match {path}"));
    }
}

#[test]
fn c8_a_wildcard_is_bytes_and_case_counts() {
    assert!(globs("/?", b"/\xff") && globs("/[!a]", b"/\xff") && globs("/*", b"/\xff\xfe"));
    assert!(!globs("/?", "/\u{e9}".as_bytes()) && globs("/??", "/\u{e9}".as_bytes()));
    assert!(globs("/\u{e9}*", "/\u{e9}t\u{e9}".as_bytes()));
    assert!(!globs("/a*", b"/Ab") && !globs("/[a-z]", b"/B"));
}

/// A glob that makes a careless matcher try every way there is: it would not end in this test's life.
#[test]
fn c8_no_path_makes_a_glob_exponential() {
    let stars = format!("/{}b", "*a".repeat(60));
    assert!(!globs(&stars, format!("/{}", "a".repeat(4_000)).as_bytes()));
    let deep = format!("{}/b", "/**/a".repeat(60));
    assert!(!globs(&deep, "/a".repeat(2_000).as_bytes()));
    let both = format!("{}/b", "/**/*a*".repeat(40));
    assert!(!globs(&both, "/aa".repeat(1_300).as_bytes()));
}

fn fault(pattern: Pattern) -> BadPattern {
    let rules = Rules::builder().allow(Pattern::prefix("/fine")).deny(pattern);
    rules.build().expect_err("it is bad")
}

#[test]
fn c8_a_bad_pattern_is_refused_by_name_place_and_remedy() {
    let long = format!("/{}", "a".repeat(4_095));
    for (pattern, at, cause) in [
        (Pattern::exact(""), 0, Cause::Empty),
        (Pattern::prefix("a"), 0, Cause::Relative),
        (Pattern::glob("**"), 0, Cause::Relative),
        (Pattern::exact(&long), 4_095, Cause::TooLong),
        (Pattern::exact("/a\0"), 2, Cause::Zero),
        (Pattern::prefix("/a//b"), 3, Cause::EmptyComponent),
        (Pattern::prefix("//"), 1, Cause::EmptyComponent),
        (Pattern::prefix("/a/"), 2, Cause::TrailingSlash),
        (Pattern::glob("/a/**/"), 5, Cause::TrailingSlash),
        (Pattern::exact("/a/./b"), 3, Cause::Dots),
        (Pattern::prefix("/a/.."), 3, Cause::Dots),
        (Pattern::glob("/a/../**"), 3, Cause::Dots),
        (Pattern::glob("/a/\\.\\."), 3, Cause::Dots),
        (Pattern::glob("/a/b**"), 4, Cause::DeepInComponent),
        (Pattern::glob("/***"), 1, Cause::DeepInComponent),
        (Pattern::glob("/ab[c"), 3, Cause::ClassOpen),
        (Pattern::glob("/[a/b]"), 1, Cause::ClassOpen),
        (Pattern::glob("/[a\\"), 1, Cause::ClassOpen),
        (Pattern::glob("/[]"), 1, Cause::ClassEmpty),
        (Pattern::glob("/x[!]"), 2, Cause::ClassEmpty),
        (Pattern::glob("/[z-a]"), 4, Cause::RangeReversed),
        (Pattern::glob("/[\u{e9}]"), 2, Cause::ClassNotAscii),
        (Pattern::glob("/a\\"), 2, Cause::EscapesNothing),
        (Pattern::glob("/a\\/b"), 2, Cause::EscapesNothing),
    ] {
        let told = fault(pattern.clone());
        assert_eq!(
            (told.at, told.cause, told.index, told.of),
            (at, cause, 1, "rule"),
            "{pattern}"
        );
        let text = told.to_string();
        assert!(
            text.starts_with("rule 1, `") && text.contains(&format!("byte {at}: ")),
            "{text}"
        );
    }
    assert_eq!(
        fault(Pattern::glob("/a/b**")).to_string(),
        "rule 1, `/a/b**`, byte 4: `**` is a component of its own; write `*` here, or `/**/`"
    );
}

#[test]
fn c8_a_bad_mount_is_refused_and_so_is_one_twice() {
    let told = Mounts::builder()
        .mount("/a", 1)
        .mount("/b/", 2)
        .build()
        .unwrap_err();
    assert_eq!(
        (told.of, told.index, told.at, told.cause),
        ("mount", 1, 2, Cause::TrailingSlash)
    );
    let told = Mounts::builder()
        .mount("/a", 1)
        .mount("/b", 2)
        .mount("/a", 3)
        .build()
        .unwrap_err();
    assert_eq!((told.index, told.cause), (2, Cause::Repeated { first: 0 }));
    assert!(told.to_string().contains("mount 0 is the same"));
    // No wildcards here: a star is a name.
    let stars = Mounts::builder().mount("/*", 1).build().unwrap();
    assert!(stars.resolve(&Normal::of("/a").unwrap()).is_none());
}

#[test]
fn c8_what_strangers_wrote_is_escaped_in_messages_and_no_longer_than_it_helps() {
    let hostile = format!("/a\n\x1b[31m{}", "x".repeat(3_000));
    let told = Pattern::exact(&hostile).to_string();
    assert!(told.starts_with("`/a\\n\\x1b[31m"), "{told}");
    assert!(told.ends_with("bytes more") && told.len() < 300, "{told}");
}
