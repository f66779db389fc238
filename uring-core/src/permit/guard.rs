//! Memory that ends where nothing may be read, for tests.

use std::ops::Deref;
use std::ptr::NonNull;

const PAGE: usize = 4096;

/// A copy of plain values whose last byte is the last of a readable page.
pub(super) struct Guarded<T> {
    at: NonNull<libc::c_void>,
    bytes: usize,
    values: NonNull<T>,
    len: usize,
}

impl<T: Clone> Guarded<T> {
    pub(super) fn new(values: &[T]) -> Self {
        let size = size_of_val(values);
        let readable = size.next_multiple_of(PAGE);
        let bytes = readable + PAGE;
        let (flags, both) = (
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            libc::PROT_READ | libc::PROT_WRITE,
        );
        // SAFETY: fresh memory at a place of the kernel's choice.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), bytes, both, flags, -1, 0) };
        assert_ne!(at, libc::MAP_FAILED);
        let at = NonNull::new(at).unwrap();
        // SAFETY: the last page of the mapping.
        let sealed = unsafe { libc::mprotect(at.byte_add(readable).as_ptr(), PAGE, libc::PROT_NONE) };
        assert_eq!(sealed, 0);
        // SAFETY: within the mapping; a multiple of the alignment, since size and page are.
        let place = unsafe { at.byte_add(readable - size) }.cast::<T>();
        assert!(place.is_aligned());
        for (index, value) in values.iter().enumerate() {
            // SAFETY: room for them all.
            unsafe { place.add(index).write(value.clone()) };
        }
        Self {
            at,
            bytes,
            values: place,
            len: values.len(),
        }
    }
}

impl<T> Deref for Guarded<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        // SAFETY: written in `new`, and there until the drop.
        unsafe { std::slice::from_raw_parts(self.values.as_ptr(), self.len) }
    }
}

impl<T> Drop for Guarded<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping of `new`; what was in it is plain.
        unsafe { libc::munmap(self.at.as_ptr(), self.bytes) };
    }
}
