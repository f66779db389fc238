//! The process-wide limit on pools, in a process of its own.
#![cfg(not(any(loom, shuttle)))]

use pooled_vec::{BufferError, ObjectPool, Pool, PoolConfig, PooledVec};

/// As many pools as there may be.
fn fill(shards: impl Fn(usize) -> usize) -> Vec<Pool> {
    let made = |at| Pool::try_new(PoolConfig::new().shards(shards(at))).ok();
    (0..).map_while(made).collect()
}

#[test]
#[cfg_attr(miri, ignore = "thousands of pools")]
fn e3_4096_pools_live_at_once_and_dead_ones_make_room_for_any_shape() {
    let pools = fill(|_| 1);
    assert_eq!(pools.len(), 4096);
    let refused = Pool::try_new(PoolConfig::new()).unwrap_err();
    assert_eq!(refused, BufferError::TooManyPools { max: 4096 });
    // The global pool is not one of them.
    assert_eq!(PooledVec::new().capacity(), 4096);
    let late: Vec<PooledVec> = pools.iter().take(20).map(Pool::get).collect();
    drop(pools);

    // Every place has a depot of one shard. Pools of other shapes find room all the same, again and again.
    let objects = ObjectPool::<u8>::new(|| 1, |_| ());
    assert_eq!(*objects.get(), 1);
    for shards in [7, 1, 3, 256] {
        let pool = Pool::new(PoolConfig::new().shards(shards));
        assert_eq!(pool.stats().shards, shards);
        drop(pool.get());
        assert_eq!(pool.stats().allocations, 1);
    }
    let mixed = fill(|at| 2 + at % 3);
    assert_eq!(mixed.len(), 4095);
    // What comes home late goes to nobody else.
    drop(late);
    assert!(mixed.iter().all(|pool| pool.stats().idle_bytes == 0));
    drop(mixed);
    assert_eq!(fill(|_| 1).len(), 4095);
}
