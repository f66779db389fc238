//! Which paths may be used, and where they lead.
//!
//! [`Rules`] decide by the spelling of a path, the first that matches; [`Mounts`] say where it leads, the longest prefix; a [`Policy`] holds
//! both, is shared by all cores, is replaced by RCU, and opens what it grants beneath the mount's root, so that no link or
//! directory swapped meanwhile leads out of it.
//!
//! # What is judged
//! The [`Normal`] spelling, byte by byte: no file is looked at, case counts, nothing is decoded. So a rule speaks of names. Hard
//! links, bind mounts, mounts that overlap, filesystems that fold case give a file further names: allow what is meant, and let
//! the default deny the rest.
//!
//! # When not to use it
//! - To confine code of others: it can call the kernel itself. That is what Landlock and mount namespaces are for.
//! - Where the kernel has no `openat2` (before Linux 5.6): nothing would be opened.
//! - For rights finer than yes and no: whoever may open a path may ask for any flag.

mod error;
mod glob;
mod heads;
mod mounts;
mod names;
mod normal;
mod pattern;
mod policy;
mod root;
mod rules;
mod scan;
mod table;

pub use error::{PermitError, PermitKind};
#[doc(hidden)]
pub use heads::Heads;
pub use mounts::{Found, Mounts, MountsBuilder};
pub use normal::{LONGEST, Normal, PathError};
pub use pattern::{BadPattern, Cause, Pattern};
pub use policy::{Conflict, Edition, Grant, Policy};
pub use root::Root;
pub use rules::{Decision, Rules, RulesBuilder, Verdict};
pub use table::Search;

#[cfg(all(test, not(any(loom, shuttle))))]
mod guard;
#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
