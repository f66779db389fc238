//! One cache line: a kind, an error number, a message in place or on the heap.
//!
//! # States
//! `Inline` and `Cut`: `store.text` holds the message. `Heap` and `HeapCut`: `store.spill` holds message and source.
//! A line starts `Inline`; `cut`, `set_cut` and `spill_to` move it on, and nothing moves it back.
//!
//! Besides, the number of a line may *stand in*: no system gave it, it says which class of `io::Error` the line was made
//! from. The length has the bit for that.
//!
//! # Invariants
//! - I1: in `Inline` and `Cut`, `len` without its flag is at most 56, and the first that many bytes of `store.text` are
//!   initialised, valid UTF-8.
//! - I2: in `Heap` and `HeapCut`, `store.spill` is initialised and owned by this line alone.
//!
//! # Layout
//! ```text
//! | 0: message 56, or text 24 + source 24 | 56: error number 4 | 60: kind 1-2 | state 1 | length 1 |
//! ```
//! The message is first, hence aligned. The state has room to spare, so `Result` and `Option` need no tag.

use crate::Errno;
#[cfg(feature = "alloc")]
use crate::message;
use crate::message::INLINE;
#[cfg(feature = "alloc")]
use alloc::{borrow::Cow, string::String};
#[cfg(feature = "alloc")]
use core::mem::ManuallyDrop;
use core::mem::MaybeUninit;
use core::slice;

/// What is kept of an error that does not fit in place.
#[cfg(feature = "alloc")]
pub(crate) struct Spill {
    pub(crate) text: Cow<'static, str>,
    pub(crate) source: Option<crate::cause::Cause>,
}

/// The bit of the length that says that the number stands in.
const STANDS_IN: u8 = 0x80;

#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum State {
    Inline,
    Cut,
    #[cfg(feature = "alloc")]
    Heap,
    #[cfg(feature = "alloc")]
    HeapCut,
}

#[repr(C, align(8))]
union Store {
    text: [MaybeUninit<u8>; INLINE],
    #[cfg(feature = "alloc")]
    spill: ManuallyDrop<Spill>,
}

#[repr(C, align(64))]
pub(crate) struct Line<K> {
    store: Store,
    errno: Option<Errno>,
    kind: K,
    state: State,
    len: u8,
}

impl<K> Line<K> {
    #[inline]
    fn empty(kind: K, errno: Option<Errno>) -> Self {
        let text = [MaybeUninit::uninit(); INLINE];
        Self {
            store: Store { text },
            errno,
            kind,
            state: State::Inline,
            len: 0,
        }
    }

    /// Makes a line without a message, which `fill` completes where the line will stay.
    ///
    /// A line that is written in parts and then moved costs three times as much: the move loads 16 bytes at a time, and
    /// a load that spans two younger stores waits for both. A function that writes through a pointer, out of line, is
    /// handed the place that the caller returns to, so that no move is left.
    #[inline]
    pub(crate) fn build(kind: K, errno: Option<Errno>, fill: impl FnOnce(&mut Self)) -> Self {
        let mut slot = MaybeUninit::uninit();
        Self::build_in(&mut slot, kind, errno, fill);
        // SAFETY: `build_in` returned, so the slot holds a line.
        unsafe { slot.assume_init() }
    }

    #[inline(never)]
    fn build_in(slot: &mut MaybeUninit<Self>, kind: K, errno: Option<Errno>, fill: impl FnOnce(&mut Self)) {
        fill(slot.write(Self::empty(kind, errno)));
    }

    /// Appends all of `text` to the message in place, or nothing of it and says `false`.
    ///
    /// # Panics
    /// When the message is not in place.
    #[inline]
    #[must_use]
    pub(crate) fn push(&mut self, text: &str) -> bool {
        assert!(self.state == State::Inline);
        let at = usize::from(self.len);
        if text.len() > INLINE - at {
            return false;
        }
        // SAFETY: bytes that may be uninitialised are valid in any state.
        let store = unsafe { &mut self.store.text };
        copy_short(&mut store[at..][..text.len()], text.as_bytes());
        // I1: the bytes up to the sum, at most 56, are initialised, and the new ones are a whole `&str`.
        self.len = (at + text.len()) as u8;
        true
    }

    /// Replaces the message in place by one that is marked as cut.
    pub(crate) fn cut(&mut self, text: &str) {
        self.len = 0;
        let fits = self.push(text);
        debug_assert!(fits, "a cut message fits in place");
        self.set_cut();
    }

    /// Moves the message, all of which is `text`, to the heap.
    #[cfg(feature = "alloc")]
    pub(crate) fn spill_to(&mut self, text: String)
    where
        K: Copy,
    {
        let text = Cow::Owned(text);
        let spill = Spill { text, source: None };
        *self = Self::spilled(self.kind, self.errno, spill);
    }

    #[cfg(feature = "alloc")]
    fn spilled(kind: K, errno: Option<Errno>, spill: Spill) -> Self {
        let spill = ManuallyDrop::new(spill);
        Self {
            store: Store { spill },
            errno,
            kind,
            state: State::Heap,
            len: 0,
        }
    }

    #[inline]
    pub(crate) fn kind(&self) -> &K {
        &self.kind
    }

    /// The number that the system gave.
    #[inline]
    pub(crate) fn errno(&self) -> &Option<Errno> {
        if self.len & STANDS_IN == 0 {
            &self.errno
        } else {
            &None
        }
    }

    #[inline]
    pub(crate) fn set_errno(&mut self, errno: Errno) {
        self.errno = Some(errno);
        self.len &= !STANDS_IN;
    }

