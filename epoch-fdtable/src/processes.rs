//! One descriptor table a process, found by process id.
//!
//! A table of tables: the outer slot links the inner table, so that one read section protects both levels of a look-up.
//!
//! # Exit against look-up
//! `exit` unlinks the process first: a look-up that begins later finds no process. One that has the table already still
//! finds descriptors until the sweep reaches them, and whatever it borrowed lives to the end of its section. An insert
//! that has the table is refused, or sees the shut and is swept (table I5): nothing is opened in a dead process. The
//! empty table itself is freed a grace period later.

use crate::ending::End;
use crate::reclaim::{Asymmetric, Reclaim};
use crate::table::{FdTable, Pinned, Swept};
use crate::{FdError, Handle, Key, Refused, Sever};

/// The descriptor tables of many processes.
///
/// ```
/// use epoch_fdtable::{Flags, ProcessTables, Sever};
/// #[derive(Debug, PartialEq)]
/// struct Socket(u16);
/// impl Sever for Socket {}
/// let processes = ProcessTables::new(32_768);
/// processes.create(1)?;
/// let fd = processes.with(1, |table| table.insert(Socket(80))).unwrap().unwrap();
/// processes.with(1, |table| table.insert_from(0, Socket(81), Flags::CLOSE_ON_EXEC)).unwrap().unwrap();
/// processes.fork(1, 2)?;
/// processes.exec(2)?;
/// assert_eq!(processes.with(2, |table| table.len()), Some(1));
/// processes.exit(1)?;
/// assert_eq!(processes.pin().get(1, fd), None);
/// assert_eq!(processes.pin().get(2, fd.number()), Some(&Socket(80)));
/// # Ok::<(), epoch_fdtable::FdError>(())
/// ```
#[derive(Debug)]
pub struct ProcessTables<T: Send + Sync + 'static, R: Reclaim = Asymmetric> {
    tables: FdTable<FdTable<T, R>, R>,
    limit: u32,
    hard_limit: u32,
    /// How values end in the tables to be made.
    end: End<T>,
}

/// The processes inside a read section.
#[derive(Debug)]
pub struct PinnedProcesses<'t, T: Send + Sync + 'static, R: Reclaim>(Pinned<'t, FdTable<T, R>, R>);

impl<T: Send + Sync + 'static> ProcessTables<T> {
    /// Makes room for process ids below `processes`, each with a limit of 1,024 descriptors that can be raised to 4,096.
    ///
    /// # Panics
    /// When `processes` is above 2^26.
    pub fn new(processes: u32) -> Self {
        Self::with_reclaim(processes, 1024, 4096, Asymmetric::default())
    }
}

