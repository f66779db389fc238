//! Files and slabs that every core's ring has: on all or on none, whatever state a core is in.

use crate::kit::{LONG, alone, asked, engine, keep_busy, state, until};
use pooled_vec::{AlignedOptions, Slab};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use uring_core::ErrorKind;
use uring_core::engine::{CoreState, Engine, NotOnAll, SharedFile, SharedSlab, fixed, ring, run, sleep};
use uring_core::op::{FixedFd, Read, Recv, Write};

fn refused_here() -> bool {
    let refused = uring_core::probe().refused;
    if let Some(errno) = refused {
        eprintln!("skipped: io_uring is refused here (error {errno})");
    }
    refused.is_some()
}

fn file_with(content: &str) -> OwnedFd {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(content.as_bytes()).unwrap();
    file.into()
}

fn register(engine: &Engine, file: impl Into<OwnedFd>) -> SharedFile {
    engine.register_file(file.into()).unwrap()
}

/// Runs something on a core and brings back what it says.
fn on<T: Send + 'static>(engine: &Engine, core: usize, what: impl FnOnce() -> T + Send + 'static) -> T {
    let task = engine.spawn_on(core, move || async move { what() });
    task.unwrap().wait().unwrap()
}

fn slot_on(engine: &Engine, core: usize, file: SharedFile) -> Result<FixedFd, ErrorKind> {
    on(engine, core, move || fixed(file).map_err(|error| error.kind()))
}

fn read_slot(engine: &Engine, core: usize, slot: FixedFd) -> Result<Vec<u8>, i32> {
    let task = engine.spawn_on(core, move || async move {
        let (read, mut buf) = run(Read::new(slot, vec![0; 8]).at(0)).await;
        buf.truncate(read.map_err(|error| error.errno())?);
        Ok(buf)
    });
    task.unwrap().wait().unwrap()
}

fn read_on(engine: &Engine, core: usize, file: SharedFile) -> Vec<u8> {
    let slot = slot_on(engine, core, file).unwrap();
    read_slot(engine, core, slot).unwrap()
}

fn files_held(engine: &Engine, core: usize) -> usize {
    on(engine, core, || ring().files_held())
}

fn slabs_held(engine: &Engine, core: usize) -> usize {
    on(engine, core, || ring().slabs_held())
}

fn hangs_up(mut far: UnixStream) -> bool {
    far.set_read_timeout(Some(LONG)).unwrap();
    loop {
        match far.read(&mut [0; 1]) {
            // A ring that ends interrupts the process's threads.
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            read => return matches!(read, Ok(0)),
        }
    }
}

fn fails(engine: &Engine, core: usize) {
    engine.fail(core).unwrap();
    until("its end", || state(engine, core) == CoreState::Failed);
}

#[test]
fn e16_file_of_an_engine_reaches_every_ring_that_of_a_paused_core_too() {
    if refused_here() {
        return;
    }
    let engine = engine(3);
    assert!(engine.pause(1).unwrap());
    let file = register(&engine, file_with("shared"));
    assert!(engine.resume(1).unwrap());
    let slots: Vec<_> = (0..3).map(|core| slot_on(&engine, core, file).unwrap()).collect();
    for (core, slot) in slots.iter().enumerate() {
        assert_eq!((slot.slot(), files_held(&engine, core)), (slots[0].slot(), 1));
        assert_eq!(read_on(&engine, core, file), b"shared");
    }
    let beside = register(&engine, file_with("beside"));
    assert_ne!(slot_on(&engine, 2, beside).unwrap().slot(), slots[2].slot());
    assert_eq!(
        fixed(file).unwrap_err().kind(),
        ErrorKind::InvalidInput,
        "no core"
    );
    let other = crate::kit::engine(1);
    assert_eq!(slot_on(&other, 0, file), Err(ErrorKind::InvalidInput));
    let foreign = other.unregister_file(file).unwrap_err();
    assert!(foreign.to_string().contains("another engine"), "{foreign}");
}

