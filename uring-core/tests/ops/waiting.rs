//! Words of memory and children that are waited for.

use super::drive::*;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use uring_core::op::{ChildEvent, Children, FutexWait, FutexWake, WaitId, Within};
use uring_core::{ErrorKind, Options};

#[test]
fn d7_futex_wait_ends_by_a_wake_of_the_ring_or_of_the_system_call() {
    let ring = clean(&Options::new());
    let word = Arc::new(AtomicU32::new(3));
    let differs = done(&ring, FutexWait::new(Arc::clone(&word), 4)).unwrap_err();
    assert_eq!(
        (differs.kind(), differs.errno()),
        (ErrorKind::WouldBlock, libc::EAGAIN)
    );
    assert_eq!(
        done(&ring, FutexWake::new(Arc::clone(&word), 1)),
        Ok(0),
        "nobody waits"
    );
    for by_ring in [true, false] {
        let waits: Vec<_> = (0..3)
            .map(|_| ring.submit(FutexWait::new(Arc::clone(&word), 3)).unwrap())
            .collect();
        ring.flush().unwrap();
        if by_ring {
            assert_eq!(done(&ring, FutexWake::new(Arc::clone(&word), 2)), Ok(2));
            assert_eq!(done(&ring, FutexWake::new(Arc::clone(&word), u32::MAX)), Ok(1));
        } else {
            let op = libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG;
            // SAFETY: the word lives.
            let woken = unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), op, 9) };
            assert_eq!(woken, 3);
        }
        for wait in waits {
            ring.finish(wait, LONG).unwrap().unwrap();
        }
    }
    let bounded = done(
        &ring,
        Within::new(Duration::from_millis(5), FutexWait::new(Arc::clone(&word), 3)),
    );
    assert!(bounded.unwrap_err().is_cancelled());
    assert_eq!(Arc::strong_count(&word), 1);
}

#[test]
fn d7_ring_that_waits_for_a_word_wakes_when_another_thread_wakes_it() {
    static WORD: AtomicU32 = AtomicU32::new(0);
    let ring = clean(&Options::new());
    let wait = ring.submit(FutexWait::new(&WORD, 0).shared()).unwrap();
    ring.flush().unwrap();
    let waker = std::thread::spawn(|| {
        let ring = clean(&Options::new());
        WORD.store(1, Ordering::Relaxed);
        done(&ring, FutexWake::new(&WORD, 1).shared()).unwrap()
    });
    ring.finish(wait, LONG).unwrap().unwrap();
    assert_eq!(waker.join().unwrap(), 1);
}

#[test]
fn d7_child_is_waited_for_and_what_became_of_it_is_told() {
    let ring = clean(&Options::new());
    // The ring waits for it, and nobody else.
    #[expect(clippy::zombie_processes)]
    let spawn = |script: &str| {
        let child = Command::new("sh").args(["-c", script]).spawn().unwrap();
        child.id()
    };
    let pid = spawn("exit 7");
    let event = done(&ring, WaitId::new(Children::Pid(pid))).unwrap();
    assert_eq!(event, Some(ChildEvent::Exited { pid, status: 7 }));
    let pid = spawn("kill -9 $$");
    let event = done(&ring, WaitId::new(Children::Pid(pid))).unwrap();
    let dumped = false;
    assert_eq!(
        event,
        Some(ChildEvent::Killed {
            pid,
            signal: 9,
            dumped
        })
    );
    let gone = done(&ring, WaitId::new(Children::Pid(pid))).unwrap_err();
    assert_eq!(gone.errno(), libc::ECHILD);
    let pid = spawn("sleep 60");
    let now = done(
        &ring,
        WaitId::new(Children::Pid(pid)).options(libc::WEXITED | libc::WNOHANG),
    );
    assert_eq!(now, Ok(None), "it runs");
    let wait = ring.submit(WaitId::new(Children::Pid(pid))).unwrap();
    ring.flush().unwrap();
    ring.cancel(&wait).unwrap();
    assert!(ring.finish(wait, LONG).unwrap().unwrap_err().is_cancelled());
    // SAFETY: our own child, not waited for yet.
    assert_eq!(unsafe { libc::kill(pid as i32, libc::SIGKILL) }, 0);
    let event = done(&ring, WaitId::new(Children::Pid(pid))).unwrap();
    assert!(matches!(event, Some(ChildEvent::Killed { signal: 9, .. })));
}
