//! A user's crate: a gauge of work in progress, built on three of our crates and model-checked by its own loom test.
//!
//! ```sh
//! cargo test                                       # as shipped
//! RUSTFLAGS="--cfg loom" cargo test --profile model  # every interleaving, inside our crates too
//! ```

use flat_combine::StripedCounter;
use seqstats::SeqLock;
use sync_base::atomic::{AtomicU64, Ordering};

/// Work that began and work that ended, with the last two ids that ended published together.
#[derive(Debug)]
pub struct Gauge {
    began: StripedCounter,
    in_progress: AtomicU64,
    last: SeqLock<[u64; 2]>,
}

impl Default for Gauge {
    fn default() -> Self {
        Self {
            began: StripedCounter::new(),
            in_progress: AtomicU64::new(0),
            last: SeqLock::new([0, 0]),
        }
    }
}

impl Gauge {
    /// Runs one piece of work.
    pub fn run(&self, id: u64) {
        self.began.add(1);
        // Relaxed: a tally; nothing is published by it.
        self.in_progress.fetch_add(1, Ordering::Relaxed);
        self.last.update(|last| *last = [id, last[0]]);
        // Relaxed: as above.
        self.in_progress.fetch_sub(1, Ordering::Relaxed);
    }

    /// The last two ids, newest first, as one write published them.
    pub fn last(&self) -> [u64; 2] {
        self.last.read()
    }

    /// How many pieces of work began.
    pub fn began(&self) -> i64 {
        self.began.sum()
    }
}

#[cfg(test)]
mod tests {
    use super::Gauge;

    #[cfg(not(loom))]
    #[test]
    fn works_as_shipped() {
        let gauge = Gauge::default();
        gauge.run(1);
        gauge.run(2);
        assert_eq!((gauge.last(), gauge.began()), ([2, 1], 2));
    }

    #[cfg(loom)]
    #[test]
    fn a_reader_sees_the_ids_of_one_moment() {
        use std::sync::atomic::{AtomicU64, Ordering};
        static EXECUTIONS: AtomicU64 = AtomicU64::new(0);
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(2);
        model.check(|| {
            EXECUTIONS.fetch_add(1, Ordering::Relaxed);
            let gauge = sync_base::sync::Arc::new(Gauge::default());
            let worker = sync_base::thread::spawn({
                let gauge = gauge.clone();
                move || (gauge.run(1), gauge.run(2))
            });
            let reader = sync_base::thread::spawn({
                let gauge = gauge.clone();
                move || assert!(matches!(gauge.last(), [0, 0] | [1, 0] | [2, 1]))
            });
            worker.join().unwrap();
            reader.join().unwrap();
            assert_eq!(gauge.began(), 2);
        });
        let executions = EXECUTIONS.load(Ordering::Relaxed);
        assert!(executions > 10, "{executions} executions explored");
    }
}
