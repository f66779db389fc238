//! The kernel's number closed behind the table's back. Alone in its process: the number must not go to another test.
#![cfg(not(any(loom, shuttle)))]

use epoch_fdtable::RegisteredFiles;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

#[test]
fn e2_a_bare_number_closed_behind_our_back_never_resolves_to_the_old_slot() {
    let files = RegisteredFiles::new(8);
    let first = files.adopt(File::open("/dev/null").unwrap().into()).unwrap();
    files.bind(first, 7).unwrap();
    let number = files.pin().iter().next().unwrap().1.as_fd().as_raw_fd();
    // SAFETY: none: this is the fault that the test commits, in a process where nobody else opens files.
    assert_eq!(unsafe { libc::close(number) }, 0);
    let stranger: OwnedFd = File::open("/dev/zero").unwrap().into();
    assert_eq!(
        stranger.as_raw_fd(),
        number,
        "the kernel gave the number out again"
    );
    // The stranger has no slot, whatever its number had: slots are found by our descriptor alone.
    let second = files.adopt(stranger).unwrap();
    assert_ne!(second, first);
    assert_eq!(files.pin().slot(second), None);
    // The old descriptor still leads to slot 7, which still names the old file: the kernel keeps it registered.
    assert_eq!(files.pin().slot(first), Some(7));
    files.bind(second, 8).unwrap();
    assert_eq!(files.pin().slot(second), Some(8));
    // Two owners of one number cannot both close it: the process ends with the table as it is.
    std::mem::forget(files);
}
