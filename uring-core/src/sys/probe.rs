//! What this kernel and these limits allow, asked and not guessed.
//!
//! Nothing is concluded from a version number: each set-up flag is tried on a two-entry ring of its own, operations come
//! from the kernel's own list, and the version beside each is only there to say what to upgrade to.

use super::known::{CQSIZE, FEATURES, OPERATIONS, SETUP};
use super::ladder::Rung;
use super::limits::Limits;
use super::registers::registers;
use crate::error::{Error, ErrorKind};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::OnceLock;

/// One thing that a kernel may have.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capability {
    /// Its name in the kernel's header, without the prefix.
    pub name: &'static str,
    /// What it is good for.
    pub what: &'static str,
    /// The first kernel that has it.
    pub since: &'static str,
    /// Whether it is here.
    pub available: bool,
    /// The error number of the refusal, where one was seen.
    pub errno: Option<i32>,
}

/// Something to change, and what it gains.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Advice {
    /// What was found.
    pub found: String,
    /// What to do about it.
    pub remedy: String,
}

/// The whole report.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Probe {
    /// The error number with which io_uring is refused altogether; `None` when it works.
    pub refused: Option<i32>,
    /// Limits and switches.
    pub limits: Limits,
    /// Set-up flags, each tried on a ring of its own.
    pub setup: Vec<Capability>,
    /// Properties that the kernel reports of every ring.
    pub features: Vec<Capability>,
    /// Operations by name.
    pub operations: Vec<Capability>,
    /// What can be registered with a ring, each tried on one.
    pub registers: Vec<Capability>,
    /// The rung that a thread's own ring reaches.
    pub best_rung: Option<Rung>,
    /// What to change to get more.
    pub advice: Vec<Advice>,
}

/// Asks the kernel. Takes some 20 system calls and opens nothing that stays open.
///
/// ```
/// let probe = uring_core::probe();
/// match probe.refused {
///     None => println!("io_uring works, {} operations", probe.operations.iter().filter(|o| o.available).count()),
///     Some(_) => println!("{}", probe.advice[0].remedy),
/// }
/// ```
pub fn probe() -> Probe {
    let limits = Limits::read();
    let plain = setup(0, 0);
    let refused = plain.as_ref().err().map(errno);
    let features = plain.as_ref().map_or(0, |(_, features)| *features);
    let supported = plain.as_ref().map_or([false; 256], |(fd, _)| operations(fd));
    let tried = SETUP.iter().map(|&(name, bits, since, what)| {
        let outcome = if refused.is_some() {
            None
        } else {
            Some(setup(bits, 0))
        };
        Capability {
            name,
            what,
            since,
            available: matches!(outcome, Some(Ok(_))),
            errno: outcome.and_then(|o| o.err()).as_ref().map(errno).or(refused),
        }
    });
    let setup: Vec<_> = tried.collect();
    let features = FEATURES
        .iter()
        .enumerate()
        .map(|(bit, &(name, since, what))| Capability {
            name,
            what,
            since,
            available: features & (1 << bit) != 0,
            errno: None,
        })
        .collect();
    let operations = OPERATIONS
        .iter()
        .enumerate()
        .map(|(code, &(name, since, what))| Capability {
            name,
            what,
            since,
            available: supported[code],
            errno: None,
        })
        .collect();
    let registers = registers(plain.as_ref().ok().map(|(fd, _)| fd));
    let best_rung = if refused.is_some() { None } else { best_rung() };
    let advice = advise(refused, &limits, best_rung);
    Probe {
        refused,
        limits,
        setup,
        features,
        operations,
        registers,
        best_rung,
        advice,
    }
}

/// Names an operation by its number, with the first kernel that has it.
pub(crate) fn operation(code: u8) -> Option<(&'static str, &'static str)> {
    let &(name, since, _) = OPERATIONS.get(usize::from(code))?;
    Some((name, since))
}

/// Tells a refusal of an operation that this kernel does not have from one of its arguments.
///
/// The kernel answers `EINVAL` for a number that it does not know and `EOPNOTSUPP` for what it was built without, and
/// both for arguments too; its own list decides. Where there is no list (io_uring is refused) the error stands.
#[cold]
pub(crate) fn judge(error: Error, code: u8) -> Error {
    static LISTED: OnceLock<Option<[bool; 256]>> = OnceLock::new();
    if !matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) {
        return error;
    }
    let listed = LISTED.get_or_init(|| setup(0, 0).ok().map(|(fd, _)| operations(&fd)));
    judged(error, code, listed.as_ref())
}

