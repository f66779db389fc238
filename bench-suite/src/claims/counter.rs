//! Claims about counters, combining.

use crate::Claim;

pub(super) const CLAIMS: &[Claim] = &[];
