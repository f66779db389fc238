//! loom's atomics with std's methods, each a place where a posted interrupt is served.

use super::interrupt;
use std::ops::{Deref, DerefMut};

pub use loom::sync::atomic::Ordering;

/// A fence that is also a scheduling point: loom's own is not, and without one it never lets another thread run
/// between the accesses on either side.
#[track_caller]
pub fn fence(order: Ordering) {
    interrupt::poll();
    interrupt::switch_point();
    loom::sync::atomic::fence(order);
}

/// Orders nothing between threads; a model has no compiler to hold back.
pub fn compiler_fence(_order: Ordering) {
    interrupt::poll();
}

/// The value of an atomic that is borrowed exclusively; written back when dropped.
#[derive(Debug)]
pub struct Exclusive<'a, A: Whole> {
    atomic: &'a mut A,
    value: A::Value,
}

/// An atomic whose value can be read and replaced through `&mut`.
pub trait Whole {
    /// What the atomic holds.
    type Value: Copy;
    #[doc(hidden)]
    fn put(&mut self, value: Self::Value);
}

impl<A: Whole> Deref for Exclusive<'_, A> {
    type Target = A::Value;
    fn deref(&self) -> &A::Value {
        &self.value
    }
}

impl<A: Whole> DerefMut for Exclusive<'_, A> {
    fn deref_mut(&mut self) -> &mut A::Value {
        &mut self.value
    }
}

impl<A: Whole> Drop for Exclusive<'_, A> {
    fn drop(&mut self) {
        self.atomic.put(self.value);
    }
}

macro_rules! polled {
    ($($(#[$attr:meta])* fn $method:ident(&self $(, $arg:ident: $t:ty)*) $(-> $r:ty)?;)*) => {
        $(
            #[doc = concat!("As in std's: `", stringify!($method), "`.")]
            #[track_caller]
            pub fn $method(&self $(, $arg: $t)*) $(-> $r)? {
                interrupt::poll();
                self.0.$method($($arg),*)
            }
        )*
    };
}

macro_rules! base {
    ($value:ty) => {
        /// Makes an atomic.
        #[track_caller]
        pub fn new(value: $value) -> Self {
            Self(Inner::new(value))
        }

        /// Takes the value out.
        #[track_caller]
        pub fn into_inner(self) -> $value {
            self.0.into_inner()
        }

        /// The value, borrowed exclusively.
        #[track_caller]
        pub fn get_mut(&mut self) -> Exclusive<'_, Self> {
            // SAFETY: `&mut self`: no other thread sees the atomic.
            let value = unsafe { self.0.unsync_load() };
            Exclusive { atomic: self, value }
        }

        polled! {
            fn load(&self, order: Ordering) -> $value;
            fn store(&self, value: $value, order: Ordering);
            fn swap(&self, value: $value, order: Ordering) -> $value;
            fn compare_exchange(&self, now: $value, new: $value, ok: Ordering, err: Ordering) -> Result<$value, $value>;
            fn compare_exchange_weak(&self, now: $value, new: $value, ok: Ordering, err: Ordering) -> Result<$value, $value>;
        }

        /// As in std's: `fetch_update`.
        #[track_caller]
        pub fn fetch_update(
            &self,
            set: Ordering,
            fetch: Ordering,
            f: impl FnMut($value) -> Option<$value>,
        ) -> Result<$value, $value> {
            interrupt::poll();
            self.0.fetch_update(set, fetch, f)
        }
    };
}

macro_rules! int {
    ($($name:ident: $value:ty,)*) => {$(
        #[doc = concat!("std's `", stringify!($name), "` under loom.")]
        #[derive(Debug, Default)]
        pub struct $name(loom::sync::atomic::$name);

        const _: () = {
            type Inner = loom::sync::atomic::$name;
            impl $name {
                base!($value);
                polled! {
                    fn fetch_add(&self, value: $value, order: Ordering) -> $value;
                    fn fetch_sub(&self, value: $value, order: Ordering) -> $value;
                    fn fetch_and(&self, value: $value, order: Ordering) -> $value;
                    fn fetch_nand(&self, value: $value, order: Ordering) -> $value;
                    fn fetch_or(&self, value: $value, order: Ordering) -> $value;
                    fn fetch_xor(&self, value: $value, order: Ordering) -> $value;
                    fn fetch_max(&self, value: $value, order: Ordering) -> $value;
                    fn fetch_min(&self, value: $value, order: Ordering) -> $value;
                }
            }
            impl Whole for $name {
                type Value = $value;
                fn put(&mut self, value: $value) {
                    self.0.with_mut(|v| *v = value);
                }
            }
            impl From<$value> for $name {
                fn from(value: $value) -> Self {
                    Self::new(value)
                }
            }
        };
    )*};
}

int! {
    AtomicI8: i8,
    AtomicI16: i16,
    AtomicI32: i32,
    AtomicI64: i64,
    AtomicIsize: isize,
    AtomicU8: u8,
    AtomicU16: u16,
    AtomicU32: u32,
    AtomicU64: u64,
    AtomicUsize: usize,
}

/// std's `AtomicBool` under loom.
#[derive(Debug, Default)]
pub struct AtomicBool(loom::sync::atomic::AtomicBool);

const _: () = {
    type Inner = loom::sync::atomic::AtomicBool;
    impl AtomicBool {
        base!(bool);
        polled! {
            fn fetch_and(&self, value: bool, order: Ordering) -> bool;
            fn fetch_nand(&self, value: bool, order: Ordering) -> bool;
            fn fetch_or(&self, value: bool, order: Ordering) -> bool;
            fn fetch_xor(&self, value: bool, order: Ordering) -> bool;
        }

        /// As in std's: `fetch_not`.
        #[track_caller]
        pub fn fetch_not(&self, order: Ordering) -> bool {
            self.fetch_xor(true, order)
        }
    }
    impl Whole for AtomicBool {
        type Value = bool;
        fn put(&mut self, value: bool) {
            // Relaxed: `&mut self`: no other thread sees the atomic.
            self.0.store(value, Ordering::Relaxed);
        }
    }
    impl From<bool> for AtomicBool {
        fn from(value: bool) -> Self {
            Self::new(value)
        }
    }
};

/// std's `AtomicPtr` under loom.
#[derive(Debug)]
pub struct AtomicPtr<T>(loom::sync::atomic::AtomicPtr<T>);

type Inner<T> = loom::sync::atomic::AtomicPtr<T>;
impl<T> AtomicPtr<T> {
    base!(*mut T);
}

impl<T> Whole for AtomicPtr<T> {
    type Value = *mut T;
    fn put(&mut self, value: *mut T) {
        self.0.with_mut(|v| *v = value);
    }
}

impl<T> Default for AtomicPtr<T> {
    fn default() -> Self {
        Self::new(std::ptr::null_mut())
    }
}

impl<T> From<*mut T> for AtomicPtr<T> {
    fn from(value: *mut T) -> Self {
        Self::new(value)
    }
}
