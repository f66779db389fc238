//! The ladder of ring set-ups, best first.
//!
//! Each rung asks for one thing less than the rung above it. The kernel's refusal is noted as the reason, the next rung
//! is tried, and what came out is told in a [`RingInfo`]: what the ring has, and why not more.

use io_uring::{Builder, IoUring};
use std::fmt;
use std::io;

/// A step of the ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Rung {
    /// Every flag of [`Rung::Deferred`], and entries consumed in order without an index array (Linux 6.6).
    NoSqArray,
    /// One issuing thread, completions run only when asked for (Linux 6.1). Not for a ring that moves.
    Deferred,
    /// Completions run at the next system call, with a flag that says so (Linux 5.19).
    Cooperative,
    /// A rejected submission does not hold up those behind it (Linux 5.18).
    SubmitAll,
    /// The plain ring of Linux 5.6 and later.
    Plain,
}

impl Rung {
    /// Every rung, best first.
    pub const ALL: [Rung; 5] = [
        Rung::NoSqArray,
        Rung::Deferred,
        Rung::Cooperative,
        Rung::SubmitAll,
        Rung::Plain,
    ];

    /// The kernel that first has this rung.
    pub fn since(self) -> &'static str {
        match self {
            Rung::NoSqArray => "6.6",
            Rung::Deferred => "6.1",
            Rung::Cooperative => "5.19",
            Rung::SubmitAll => "5.18",
            Rung::Plain => "5.6",
        }
    }

    /// The set-up flags asked for, by the names of the kernel's header.
    pub fn flags(self, movable: bool) -> &'static str {
        match (self, movable) {
            (Rung::NoSqArray, false) => "SUBMIT_ALL|SINGLE_ISSUER|DEFER_TASKRUN|TASKRUN_FLAG|NO_SQARRAY",
            (Rung::NoSqArray, true) => "SUBMIT_ALL|COOP_TASKRUN|TASKRUN_FLAG|NO_SQARRAY",
            (Rung::Deferred, _) => "SUBMIT_ALL|SINGLE_ISSUER|DEFER_TASKRUN|TASKRUN_FLAG",
            (Rung::Cooperative, _) => "SUBMIT_ALL|COOP_TASKRUN|TASKRUN_FLAG",
            (Rung::SubmitAll, _) => "SUBMIT_ALL",
            (Rung::Plain, _) => "none",
        }
    }

    fn fits(self, movable: bool) -> bool {
        !(movable && self == Rung::Deferred)
    }

    fn apply(self, builder: &mut Builder, movable: bool, polled: bool) {
        if self <= Rung::SubmitAll {
            builder.setup_submit_all();
        }
        // A polling thread of the kernel runs the completions itself: the task-run flags contradict it.
        if self <= Rung::Cooperative && !polled {
            builder.setup_taskrun_flag();
            if movable || self == Rung::Cooperative {
                builder.setup_coop_taskrun();
            } else {
                builder.setup_single_issuer().setup_defer_taskrun();
            }
        }
        if self == Rung::NoSqArray {
            builder.setup_no_sqarray();
        }
    }
}

impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Rung::NoSqArray => "deferred, no index array",
            Rung::Deferred => "deferred",
            Rung::Cooperative => "cooperative",
            Rung::SubmitAll => "submit-all",
            Rung::Plain => "plain",
        })
    }
}

/// What to ask the kernel for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish {
    pub(crate) sq_entries: u32,
    pub(crate) cq_entries: u32,
    /// The ring may be used by one thread after another.
    pub(crate) movable: bool,
    /// Ask for a polling thread that sleeps after so many idle milliseconds.
    pub(crate) sqpoll_idle_ms: Option<u32>,
    /// Begin here instead of at the top.
    pub(crate) highest: Option<Rung>,
}

/// One refusal on the way down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What was asked for.
    pub asked: String,
    /// The kernel's error number.
    pub errno: i32,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = io::Error::from_raw_os_error(self.errno);
        write!(f, "{} refused: {why}", self.asked)
    }
}

/// What a ring has, and why it has not more.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RingInfo {
    /// What carries the operations: `io_uring`, `fallback` or `sim`.
    pub backend: &'static str,
    /// The rung reached; `None` where no io_uring is involved.
    pub rung: Option<Rung>,
    /// Submission entries.
    pub sq_entries: u32,
    /// Completion entries.
    pub cq_entries: u32,
    /// Operations that may be in flight at once.
    pub depth: u32,
    /// A kernel thread takes submissions without a system call.
    pub sqpoll: bool,
    /// System calls name the ring by a registered index, which saves a descriptor look-up.
    pub registered_ring_fd: bool,
    /// Raw `IORING_FEAT_*` bits.
    pub features: u32,
    /// What was asked for in vain, in the order of asking.
    pub refusals: Vec<Refusal>,
}

impl RingInfo {
    /// Completions are never lost to a full queue (`IORING_FEAT_NODROP`, Linux 5.5).
    pub fn keeps_overflow(&self) -> bool {
        self.features & FEAT_NODROP != 0
    }

