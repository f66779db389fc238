//! What several of these tests use.

use std::sync::mpsc;
use std::time::{Duration, Instant};
use uring_core::engine::{Affinity, Builder, CoreState, Engine};

/// Far longer than anything here takes: a bound on a wait, not a measure.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// So many cores wherever they find room: tests run beside each other.
pub(crate) fn asked(cores: usize) -> Builder {
    Engine::builder()
        .core_count(cores)
        .affinity(Affinity::None)
        .depth(32)
}

pub(crate) fn engine(cores: usize) -> Engine {
    asked(cores).build().unwrap()
}

/// Waits for a condition that others bring about.
pub(crate) fn until(what: &str, mut met: impl FnMut() -> bool) {
    let end = Instant::now() + LONG;
    while !met() {
        assert!(Instant::now() < end, "{what} never came about");
        std::thread::sleep(Duration::from_millis(1));
    }
}

pub(crate) fn state(engine: &Engine, core: usize) -> CoreState {
    engine.cores()[core].state
}

/// Keeps a core's thread busy, in one poll, until dropped.
pub(crate) struct Busy(#[allow(dead_code)] mpsc::Sender<()>);

/// Returns once the core is in it.
pub(crate) fn keep_busy(engine: &Engine, core: usize) -> Busy {
    let (hold, held) = mpsc::channel::<()>();
    let (entered, enter) = mpsc::channel();
    let task = engine.send_on(core, move || async move {
        entered.send(()).unwrap();
        let _ = held.recv_timeout(LONG);
    });
    drop(task.wait().unwrap());
    enter.recv_timeout(LONG).unwrap();
    Busy(hold)
}

/// Whether this is a process for the test of that name alone; else runs one, since what such a test changes is the whole
/// process's.
pub(crate) fn alone(test: &str) -> bool {
    const MARK: &str = "URING_CORE_TEST_ALONE";
    if std::env::var_os(MARK).is_some() {
        return true;
    }
    let run = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(MARK, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(
        run.status.success() && said.contains("1 passed"),
        "{said}{}",
        String::from_utf8_lossy(&run.stderr)
    );
    false
}
