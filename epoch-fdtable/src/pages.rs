//! Storage that grows without moving: a fixed top level over pages that appear on demand and stay.
//!
//! # States
//! A top entry points to the one shared absent page, or to a page of its own. The only move is absent -> own.
//!
//! # Invariants
//! - I1: a top entry is never null, and what it points to lives as long as the table: a reader needs no test.
//! - I2: an own page is never replaced or freed before the table is dropped: a reference to a slot stays good.
//! - I3: nothing is ever stored in the absent page: each of its slots is null in every reader's eyes.
//!
//! # Orderings
//! | access | order | pairs with |
//! |---|---|---|
//! | top compare-exchange | Release | the Acquire loads in `slot` and `page`: the page's contents |
//! | top load | Acquire | that Release |

use crate::word::WORD_BITS;
use std::fmt;
use std::ptr;
use sync_base::CachePadded;
use sync_base::atomic::{AtomicPtr, AtomicU64, Ordering};

/// Bitmap words in a page.
pub(crate) const PAGE_WORDS: u32 = if cfg!(any(loom, shuttle)) { 1 } else { 4 };
/// Numbers in a page.
pub(crate) const PAGE_SLOTS: u32 = PAGE_WORDS * WORD_BITS;

/// One page: the slots that readers see, then what only writers touch.
#[repr(align(128))]
pub(crate) struct Page {
    slots: [AtomicPtr<()>; PAGE_SLOTS as usize],
    /// The last generation of each number. Only the owner of the number touches it.
    generations: [AtomicU64; PAGE_SLOTS as usize],
    /// Each on its own line: neighbours are claimed by different threads.
    words: [CachePadded<AtomicU64>; PAGE_WORDS as usize],
}

#[cfg(not(any(loom, shuttle)))]
static ABSENT: Page = Page::new();

impl Page {
    #[cfg(not(loom))]
    const fn new() -> Self {
        Self {
            slots: [const { AtomicPtr::new(ptr::null_mut()) }; PAGE_SLOTS as usize],
            generations: [const { AtomicU64::new(0) }; PAGE_SLOTS as usize],
            words: [const { CachePadded::new(AtomicU64::new(0)) }; PAGE_WORDS as usize],
        }
    }

    #[cfg(loom)]
    fn new() -> Self {
        Self {
            slots: std::array::from_fn(|_| AtomicPtr::new(ptr::null_mut())),
            generations: std::array::from_fn(|_| AtomicU64::new(0)),
            words: std::array::from_fn(|_| CachePadded::new(AtomicU64::new(0))),
        }
    }

    /// The slot of a number that falls in this page.
    #[inline(always)]
    pub(crate) fn slot(&self, number: u32) -> &AtomicPtr<()> {
        &self.slots[(number % PAGE_SLOTS) as usize]
    }

    /// The last generation of a number of this page.
    pub(crate) fn generation(&self, number: u32) -> &AtomicU64 {
        &self.generations[(number % PAGE_SLOTS) as usize]
    }

    /// The bitmap word with this index in the whole table.
    pub(crate) fn word(&self, word: u32) -> &AtomicU64 {
        #[cfg_attr(loom, expect(clippy::modulo_one, reason = "a page has one word under loom"))]
        let at = (word % PAGE_WORDS) as usize;
        &self.words[at]
    }
}

/// The top level.
pub(crate) struct Pages {
    top: Box<[AtomicPtr<Page>]>,
    /// A model ends its statics before its last threads, so there each table has an absent page of its own.
    #[cfg(any(loom, shuttle))]
    absent: Box<Page>,
}

// The top level is shared by reference alone and its pages hold only atomics; `AtomicPtr` makes both automatic.
const _: fn() = || {
    fn shared<T: Send + Sync>() {}
    shared::<Pages>();
};

impl Pages {
    /// Makes room for `numbers` numbers, with no page yet.
    pub(crate) fn new(numbers: u32) -> Self {
        #[cfg(not(any(loom, shuttle)))]
        let at = ptr::from_ref(&ABSENT);
        #[cfg(any(loom, shuttle))]
        let absent = Box::new(Page::new());
        #[cfg(any(loom, shuttle))]
        let at = ptr::from_ref(&*absent);
        let top = (0..numbers.div_ceil(PAGE_SLOTS)).map(|_| AtomicPtr::new(at.cast_mut()));
        Self {
            top: top.collect(),
            #[cfg(any(loom, shuttle))]
            absent,
        }
    }

