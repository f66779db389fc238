//! How many completions one wait asks for.

/// Completions of the device to wait for in one `io_uring_enter`: a quarter of the window, at most 16, and never more
/// than are in flight; 1 without a backlog, so that low load pays no latency.
///
/// All that is queued has been submitted by then: nothing is ever held back to make a batch. Operations that do not
/// reach the device (sockets, timers) are not counted in `in_flight`, since they may never complete by themselves.
///
/// ```
/// use uring_core::flow::wait_for;
/// assert_eq!(wait_for(128, 128, true), 16);
/// assert_eq!(wait_for(32, 20, true), 8);
/// assert_eq!(wait_for(128, 3, true), 3);
/// assert_eq!(wait_for(128, 128, false), 1);
/// assert_eq!(wait_for(1, 0, true), 1);
/// ```
pub fn wait_for(window: u32, in_flight: u32, backlog: bool) -> u32 {
    if !backlog {
        return 1;
    }
    (window / 4).clamp(1, 16).min(in_flight.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e6_low_load_waits_for_one_completion() {
        for window in [0, 1, 3, 4, 64, u32::MAX] {
            assert_eq!(wait_for(window, 1_000, false), 1);
            for in_flight in 0..40 {
                let wait = wait_for(window, in_flight, true);
                assert!(
                    (1..=16).contains(&wait) && wait <= in_flight.max(1),
                    "{window} {in_flight}: {wait}"
                );
            }
        }
    }
}
