//! Memory that is used again: buffers, aligned and pinned blocks, objects, arenas, shared pages.
//!
//! A server that takes a buffer from the allocator for every request pays twice: for the call, and for the memory that
//! one thread frees and another needs. This crate keeps memory by size, by thread and by CPU, and gives it back to the
//! allocator only past a bound.
//!
//! ```
//! use pooled_vec::PooledVec;
//! use std::io::Write;
//! let mut reply = PooledVec::new(); // 4 KiB, empty; a `Vec<u8>` in all it does
//! write!(reply, "HTTP/1.1 200 OK\r\n\r\n").unwrap();
//! std::thread::spawn(move || drop(reply)).join().unwrap(); // back to the pool from wherever it is dropped
//! ```
//!
//! | want | take |
//! |---|---|
//! | a byte buffer now and then | [`PooledVec::new`], [`PooledVec::with_capacity`]: the process's global pool |
//! | buffers of your own sizes, bounds, statistics | [`Pool`] with a [`PoolConfig`] |
//! | memory for direct I/O, on huge pages, on a NUMA node, locked | [`AlignedBuf`] by [`AlignedOptions`] |
//! | memory that the kernel reads or writes behind your back | [`PinnedBuf`]: whose turn it is is its type |
//! | many equal slots, registered as one | [`Slab`] |
//! | objects that are dear to make | [`ObjectPool`] |
//! | aligned memory, cached by thread | an [`ObjectPool`] of [`AlignedBuf`]s |
//! | everything that one request allocates, freed at once | `Arena`, `ArenaPool` (feature `arena`, on by default) |
//! | memory images that fork | [`CowMemory`] |
//! | secrets | `SecretVec` (feature `zeroize`) |
//! | `bytes::Buf`, `BufMut`, `Bytes` | feature `bytes`: `PooledVec::freeze`, `into_buf` |
//!
//! # Two levels
//!
//! Each thread keeps up to 16 idle buffers of each class for itself and reaches them without an atomic operation.
//! What it has too many of goes, half a cache at a time, to the shard of the CPU that it runs on; what it lacks comes
//! from there, or from another CPU's shard. So buffers that one thread gets and another drops go round without the
//! allocator. Idle bytes, caches and shards together, never exceed [`PoolConfig::idle_bytes_max`].
//!
//! Memory may outlive its pool, and a pool its threads. A thread that ends gives back what it kept; destructors that run
//! later still go to the shards directly. Memory whose pool is gone is freed when it is dropped, even when another
//! pool lives at the old one's place by then: pools are told apart by a generation that is never used twice.
//!
//! # When not to use it
//!
//! - Buffers that live as long as a connection: allocate them once.
//! - Buffers that must be zero: these are not. [`AlignedBuf`] is; zeroing costs more than the rest of a get.
//! - A program whose allocator has fast thread caches and that never drops elsewhere what it got here gains little.
//! - Sizes all over the place: a class holds its worst case. Look at [`Pool::stats`] for `refusals` and `allocations`.
//!
//! # Costs
//!
//! | what | claim |
//! |---|---|
//! | get and drop on one thread, on two | `pool.4k.1t`, `pool.4k.2t` |
//! | get here, drop there | `pool.cross` |
//! | allocator calls in steady state: none | `pool.allocs` |
//! | memory of forked images | `cow.save` |
//!
//! `cargo xtask claims --only pool` measures them beside glibc, jemalloc, mimalloc and opool; docs/BENCHMARKS.md has the
//! figures, those that do not hold included.
//!
//! # What is checked
//!
//! The hand-over of batches, gets that wait for a held shard, a pool's death under late returns, rebirth in the same
//! place, the bound on idle bytes, slab leases and page counts are explored by loom in the code that ships (`cargo xtask loom --only pooled_vec`), three
//! threads each. The thread's own cache is sequential; property tests compare it with plain vectors. The tests are clean
//! under the address and leak sanitizers, and traffic between threads under the thread sanitizer (`cargo xtask sanitize`).
//!
//! Linux is what the mappings, `mbind` and CPU numbers are written for.

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
mod seat;
#[cfg(feature = "zeroize")]
mod secret;
mod shard;
mod shared;
mod slab;
mod table;
mod tally;
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
pub use vec::{IntoIter, PooledVec};
