//! A pointer to a payload that loom watches, with what models of reclamation do to it.

use super::Bounds;
use sync_base::atomic::{AtomicPtr, Ordering};
use sync_base::cell::UnsafeCell;
use sync_base::domain::Guard;
use sync_base::interrupt::place;
use sync_base::sync::Arc;
use sync_base::{Domain, Reader, thread};

/// A payload that loom watches: freeing it is a write, so a free beside a read is reported as a race. The count is
/// loom's own `Arc`, so a payload never freed is reported as a leak.
#[derive(Debug)]
pub struct Payload(UnsafeCell<u64>, #[allow(dead_code)] Arc<()>);

impl Drop for Payload {
    fn drop(&mut self) {
        // SAFETY: dropped once; loom reports anybody who still reads.
        self.0.with_mut(|v| unsafe { *v = 0 });
    }
}

/// Makes a payload, to be linked.
pub fn linked(value: u64) -> *mut Payload {
    Box::into_raw(Box::new(Payload(UnsafeCell::new(value), Arc::new(()))))
}

/// One word through which payloads are found.
#[derive(Debug)]
struct Link(AtomicPtr<Payload>);

impl Drop for Link {
    fn drop(&mut self) {
        // SAFETY: the last handle; the payload still linked was never retired.
        drop(unsafe { Box::from_raw(*self.0.get_mut()) });
    }
}

/// A handle to that word.
#[derive(Clone, Debug)]
pub struct Root(Arc<Link>);

impl Root {
    /// Links a payload.
    pub fn new(value: u64) -> Self {
        Self(Arc::new(Link(AtomicPtr::new(linked(value)))))
    }

    /// Reads the payload that is linked, under a guard.
    pub fn read(&self, _guard: &Guard<'_>) -> u64 {
        // Acquire: pairs with the Release in `unlink`; the payload's contents.
        let found = self.0.0.load(Ordering::Acquire);
        // A cell's access alone is no place where an interrupt may fall.
        place();
        // SAFETY: found under a guard: that is what is being checked.
        let value = unsafe { &*found }.0.with(|v| unsafe { *v });
        assert_ne!(value, 0, "read what was freed");
        value
    }

    /// Links another payload and hands out the one that was linked.
    pub fn unlink(&self, next: u64) -> *mut Payload {
        // AcqRel: pairs with the Acquire in `read`, and with another `unlink`.
        self.0.0.swap(linked(next), Ordering::AcqRel)
    }

    /// Unlinks the payload and frees it at once if its grace has passed; else hands it to the domain.
    pub fn replace(&self, next: u64, domain: &Domain) {
        let old = self.unlink(next);
        if domain.has_passed(domain.grace()) {
            free(old);
        } else {
            // SAFETY: unlinked, once; freed when the last handle goes.
            unsafe { domain.retire_box(old) };
        }
    }
}

/// Frees a payload that no reader holds.
pub fn free(payload: *mut Payload) {
    // SAFETY: unlinked, and no reader holds it: that is what is being checked.
    drop(unsafe { Box::from_raw(payload) });
}

/// Bounds of which the deep one is one preemption more.
pub fn bounds(threads: usize, quick: usize) -> Bounds {
    Bounds {
        threads,
        quick,
        deep: quick + 1,
    }
}

/// Runs the threads, given as closures, and joins them.
pub fn run(bodies: Vec<Box<dyn FnOnce()>>) {
    let threads: Vec<_> = bodies.into_iter().map(thread::spawn).collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

/// A thread that reads in some sections, one after another.
pub fn reads(root: &Root, reader: Reader, sections: usize) -> Box<dyn FnOnce()> {
    let root = root.clone();
    Box::new(move || {
        for _ in 0..sections {
            root.read(&reader.pin());
        }
    })
}
