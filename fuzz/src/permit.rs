//! Paths and rules against the slow oracle of uring-core's tests.

use uring_core::permit;
use uring_core::permit::{Normal, Search};

#[path = "../../uring-core/tests/permit/oracle.rs"]
mod oracle;

/// A path is normalised as the oracle does it, and its normal spelling is its own.
pub fn permit_path(data: &[u8]) {
    let ours = Normal::of(data).ok();
    let pair = ours
        .as_ref()
        .map(|path| (path.as_bytes().to_vec(), path.is_directory()));
    assert_eq!(pair, oracle::normal(data));
    if let Some((normal, _)) = pair {
        let again = Normal::of(&normal).expect("normal already");
        assert_eq!(again.as_bytes(), normal);
    }
}

/// Rules and mounts decide as the oracle does, however they are searched. Lines: `+` or `-`, then `=`, `^` or `*` for exact, prefix and
/// glob, then a pattern; `@` a mount; anything else a path that is asked about. A bad pattern is refused, and nothing panics.
pub fn permit_rules(data: &[u8]) {
    let (mut rules, mut mounts, mut paths) = (Vec::new(), Vec::new(), Vec::new());
    for line in data.split(|&byte| byte == b'\n').take(64) {
        match line {
            [allows @ (b'+' | b'-'), kind @ (b'=' | b'^' | b'*'), pattern @ ..] => {
                let kind = match kind {
                    b'=' => oracle::Kind::Exact,
                    b'^' => oracle::Kind::Prefix,
                    _ => oracle::Kind::Glob,
                };
                let rule = (*allows == b'+', kind, pattern.to_vec());
                // The oracle takes no pattern that is refused, and is exponential in wildcards.
                let wild = pattern.iter().filter(|&&byte| byte == b'*').count();
                if oracle::builder(std::slice::from_ref(&rule)).build().is_ok() && wild <= 4 {
                    rules.push(rule);
                }
            }
            [b'@', mount @ ..] => {
                if oracle::mount_builder(&[mount.to_vec()]).build().is_ok()
                    && !mounts.contains(&mount.to_vec())
                {
                    mounts.push(mount.to_vec());
                }
            }
            path if path.len() <= 64 => paths.push(path),
            _ => {}
        }
    }
    let ways = [
        Search::Auto,
        Search::Scalar,
        Search::Sse2,
        Search::Avx2,
        Search::Map,
    ];
    for way in ways {
        let ours = oracle::builder(&rules).build_by(way).expect("each is fine");
        let to = oracle::mount_builder(&mounts)
            .build_by(way)
            .expect("each is fine");
        for path in &paths {
            let Ok(path) = Normal::of(*path) else { continue };
            assert_eq!(ours.decide(&path).rule, oracle::first(&rules, path.as_bytes()));
            let found = to.resolve(&path).map(|found| *found.target);
            assert_eq!(found, oracle::longest(&mounts, path.as_bytes()));
        }
    }
}
