//! Claims about the descriptor table.

use crate::Claim;

pub(super) const CLAIMS: &[Claim] = &[];