#[test]
fn e16_core_without_a_free_slot_is_named_and_no_other_keeps_the_file() {
    if refused_here() {
        return;
    }
    let engine = asked(3)
        .ring(|options| options.registered_files(4))
        .build()
        .unwrap();
    on(&engine, 1, || {
        let file = File::open("/dev/null").unwrap();
        while ring().register_file(&file).is_ok() {}
    });
    let (near, far) = UnixStream::pair().unwrap();
    let number = near.as_raw_fd();
    let (refused, back) = engine.register_file(near.into()).unwrap_err();
    assert_eq!(
        (refused.core, refused.error.kind()),
        (Some(1), ErrorKind::WouldBlock)
    );
    let told = refused.to_string();
    assert!(
        told.contains("core 1") && told.contains("registered_files"),
        "{told}"
    );
    assert_eq!(back.as_raw_fd(), number);
    let held: Vec<_> = (0..3).map(|core| files_held(&engine, core)).collect();
    assert_eq!(held, [0, 4, 0]);
    drop(back);
    assert!(hangs_up(far), "no ring keeps it open");
}

#[test]
fn e16_core_that_does_not_answer_is_named_and_what_the_others_did_is_undone() {
    if refused_here() {
        return;
    }
    let engine = engine(3);
    let (near, far) = UnixStream::pair().unwrap();
    let busy = keep_busy(&engine, 1);
    let (refused, near) = engine.register_file(near.into()).unwrap_err();
    assert_eq!(
        (refused.core, refused.error.kind()),
        (Some(1), ErrorKind::WouldBlock)
    );
    let told = refused.to_string();
    assert!(
        told.contains("core 1") && told.contains("blocks its thread"),
        "{told}"
    );
    assert_eq!((files_held(&engine, 0), files_held(&engine, 2)), (0, 0));
    drop(near);
    assert!(hangs_up(far), "no ring keeps it open");
    drop(busy);
    assert_eq!(files_held(&engine, 1), 0, "withdrawn: it comes to nothing later");
    let file = register(&engine, file_with("later"));
    assert_eq!(read_on(&engine, 1, file), b"later");
}

#[test]
fn e16_update_that_one_core_refuses_is_undone_on_every_other() {
    if refused_here() {
        return;
    }
    let engine = engine(3);
    let old = register(&engine, file_with("old"));
    let kept = slot_on(&engine, 1, old).unwrap();
    on(&engine, 1, move || ring().unregister_file(kept).unwrap());
    let (refused, _) = engine.update_file(old, file_with("new")).unwrap_err();
    assert_eq!((refused.core, refused.error.kind()), (Some(1), ErrorKind::Stale));
    assert!(refused.to_string().contains("unregister the file"), "{refused}");
    assert_eq!(
        (read_on(&engine, 0, old), read_on(&engine, 2, old)),
        (b"old".to_vec(), b"old".to_vec())
    );
    assert_eq!(
        read_slot(&engine, 1, kept),
        Err(libc::EBADF),
        "given up there, and not filled again"
    );
    engine.unregister_file(old).unwrap();
    assert_eq!(slot_on(&engine, 0, old), Err(ErrorKind::Closed));
}

#[test]
fn e16_operation_in_flight_on_any_core_during_an_update_ends_on_the_old_file() {
    if refused_here() {
        return;
    }
    let engine = engine(2);
    let (near, mut far) = UnixStream::pair().unwrap();
    let old = register(&engine, near);
    let (ended, ends) = mpsc::channel();
    for core in 0..2 {
        let ended = ended.clone();
        on(&engine, core, move || {
            let receive = Recv::new(fixed(old).unwrap(), vec![0; 4]);
            let submitted = ring().submit_with(receive, move |(received, buf)| {
                ended.send((core, received, buf)).unwrap();
            });
            submitted.unwrap();
            // One is in flight, the other only queued: it was meant for the old file too.
            if core == 0 {
                ring().flush().unwrap();
            }
        });
    }
    let new = engine.update_file(old, file_with("new")).unwrap();
    for core in 0..2 {
        assert_eq!(read_on(&engine, core, new), b"new");
        assert_eq!(slot_on(&engine, core, old), Err(ErrorKind::Closed));
    }
    let mut seen = Vec::new();
    for _ in 0..2 {
        far.write_all(b"old!").unwrap();
        let (core, received, buf) = ends.recv_timeout(LONG).unwrap();
        assert_eq!((received, &buf[..]), (Ok(4), &b"old!"[..]));
        seen.push(core);
    }
    seen.sort_unstable();
    assert_eq!(seen, [0, 1]);
    assert!(hangs_up(far), "nobody keeps the old file");
}

