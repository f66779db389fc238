//! The 64-byte submission entry as the kernel lays it out.
//!
//! The `io-uring` crate keeps its entry opaque, which is right for a submitter yet leaves a second backend blind: the
//! fallback has to read what it is asked to do. So operations are written into [`Sqe`], whose layout is that of
//! `struct io_uring_sqe` in `include/uapi/linux/io_uring.h`, and the real backend hands the same bytes on.

use io_uring::{opcode, squeue};

/// One request to the kernel, field by field.
///
/// Unions of the kernel's struct carry the name of the member that most operations use.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sqe {
    /// Which operation (`IORING_OP_*`).
    pub opcode: u8,
    /// How it is treated (`IOSQE_*`).
    pub flags: u8,
    /// Priority, or the operation's own modifiers (accept, receive, send).
    pub ioprio: u16,
    /// Descriptor, or the index of a registered file under `IOSQE_FIXED_FILE`.
    pub fd: i32,
    /// File offset, or a second address.
    pub off: u64,
    /// Buffer, path or timespec.
    pub addr: u64,
    /// Length, or a count.
    pub len: u32,
    /// The operation's own flags (`rw_flags`, `open_flags`, `poll32_events`, ...).
    pub op_flags: u32,
    /// Comes back in the completion; the operation table writes it.
    pub user_data: u64,
    /// Index of a registered buffer, or the buffer group under `IOSQE_BUFFER_SELECT`.
    pub buf_index: u16,
    /// Credentials registered earlier.
    pub personality: u16,
    /// Second descriptor, direct slot, or address length.
    pub file_index: u32,
    /// Third address.
    pub addr3: u64,
    /// Reserved: zero.
    pub pad: u64,
}

/// One completion as the kernel wrote it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cqe {
    /// What the submission carried.
    pub user_data: u64,
    /// Result: a count, a descriptor, or a negated error number.
    pub result: i32,
    /// `IORING_CQE_F_*`, and the buffer identifier in the upper half.
    pub flags: u32,
}

const _: () = assert!(size_of::<Sqe>() == 64 && size_of::<Sqe>() == size_of::<squeue::Entry>());
const _: () = assert!(align_of::<Sqe>() == align_of::<squeue::Entry>());

impl Sqe {
    /// Starts an entry for one operation on one descriptor; everything else is zero.
    pub fn new(opcode: u8, fd: i32) -> Self {
        Self {
            opcode,
            fd,
            ..Self::default()
        }
    }

    /// Takes back what asks for completion after completion.
    #[inline(always)]
    pub(crate) fn only_once(&mut self) {
        match self.opcode {
            code::ACCEPT => self.ioprio &= !ACCEPT_MULTISHOT,
            code::RECV => self.ioprio &= !RECV_MULTISHOT,
            code::POLL_ADD => self.len &= !POLL_MULTISHOT,
            _ => {}
        }
    }

    /// The same bytes as the entry type of the `io-uring` crate.
    #[inline(always)]
    pub(crate) fn to_entry(self) -> squeue::Entry {
        // SAFETY: both are `repr(C)` copies of the kernel's 64-byte entry (size and alignment asserted above), every
        // bit pattern of which is valid: it is made of integers.
        unsafe { std::mem::transmute::<Sqe, squeue::Entry>(self) }
    }
}

/// `fd` is an index into the registered files.
pub const SQE_FIXED_FILE: u8 = 1 << 0;
/// The next entry starts only when this one succeeded.
pub const SQE_IO_LINK: u8 = 1 << 2;
/// Skip the non-blocking attempt, go straight to a worker.
pub const SQE_ASYNC: u8 = 1 << 4;
/// The kernel picks a buffer of group `buf_index`.
pub const SQE_BUFFER_SELECT: u8 = 1 << 5;

/// The upper 16 bits hold a buffer identifier.
pub const CQE_BUFFER: u32 = 1 << 0;
/// More completions of the same operation follow.
pub const CQE_MORE: u32 = 1 << 1;
/// More data is waiting in the socket.
pub const CQE_SOCK_NONEMPTY: u32 = 1 << 2;
/// The second half of a zero-copy send: the buffer is free again.
pub const CQE_NOTIF: u32 = 1 << 3;
/// The kernel goes on to fill the buffer that it named (incremental consumption).
pub const CQE_BUF_MORE: u32 = 1 << 4;

