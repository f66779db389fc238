//! Messages with an address and control data: `sendmsg(2)`, `recvmsg(2)`.
//!
//! The head that the kernel reads and writes (`struct msghdr`, the address, the list of buffers) is too large for a slot of
//! the operation table: it lies on the heap, two allocations a message.

use super::address::Address;
use super::result_of;
use super::target::{IoFd, Target};
use super::vectored::{Segment, spread};
use crate::buffer::{IoBuf, IoBufMut};
use crate::error::{Error, ErrorKind};
use crate::ring::operation::sealed::Sealed;
use crate::ring::{Operation, Outcome};
use crate::sys::abi::{Sqe, code};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;

/// `struct user_msghdr` of the kernel, as integers so that it may go to another thread.
#[repr(C)]
#[derive(Debug)]
struct Header {
    name: usize,
    name_len: u32,
    segments: usize,
    segment_count: usize,
    control: usize,
    control_len: usize,
    flags: i32,
}

const _: () = assert!(size_of::<Header>() == size_of::<libc::msghdr>());

/// What the kernel reads and writes beside the data.
#[derive(Debug)]
struct Head {
    header: Header,
    address: Option<Address>,
    segments: Box<[Segment]>,
}

impl Head {
    fn new(count: usize, address: Option<Address>) -> Box<Self> {
        Box::new(Self {
            header: Header {
                name: 0,
                name_len: 0,
                segments: 0,
                segment_count: 0,
                control: 0,
                control_len: 0,
                flags: 0,
            },
            address,
            segments: vec![Segment::default(); count].into(),
        })
    }

    /// Fills the header in, now that everything is where it will stay; gives its address.
    fn complete(&mut self, control: &mut [u64], control_len: usize) -> u64 {
        let (name, name_len) = match &self.address {
            Some(address) => (address.as_ptr() as usize, address.len()),
            None => (0, 0),
        };
        self.header = Header {
            name,
            name_len,
            segments: self.segments.as_ptr() as usize,
            segment_count: self.segments.len(),
            control: if control_len > 0 {
                control.as_mut_ptr() as usize
            } else {
                0
            },
            control_len,
            flags: 0,
        };
        std::ptr::from_mut(&mut self.header) as u64
    }
}

const WORD: usize = size_of::<u64>();
/// `struct cmsghdr`: a length, a level and a type.
const RECORD_HEAD: usize = size_of::<usize>() + 2 * size_of::<i32>();

/// Control data to be sent: files, and records of other kinds.
#[derive(Debug, Default)]
pub struct Control {
    /// Records one after another, each beginning at a word.
    words: Vec<u64>,
    /// Kept open until they are sent.
    files: Vec<Arc<OwnedFd>>,
}

impl Control {
    /// Starts with nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Passes files to the other end of a Unix socket (`SCM_RIGHTS`), 253 at most a message. Allocates.
    pub fn files(mut self, files: impl IntoIterator<Item = Arc<OwnedFd>>) -> Self {
        let before = self.files.len();
        self.files.extend(files);
        let numbers = self.files[before..].iter();
        let bytes: Vec<u8> = numbers.flat_map(|file| file.as_raw_fd().to_ne_bytes()).collect();
        self.push(libc::SOL_SOCKET, libc::SCM_RIGHTS, &bytes);
        self
    }

    /// Adds a record of another kind, in the layout of `cmsg(3)`. Allocates.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for `SCM_RIGHTS`, since a bare number keeps no file open.
    pub fn record(mut self, level: i32, kind: i32, data: &[u8]) -> Result<Self, Error> {
        if (level, kind) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
            return Err(Error::of(ErrorKind::InvalidInput));
        }
        self.push(level, kind, data);
        Ok(self)
    }

    fn push(&mut self, level: i32, kind: i32, data: &[u8]) {
        let len = RECORD_HEAD + data.len();
        let mut bytes = Vec::with_capacity(len.next_multiple_of(WORD));
        bytes.extend_from_slice(&len.to_ne_bytes());
        bytes.extend_from_slice(&level.to_ne_bytes());
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(data);
        bytes.resize(len.next_multiple_of(WORD), 0);
        let words = bytes
            .chunks_exact(WORD)
            .map(|word| u64::from_ne_bytes(word.try_into().expect("a word")));
        self.words.extend(words);
    }
}

