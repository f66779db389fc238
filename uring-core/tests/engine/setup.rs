//! How cores are set up, and what is refused.

use crate::kit::{alone, asked, engine};
use uring_core::engine::{Affinity, Engine, Scheduling, current_core};
use uring_core::{ErrorKind, LocalRing};

fn allowed() -> Vec<usize> {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    let list = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let mut cpus = vec![];
    for part in list.unwrap().trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        cpus.extend(first.parse::<usize>().unwrap()..=last.parse().unwrap());
    }
    cpus
}

#[test]
fn e4_every_processor_has_a_core_whose_thread_runs_there() {
    let engine = Engine::new().unwrap();
    assert_eq!(engine.core_count(), allowed().len());
    for (core, cpu) in allowed().into_iter().enumerate() {
        let seen = engine.spawn_on(core, move || async move { (current_core(), allowed()) });
        let info = &engine.info().cores[core];
        if info.refusals.is_empty() {
            assert_eq!(seen.unwrap().wait().unwrap(), (Some(core), vec![cpu]));
            assert_eq!(info.runs_on, [cpu]);
        }
    }
}

#[test]
fn a6_what_was_asked_of_a_thread_is_what_it_got_or_the_report_says_why_not() {
    // SAFETY: no memory.
    let nice_here = unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
    let nice = (nice_here + 1).min(19);
    let engine = asked(1)
        .scheduling(Scheduling::Batch)
        .nice(nice)
        .stack_bytes(1 << 20)
        .build()
        .unwrap();
    let info = engine.info();
    assert_eq!(
        (info.cores[0].scheduling, info.cores[0].nice),
        (Scheduling::Batch, nice)
    );
    assert_eq!(info.refused().count(), 0, "{info}");
}

/// Gives up, for the threads begun from here, the privilege to raise priorities.
fn without_privilege<R: Send>(f: impl FnOnce() -> R + Send) -> R {
    std::thread::scope(|scope| {
        let unprivileged = scope.spawn(|| {
            #[repr(C)]
            struct Header {
                version: u32,
                pid: i32,
            }
            let header = Header {
                version: 0x2008_0522,
                pid: 0,
            };
            let none = [0u32; 6];
            let limit = libc::rlimit {
                rlim_cur: 0,
                rlim_max: 0,
            };
            let mut before = limit;
            // SAFETY: reads and writes one `rlimit` each; the process is this test's alone.
            unsafe {
                libc::getrlimit(libc::RLIMIT_RTPRIO, &mut before);
                libc::setrlimit(
                    libc::RLIMIT_RTPRIO,
                    &libc::rlimit {
                        rlim_cur: 0,
                        ..before
                    },
                );
            }
            // SAFETY: reads a header and two sets; only this thread loses its capabilities, and those it starts.
            let dropped = unsafe { libc::syscall(libc::SYS_capset, &header, none.as_ptr()) };
            assert_eq!(dropped, 0, "{}", std::io::Error::last_os_error());
            f()
        });
        unprivileged.join().unwrap()
    })
}

#[test]
fn a6_refused_permission_falls_back_and_says_so() {
    if !alone("setup::a6_refused_permission_falls_back_and_says_so") {
        return;
    }
    let (info, ran) = without_privilege(|| {
        let engine = asked(2)
            .scheduling(Scheduling::Fifo(10))
            .nice(-20)
            .build()
            .unwrap();
        let ran = engine
            .spawn_on(1, || async { current_core() })
            .unwrap()
            .wait()
            .unwrap();
        (engine.info(), ran)
    });
    assert_eq!(ran, Some(1), "it goes on without");
    for core in &info.cores {
        assert_eq!(core.scheduling, Scheduling::Other);
        let told: Vec<_> = core
            .refusals
            .iter()
            .map(|r| (r.asked.as_str(), r.errno))
            .collect();
        assert_eq!(
            told,
            [("Fifo(10)", libc::EPERM), ("niceness -20", libc::EACCES)],
            "{info}"
        );
    }
    let shown = info.to_string();
    assert!(
        shown.contains("Fifo(10) refused: Operation not permitted"),
        "{shown}"
    );
}

