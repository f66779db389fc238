//! What a policy opens, makes, moves and removes, and what it does not.

use super::ring::{Tree, all_of, read, rings, says};
use std::os::unix::fs::MetadataExt;
use uring_core::permit::{Conflict, Mounts, Pattern, PermitKind, Policy, Root, Rules};

fn kind<T: std::fmt::Debug>(result: Result<T, uring_core::permit::PermitError>) -> PermitKind {
    result.expect_err("it is refused").kind()
}

#[test]
fn c8_what_is_opened_is_the_spelling_that_was_judged_beneath_its_mount() {
    let tree = Tree::new();
    let policy = all_of(tree.root());
    for ring in rings() {
        for path in [
            "/m/d/f",
            "/m//d/./f",
            "/m/d/deep/../f",
            "/m/nowhere/../d/f",
            "/x/../m/d/f",
        ] {
            assert_eq!(read(&ring, &policy, path).unwrap(), "inside", "{path}");
        }
        // As operations of the ring themselves, several at once.
        let opens = ["/m/d/f", "/m/d/deep/f"].map(|path| policy.open(path, libc::O_RDONLY).unwrap());
        for token in opens.map(|open| ring.submit(open).unwrap()) {
            let file = ring
                .finish(token, std::time::Duration::from_secs(10))
                .unwrap()
                .unwrap();
            assert_eq!(says(file), "inside");
        }
        // The kernel's own words on what is not there, and the path with them.
        let told = read(&ring, &policy, "/m/d/../none").unwrap_err();
        assert_eq!(
            (told.kind(), told.errno().map(|errno| errno.number())),
            (PermitKind::Os, Some(libc::ENOENT))
        );
        assert!(told.to_string().contains("/m/d/../none"), "{told}");
        assert!(told.to_string().contains("No such file or directory"), "{told}");
        // The mount itself, by either spelling.
        for path in ["/m", "/m/", "/m/d/.."] {
            let dir = ring
                .block_on(policy.open_on(&ring, path, libc::O_PATH))
                .unwrap()
                .unwrap();
            assert_eq!(
                dir.metadata().unwrap().ino(),
                std::fs::metadata(tree.at("root")).unwrap().ino()
            );
        }
    }
}

#[test]
fn c8_what_the_kernel_refuses_is_told_with_its_cause_and_wrong_flags_are_not_blamed_on_the_path() {
    let tree = Tree::new();
    let policy = all_of(tree.root());
    for ring in rings() {
        let told = |path: &str, flags| {
            let opened = ring.block_on(policy.open_on(&ring, path, flags)).unwrap();
            opened.map(drop).unwrap_err()
        };
        let absent = told("/m/none", libc::O_RDONLY).to_string();
        assert_eq!(
            absent,
            "failed: `/m/none`: No such file or directory (os error 2)"
        );
        let wrong = told("/m/d/f", -1);
        assert_eq!(
            (wrong.kind(), wrong.errno().map(|errno| errno.number())),
            (PermitKind::Os, Some(libc::EINVAL))
        );
        let wrong = wrong.to_string();
        assert!(wrong.contains("Invalid argument"), "{wrong}");
        assert!(wrong.contains("look at the flags and the mode"), "{wrong}");
        assert!(!wrong.contains("malformed"), "{wrong}");
    }
}

#[test]
fn c8_a_trailing_slash_still_asks_for_a_directory() {
    let tree = Tree::new();
    let policy = all_of(tree.root());
    for ring in rings() {
        let errno = |path, flags| {
            let opened = ring.block_on(policy.open_on(&ring, path, flags)).unwrap();
            opened.map(drop).map_err(|told| told.errno().unwrap().number())
        };
        assert_eq!(errno("/m/d/", libc::O_RDONLY), Ok(()));
        for path in ["/m/d/f/", "/m/d/f/.", "/m/d/f//"] {
            assert_eq!(errno(path, libc::O_RDONLY), Err(libc::ENOTDIR), "{path}");
        }
        assert_eq!(
            errno("/m/d/new/", libc::O_WRONLY | libc::O_CREAT),
            Err(libc::EISDIR)
        );
        assert!(!tree.at("root/d/new").exists(), "nothing is created");
    }
}

