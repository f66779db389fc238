//! Claims about errors.

use crate::Claim;

pub(super) const CLAIMS: &[Claim] = &[];
