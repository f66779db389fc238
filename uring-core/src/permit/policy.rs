//! Rules and mounts as one edition, published by RCU, and what they grant.
//!
//! # Protocol
//! None of its own: an [`Edition`] never changes, and a [`Policy`] is an [`RcuCell`] of it. A decision loads the cell once and takes rules
//! and mounts from what it got, so it sees one edition (models `cell: load beside store`, `cell: reader beside stores`). Editions are
//! numbered inside `RcuCell::rcu`, which makes a new one of the current one or starts anew (`cell: rcu beside rcu`): the numbers
//! have neither gap nor twin. A decision made before an edition is published may be carried out after; who revokes must not
//! count on what was granted before.

use super::error::{PermitError, denied, malformed, unmounted};
use super::mounts::Mounts;
use super::normal::Normal;
use super::pattern::{Pattern, Shown};
use super::root::Root;
use super::rules::{Decision, Rules, Verdict};
use crate::op::Open;
use rcu_map::RcuCell;
use std::ffi::OsStr;
use std::fmt;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

/// Rules and mounts that every core asks and any thread may replace. Cheap to clone; clones share what is published.
///
/// Asking never blocks and writes nothing shared but the count of the root's descriptor. What is granted is opened by the spelling that
/// was judged, beneath the mount's root, by `openat2(2)`: a link or a directory swapped meanwhile cannot lead out of it. Where
/// the kernel has no `openat2` (before Linux 5.6) nothing is opened.
///
/// ```
/// use uring_core::permit::{Mounts, Pattern, Policy, Root, Rules};
/// # let dir = tempfile::tempdir()?;
/// # std::fs::create_dir(dir.path().join("keys"))?;
/// # std::fs::write(dir.path().join("index.html"), "hello")?;
/// # let www = dir.path();
/// let rules = Rules::builder()
///     .deny(Pattern::prefix("/site/keys"))
///     .allow(Pattern::prefix("/site"))
///     .build()?;
/// let mounts = Mounts::builder().mount("/site", Root::open(www)?).build()?;
/// let policy = Policy::new(rules, mounts)?;
///
/// let ring = uring_core::LocalRing::new()?;
/// let page = ring.block_on(ring.run(policy.open("/site/./index.html", libc::O_RDONLY)?))??;
/// let told = policy.open("/site/img/../keys/tls", libc::O_RDONLY).unwrap_err();
/// assert_eq!(told.to_string(), "denied: rule 0, `/site/keys`: `/site/keys/tls`");
/// # drop(page);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Policy {
    current: Arc<RcuCell<Edition>>,
}

/// One version of a policy: ask it where several paths of one request are to be judged alike.
#[derive(Debug)]
pub struct Edition {
    number: u64,
    rules: Rules,
    mounts: Mounts<Root>,
}

/// A root that follows links, under rules that do not say the same of all its mount.
///
/// A link within the mount would give what a rule denies a name that is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The mount.
    pub mount: Box<[u8]>,
    /// The rule that may decide otherwise than the rest.
    pub rule: usize,
    /// What it was written as.
    pub pattern: Pattern,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mount, rule, pattern } = self;
        write!(
            f,
            "mount {} follows links, and rule {rule}, {pattern}, may judge some of it otherwise than the rest: a link would \
             lead past it; mount the root without `follow_links`, or put one prefix rule for the mount first",
            Shown(mount)
        )
    }
}

impl std::error::Error for Conflict {}

impl Policy {
    /// Publishes the first edition, number 1.
    ///
    /// # Errors
    /// [`Conflict`].
    pub fn new(rules: Rules, mounts: Mounts<Root>) -> Result<Self, Conflict> {
        let first = Edition::new(1, rules, mounts)?;
        Ok(Self {
            current: Arc::new(RcuCell::new(first)),
        })
    }

    /// Replaces rules and mounts together, for every clone at once; gives the new edition's number.
    ///
    /// What is asked from now on is judged by it; what was granted before is carried out. Allocates; waits for nobody but the
    /// domain's garbage limit.
    ///
    /// # Errors
    /// [`Conflict`]; the policy is as it was.
    pub fn publish(&self, rules: Rules, mounts: Mounts<Root>) -> Result<u64, Conflict> {
        let mut next = Edition::new(0, rules, mounts)?;
        self.current.rcu(|now| {
            next.number = now.number + 1;
            next.again()
        });
        Ok(next.number)
    }

    /// The edition of now.
    pub fn edition(&self) -> sync_base::sync::Arc<Edition> {
        self.current.load_full()
    }

    /// Judges a path; see [`Edition::decide`].
    ///
    /// # Errors
    /// As [`Edition::decide`].
    #[inline]
    pub fn decide(&self, path: impl AsRef<Path>) -> Result<Decision, PermitError> {
        self.current.load().decide(path)
    }

    /// Grants a path, or says why not; see [`Edition::grant`].
    ///
    /// # Errors
    /// As [`Edition::grant`].
    pub fn grant(&self, path: impl AsRef<Path>) -> Result<Grant, PermitError> {
        self.current.load().grant(path)
    }

