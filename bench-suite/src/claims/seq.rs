//! Claims about sequence locks, histograms.

use crate::Claim;

pub(super) const CLAIMS: &[Claim] = &[];