    /// A wait carries its own timeout (`IORING_FEAT_EXT_ARG`, Linux 5.11).
    pub fn waits_with_timeout(&self) -> bool {
        self.features & FEAT_EXT_ARG != 0
    }
}

impl fmt::Display for RingInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.backend)?;
        if let Some(rung) = self.rung {
            write!(f, " ({rung})")?;
        }
        write!(
            f,
            ", {} SQ, {} CQ, depth {}",
            self.sq_entries, self.cq_entries, self.depth
        )?;
        if self.sqpoll {
            f.write_str(", sqpoll")?;
        }
        if self.registered_ring_fd {
            f.write_str(", registered ring fd")?;
        }
        for refusal in &self.refusals {
            write!(f, "; {refusal}")?;
        }
        Ok(())
    }
}

pub(crate) const FEAT_NODROP: u32 = 1 << 1;
pub(crate) const FEAT_EXT_ARG: u32 = 1 << 8;

/// Climbs down until the kernel agrees.
pub(crate) fn climb(wish: &Wish) -> Result<(IoUring, RingInfo), io::Error> {
    let mut refusals = Vec::new();
    let (ring, rung, sqpoll) = climb_by(wish, &mut refusals, attempt)?;
    let params = ring.params();
    let info = RingInfo {
        backend: "io_uring",
        rung: Some(rung),
        sq_entries: params.sq_entries(),
        cq_entries: params.cq_entries(),
        depth: 0,
        sqpoll,
        registered_ring_fd: false,
        features: features(params),
        refusals,
    };
    Ok((ring, info))
}

/// With the polling thread first, if one is wanted, then without: that polling is not permitted says nothing of the rest.
fn climb_by<R>(
    wish: &Wish,
    refusals: &mut Vec<Refusal>,
    attempt: impl Fn(&Wish, Rung, Option<u32>) -> io::Result<R>,
) -> io::Result<(R, Rung, bool)> {
    if let Some(idle) = wish.sqpoll_idle_ms {
        match descend(wish, Some(idle), refusals, &attempt) {
            Ok((ring, rung)) => return Ok((ring, rung, true)),
            Err(error) if is_final(&error) && !is_forbidden(&error) => return Err(error),
            Err(_) => {}
        }
    }
    descend(wish, None, refusals, &attempt).map(|(ring, rung)| (ring, rung, false))
}

fn descend<R>(
    wish: &Wish,
    sqpoll: Option<u32>,
    refusals: &mut Vec<Refusal>,
    attempt: &impl Fn(&Wish, Rung, Option<u32>) -> io::Result<R>,
) -> io::Result<(R, Rung)> {
    let highest = wish.highest.unwrap_or(Rung::NoSqArray);
    let mut last = io::Error::from_raw_os_error(libc::EINVAL);
    for rung in Rung::ALL
        .into_iter()
        .filter(|r| *r >= highest && r.fits(wish.movable))
    {
        match attempt(wish, rung, sqpoll) {
            Ok(ring) => return Ok((ring, rung)),
            Err(error) => {
                let asked = rung.flags(wish.movable);
                refusals.push(Refusal {
                    asked: if sqpoll.is_some() {
                        format!("SQPOLL|{asked}")
                    } else {
                        asked.to_owned()
                    },
                    errno: error.raw_os_error().unwrap_or(0),
                });
                if is_final(&error) {
                    return Err(error);
                }
                last = error;
            }
        }
    }
    Err(last)
}

fn attempt(wish: &Wish, rung: Rung, sqpoll: Option<u32>) -> io::Result<IoUring> {
    let mut builder = IoUring::builder();
    builder.dontfork().setup_clamp().setup_cqsize(wish.cq_entries);
    if let Some(idle) = sqpoll {
        builder.setup_sqpoll(idle);
    }
    rung.apply(&mut builder, wish.movable, sqpoll.is_some());
    builder.build(wish.sq_entries)
}

/// Whether this process may not, whatever the kernel could.
fn is_forbidden(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EPERM | libc::EACCES))
}

/// Whether a lower rung cannot help: io_uring itself is refused, or a resource is short.
fn is_final(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ENOSYS | libc::EPERM | libc::EACCES | libc::EMFILE | libc::ENFILE | libc::ENOMEM)
    )
}

/// Words of `io_uring_params`, which the crate offers only in part: features, and the offsets of the completion queue's
/// head, tail and entries.
const FEATURES: usize = 5;
const CQ_HEAD: usize = 20;
const CQ_TAIL: usize = 21;
const CQ_CQES: usize = 25;

fn word(params: &io_uring::Parameters, at: usize) -> u32 {
    const WORDS: usize = size_of::<io_uring::Parameters>() / size_of::<u32>();
    const { assert!(WORDS == 30) };
    let words: *const [u32; WORDS] = std::ptr::from_ref(params).cast();
    // SAFETY: `Parameters` is documented as a transparent wrapper over `io_uring_params`: 30 words (asserted), of integers.
    unsafe { (*words)[at] }
}

fn features(params: &io_uring::Parameters) -> u32 {
    word(params, FEATURES)
}

