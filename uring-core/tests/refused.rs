//! Where io_uring, a disk or memory is refused, full or broken: a clear error with its remedy, and nothing left behind.
//!
//! Each case runs in a child process of its own, since a seccomp filter and a lowered limit cannot be taken back.
#![cfg(not(any(loom, shuttle)))]

use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use uring_core::op::{Nop, Open, Read, Timeout, Write};
use uring_core::{Carrier, ErrorKind, LocalRing, Options, Ring, probe};

const CASE: &str = "URING_REFUSED_CASE";
const LONG: Duration = Duration::from_secs(10);

/// Runs this test again, alone, in a child that knows that it is one.
fn in_child(test: &str, case: fn()) {
    if std::env::var(CASE).is_ok_and(|name| name == test) {
        return case();
    }
    let child = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(CASE, test)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout).into_owned() + &String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success(), "{said}");
}

/// Makes every `io_uring_setup` of this process fail with `errno`, as a container's profile does.
fn refuse_setup(errno: i32) {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const EQUALS: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let mut program = [
        step(LOAD, 0, 0, 0),
        step(EQUALS, 0, 1, libc::SYS_io_uring_setup as u32),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ERRNO | errno as u32),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    install(&mut program);
}

fn install(program: &mut [libc::sock_filter]) {
    let filter = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: plain numbers.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }, 0);
    // SAFETY: the program outlives the call, which copies it.
    let done = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &filter) };
    assert_eq!(done, 0);
}

/// Makes every `io_uring_register` on one ring fail from now on.
fn refuse_register(ring: std::os::fd::BorrowedFd<'_>, errno: i32) {
    use std::os::fd::AsRawFd;
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const EQUALS: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    // The lower half of the first argument of the call.
    const FIRST: u32 = 16 + if cfg!(target_endian = "big") { 4 } else { 0 };
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    install(&mut [
        step(LOAD, 0, 0, 0),
        step(EQUALS, 0, 3, libc::SYS_io_uring_register as u32),
        step(LOAD, 0, 0, FIRST),
        step(EQUALS, 0, 1, ring.as_raw_fd() as u32),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ERRNO | errno as u32),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
    ]);
}

fn limit(resource: u32, value: u64) {
    let limit = libc::rlimit {
        rlim_cur: value,
        rlim_max: value,
    };
    // SAFETY: reads one limit.
    assert_eq!(unsafe { libc::setrlimit(resource, &limit) }, 0);
}

/// io_uring, or nothing.
fn demanded() -> Options {
    Options::new().carrier(Carrier::Uring)
}

/// What a ring is for: a file, a stream, time.
fn carries_everything(ring: &LocalRing) {
    let open = Open::new("/proc/self/exe", libc::O_RDONLY).unwrap();
    let file = Arc::new(ring.block_on(ring.run(open)).unwrap().unwrap());
    let (read, buf) = ring
        .block_on(ring.run(Read::new(file, vec![0; 4]).at(0)))
        .unwrap();
    assert_eq!((read, &buf[..]), (Ok(4), &b"\x7fELF"[..]));
    let (near, mut far) = UnixStream::pair().unwrap();
    let near = Arc::new(near);
    let token = ring.submit(Read::new(Arc::clone(&near), vec![0; 8])).unwrap();
    ring.flush().unwrap();
    far.write_all(b"ping").unwrap();
    let (read, buf) = ring.finish(token, Duration::from_secs(10)).unwrap();
    assert_eq!((read, &buf[..]), (Ok(4), &b"ping"[..]));
    let (written, _) = ring
        .block_on(ring.run(Write::new(near, b"pong".to_vec())))
        .unwrap();
    assert_eq!(written, Ok(4));
    ring.block_on(ring.run(Timeout::after(Duration::from_millis(1))))
        .unwrap()
        .unwrap();
}

/// containerd#9320: where a container's profile refuses io_uring, a ring that did not ask for it works, and says what
/// carries it and why.
#[test]
fn e5_refused_ring_works_on_the_fallback_and_says_so() {
    in_child("e5_refused_ring_works_on_the_fallback_and_says_so", || {
        refuse_setup(libc::EPERM);
        let ring = LocalRing::new().unwrap();
        let info = ring.info();
        assert_eq!((info.backend, info.rung), ("fallback", None));
        assert_eq!(info.refusals.len(), 1);
        assert_eq!(info.refusals[0].errno, libc::EPERM);
        let told = info.to_string();
        assert!(
            told.contains("fallback") && told.contains("io_uring refused: Operation not permitted"),
            "{told}"
        );
        carries_everything(&ring);
        assert_eq!(Ring::new().unwrap().info().backend, "fallback");
    });
}

