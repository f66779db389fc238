//! How the kernel's scheduler treats a thread: its class, its priority, its niceness.

use std::io;
use std::ops::RangeInclusive;

/// A class of scheduling, with the priority where the class has one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scheduling {
    /// As the thread that builds the engine: nothing is asked of the kernel.
    #[default]
    Inherit,
    /// `SCHED_OTHER`: shares the processor by niceness.
    Other,
    /// `SCHED_BATCH`: as `Other`, taken for one that computes.
    Batch,
    /// `SCHED_IDLE`: runs when nobody else wants to.
    Idle,
    /// `SCHED_FIFO`: runs until it waits, before every thread of lower priority (1 to 99). Needs `CAP_SYS_NICE` or
    /// `RLIMIT_RTPRIO`.
    Fifo(i32),
    /// `SCHED_RR`: as `Fifo`, taking turns with those of the same priority.
    RoundRobin(i32),
}

impl Scheduling {
    /// The kernel's name of the class, its number and the priority asked for; `None` where nothing is asked.
    pub(crate) fn class(self) -> Option<(&'static str, i32, i32)> {
        Some(match self {
            Self::Inherit => return None,
            Self::Other => ("SCHED_OTHER", libc::SCHED_OTHER, 0),
            Self::Batch => ("SCHED_BATCH", libc::SCHED_BATCH, 0),
            Self::Idle => ("SCHED_IDLE", libc::SCHED_IDLE, 0),
            Self::Fifo(priority) => ("SCHED_FIFO", libc::SCHED_FIFO, priority),
            Self::RoundRobin(priority) => ("SCHED_RR", libc::SCHED_RR, priority),
        })
    }

    /// Priorities that the kernel has for the class.
    pub(crate) fn priorities(self) -> RangeInclusive<i32> {
        let Some((_, class, _)) = self.class() else {
            return 0..=0;
        };
        // SAFETY: no memory; both fail only for a class that does not exist.
        unsafe { libc::sched_get_priority_min(class)..=libc::sched_get_priority_max(class) }
    }

    /// Puts the calling thread into the class.
    pub(crate) fn apply(self) -> io::Result<()> {
        let Some((_, class, priority)) = self.class() else {
            return Ok(());
        };
        let param = libc::sched_param {
            sched_priority: priority,
        };
        // The system call and not libc's function, which with some C libraries refuses to work on a thread.
        // SAFETY: reads one `sched_param`.
        let done = unsafe { libc::syscall(libc::SYS_sched_setscheduler, 0, class, &param) };
        if done < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    /// The class that the calling thread is in.
    pub(crate) fn of_this_thread() -> io::Result<Self> {
        let mut param = libc::sched_param { sched_priority: 0 };
        // SAFETY: no memory.
        let class = unsafe { libc::syscall(libc::SYS_sched_getscheduler, 0) };
        // SAFETY: writes one `sched_param`.
        let read = unsafe { libc::syscall(libc::SYS_sched_getparam, 0, &mut param) };
        if class < 0 || read < 0 {
            return Err(io::Error::last_os_error());
        }
        const RESET_ON_FORK: i32 = 0x4000_0000;
        Ok(match class as i32 & !RESET_ON_FORK {
            libc::SCHED_FIFO => Self::Fifo(param.sched_priority),
            libc::SCHED_RR => Self::RoundRobin(param.sched_priority),
            libc::SCHED_BATCH => Self::Batch,
            libc::SCHED_IDLE => Self::Idle,
            _ => Self::Other,
        })
    }
}

/// Niceness that the kernel knows.
pub(crate) const NICENESS: RangeInclusive<i32> = -20..=19;

/// Sets the niceness of the calling thread.
pub(crate) fn renice(nice: i32) -> io::Result<()> {
    // SAFETY: no memory; 0 names the calling thread.
    if unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// The niceness of the calling thread.
pub(crate) fn niceness() -> i32 {
    // SAFETY: no memory; 0 names the calling thread, of which it cannot fail.
    unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) }
}

/// The smallest stack that the system gives a thread, in bytes.
pub(crate) fn stack_min() -> usize {
    // SAFETY: no memory.
    let told = unsafe { libc::sysconf(libc::_SC_THREAD_STACK_MIN) };
    usize::try_from(told).unwrap_or(0).max(libc::PTHREAD_STACK_MIN)
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn a6_classes_that_need_no_privilege_are_entered() {
        for class in [Scheduling::Batch, Scheduling::Idle] {
            let got = std::thread::spawn(move || {
                class.apply().unwrap();
                Scheduling::of_this_thread().unwrap()
            });
            assert_eq!(got.join().unwrap(), class);
        }
    }

    #[test]
    fn a6_priorities_are_those_of_the_class() {
        assert_eq!(Scheduling::Fifo(1).priorities(), 1..=99);
        assert_eq!(Scheduling::Batch.priorities(), 0..=0);
        let refused = std::thread::spawn(|| Scheduling::Fifo(100).apply().unwrap_err().raw_os_error());
        assert_eq!(refused.join().unwrap(), Some(libc::EINVAL));
    }

    #[test]
    fn a6_niceness_is_that_of_one_thread() {
        let here = niceness();
        let there = std::thread::spawn(move || {
            renice((here + 1).min(19)).unwrap();
            niceness()
        });
        assert_eq!(there.join().unwrap(), (here + 1).min(19));
        assert_eq!(niceness(), here);
    }
}
