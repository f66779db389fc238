//! Claims about the reclamation domain.

use crate::Claim;

pub(super) const CLAIMS: &[Claim] = &[];
