//! Random operations of several threads, and whether some order of them explains every answer.

use stateright::semantics::{ConsistencyTester, LinearizabilityTester, SequentialSpec};
use std::fmt::Debug;
use sync_base::sync::{Arc, Mutex};
use sync_base::thread;

/// What is tested: how it is made, which operation a roll of the dice stands for, and how it is performed.
pub(crate) trait Subject: Send + Sync + 'static {
    /// What it should be.
    type Oracle: SequentialSpec<Op: Clone + Debug + Send, Ret: Clone + Debug + PartialEq + Send>
        + Clone
        + Default
        + Send
        + 'static;
    fn make() -> Self;
    fn op(roll: u64, n: u8) -> <Self::Oracle as SequentialSpec>::Op;
    fn perform(&self, op: &<Self::Oracle as SequentialSpec>::Op) -> <Self::Oracle as SequentialSpec>::Ret;
}

/// Runs threads of random operations in many schedules and checks that some order of them explains every answer.
pub(crate) fn linearizable<S: Subject>(threads: u64, ops: u8) {
    let seeds = std::sync::atomic::AtomicU64::new(1);
    let body = move || {
        // Relaxed: one execution at a time; it only varies the operations.
        let seed = seeds.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let subject = Arc::new(S::make());
        let history = Arc::new(Mutex::new(LinearizabilityTester::new(S::Oracle::default())));
        let running: Vec<_> = (0..threads)
            .map(|id| {
                let (subject, history) = (Arc::clone(&subject), Arc::clone(&history));
                thread::spawn(move || {
                    let mut state = (seed * 31 + id + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
                    for n in 0..ops {
                        state ^= state << 13;
                        state ^= state >> 7;
                        state ^= state << 17;
                        let op = S::op(state >> 9, n);
                        history.lock().unwrap().on_invoke(id, op.clone()).unwrap();
                        let ret = subject.perform(&op);
                        history.lock().unwrap().on_return(id, ret).unwrap();
                    }
                })
            })
            .collect();
        for thread in running {
            thread.join().unwrap();
        }
        assert!(
            history.lock().unwrap().is_consistent(),
            "no order explains this history"
        );
    };
    shuttle::check_pct(body, 300, 3);
}
