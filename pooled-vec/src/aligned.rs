//! A buffer at a multiple of any power of two, as direct I/O and registered buffers need.

use crate::BufferError;
use crate::map::{HUGE_BYTES, Map, page_bytes};
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// The alignment of direct I/O on every common file system and device.
pub const ALIGN_DEFAULT: usize = 4096;
/// The largest alignment that can be asked for.
pub const ALIGN_MAX: usize = 1 << 30;

/// How an [`AlignedBuf`] is to be had.
///
/// ```
/// use pooled_vec::AlignedOptions;
/// let buffer = AlignedOptions::new().align(512).huge_pages(true).allocate(3 << 20)?;
/// assert_eq!((buffer.len(), buffer.as_ptr().align_offset(512)), (3 << 20, 0));
/// // Most machines have no huge pages reserved: then these are ordinary ones.
/// println!("{:?}, {:?}", buffer.pages(), buffer.huge_refused());
/// # Ok::<(), pooled_vec::BufferError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct AlignedOptions {
    align: usize,
    huge: bool,
    node: Option<u32>,
    lock: bool,
}

/// The pages beneath a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pages {
    /// The allocator's memory.
    Heap,
    /// Ordinary pages of a mapping of its own; transparent huge pages were asked for where huge ones were refused.
    Base,
    /// Reserved huge pages of 2 MiB.
    Huge,
}

/// Zeroed memory at a multiple of a power of two.
///
/// It derefs to a byte slice of exactly the length asked for. Plain ones come from the allocator and go back with
/// the layout that they came with; those with huge pages, a NUMA node or a lock are mappings of their own.
///
/// ```
/// use pooled_vec::AlignedBuf;
/// let mut buffer = AlignedBuf::new(8192)?;
/// assert!(buffer.as_ptr().align_offset(4096) == 0 && buffer.iter().all(|&b| b == 0));
/// buffer[..5].copy_from_slice(b"bytes");
/// # Ok::<(), pooled_vec::BufferError>(())
/// ```
pub struct AlignedBuf {
    ptr: NonNull<u8>,
    len: usize,
    align: usize,
    backing: Backing,
    huge_refused: Option<i32>,
}

enum Backing {
    Heap(Layout),
    Base(Map),
    Huge(Map),
}

// SAFETY: the buffer owns its memory, and hands out references under the usual borrows.
unsafe impl Send for AlignedBuf {}
// SAFETY: as above.
unsafe impl Sync for AlignedBuf {}

impl AlignedOptions {
    /// Begins with an alignment of 4096, ordinary pages, no node, no lock.
    pub const fn new() -> Self {
        Self {
            align: ALIGN_DEFAULT,
            huge: false,
            node: None,
            lock: false,
        }
    }

    /// Sets the alignment: a power of two up to 1 GiB, checked by [`allocate`](Self::allocate).
    pub const fn align(mut self, bytes: usize) -> Self {
        self.align = bytes;
        self
    }

    pub(crate) fn alignment(&self) -> usize {
        self.align.max(1)
    }

    /// Asks for reserved huge pages of 2 MiB, and takes ordinary ones where there are none.
    pub const fn huge_pages(mut self, huge: bool) -> Self {
        self.huge = huge;
        self
    }

    /// Places the memory on a NUMA node, or on whichever the first touch chooses (`None`).
    pub const fn numa_node(mut self, node: Option<u32>) -> Self {
        self.node = node;
        self
    }

    /// Keeps the memory from being paged out. Counts against `RLIMIT_MEMLOCK`.
    pub const fn locked(mut self, lock: bool) -> Self {
        self.lock = lock;
        self
    }

    /// Allocates `bytes` zeroed bytes.
    ///
    /// # Errors
    /// [`BufferError::InvalidAlignment`], [`BufferError::SizeTooLarge`], [`BufferError::AllocationFailed`],
    /// [`BufferError::NumaFailed`] for a node that is not there or a kernel that refuses, and
    /// [`BufferError::LockFailed`]. Huge pages that cannot be had are no error.
    pub fn allocate(self, bytes: usize) -> Result<AlignedBuf, BufferError> {
        let align = self.align;
        if !align.is_power_of_two() || align > ALIGN_MAX {
            return Err(BufferError::InvalidAlignment { align });
        }
        // Leaves room for what alignment and whole huge pages add.
        let max = isize::MAX as usize - align.max(HUGE_BYTES) * 2;
        if bytes > max {
            return Err(BufferError::SizeTooLarge { bytes, max });
        }
        if self.huge || self.node.is_some() || self.lock {
            self.map(bytes)
        } else {
            self.heap(bytes)
        }
    }

    fn heap(self, bytes: usize) -> Result<AlignedBuf, BufferError> {
        let align = self.align;
        let layout = Layout::from_size_align(bytes.max(1), align).map_err(|_| BufferError::SizeTooLarge {
            bytes,
            max: isize::MAX as usize - align,
        })?;
        // SAFETY: the layout is not empty.
        let ptr = unsafe { alloc_zeroed(layout) };
        let ptr = NonNull::new(ptr).ok_or(BufferError::AllocationFailed { bytes, errno: 0 })?;
        Ok(AlignedBuf {
            ptr,
            len: bytes,
            align,
            backing: Backing::Heap(layout),
            huge_refused: None,
        })
    }

