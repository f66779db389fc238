//! Each core's window and statistics.

use crate::kit::{asked, until};
use std::sync::Arc;
use std::time::Duration;
use uring_core::engine;
use uring_core::op::Read;

#[test]
fn e9_each_core_has_a_window_with_the_engines_target_and_publishes_apart() {
    let engine = asked(2).p99_target(Duration::from_millis(3)).build().unwrap();
    let file = Arc::new(std::fs::File::open("/proc/self/exe").unwrap());
    let reads = engine
        .spawn_on(1, move || async move {
            let read = || {
                let file = Arc::clone(&file);
                engine::spawn_local(async move {
                    let window = engine::window();
                    for _ in 0..20 {
                        let (read, _) = window.run(Read::new(Arc::clone(&file), vec![0; 64]).at(0)).await;
                        assert_eq!(read, Ok(64));
                    }
                })
            };
            let tasks: Vec<_> = (0..50).map(|_| read()).collect();
            for task in tasks {
                task.await.unwrap();
            }
        })
        .unwrap();
    reads.wait().unwrap();
    let sources = engine.sources();
    until("the last place was given back", || {
        let now = sources.read();
        let [idle, busy] = ["core0", "core1"].map(|name| now.rings[name].window.as_ref().unwrap().stats);
        busy.admitted == 1_000 && busy.in_flight == 0 && busy.waiting == 0 && idle.admitted == 0
    });
    let now = sources.read();
    let window = now.rings["core1"].window.as_ref().unwrap();
    assert_eq!(window.stats.target_p99_ns, 3_000_000);
    assert_eq!(window.caller_ns.count(), 1_000);
    assert!(
        window.stats.waited > 0,
        "fifty callers and a window of four: {}",
        window.stats
    );
}
