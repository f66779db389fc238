//! What threads called and were answered, judged by stateright's tester, under shuttle's schedules.

use stateright::semantics::{ConsistencyTester, LinearizabilityTester, SequentialSpec};
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

/// Runs `body` under random schedules and under schedules of few preemptions placed adversarially.
pub fn check(name: &str, runs: usize, body: impl Fn() + Send + Sync + Clone + 'static) {
    let start = Instant::now();
    shuttle::check_random(body.clone(), runs);
    shuttle::check_pct(body, runs, 3);
    println!(
        "SHUTTLE {name} schedules={} seconds={:.2}",
        2 * runs,
        start.elapsed().as_secs_f64()
    );
}

/// What happened, in the order in which it was called and answered.
#[derive(Clone, Debug)]
pub struct History<S: SequentialSpec + Clone + Debug>(Arc<Mutex<LinearizabilityTester<usize, S>>>)
where
    S::Op: Clone + Debug,
    S::Ret: Clone + Debug;

impl<S: SequentialSpec + Clone + Debug> History<S>
where
    S::Op: Clone + Debug,
    S::Ret: Clone + Debug + PartialEq,
{
    /// Begins with what is being shared as it is at the start.
    pub fn new(start: S) -> Self {
        Self(Arc::new(Mutex::new(LinearizabilityTester::new(start))))
    }

    fn tester(&self) -> MutexGuard<'_, LinearizabilityTester<usize, S>> {
        self.0.lock().expect("a test that panicked is over")
    }

    /// Notes that `thread` calls `op`.
    pub fn called(&self, thread: usize, op: S::Op) {
        self.tester().on_invoke(thread, op).expect("one call at a time");
    }

    /// Notes that the call of `thread` was answered.
    pub fn answered(&self, thread: usize, ret: S::Ret) {
        self.tester()
            .on_return(thread, ret)
            .expect("an answer follows a call");
    }

    /// Runs one operation between its call and its answer.
    pub fn record(&self, thread: usize, op: S::Op, run: impl FnOnce() -> S::Ret) {
        self.called(thread, op);
        let ret = run();
        self.answered(thread, ret);
    }

    /// Checks that some order of the operations, none moved out of its call, explains every answer.
    ///
    /// # Panics
    /// If there is none.
    pub fn assert_linearizable(&self) {
        let history = self.tester();
        assert!(
            history.is_consistent(),
            "no order explains this history: {history:?}"
        );
    }
}