/// Cancel every match, not only the first.
pub const CANCEL_ALL: u32 = 1 << 0;
/// Match by descriptor.
pub const CANCEL_FD: u32 = 1 << 1;
/// Match anything.
pub const CANCEL_ANY: u32 = 1 << 2;

/// Accept until told otherwise (`ioprio` of accept).
pub const ACCEPT_MULTISHOT: u16 = 1 << 0;
/// Receive until told otherwise (`ioprio` of receive).
pub const RECV_MULTISHOT: u16 = 1 << 1;
/// Send from the registered buffer `buf_index` (`ioprio` of a zero-copy send).
pub const SEND_FIXED_BUF: u16 = 1 << 2;
/// Poll until told otherwise (`len` of poll).
pub const POLL_MULTISHOT: u32 = 1 << 0;
/// The descriptor read from is the index of a registered file (`splice_flags`).
pub const SPLICE_FD_IN_FIXED: u32 = 1 << 31;
/// The kernel picks the slot of a direct descriptor (`file_index`).
pub const FILE_INDEX_ALLOC: u32 = u32::MAX;
/// Consume a provided buffer bit by bit (flag of a buffer ring).
pub const BUF_RING_INCREMENTAL: u16 = 2;

/// Post a completion on another ring (`addr` of a message).
pub const MSG_DATA: u64 = 0;
/// Put a registered file in a slot of another ring (`addr` of a message).
pub const MSG_SEND_FD: u64 = 1;
/// Post no completion there (`op_flags` of a message).
pub const MSG_CQE_SKIP: u32 = 1 << 0;
/// Pass `file_index` on as the flags of the completion there (`op_flags` of a message).
pub const MSG_FLAGS_PASS: u32 = 1 << 1;

/// Operation numbers used by the engine.
pub mod code {
    use super::opcode;

