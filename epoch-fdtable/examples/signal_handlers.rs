//! A table of signal handlers: numbers are signals, values are actions, and raising one looks its handler up without a
//! lock while another thread replaces it.
//!
//! Run: `cargo run -p epoch-fdtable --example signal_handlers`

use epoch_fdtable::{FdTable, Flags};
use std::sync::atomic::{AtomicU64, Ordering};

/// What a process does about a signal.
enum Action {
    Ignore,
    Call(Box<dyn Fn(u32) + Send + Sync>),
}

/// The dispositions of one process: at most one action a signal, none meaning the default.
struct Handlers(FdTable<Action>);

/// As on Linux: signals 1 to 64.
const SIGNALS: u32 = 65;

impl Handlers {
    fn new() -> Self {
        Self(FdTable::with_limits(SIGNALS, SIGNALS))
    }

    /// Sets the action and says whether there was one before. Handlers that run meanwhile finish.
    fn set(&self, signal: u32, action: Action) -> bool {
        // `CLOSE_ON_EXEC` is exactly what POSIX asks: a caught signal goes back to its default at exec, an ignored one
        // stays ignored.
        let flags = match action {
            Action::Ignore => Flags::NONE,
            Action::Call(_) => Flags::CLOSE_ON_EXEC,
        };
        self.0
            .put(signal, action, flags)
            .is_ok_and(|placed| placed.replaced.is_some())
    }

    /// Runs the action: one wait-free look-up.
    fn raise(&self, signal: u32) -> bool {
        match self.0.pin().get(signal) {
            Some(Action::Call(handler)) => handler(signal),
            Some(Action::Ignore) => {}
            None => return false,
        }
        true
    }

    /// Resets what exec resets.
    fn exec(&self) {
        for signal in 1..SIGNALS {
            if self.0.flags(signal) == Some(Flags::CLOSE_ON_EXEC) {
                drop(self.0.remove(signal));
            }
        }
    }
}

fn main() {
    static CAUGHT: AtomicU64 = AtomicU64::new(0);
    let handlers = Handlers::new();
    let counting = |weight: u64| {
        Action::Call(Box::new(move |_| {
            CAUGHT.fetch_add(weight, Ordering::Relaxed);
        }))
    };
    assert!(!handlers.set(15, counting(1)));
    assert!(!handlers.set(1, Action::Ignore));
    std::thread::scope(|scope| {
        scope.spawn(|| (0..100_000).for_each(|_| assert!(handlers.raise(15), "replaced, never absent")));
        scope.spawn(|| (0..1_000).for_each(|n| assert!(handlers.set(15, counting(1 + n % 2)))));
    });
    let caught = CAUGHT.load(Ordering::Relaxed);
    assert!((100_000..=200_000).contains(&caught));
    handlers.exec();
    assert!(!handlers.raise(15) && handlers.raise(1) && !handlers.raise(9));
    println!(
        "raised 100000 signals, caught with weights adding up to {caught}; exec reset the caught one alone"
    );
}
