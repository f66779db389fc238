//! Routes that every worker reads at each request while one thread replaces them.
//!
//! Run with `cargo run -p rcu-map --example routes`.

use rcu_map::{RcuMap, SnapshotMap, SnapshotReader};
use std::sync::Arc;

fn main() {
    let routes: Arc<SnapshotMap<&str, u32>> = Arc::new([("/", 1), ("/login", 1)].into_iter().collect());
    let hits: Arc<RcuMap<&str, u64>> = Arc::new(RcuMap::new());
    let workers: Vec<_> = (0..2)
        .map(|_| {
            let (reader, hits) = (SnapshotReader::new(Arc::clone(&routes)), Arc::clone(&hits));
            std::thread::spawn(move || {
                for _ in 0..1_000 {
                    let request = reader.load(); // one version for the whole request
                    assert_eq!(request["/"], request["/login"], "both routes are of one version");
                    hits.get_or_insert_with("/", || 0);
                    hits.update("/", |n| n + 1);
                }
            })
        })
        .collect();
    for version in 2..50 {
        routes.batch(|b| {
            b.insert("/", version);
            b.insert("/login", version);
        });
    }
    for worker in workers {
        worker.join().expect("a worker failed");
    }
    println!(
        "{} hits, routes at version {}",
        hits.get_cloned("/").unwrap_or(0),
        routes.snapshot()["/"]
    );
}
