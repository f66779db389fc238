//! Typed operations, one file a family.
//!
//! Each is a plain value that owns what it needs. Give it to a ring in any style: [`Core::submit`](crate::Core::submit)
//! (token), `submit_with` (callback) or [`Core::run`](crate::Core::run) (future). Every one gives back what it owns, on
//! every path.
//!
//! | family | operations |
//! |---|---|
//! | reading and writing | [`Read`], [`Write`], [`ReadV`], [`WriteV`], [`ReadLeased`], [`Splice`], [`Tee`] |
//! | files | [`Open`], [`Close`], [`Fsync`], [`SyncFileRange`], [`Fallocate`], [`Ftruncate`], [`Fadvise`], [`Statx`], [`GetXattr`], [`SetXattr`] |
//! | paths | [`Rename`], [`Unlink`], [`Mkdir`], [`Symlink`], [`Link`], [`GetXattrAt`], [`SetXattrAt`] |
//! | sockets | [`Socket`], [`Bind`], [`Listen`], [`Accept`], [`Connect`], [`Shutdown`] |
//! | messages | [`Send`], [`Recv`], [`RecvLeased`], [`Receiving`], [`SendMsg`], [`RecvMsg`] |
//! | files without a descriptor | [`Direct`] of an open, accept or socket, [`Install`] |
//! | rings | [`Message`], [`Inbox`], [`PassFd`] |
//! | waiting | [`Poll`], [`Timeout`], [`Within`], [`FutexWait`], [`FutexWake`], [`WaitId`] |
//! | memory | [`Madvise`] |
//! | the rest | [`Nop`], [`Raw`] |
//!
//! What a kernel does not have fails with [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) and tells the version
//! that has it ([`Error::missing_operation`](crate::Error::missing_operation)); `uring probe` lists them all. Each file's header
//! names the system call that an operation stands for.

use crate::error::Error;
use crate::ring::Outcome;
use crate::sys::probe::judge;

/// The result of a completion, with what this kernel lacks told apart from what it refused.
#[inline]
fn result_of(outcome: Outcome, opcode: u8) -> Result<u32, Error> {
    outcome.result().map_err(|error| judge(error, opcode))
}

/// Implements [`Operation`](crate::Operation) for a type whose entry names no memory, or memory that the value owns at a
/// place of its own, and which only succeeds or fails.
macro_rules! succeeds_or_fails {
    // SAFETY of each use: said where it is used, in the comment that `$safety` repeats.
    ($op:ident, $($generic:ident)?, $code:expr, $safety:literal, |$this:ident| $entry:expr) => {
        impl $(<$generic: IoFd>)? Sealed for $op $(<$generic>)? {}

        // SAFETY: given with each use.
        #[doc = concat!("The entry names ", $safety, ".")]
        unsafe impl $(<$generic: IoFd>)? Operation for $op $(<$generic>)? {
            type Output = Result<(), Error>;

            $(
                fn belongs_to(&self, ring: u32) -> bool {
                    let fd: &$generic = &self.fd;
                    fd.target().belongs_to(ring)
                }
            )?

            fn entry(&mut self) -> Sqe {
                let $this = self;
                $entry
            }

            fn finish(self, outcome: Outcome) -> Self::Output {
                super::result_of(outcome, $code).map(drop)
            }
        }
    };
}

mod accept;
mod address;
mod advise;
mod close;
mod direct;
mod file;
mod futex;
mod leased;
mod message;
mod msg;
mod nop;
mod open;
mod path;
mod place;
mod poll;
mod raw;
mod send;
mod socket;
mod space;
mod splice;
mod stat;
mod sync;
mod target;
mod time;
mod vectored;
mod waitid;
mod xattr;

pub use crate::file::FixedFd;
pub use accept::Accept;
pub use address::Address;
pub use advise::{Fadvise, Madvise, MemoryUse};
pub use close::Close;
pub use direct::{Direct, Install, Opens};
pub use file::{Read, Write};
pub use futex::{FutexWait, FutexWake, Word};
pub use leased::{ReadLeased, Receiving, RecvLeased};
pub use message::{Inbox, Mailbox, Message, PassFd, SlotOffer};
pub use msg::{Control, Received, RecvMsg, SendMsg};
pub use nop::Nop;
pub use open::Open;
pub use path::{Link, Mkdir, Rename, Symlink, Unlink};
pub use poll::Poll;
pub use raw::Raw;
pub use send::{Recv, Send, ZERO_COPY_FROM};
pub use socket::{Bind, Connect, Listen, Shutdown, Socket};
pub use space::{Fallocate, Ftruncate};
pub use splice::{Splice, Tee};
pub use stat::{Stat, Statx};
pub use sync::{Fsync, SyncFileRange};
pub use target::{IoFd, Target};
pub use time::{Timeout, Within};
pub use vectored::{ReadV, WriteV};
pub use waitid::{ChildEvent, Children, WaitId};
pub use xattr::{GetXattr, GetXattrAt, SetXattr, SetXattrAt};
