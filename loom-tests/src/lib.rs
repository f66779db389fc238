//! Every in-house protocol of the workspace under loom and shuttle.
//!
//! One file under `tests/` a protocol. A model runs the shipped code: nothing here is a copy of a protocol. Each model
//! goes through `check`, which prints one line that `xtask loom` reads:
//!
//! ```text
//! MODEL domain.retire_waits_for_pin threads=2 preemptions=3 executions=11493 seconds=0.33 complete
//! ```
//!
//! `LOOM_DEEP=1` chooses the deep bounds.

#[cfg(loom)]
mod model {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Instant;

    /// How far a model is explored.
    #[derive(Clone, Copy, Debug)]
    pub struct Bounds {
        /// Threads that the model runs, the main one counted.
        pub threads: usize,
        /// Preemptions allowed in one execution in every run of `xtask ci`.
        pub quick: usize,
        /// The same under `LOOM_DEEP=1`.
        pub deep: usize,
    }

    /// Explores every execution of `body` within the bounds and prints what was explored.
    ///
    /// There is no time limit: a model either completes or is killed from outside and prints nothing.
    ///
    /// # Panics
    /// When any execution panics: the model found a defect.
    pub fn check(name: &str, bounds: Bounds, body: impl Fn() + Send + Sync + 'static) {
        let preemptions = if std::env::var_os("LOOM_DEEP").is_some() {
            bounds.deep
        } else {
            bounds.quick
        };
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(preemptions);
        builder.max_duration = None;
        builder.max_permutations = None;
        builder.max_branches = 100_000;
        let executions = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&executions);
        let start = Instant::now();
        builder.check(move || {
            // Relaxed: a tally read after the last execution.
            counter.fetch_add(1, Ordering::Relaxed);
            // Begun from the main thread, so that no later first use orders one thread before another.
            sync_base::interrupt::begin();
            body();
        });
        // Relaxed: every execution is over.
        let executions = executions.load(Ordering::Relaxed);
        assert!(
            executions > 1,
            "{name} explored a single execution: run both sides in spawned threads"
        );
        println!(
            "MODEL {name} threads={} preemptions={preemptions} executions={executions} seconds={:.2} complete",
            bounds.threads,
            start.elapsed().as_secs_f64(),
        );
    }
}

#[cfg(loom)]
pub mod watched;

#[cfg(loom)]
pub use model::{Bounds, check};

#[cfg(all(shuttle, not(loom)))]
pub mod history;