    /// The absent page, which nobody writes to.
    #[cfg(not(any(loom, shuttle)))]
    fn absent(&self) -> *mut Page {
        ptr::from_ref(&ABSENT).cast_mut()
    }

    /// The absent page, which nobody writes to.
    #[cfg(any(loom, shuttle))]
    fn absent(&self) -> *mut Page {
        ptr::from_ref(&*self.absent).cast_mut()
    }

    /// How many bitmap words the top level has room for.
    pub(crate) fn words(&self) -> u32 {
        self.top.len() as u32 * PAGE_WORDS
    }

    /// The slot to read a number through: `None` past the end, a slot that stays null where no page is. Wait-free.
    #[inline(always)]
    pub(crate) fn slot(&self, number: u32) -> Option<&AtomicPtr<()>> {
        let entry = self.top.get((number / PAGE_SLOTS) as usize)?;
        // Acquire: pairs with the Release in `Pages::grow`; publishes the page's null slots.
        let page = entry.load(Ordering::Acquire);
        // SAFETY: I1: never null, and the page lives as long as `self`.
        Some(unsafe { &*page }.slot(number))
    }

    /// The page of a number, where one has appeared.
    pub(crate) fn page(&self, number: u32) -> Option<&Page> {
        let entry = self.top.get((number / PAGE_SLOTS) as usize)?;
        // Acquire: pairs with the Release in `Pages::grow`; publishes the page's contents.
        let page = entry.load(Ordering::Acquire);
        // SAFETY: I1: never null, and the page lives as long as `self`.
        (page != self.absent()).then(|| unsafe { &*page })
    }

    /// The page of a number below the end, made if absent. Lock-free; allocates once a page.
    pub(crate) fn page_or_grow(&self, number: u32) -> &Page {
        match self.page(number) {
            Some(page) => page,
            None => self.grow((number / PAGE_SLOTS) as usize),
        }
    }

    #[cold]
    fn grow(&self, at: usize) -> &Page {
        let fresh = Box::into_raw(Box::new(Page::new()));
        // Release: pairs with the Acquire in `slot` and `page`; publishes the fresh page. Acquire on failure: pairs
        // with the Release of the thread that was first; its page is used.
        let won = self.top[at].compare_exchange(self.absent(), fresh, Ordering::Release, Ordering::Acquire);
        match won {
            // SAFETY: I2: published now, so it lives as long as `self`.
            Ok(_) => unsafe { &*fresh },
            Err(first) => {
                // SAFETY: never published: this thread alone knows it.
                drop(unsafe { Box::from_raw(fresh) });
                // SAFETY: I2: published by the thread that was first.
                unsafe { &*first }
            }
        }
    }

    /// Every page that has appeared, with its first number, in ascending order.
    pub(crate) fn present(&self) -> impl Iterator<Item = (u32, &Page)> {
        (0..self.top.len() as u32).filter_map(|at| {
            let first = at * PAGE_SLOTS;
            Some((first, self.page(first)?))
        })
    }
}

impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pages")
            .field("top", &self.top.len())
            .field("present", &self.present().count())
            .finish()
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        let absent = self.absent();
        for entry in &self.top {
            // Relaxed: `&mut self` means that every other thread's use is over and ordered before this.
            let page = entry.load(Ordering::Relaxed);
            if page != absent {
                // SAFETY: I2: made by `Box::into_raw` in `grow`, published once, freed here once.
                drop(unsafe { Box::from_raw(page) });
            }
        }
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn a_number_past_the_end_has_no_slot_and_an_absent_page_reads_null() {
        let pages = Pages::new(PAGE_SLOTS + 1);
        assert!(pages.slot(2 * PAGE_SLOTS).is_none() && pages.slot(u32::MAX).is_none());
        // Relaxed: one thread only.
        assert!(pages.slot(7).unwrap().load(Ordering::Relaxed).is_null());
        assert!(pages.page(7).is_none());
    }

    #[test]
    fn growth_leaves_earlier_slots_where_they_were() {
        let pages = Pages::new(4 * PAGE_SLOTS);
        let before = ptr::from_ref(pages.page_or_grow(0).slot(3));
        for number in [PAGE_SLOTS, 2 * PAGE_SLOTS, 3 * PAGE_SLOTS] {
            pages.page_or_grow(number);
        }
        assert_eq!(before, ptr::from_ref(pages.slot(3).unwrap()));
        assert_eq!(pages.present().count(), 4);
    }
}
