//! What making a queue settles. In a file of its own, hence a process of its own: whoever else uses a barrier settles it too.
#![cfg(not(any(loom, shuttle)))]

use sync_base::queue::{Overrun, spsc};

/// Commands of `membarrier(2)`, from `linux/membarrier.h`.
const QUERY: libc::c_int = 0;
const PRIVATE_EXPEDITED: libc::c_int = 1 << 3;

fn membarrier(command: libc::c_int) -> libc::c_long {
    // SAFETY: the call takes integers and touches no memory of ours.
    unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) }
}

/// Until the process is registered each push runs a full fence, and ends that only poll would never register it.
#[test]
fn making_a_queue_registers_for_membarrier() {
    let supported = membarrier(QUERY);
    let granted = supported > 0 && supported & libc::c_long::from(PRIVATE_EXPEDITED) != 0;
    assert_eq!(membarrier(PRIVATE_EXPEDITED), -1, "nobody registered yet");
    let (mut producer, mut consumer) = spsc::channel(2, Overrun::DropNewest);
    assert_eq!(membarrier(PRIVATE_EXPEDITED) == 0, granted);
    assert!(producer.try_push(1).is_ok());
    assert_eq!(consumer.try_pop(), Ok(1));
}
