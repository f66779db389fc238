//! Opening by path under the engine's policy.

use super::{Engine, Submission};
use crate::op::Open;
use crate::permit::{PermitError, PermitKind, Policy};
use std::path::Path;

impl Engine {
    /// The policy that it was made with; [`Policy::publish`] replaces what it says, for every core at once.
    pub fn policy(&self) -> Option<&Policy> {
        self.inner.asked.policy.as_ref()
    }

    /// Opens a path with the flags of `open(2)`: what the engine's policy grants, beneath the mount's root, whatever is swapped there
    /// meanwhile. Without a policy: what this process may open. Judged now, opened when its turn comes; on a core's own ring, or
    /// on that of the processor that the caller runs on, as [`submit`](Engine::submit).
    ///
    /// [`submit`](Engine::submit) itself judges nothing: whoever holds an engine may give it any operation. Paths of strangers come here.
    ///
    /// ```
    /// use uring_core::engine::Engine;
    /// use uring_core::permit::{Mounts, Pattern, Policy, Root, Rules};
    /// let rules = Rules::builder().allow(Pattern::prefix("/about")).build()?;
    /// let mounts = Mounts::builder().mount("/about", Root::open("/proc/sys/kernel")?).build()?;
    /// let engine = Engine::builder()
    ///     .core_count(1)
    ///     .policy(Policy::new(rules, mounts)?)
    ///     .build()?;
    /// let file = engine.open("/about/ostype", libc::O_RDONLY)?.wait()?;
    /// let told = engine.open("/about/../etc/passwd", libc::O_RDONLY).unwrap_err();
    /// assert_eq!(told.to_string(), "denied: no rule allows `/etc/passwd`");
    /// # drop(file);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Policy::open`]; without a policy, for a path with a zero byte in it. What the kernel says is the submission's output.
    pub fn open(&self, path: impl AsRef<Path>, flags: i32) -> Result<Submission<Open>, PermitError> {
        let open = match self.policy() {
            Some(policy) => policy.open(path, flags)?,
            None => Open::new(path, flags)
                .map_err(|_| PermitError::msg(PermitKind::Malformed, "the path has a zero byte"))?,
        };
        Ok(self.submit(open))
    }
}