#[test]
fn e2_number_closed_and_reused_never_reaches_the_old_slot_from_another_core() {
    if refused_here() {
        return;
    }
    let engine = asked(2)
        .ring(|options| options.registered_files(2))
        .build()
        .unwrap();
    let first = register(&engine, file_with("first"));
    let kept = slot_on(&engine, 1, first).unwrap();
    engine.unregister_file(first).unwrap();
    // Takes the table's place, and as a rule the number, of the one that was closed.
    let next = register(&engine, file_with("next"));
    for core in 0..2 {
        assert_eq!(slot_on(&engine, core, first), Err(ErrorKind::Closed));
        assert_eq!(read_on(&engine, core, next), b"next");
    }
    assert_eq!(read_slot(&engine, 1, kept), Err(libc::EBADF));
    assert_ne!(slot_on(&engine, 1, next).unwrap().slot(), kept.slot());
    let again = engine.unregister_file(first).unwrap_err();
    assert_eq!((again.core, again.error.kind()), (None, ErrorKind::Closed));
    assert_eq!(read_on(&engine, 0, next), b"next");
    // Every slot is used up, and an update needs none.
    let newer = engine.update_file(next, file_with("newer")).unwrap();
    assert_eq!(read_on(&engine, 1, newer), b"newer");
}

#[test]
fn e16_core_that_is_started_anew_has_what_every_other_has() {
    if refused_here() {
        return;
    }
    let engine = engine(2);
    let (stays, goes) = (
        register(&engine, file_with("stays")),
        register(&engine, file_with("goes")),
    );
    let moves = register(&engine, file_with("before"));
    let slab = engine
        .register_slab(Slab::new(4, 4096, AlignedOptions::new()).unwrap())
        .unwrap();
    let kept = slot_on(&engine, 1, stays).unwrap();
    fails(&engine, 1);
    // While it has no ring.
    engine.unregister_file(goes).unwrap();
    let moved = engine.update_file(moves, file_with("after")).unwrap();
    let came = register(&engine, file_with("came"));
    assert!(engine.resume(1).unwrap());
    for core in 0..2 {
        assert_eq!(read_on(&engine, core, stays), b"stays");
        assert_eq!(read_on(&engine, core, moved), b"after");
        assert_eq!(read_on(&engine, core, came), b"came");
        assert_eq!(slot_on(&engine, core, goes), Err(ErrorKind::Closed));
    }
    assert_eq!(slot_on(&engine, 1, stays).unwrap().slot(), kept.slot());
    assert_eq!(
        read_slot(&engine, 1, kept),
        Err(libc::EINVAL),
        "the ring before is another"
    );
    assert_eq!((files_held(&engine, 1), slabs_held(&engine, 1)), (3, 1));
    through_a_lease(&engine, &slab, 1, "anew");
}

/// Writes and reads a file with registered memory of a core.
fn through_a_lease(engine: &Engine, slab: &SharedSlab, core: usize, content: &'static str) {
    let slab = slab.clone();
    let task = engine.spawn_on(core, move || async move {
        let file = std::sync::Arc::new(File::from(file_with("")));
        let mut buf = slab.lease().unwrap();
        buf[..content.len()].copy_from_slice(content.as_bytes());
        let (written, buf) = run(Write::new(file.clone(), buf).at(0)).await;
        assert_eq!(written.unwrap(), buf.len());
        drop(buf);
        let (read, buf) = run(Read::new(file, slab.lease().unwrap()).at(0)).await;
        assert_eq!(read.unwrap(), 4096);
        buf[..content.len()].to_vec()
    });
    assert_eq!(task.unwrap().wait().unwrap(), content.as_bytes());
}

/// The limit on open files refuses the new ring's table.
#[test]
fn e16_core_whose_new_ring_refuses_is_not_started_anew() {
    if refused_here() || !alone("everywhere::e16_core_whose_new_ring_refuses_is_not_started_anew") {
        return;
    }
    let engine = asked(2)
        .ring(|options| options.registered_files(400))
        .build()
        .unwrap();
    let file = register(&engine, file_with("file"));
    fails(&engine, 1);
    let mut before = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: reads a limit and lowers the soft one; plain numbers.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut before), 0);
        let low = libc::rlimit {
            rlim_cur: 200,
            ..before
        };
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &low), 0);
    }
    let refused = engine.resume(1).unwrap_err();
    assert!(refused.to_string().contains("registering anew"), "{refused}");
    assert_eq!(state(&engine, 1), CoreState::Failed);
    // SAFETY: as above.
    unsafe { assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &before), 0) };
    assert!(engine.resume(1).unwrap());
    assert_eq!(read_on(&engine, 1, file), b"file");
}