#[test]
fn e5_kernel_without_io_uring_is_carried_by_the_fallback() {
    in_child("e5_kernel_without_io_uring_is_carried_by_the_fallback", || {
        refuse_setup(libc::ENOSYS);
        let options = Options::new().sqpoll(Duration::from_millis(5));
        let ring = LocalRing::with(&options).unwrap();
        let info = ring.info();
        assert_eq!(info.backend, "fallback");
        assert_eq!(info.refusals[0].errno, libc::ENOSYS);
        assert!(info.refusals.iter().any(|r| r.asked == "SQPOLL"), "{info}");
        carries_everything(&ring);
    });
}

/// What is short for io_uring is short for the fallback too: no second choice, but the remedy.
#[test]
fn e5_shortage_is_an_error_and_not_a_reason_for_the_fallback() {
    in_child(
        "e5_shortage_is_an_error_and_not_a_reason_for_the_fallback",
        || {
            limit(libc::RLIMIT_NOFILE, 3);
            for carrier in [Carrier::Auto, Carrier::Fallback] {
                let told = LocalRing::with(&Options::new().carrier(carrier))
                    .unwrap_err()
                    .to_string();
                assert!(told.contains("ulimit -n"), "{told}");
            }
        },
    );
}

#[test]
fn e5_refusal_by_a_seccomp_profile_names_the_profile() {
    in_child("e5_refusal_by_a_seccomp_profile_names_the_profile", || {
        refuse_setup(libc::EPERM);
        let error = LocalRing::with(&demanded()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused);
        assert_eq!(error.errno().map(|e| e.number()), Some(libc::EPERM));
        let told = error.to_string();
        assert!(
            told.contains("seccomp") || told.contains("io_uring_disabled"),
            "{told}"
        );
        let report = probe();
        assert_eq!(report.refused, Some(libc::EPERM));
        assert!(report.operations.iter().all(|op| !op.available));
        assert!(!report.advice.is_empty());
    });
}

#[test]
fn e5_kernel_without_io_uring_names_the_version_to_run() {
    in_child("e5_kernel_without_io_uring_names_the_version_to_run", || {
        refuse_setup(libc::ENOSYS);
        let told = LocalRing::with(&demanded()).unwrap_err().to_string();
        assert!(told.contains("5.6"), "{told}");
    });
}

#[test]
fn e5_locked_memory_too_low_names_the_limit_and_is_no_reason_for_the_fallback() {
    in_child(
        "e5_locked_memory_too_low_names_the_limit_and_is_no_reason_for_the_fallback",
        || {
            refuse_setup(libc::ENOMEM);
            let error = LocalRing::new().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Refused);
            let told = error.to_string();
            assert_eq!(told.matches("io_uring is refused").count(), 1, "{told}");
            assert!(told.contains("Cannot allocate memory"), "{told}");
            assert!(told.contains("RLIMIT_MEMLOCK: `ulimit -l"), "{told}");
            let fallback = LocalRing::with(&Options::new().carrier(Carrier::Fallback)).unwrap();
            carries_everything(&fallback);
        },
    );
}

/// A gigabyte for each of 64 slots, where the whole process may have four.
#[test]
fn e4_registered_memory_beyond_all_bounds_is_done_without_and_told() {
    in_child(
        "e4_registered_memory_beyond_all_bounds_is_done_without_and_told",
        || {
            use uring_core::engine::{Engine, lease};
            limit(libc::RLIMIT_AS, 4 << 30);
            let engine = Engine::builder()
                .core_count(1)
                .registered_memory(64, 1 << 30)
                .build()
                .unwrap();
            let info = engine.info();
            let told: Vec<_> = info.refused().map(ToString::to_string).collect();
            assert!(
                told.iter()
                    .any(|told| told.contains("64 slots of 1073741824 bytes")
                        && told.contains("allocate memory")),
                "{info}"
            );
            assert_eq!(info.cores[0].registered_bytes, 0);
            let leased = engine.spawn_on(0, || async { lease().is_some() }).unwrap();
            assert!(!leased.wait().unwrap());
            assert_eq!(engine.submit(Nop::new()).wait(), Ok(()));
        },
    );
}