    fn map(self, bytes: usize) -> Result<AlignedBuf, BufferError> {
        let mut refused = None;
        if self.huge {
            match self.map_huge(bytes)? {
                Ok(map) => return Ok(self.finish(bytes, Backing::Huge(map), None)),
                Err(errno) => refused = Some(errno),
            }
        }
        // Transparent huge pages need a huge page's alignment.
        let align = if self.huge && bytes >= HUGE_BYTES {
            self.align.max(HUGE_BYTES)
        } else {
            self.align.max(page_bytes())
        };
        let map = Map::pages(bytes, align).map_err(|errno| BufferError::AllocationFailed { bytes, errno })?;
        if let Some(node) = self.node {
            map.bind(node)?;
        }
        if self.huge {
            map.advise_huge();
        }
        if self.lock {
            map.lock()?;
        }
        Ok(self.finish(bytes, Backing::Base(map), refused))
    }

    /// Huge pages; the inner error is the one to fall back from.
    fn map_huge(self, bytes: usize) -> Result<Result<Map, i32>, BufferError> {
        let map = match Map::huge(bytes, self.align) {
            Ok(map) => map,
            Err(errno) => return Ok(Err(errno)),
        };
        if let Some(node) = self.node {
            map.bind(node)?;
        }
        // The reservation does not look at the node or the control group: without this, touching could be SIGBUS.
        if let Err(errno) = map.populate() {
            return Ok(Err(errno));
        }
        if self.lock {
            map.lock()?;
        }
        Ok(Ok(map))
    }

    fn finish(self, bytes: usize, backing: Backing, huge_refused: Option<i32>) -> AlignedBuf {
        let ptr = match &backing {
            Backing::Base(map) | Backing::Huge(map) => map.ptr(),
            Backing::Heap(_) => unreachable!("a heap buffer is finished where it is made"),
        };
        AlignedBuf {
            ptr,
            len: bytes,
            align: self.align,
            backing,
            huge_refused,
        }
    }
}

impl Default for AlignedOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl AlignedBuf {
    /// Allocates `bytes` zeroed bytes at a multiple of 4096.
    ///
    /// # Errors
    /// As [`AlignedOptions::allocate`].
    pub fn new(bytes: usize) -> Result<Self, BufferError> {
        AlignedOptions::new().allocate(bytes)
    }

    /// Allocates `bytes` zeroed bytes at a multiple of `align`.
    ///
    /// # Errors
    /// As [`AlignedOptions::allocate`].
    pub fn with_align(bytes: usize, align: usize) -> Result<Self, BufferError> {
        AlignedOptions::new().align(align).allocate(bytes)
    }

    /// The alignment that was asked for.
    #[inline]
    pub fn align(&self) -> usize {
        self.align
    }

    /// The pages beneath.
    pub fn pages(&self) -> Pages {
        match self.backing {
            Backing::Heap(_) => Pages::Heap,
            Backing::Base(_) => Pages::Base,
            Backing::Huge(_) => Pages::Huge,
        }
    }

    /// The kernel's error number where huge pages were asked for and refused; `ENOMEM` means that none are reserved
    /// (`/proc/sys/vm/nr_hugepages`).
    #[inline]
    pub fn huge_refused(&self) -> Option<i32> {
        self.huge_refused
    }

    /// Bytes that the buffer takes: whole pages, or on the heap the most that the alignment makes the allocator set aside.
    pub fn footprint_bytes(&self) -> usize {
        match &self.backing {
            // Any allocator aligns to two words at no cost.
            Backing::Heap(layout) if layout.align() <= 2 * size_of::<usize>() => layout.size(),
            Backing::Heap(layout) => layout.size() + layout.align(),
            Backing::Base(map) | Backing::Huge(map) => map.len(),
        }
    }

    /// The first byte, for the kernel or a slice of one's own making. Valid as long as the buffer.
    #[inline]
    pub fn as_non_null(&self) -> NonNull<u8> {
        self.ptr
    }
}

impl Drop for AlignedBuf {
    fn drop(&mut self) {
        if let Backing::Heap(layout) = self.backing {
            // SAFETY: allocated with this very layout, and freed once.
            unsafe { dealloc(self.ptr.as_ptr(), layout) };
        }
    }
}

impl Deref for AlignedBuf {
    type Target = [u8];
    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: `len` initialised bytes that the buffer owns.
        unsafe { std::slice::from_raw_parts(self.ptr.as_ptr(), self.len) }
    }
}

impl DerefMut for AlignedBuf {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `&mut self` is the only borrow.
        unsafe { std::slice::from_raw_parts_mut(self.ptr.as_ptr(), self.len) }
    }
}

impl AsRef<[u8]> for AlignedBuf {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl AsMut<[u8]> for AlignedBuf {
    fn as_mut(&mut self) -> &mut [u8] {
        self
    }
}

impl fmt::Debug for AlignedBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AlignedBuf")
            .field("len", &self.len)
            .field("align", &self.align)
            .field("pages", &self.pages())
            .finish_non_exhaustive()
    }
}