#[test]
fn e16_unregistering_reaches_every_ring_or_none() {
    if refused_here() {
        return;
    }
    let engine = engine(3);
    let (near, mut far) = UnixStream::pair().unwrap();
    let file = register(&engine, near);
    let slots: Vec<_> = (0..3).map(|core| slot_on(&engine, core, file).unwrap()).collect();
    let busy = keep_busy(&engine, 2);
    let refused = engine.unregister_file(file).unwrap_err();
    assert_eq!(refused.core, Some(2));
    drop(busy);
    for (core, &slot) in slots.iter().enumerate() {
        far.write_all(b"here").unwrap();
        let task = engine.spawn_on(
            core,
            move || async move { run(Recv::new(slot, vec![0; 4])).await },
        );
        assert_eq!(task.unwrap().wait().unwrap(), (Ok(4), b"here".to_vec()));
    }
    engine.unregister_file(file).unwrap();
    assert!(hangs_up(far));
    for (core, &slot) in slots.iter().enumerate() {
        assert_eq!(read_slot(&engine, core, slot), Err(libc::EBADF));
    }
}

#[test]
fn e16_slab_of_an_engine_is_registered_with_every_ring_or_with_none() {
    if refused_here() {
        return;
    }
    let make = || Slab::new(4, 4096, AlignedOptions::new()).unwrap();
    let engine = engine(2);
    let full = on(&engine, 1, move || {
        (0..64)
            .map(|_| ring().register_slab(make()).unwrap())
            .collect::<Vec<_>>()
    });
    let refused: NotOnAll = engine.register_slab(make()).unwrap_err();
    assert_eq!(
        (refused.core, refused.error.kind()),
        (Some(1), ErrorKind::WouldBlock)
    );
    assert!(refused.to_string().contains("unregister a slab"), "{refused}");
    assert_eq!((slabs_held(&engine, 0), slabs_held(&engine, 1)), (0, 64));
    drop(full);
    let slab = engine.register_slab(make()).unwrap();
    assert!(slab.lease().is_none(), "no core");
    through_a_lease(&engine, &slab, 0, "zero");
    through_a_lease(&engine, &slab, 1, "one");
    // In flight on one core while it is unregistered on all.
    let (near, mut far) = UnixStream::pair().unwrap();
    let own = slab.clone();
    let (went, goes) = mpsc::channel();
    let task = engine.spawn_on(1, move || async move {
        let read = run(Read::new(near, own.lease().unwrap()));
        went.send(()).unwrap();
        let (read, buf) = read.await;
        (read, buf[..4].to_vec(), own.lease().is_none())
    });
    goes.recv_timeout(LONG).unwrap();
    until("the lease", || slab.available() == 3);
    let clone = slab.clone();
    assert!(!engine.unregister_slab(slab).unwrap(), "put off");
    assert_eq!((slabs_held(&engine, 0), slabs_held(&engine, 1)), (0, 1));
    far.write_all(b"late").unwrap();
    assert_eq!(task.unwrap().wait().unwrap(), (Ok(4), b"late".to_vec(), true));
    until("the end of the last lease", || slabs_held(&engine, 1) == 0);
    let again = engine.unregister_slab(clone).unwrap_err();
    assert_eq!(again.error.kind(), ErrorKind::Closed);
}

#[test]
fn e16_engine_dropped_with_everything_registered_lets_go_of_it() {
    if refused_here() {
        return;
    }
    let engine = engine(2);
    let (near, far) = UnixStream::pair().unwrap();
    let file = register(&engine, near);
    let slab = engine
        .register_slab(Slab::new(4, 4096, AlignedOptions::new()).unwrap())
        .unwrap();
    let own = slab.clone();
    let task = engine.spawn_on(0, move || async move {
        let _lease = own.lease();
        let slot = fixed(file).unwrap();
        let received = run(Recv::new(slot, vec![0; 4])).await;
        sleep(LONG).await;
        received
    });
    let task = task.unwrap();
    until("the lease", || slab.available() == 3);
    assert!(engine.shut_down());
    let (refused, _) = engine.register_file(file_with("late")).unwrap_err();
    assert_eq!((refused.core, refused.error.kind()), (None, ErrorKind::Closed));
    assert!(
        engine
            .register_slab(Slab::new(1, 4096, AlignedOptions::new()).unwrap())
            .is_err()
    );
    drop(engine);
    assert!(task.wait().is_err());
    assert!(hangs_up(far));
    assert_eq!(slab.available(), 4);
}