#[test]
fn e5_no_descriptor_left_names_the_limit() {
    in_child("e5_no_descriptor_left_names_the_limit", || {
        limit(libc::RLIMIT_NOFILE, 3);
        let told = LocalRing::new().unwrap_err().to_string();
        assert!(told.contains("ulimit -n"), "{told}");
    });
}

/// The kernel holds a table of registered files to the same limit; everything else of the ring goes on.
#[test]
fn e5_table_of_files_longer_than_the_limit_names_the_limit() {
    in_child("e5_table_of_files_longer_than_the_limit_names_the_limit", || {
        limit(libc::RLIMIT_NOFILE, 32);
        let file = std::fs::File::open("/dev/null").unwrap();
        let ring = LocalRing::with(&Options::new().registered_files(64)).unwrap();
        let error = ring.register_file(&file).unwrap_err();
        assert_eq!(error.errno(), libc::EMFILE);
        assert!(!error.is_retryable());
        assert!(error.to_string().contains("ulimit -n"), "{error}");
        ring.block_on(ring.run(Nop::new())).unwrap().unwrap();
        drop(ring);
        let ring = LocalRing::with(&Options::new().registered_files(16)).unwrap();
        ring.register_file(&file).unwrap();
    });
}

#[test]
fn e5_option_that_no_ring_can_have_is_told() {
    for depth in [0, 16_385, u32::MAX] {
        let error = LocalRing::with(&Options::new().depth(depth)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("16384"), "{error}");
    }
    let most = Options::new().registered_files(u32::MAX);
    for (options, part) in [
        (
            Options::new().sq_entries(0),
            "0 submission entries: choose 1 to 32768",
        ),
        (Options::new().sq_entries(32_769), "choose 1 to 32768"),
        (most.clone(), "choose 1048575 together at most"),
        (most.direct_files(u32::MAX), "choose 1048575 together at most"),
        (
            Options::new().direct_files(1 << 20),
            "choose 1048575 together at most",
        ),
    ] {
        for carrier in [Carrier::Auto, Carrier::Fallback, Carrier::Sim] {
            let error = LocalRing::with(&options.clone().carrier(carrier)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains(part), "{error}");
        }
    }
    LocalRing::with(&Options::new().sq_entries(1)).unwrap();
}

#[test]
fn e1_buffers_that_cannot_be_provided_are_refused_with_what_to_choose() {
    let ring = LocalRing::new().unwrap();
    for (count, bytes, part) in [
        (0, 64, "power of two up to 32768"),
        (3, 64, "power of two up to 32768"),
        (4, 0, "at least one byte"),
        (1 << 15, u32::MAX, "fewer or smaller"),
    ] {
        for error in [
            ring.provide_buffers(count, bytes).unwrap_err(),
            ring.provide_buffers_in_pieces(count, bytes).unwrap_err(),
        ] {
            let told = error.to_string();
            assert!(
                told.contains(&format!("{count} buffers of {bytes} bytes")),
                "{told}"
            );
            assert!(told.contains(part) && !told.contains("ulimit"), "{told}");
        }
    }
}

/// SQPOLL needs a privilege before Linux 5.11; whatever the kernel says, the ring works and tells.
#[test]
fn e8_polling_that_is_refused_leaves_a_ring_without_it() {
    let ring = LocalRing::with(
        &Options::new()
            .depth(4)
            .sqpoll(std::time::Duration::from_millis(5)),
    )
    .unwrap();
    assert!(ring.info().sqpoll || !ring.info().refusals.is_empty());
    ring.block_on(ring.run(Nop::new())).unwrap().unwrap();
}