    /// The number that stands in for one of the system's.
    #[inline]
    pub(crate) fn stand_in(&self) -> Option<Errno> {
        if self.len & STANDS_IN == 0 {
            None
        } else {
            self.errno
        }
    }

    /// Records a number that the system did not give. The message is complete: nothing is pushed after this.
    pub(crate) fn set_stand_in(&mut self, errno: Errno) {
        self.errno = Some(errno);
        self.len |= STANDS_IN;
    }

    #[inline]
    pub(crate) fn is_cut(&self) -> bool {
        match self.state {
            State::Inline => false,
            State::Cut => true,
            #[cfg(feature = "alloc")]
            State::Heap => false,
            #[cfg(feature = "alloc")]
            State::HeapCut => true,
        }
    }

    /// Records that part of the message is missing.
    pub(crate) fn set_cut(&mut self) {
        self.state = match self.state {
            State::Inline | State::Cut => State::Cut,
            #[cfg(feature = "alloc")]
            State::Heap | State::HeapCut => State::HeapCut,
        };
    }

    #[cfg(feature = "alloc")]
    #[inline]
    pub(crate) fn spill(&self) -> Option<&Spill> {
        match self.state {
            State::Inline | State::Cut => None,
            // SAFETY: I2.
            State::Heap | State::HeapCut => Some(unsafe { &self.store.spill }),
        }
    }

    #[inline]
    pub(crate) fn message(&self) -> &str {
        #[cfg(feature = "alloc")]
        if let Some(spill) = self.spill() {
            return &spill.text;
        }
        // SAFETY: bytes that may be uninitialised are valid in any state.
        let text = unsafe { &self.store.text };
        let len = usize::from(self.len & !STANDS_IN);
        // SAFETY: I1: the first `len` bytes are initialised and inside the array.
        let bytes = unsafe { slice::from_raw_parts(text.as_ptr().cast::<u8>(), len) };
        // SAFETY: I1.
        unsafe { core::str::from_utf8_unchecked(bytes) }
    }
}

impl<K> Line<K> {
    /// Copies a line that is on the heap; without memory for the text, what of it fits in place, marked as cut.
    #[cfg(feature = "alloc")]
    #[cold]
    fn spill_cloned(&self, spill: &Spill) -> Self
    where
        K: Copy,
    {
        let mut copy = match &spill.source {
            Some(source) => Self::with_source(self.kind, self.errno, &spill.text, source.clone()),
            None => Self::build(self.kind, self.errno, |line| {
                message::copy_into(line, &spill.text)
            }),
        };
        if self.is_cut() {
            copy.set_cut();
        }
        copy.len |= self.len & STANDS_IN;
        copy
    }

    /// Makes a line with a source. Where there is no memory for the text, it says so in place of it.
    #[cfg(feature = "alloc")]
    pub(crate) fn with_source(
        kind: K,
        errno: Option<Errno>,
        text: &str,
        source: crate::cause::Cause,
    ) -> Self {
        let copy = message::try_copy(text);
        let cut = copy.is_none();
        let text = copy.map_or(Cow::Borrowed(message::LOST), Cow::Owned);
        let source = Some(source);
        let mut line = Self::spilled(kind, errno, Spill { text, source });
        if cut {
            line.set_cut();
        }
        line
    }

    #[cfg(feature = "alloc")]
    #[cold]
    fn drop_spill(&mut self) {
        // SAFETY: I2: only called in `Heap` and `HeapCut`, by `drop`, so once.
        unsafe { ManuallyDrop::drop(&mut self.store.spill) };
    }
}

#[cfg(feature = "alloc")]
impl<K> Drop for Line<K> {
    #[inline]
    fn drop(&mut self) {
        if self.spill().is_some() {
            self.drop_spill();
        }
    }
}

impl<K: Copy> Clone for Line<K> {
    #[inline]
    fn clone(&self) -> Self {
        #[cfg(feature = "alloc")]
        if let Some(spill) = self.spill() {
            return self.spill_cloned(spill);
        }
        // SAFETY: bytes that may be uninitialised are valid in any state.
        let text = unsafe { self.store.text };
        Self {
            store: Store { text },
            errno: self.errno,
            kind: self.kind,
            state: self.state,
            len: self.len,
        }
    }
}

/// Copies `from` to `to`, of the same length up to 56, in steps that may overlap.
///
/// A third cheaper than the call of `memcpy` that a copy of unknown length is otherwise.
#[inline]
fn copy_short(to: &mut [MaybeUninit<u8>], from: &[u8]) {
    debug_assert!(to.len() == from.len() && from.len() <= INLINE);
    if from.len() >= 16 {
        let mut at = 0;
        while let (Some(to), Some(from)) = (to[at..].first_chunk_mut::<16>(), from[at..].first_chunk::<16>())
        {
            *to = from.map(MaybeUninit::new);
            at += 16;
        }
        if let (Some(to), Some(from)) = (to.last_chunk_mut::<16>(), from.last_chunk::<16>()) {
            *to = from.map(MaybeUninit::new);
        }
    } else if !(copy_ends::<8>(to, from) || copy_ends::<4>(to, from) || copy_ends::<2>(to, from)) {
        copy_ends::<1>(to, from);
    }
}

/// Copies the first and the last `N` bytes, if there are as many.
#[inline]
fn copy_ends<const N: usize>(to: &mut [MaybeUninit<u8>], from: &[u8]) -> bool {
    let (Some(head), Some(tail)) = (from.first_chunk::<N>(), from.last_chunk::<N>()) else {
        return false;
    };
    if let Some(to) = to.first_chunk_mut::<N>() {
        *to = head.map(MaybeUninit::new);
    }
    if let Some(to) = to.last_chunk_mut::<N>() {
        *to = tail.map(MaybeUninit::new);
    }
    true
}