#[test]
fn a6_nonsense_is_refused_before_anything_is_started() {
    let error = asked(1).nice(-21).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(
        error.to_string().contains("niceness -21: choose -20 to 19"),
        "{error}"
    );
    let absent = Engine::builder().cores([8191]).build().unwrap_err();
    assert!(
        absent
            .to_string()
            .contains("processor 8191: this machine has 0 to"),
        "{absent}"
    );
    let depth = asked(1).depth(0).build().unwrap_err();
    assert!(depth.to_string().contains("depth 0"), "{depth}");
}

#[test]
fn a11_node_zero_is_every_machines_and_one_out_of_range_is_a_clear_error() {
    let engine = Engine::builder().numa_node(0).core_count(1).build().unwrap();
    let info = engine.info();
    let core = &info.cores[0];
    assert!(core.node == Some(0) || core.refusals.iter().any(|r| r.asked == "memory of node 0"));
    let error = Engine::builder().numa_node(999).build().unwrap_err();
    assert!(
        error.to_string().contains("memory node 999: this machine has [0"),
        "{error}"
    );
}

#[test]
fn a16_without_the_interrupts_file_cores_are_pinned_as_ever_and_the_report_says_so() {
    let engine = Engine::builder()
        .affinity(Affinity::Interrupt(u32::MAX))
        .core_count(1)
        .build()
        .unwrap();
    let info = engine.info();
    let told: Vec<_> = info
        .refusals
        .iter()
        .map(|r| (r.asked.as_str(), r.errno))
        .collect();
    assert_eq!(told, [("the processors of interrupt 4294967295", libc::ENOENT)]);
    assert!(
        info.to_string().contains("interrupt 4294967295 refused"),
        "{info}"
    );
}

#[test]
fn a_core_that_cannot_be_made_takes_the_others_with_it() {
    if !alone("setup::a_core_that_cannot_be_made_takes_the_others_with_it") {
        return;
    }
    // Descriptors run out at some core, a different one each time; the threads of the others are over by the error.
    let threads = || std::fs::read_dir("/proc/self/task").unwrap().count();
    let mut before = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: writes one `rlimit`.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut before) }, 0);
    drop(engine(1));
    let at_rest = threads();
    let mut failed = 0;
    for spare in [2, 5, 9, 14] {
        let open = std::fs::read_dir("/proc/self/fd").unwrap().count() as u64;
        let low = libc::rlimit {
            rlim_cur: open + spare,
            ..before
        };
        // SAFETY: reads one `rlimit`.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &low) }, 0);
        let made = asked(8).ring(|ring| ring.registered_files(0)).build();
        // SAFETY: as above.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &before) }, 0);
        if let Err(error) = made {
            failed += 1;
            assert!(!error.to_string().is_empty());
            assert_eq!(threads(), at_rest, "{error}");
        }
    }
    assert!(failed > 0, "the limit never bit");
    drop(LocalRing::new().unwrap());
}

#[test]
fn each_core_has_registered_memory_of_its_own() {
    let engine = asked(2).registered_memory(4, 4096).build().unwrap();
    let file = std::sync::Arc::new(std::fs::File::open("/proc/self/exe").unwrap());
    for core in 0..2 {
        let file = std::sync::Arc::clone(&file);
        let task = engine.spawn_on(core, move || async move {
            let buf = uring_core::engine::lease().expect("four are free");
            let (read, buf) = uring_core::engine::run(uring_core::op::Read::new(file, buf).at(0)).await;
            (read, buf[..4] == *b"\x7fELF")
        });
        assert_eq!(task.unwrap().wait().unwrap(), (Ok(4096), true));
    }
    assert!(uring_core::engine::lease().is_none(), "no core of any engine");
}
