//! Completions of a ring that is gone.
//!
//! When a ring's descriptor and mappings go, the kernel ends its requests and still writes their completions into the
//! queue, which nobody maps any more; then it frees the pages. A descriptor that such a completion brings would stay
//! open for ever. So the dying ring splices the pages of its queue into a pipe: that holds a reference to the *pages*
//! and none to the ring, unlike a mapping, which would keep the ring alive. Once the ring is entirely gone, reading the
//! pipe gives the queue as the kernel left it.
//!
//! Works where the queue consists of ordinary pages (Linux 6.10); before that `vmsplice` fails with `EFAULT`, and what
//! comes late is not known.

use super::Posthumous;
use crate::sys::abi::Cqe;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// Where `mmap` of a ring's descriptor finds the completion queue.
const CQ_RING: i64 = 0x0800_0000;
const PAGE: usize = 4096;
const CQE_BYTES: usize = 16;

/// Where things lie in the mapping: the parts used of `struct io_cqring_offsets`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    pub(super) head: u32,
    pub(super) tail: u32,
    pub(super) cqes: u32,
    pub(super) entries: u32,
}

/// The pages of a completion queue, held by a pipe.
pub(super) struct Relics {
    pages: File,
    layout: Layout,
    bytes: usize,
}

impl Relics {
    /// Holds the pages of the queue of the ring `fd`, whose layout is as said.
    pub(super) fn hold(fd: RawFd, layout: Layout) -> io::Result<Self> {
        let bytes = layout.cqes as usize + layout.entries as usize * CQE_BYTES;
        let pages = bytes.div_ceil(PAGE);
        let mut ends = [0; 2];
        // SAFETY: writes two descriptors.
        if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: two descriptors just made, owned by nobody else.
        let [read, write] = ends.map(|end| unsafe { OwnedFd::from_raw_fd(end) });
        // SAFETY: sets the capacity of the pipe.
        if unsafe { libc::fcntl(write.as_raw_fd(), libc::F_SETPIPE_SZ, pages * PAGE) } < 0 {
            return Err(io::Error::last_os_error());
        }
        let flags = libc::MAP_SHARED | libc::MAP_POPULATE;
        // SAFETY: a new mapping at an address of the kernel's choice.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), bytes, libc::PROT_READ, flags, fd, CQ_RING) };
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let range = libc::iovec {
            iov_base: at,
            iov_len: bytes,
        };
        // SAFETY: the range was just mapped.
        let held = unsafe { libc::vmsplice(write.as_raw_fd(), &range, 1, libc::SPLICE_F_NONBLOCK) };
        let error = io::Error::last_os_error();
        // SAFETY: mapped above, and pointed to by nobody: the pipe refers to the pages.
        unsafe { libc::munmap(at, bytes) };
        match held {
            -1 => Err(error),
            held if held as usize == bytes => Ok(Self {
                pages: File::from(read),
                layout,
                bytes,
            }),
            _ => Err(io::Error::from_raw_os_error(libc::EAGAIN)),
        }
    }
}

impl Posthumous for Relics {
    fn completions(&mut self) -> Vec<Cqe> {
        let mut queue = vec![0; self.bytes];
        match self.pages.read_exact(&mut queue) {
            Ok(()) => left_in(&queue, self.layout),
            Err(_) => Vec::new(),
        }
    }
}

/// The completions between head and tail.
fn left_in(queue: &[u8], layout: Layout) -> Vec<Cqe> {
    let word = |at: usize| queue[at..].first_chunk().map_or(0, |b| u32::from_ne_bytes(*b));
    let (head, tail) = (word(layout.head as usize), word(layout.tail as usize));
    let count = tail.wrapping_sub(head).min(layout.entries);
    (0..count)
        .map(|i| {
            let index = head.wrapping_add(i) & (layout.entries - 1);
            let at = layout.cqes as usize + index as usize * CQE_BYTES;
            Cqe {
                user_data: u64::from(word(at)) | u64::from(word(at + 4)) << 32,
                result: word(at + 8) as i32,
                flags: word(at + 12),
            }
        })
        .collect()
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn d7_what_lies_between_head_and_tail_is_read_across_the_wrap() {
        let layout = Layout {
            head: 0,
            tail: 4,
            cqes: 8,
            entries: 2,
        };
        let mut queue = vec![0u8; 8 + 2 * CQE_BYTES];
        queue[..4].copy_from_slice(&3u32.to_ne_bytes());
        queue[4..8].copy_from_slice(&5u32.to_ne_bytes());
        for (index, name) in [(1, 30u64), (0, 40)] {
            let at = 8 + index * CQE_BYTES;
            queue[at..at + 8].copy_from_slice(&name.to_ne_bytes());
            queue[at + 8..at + 12].copy_from_slice(&(-7i32).to_ne_bytes());
            queue[at + 12..at + 16].copy_from_slice(&2u32.to_ne_bytes());
        }
        let left = left_in(&queue, layout);
        let names: Vec<_> = left.iter().map(|c| (c.user_data, c.result, c.flags)).collect();
        assert_eq!(names, [(30, -7, 2), (40, -7, 2)]);
    }
}
