//! Files and streams as the rest of the ecosystem reads and writes them.
//!
//! A ring's operations own their buffers; `AsyncRead` and its kin lend theirs for one call. [`AsyncFile`] and [`AsyncStream`]
//! stand between: each direction has one buffer of its own, allocated at its first use, that goes into the ring with an
//! operation and comes back with the completion. What that costs is one copy; no operation allocates.
//!
//! They implement the traits of `futures-io` and of tokio, by the features of those names, and depend on no runtime: whoever
//! turns the ring ([`Core::block_on`], a [`Driver`](crate::Driver), a loop of the caller's) wakes them.
//!
//! - **A call that is given up** loses nothing: what a dropped read brings waits for the next one; a write says how much it
//!   took in the same call in which it took it. Dropping the adapter cancels what is in flight, and the ring keeps the
//!   buffer until the kernel is done with it.
//! - **Writes are behind the caller**: `write` returns when the bytes are the ring's. `flush`, `close` and `shutdown` wait for
//!   them and report their error, and so does the next write. Flush before you drop the adapter, and before you wait for an
//!   answer by other means than this adapter.
//! - **A ring without room** makes a call wait, never fail: it is woken when there is some.
//! - **A descriptor that does not block** is waited for.
//!
//! When not to use them: a server with many idle connections does better with [`RecvLeased`](crate::op::RecvLeased), which
//! holds no memory for a connection that says nothing; and code of your own needs no copy if it gives the ring its buffers.
//!
//! ```
//! # #[cfg(feature = "tokio")] {
//! use std::sync::Arc;
//! use tokio::io::{AsyncReadExt, AsyncSeekExt};
//! use uring_core::{adapt::AsyncFile, block_on};
//! let text = block_on(async |ring| {
//!     let mut file = AsyncFile::new(ring, Arc::new(std::fs::File::open("/proc/self/exe")?));
//!     file.seek(std::io::SeekFrom::Start(1)).await?;
//!     let mut text = [0; 3];
//!     file.read_exact(&mut text).await?;
//!     std::io::Result::Ok(text)
//! }).unwrap().unwrap();
//! assert_eq!(&text, b"ELF");
//! # }
//! ```

mod both;
mod file;
#[cfg(feature = "futures-io")]
mod futures_traits;
mod inlet;
mod outlet;
mod stream;
#[cfg(feature = "tokio")]
mod tokio_traits;

pub use file::AsyncFile;
pub use stream::AsyncStream;

use crate::error::{Error, Rejected};
use crate::ring::{Core, Flight, Operation};
use std::io;
use std::task::{Poll, Waker};

/// Bytes of a buffer unless said otherwise.
const CAPACITY: usize = 16 << 10;

/// The ring to work on, and whom its completions wake.
#[derive(Clone, Copy)]
struct On<'a> {
    core: &'a Core,
    waker: &'a Waker,
}

impl On<'_> {
    fn poll<O: Operation>(self, flight: &mut Flight<O>) -> Poll<Result<O::Output, Rejected<O>>> {
        flight.poll(self.core, self.waker)
    }

    /// Asks for the cancellation of what is in flight; it still completes.
    fn cancel<O: Operation>(self, flight: &Flight<O>) {
        if let Flight::Flying(id) = flight {
            // It fails when it completed already.
            let _ = self.core.cancel(*id);
        }
    }

    /// A submission was not taken: waits for room, or fails.
    fn refused(self, error: Error) -> Poll<io::Result<()>> {
        if !error.is_retryable() {
            return Poll::Ready(Err(error.into()));
        }
        self.core.wait_for_room(self.waker);
        Poll::Pending
    }
}
