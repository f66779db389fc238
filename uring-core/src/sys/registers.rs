//! What can be registered with a ring, tried on one that has nothing registered.

use super::probe::Capability;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

/// `struct io_uring_rsrc_register`, as far as it is used.
#[repr(C)]
#[derive(Default)]
struct Resources {
    count: u32,
    flags: u32,
    rest: [u64; 3],
}

/// `struct io_uring_buf_reg`.
#[repr(C)]
#[derive(Default)]
struct BufRing {
    addr: u64,
    entries: u32,
    group: u16,
    flags: u16,
    rest: [u64; 3],
}

/// `struct io_uring_file_index_range`.
#[repr(C)]
struct Slots {
    first: u32,
    count: u32,
    rest: u64,
}

/// `struct io_uring_napi`, older kernels reading the first two words alone.
#[repr(C)]
#[derive(Default)]
struct BusyPoll {
    limit_us: u32,
    rest: [u32; 3],
}

const _: () = assert!(size_of::<Resources>() == 32 && size_of::<BufRing>() == 40);
const _: () = assert!(size_of::<Slots>() == 16 && size_of::<BusyPoll>() == 16);

const SPARSE: u32 = 1;
const FILES: u32 = 13;
const BUFFERS: u32 = 15;
const BUF_RING: u32 = 22;
const SLOT_RANGE: u32 = 25;
const BUSY_POLL: u32 = 27;

/// The entries of a buffer ring: a page of them, page-aligned.
#[repr(C, align(4096))]
struct Entries([u8; 4096]);

fn register<T>(ring: &OwnedFd, what: u32, arg: &mut T, count: u32) -> io::Result<()> {
    // SAFETY: `arg` has the layout that `what` asks for (asserted above) and outlives the call.
    let done = unsafe {
        libc::syscall(
            libc::SYS_io_uring_register,
            ring.as_raw_fd(),
            what,
            std::ptr::from_mut(arg),
            count,
        )
    };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Tries each thing on a ring that is dropped soon after; nothing where there is no ring.
pub(super) fn registers(ring: Option<&OwnedFd>) -> Vec<Capability> {
    let resources = || Resources {
        count: 2,
        flags: SPARSE,
        ..Resources::default()
    };
    let mut entries = Box::new(Entries([0; 4096]));
    let addr = std::ptr::from_mut(&mut *entries) as u64;
    let buf_ring = |group, flags| BufRing {
        addr,
        entries: 2,
        group,
        flags,
        ..BufRing::default()
    };
    let size = size_of::<Resources>() as u32;
    type Trial<'t> = &'t dyn Fn(&OwnedFd) -> io::Result<()>;
    let trials: [(&'static str, &'static str, &'static str, Trial<'_>); 6] = [
        ("FILES", "5.19", "a table of files with empty slots", &|ring| {
            register(ring, FILES, &mut resources(), size)
        }),
        (
            "FILE_SLOTS",
            "6.0",
            "slots that the kernel picks (`DirectSlots`)",
            &|ring| {
                let mut range = Slots {
                    first: 1,
                    count: 1,
                    rest: 0,
                };
                register(ring, SLOT_RANGE, &mut range, 0)
            },
        ),
        (
            "BUFFERS",
            "5.19",
            "several slabs, each registered by itself",
            &|ring| register(ring, BUFFERS, &mut resources(), size),
        ),
        ("BUF_RING", "5.19", "provided buffers (`BufGroup`)", &|ring| {
            register(ring, BUF_RING, &mut buf_ring(0, 0), 1)
        }),
        (
            "BUF_RING_INC",
            "6.12",
            "provided buffers consumed bit by bit",
            &|ring| {
                let flags = crate::abi::BUF_RING_INCREMENTAL;
                register(ring, BUF_RING, &mut buf_ring(1, flags), 1)
            },
        ),
        (
            "BUSY_POLL",
            "6.9",
            "network queues polled while waiting",
            &|ring| register(ring, BUSY_POLL, &mut BusyPoll::default(), 1),
        ),
    ];
    let tried = trials.into_iter().map(|(name, since, what, trial)| {
        let outcome = ring.map(trial);
        Capability {
            name,
            what,
            since,
            available: matches!(outcome, Some(Ok(()))),
            errno: outcome.and_then(Result::err).and_then(|e| e.raw_os_error()),
        }
    });
    tried.collect()
}
