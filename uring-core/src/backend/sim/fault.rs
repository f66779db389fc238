//! What the simulated kernel may do to its callers, how often, and how often it did.

use std::fmt;

macro_rules! classes {
    ($($(#[$doc:meta])* $class:ident = $name:literal,)*) => {
        /// A class of misfortune that any real kernel is allowed to deal out.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Fault {
            $($(#[$doc])* $class,)*
        }

        impl Fault {
            /// Every class.
            pub const ALL: [Fault; [$($name),*].len()] = [$(Fault::$class),*];

            fn name(self) -> &'static str {
                match self {
                    $(Fault::$class => $name,)*
                }
            }
        }
    };
}

classes! {
    /// A read or receive gives less than is there.
    ShortRead = "short read",
    /// A write or send takes less than it was given.
    ShortWrite = "short write",
    /// An operation ends with `EINTR` and has done nothing; a close has closed all the same.
    Interrupted = "EINTR",
    /// A transfer ends with `EAGAIN` and has done nothing.
    Again = "EAGAIN",
    /// An operation ends with `ENOMEM` and has done nothing.
    NoMemory = "ENOMEM",
    /// A buffer lent for reading into is written long before the result is there.
    EarlyWrite = "early write",
    /// The data lies in the buffer only at the moment in which the completion is looked at.
    LateWrite = "late write",
    /// An operation takes up to a tenth of a second of simulated time.
    Late = "late completion",
    /// An operation ends for nothing and nobody, cancelled or not, before its ring is gone or
    /// [`Simulation::settle`](super::Simulation::settle) is called.
    Stuck = "stuck operation",
    /// A completion is followed by a second one of the same name, which no kernel should send: counted as
    /// [`stale`](crate::RingStats::stale) by the ring.
    Duplicate = "duplicate completion",
    /// The cancellation ends its operation. Happens by itself.
    CancelWon = "cancel won",
    /// The cancellation comes too late, or finds its operation running.
    CancelLost = "cancel lost",
    /// A call takes some of the queued entries and leaves the rest.
    PartialSubmit = "partial submit",
    /// A call is refused with `EBUSY`: completions first.
    Busy = "enter EBUSY",
    /// A call is refused with `EAGAIN`: no memory for requests.
    OutOfRequests = "enter EAGAIN",
    /// A wait is ended early, as by a signal.
    Signal = "interrupted wait",
    /// The submission queue was found full. Happens by itself, where it is small.
    FullQueue = "full submission queue",
    /// A completion finds the queue full, whether it is or not, and waits for a call that brings it in.
    Overflow = "completion overflow",
    /// As [`Overflow`](Fault::Overflow), by its rate, but the completion is lost: instead of it, where
    /// [`Simulation::drops_overflow`](super::Simulation::drops_overflow).
    Dropped = "completion dropped",
    /// A receive finds no provided buffer, whether there is one or not.
    NoBuffers = "ENOBUFS",
    /// A descriptor comes whose number belonged to another file before. Happens by itself.
    Reuse = "descriptor reused",
    /// An operation outlives its ring. Happens by itself, where a ring is dropped with an operation stuck.
    Abandoned = "abandoned operation",
}

const CLASSES: usize = Fault::ALL.len();

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How often each class of fault is dealt out.
///
/// Those that happen by themselves have no rate: they are only counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Faults {
    /// One in so many opportunities; 0 is never.
    one_in: [u32; CLASSES],
}

impl Default for Faults {
    fn default() -> Self {
        Self::none()
    }
}

impl Faults {
    /// Nothing goes wrong.
    pub const fn none() -> Self {
        Self { one_in: [0; CLASSES] }
    }

    /// Everything goes wrong now and then, save that nothing is stuck, doubled or dropped.
    pub const fn storm() -> Self {
        Self::none()
            .one_in(Fault::ShortRead, 8)
            .one_in(Fault::ShortWrite, 8)
            .one_in(Fault::Interrupted, 32)
            .one_in(Fault::Again, 32)
            .one_in(Fault::NoMemory, 64)
            .one_in(Fault::EarlyWrite, 4)
            .one_in(Fault::LateWrite, 4)
            .one_in(Fault::Late, 16)
            .one_in(Fault::CancelLost, 4)
            .one_in(Fault::PartialSubmit, 8)
            .one_in(Fault::Busy, 32)
            .one_in(Fault::OutOfRequests, 32)
            .one_in(Fault::Signal, 16)
            .one_in(Fault::Overflow, 16)
            .one_in(Fault::NoBuffers, 32)
    }

    /// Deals a class out at one in `n` opportunities, never if `n` is 0.
    pub const fn one_in(mut self, fault: Fault, n: u32) -> Self {
        self.one_in[fault as usize] = n;
        self
    }

    pub(super) fn rate(&self, fault: Fault) -> u32 {
        self.one_in[fault as usize]
    }
}

/// What a simulation did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Entries taken.
    pub submitted: u64,
    /// Completions delivered, those of auxiliary entries and the doubled ones too.
    pub completions: u64,
    /// Times that memory lent to the kernel was found touched by somebody else: an early hand-back or an early free.
    pub violations: u64,
    /// A digest of every completion in order: equal runs have equal ones.
    pub digest: u64,
    pub(super) counts: [u64; CLASSES],
}

impl Report {
    /// How often a class of fault was dealt out.
    pub fn count(&self, fault: Fault) -> u64 {
        self.counts[fault as usize]
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} submitted, {} completions, {} violations, digest {:016x}",
            self.submitted, self.completions, self.violations, self.digest
        )?;
        for fault in Fault::ALL {
            writeln!(f, "{fault:<24} {:>12}", self.count(fault))?;
        }
        Ok(())
    }
}
