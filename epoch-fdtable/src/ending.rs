//! The end of values whose last reference is gone: all for one grace, promptly where it matters.
//!
//! A real descriptor must not wait for a collection that may never come: its peer waits for the end, and its number is
//! one of few. So its end is prompt however the last reference goes. What a reader holds back is retired as scarce: the
//! backend counts it, and while something is counted the next insert or close looks whether that reader has left.
//!
//! # Invariants
//! - I1: a panic of one value's drop or `sever` comes out only after every other value of the call was ended.

use crate::RegisteredFile;
use crate::entry::{Body, free_body};
use crate::reclaim::Reclaim;
use crate::removed::Closed;
use crate::sever::{Sever, sever_descriptor};
use crate::table::Swept;
use std::any::{Any, TypeId};
use std::fs::File;
use std::mem;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr::NonNull;
use std::time::Duration;

macro_rules! descriptors {
    ($($owner:ty),*) => {
        /// Says whether the type owns one descriptor of the kernel. Known when it is compiled.
        #[inline(always)]
        fn is_descriptor<T: 'static>() -> bool {
            let this = TypeId::of::<T>();
            $(this == TypeId::of::<$owner>() ||)* false
        }

        fn descriptor(value: &dyn Any) -> Option<BorrowedFd<'_>> {
            $(if let Some(owner) = value.downcast_ref::<$owner>() {
                return Some(owner.as_fd());
            })*
            None
        }
    };
}

descriptors!(
    OwnedFd,
    File,
    TcpListener,
    TcpStream,
    UdpSocket,
    UnixDatagram,
    UnixListener,
    UnixStream,
    RegisteredFile
);

/// Severs a value whose type is one of the kernel's descriptors.
fn sever_known<T: 'static>(value: &T) -> bool {
    descriptor(value).is_some_and(|fd| sever_descriptor(fd).is_ok())
}

/// How the values of a table end when their last reference is dropped: promptly, cut off by this function where a reader
/// is in the way; or with the next collection.
#[derive(Debug)]
pub(crate) struct End<T>(Option<fn(&T) -> bool>);

impl<T> Clone for End<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for End<T> {}

impl<T: Send + Sync + 'static> End<T> {
    /// Promptly for a real descriptor, else not.
    #[inline(always)]
    pub(crate) fn by_type() -> Self {
        let known: fn(&T) -> bool = sever_known::<T>;
        Self(is_descriptor::<T>().then_some(known))
    }

    /// Promptly, as the type has it.
    pub(crate) fn promptly() -> Self
    where
        T: Sever,
    {
        Self(Some(T::sever))
    }

    #[inline(always)]
    pub(crate) fn is_prompt(self) -> bool {
        self.0.is_some()
    }

    /// Ends one dead body of the caller's.
    pub(crate) fn end<R: Reclaim>(self, body: NonNull<Body<T>>, reclaim: &R) {
        if self.is_prompt() {
            self.end_all(vec![body], reclaim);
        } else {
            // SAFETY: entry I1: the caller is the one that may free it; no slot names it.
            unsafe { reclaim.retire(body.as_ptr().cast(), mem::size_of::<Body<T>>(), free_body::<T>) };
        }
    }

    /// Ends dead bodies of the caller's now, as far as readers allow.
    pub(crate) fn end_all<R: Reclaim>(self, dead: Vec<NonNull<Body<T>>>, reclaim: &R) {
        end_all(dead, reclaim, |value| self.0.is_some_and(|sever| sever(value)));
    }
}

/// Ends bodies that the caller moved to dead: frees them if no section that is open now can hold one, else severs and
/// retires them. The caller may free each (entry I1) and gives that right away.
pub(crate) fn end_all<T: Send + Sync + 'static, R: Reclaim>(
    dead: Vec<NonNull<Body<T>>>,
    reclaim: &R,
    sever: impl Fn(&T) -> bool,
) -> Swept {
    let mut swept = Swept::default();
    if dead.is_empty() {
        return swept;
    }
    let alone = reclaim.wait(&reclaim.grace(), Duration::ZERO);
    let mut panic = None;
    for body in dead {
        // I1. Nothing of ours is half done when a drop or `sever` of the caller's panics.
        let ended = catch_unwind(AssertUnwindSafe(|| {
            if !alone {
                return end_under_readers(body, reclaim, &sever);
            }
            // SAFETY: entry I1: the caller moved it to dead, and a grace period that began later is over.
            unsafe { free_body::<T>(body.as_ptr().cast()) };
            Closed::Now
        }));
        match ended {
            Ok(Closed::Now) => swept.now += 1,
            Ok(Closed::Severed) => swept.severed += 1,
            Ok(_) => swept.deferred += 1,
            Err(first) => panic = panic.or(Some(first)),
        }
    }
    match panic {
        Some(first) if !std::thread::panicking() => resume_unwind(first),
        _ => swept,
    }
}

/// Cuts off a dead body of the caller's, where its type can, and retires it, to be freed as soon as its readers have left.
pub(crate) fn end_under_readers<T: Send + Sync + 'static, R: Reclaim>(
    body: NonNull<Body<T>>,
    reclaim: &R,
    sever: impl Fn(&T) -> bool,
) -> Closed {
    let _burial = Burial(body, reclaim);
    // SAFETY: entry I1: ours to free, and not freed yet.
    match sever(unsafe { &(*body.as_ptr()).value }) {
        true => Closed::Severed,
        false => Closed::Deferred,
    }
}

/// Retires a dead body when dropped, also when its `sever` panics.
struct Burial<'r, T: Send + Sync + 'static, R: Reclaim>(NonNull<Body<T>>, &'r R);

impl<T: Send + Sync + 'static, R: Reclaim> Drop for Burial<'_, T, R> {
    fn drop(&mut self) {
        let node = self.0.as_ptr().cast();
        // SAFETY: entry I1: the caller is the one that may free it; no slot names it.
        unsafe {
            self.1
                .retire_scarce(node, mem::size_of::<Body<T>>(), free_body::<T>)
        };
    }
}
