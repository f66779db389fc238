//! Claims about queues.

use crate::Claim;

pub(super) const CLAIMS: &[Claim] = &[];
