//! Saying beforehand how a file or memory will be used: `posix_fadvise(2)`, `madvise(2)`.

use super::result_of;
use super::target::IoFd;
use crate::buffer::IoBufMut;
use crate::error::Error;
use crate::ring::operation::sealed::Sealed;
use crate::ring::{Operation, Outcome};
use crate::sys::abi::{Sqe, code};

/// Says how a part of a file will be used.
#[derive(Debug)]
pub struct Fadvise<D> {
    fd: D,
    offset: u64,
    len: u64,
    advice: i32,
}

impl<D: IoFd> Fadvise<D> {
    /// Names the bytes (0 for all up to the end) and the use (`POSIX_FADV_WILLNEED`, ...). From 4 GiB on the length needs
    /// Linux 6.11.
    pub fn new(fd: D, offset: u64, len: u64, advice: i32) -> Self {
        Self {
            fd,
            offset,
            len,
            advice,
        }
    }
}

succeeds_or_fails!(Fadvise, D, code::FADVISE, "no memory", |this| {
    let short = u32::try_from(this.len);
    Sqe {
        off: this.offset,
        addr: short.map_or(this.len, |_| 0),
        len: short.unwrap_or(0),
        op_flags: this.advice as u32,
        ..this.fd.target().entry(code::FADVISE)
    }
});

/// A use of memory that changes nothing of what is in it. What `madvise(2)` offers beyond that drops content, of the whole
/// pages that a range touches: reach it through [`Raw`](super::Raw).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MemoryUse {
    /// Nothing special.
    Normal,
    /// In no order.
    Random,
    /// From front to back.
    Sequential,
    /// Soon: it is read ahead.
    WillNeed,
    /// Not soon: reclaim it first.
    Cold,
    /// Not soon: reclaim it now.
    PageOut,
    /// In huge pages.
    HugePages,
    /// In small pages.
    SmallPages,
    /// Soon: every page is made present, to be read.
    PopulateRead,
    /// Soon: every page is made present, to be written.
    PopulateWrite,
}

impl MemoryUse {
    const fn advice(self) -> i32 {
        match self {
            Self::Normal => libc::MADV_NORMAL,
            Self::Random => libc::MADV_RANDOM,
            Self::Sequential => libc::MADV_SEQUENTIAL,
            Self::WillNeed => libc::MADV_WILLNEED,
            Self::Cold => libc::MADV_COLD,
            Self::PageOut => libc::MADV_PAGEOUT,
            Self::HugePages => libc::MADV_HUGEPAGE,
            Self::SmallPages => libc::MADV_NOHUGEPAGE,
            Self::PopulateRead => libc::MADV_POPULATE_READ,
            Self::PopulateWrite => libc::MADV_POPULATE_WRITE,
        }
    }
}

/// Says how a buffer will be used. Gives `(result, buffer)`.
///
/// The buffer must begin at a page, as an `AlignedBuf` does; the kernel refuses another as invalid. From 4 GiB on the
/// length needs Linux 6.11.
#[derive(Debug)]
pub struct Madvise<B> {
    buf: B,
    usage: MemoryUse,
}

impl<B: IoBufMut> Madvise<B> {
    /// Names the buffer and its use.
    pub fn new(buf: B, usage: MemoryUse) -> Self {
        Self { buf, usage }
    }
}

impl<B: IoBufMut> Sealed for Madvise<B> {}

// SAFETY: the entry names the buffer, whose content no `MemoryUse` changes, and which stays where it is by the contract of
// `IoBufMut`.
unsafe impl<B: IoBufMut> Operation for Madvise<B> {
    type Output = (Result<(), Error>, B);

    fn entry(&mut self) -> Sqe {
        let bytes = self.buf.bytes_total();
        let short = u32::try_from(bytes);
        Sqe {
            addr: self.buf.stable_mut_ptr() as u64,
            off: short.map_or(bytes as u64, |_| 0),
            len: short.unwrap_or(0),
            op_flags: self.usage.advice() as u32,
            ..Sqe::new(code::MADVISE, -1)
        }
    }

    fn finish(self, outcome: Outcome) -> Self::Output {
        (result_of(outcome, code::MADVISE).map(drop), self.buf)
    }
}
