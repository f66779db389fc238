//! Memory images that share their pages until one of them writes.

use crate::shared::Shared;
use std::fmt;

/// Bytes of a page.
pub const PAGE_BYTES: usize = 4096;
/// Pages of a leaf: what the first write after a fork copies the handles of.
const LEAF_PAGES: usize = 64;
const LEAF_BYTES: usize = PAGE_BYTES * LEAF_PAGES;

type Page = [u8; PAGE_BYTES];

/// Handles of neighbouring pages; a page that nobody wrote to is absent, and reads as zeros.
#[derive(Clone)]
struct Leaf([Option<Shared<Page>>; LEAF_PAGES]);

impl Leaf {
    fn empty() -> Self {
        Self([const { None }; LEAF_PAGES])
    }
}

/// A memory image, such as a process's, that forks without copying.
///
/// A fork shares every page with its parent. The first write to a page by either side copies that page for the writer;
/// the last one left with a page writes in place. An image is read by any number of threads at once, and images that
/// share pages are read and written by different threads without a lock.
///
/// Memory taken for images that differ in few pages: claim `cow.save`.
///
/// ```
/// use pooled_vec::CowMemory;
/// let mut parent = CowMemory::new(1 << 20);
/// parent.write(5000, b"shared")?;
/// let mut child = parent.fork();
/// child.write(5000, b"child!")?;
/// let mut seen = [0; 6];
/// parent.read(5000, &mut seen)?;
/// assert_eq!(&seen, b"shared");
/// assert_eq!((child.pages().shared, child.pages().own), (0, 1));
/// # Ok::<(), pooled_vec::OutOfBounds>(())
/// ```
#[derive(Clone)]
pub struct CowMemory {
    leaves: Vec<Option<Shared<Leaf>>>,
    bytes: usize,
    copied: u64,
}

/// How an image's pages stand at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CowPages {
    /// Pages that other images hold too.
    pub shared: usize,
    /// Pages that this image alone holds.
    pub own: usize,
    /// Pages never written to, which take no memory.
    pub absent: usize,
    /// Pages that this image's writes have copied.
    pub copied: u64,
}

/// A range that is not within the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfBounds {
    /// Where the range begins.
    pub offset: usize,
    /// Its length.
    pub len: usize,
    /// Bytes of the image.
    pub size: usize,
}

impl fmt::Display for OutOfBounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} bytes at offset {} are not within an image of {} bytes; map a larger one, or check the range first",
            self.len, self.offset, self.size
        )
    }
}

impl std::error::Error for OutOfBounds {}

impl CowMemory {
    /// Makes an image of `bytes` zeros. Allocates one pointer for each 256 KiB, and no page.
    pub fn new(bytes: usize) -> Self {
        Self {
            leaves: vec![None; bytes.div_ceil(LEAF_BYTES)],
            bytes,
            copied: 0,
        }
    }

    /// Bytes of the image.
    #[inline]
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// Whether the image has no bytes.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Makes an image that shares every page with this one. One counter per 256 KiB, no page copied.
    pub fn fork(&self) -> Self {
        Self {
            copied: 0,
            ..self.clone()
        }
    }

    /// Copies bytes out. Never blocks, never allocates.
    ///
    /// # Errors
    /// [`OutOfBounds`], with nothing read.
    pub fn read(&self, offset: usize, into: &mut [u8]) -> Result<(), OutOfBounds> {
        self.check(offset, into.len())?;
        let mut into = into;
        let mut at = offset;
        while !into.is_empty() {
            let within = at % PAGE_BYTES;
            let (part, rest) = into.split_at_mut(into.len().min(PAGE_BYTES - within));
            self.with_page(at / PAGE_BYTES, |page| match page {
                Some(page) => part.copy_from_slice(&page[within..within + part.len()]),
                None => part.fill(0),
            });
            at += part.len();
            into = rest;
        }
        Ok(())
    }

    /// Copies bytes in, and first each page that another image holds. Allocates what it copies; other images keep
    /// what they had.
    ///
    /// # Errors
    /// [`OutOfBounds`], with nothing written.
    pub fn write(&mut self, offset: usize, bytes: &[u8]) -> Result<(), OutOfBounds> {
        self.check(offset, bytes.len())?;
        let mut bytes = bytes;
        let mut at = offset;
        while !bytes.is_empty() {
            let within = at % PAGE_BYTES;
            let (part, rest) = bytes.split_at(bytes.len().min(PAGE_BYTES - within));
            self.write_page(at / PAGE_BYTES, within, part);
            at += part.len();
            bytes = rest;
        }
        Ok(())
    }

    /// Counts the pages that are shared, own and absent. O(pages); other images may change the first two at once.
    pub fn pages(&self) -> CowPages {
        let total = self.bytes.div_ceil(PAGE_BYTES);
        let mut pages = CowPages {
            copied: self.copied,
            ..CowPages::default()
        };
        for leaf in self.leaves.iter().flatten() {
            let sole = leaf.is_sole();
            leaf.read(|leaf| {
                for page in leaf.0.iter().flatten() {
                    if sole && page.is_sole() {
                        pages.own += 1;
                    } else {
                        pages.shared += 1;
                    }
                }
            });
        }
        pages.absent = total - pages.own - pages.shared;
        pages
    }

    fn check(&self, offset: usize, len: usize) -> Result<(), OutOfBounds> {
        match offset.checked_add(len) {
            Some(end) if end <= self.bytes => Ok(()),
            _ => Err(OutOfBounds {
                offset,
                len,
                size: self.bytes,
            }),
        }
    }

    fn with_page<R>(&self, page: usize, f: impl FnOnce(Option<&Page>) -> R) -> R {
        match &self.leaves[page / LEAF_PAGES] {
            None => f(None),
            Some(leaf) => leaf.read(|leaf| match &leaf.0[page % LEAF_PAGES] {
                None => f(None),
                Some(page) => page.read(|page| f(Some(page))),
            }),
        }
    }

    fn write_page(&mut self, page: usize, within: usize, part: &[u8]) {
        let leaf = self.leaves[page / LEAF_PAGES].get_or_insert_with(|| Shared::new(Leaf::empty()));
        let (copied, _) = leaf.write(|leaf| {
            let page = &mut leaf.0[page % LEAF_PAGES];
            match page {
                // A page that is overwritten whole is not copied first.
                Some(held) if part.len() < PAGE_BYTES || held.is_sole() => {
                    held.write(|page| page[within..within + part.len()].copy_from_slice(part))
                        .1
                }
                _ => {
                    let mut fresh = [0; PAGE_BYTES];
                    fresh[within..within + part.len()].copy_from_slice(part);
                    page.replace(Shared::new(fresh)).is_some()
                }
            }
        });
        self.copied += u64::from(copied);
    }
}

impl fmt::Debug for CowMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CowMemory")
            .field("bytes", &self.bytes)
            .field("pages", &self.pages())
            .finish()
    }
}