#[test]
fn c8_what_is_denied_names_the_rule_and_what_no_mount_holds_says_so() {
    let tree = Tree::new();
    let rules = Rules::builder()
        .deny(Pattern::glob("/m/**/*.key"))
        .allow(Pattern::prefix("/m"))
        .allow(Pattern::prefix("/elsewhere"));
    let mounts = Mounts::builder().mount("/m", tree.root()).build().unwrap();
    let policy = Policy::new(rules.build().unwrap(), mounts).unwrap();
    let told = |path: &str| policy.open(path, 0).unwrap_err();
    let denied = told("/m/d/../d/tls.key");
    assert_eq!(
        denied.to_string(),
        "denied: rule 0, `/m/**/*.key`: `/m/d/tls.key`"
    );
    assert_eq!(
        std::io::Error::from(denied).kind(),
        std::io::ErrorKind::PermissionDenied
    );
    assert_eq!(
        told("/etc/passwd").to_string(),
        "denied: no rule allows `/etc/passwd`"
    );
    assert_eq!(
        told("/elsewhere/x").to_string(),
        "no mount holds the path: `/elsewhere/x`"
    );
    assert_eq!(
        told("/m/../../etc").to_string(),
        "malformed path: `..` at byte 6 climbs above the root: `/m/../../etc`"
    );
    assert_eq!(told("d/f").kind(), PermitKind::Malformed);
    assert_eq!(told("").kind(), PermitKind::Malformed);
    assert_eq!(told("/m/\0").kind(), PermitKind::Malformed);
    assert_eq!(told(&"/m".repeat(2_048)).kind(), PermitKind::TooLong);
    // The name of a file, longer than the filesystem has: the kernel's word, classed alike.
    for ring in rings() {
        assert_eq!(
            kind(read(&ring, &policy, &format!("/m/{}", "x".repeat(256)))),
            PermitKind::TooLong
        );
    }
}

/// A link gives a file a second name, which no rule has judged. So none is followed, wherever it stands and leads.
#[test]
fn c8_a_symbolic_link_is_refused_where_rules_judge_names() {
    let tree = Tree::new();
    for (target, at) in [
        ("f", "root/d/inner"),
        ("../outside/f", "root/outer"),
        ("/etc/passwd", "root/absolute"),
        ("d", "root/dir"),
        ("../outside", "root/up"),
        ("nowhere", "root/dangling"),
    ] {
        tree.link(target, at);
    }
    let policy = all_of(tree.root());
    for ring in rings() {
        for path in [
            "/m/d/inner",
            "/m/outer",
            "/m/absolute",
            "/m/dir/f",
            "/m/up/f",
            "/m/dir/",
            "/m/dangling",
        ] {
            assert_eq!(kind(read(&ring, &policy, path)), PermitKind::Linked, "{path}");
        }
        let create = libc::O_WRONLY | libc::O_CREAT;
        let through = ring
            .block_on(policy.open_on(&ring, "/m/dangling", create))
            .unwrap();
        assert_eq!(kind(through), PermitKind::Linked);
        assert!(
            !tree.at("root/nowhere").exists(),
            "nothing is created through a link"
        );
    }
}

#[test]
fn c8_links_that_are_followed_stay_beneath_the_root() {
    let tree = Tree::new();
    for (target, at) in [
        ("f", "root/d/inner"),
        ("../d/f", "root/d/around"),
        ("d", "root/dir"),
        ("../outside/f", "root/outer"),
        (concat!("../root", "/d/f"), "root/out_and_in"),
        ("/etc/passwd", "root/absolute"),
        ("../outside", "root/up"),
    ] {
        tree.link(target, at);
    }
    let policy = all_of(tree.root().follow_links());
    for ring in rings() {
        for path in ["/m/d/inner", "/m/d/around", "/m/dir/f", "/m/dir/deep/f"] {
            assert_eq!(read(&ring, &policy, path).unwrap(), "inside", "{path}");
        }
        for path in ["/m/outer", "/m/out_and_in", "/m/absolute", "/m/up/f"] {
            assert_eq!(kind(read(&ring, &policy, path)), PermitKind::Escapes, "{path}");
        }
    }
}