impl<T: Send + Sync + 'static, R: Reclaim> ProcessTables<T, R> {
    /// Makes room for process ids below `processes`, with the limits of a process made by [`create`](Self::create).
    ///
    /// # Panics
    /// When `processes` or `hard_limit` is above 2^26, or `limit` above `hard_limit`.
    pub fn with_reclaim(processes: u32, limit: u32, hard_limit: u32, reclaim: R) -> Self {
        assert!(
            limit <= hard_limit,
            "the limit of {limit} is above the hard limit of {hard_limit}"
        );
        Self {
            tables: FdTable::with_reclaim(processes, processes, reclaim),
            limit,
            hard_limit,
            end: End::by_type(),
        }
    }

    /// Ends each value of a process made from here on as soon as its last holder is dropped; see
    /// [`FdTable::ending_promptly`].
    #[must_use]
    pub fn ending_promptly(mut self) -> Self
    where
        T: Sever,
    {
        self.end = End::promptly();
        self
    }

    /// Gives a process an empty table. Its handle tells it from a later process with the same id.
    ///
    /// # Errors
    /// [`FdError::ProcessTaken`] when the process exists, [`FdError::ProcessPastLimit`] when the id is too great.
    pub fn create(&self, process: u32) -> Result<Handle, FdError> {
        // SAFETY: the table is used through a section of `self`, which holds the handle, or freed by the backend.
        let table = unsafe { FdTable::within(self.limit, self.hard_limit, self.tables.reclaim(), self.end) };
        self.adopt(process, table)
    }

    /// Gives a child what its parent has: every descriptor that is not close-on-fork, under its number and with its
    /// flags, sharing its value; and the parent's limits. Each descriptor is copied at one moment of its own. O(numbers
    /// that the parent ever used).
    ///
    /// # Errors
    /// [`FdError::NoProcess`] when the parent does not exist; otherwise as [`create`](Self::create).
    pub fn fork(&self, parent: impl Key, child: u32) -> Result<Handle, FdError> {
        // SAFETY: as in `create`: the child's table is used through a section of `self`, or freed by the backend.
        let table = self.with(parent, |table| unsafe { table.fork() });
        let table = table.ok_or(FdError::NoProcess {
            process: parent.number(),
        })?;
        self.adopt(child, table)
    }

    fn adopt(&self, process: u32, table: FdTable<T, R>) -> Result<Handle, FdError> {
        self.tables
            .insert_at(process, table, crate::Flags::NONE)
            .map_err(|Refused { value, error }| {
                drop(value); // Copies of a parent's descriptors, or nothing.
                match error {
                    FdError::Taken { number: process } => FdError::ProcessTaken { process },
                    FdError::PastLimit {
                        number: process,
                        limit,
                    } => FdError::ProcessPastLimit { process, limit },
                    other => other,
                }
            })
    }

    /// Closes the close-on-exec descriptors of a process.
    ///
    /// # Errors
    /// [`FdError::NoProcess`] when the process does not exist.
    pub fn exec(&self, process: impl Key) -> Result<Swept, FdError>
    where
        T: Sever,
    {
        // The values are ended outside the section, which would otherwise hold back their own end.
        let left = self.with(process, |table| table.unlink_on_exec());
        left.map(|left| left.end(self.tables.reclaim()))
            .ok_or(FdError::NoProcess {
                process: process.number(),
            })
    }

    /// Closes every descriptor of a process and forgets it; the id is free at once. Never waits for a look-up. Of two
    /// threads, one does it.
    ///
    /// # Errors
    /// [`FdError::NoProcess`] when the process does not exist.
    pub fn exit(&self, process: impl Key) -> Result<Swept, FdError>
    where
        T: Sever,
    {
        match self.tables.remove(process) {
            Some(table) => Ok(table.shut()),
            None => Err(FdError::NoProcess {
                process: process.number(),
            }),
        }
    }

    /// Enters a read section, which protects tables and values alike.
    #[inline]
    pub fn pin(&self) -> PinnedProcesses<'_, T, R> {
        PinnedProcesses(self.tables.pin())
    }

    /// Calls `f` with the table of a process. Values that `f` closes can at best be severed, since it runs inside a read
    /// section: use [`close`](Self::close).
    pub fn with<U>(&self, process: impl Key, f: impl FnOnce(&FdTable<T, R>) -> U) -> Option<U> {
        self.pin().table(process).map(f)
    }

    /// Closes one descriptor of a process promptly; see [`FdTable::close`].
    ///
    /// # Errors
    /// [`FdError::NoProcess`], or [`FdError::NotOpen`] when the process has no such descriptor.
    pub fn close(&self, process: impl Key, key: impl Key) -> Result<crate::Closed, FdError>
    where
        T: Sever,
    {
        self.tables.reclaim().tend();
        let unlinked = {
            let section = self.pin();
            let table = section.table(process).ok_or(FdError::NoProcess {
                process: process.number(),
            })?;
            let removed = table
                .remove(key)
                .ok_or(FdError::NotOpen { number: key.number() })?;
            removed.outside(self.tables.reclaim())
        };
        Ok(unlinked.close())
    }

    /// Counts the processes; see [`FdTable::len`].
    pub fn len(&self) -> usize {
        self.tables.len()
    }

    /// Says whether there is no process.
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// Frees closed values and tables that no reader can see any more. Never waits.
    pub fn collect(&self) {
        self.tables.collect();
    }
}

impl<T: Send + Sync + 'static, R: Reclaim> PinnedProcesses<'_, T, R> {
    /// Borrows the value of a descriptor of a process. Wait-free, no count: two look-ups in one section.
    #[inline]
    pub fn get(&self, process: impl Key, key: impl Key) -> Option<&T> {
        let table = self.table(process)?;
        // SAFETY: `self.0` is a section of the backend that both levels share, and outlives the borrow of `self`.
        unsafe { table.get_in_section(key) }
    }

    /// Borrows the table of a process.
    #[inline]
    pub fn table(&self, process: impl Key) -> Option<&FdTable<T, R>> {
        self.0.get(process)
    }

    /// Visits the processes in ascending order; see [`Pinned::iter`].
    pub fn iter(&self) -> impl Iterator<Item = (Handle, &FdTable<T, R>)> {
        self.0.iter().map(|open| (open.handle, open.value))
    }
}