fn judged(error: Error, code: u8, listed: Option<&[bool; 256]>) -> Error {
    match listed {
        // A kernel before 5.6 has no list; an empty one says nothing.
        Some(listed) if listed[0] && !listed[usize::from(code)] => Error::lacking(code),
        _ => error,
    }
}

fn best_rung() -> Option<Rung> {
    let wish = super::ladder::Wish {
        sq_entries: 2,
        cq_entries: 4,
        movable: false,
        sqpoll_idle_ms: None,
        highest: None,
    };
    super::ladder::climb(&wish).ok().and_then(|(_, info)| info.rung)
}

/// Tells, for each thing that holds this process back, the remedy.
fn advise(refused: Option<i32>, limits: &Limits, rung: Option<Rung>) -> Vec<Advice> {
    let mut advice = Vec::new();
    if let Some(errno) = refused {
        advice.push(refusal_advice(errno, limits));
    }
    if let Some(rung) = rung.filter(|r| *r > Rung::NoSqArray) {
        advice.push(Advice {
            found: format!("rings are set up as \"{rung}\""),
            remedy: format!(
                "run Linux {} or later for the best set-up",
                Rung::NoSqArray.since()
            ),
        });
    }
    if limits.memlock_bytes.is_some_and(|bytes| bytes < 64 << 20) {
        let kib = limits.memlock_bytes.unwrap_or(0) >> 10;
        advice.push(Advice {
            found: format!("locked memory is limited to {kib} KiB, so few buffers can be registered"),
            remedy: "raise it: `ulimit -l unlimited`, or `LimitMEMLOCK=infinity` in the service file".into(),
        });
    }
    if limits.open_files.is_some_and(|files| files < 4096) {
        let files = limits.open_files.unwrap_or(0);
        advice.push(Advice {
            found: format!("open files are limited to {files}"),
            remedy: "raise it: `ulimit -n 65536`, or `LimitNOFILE=65536` in the service file".into(),
        });
    }
    advice
}

pub(crate) fn refusal_advice(errno: i32, limits: &Limits) -> Advice {
    let why = io::Error::from_raw_os_error(errno);
    let remedy = match (errno, limits.uring_disabled) {
        (libc::ENOSYS, _) => {
            "run Linux 5.6 or later with CONFIG_IO_URING (or lift the seccomp filter that hides it)"
        }
        (_, Some(2)) => "the administrator switched it off: `sysctl kernel.io_uring_disabled=0`",
        (_, Some(1)) => {
            "allow this user: join the group of `kernel.io_uring_group`, or `sysctl kernel.io_uring_disabled=0`"
        }
        (libc::EPERM | libc::EACCES, _) => {
            "a seccomp profile (most containers) or a security module refuses it: allow io_uring_setup, \
             io_uring_enter and io_uring_register, e.g. `--security-opt seccomp=profile.json`"
        }
        (libc::ENOMEM, _) => {
            "raise the locked-memory limit, RLIMIT_MEMLOCK: `ulimit -l unlimited`, or `LimitMEMLOCK=infinity` of a service"
        }
        (libc::EMFILE, _) => "raise the open-files limit: `ulimit -n 65536`",
        (libc::ENFILE, _) => "the whole system is out of files: raise `sysctl fs.file-max`",
        _ => "see io_uring_setup(2) for this error",
    };
    Advice {
        found: format!("io_uring is refused: {why}"),
        remedy: remedy.into(),
    }
}

/// `struct io_uring_params`, of which only the words named are used.
#[repr(C)]
#[derive(Default)]
struct Params {
    sq_entries: u32,
    cq_entries: u32,
    flags: u32,
    sq_thread_cpu: u32,
    sq_thread_idle: u32,
    features: u32,
    rest: [u32; 24],
}

