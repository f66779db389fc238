//! Claims about the ring.

use crate::Claim;

pub(super) const CLAIMS: &[Claim] = &[];