/// The links of `/proc` lead to what they name without a path, past every root.
#[test]
fn c8_magic_links_are_never_followed() {
    for root in [
        Root::open("/proc/self").unwrap(),
        Root::open("/proc/self").unwrap().follow_links(),
    ] {
        let policy = all_of(root);
        for ring in rings() {
            assert!(read(&ring, &policy, "/m/stat").is_ok());
            for path in [
                "/m/exe",
                concat!("/m/root", "/etc/passwd"),
                "/m/cwd/Cargo.toml",
                "/m/fd/0",
            ] {
                assert_eq!(kind(read(&ring, &policy, path)), PermitKind::Linked, "{path}");
            }
        }
    }
}

#[test]
fn c8_links_may_be_followed_only_where_rules_say_one_thing() {
    let tree = Tree::new();
    let publish =
        |rules: Rules, root: Root| Policy::new(rules, Mounts::builder().mount("/m", root).build().unwrap());
    let mixed = Rules::builder()
        .deny(Pattern::prefix("/m/keys"))
        .allow(Pattern::prefix("/m"))
        .build()
        .unwrap();
    let conflict = publish(mixed.clone(), tree.root().follow_links()).unwrap_err();
    let expected = Conflict {
        mount: (*b"/m").into(),
        rule: 0,
        pattern: Pattern::prefix("/m/keys"),
    };
    assert_eq!(conflict, expected);
    assert!(
        conflict
            .to_string()
            .contains("`/m` follows links, and rule 0, `/m/keys`"),
        "{conflict}"
    );
    let policy = publish(mixed.clone(), tree.root()).unwrap();
    let mounts = Mounts::builder()
        .mount("/m", tree.root().follow_links())
        .build()
        .unwrap();
    assert_eq!(policy.publish(mixed, mounts.clone()), Err(expected));
    assert_eq!(policy.edition().number(), 1, "it is as it was");
    let one = Rules::builder()
        .deny(Pattern::prefix("/x"))
        .allow(Pattern::prefix("/m"))
        .build()
        .unwrap();
    assert_eq!(policy.publish(one, mounts), Ok(2));
}

/// Names are judged, not files: what a hard link names has that name too. Stated, not prevented.
#[test]
fn c8_a_hard_link_is_a_name_like_any_other() {
    let tree = Tree::new();
    std::fs::hard_link(tree.at("outside/f"), tree.at("root/hard")).unwrap();
    let policy = all_of(tree.root());
    for ring in rings() {
        assert_eq!(read(&ring, &policy, "/m/hard").unwrap(), "outside");
    }
}

#[test]
fn c8_what_is_mounted_beneath_a_root_is_left_out_where_asked() {
    let policy = |root: Root| all_of(root);
    let (all, one) = (
        policy(Root::open("/").unwrap()),
        policy(Root::open("/").unwrap().one_filesystem()),
    );
    for ring in rings() {
        assert!(read(&ring, &all, "/m/proc/version").is_ok());
        assert_eq!(kind(read(&ring, &one, "/m/proc/version")), PermitKind::Escapes);
    }
}

#[test]
fn c8_a_root_stays_the_directory_that_it_was() {
    let tree = Tree::new();
    let policy = all_of(tree.root());
    std::fs::rename(tree.at("root"), tree.at("moved")).unwrap();
    std::os::unix::fs::symlink(tree.at("outside"), tree.at("root")).unwrap();
    for ring in rings() {
        assert_eq!(read(&ring, &policy, "/m/d/f").unwrap(), "inside");
        assert_eq!(
            kind(read(&ring, &policy, "/m/f")),
            PermitKind::Os,
            "that would be outside's"
        );
    }
    let file = std::fs::File::open(tree.at("outside/f")).unwrap();
    let (_back, error) = Root::from_fd(file.into()).unwrap_err();
    assert_eq!(error.errno(), libc::ENOTDIR);
    let dir = std::fs::File::open(tree.at("moved")).unwrap();
    let policy = all_of(Root::from_fd(dir.into()).unwrap());
    assert_eq!(read(&rings()[0], &policy, "/m/d/f").unwrap(), "inside");
}

