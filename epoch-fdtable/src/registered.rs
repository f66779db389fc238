//! Real files that the kernel also knows by registered slot.
//!
//! Keyed by our own descriptor and never by the kernel's number: that number can be closed and reused behind our back,
//! while the registered slot goes on naming the old file. There is no look-up by bare number to get wrong.
//!
//! # States of a file's slot
//! *unbound* -> *bound* (`bind`) -> *unbound* (`unbind`); either -> *gone* (`close`), which is final. Each move is one
//! compare-exchange or swap, so that a slot index comes out exactly once: of `unbind` or of `close`. Whoever gets it
//! unregisters it with the kernel before it is used again.

use crate::reclaim::{Asymmetric, Reclaim};
use crate::table::{FdTable, Pinned};
use crate::{Closed, FdError, Handle, Refused, Sever, Shared};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use sync_base::atomic::{AtomicU32, Ordering};

const UNBOUND: u32 = u32::MAX;
const GONE: u32 = u32::MAX - 1;

/// A file that the table owns, with the slot under which the kernel knows it.
#[derive(Debug)]
pub struct RegisteredFile {
    file: OwnedFd,
    slot: AtomicU32,
}

/// How to name a file to the kernel.
#[derive(Clone, Copy, Debug)]
pub enum Target<'g> {
    /// By registered slot: the kernel takes no reference.
    Slot(u32),
    /// By number; valid while the section lasts.
    Number(BorrowedFd<'g>),
}

/// Owns files and maps each to its registered slot in constant time.
///
/// ```
/// use epoch_fdtable::RegisteredFiles;
/// let files = RegisteredFiles::new(1024);
/// let file = files.adopt(std::fs::File::open("/dev/null")?.into()).map_err(std::io::Error::from)?;
/// files.bind(file, 3)?;
/// assert_eq!(files.pin().slot(file), Some(3));
/// let (slot, _) = files.close(file)?;
/// assert_eq!(slot, Some(3)); // to be unregistered now
/// assert_eq!(files.pin().slot(file), None);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// `e2_no_lookup_by_bare_number`: the kernel's number is no key.
/// ```compile_fail,E0308
/// let files = epoch_fdtable::RegisteredFiles::new(8);
/// files.pin().slot(std::os::fd::AsRawFd::as_raw_fd(&std::io::stdin()));
/// ```
/// ```
/// let files = epoch_fdtable::RegisteredFiles::new(8);
/// let file = files.adopt(std::fs::File::open("/dev/null").unwrap().into()).unwrap();
/// files.pin().slot(file);
/// ```
#[derive(Debug)]
pub struct RegisteredFiles<R: Reclaim = Asymmetric> {
    table: FdTable<RegisteredFile, R>,
}

/// The files inside a read section.
#[derive(Debug)]
pub struct PinnedFiles<'t, R: Reclaim>(Pinned<'t, RegisteredFile, R>);

impl RegisteredFile {
    /// The slot, where one is bound.
    pub fn slot(&self) -> Option<u32> {
        // Acquire: pairs with the Release in `bind`; the kernel has been told before the slot is used.
        Some(self.slot.load(Ordering::Acquire)).filter(|slot| *slot < GONE)
    }
}

impl AsFd for RegisteredFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Sever for RegisteredFile {
    fn sever(&self) -> bool {
        self.file.sever()
    }
}

impl RegisteredFiles {
    /// Makes room for so many files.
    ///
    /// # Panics
    /// When `limit` is above 2^26.
    pub fn new(limit: u32) -> Self {
        Self::with_reclaim(limit, Asymmetric::default())
    }
}

impl<R: Reclaim> RegisteredFiles<R> {
    /// Makes room for so many files, reclaimed through this backend.
    ///
    /// # Panics
    /// When `limit` is above 2^26.
    pub fn with_reclaim(limit: u32, reclaim: R) -> Self {
        Self {
            table: FdTable::with_reclaim(limit, limit, reclaim),
        }
    }

