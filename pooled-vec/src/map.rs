//! Anonymous memory from the kernel, unmapped by exactly the length that was mapped.
//!
//! `munmap` of huge pages fails with `EINVAL` unless its length is a whole number of huge pages, so the length of the
//! mapping is kept and never the length of the buffer.

use crate::BufferError;
use std::io;
use std::ptr::{self, NonNull};

/// The huge page that every x86-64 and most arm64 kernels have.
pub(crate) const HUGE_BYTES: usize = 2 << 20;
/// Nodes that one `mbind` can name: the most that Linux can be built for.
const NODES: usize = 1024;

/// A private anonymous mapping, unmapped on drop.
#[derive(Debug)]
pub(crate) struct Map {
    ptr: NonNull<u8>,
    len: usize,
}

// SAFETY: a mapping is memory that the value owns, reachable from any thread.
unsafe impl Send for Map {}
// SAFETY: `&Map` gives out an address and a length alone.
unsafe impl Sync for Map {}

fn errno() -> i32 {
    io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// The size of an ordinary page.
pub(crate) fn page_bytes() -> usize {
    // SAFETY: reads a constant of the system.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(bytes).unwrap_or(4096)
}

impl Map {
    /// Maps ordinary pages at a multiple of `align`.
    pub(crate) fn pages(bytes: usize, align: usize) -> Result<Self, i32> {
        Self::aligned(bytes, align, page_bytes(), 0)
    }

    /// Maps huge pages and touches each, so that their absence is an error here and not a signal later.
    pub(crate) fn huge(bytes: usize, align: usize) -> Result<Self, i32> {
        Self::aligned(bytes, align, HUGE_BYTES, libc::MAP_HUGETLB | libc::MAP_HUGE_2MB)
    }

    /// Maps whole pages of `page` bytes. Where `align` is more than a page it maps that much more and unmaps what
    /// lies on either side.
    fn aligned(bytes: usize, align: usize, page: usize, flags: i32) -> Result<Self, i32> {
        let len = bytes.max(1).checked_next_multiple_of(page).ok_or(libc::ENOMEM)?;
        let extra = if align > page { align } else { 0 };
        let mut map = Self::fresh(len.checked_add(extra).ok_or(libc::ENOMEM)?, flags)?;
        if extra == 0 {
            return Ok(map);
        }
        let before = map.ptr.as_ptr().align_offset(align);
        let tail = map.split_off(before + len);
        let kept = map.split_off(before);
        drop((map, tail));
        Ok(kept)
    }

    fn fresh(len: usize, flags: i32) -> Result<Self, i32> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | flags;
        // SAFETY: asks for fresh memory at an address of the kernel's choice.
        let at = unsafe { libc::mmap(ptr::null_mut(), len, protection, flags, -1, 0) };
        if at == libc::MAP_FAILED {
            return Err(errno());
        }
        let ptr = NonNull::new(at.cast()).ok_or(libc::ENOMEM)?;
        Ok(Self { ptr, len })
    }

    /// Cuts the mapping in two at `at`, a multiple of its page size.
    fn split_off(&mut self, at: usize) -> Self {
        // SAFETY: the callers cut within the mapping, or at its end.
        let ptr = unsafe { self.ptr.add(at) };
        let tail = Self {
            ptr,
            len: self.len - at,
        };
        self.len = at;
        tail
    }

    pub(crate) fn ptr(&self) -> NonNull<u8> {
        self.ptr
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Asks for transparent huge pages. A hint: the kernel may not know it.
    pub(crate) fn advise_huge(&self) {
        // SAFETY: the whole of our own mapping.
        let _ = unsafe { libc::madvise(self.ptr.as_ptr().cast(), self.len, libc::MADV_HUGEPAGE) };
    }

    /// Touches every page for writing. Kernels before 5.14 cannot, and say `EINVAL`: they touch them at first use.
    pub(crate) fn populate(&self) -> Result<(), i32> {
        // SAFETY: the whole of our own mapping.
        let done = unsafe { libc::madvise(self.ptr.as_ptr().cast(), self.len, libc::MADV_POPULATE_WRITE) };
        match if done == 0 { 0 } else { errno() } {
            0 | libc::EINVAL => Ok(()),
            errno => Err(errno),
        }
    }

    /// Places the pages on one node. Call it before they are touched.
    pub(crate) fn bind(&self, node: u32) -> Result<(), BufferError> {
        let nodes = online_nodes();
        let node_max = nodes.as_ref().and_then(|nodes| nodes.iter().copied().max());
        let refused = |errno| BufferError::NumaFailed {
            node,
            node_max,
            errno,
        };
        if nodes.is_some_and(|nodes| !nodes.contains(&node)) || node as usize >= NODES {
            return Err(refused(0));
        }
        let mut mask = [0u64; NODES / 64];
        mask[node as usize / 64] |= 1 << (node % 64);
        // SAFETY: the whole of our own mapping, and a mask of the `NODES` bits that are announced. The kernel reads
        // one bit fewer than it is told of.
        let done = unsafe {
            libc::syscall(
                libc::SYS_mbind,
                self.ptr.as_ptr(),
                self.len,
                libc::MPOL_BIND,
                mask.as_ptr(),
                NODES + 1,
                0,
            )
        };
        if done == 0 { Ok(()) } else { Err(refused(errno())) }
    }

    /// Keeps the pages in memory; unmapping unlocks them.
    pub(crate) fn lock(&self) -> Result<(), BufferError> {
        // SAFETY: the whole of our own mapping.
        let done = unsafe { libc::mlock(self.ptr.as_ptr().cast(), self.len) };
        if done == 0 {
            return Ok(());
        }
        Err(BufferError::LockFailed {
            bytes: self.len,
            errno: errno(),
            limit: lock_limit(),
        })
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        if self.len == 0 {
            return; // The empty side of a cut.
        }
        // SAFETY: our own mapping, whole, once.
        let done = unsafe { libc::munmap(self.ptr.as_ptr().cast(), self.len) };
        debug_assert_eq!(done, 0, "the kernel unmaps what it mapped: errno {}", errno());
    }
}

/// Bytes that the process may lock; `None` without a limit.
fn lock_limit() -> Option<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: writes the structure that it is given.
    let done = unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &mut limit) };
    (done == 0 && limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur)
}

/// The nodes that have memory to give; `None` where the kernel does not say.
fn online_nodes() -> Option<Vec<u32>> {
    let text = std::fs::read_to_string("/sys/devices/system/node/online").ok()?;
    parse_list(text.trim())
}

/// Reads a kernel list such as `0-1,4`.
fn parse_list(text: &str) -> Option<Vec<u32>> {
    let mut list = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        list.extend(first.parse::<u32>().ok()?..=last.parse::<u32>().ok()?);
    }
    Some(list)
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn b17_huge_lengths_are_whole_huge_pages_or_an_error() {
        for bytes in [1, HUGE_BYTES - 1, HUGE_BYTES, HUGE_BYTES + 1] {
            match Map::huge(bytes, 4096) {
                Ok(map) => assert!(map.len().is_multiple_of(HUGE_BYTES) && map.len() >= bytes),
                Err(errno) => assert_ne!(errno, 0, "none reserved: the caller falls back"),
            }
        }
    }

    #[test]
    fn a11_kernel_lists_parse() {
        assert_eq!(parse_list("0"), Some(vec![0]));
        assert_eq!(parse_list("0-1,4"), Some(vec![0, 1, 4]));
        assert_eq!(parse_list(""), None);
        assert_eq!(parse_list("a-b"), None);
    }
}
