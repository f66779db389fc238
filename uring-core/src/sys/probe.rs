//! What this kernel and these limits allow, asked and not guessed.
//!
//! Nothing is concluded from a version number: each set-up flag is tried on a two-entry ring of its own, operations come
//! from the kernel's own list, and the version beside each is only there to say what to upgrade to.

use super::ladder::Rung;
use super::limits::Limits;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

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
        .map(|(code, &(name, since))| Capability {
            name,
            what: "",
            since,
            available: supported[code],
            errno: None,
        })
        .collect();
    let best_rung = if refused.is_some() { None } else { best_rung() };
    let advice = advise(refused, &limits, best_rung);
    Probe {
        refused,
        limits,
        setup,
        features,
        operations,
        best_rung,
        advice,
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
        (libc::ENOMEM, _) => "raise the locked-memory limit: `ulimit -l unlimited`",
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

const CQSIZE: u32 = 1 << 3;
const SINGLE_ISSUER: u32 = 1 << 12;
const COOP_TASKRUN: u32 = 1 << 8;

/// Name, bits that make it valid alone, first kernel, purpose.
const SETUP: &[(&str, u32, &str, &str)] = &[
    (
        "IOPOLL",
        1 << 0,
        "5.1",
        "poll the device instead of taking interrupts",
    ),
    (
        "SQPOLL",
        1 << 1,
        "5.1",
        "a kernel thread takes submissions without a system call",
    ),
    ("CQSIZE", CQSIZE, "5.5", "a completion queue sized apart"),
    ("CLAMP", 1 << 4, "5.6", "queue sizes are clamped, not refused"),
    ("R_DISABLED", 1 << 6, "5.10", "a ring that starts disabled"),
    (
        "SUBMIT_ALL",
        1 << 7,
        "5.18",
        "one bad entry does not stop a batch",
    ),
    (
        "COOP_TASKRUN",
        COOP_TASKRUN,
        "5.19",
        "no interrupt to run completions",
    ),
    (
        "TASKRUN_FLAG",
        (1 << 9) | COOP_TASKRUN,
        "5.19",
        "a flag says that completions wait to be run",
    ),
    ("SQE128", 1 << 10, "5.19", "128-byte submission entries"),
    ("CQE32", 1 << 11, "5.19", "32-byte completion entries"),
    (
        "SINGLE_ISSUER",
        SINGLE_ISSUER,
        "6.0",
        "one thread submits, which saves locking",
    ),
    (
        "DEFER_TASKRUN",
        (1 << 13) | SINGLE_ISSUER,
        "6.1",
        "completions run when asked for, in batches",
    ),
    ("NO_SQARRAY", 1 << 16, "6.6", "submission without an index array"),
    ("HYBRID_IOPOLL", (1 << 17) | 1, "6.13", "sleep first, poll then"),
];

/// Name, first kernel, purpose; the position is the bit.
const FEATURES: &[(&str, &str, &str)] = &[
    ("SINGLE_MMAP", "5.4", "both queues in one mapping"),
    ("NODROP", "5.5", "completions are never lost to a full queue"),
    (
        "SUBMIT_STABLE",
        "5.5",
        "what a submission names may go once it is submitted",
    ),
    ("RW_CUR_POS", "5.6", "reads and writes at the file's own position"),
    (
        "CUR_PERSONALITY",
        "5.6",
        "requests run with the submitter's credentials",
    ),
    ("FAST_POLL", "5.7", "sockets wait without a worker thread"),
    ("POLL_32BITS", "5.9", "all epoll flags"),
    ("SQPOLL_NONFIXED", "5.11", "SQPOLL on any descriptor"),
    ("EXT_ARG", "5.11", "a wait carries its timeout"),
    ("NATIVE_WORKERS", "5.12", "workers are threads of the process"),
    (
        "RSRC_TAGS",
        "5.13",
        "registered resources tell when they are free",
    ),
    ("CQE_SKIP", "5.17", "a success may post no completion"),
    (
        "LINKED_FILE",
        "5.17",
        "a linked entry sees the file opened before it",
    ),
    (
        "REG_REG_RING",
        "6.3",
        "registering through a registered ring descriptor",
    ),
    (
        "RECVSEND_BUNDLE",
        "6.10",
        "several buffers in one send or receive",
    ),
    ("MIN_TIMEOUT", "6.12", "a wait for many that settles for few"),
    ("RW_ATTR", "6.14", "attributes on reads and writes"),
    ("NO_IOWAIT", "6.15", "a wait that does not count as iowait"),
];

/// Name and first kernel; the position is the operation's number.
const OPERATIONS: &[(&str, &str)] = &[
    ("NOP", "5.1"),
    ("READV", "5.1"),
    ("WRITEV", "5.1"),
    ("FSYNC", "5.1"),
    ("READ_FIXED", "5.1"),
    ("WRITE_FIXED", "5.1"),
    ("POLL_ADD", "5.1"),
    ("POLL_REMOVE", "5.1"),
    ("SYNC_FILE_RANGE", "5.2"),
    ("SENDMSG", "5.3"),
    ("RECVMSG", "5.3"),
    ("TIMEOUT", "5.4"),
    ("TIMEOUT_REMOVE", "5.5"),
    ("ACCEPT", "5.5"),
    ("ASYNC_CANCEL", "5.5"),
    ("LINK_TIMEOUT", "5.5"),
    ("CONNECT", "5.5"),
    ("FALLOCATE", "5.6"),
    ("OPENAT", "5.6"),
    ("CLOSE", "5.6"),
    ("FILES_UPDATE", "5.6"),
    ("STATX", "5.6"),
    ("READ", "5.6"),
    ("WRITE", "5.6"),
    ("FADVISE", "5.6"),
    ("MADVISE", "5.6"),
    ("SEND", "5.6"),
    ("RECV", "5.6"),
    ("OPENAT2", "5.6"),
    ("EPOLL_CTL", "5.6"),
    ("SPLICE", "5.7"),
    ("PROVIDE_BUFFERS", "5.7"),
    ("REMOVE_BUFFERS", "5.7"),
    ("TEE", "5.8"),
    ("SHUTDOWN", "5.11"),
    ("RENAMEAT", "5.11"),
    ("UNLINKAT", "5.11"),
    ("MKDIRAT", "5.15"),
    ("SYMLINKAT", "5.15"),
    ("LINKAT", "5.15"),
    ("MSG_RING", "5.18"),
    ("FSETXATTR", "5.19"),
    ("SETXATTR", "5.19"),
    ("FGETXATTR", "5.19"),
    ("GETXATTR", "5.19"),
    ("SOCKET", "5.19"),
    ("URING_CMD", "5.19"),
    ("SEND_ZC", "6.0"),
    ("SENDMSG_ZC", "6.1"),
    ("READ_MULTISHOT", "6.7"),
    ("WAITID", "6.7"),
    ("FUTEX_WAIT", "6.7"),
    ("FUTEX_WAKE", "6.7"),
    ("FUTEX_WAITV", "6.7"),
    ("FIXED_FD_INSTALL", "6.8"),
    ("FTRUNCATE", "6.9"),
    ("BIND", "6.11"),
    ("LISTEN", "6.11"),
    ("RECV_ZC", "6.15"),
    ("EPOLL_WAIT", "6.15"),
    ("READV_FIXED", "6.15"),
    ("WRITEV_FIXED", "6.15"),
    ("PIPE", "6.16"),
];

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
