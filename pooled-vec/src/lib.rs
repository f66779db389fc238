//! Tiered buffer pool, aligned and pinned buffers, object pool, copy-on-write pages.

mod aligned;
#[cfg(feature = "arena")]
mod arena;
mod block;
mod cache;
mod config;
mod cow;
mod depot;
mod error;
#[cfg(feature = "bytes")]
mod interop;
mod map;
mod object;
mod pinned;
mod pool;
#[cfg(feature = "zeroize")]
mod secret;
mod shard;
mod shared;
mod slab;
mod vec;

pub use aligned::{ALIGN_DEFAULT, ALIGN_MAX, AlignedBuf, AlignedOptions, Pages};
#[cfg(feature = "arena")]
pub use arena::{Arena, ArenaPool};
pub use cache::flush_thread;
pub use config::{CLASS_BYTES_MIN, CLASSES_MAX, PER_THREAD_MAX, PoolConfig, SHARDS_MAX};
pub use cow::{CowMemory, CowPages, OutOfBounds, PAGE_BYTES};
pub use error::BufferError;
#[cfg(feature = "bytes")]
pub use interop::PooledBuf;
pub use object::{ObjectPool, Pooled};
pub use pinned::{Available, InKernel, PinnedBuf, Turn, leaked_bytes};
pub use pool::{Pool, PoolStats};
#[cfg(feature = "zeroize")]
pub use secret::SecretVec;
pub use slab::{Slab, SlabBuf};
pub use vec::PooledVec;
