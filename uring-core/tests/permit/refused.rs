//! A kernel without `openat2`: nothing is opened rather than something unbounded.

use super::ring::{Tree, all_of, rings};
use std::process::Command;
use uring_core::permit::PermitKind;

const CASE: &str = "URING_PERMIT_REFUSED_CASE";

/// Makes every `openat2` of this process fail as it does before Linux 5.6.
fn without_openat2() {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const EQUALS: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let mut program = [
        step(LOAD, 0, 0, 0),
        step(EQUALS, 0, 1, libc::SYS_openat2 as u32),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
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

#[test]
fn c8_without_openat2_nothing_is_opened() {
    if std::env::var(CASE).is_err() {
        let child = Command::new(std::env::current_exe().unwrap())
            .args([
                "refused::c8_without_openat2_nothing_is_opened",
                "--exact",
                "--nocapture",
                "--test-threads=1",
            ])
            .env(CASE, "1")
            .output()
            .unwrap();
        let said =
            String::from_utf8_lossy(&child.stdout).into_owned() + &String::from_utf8_lossy(&child.stderr);
        assert!(child.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    let tree = Tree::new();
    let policy = all_of(tree.root());
    // The filter sees system calls, and what a ring does is none: the fallback is what it reaches.
    without_openat2();
    let [_, fallback] = rings();
    let open = |path, flags| fallback.block_on(policy.open_on(&fallback, path, flags)).unwrap();
    let told = open("/m/d/f", libc::O_RDONLY).unwrap_err();
    assert_eq!(told.kind(), PermitKind::Unsupported, "{told}");
    assert_eq!(
        open("/m/d/new", libc::O_WRONLY | libc::O_CREAT)
            .unwrap_err()
            .kind(),
        PermitKind::Unsupported
    );
    assert!(!tree.at("root/d/new").exists());
    let made = fallback.block_on(policy.mkdir(&fallback, "/m/d/made")).unwrap();
    assert_eq!(made.unwrap_err().kind(), PermitKind::Unsupported);
    assert!(!tree.at("root/d/made").exists());
    assert!(
        std::fs::read(tree.at("root/d/f")).is_ok(),
        "the open without bounds would have worked"
    );
}
