//! Claims about pools, copy-on-write pages.

use crate::Claim;

pub(super) const CLAIMS: &[Claim] = &[];
