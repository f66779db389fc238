//! How fast a counter grows.

use crate::ratio;
use std::collections::VecDeque;

const SECOND_NS: f64 = 1e9;

/// The speed of a growing counter, per second, over a moving span of time.
///
/// It is fed a total and the time of reading it, and remembers enough readings to cover the span; so it measures any
/// counter without touching its writer. No figure is ever NaN or infinite: readings at one time, backwards in time, or none at
/// all give 0.
///
/// ```
/// let mut rate = seqstats::Rate::new(10_000_000_000);
/// rate.update(0, 0);
/// rate.update(500_000_000, 100);
/// assert_eq!(rate.per_second(), 200.0);
/// ```
#[derive(Clone, Debug)]
pub struct Rate {
    readings: VecDeque<(u64, u64)>,
    span_ns: u64,
}

impl Rate {
    /// The most readings remembered; nearer ones replace the last.
    const READINGS: usize = 64;

    /// Measures over the last `span_ns` nanoseconds, as well as the readings allow.
    pub fn new(span_ns: u64) -> Self {
        Self {
            readings: VecDeque::with_capacity(Self::READINGS),
            span_ns,
        }
    }

    /// Takes in that the counter stood at `total` at `now_ns`, and returns the speed. O(1), amortised.
    ///
    /// A total below the last is a counter that wrapped around 2^64 if that is the shorter way, else one that began anew at
    /// zero, as after a restart of its process: then what it counted since is measured from the last reading on. A time
    /// before the last is ignored.
    pub fn update(&mut self, now_ns: u64, total: u64) -> f64 {
        if let Some(&(last_ns, last)) = self.readings.back()
            && now_ns >= last_ns
            && total < last
            && last - total < total.wrapping_sub(last)
        {
            self.readings.clear();
            self.readings.push_back((last_ns, 0));
        }
        let before = self.readings.iter().rev().nth(1).copied();
        match self.readings.back_mut() {
            Some((last, _)) if now_ns < *last => return self.per_second(),
            // Too near to the reading before the last one to be worth a place of its own.
            Some(last)
                if before.is_some_and(|(ns, _)| now_ns - ns < self.span_ns / Self::READINGS as u64) =>
            {
                *last = (now_ns, total);
            }
            Some(last) if last.0 == now_ns => *last = (now_ns, total),
            _ => self.readings.push_back((now_ns, total)),
        }
        // The oldest reading may be older than the span, so that the span is covered in full.
        while self.readings.len() > 2 && now_ns - self.readings[1].0 >= self.span_ns {
            self.readings.pop_front();
        }
        self.per_second()
    }

    /// The speed over the readings remembered; 0 with fewer than two.
    pub fn per_second(&self) -> f64 {
        let (Some(first), Some(last)) = (self.readings.front(), self.readings.back()) else {
            return 0.0;
        };
        ratio(last.1.wrapping_sub(first.1) as f64, (last.0 - first.0) as f64) * SECOND_NS
    }
}