    /// Do nothing.
    pub const NOP: u8 = opcode::Nop::CODE;
    /// Read into several buffers.
    pub const READV: u8 = opcode::Readv::CODE;
    /// Write from several buffers.
    pub const WRITEV: u8 = opcode::Writev::CODE;
    /// Flush a file.
    pub const FSYNC: u8 = opcode::Fsync::CODE;
    /// Read into a registered buffer.
    pub const READ_FIXED: u8 = opcode::ReadFixed::CODE;
    /// Write from a registered buffer.
    pub const WRITE_FIXED: u8 = opcode::WriteFixed::CODE;
    /// Wait for readiness.
    pub const POLL_ADD: u8 = opcode::PollAdd::CODE;
    /// Flush a part of a file.
    pub const SYNC_FILE_RANGE: u8 = opcode::SyncFileRange::CODE;
    /// Send with an address or control data.
    pub const SENDMSG: u8 = opcode::SendMsg::CODE;
    /// Receive with the address and control data.
    pub const RECVMSG: u8 = opcode::RecvMsg::CODE;
    /// Wait for time to pass.
    pub const TIMEOUT: u8 = opcode::Timeout::CODE;
    /// Accept a connection.
    pub const ACCEPT: u8 = opcode::Accept::CODE;
    /// Cancel an operation.
    pub const ASYNC_CANCEL: u8 = opcode::AsyncCancel::CODE;
    /// Bound the operation linked before it.
    pub const LINK_TIMEOUT: u8 = opcode::LinkTimeout::CODE;
    /// Connect a socket.
    pub const CONNECT: u8 = opcode::Connect::CODE;
    /// Reserve or release space of a file.
    pub const FALLOCATE: u8 = opcode::Fallocate::CODE;
    /// Open a path.
    pub const OPENAT: u8 = opcode::OpenAt::CODE;
    /// Close a descriptor, or empty the slot `file_index - 1`.
    pub const CLOSE: u8 = opcode::Close::CODE;
    /// Tell about a file.
    pub const STATX: u8 = opcode::Statx::CODE;
    /// Read.
    pub const READ: u8 = opcode::Read::CODE;
    /// Write.
    pub const WRITE: u8 = opcode::Write::CODE;
    /// Say how a file will be used.
    pub const FADVISE: u8 = opcode::Fadvise::CODE;
    /// Say how memory will be used.
    pub const MADVISE: u8 = opcode::Madvise::CODE;
    /// Send on a socket.
    pub const SEND: u8 = opcode::Send::CODE;
    /// Receive from a socket.
    pub const RECV: u8 = opcode::Recv::CODE;
    /// Open a path, within bounds.
    pub const OPENAT2: u8 = opcode::OpenAt2::CODE;
    /// Move data through a pipe.
    pub const SPLICE: u8 = opcode::Splice::CODE;
    /// Copy data from pipe to pipe.
    pub const TEE: u8 = opcode::Tee::CODE;
    /// End a direction of a connection.
    pub const SHUTDOWN: u8 = opcode::Shutdown::CODE;
    /// Rename a path.
    pub const RENAMEAT: u8 = opcode::RenameAt::CODE;
    /// Remove a path.
    pub const UNLINKAT: u8 = opcode::UnlinkAt::CODE;
    /// Make a directory.
    pub const MKDIRAT: u8 = opcode::MkDirAt::CODE;
    /// Make a symbolic link.
    pub const SYMLINKAT: u8 = opcode::SymlinkAt::CODE;
    /// Make a hard link.
    pub const LINKAT: u8 = opcode::LinkAt::CODE;
    /// Pass a message or a file to another ring.
    pub const MSG_RING: u8 = opcode::MsgRingData::CODE;
    /// Set an attribute of an open file.
    pub const FSETXATTR: u8 = opcode::FSetXattr::CODE;
    /// Set an attribute of a path.
    pub const SETXATTR: u8 = opcode::SetXattr::CODE;
    /// Get an attribute of an open file.
    pub const FGETXATTR: u8 = opcode::FGetXattr::CODE;
    /// Get an attribute of a path.
    pub const GETXATTR: u8 = opcode::GetXattr::CODE;
    /// Make a socket.
    pub const SOCKET: u8 = opcode::Socket::CODE;
    /// Send without copying.
    pub const SEND_ZC: u8 = opcode::SendZc::CODE;
    /// Send with an address, without copying.
    pub const SENDMSG_ZC: u8 = opcode::SendMsgZc::CODE;
    /// Read again and again into provided buffers.
    pub const READ_MULTISHOT: u8 = opcode::ReadMulti::CODE;
    /// Wait for a child.
    pub const WAITID: u8 = opcode::WaitId::CODE;
    /// Wait for a word to change.
    pub const FUTEX_WAIT: u8 = opcode::FutexWait::CODE;
    /// Wake those who wait for a word.
    pub const FUTEX_WAKE: u8 = opcode::FutexWake::CODE;
    /// Give a registered file a descriptor.
    pub const FIXED_FD_INSTALL: u8 = opcode::FixedFdInstall::CODE;
    /// Set the length of a file.
    pub const FTRUNCATE: u8 = opcode::Ftruncate::CODE;
    /// Give a socket its address.
    pub const BIND: u8 = opcode::Bind::CODE;
    /// Let a socket take connections.
    pub const LISTEN: u8 = opcode::Listen::CODE;
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use io_uring::types;

    /// The crate's own builders are the oracle for the layout.
    #[test]
    fn e11_our_entry_has_the_bytes_of_the_crates_entry() {
        let mut buf = [0u8; 8];
        let theirs = opcode::Read::new(types::Fd(7), buf.as_mut_ptr(), 8)
            .offset(4096)
            .build()
            .user_data(0x1234_5678_9abc_def0);
        let ours = Sqe {
            off: 4096,
            addr: buf.as_mut_ptr() as u64,
            len: 8,
            user_data: 0x1234_5678_9abc_def0,
            ..Sqe::new(code::READ, 7)
        };
        // SAFETY: same layout, integers only (see `to_entry`).
        let theirs: Sqe = unsafe { std::mem::transmute::<squeue::Entry, Sqe>(theirs) };
        assert_eq!(ours, theirs);
    }

    #[test]
    fn e11_fixed_buffer_and_cancel_flags_sit_where_the_kernel_reads_them() {
        let mut buf = [0u8; 8];
        let theirs = opcode::ReadFixed::new(types::Fixed(3), buf.as_mut_ptr(), 8, 5)
            .offset(64)
            .build();
        // SAFETY: as above.
        let theirs: Sqe = unsafe { std::mem::transmute::<squeue::Entry, Sqe>(theirs) };
        let ours = Sqe {
            flags: SQE_FIXED_FILE,
            off: 64,
            addr: buf.as_mut_ptr() as u64,
            len: 8,
            buf_index: 5,
            ..Sqe::new(code::READ_FIXED, 3)
        };
        assert_eq!(ours, theirs);
    }
}
