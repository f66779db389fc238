//! The memory of a single-producer queue: slots side by side, so that runs of them are slices.
//!
//! # Invariants
//! - S1: a position's slot is `position % slots`, and the number of slots is a power of two, so positions may wrap.
//! - S2: who may touch a slot when is the queue's protocol; `touch` shows each access to a model checker, which cannot see
//!   through a slice. In production it is empty.

use crate::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};

/// Whether a model checker looks on.
const WATCHED: bool = cfg!(loom);

#[derive(Debug)]
pub(super) struct Storage<T> {
    slots: NonNull<T>,
    mask: usize,
    touch: Box<[UnsafeCell<()>]>,
}

impl<T> Storage<T> {
    /// Allocates at least `capacity` slots.
    pub(super) fn new(capacity: usize) -> Self {
        assert!(
            capacity > 0,
            "a queue needs room for one value: capacity 0 was asked for"
        );
        let slots = capacity
            .checked_next_power_of_two()
            .expect("a queue's capacity must not exceed 2^63");
        let memory: Box<[MaybeUninit<T>]> = Box::new_uninit_slice(slots);
        Self {
            // SAFETY: a box is not null.
            slots: unsafe { NonNull::new_unchecked(Box::into_raw(memory).cast()) },
            mask: slots - 1,
            touch: (0..if WATCHED { slots } else { 0 })
                .map(|_| UnsafeCell::new(()))
                .collect(),
        }
    }

    #[inline(always)]
    fn slot(&self, position: usize) -> *mut T {
        // SAFETY: the mask keeps the index below the number of slots.
        unsafe { self.slots.as_ptr().add(position & self.mask) }
    }

    /// Shows a model checker that this slot changes hands as `access` is run.
    #[inline(always)]
    fn touched<R>(&self, position: usize, access: impl FnOnce() -> R) -> R {
        if WATCHED {
            self.touch[position & self.mask].with_mut(|_| access())
        } else {
            access()
        }
    }

    /// Moves a value into a slot.
    ///
    /// # Safety
    /// The slot is empty and nobody else touches it.
    #[inline(always)]
    pub(super) unsafe fn write(&self, position: usize, value: T) {
        // SAFETY: the caller's promise; `slot` is in bounds.
        self.touched(position, || unsafe { self.slot(position).write(value) });
    }

    /// Moves a value out of a slot.
    ///
    /// # Safety
    /// The slot holds a value, which nobody uses afterwards, and nobody else touches it.
    #[inline(always)]
    pub(super) unsafe fn take(&self, position: usize) -> T {
        // SAFETY: the caller's promise; `slot` is in bounds.
        self.touched(position, || unsafe { self.slot(position).read() })
    }

    /// Shows a model checker that these slots are being read.
    pub(super) fn note_read(&self, from: usize, count: usize) {
        if WATCHED {
            for i in 0..count {
                self.touch[from.wrapping_add(i) & self.mask].with(|_| ());
            }
        }
    }

    /// The slots of `count` positions as two slices, the second empty unless they run past the end of the memory.
    ///
    /// # Safety
    /// The slots hold values, and for as long as the slices are used nobody writes to them.
    pub(super) unsafe fn slices(&self, from: usize, count: usize) -> (&[T], &[T]) {
        let start = from & self.mask;
        let first = count.min(self.mask + 1 - start);
        // SAFETY: start + first <= slots; the caller's promise.
        let head = unsafe { std::slice::from_raw_parts(self.slots.as_ptr().add(start), first) };
        // SAFETY: count - first < start: the rest lies at the beginning; the caller's promise.
        let rest = unsafe { std::slice::from_raw_parts(self.slots.as_ptr(), count - first) };
        (head, rest)
    }

    /// Copies a run of plain values in.
    ///
    /// # Safety
    /// As for `write`, for each of the slots.
    pub(super) unsafe fn copy_in(&self, from: usize, values: &[T])
    where
        T: Copy,
    {
        let start = from & self.mask;
        let first = values.len().min(self.mask + 1 - start);
        if WATCHED {
            for i in 0..values.len() {
                self.touch[from.wrapping_add(i) & self.mask].with_mut(|_| ());
            }
        }
        // SAFETY: start + first <= slots; the caller's promise.
        unsafe { ptr::copy_nonoverlapping(values.as_ptr(), self.slots.as_ptr().add(start), first) };
        // SAFETY: the rest lies at the beginning; the caller's promise.
        unsafe {
            ptr::copy_nonoverlapping(
                values.as_ptr().add(first),
                self.slots.as_ptr(),
                values.len() - first,
            )
        };
    }
}

impl<T> Drop for Storage<T> {
    fn drop(&mut self) {
        let slots =
            ptr::slice_from_raw_parts_mut(self.slots.as_ptr().cast::<MaybeUninit<T>>(), self.mask + 1);
        // SAFETY: made by `Box::into_raw` of that many slots in `new`; the queue dropped the values.
        drop(unsafe { Box::from_raw(slots) });
    }
}