    /// Grants a path and makes the operation that opens it, for any ring. `flags` are those of `open(2)`.
    ///
    /// The mode of a file that is created is set on the operation ([`Open::mode`]). A device or a pipe beneath the root is opened as
    /// what it is; `O_NONBLOCK` keeps a pipe without a writer from holding the operation.
    ///
    /// # Errors
    /// As [`grant`](Self::grant). The operation itself fails with `ELOOP` for a link, with `EXDEV` where it would leave the
    /// root, and as [`Unsupported`](crate::ErrorKind::Unsupported) where the kernel has no `openat2`; [`open_on`](Self::open_on) tells
    /// these at length.
    pub fn open(&self, path: impl AsRef<Path>, flags: i32) -> Result<Open, PermitError> {
        Ok(self.grant(path)?.open(flags))
    }
}

impl Edition {
    fn new(number: u64, rules: Rules, mounts: Mounts<Root>) -> Result<Self, Conflict> {
        for (mount, root) in mounts.iter() {
            if root.follows()
                && let Err(rule) = rules.verdict_beneath(mount)
                && let Some(pattern) = rules.pattern(rule)
            {
                return Err(Conflict {
                    mount: mount.into(),
                    rule,
                    pattern: pattern.clone(),
                });
            }
        }
        Ok(Self {
            number,
            rules,
            mounts,
        })
    }

    fn again(&self) -> Self {
        Self {
            number: self.number,
            rules: self.rules.clone(),
            mounts: self.mounts.clone(),
        }
    }

    /// Its number: 1 for the first, each one more than the one before.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The rules.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The mounts.
    pub fn mounts(&self) -> &Mounts<Root> {
        &self.mounts
    }

    /// Normalises a path and says what the rules say of it.
    ///
    /// # Errors
    /// [`Malformed`](super::PermitKind::Malformed) and [`TooLong`](super::PermitKind::TooLong), for what has no normal spelling.
    #[inline]
    pub fn decide(&self, path: impl AsRef<Path>) -> Result<Decision, PermitError> {
        Ok(self.rules.decide(&normal(path.as_ref())?))
    }

    /// Grants a path that the rules allow and a mount holds. Allocates the path beneath the mount; looks at no file.
    ///
    /// # Errors
    /// As [`decide`](Self::decide), and [`Denied`](super::PermitKind::Denied), which names the rule, and
    /// [`Unmounted`](super::PermitKind::Unmounted).
    pub fn grant(&self, path: impl AsRef<Path>) -> Result<Grant, PermitError> {
        self.grant_normal(&normal(path.as_ref())?)
    }

    pub(super) fn grant_normal(&self, path: &Normal<'_>) -> Result<Grant, PermitError> {
        let Decision { verdict, rule } = self.rules.decide(path);
        if verdict == Verdict::Deny {
            let rule = rule.and_then(|rule| Some((rule, self.rules.pattern(rule)?)));
            return Err(denied(rule, path.as_bytes()));
        }
        let found = self
            .mounts
            .resolve(path)
            .ok_or_else(|| unmounted(path.as_bytes()))?;
        Ok(Grant {
            dir: Arc::clone(found.target.dir()),
            rest: found.rest.into(),
            resolve: found.target.resolve(),
            is_directory: path.is_directory(),
            edition: self.number,
        })
    }
}

/// Normalises, or says what is wrong with it.
pub(super) fn normal(path: &Path) -> Result<Normal<'_>, PermitError> {
    let bytes = path.as_os_str().as_bytes();
    Normal::of(bytes).map_err(|fault| malformed(fault, bytes))
}

/// A path that was granted: a directory held open, and what is to be opened beneath it.
#[derive(Clone, Debug)]
pub struct Grant {
    dir: Arc<OwnedFd>,
    rest: Box<[u8]>,
    resolve: u64,
    is_directory: bool,
    edition: u64,
}

impl Grant {
    /// The number of the edition that granted it.
    pub fn edition(&self) -> u64 {
        self.edition
    }

    /// Makes the operation that opens it, with the flags of `open(2)`.
    ///
    /// A path that ended in a slash ends in one here too: the kernel opens a directory and nothing else then, and creates nothing.
    pub fn open(&self, flags: i32) -> Open {
        let mut beneath = self.rest.to_vec();
        if self.is_directory && !beneath.is_empty() {
            beneath.push(b'/');
        }
        self.bounded(&beneath, flags)
    }

    /// Makes the operation that opens the directory it lies in, and says its name there: what `mkdirat(2)` and its like need, which
    /// resolve nothing when given one name. `None` for the root of a mount, which has no name in it.
    pub fn parent(&self) -> Option<(Open, &OsStr)> {
        let name = self
            .rest
            .rsplit(|&byte| byte == b'/')
            .next()
            .filter(|name| !name.is_empty())?;
        let above = &self.rest[..self.rest.len() - name.len()];
        let above = above.strip_suffix(b"/").unwrap_or(above);
        let open = self.bounded(above, libc::O_PATH | libc::O_DIRECTORY);
        Some((open, OsStr::from_bytes(name)))
    }

    pub(super) fn is_directory(&self) -> bool {
        self.is_directory
    }

    fn bounded(&self, beneath: &[u8], flags: i32) -> Open {
        let beneath = if beneath.is_empty() { b"." } else { beneath };
        match Open::new(OsStr::from_bytes(beneath), flags) {
            Ok(open) => open.resolve(self.resolve).within(Arc::clone(&self.dir)),
            Err(error) => unreachable!("a normal path has no zero byte: {error}"),
        }
    }
}