/// Ring 1 of two is refused by the kernel itself, after ring 0 has taken its part: that is undone.
#[test]
fn e16_what_a_ring_took_is_undone_when_the_kernel_refuses_the_next() {
    in_child(
        "e16_what_a_ring_took_is_undone_when_the_kernel_refuses_the_next",
        || {
            use std::io::{Read as _, Write as _};
            use std::os::unix::net::UnixStream;
            use uring_core::file::Files;
            use uring_core::op::Recv;
            use uring_core::{Core, Ring};
            let (one, two) = (Ring::new().unwrap(), Ring::new().unwrap());
            let rings: [&Core; 2] = [&one, &two];
            let files = Files::new(8);
            let (near, mut far) = UnixStream::pair().unwrap();
            let (next, mut next_far) = UnixStream::pair().unwrap();
            let (old, new) = (
                files.adopt(near.into()).unwrap(),
                files.adopt(next.into()).unwrap(),
            );
            let fixed = files.register_on(&rings, old).unwrap();
            let (third, mut third_far) = UnixStream::pair().unwrap();
            let third = files.adopt(third.into()).unwrap();
            refuse_register(two.poll_fd().unwrap(), libc::EPERM);
            // Registering: the slot on ring 0 is empty again.
            let refused = files.register_on(&rings, third).unwrap_err();
            assert_eq!((refused.ring, refused.error.errno()), (1, libc::EPERM));
            assert_eq!((one.files_held(), files.slot(third)), (1, None));
            let _ = files.close(third).unwrap();
            assert!(
                matches!(third_far.read(&mut [0; 1]), Ok(0)),
                "ring 0 keeps it open"
            );
            // Updating: ring 0 has the old file again.
            let refused = files.replace(&rings, old, new).unwrap_err();
            assert_eq!((refused.ring, refused.error.errno()), (1, libc::EPERM));
            far.write_all(b"old").unwrap();
            next_far.write_all(b"new").unwrap();
            let (count, buf) = one.block_on(one.run(Recv::new(fixed[0], vec![0; 8]))).unwrap();
            assert_eq!((count, &buf[..]), (Ok(3), &b"old"[..]));
            assert_eq!(files.slot(new), None);
            // Buffers.
            let slab = pooled_vec::Slab::new(2, 4096, pooled_vec::AlignedOptions::new()).unwrap();
            let refused = Core::register_slab_on(&rings, &slab).unwrap_err();
            assert_eq!((refused.ring, one.slabs_held()), (1, 0));
        },
    );
}

/// Carriers that this machine has.
fn carriers() -> Vec<Carrier> {
    let refused = probe().refused.is_some();
    let uring = (!refused).then_some(Carrier::Uring);
    uring.into_iter().chain([Carrier::Fallback]).collect()
}

/// A filesystem of 64 KiB that this process alone sees; `None` where that is not permitted.
fn tiny_disk() -> Option<tempfile::TempDir> {
    let dir = tempfile::tempdir().unwrap();
    let place = std::ffi::CString::new(dir.path().to_str().unwrap()).unwrap();
    // SAFETY: changes this process's own view of mounts.
    let alone = unsafe { libc::unshare(libc::CLONE_NEWNS) } == 0;
    let none = std::ptr::null();
    let private = libc::MS_REC | libc::MS_PRIVATE;
    // SAFETY: strings that end with NUL; no data.
    let mine = alone && unsafe { libc::mount(none, c"/".as_ptr(), none, private, none.cast()) } == 0;
    let size = c"size=64k".as_ptr();
    let kind = c"tmpfs".as_ptr();
    // SAFETY: strings that end with NUL.
    let mounted = mine && unsafe { libc::mount(kind, place.as_ptr(), kind, 0, size.cast()) } == 0;
    mounted.then_some(dir)
}

#[test]
fn d7_full_disk_is_an_error_with_the_buffer_and_room_ends_it() {
    in_child(
        "d7_full_disk_is_an_error_with_the_buffer_and_room_ends_it",
        || {
            let Some(dir) = tiny_disk() else {
                eprintln!("skipped: no filesystem can be mounted here");
                return;
            };
            for carrier in carriers() {
                let ring = LocalRing::with(&Options::new().depth(8).carrier(carrier)).unwrap();
                let (ballast, path) = (dir.path().join("ballast"), dir.path().join("file"));
                std::fs::write(&ballast, vec![1; 48 << 10]).unwrap();
                let file = Arc::new(std::fs::File::create(&path).unwrap());
                let write = |at: u64| {
                    let token = ring
                        .submit(Write::new(Arc::clone(&file), vec![7u8; 4096]).at(at))
                        .unwrap();
                    let (written, buf) = ring.finish(token, LONG).unwrap();
                    assert_eq!(buf, vec![7; 4096]);
                    written
                };
                let ended = (0..32).map(|block| write(block * 4096)).find(Result::is_err);
                assert_eq!(
                    ended.expect("the disk is full").unwrap_err().errno(),
                    libc::ENOSPC
                );
                std::fs::remove_file(&ballast).unwrap();
                assert_eq!(write(0), Ok(4096), "{carrier:?}: the ring goes on");
                std::fs::remove_file(&path).unwrap();
            }
        },
    );
}

