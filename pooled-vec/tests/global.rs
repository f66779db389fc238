//! The global pool, tuned. Alone in its process: it is made once.
#![cfg(not(any(loom, shuttle)))]

use pooled_vec::{Pool, PoolConfig, PooledVec};

/// No class holds the first capacity, so that the shortest way to a buffer of it must lead nowhere.
#[test]
fn c4_capacity_is_never_below_the_first_even_where_no_class_holds_it() {
    let config = PoolConfig::new().classes(&[64, 256]).first_capacity(1000);
    let pool = Pool::set_global(config).expect("nobody asked for a buffer yet");
    assert_eq!(
        Pool::set_global(PoolConfig::new()).unwrap_err(),
        PoolConfig::new()
    );
    for _ in 0..3 {
        // Leaves buffers of every class with this thread.
        drop([64, 256].map(|bytes| [0; 10].map(|_| PooledVec::with_capacity(bytes))));
        let buffer = PooledVec::new();
        assert!(
            buffer.is_empty() && buffer.capacity() >= 1000,
            "{}",
            buffer.capacity()
        );
    }
    // What was dropped is still found by those who ask for it.
    assert_eq!(pool.stats().allocations, 2 * 10 + 3);
}
