//! What a refused write hands back.

use std::fmt;
use sync_base::Stalled;

/// A write refused because a stalled reader holds the domain at its garbage limit; the value comes back.
///
/// ```
/// use rcu_map::RcuMap;
/// let map = RcuMap::new();
/// match map.try_insert("k", 1) {
///     Ok(former) => assert!(former.is_none()),
///     Err(rejected) => {
///         eprintln!("{rejected}"); // names the reader's thread
///         let (_key, _value) = rejected.into_value();
///     }
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Rejected<T> {
    value: T,
    stalled: Stalled,
}

impl<T> Rejected<T> {
    pub(crate) fn new(value: T, stalled: Stalled) -> Self {
        Self { value, stalled }
    }

    /// What was to be stored.
    pub fn into_value(self) -> T {
        self.value
    }

    /// Who holds garbage up, and how much.
    pub fn stalled(&self) -> &Stalled {
        &self.stalled
    }
}

impl<T> fmt::Display for Rejected<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "write refused: {}", self.stalled)
    }
}

impl<T: fmt::Debug> std::error::Error for Rejected<T> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.stalled)
    }
}
