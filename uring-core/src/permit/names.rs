//! Opening, and making, removing and moving of names under a policy, on a ring.
//!
//! `unlinkat(2)` and its like take no bounds. So the directory is opened within bounds first, and then one name in it is
//! given, which the kernel does not resolve. A directory moved out of the root between the two is still the one that was inside when
//! it was opened.

use super::error::{PermitError, PermitKind, denied, refused};
use super::pattern::Shown;
use super::policy::{Edition, Grant, Policy, normal};
use super::rules::Verdict;
use crate::error::Error;
use crate::op::{Mkdir, Rename, Unlink};
use crate::ring::{Core, Operation};
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

impl Policy {
    /// Opens a path on a ring, with the flags of `open(2)`; a file that is created has the permissions 0666, less the umask.
    ///
    /// # Errors
    /// As [`open`](Self::open), the kernel's refusals among them, each with the path.
    pub async fn open_on(
        &self,
        ring: &Core,
        path: impl AsRef<Path>,
        flags: i32,
    ) -> Result<File, PermitError> {
        let path = path.as_ref();
        let open = self.open(path, flags)?;
        ring.run(open).await.map_err(|error| refused_at(error, path))
    }

    /// Makes a directory with the permissions 0777, less the umask. Two operations.
    ///
    /// # Errors
    /// As [`open_on`](Self::open_on); [`Malformed`](PermitKind::Malformed) for the root of a mount.
    pub async fn mkdir(&self, ring: &Core, path: impl AsRef<Path>) -> Result<(), PermitError> {
        let path = path.as_ref();
        let grant = self.grant(path)?;
        let (dir, name) = parent(ring, &grant, path).await?;
        let made = Mkdir::new(name).map(|op| op.within(dir));
        run(ring, made, path).await
    }

    /// Removes the name of a file. Two operations. A link is removed itself: it is not followed.
    ///
    /// # Errors
    /// As [`mkdir`](Self::mkdir); [`Malformed`](PermitKind::Malformed) also for a path that ends in a slash.
    pub async fn unlink(&self, ring: &Core, path: impl AsRef<Path>) -> Result<(), PermitError> {
        let path = path.as_ref();
        let grant = self.grant(path)?;
        if grant.is_directory() {
            return Err(unnamed(path));
        }
        let (dir, name) = parent(ring, &grant, path).await?;
        let removal = Unlink::new(name).map(|op| op.within(dir));
        run(ring, removal, path).await
    }

    /// Removes an empty directory. Two operations.
    ///
    /// # Errors
    /// As [`mkdir`](Self::mkdir).
    pub async fn remove_dir(&self, ring: &Core, path: impl AsRef<Path>) -> Result<(), PermitError> {
        let path = path.as_ref();
        let grant = self.grant(path)?;
        let (dir, name) = parent(ring, &grant, path).await?;
        let removal = Unlink::directory(name).map(|op| op.within(dir));
        run(ring, removal, path).await
    }

    /// Moves a name to another, replacing what is there. Three operations, both paths judged by one edition.
    ///
    /// A directory takes what is in it along, to names that a rule may judge otherwise; so both paths must be allowed with
    /// *everything beneath them*. A glob counts as able to match anything beneath its anchor, the components before its first wildcard.
    ///
    /// # Errors
    /// As [`mkdir`](Self::mkdir); [`Denied`](PermitKind::Denied) also for a rule that may deny something beneath either path.
    pub async fn rename(
        &self,
        ring: &Core,
        from: impl AsRef<Path>,
        to: impl AsRef<Path>,
    ) -> Result<(), PermitError> {
        let (from, to) = (from.as_ref(), to.as_ref());
        let (from_grant, to_grant) = {
            let edition = self.edition();
            (with_all_beneath(&edition, from)?, with_all_beneath(&edition, to)?)
        };
        let (from_dir, from_name) = parent(ring, &from_grant, from).await?;
        let (to_dir, to_name) = parent(ring, &to_grant, to).await?;
        let moved = Rename::new(from_name, to_name).map(|op| op.from_within(from_dir).to_within(to_dir));
        run(ring, moved, from).await
    }
}

/// Grants a path of which everything beneath is allowed too.
fn with_all_beneath(edition: &Edition, path: &Path) -> Result<Grant, PermitError> {
    let (path, rules) = (normal(path)?, edition.rules());
    let grant = edition.grant_normal(&path)?;
    let rule = match rules.verdict_beneath(path.as_bytes()) {
        Ok(Verdict::Allow) => return Ok(grant),
        Ok(Verdict::Deny) => None,
        Err(rule) => rules.pattern(rule).map(|pattern| (rule, pattern)),
    };
    Err(denied(rule, path.as_bytes()))
}

/// Opens the directory of a granted path.
async fn parent<'g>(
    ring: &Core,
    grant: &'g Grant,
    path: &Path,
) -> Result<(Arc<OwnedFd>, &'g OsStr), PermitError> {
    let (open, name) = grant.parent().ok_or_else(|| unnamed(path))?;
    let dir = ring.run(open).await.map_err(|error| refused_at(error, path))?;
    Ok((Arc::new(dir.into()), name))
}

async fn run<O>(ring: &Core, op: Result<O, Error>, path: &Path) -> Result<(), PermitError>
where
    O: Operation<Output = Result<(), Error>>,
{
    match op {
        Ok(op) => ring.run(op).await,
        Err(error) => Err(error),
    }
    .map_err(|error| refused_at(error, path))
}

fn unnamed(path: &Path) -> PermitError {
    let path = Shown(path.as_os_str().as_bytes());
    PermitError::new(
        PermitKind::Malformed,
        format_args!("{path} names no entry of a directory within a mount"),
    )
}

fn refused_at(error: Error, path: &Path) -> PermitError {
    refused(error, path.as_os_str().as_bytes())
}