/// Sends the initialised parts of buffers as one message. Gives `(bytes sent, buffers)`; on a stream, less than all is no
/// error.
#[derive(Debug)]
pub struct SendMsg<B, D> {
    /// Let go of with the result, as for [`Send`](super::Send).
    fd: Option<D>,
    bufs: Vec<B>,
    head: Box<Head>,
    control: Control,
    zero_copy: bool,
}

impl<B: IoBuf, D: IoFd> SendMsg<B, D> {
    /// Sends to where the socket is connected. Allocates the head.
    pub fn new(fd: D, bufs: Vec<B>) -> Self {
        Self {
            fd: Some(fd),
            head: Head::new(bufs.len(), None),
            bufs,
            control: Control::new(),
            zero_copy: false,
        }
    }

    /// Sends to an internet address instead.
    pub fn to(self, address: SocketAddr) -> Self {
        self.to_address(address.into())
    }

    /// Sends to an address of any kind instead.
    pub fn to_address(mut self, address: Address) -> Self {
        self.head.address = Some(address);
        self
    }

    /// Sends control data with it.
    pub fn control(mut self, control: Control) -> Self {
        self.control = control;
        self
    }

    /// Sends from the buffers themselves (Linux 6.1); they come back when the network has let go of them.
    pub fn zero_copy(mut self) -> Self {
        self.zero_copy = true;
        self
    }

    fn opcode(&self) -> u8 {
        if self.zero_copy {
            code::SENDMSG_ZC
        } else {
            code::SENDMSG
        }
    }
}

impl<B: IoBuf, D: IoFd> Sealed for SendMsg<B, D> {}

// SAFETY: the entry names the head on the heap, that the address in it, the list of buffers and the control data on the heap,
// and that the buffers, which stay where they are by the contract of `IoBuf`; the operation owns them all.
unsafe impl<B: IoBuf, D: IoFd> Operation for SendMsg<B, D> {
    type Output = (Result<usize, Error>, Vec<B>);

    fn belongs_to(&self, ring: u32) -> bool {
        self.fd.as_ref().is_none_or(|fd| fd.target().belongs_to(ring))
    }

    fn entry(&mut self) -> Sqe {
        for (to, buf) in self.head.segments.iter_mut().zip(&self.bufs) {
            *to = Segment {
                base: buf.stable_ptr() as usize,
                len: buf.bytes_init(),
            };
        }
        let target = self.fd.as_ref().map_or(Target::Fd(-1), IoFd::target);
        let len = self.control.words.len() * WORD;
        Sqe {
            addr: self.head.complete(&mut self.control.words, len),
            len: 1,
            op_flags: libc::MSG_NOSIGNAL as u32,
            ..target.entry(self.opcode())
        }
    }

    fn half_done(&mut self) {
        self.fd = None;
        self.control.files.clear();
    }

    fn finish(self, outcome: Outcome) -> Self::Output {
        (result_of(outcome, self.opcode()).map(|n| n as usize), self.bufs)
    }
}

/// What a message brought beside its data.
#[derive(Debug)]
#[non_exhaustive]
pub struct Received {
    /// Bytes in the buffers.
    pub bytes: usize,
    /// Who sent it, where that was asked for and the sender has an address.
    pub from: Option<Address>,
    /// Files that came with it; those not taken are closed.
    pub files: Vec<OwnedFd>,
    /// Control records of other kinds: level, type, data.
    pub records: Vec<(i32, i32, Vec<u8>)>,
    /// `MSG_*` of `recvmsg(2)`.
    pub flags: i32,
}

impl Received {
    /// Whether the message was longer than the buffers: the rest is lost.
    pub fn is_cut(&self) -> bool {
        self.flags & libc::MSG_TRUNC != 0
    }

    /// Whether control data did not fit: the rest is lost, files among it closed by the kernel.
    pub fn is_control_cut(&self) -> bool {
        self.flags & libc::MSG_CTRUNC != 0
    }
}

