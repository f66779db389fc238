//! One suite for every carrier of operations.
//!
//! A test is a function of a [`Kit`]: the kit makes rings on one carrier, and the files and streams of the world that
//! this carrier lives in. It stands in one of two macros:
//!
//! - `contract!`: what every carrier keeps, the simulated one too. Such a test touches files and streams only through
//!   the kit.
//! - `semantics!`: what the real carriers keep on real files, pipes and sockets.
//!
//! Both make of `fn name(kit: &Kit)` one test a carrier, named `file::carrier::name`; run one carrier with
//! `cargo nextest run -p uring-core --test contract fallback::`. A test may be written as `#[test] fn name(kit: &Kit)`
//! alone: the attribute is there so that it reads as what it is.
//!
//! To add a carrier: a constructor of [`Kit`], and one `on!` line in `contract!` (in `semantics!` too if it works on real
//! descriptors). Where its world is not the real one, `Fd` and `Peer` in kit.rs get a variant for its files and streams.
//!
//! Every rung of the set-up ladder is a carrier of its own here, so each of them runs the whole suite.
#![cfg(not(any(loom, shuttle)))]

macro_rules! contract {
    ($($(#[doc = $doc:expr])* #[test] fn $name:ident($kit:ident: &Kit) $body:block)*) => {
        $($(#[doc = $doc])* fn $name($kit: &Kit) $body)*
        on! { uring, Kit::uring(), $($name)* }
        on! { deferred, Kit::rung(uring_core::Rung::Deferred), $($name)* }
        on! { cooperative, Kit::rung(uring_core::Rung::Cooperative), $($name)* }
        on! { submit_all, Kit::rung(uring_core::Rung::SubmitAll), $($name)* }
        on! { plain, Kit::rung(uring_core::Rung::Plain), $($name)* }
        on! { polled, Kit::polled(), $($name)* }
        on! { fallback, Kit::fallback(), $($name)* }
        on! { sim, Kit::sim(), $($name)* }
    };
}

macro_rules! semantics {
    ($($(#[doc = $doc:expr])* #[test] fn $name:ident($kit:ident: &Kit) $body:block)*) => {
        $($(#[doc = $doc])* fn $name($kit: &Kit) $body)*
        on! { uring, Kit::uring(), $($name)* }
        on! { plain, Kit::rung(uring_core::Rung::Plain), $($name)* }
        on! { fallback, Kit::fallback(), $($name)* }
    };
}

/// The tests of one file on one carrier.
macro_rules! on {
    ($carrier:ident, $kit:expr, $($name:ident)*) => {
        mod $carrier {
            use super::Kit;
            $(#[test] fn $name() { $kit.run(super::$name) })*
        }
    };
}

#[path = "../counted/mod.rs"]
mod counted;
#[path = "../ended/mod.rs"]
mod ended;
mod kit;

mod batch;
mod blocking;
mod cancel;
mod capacity;
mod descriptors;
mod files;
mod ladder;
mod overflow;
mod ownership;
mod sockets;
mod styles;
mod time;
