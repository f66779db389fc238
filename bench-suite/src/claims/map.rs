//! Claims about maps, snapshot map, cell.

use crate::Claim;

pub(super) const CLAIMS: &[Claim] = &[];