/// Receives one message into buffers. Gives `(what came, buffers)`. 0 bytes on a stream is the end.
#[derive(Debug)]
pub struct RecvMsg<B, D> {
    fd: D,
    bufs: Vec<B>,
    head: Box<Head>,
    control: Vec<u64>,
    control_len: usize,
}

impl<B: IoBufMut, D: IoFd> RecvMsg<B, D> {
    /// Receives the data alone. Allocates the head.
    pub fn new(fd: D, bufs: Vec<B>) -> Self {
        Self {
            fd,
            head: Head::new(bufs.len(), None),
            bufs,
            control: Vec::new(),
            control_len: 0,
        }
    }

    /// Tells who sent it, too.
    pub fn with_address(mut self) -> Self {
        self.head.address = Some(Address::room());
        self
    }

    /// Receives up to so many bytes of control data too; a record costs 16 bytes beside its data, a file 4. Allocates them.
    pub fn with_control(mut self, bytes: usize) -> Self {
        self.control = vec![0; bytes.div_ceil(WORD)];
        self.control_len = bytes;
        self
    }
}

impl<B: IoBufMut, D: IoFd> Sealed for RecvMsg<B, D> {}

// SAFETY: as for `SendMsg`, with `IoBufMut`.
unsafe impl<B: IoBufMut, D: IoFd> Operation for RecvMsg<B, D> {
    type Output = (Result<Received, Error>, Vec<B>);

    fn belongs_to(&self, ring: u32) -> bool {
        self.fd.target().belongs_to(ring)
    }

    fn entry(&mut self) -> Sqe {
        for (to, buf) in self.head.segments.iter_mut().zip(&mut self.bufs) {
            *to = Segment {
                base: buf.stable_mut_ptr() as usize,
                len: buf.bytes_total(),
            };
        }
        Sqe {
            addr: self.head.complete(&mut self.control, self.control_len),
            len: 1,
            op_flags: libc::MSG_CMSG_CLOEXEC as u32,
            ..self.fd.target().entry(code::RECVMSG)
        }
    }

    fn finish(mut self, outcome: Outcome) -> Self::Output {
        let bytes = match result_of(outcome, code::RECVMSG) {
            Ok(bytes) => bytes as usize,
            Err(error) => return (Err(error), self.bufs),
        };
        // SAFETY: the kernel filled the buffers in the order of the list, with so many bytes; a message that was cut is
        // reported as what fitted.
        unsafe { spread(&mut self.bufs, &self.head.segments, bytes) };
        let header = &self.head.header;
        let mut received = Received {
            bytes,
            from: self
                .head
                .address
                .and_then(|address| address.written(header.name_len)),
            files: Vec::new(),
            records: Vec::new(),
            flags: header.flags,
        };
        let came: Vec<u8> = self.control.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let end = header.control_len.min(came.len());
        // SAFETY: the kernel wrote these records with this message, so that descriptors in them are nobody else's.
        unsafe { received.unpack(&came[..end]) };
        (Ok(received), self.bufs)
    }
}

impl Received {
    /// Takes control records apart.
    ///
    /// # Safety
    /// Descriptors in them were made for this message and are owned by nobody else.
    unsafe fn unpack(&mut self, mut rest: &[u8]) {
        let number = |bytes: &[u8]| i32::from_ne_bytes(bytes.try_into().expect("four bytes"));
        while rest.len() >= RECORD_HEAD {
            let (len, head) = rest.split_at(size_of::<usize>());
            let len = usize::from_ne_bytes(len.try_into().expect("as long as a length"));
            if len < RECORD_HEAD || len > rest.len() {
                return;
            }
            let (level, kind) = (number(&head[..4]), number(&head[4..8]));
            let data = &rest[RECORD_HEAD..len];
            if (level, kind) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
                for fd in data.chunks_exact(size_of::<RawFd>()) {
                    // SAFETY: the caller's promise; each is met once.
                    self.files.push(unsafe { OwnedFd::from_raw_fd(number(fd)) });
                }
            } else {
                self.records.push((level, kind, data.to_vec()));
            }
            rest = rest.get(len.next_multiple_of(WORD)..).unwrap_or(&[]);
        }
    }
}
