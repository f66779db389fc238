//! Which processors there are, which a thread may use, and on which it runs.

use std::io;
use std::path::Path;

/// Words of a mask that holds any processor Linux can have (8192).
const WORDS: usize = 128;

/// A set of processors as the kernel writes it.
type Mask = [u64; WORDS];

/// Processors that the calling thread may run on, lowest first.
pub(crate) fn allowed() -> io::Result<Vec<usize>> {
    let mut mask: Mask = [0; WORDS];
    // SAFETY: writes at most as many bytes as the mask has.
    let done = unsafe { libc::sched_getaffinity(0, size_of::<Mask>(), mask.as_mut_ptr().cast()) };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    let set = |cpu: &usize| mask[cpu / 64] & (1 << (cpu % 64)) != 0;
    Ok((0..WORDS * 64).filter(set).collect())
}

/// Lets the calling thread run on these processors alone; those that the machine does not have are passed over.
pub(crate) fn pin(cpus: &[usize]) -> io::Result<()> {
    let mut mask: Mask = [0; WORDS];
    for &cpu in cpus.iter().filter(|&&cpu| cpu < WORDS * 64) {
        mask[cpu / 64] |= 1 << (cpu % 64);
    }
    // SAFETY: reads as many bytes as the mask has.
    let done = unsafe { libc::sched_setaffinity(0, size_of::<Mask>(), mask.as_ptr().cast()) };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// The processor that the calling thread runs on now; it may be another by the time that the caller looks.
#[inline]
pub(crate) fn current() -> usize {
    // SAFETY: no argument; it fails only where the kernel lacks the call, and then every thread counts as on processor 0.
    usize::try_from(unsafe { libc::sched_getcpu() }).unwrap_or(0)
}

/// How many processors the machine can have: numbers from this one on do not exist.
pub(crate) fn possible() -> usize {
    let told = std::fs::read_to_string("/sys/devices/system/cpu/possible").ok();
    let last = told.and_then(|text| parse_list(&text)?.last().copied());
    // SAFETY: no argument.
    let configured = || usize::try_from(unsafe { libc::sysconf(libc::_SC_NPROCESSORS_CONF) }).unwrap_or(1);
    last.map_or_else(configured, |last| last + 1)
}

/// Processors that an interrupt may be delivered to, as `proc` (the root of procfs) tells.
///
/// # Errors
/// Where the kernel has no such interrupt, does not tell, or tells what is no list.
pub(crate) fn of_interrupt(proc: &Path, number: u32) -> io::Result<Vec<usize>> {
    let path = proc.join(format!("irq/{number}/smp_affinity_list"));
    let text = std::fs::read_to_string(path)?;
    match parse_list(&text) {
        Some(cpus) if !cpus.is_empty() => Ok(cpus),
        _ => Err(io::Error::from_raw_os_error(libc::EINVAL)),
    }
}

/// Reads a list as the kernel writes it: `0-3,8,10-11`. `None` where it is something else.
pub(crate) fn parse_list(text: &str) -> Option<Vec<usize>> {
    let mut cpus = Vec::new();
    for part in text.trim().split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let first: usize = first.trim().parse().ok()?;
        let last: usize = last.trim().parse().ok()?;
        if first > last || last >= WORDS * 64 {
            return None;
        }
        cpus.extend(first..=last);
    }
    cpus.sort_unstable();
    cpus.dedup();
    Some(cpus)
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn a6_lists_of_the_kernel_are_read_and_nonsense_is_not() {
        assert_eq!(parse_list("0-3,8,10-11\n"), Some(vec![0, 1, 2, 3, 8, 10, 11]));
        assert_eq!(parse_list("5\n"), Some(vec![5]));
        assert_eq!(parse_list("\n"), Some(vec![]));
        assert_eq!(parse_list("3,1-3"), Some(vec![1, 2, 3]));
        for nonsense in ["a", "3-1", "1-", "-1", "0-99999", "1;2"] {
            assert_eq!(parse_list(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn b16_a_pinned_thread_runs_where_it_was_pinned() {
        for cpu in allowed().unwrap() {
            let ran = std::thread::spawn(move || {
                pin(&[cpu]).unwrap();
                (current(), allowed().unwrap())
            });
            assert_eq!(ran.join().unwrap(), (cpu, vec![cpu]));
        }
        assert!(allowed().unwrap().iter().all(|&cpu| cpu < possible()));
    }

    #[test]
    fn a16_interrupt_is_followed_where_proc_tells() {
        let proc = tempfile::tempdir().unwrap();
        let put = |number: u32, text: &str| {
            let dir = proc.path().join(format!("irq/{number}"));
            std::fs::create_dir_all(&dir).unwrap();
            std::fs::write(dir.join("smp_affinity_list"), text).unwrap();
        };
        put(7, "1\n");
        put(8, "0-1,3\n");
        put(9, "\n");
        assert_eq!(of_interrupt(proc.path(), 7).unwrap(), [1]);
        assert_eq!(of_interrupt(proc.path(), 8).unwrap(), [0, 1, 3]);
        assert_eq!(
            of_interrupt(proc.path(), 9).unwrap_err().raw_os_error(),
            Some(libc::EINVAL)
        );
        assert_eq!(
            of_interrupt(proc.path(), 10).unwrap_err().raw_os_error(),
            Some(libc::ENOENT)
        );
    }
}
