//! Tiered buffer pool, aligned and pinned buffers, object pool, copy-on-write pages.

mod aligned;
mod block;
mod cache;
mod config;
mod depot;
mod error;
mod map;
mod pinned;
mod pool;
mod shard;
mod slab;
mod vec;

pub use aligned::{ALIGN_DEFAULT, ALIGN_MAX, AlignedBuf, AlignedOptions, Pages};
pub use config::{CLASS_BYTES_MIN, CLASSES_MAX, PER_THREAD_MAX, PoolConfig, SHARDS_MAX};
pub use error::BufferError;
pub use pinned::{Available, InKernel, PinnedBuf, Turn, leaked_bytes};
pub use pool::{Pool, PoolStats};
pub use slab::{Slab, SlabBuf};
pub use vec::PooledVec;