fn setup(flags: u32, cq_entries: u32) -> io::Result<(OwnedFd, u32)> {
    let mut params = Params {
        flags,
        cq_entries,
        ..Params::default()
    };
    if flags & CQSIZE != 0 {
        params.cq_entries = 8;
    }
    // SAFETY: `params` has the 120 bytes of the kernel's struct.
    let fd = unsafe { libc::syscall(libc::SYS_io_uring_setup, 2, &mut params) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a descriptor just made, owned by nobody else.
    Ok((unsafe { OwnedFd::from_raw_fd(fd as i32) }, params.features))
}

const _: () = assert!(size_of::<Params>() == 120);

fn errno(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(0)
}

/// Which operations the kernel lists (`IORING_REGISTER_PROBE`, Linux 5.6).
fn operations(fd: &OwnedFd) -> [bool; 256] {
    #[repr(C)]
    #[derive(Clone, Copy)]
    struct Op {
        op: u8,
        resv: u8,
        flags: u16,
        resv2: u32,
    }
    #[repr(C)]
    struct Listing {
        last_op: u8,
        len: u8,
        resv: u16,
        resv2: [u32; 3],
        ops: [Op; 256],
    }
    const REGISTER_PROBE: u32 = 8;
    const SUPPORTED: u16 = 1;
    let mut listing = Listing {
        last_op: 0,
        len: 0,
        resv: 0,
        resv2: [0; 3],
        ops: [Op {
            op: 0,
            resv: 0,
            flags: 0,
            resv2: 0,
        }; 256],
    };
    let mut supported = [false; 256];
    // SAFETY: the listing has room for the 256 entries announced.
    let done = unsafe {
        libc::syscall(
            libc::SYS_io_uring_register,
            fd.as_raw_fd(),
            REGISTER_PROBE,
            &mut listing,
            256u32,
        )
    };
    if done == 0 {
        for op in &listing.ops[..listing.len as usize] {
            supported[op.op as usize] = op.flags & SUPPORTED != 0;
        }
    }
    supported
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn e14_probe_agrees_with_the_crates_own_listing() {
        let report = probe();
        let Ok(ring) = io_uring::IoUring::new(2) else {
            assert!(report.refused.is_some() && !report.advice.is_empty());
            return;
        };
        assert_eq!(report.refused, None);
        let mut listing = io_uring::Probe::new();
        ring.submitter().register_probe(&mut listing).unwrap();
        for (code, op) in report.operations.iter().enumerate() {
            assert_eq!(op.available, listing.is_supported(code as u8), "{}", op.name);
        }
        let feature = |name| report.features.iter().find(|f| f.name == name).unwrap().available;
        assert_eq!(feature("NODROP"), ring.params().is_feature_nodrop());
        assert_eq!(feature("EXT_ARG"), ring.params().is_feature_ext_arg());
        assert!(report.setup.iter().any(|s| s.available));
    }

    #[test]
    fn e14_what_is_missing_is_unsupported_and_what_is_refused_is_not() {
        let invalid = Error::from_errno(libc::EINVAL);
        let futex = crate::abi::code::FUTEX_WAIT;
        let mut old = [true; 256];
        old[usize::from(futex)] = false;
        let told = judged(invalid, futex, Some(&old));
        assert_eq!(told.missing_operation(), Some(("FUTEX_WAIT", "6.7")));
        assert_eq!(judged(invalid, crate::abi::code::READ, Some(&old)), invalid);
        assert_eq!(judged(invalid, futex, Some(&[false; 256])), invalid);
        assert_eq!(judged(invalid, futex, None), invalid);
        let other = Error::from_errno(libc::EBADF);
        assert_eq!(judge(other, futex), other);
    }

    #[test]
    fn e14_every_operation_of_ours_is_described() {
        for (code, &(name, _, what)) in OPERATIONS.iter().enumerate() {
            assert_eq!(operation(code as u8).unwrap().0, name);
            if what.is_empty() {
                continue;
            }
            assert!(!what.ends_with('.'), "{name}: {what}");
        }
        assert_eq!(operation(255), None);
    }

    #[test]
    fn e14_each_refusal_names_a_remedy_of_its_own() {
        let open = Limits {
            uring_disabled: Some(0),
            ..Limits::default()
        };
        let off = Limits {
            uring_disabled: Some(2),
            ..Limits::default()
        };
        assert!(
            refusal_advice(libc::EPERM, &off)
                .remedy
                .contains("io_uring_disabled")
        );
        assert!(refusal_advice(libc::EPERM, &open).remedy.contains("seccomp"));
        assert!(refusal_advice(libc::ENOSYS, &open).remedy.contains("5.6"));
        assert!(refusal_advice(libc::ENOMEM, &open).remedy.contains("ulimit -l"));
        let small = Limits {
            memlock_bytes: Some(65536),
            open_files: Some(256),
            ..open
        };
        let told = advise(None, &small, Some(Rung::Plain));
        assert_eq!(told.len(), 3, "{told:?}");
    }
}
