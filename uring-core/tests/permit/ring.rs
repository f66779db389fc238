//! A tree to open things in, and rings to do it on.

use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;
use tempfile::TempDir;
use uring_core::permit::{Mounts, Pattern, PermitError, Policy, Root, Rules};
use uring_core::{Carrier, LocalRing, Options};

/// One on io_uring and one on the fallback.
pub(crate) fn rings() -> [LocalRing; 2] {
    let of = |carrier| LocalRing::with(&Options::new().carrier(carrier)).unwrap();
    [of(Carrier::Uring), of(Carrier::Fallback)]
}

/// `root`, in which files say "inside", and `outside` beside it, in which they say "outside".
pub(crate) struct Tree {
    dir: TempDir,
}

impl Tree {
    pub(crate) fn new() -> Self {
        let tree = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        for (at, says) in [
            ("root/d", "inside"),
            ("root/d/deep", "inside"),
            ("outside", "outside"),
        ] {
            std::fs::create_dir_all(tree.at(at)).unwrap();
            std::fs::write(tree.at(at).join("f"), says).unwrap();
        }
        tree
    }

    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    pub(crate) fn link(&self, target: &str, at: &str) {
        std::os::unix::fs::symlink(target, self.at(at)).unwrap();
    }

    pub(crate) fn root(&self) -> Root {
        Root::open(self.at("root")).unwrap()
    }
}

/// All of `/m` allowed, and `/m` leads to the root.
pub(crate) fn all_of(root: Root) -> Policy {
    let rules = Rules::builder().allow(Pattern::prefix("/m")).build().unwrap();
    Policy::new(rules, Mounts::builder().mount("/m", root).build().unwrap()).unwrap()
}

pub(crate) fn says(mut file: File) -> String {
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    text
}

/// Opens for reading and reads.
pub(crate) fn read(ring: &LocalRing, policy: &Policy, path: &str) -> Result<String, PermitError> {
    ring.block_on(policy.open_on(ring, path, libc::O_RDONLY))
        .unwrap()
        .map(says)
}