/// Where head, tail and entries of the completion queue lie in its mapping.
pub(crate) fn completion_offsets(params: &io_uring::Parameters) -> [u32; 3] {
    [CQ_HEAD, CQ_TAIL, CQ_CQES].map(|at| word(params, at))
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    fn wish(movable: bool) -> Wish {
        Wish {
            sq_entries: 8,
            cq_entries: 32,
            movable,
            sqpoll_idle_ms: None,
            highest: None,
        }
    }

    #[test]
    fn e5_every_rung_can_be_forced_and_says_so() {
        if io_uring::IoUring::new(2).is_err() {
            eprintln!("skipped: io_uring is refused here");
            return;
        }
        for movable in [false, true] {
            for rung in Rung::ALL.into_iter().filter(|r| r.fits(movable)) {
                let (ring, info) = climb(&Wish {
                    highest: Some(rung),
                    ..wish(movable)
                })
                .unwrap();
                assert!(info.rung.unwrap() >= rung, "{rung}: got {info}");
                if info.refusals.is_empty() {
                    assert_eq!(info.rung, Some(rung));
                }
                assert!(ring.params().cq_entries() >= 32);
                assert_eq!(
                    ring.params().is_setup_single_issuer(),
                    !movable && info.rung.unwrap() <= Rung::Deferred
                );
            }
        }
    }

    /// A kernel that knows the rungs from `newest` on, and says `polling` to whoever wants a polling thread.
    fn kernel(newest: Rung, polling: Option<i32>) -> impl Fn(&Wish, Rung, Option<u32>) -> io::Result<Rung> {
        move |_, rung, sqpoll| match polling.filter(|_| sqpoll.is_some()) {
            Some(errno) => Err(io::Error::from_raw_os_error(errno)),
            None if rung < newest => Err(io::Error::from_raw_os_error(libc::EINVAL)),
            None => Ok(rung),
        }
    }

    #[test]
    fn e5_every_older_kernel_is_met_on_its_own_rung_with_a_reason_for_each_above() {
        for movable in [false, true] {
            let rungs: Vec<_> = Rung::ALL.into_iter().filter(|r| r.fits(movable)).collect();
            for (above, &newest) in rungs.iter().enumerate() {
                let mut refusals = Vec::new();
                let (_, rung, polled) =
                    climb_by(&wish(movable), &mut refusals, kernel(newest, None)).unwrap();
                assert_eq!((rung, polled, refusals.len()), (newest, false, above));
                for (refusal, rung) in refusals.iter().zip(&rungs) {
                    assert_eq!(
                        (&*refusal.asked, refusal.errno),
                        (rung.flags(movable), libc::EINVAL)
                    );
                }
            }
        }
    }

    /// Before Linux 5.11 polling takes a privilege; io_uring itself does not.
    #[test]
    fn e8_polling_that_is_not_permitted_is_done_without_and_told() {
        for errno in [libc::EPERM, libc::EACCES, libc::EINVAL] {
            let wish = Wish {
                sqpoll_idle_ms: Some(5),
                ..wish(false)
            };
            let mut refusals = Vec::new();
            let (_, rung, polled) =
                climb_by(&wish, &mut refusals, kernel(Rung::NoSqArray, Some(errno))).unwrap();
            assert_eq!((rung, polled), (Rung::NoSqArray, false));
            assert!(refusals[0].asked.starts_with("SQPOLL|") && refusals[0].errno == errno);
            let asked_once = if errno == libc::EINVAL { Rung::ALL.len() } else { 1 };
            assert_eq!(refusals.len(), asked_once);
        }
    }

    #[test]
    fn e5_what_no_lower_rung_can_mend_ends_the_climb_at_once() {
        for errno in [libc::ENOSYS, libc::EPERM, libc::ENOMEM, libc::EMFILE] {
            let mut refusals = Vec::new();
            let refuse = |_: &Wish, _: Rung, _: Option<u32>| -> io::Result<()> {
                Err(io::Error::from_raw_os_error(errno))
            };
            let error = climb_by(&wish(false), &mut refusals, refuse).unwrap_err();
            assert_eq!((error.raw_os_error(), refusals.len()), (Some(errno), 1));
        }
    }

    #[test]
    fn e5_a_movable_ring_never_asks_for_a_single_issuer() {
        for rung in Rung::ALL.into_iter().filter(|r| r.fits(true)) {
            assert!(!rung.flags(true).contains("SINGLE_ISSUER"), "{rung}");
        }
    }

    #[test]
    fn e5_a_refusal_is_told_with_its_reason() {
        let info = RingInfo {
            backend: "io_uring",
            rung: Some(Rung::Plain),
            sq_entries: 8,
            cq_entries: 16,
            depth: 8,
            sqpoll: false,
            registered_ring_fd: false,
            features: 0,
            refusals: vec![Refusal {
                asked: Rung::SubmitAll.flags(false).into(),
                errno: libc::EINVAL,
            }],
        };
        let told = info.to_string();
        assert!(told.contains("SUBMIT_ALL refused: Invalid argument"), "{told}");
    }
}
