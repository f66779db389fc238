//! Slots of registered files that entries fill and empty.

use super::kernel::Kernel;
use crate::sys::abi::{FILE_INDEX_ALLOC, Sqe, code};
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use sync_base::sync::Arc;

impl Kernel {
    /// Empties the slot that an entry names, when the entry starts.
    pub(super) fn with_slot(&mut self, sqe: &Sqe) -> Sqe {
        if sqe.opcode != code::CLOSE || sqe.file_index == 0 {
            return *sqe;
        }
        if let Some(file) = self.files.get_mut(sqe.file_index as usize - 1) {
            *file = None;
        }
        Sqe {
            opcode: code::NOP,
            ..*sqe
        }
    }

    /// Puts a descriptor that came where its entry says; gives the result of that.
    pub(super) fn placed(&mut self, opcode: u8, file_index: u32, fd: RawFd) -> i32 {
        if file_index == 0 || opcode == code::FIXED_FD_INSTALL {
            return fd;
        }
        // SAFETY: just made by the operation, owned by nobody else.
        let file = unsafe { OwnedFd::from_raw_fd(fd) };
        let (slot, told) = match file_index {
            FILE_INDEX_ALLOC => {
                let mut free = self.direct as usize..self.files.len();
                let Some(slot) = free.find(|&slot| self.files[slot].is_none()) else {
                    return -libc::ENFILE;
                };
                (slot, slot as i32)
            }
            index => (index as usize - 1, 0),
        };
        match self.files.get_mut(slot) {
            Some(place) => {
                *place = Some(Arc::new(file));
                told
            }
            None => -libc::EINVAL,
        }
    }
}
