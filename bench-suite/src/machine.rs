//! What the machine says about time and place: CPUs, thread CPU clocks, stolen ticks.

use std::mem::MaybeUninit;

/// CPUs that this process may run on, ascending.
pub fn online_cpus() -> Vec<usize> {
    let mut set = MaybeUninit::<libc::cpu_set_t>::zeroed();
    // SAFETY: the kernel writes at most the size given into a set of that size.
    let rc = unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), set.as_mut_ptr()) };
    if rc != 0 {
        return vec![0];
    }
    // SAFETY: all bytes were zeroed above and any bit pattern is a valid set.
    let set = unsafe { set.assume_init() };
    // SAFETY: every index is below the set's capacity.
    (0..libc::CPU_SETSIZE as usize)
        .filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &set) })
        .collect()
}

/// Pins the calling thread to one CPU. A refusal leaves it where it was; the spread will tell.
pub fn pin_to(cpu: usize) {
    let mut set = MaybeUninit::<libc::cpu_set_t>::zeroed();
    // SAFETY: all zeroes is the empty set.
    let set = unsafe { set.assume_init_mut() };
    // SAFETY: callers name a CPU that `online_cpus` listed, hence below the set's capacity.
    unsafe { libc::CPU_SET(cpu, set) };
    // SAFETY: reads a set of the size given.
    unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), set) };
}

/// CPU time that the calling thread has used, in nanoseconds.
pub fn thread_cpu_ns() -> u64 {
    clock_ns(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// Monotonic time in nanoseconds.
pub(crate) fn wall_ns() -> u64 {
    clock_ns(libc::CLOCK_MONOTONIC)
}

fn clock_ns(clock: libc::clockid_t) -> u64 {
    let mut at = MaybeUninit::<libc::timespec>::zeroed();
    // SAFETY: writes one timespec; both clocks exist on every Linux that std supports.
    unsafe { libc::clock_gettime(clock, at.as_mut_ptr()) };
    // SAFETY: zeroed, then written; any bit pattern is valid.
    let at = unsafe { at.assume_init() };
    at.tv_sec as u64 * 1_000_000_000 + at.tv_nsec as u64
}

/// Ticks that the hypervisor took from all CPUs since boot, and ticks of all kinds.
pub fn steal_ticks() -> Option<(u64, u64)> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    let fields: Vec<u64> = stat
        .lines()
        .next()?
        .split_ascii_whitespace()
        .skip(1)
        .filter_map(|f| f.parse().ok())
        .collect();
    Some((*fields.get(7)?, fields.iter().take(8).sum()))
}
