//! One vocabulary for three worlds: `std` as shipped, `loom` and `shuttle` when a model runs.
//!
//! The facade adds what the checkers need and production must not pay for: under loom a new cell is a tracked write,
//! since `loom::cell::UnsafeCell::new` alone is not one and would hide a race with whoever reads it first.

#[cfg(loom)]
#[path = "loom/mod.rs"]
mod world;
#[cfg(all(shuttle, not(loom)))]
#[path = "shuttle.rs"]
mod world;
#[cfg(not(any(loom, shuttle)))]
#[path = "std.rs"]
mod world;

#[cfg(loom)]
pub use world::interrupt;
pub use world::{atomic, cell, hint, sync, thread};

#[doc(hidden)]
pub mod macros {
    #[cfg(loom)]
    pub use loom::{lazy_static as lazy_global, thread_local as world_thread_local};
    #[cfg(all(shuttle, not(loom)))]
    pub use shuttle::{lazy_static as lazy_global, thread_local as world_thread_local};
    #[cfg(not(any(loom, shuttle)))]
    pub use std::thread_local as world_thread_local;
}

/// Declares thread-local state in the world being run: `std`, `loom` or `shuttle`.
///
/// The initialiser is written `const { ... }` and is a constant in production; loom's types have no constant
/// constructors, so there it is evaluated at first use.
///
/// ```
/// use std::cell::Cell;
/// sync_base::thread_local! { static HITS: Cell<u64> = const { Cell::new(0) }; }
/// HITS.with(|h| h.set(h.get() + 1));
/// assert_eq!(HITS.with(|h| h.get()), 1);
/// ```
#[cfg(not(any(loom, shuttle)))]
#[macro_export]
macro_rules! thread_local {
    ($($(#[$attr:meta])* $vis:vis static $name:ident: $t:ty = const { $init:expr };)*) => {
        $($crate::__macros::world_thread_local! { $(#[$attr])* $vis static $name: $t = const { $init } })*
    };
}
/// Declares thread-local state in the world being run.
#[cfg(any(loom, shuttle))]
#[macro_export]
macro_rules! thread_local {
    ($($(#[$attr:meta])* $vis:vis static $name:ident: $t:ty = const { $init:expr };)*) => {
        $($crate::__macros::world_thread_local! { $(#[$attr])* $vis static $name: $t = $init; })*
    };
}

/// Declares a process-wide value: a plain `static` in production, reset at each execution of a model elsewhere.
///
/// Use it through methods or `&*NAME`; both read the same in every world.
///
/// ```
/// use sync_base::atomic::{AtomicU64, Ordering};
/// sync_base::global! { static NEXT: AtomicU64 = AtomicU64::new(0); }
/// // Relaxed: a lone counter publishes nothing.
/// assert_eq!(NEXT.fetch_add(1, Ordering::Relaxed), 0);
/// ```
#[cfg(not(any(loom, shuttle)))]
#[macro_export]
macro_rules! global {
    ($($(#[$attr:meta])* $vis:vis static $name:ident: $t:ty = $init:expr;)*) => {
        $($(#[$attr])* $vis static $name: $t = $init;)*
    };
}
/// Declares a process-wide value, reset at each execution of a model.
#[cfg(any(loom, shuttle))]
#[macro_export]
macro_rules! global {
    // The visibility is taken apart, since the checkers' macros do not match a captured one.
    ($($(#[$attr:meta])* $(pub $(($($vis:tt)+))?)? static $name:ident: $t:ty = $init:expr;)*) => {
        $($crate::__macros::lazy_global! { $(#[$attr])* $(pub $(($($vis)+))?)? static ref $name: $t = $init; })*
    };
}

/// Writes a constructor once: a `const fn` in production, a plain one where a model runs, whose types have none.
///
/// ```
/// use sync_base::atomic::AtomicU64;
/// struct Hits(AtomicU64);
/// impl Hits {
///     sync_base::const_fn! {
///         /// Counts from zero.
///         pub fn new() -> Self {
///             Self(AtomicU64::new(0))
///         }
///     }
/// }
/// static HITS: Hits = Hits::new();
/// # let _ = &HITS.0;
/// ```
#[cfg(not(any(loom, shuttle)))]
#[macro_export]
macro_rules! const_fn {
    ($(#[$attr:meta])* $vis:vis fn $($rest:tt)*) => {
        $(#[$attr])* $vis const fn $($rest)*
    };
}
/// Writes a constructor once: a `const fn` in production, a plain one here.
#[cfg(any(loom, shuttle))]
#[macro_export]
macro_rules! const_fn {
    ($(#[$attr:meta])* $vis:vis fn $($rest:tt)*) => {
        $(#[$attr])* $vis fn $($rest)*
    };
}