    /// Takes over a file, with no slot yet. Lock-free, allocates.
    ///
    /// # Errors
    /// The file, with [`FdError::Full`].
    pub fn adopt(&self, file: OwnedFd) -> Result<Handle, Refused<OwnedFd>> {
        let adopted = self.table.insert_any(RegisteredFile {
            file,
            slot: AtomicU32::new(UNBOUND),
        });
        adopted.map_err(|Refused { value, error }| Refused {
            value: value.file,
            error,
        })
    }

    /// Says under which slot the kernel has registered the file. Wait-free.
    ///
    /// # Errors
    /// [`FdError::NotOpen`] when the file is closed, so that the slot must be unregistered again; [`FdError::Taken`] when
    /// it has a slot already; [`FdError::NoSlot`] for the two greatest indices, which mean no slot.
    pub fn bind(&self, file: Handle, slot: u32) -> Result<(), FdError> {
        let number = file.number();
        if slot >= GONE {
            return Err(FdError::NoSlot { slot });
        }
        let bound = self.table.with(file, |file| {
            // Release: pairs with the Acquire in `RegisteredFile::slot`; the kernel was told before. Relaxed on failure:
            // the value is only compared.
            file.slot
                .compare_exchange(UNBOUND, slot, Ordering::Release, Ordering::Relaxed)
        });
        match bound {
            Some(Ok(_)) => Ok(()),
            Some(Err(GONE)) | None => Err(FdError::NotOpen { number }),
            Some(Err(_)) => Err(FdError::Taken { number }),
        }
    }

    /// Takes the slot away from a file that stays open; `None` if it had none. The caller unregisters it.
    pub fn unbind(&self, file: Handle) -> Option<u32> {
        self.table.with(file, |file| {
            let bound = file.slot()?;
            // Acquire: pairs with the Release in `bind`; the slot goes to the caller. Relaxed on failure: another
            // thread took it.
            let taken = file
                .slot
                .compare_exchange(bound, UNBOUND, Ordering::Acquire, Ordering::Relaxed);
            taken.ok()
        })?
    }

    /// Closes a file promptly and hands out the slot that the caller unregisters; see [`FdTable::close`].
    ///
    /// # Errors
    /// [`FdError::NotOpen`].
    pub fn close(&self, file: Handle) -> Result<(Option<u32>, Closed), FdError> {
        let removed = self.table.remove(file).ok_or(FdError::NotOpen {
            number: file.number(),
        })?;
        // Acquire: pairs with the Release in `bind`; the slot goes to the caller. A `bind` that finds it gone learns no more.
        // weaken-ok(Acquire->Relaxed): the heavy barrier of the close below orders the binder too; other backends lack it.
        let slot = removed.slot.swap(GONE, Ordering::Acquire);
        Ok((Some(slot).filter(|slot| *slot < GONE), removed.close()))
    }

    /// Keeps a file open past its descriptor, for an operation that names it by number.
    pub fn get_cloned(&self, file: Handle) -> Option<Shared<RegisteredFile, R>> {
        self.table.get_cloned(file)
    }

    /// Enters a read section.
    #[inline]
    pub fn pin(&self) -> PinnedFiles<'_, R> {
        PinnedFiles(self.table.pin())
    }

    /// Counts the files; see [`FdTable::len`].
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Says whether there is no file.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }
}

impl<R: Reclaim> PinnedFiles<'_, R> {
    /// The slot of a file, where it is open and bound. Wait-free: one look-up and one load.
    #[inline]
    pub fn slot(&self, file: Handle) -> Option<u32> {
        self.0.get(file)?.slot()
    }

    /// How to name a file to the kernel now: by slot where it has one.
    #[inline]
    pub fn target(&self, file: Handle) -> Option<Target<'_>> {
        let file = self.0.get(file)?;
        Some(
            file.slot()
                .map_or_else(|| Target::Number(file.as_fd()), Target::Slot),
        )
    }

    /// Visits the files; see [`Pinned::iter`].
    pub fn iter(&self) -> impl Iterator<Item = (Handle, &RegisteredFile)> {
        self.0.iter().map(|open| (open.handle, open.value))
    }
}
