//! A quotient that survives having nothing to divide by.

/// Divides, and answers 0 where the divisor is 0: the mean over no events, the hit rate before the first lookup.
///
/// ```
/// assert_eq!(seqstats::ratio(0.0, 0.0), 0.0);
/// assert_eq!(seqstats::ratio(3.0, 4.0), 0.75);
/// ```
pub fn ratio(part: f64, whole: f64) -> f64 {
    if whole == 0.0 { 0.0 } else { part / whole }
}
