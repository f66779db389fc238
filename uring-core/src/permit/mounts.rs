//! Mounts, of which the longest prefix of a path is where it leads.
//!
//! Kept by falling number of components, so that the longest that holds a path is the first, and a table of rules finds it.

use super::heads::Key;
use super::normal::Normal;
use super::pattern::{BadPattern, Cause, Kind, beneath, check};
use super::table::{Search, Table};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

/// Where paths lead: the longest mount that is a prefix of a path, component by component. Never changed; cheap to clone.
///
/// ```
/// use uring_core::permit::{Mounts, Normal};
/// let mounts = Mounts::builder().mount("/", "root").mount("/srv/www", "www").build()?;
/// let to = |path| mounts.resolve(&Normal::of(path).unwrap()).map(|found| (*found.target, found.rest.to_vec()));
/// assert_eq!(to("/srv/www/img/a.png"), Some(("www", b"img/a.png".to_vec())));
/// assert_eq!(to("/srv/wwwx"), Some(("root", b"srv/wwwx".to_vec())));
/// # Ok::<(), uring_core::permit::BadPattern>(())
/// ```
#[derive(Debug)]
pub struct Mounts<T> {
    compiled: Arc<Compiled<T>>,
}

impl<T> Clone for Mounts<T> {
    fn clone(&self) -> Self {
        Self {
            compiled: Arc::clone(&self.compiled),
        }
    }
}

#[derive(Debug)]
struct Compiled<T> {
    /// Deepest first.
    mounts: Box<[(Box<[u8]>, T)]>,
    table: Table,
}

/// Where one path leads.
#[derive(Debug)]
pub struct Found<'m, 'p, T> {
    /// What is mounted there.
    pub target: &'m T,
    /// The mount's own path.
    pub mount: &'m [u8],
    /// The path beneath it, without a slash before it; empty for the mount itself.
    pub rest: &'p [u8],
}

/// Collects mounts; [`Mounts::builder`] makes one.
#[derive(Clone, Debug)]
pub struct MountsBuilder<T> {
    mounts: Vec<(Box<[u8]>, T)>,
}

impl<T> MountsBuilder<T> {
    /// Adds a mount at an absolute path in normal spelling.
    pub fn mount(mut self, at: impl AsRef<Path>, target: T) -> Self {
        self.mounts
            .push((at.as_ref().as_os_str().as_bytes().into(), target));
        self
    }

    /// Checks every path and compiles.
    ///
    /// # Errors
    /// The first path that is refused, one that stands twice among them.
    pub fn build(self) -> Result<Mounts<T>, BadPattern> {
        self.build_by(Search::Auto)
    }

    /// Compiles for one way of searching, to test by it.
    ///
    /// # Errors
    /// The first path that is refused.
    pub fn build_by(self, search: Search) -> Result<Mounts<T>, BadPattern> {
        self.compile(search, Key::random())
    }

    pub(super) fn compile(self, search: Search, key: Key) -> Result<Mounts<T>, BadPattern> {
        let mut first = std::collections::HashMap::with_capacity(self.mounts.len());
        for (index, (path, _)) in self.mounts.iter().enumerate() {
            let fault = check(path, Kind::Exact).err().or_else(|| {
                let first = *first.entry(path).or_insert(index);
                (first != index).then_some((0, Cause::Repeated { first }))
            });
            if let Some((at, cause)) = fault {
                return Err(BadPattern {
                    of: "mount",
                    index,
                    pattern: path.clone(),
                    at,
                    cause,
                });
            }
        }
        let mut mounts = self.mounts;
        mounts.sort_by_key(|(path, _)| std::cmp::Reverse(depth(path)));
        let table = Table::new(mounts.iter().map(|(path, _)| &**path), key, search);
        Ok(Mounts {
            compiled: Arc::new(Compiled {
                mounts: mounts.into(),
                table,
            }),
        })
    }
}

/// Components of a normal path.
fn depth(path: &[u8]) -> usize {
    match path.len() {
        1 => 0,
        _ => path.iter().filter(|&&byte| byte == b'/').count(),
    }
}

impl<T> Mounts<T> {
    /// Begins with no mount.
    pub fn builder() -> MountsBuilder<T> {
        MountsBuilder { mounts: Vec::new() }
    }

    /// Finds the longest mount that holds a path; `None` if none does. Allocates nothing.
    #[inline]
    pub fn resolve<'p>(&self, path: &'p Normal<'_>) -> Option<Found<'_, 'p, T>> {
        let (compiled, path) = (&*self.compiled, path.as_bytes());
        let mounts = &compiled.mounts;
        let holds = |at: usize| beneath(&mounts[at].0, path).is_some();
        let at = compiled.table.first(&compiled.table.heads(path), holds)?;
        let (mount, target) = &mounts[at];
        Some(Found {
            target,
            mount,
            rest: beneath(mount, path).unwrap_or_default(),
        })
    }

    /// The number of mounts.
    pub fn len(&self) -> usize {
        self.compiled.mounts.len()
    }

    /// Whether no path leads anywhere.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every mount with its target, the deepest first.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &T)> {
        self.compiled
            .mounts
            .iter()
            .map(|(path, target)| (&**path, target))
    }
}
