//! Percentiles of the last so many intervals.

use crate::histogram::FULL_RANGE;
use crate::{Histogram, HistogramSnapshot, Interval};
use std::collections::VecDeque;

/// A moving view of a histogram: what was recorded during the last `spans` spans of time.
///
/// It lives with whoever reads and takes the time as an argument, in any unit: no clock, no thread, nothing on the
/// recorder's side. [`tick`](Self::tick) as often as you like; a span closes at the first tick at or after its end, so a
/// view covers between `spans - 1` and `spans` spans, or more where ticks are late. Costs `spans + 3` snapshots of memory
/// and O(`BUCKETS`) when a tick closes a span.
///
/// ```
/// use seqstats::{Histogram, Recorder, Window};
/// let histogram = Box::new(Histogram::<1920>::new());
/// let mut recorder = Recorder::try_claim(&*histogram).unwrap();
/// let mut window = Window::new(2, 1_000); // two spans of 1000 ns
/// recorder.record(7);
/// assert_eq!(window.tick(&histogram, 0).count(), 1);
/// window.tick(&histogram, 1_000);
/// recorder.record(9);
/// assert_eq!(window.tick(&histogram, 1_500).count(), 2);
/// assert_eq!(window.tick(&histogram, 2_500).count(), 1); // the 7 is two spans ago
/// ```
#[derive(Clone, Debug)]
pub struct Window<const BUCKETS: usize = FULL_RANGE> {
    interval: Interval<BUCKETS>,
    /// Closed spans, oldest first.
    closed: VecDeque<HistogramSnapshot<BUCKETS>>,
    /// What the closed spans and the open one add up to.
    view: HistogramSnapshot<BUCKETS>,
    open: HistogramSnapshot<BUCKETS>,
    opened_at: Option<u64>,
    spans: usize,
    span: u64,
}

impl<const BUCKETS: usize> Window<BUCKETS> {
    /// Makes a view of the last `spans` spans, each `span` units of time long.
    ///
    /// # Panics
    /// If either is 0.
    pub fn new(spans: usize, span: u64) -> Self {
        assert!(
            spans > 0 && span > 0,
            "a window needs at least one span of at least one unit of time"
        );
        Self {
            interval: Interval::new(),
            closed: VecDeque::with_capacity(spans),
            view: HistogramSnapshot::new(),
            open: HistogramSnapshot::new(),
            opened_at: None,
            spans,
            span,
        }
    }

    /// Takes in what was recorded since the last tick, lets go of spans that are too old, and shows what is left. Time
    /// that stands still or runs backwards closes no span.
    pub fn tick(&mut self, histogram: &Histogram<BUCKETS>, now: u64) -> &HistogramSnapshot<BUCKETS> {
        let opened_at = *self.opened_at.get_or_insert(now);
        let ended = now.saturating_sub(opened_at) / self.span;
        if ended > 0 {
            self.close(ended);
            self.opened_at = Some(opened_at + ended * self.span);
        }
        let taken = self.interval.take(histogram);
        if !taken.is_empty() {
            self.open.merge(&taken);
            self.view.merge(&taken);
        }
        &self.view
    }

    /// Closes the open span; where more than one ended since the last tick the others were empty.
    fn close(&mut self, ended: u64) {
        let span = std::mem::take(&mut self.open);
        self.closed.push_back(span);
        let empty = (ended - 1).min(self.spans as u64) as usize;
        self.closed.extend((0..empty).map(|_| HistogramSnapshot::new()));
        while self.closed.len() >= self.spans {
            let Some(old) = self.closed.pop_front() else { break };
            self.view.remove(&old);
        }
    }

    /// What the last tick showed.
    pub fn view(&self) -> &HistogramSnapshot<BUCKETS> {
        &self.view
    }
}
