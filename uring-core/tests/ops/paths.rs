//! Names made, moved, linked and removed; paths opened within bounds.

use super::drive::*;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use uring_core::op::{Link, Mkdir, Open, Rename, Symlink, Unlink};
use uring_core::{ErrorKind, Options};

fn dir_of(path: &Path) -> Arc<OwnedFd> {
    Arc::new(File::open(path).unwrap().into())
}

fn inode(path: impl AsRef<Path>) -> u64 {
    std::fs::symlink_metadata(path).unwrap().ino()
}

#[test]
fn b9_names_are_made_moved_linked_and_removed() {
    let (ring, dir) = (clean(&Options::new()), tempfile::tempdir().unwrap());
    let at = |name: &str| dir.path().join(name);
    done(&ring, Mkdir::new(at("d")).unwrap().mode(0o700)).unwrap();
    let meta = std::fs::metadata(at("d")).unwrap();
    assert!(meta.is_dir() && meta.permissions().mode() & 0o777 == 0o700);
    std::fs::write(at("d/f"), b"f").unwrap();
    std::fs::write(at("g"), b"g").unwrap();
    let (f, g) = (inode(at("d/f")), inode(at("g")));
    done(&ring, Link::new(at("d/f"), at("hard")).unwrap()).unwrap();
    assert_eq!(inode(at("hard")), f);
    done(&ring, Symlink::new("d/f", at("soft")).unwrap()).unwrap();
    assert_eq!(std::fs::read_link(at("soft")).unwrap(), Path::new("d/f"));
    done(&ring, Link::new(at("soft"), at("through")).unwrap().follow()).unwrap();
    assert_eq!(inode(at("through")), f, "the file and not the link");
    done(&ring, Link::new(at("soft"), at("of_link")).unwrap()).unwrap();
    assert_eq!(
        inode(at("of_link")),
        inode(at("soft")),
        "the link and not the file"
    );
    done(&ring, Rename::new(at("d/f"), at("g")).unwrap().exchange()).unwrap();
    assert_eq!((inode(at("d/f")), inode(at("g"))), (g, f));
    let refused = done(&ring, Rename::new(at("g"), at("hard")).unwrap().no_replace()).unwrap_err();
    assert_eq!(refused.errno(), libc::EEXIST);
    done(&ring, Rename::new(at("d/f"), at("hard")).unwrap()).unwrap();
    assert_eq!(inode(at("hard")), g, "replaced");
    done(&ring, Unlink::new(at("hard")).unwrap()).unwrap();
    assert!(!at("hard").exists());
}

#[test]
fn b9_refusals_of_names_are_the_kernels_own() {
    let (ring, dir) = (clean(&Options::new()), tempfile::tempdir().unwrap());
    let at = |name: &str| dir.path().join(name);
    std::fs::create_dir(at("d")).unwrap();
    std::fs::write(at("d/f"), b"").unwrap();
    let errno = |result: Result<(), uring_core::Error>| result.unwrap_err().errno();
    assert_eq!(errno(done(&ring, Mkdir::new(at("d")).unwrap())), libc::EEXIST);
    assert_eq!(errno(done(&ring, Unlink::new(at("no")).unwrap())), libc::ENOENT);
    assert_eq!(errno(done(&ring, Unlink::new(at("d")).unwrap())), libc::EISDIR);
    assert_eq!(
        errno(done(&ring, Unlink::directory(at("d")).unwrap())),
        libc::ENOTEMPTY
    );
    assert_eq!(
        errno(done(&ring, Unlink::directory(at("d/f")).unwrap())),
        libc::ENOTDIR
    );
    assert_eq!(
        errno(done(&ring, Rename::new(at("no"), at("x")).unwrap())),
        libc::ENOENT
    );
    assert_eq!(
        errno(done(&ring, Symlink::new("x", at("d")).unwrap())),
        libc::EEXIST
    );
    assert_eq!(
        errno(done(&ring, Link::new(at("d"), at("x")).unwrap())),
        libc::EPERM
    );
    for refused in [
        Mkdir::new("a\0").map(drop),
        Unlink::new("a\0").map(drop),
        Unlink::directory("a\0").map(drop),
        Rename::new("a", "b\0").map(drop),
        Symlink::new("a\0", "b").map(drop),
        Link::new("a", "b\0").map(drop),
    ] {
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}

#[test]
fn b9_relative_paths_begin_in_the_directory_that_was_given() {
    let (ring, dir) = (clean(&Options::new()), tempfile::tempdir().unwrap());
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    let base = dir_of(dir.path());
    for name in ["one", "two"] {
        done(&ring, Mkdir::new(name).unwrap().within(Arc::clone(&base))).unwrap();
    }
    let (in_one, in_two) = (dir_of(&one), dir_of(&two));
    let create = libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL;
    let open = Open::new("f", create)
        .unwrap()
        .mode(0o640)
        .within(Arc::clone(&in_one));
    drop(done(&ring, open).unwrap());
    assert_eq!(std::fs::metadata(one.join("f")).unwrap().mode() & 0o777, 0o640);
    let rename = Rename::new("f", "g").unwrap();
    let rename = rename
        .from_within(Arc::clone(&in_one))
        .to_within(Arc::clone(&in_two));
    done(&ring, rename).unwrap();
    let link = Link::new("g", "h").unwrap();
    done(
        &ring,
        link.from_within(Arc::clone(&in_two))
            .to_within(Arc::clone(&in_one)),
    )
    .unwrap();
    assert_eq!(inode(two.join("g")), inode(one.join("h")));
    done(&ring, Symlink::new("h", "s").unwrap().within(Arc::clone(&in_one))).unwrap();
    assert!(one.join("s").exists());
    done(&ring, Unlink::new("g").unwrap().within(Arc::clone(&in_two))).unwrap();
    done(&ring, Unlink::directory("two").unwrap().within(base)).unwrap();
    assert!(!two.exists());
    assert_eq!(
        Arc::strong_count(&in_two),
        1,
        "each operation let go of its directory"
    );
}

#[test]
fn b9_path_opened_within_bounds_does_not_leave_them() {
    let (ring, dir) = (clean(&Options::new()), tempfile::tempdir().unwrap());
    let base = dir_of(dir.path());
    std::fs::write(dir.path().join("in"), b"in").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", dir.path().join("out")).unwrap();
    let open = |path: &str, resolve| {
        let open = Open::new(path, libc::O_RDONLY).unwrap();
        done(&ring, open.resolve(resolve).within(Arc::clone(&base))).map_err(|error| error.errno())
    };
    assert!(open("in", libc::RESOLVE_BENEATH).is_ok());
    for path in ["out", "../x", "/etc/passwd"] {
        assert_eq!(
            open(path, libc::RESOLVE_BENEATH).unwrap_err(),
            libc::EXDEV,
            "{path}"
        );
    }
    assert_eq!(open("out", libc::RESOLVE_NO_SYMLINKS).unwrap_err(), libc::ELOOP);
    assert_eq!(
        open("in", 1 << 60).unwrap_err(),
        libc::EINVAL,
        "unknown bits are refused"
    );
    let made = Open::new("made", libc::O_WRONLY | libc::O_CREAT)
        .unwrap()
        .mode(0o600);
    let made = made.resolve(libc::RESOLVE_BENEATH).within(Arc::clone(&base));
    drop(done(&ring, made).unwrap());
    let mode = std::fs::metadata(dir.path().join("made")).unwrap().mode();
    assert_eq!(mode & 0o777, 0o600);
}