/// The memory of a process is a file that fails with EIO where nothing is mapped.
#[test]
fn d7_input_output_error_comes_back_with_the_buffer() {
    for carrier in carriers() {
        let ring = LocalRing::with(&Options::new().depth(8).carrier(carrier)).unwrap();
        let memory = Arc::new(std::fs::File::open("/proc/self/mem").unwrap());
        for _ in 0..8 {
            let token = ring
                .submit(Read::new(Arc::clone(&memory), vec![7u8; 64]).at(0))
                .unwrap();
            let (read, buf) = ring.finish(token, LONG).unwrap();
            assert_eq!(
                (read.unwrap_err().errno(), buf.len()),
                (libc::EIO, 64),
                "{carrier:?}"
            );
        }
        let token = ring.submit(Nop::new()).unwrap();
        assert_eq!(ring.finish(token, LONG).unwrap(), Ok(()));
    }
}

/// The new program gets no ring and no operation of the old one; whatever waited for them hears of it.
#[test]
fn d7_exec_with_operations_in_flight_leaves_nothing_behind() {
    let test = "d7_exec_with_operations_in_flight_leaves_nothing_behind";
    in_child(test, || {
        use std::os::unix::process::CommandExt as _;
        let mut rings = Vec::new();
        let (near, far) = UnixStream::pair().unwrap();
        let near = Arc::new(near);
        for carrier in carriers() {
            let ring = LocalRing::with(&Options::new().depth(8).carrier(carrier)).unwrap();
            for _ in 0..8 {
                let read = Read::new(Arc::clone(&near), vec![0u8; 64]);
                ring.submit_with(read, |_| panic!("nothing was sent")).unwrap();
            }
            ring.flush().unwrap();
            rings.push(ring);
        }
        // The new program looks at what it was left; what it was given by others does not count.
        let count = "test -z \"$(ls -l /proc/$$/fd | grep -e io_uring -e eventpoll -e eventfd)\"";
        let failed = Command::new("/bin/sh").args(["-c", count]).exec();
        drop((rings, far));
        panic!("exec: {failed}");
    });
}

/// Puts the setting back, even if the test panics.
struct PutBack(&'static str, String);

impl Drop for PutBack {
    fn drop(&mut self) {
        let _ = std::fs::write(self.0, &self.1);
    }
}

/// `kernel.io_uring_disabled = 1` refuses io_uring to the unprivileged alone, so that nothing else here is touched.
#[test]
fn e5_sysctl_that_refuses_the_unprivileged_is_met_by_the_fallback() {
    const SETTING: &str = "/proc/sys/kernel/io_uring_disabled";
    let test = "e5_sysctl_that_refuses_the_unprivileged_is_met_by_the_fallback";
    if std::env::var(CASE).is_ok_and(|name| name == test) {
        // SAFETY: this process gives up its privileges.
        assert_eq!(unsafe { libc::setgid(65534) } | unsafe { libc::setuid(65534) }, 0);
        let error = LocalRing::with(&demanded()).unwrap_err();
        assert!(error.to_string().contains("io_uring_disabled"), "{error}");
        let ring = LocalRing::with(&Options::new().depth(8)).unwrap();
        assert_eq!(ring.info().backend, "fallback");
        let (near, mut far) = UnixStream::pair().unwrap();
        far.write_all(b"ping").unwrap();
        let token = ring.submit(Read::new(near, vec![0; 8])).unwrap();
        assert_eq!(ring.finish(token, LONG).unwrap().0, Ok(4));
        return;
    }
    let Ok(before) = std::fs::read_to_string(SETTING) else {
        eprintln!("skipped: this kernel has no {SETTING}");
        return;
    };
    // SAFETY: asks who this is.
    let privileged = unsafe { libc::geteuid() } == 0;
    if before.trim() != "0" || !privileged || std::fs::write(SETTING, "1").is_err() {
        eprintln!("skipped: {SETTING} may not be changed here");
        return;
    }
    let _back = PutBack(SETTING, before);
    in_child(test, || ());
}