#[test]
fn c8_names_are_made_moved_and_removed_within_the_root() {
    for ring in rings() {
        let tree = Tree::new();
        tree.link("../outside", "root/up");
        tree.link("../outside/f", "root/outer");
        let policy = all_of(tree.root());
        let on = |future| ring.block_on(future).unwrap();
        ring.block_on(policy.mkdir(&ring, "/m/d/../new/"))
            .unwrap()
            .unwrap();
        assert!(tree.at("root/new").is_dir());
        ring.block_on(policy.rename(&ring, "/m/d/deep", "/m/new/deep"))
            .unwrap()
            .unwrap();
        assert!(tree.at("root/new/deep/f").exists());
        ring.block_on(policy.unlink(&ring, "/m/new/deep/f"))
            .unwrap()
            .unwrap();
        ring.block_on(policy.remove_dir(&ring, "/m/new/deep"))
            .unwrap()
            .unwrap();
        assert!(!tree.at("root/new/deep").exists());
        // Through a link: refused. The link itself: removed, and what it names stays.
        assert_eq!(
            kind(ring.block_on(policy.unlink(&ring, "/m/up/f")).unwrap()),
            PermitKind::Linked
        );
        assert_eq!(
            kind(ring.block_on(policy.mkdir(&ring, "/m/up/x")).unwrap()),
            PermitKind::Linked
        );
        assert_eq!(
            kind(ring.block_on(policy.rename(&ring, "/m/d/f", "/m/up/g")).unwrap()),
            PermitKind::Linked
        );
        ring.block_on(policy.unlink(&ring, "/m/outer")).unwrap().unwrap();
        assert!(tree.at("outside/f").exists() && !tree.at("root/outer").exists());
        // Nothing to name.
        on(Box::pin(async {
            assert_eq!(kind(policy.mkdir(&ring, "/m").await), PermitKind::Malformed);
            assert_eq!(
                kind(policy.remove_dir(&ring, "/m/d/..").await),
                PermitKind::Malformed
            );
            assert_eq!(kind(policy.unlink(&ring, "/m/d/f/").await), PermitKind::Malformed);
            assert_eq!(kind(policy.unlink(&ring, "/x").await), PermitKind::Denied);
            assert_eq!(kind(policy.mkdir(&ring, "/m/none/x").await), PermitKind::Os);
        }));
        assert!(tree.at("root/d/f").exists());
    }
}

/// A directory that moves takes its entries to names of their own, where another rule holds.
#[test]
fn c8_no_directory_is_moved_from_under_a_rule() {
    let tree = Tree::new();
    let rules = Rules::builder()
        .deny(Pattern::exact("/m/d/f"))
        .deny(Pattern::glob("/m/new/*.key"))
        .allow(Pattern::prefix("/m"));
    let mounts = Mounts::builder().mount("/m", tree.root()).build().unwrap();
    let policy = Policy::new(rules.build().unwrap(), mounts).unwrap();
    for ring in rings() {
        let rename = |from: &str, to: &str| ring.block_on(policy.rename(&ring, from, to)).unwrap();
        let told = rename("/m/d", "/m/e").unwrap_err();
        assert_eq!(told.to_string(), "denied: rule 0, `/m/d/f`: `/m/d`");
        let told = rename("/m/d/deep", "/m/new").unwrap_err();
        assert_eq!(told.to_string(), "denied: rule 1, `/m/new/*.key`: `/m/new`");
        assert_eq!(kind(rename("/m/d/f", "/m/g")), PermitKind::Denied);
        assert_eq!(kind(rename("/m/d/deep/f", "/m/d/f")), PermitKind::Denied);
        rename("/m/d/deep", "/m/d/other").unwrap();
        rename("/m/d/other", "/m/d/deep").unwrap();
    }
}
