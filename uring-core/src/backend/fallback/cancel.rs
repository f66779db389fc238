//! Calling operations off: the kernel's rules for who is meant and what the answer is.

use super::blocking::{POLL_REMOVE, TIMEOUT_REMOVE};
use super::requests::State;
use super::{Fallback, clock};
use crate::sys::abi::{self, Sqe, code};

/// The descriptor to match is a slot.
const CANCEL_FD_FIXED: u32 = 1 << 3;
/// Match by `user_data` too.
const CANCEL_USERDATA: u32 = 1 << 4;
/// Match by operation.
const CANCEL_OP: u32 = 1 << 5;
/// Change a time instead of removing it.
const TIMEOUT_UPDATE: u32 = 1 << 1;

/// Carries an entry out that concerns other requests, and gives its result.
pub(super) fn answer(ring: &mut Fallback, sqe: &Sqe) -> i32 {
    match sqe.opcode {
        POLL_REMOVE if sqe.len != 0 => -libc::EINVAL,
        POLL_REMOVE => remove(ring, sqe.addr, code::POLL_ADD),
        TIMEOUT_REMOVE if sqe.op_flags & TIMEOUT_UPDATE != 0 => update(ring, sqe),
        TIMEOUT_REMOVE => remove(ring, sqe.addr, code::TIMEOUT),
        _ => cancel_matches(ring, sqe),
    }
}

/// Cancels the request of this name if it is of this kind.
fn remove(ring: &mut Fallback, user_data: u64, opcode: u8) -> i32 {
    let found = ring.requests.by_user_data(user_data);
    let Some(slot) = found.filter(|&slot| ring.requests.get(slot).sqe.opcode == opcode) else {
        return -libc::ENOENT;
    };
    cancel(ring, slot).map_or_else(|errno| -errno, |()| 0)
}

/// Gives a timeout another time.
fn update(ring: &mut Fallback, sqe: &Sqe) -> i32 {
    let found = ring.requests.by_user_data(sqe.addr);
    let sleeps =
        |slot: &u32, ring: &mut Fallback| matches!(ring.requests.get(*slot).state, State::Sleeping(_));
    let Some(slot) = found.filter(|slot| sleeps(slot, ring)) else {
        return -libc::ENOENT;
    };
    // SAFETY: B3: the entry's timespec is valid until its completion.
    match unsafe { clock::due(sqe.off, sqe.op_flags & !TIMEOUT_UPDATE) } {
        Ok(due) => {
            ring.requests.stop_timer(slot);
            ring.requests.start_timer(slot, due);
            0
        }
        Err(errno) => -errno,
    }
}

fn cancel_matches(ring: &mut Fallback, sqe: &Sqe) -> i32 {
    let flags = sqe.op_flags;
    let by_fd = flags & abi::CANCEL_FD != 0;
    let many = flags & (abi::CANCEL_ALL | abi::CANCEL_ANY) != 0;
    let by_name = flags & CANCEL_USERDATA != 0 || flags & (abi::CANCEL_FD | abi::CANCEL_ANY | CANCEL_OP) == 0;
    if by_name && !many && !by_fd && flags & CANCEL_OP == 0 {
        let Some(slot) = ring.requests.by_user_data(sqe.addr) else {
            return -libc::ENOENT;
        };
        return cancel(ring, slot).map_or_else(|errno| -errno, |()| 0);
    }
    let fixed = flags & CANCEL_FD_FIXED != 0;
    let mut count = 0;
    let mut running = false;
    for slot in ring.requests.occupied() {
        let request = ring.requests.get(slot);
        // It may have gone with one before it; and neither limits nor this entry itself are meant.
        if matches!(request.state, State::Free | State::Bound { .. } | State::Running) {
            continue;
        }
        let theirs = &request.sqe;
        let is_meant = (!by_name || theirs.user_data == sqe.addr)
            && (!by_fd || (theirs.fd == sqe.fd && (theirs.flags & abi::SQE_FIXED_FILE != 0) == fixed))
            && (flags & CANCEL_OP == 0 || u32::from(theirs.opcode) == sqe.len);
        if !is_meant {
            continue;
        }
        match cancel(ring, slot) {
            Ok(()) => count += 1,
            Err(_) => running = true,
        }
        if count > 0 && !many {
            return 0;
        }
    }
    match (many, count) {
        (_, 0) if running => -libc::EALREADY,
        (true, count) => count,
        (false, _) => -libc::ENOENT,
    }
}

/// Cancels a request: it ends with `ECANCELED`, or with what it moved so far.
///
/// # Errors
/// `EALREADY` when a thread is at it; it completes with the result of that, and what would have gone on does not.
pub(super) fn cancel(ring: &mut Fallback, slot: u32) -> Result<(), i32> {
    let key = ring.requests.key(slot);
    let request = ring.requests.get(slot);
    let (fd, moved) = (request.fd, request.moved);
    match &request.state {
        State::Free | State::Bound { .. } => return Err(libc::ENOENT),
        State::Running => return Err(libc::EALREADY),
        State::Blocking if !ring.home.withdraw(key) => {
            request.called_off = true;
            return Err(libc::EALREADY);
        }
        State::Blocking | State::Sleeping(_) | State::Watching { .. } => {}
        State::Waiting => ring.lookout.leave(fd, slot),
        State::Starved => ring.starved.retain(|&other| other != slot),
        State::Held => unchain(ring, slot),
    }
    let request = ring.requests.get(slot);
    let moved = if request.sqe.opcode == code::CONNECT {
        0
    } else {
        moved
    };
    let flags = super::attempt::settle(request, &mut ring.groups, moved as i32);
    let result = if moved > 0 { moved as i32 } else { -libc::ECANCELED };
    ring.end(slot, result, flags);
    Ok(())
}

/// Takes a request that has not started from its predecessor, so that it can end first.
fn unchain(ring: &mut Fallback, slot: u32) {
    for other in ring.requests.occupied() {
        let other = ring.requests.get(other);
        if other.next == Some(slot) {
            other.next = None;
        }
    }
    ring.runnable.retain(|&other| other != slot);
}
