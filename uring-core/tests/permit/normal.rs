//! The one spelling of a path.

use super::{drawn, oracle};
use proptest::prelude::*;
use uring_core::permit::{LONGEST, Normal, PathError};

fn bytes(path: &str) -> Result<(String, bool), PathError> {
    Normal::of(path).map(|path| {
        let text = std::str::from_utf8(path.as_bytes()).unwrap().to_string();
        (text, path.is_directory())
    })
}

#[test]
fn c8_dots_slashes_and_ends_have_one_spelling() {
    for (path, normal, directory) in [
        ("/", "/", true),
        ("//", "/", true),
        ("/.", "/", true),
        ("/a/..", "/", true),
        ("/a", "/a", false),
        ("/a/", "/a", true),
        ("/a//", "/a", true),
        ("/a/.", "/a", true),
        ("/a/b/..", "/a", true),
        ("//a///b", "/a/b", false),
        ("/a/./b/../c", "/a/c", false),
        ("/a/../b/../c", "/c", false),
        ("/.a/..b/...", "/.a/..b/...", false),
        ("/a/...", "/a/...", false),
        ("/ ", "/ ", false),
        ("/a\n", "/a\n", false),
    ] {
        assert_eq!(bytes(path), Ok((normal.to_string(), directory)), "{path}");
    }
}

#[test]
fn c8_what_has_no_normal_spelling_is_refused_and_says_why() {
    for (path, fault) in [
        ("", PathError::Empty),
        ("a", PathError::Relative),
        ("./a", PathError::Relative),
        ("../a", PathError::Relative),
        ("\0", PathError::Relative),
        ("/a\0", PathError::Zero { at: 2 }),
        ("/../\0", PathError::Zero { at: 4 }),
        ("/..", PathError::AboveRoot { at: 1 }),
        ("/../a", PathError::AboveRoot { at: 1 }),
        ("/a/../../b", PathError::AboveRoot { at: 6 }),
        ("/./..", PathError::AboveRoot { at: 3 }),
    ] {
        assert_eq!(bytes(path), Err(fault), "{path:?}");
        assert!(!fault.to_string().is_empty());
    }
    let longest = format!("/{}", "a".repeat(LONGEST - 1));
    assert_eq!(bytes(&longest), Ok((longest.clone(), false)));
    let longer = format!("{longest}/");
    assert_eq!(bytes(&longer), Err(PathError::TooLong { len: LONGEST + 1 }));
}

#[test]
fn c8_case_counts_and_bytes_that_are_no_text_are_kept() {
    assert_ne!(Normal::of("/A").unwrap(), Normal::of("/a").unwrap());
    let odd = b"/\xff\xfe/\xc0\xaf/\xe2\x82".as_slice();
    assert_eq!(Normal::of(odd).unwrap().as_bytes(), odd);
    // An overlong slash is two bytes like others, and no slash.
    assert_eq!(
        Normal::of(b"/a\xc0\xaf..".as_slice()).unwrap().as_bytes(),
        b"/a\xc0\xaf.."
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]
    #[test]
    fn c8_a_path_is_normalised_as_the_slow_oracle_does_it(path in drawn::path()) {
        let ours = Normal::of(&path).ok().map(|path| (path.as_bytes().to_vec(), path.is_directory()));
        prop_assert_eq!(&ours, &oracle::normal(&path));
        if let Some((normal, _)) = ours {
            let again = Normal::of(&normal).unwrap();
            prop_assert_eq!(again.as_bytes(), &normal[..], "it is normal already");
        }
    }
}
