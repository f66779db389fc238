//! The twin made of the workspace's primitives.

use super::calls::{Call, File, OPEN, PROCESSES, Process, Rule, Twin, allowed, digest, paths, rules};
use epoch_fdtable::ProcessTables;
use flat_combine::{Counter, StripedCounter};
use inline_error::{SyscallError, SyscallKind};
use pooled_vec::{Pool, PooledVec};
use rcu_map::{CellReader, RcuCell, SnapshotMap, SnapshotReader};
use std::hash::RandomState;
use std::sync::Arc;

pub(super) struct Ours {
    processes: SnapshotMap<u32, Process>,
    tables: ProcessTables<Arc<File>>,
    rules: RcuCell<Vec<Rule>>,
    used: Counter,
    statistics: Statistics,
    files: Vec<Arc<File>>,
    paths: Vec<String>,
}

#[derive(Default)]
struct Statistics {
    calls: [StripedCounter; 3],
    bytes: StripedCounter,
    failed: StripedCounter,
}

pub(super) struct Session<'t> {
    processes: SnapshotReader<u32, Process, RandomState, &'t SnapshotMap<u32, Process>>,
    rules: CellReader<Vec<Rule>, &'t RcuCell<Vec<Rule>>>,
}

const BUDGET: u64 = 1 << 30;

impl Ours {
    pub(super) fn new() -> Self {
        let files = File::all();
        let tables = ProcessTables::new(PROCESSES);
        for pid in 0..PROCESSES {
            tables.create(pid).expect("a fresh process id");
            for fd in 0..OPEN {
                let file = Arc::clone(&files[(pid * 7 + fd) as usize % files.len()]);
                tables.with(pid, |table| table.insert(file).expect("room for a descriptor"));
            }
        }
        let processes = SnapshotMap::new();
        processes.batch(|b| {
            b.edit()
                .extend((0..PROCESSES).map(|pid| (pid, Process::nth(pid))))
        });
        Self {
            processes,
            tables,
            rules: RcuCell::new(rules()),
            used: Counter::new(0),
            statistics: Statistics::default(),
            paths: paths(),
            files,
        }
    }

    fn missing(pid: u32, fd: u32) -> SyscallError {
        SyscallError::new(
            SyscallKind::NotFound,
            format_args!("process {pid} has no descriptor {fd}"),
        )
    }

    /// Reserves memory for a result, if the budget allows.
    fn result(&self, bytes: usize) -> Option<PooledVec> {
        self.used.fetch_add_if_below(bytes as u64, BUDGET).ok()?;
        Some(Pool::global().with_capacity(bytes))
    }

    fn count(&self, kind: usize, bytes: usize) {
        self.statistics.calls[kind].add(1);
        self.statistics.bytes.add(bytes as u64);
    }

    fn check(&self, session: &mut Session<'_>, path: &str) -> Result<(), SyscallError> {
        if allowed(session.rules.get(), path) {
            return Ok(());
        }
        Err(SyscallError::new(
            SyscallKind::PermissionDenied,
            format_args!("no rule allows {path}"),
        ))
    }

    fn open(&self, session: &mut Session<'_>, pid: u32, path: usize) -> Result<u64, SyscallError> {
        self.check(session, &self.paths[path % self.paths.len()])?;
        let file = Arc::clone(&self.files[path % self.files.len()]);
        let gone = || SyscallError::new(SyscallKind::NotFound, format_args!("no process {pid}"));
        let inserted = self.tables.with(pid, |table| table.insert(file).ok());
        let fd = inserted.flatten().ok_or_else(gone)?;
        let closed = self.tables.with(pid, |table| table.remove(fd).is_some());
        Ok(u64::from(fd.number()) + u64::from(closed == Some(true)))
    }

    fn transfer(
        &self,
        (pid, fd): (u32, u32),
        at: usize,
        bytes: usize,
        write: bool,
    ) -> Result<u64, SyscallError> {
        let section = self.tables.pin();
        let file = section.get(pid, fd).ok_or_else(|| Self::missing(pid, fd))?;
        let full = || {
            let text = format_args!("{bytes} bytes are over the budget");
            SyscallError::new(SyscallKind::PermissionDenied, text)
        };
        let mut result = self.result(bytes).ok_or_else(full)?;
        if write {
            result.resize(bytes, 0);
            file.write(at, &mut result);
        } else {
            file.read(at, bytes, &mut result);
        }
        let seen = digest(&result);
        drop(result);
        drop(section);
        self.used.fetch_sub(bytes as u64);
        self.count(usize::from(write), bytes);
        Ok(seen)
    }
}

impl Twin for Ours {
    type Session<'t> = Session<'t>;

    fn session(&self) -> Session<'_> {
        Session {
            processes: self.processes.reader(),
            rules: self.rules.reader(),
        }
    }

    fn call(&self, session: &mut Session<'_>, call: Call) -> u64 {
        let done = match call {
            Call::Read { pid, fd, at, bytes } => self.transfer((pid, fd), at, bytes, false),
            Call::Write { pid, fd, at, bytes } => self.transfer((pid, fd), at, bytes, true),
            Call::Missing { pid, fd } => {
                let found = self.tables.pin().get(pid, fd).is_some();
                found.then_some(1).ok_or_else(|| Self::missing(pid, fd))
            }
            Call::Open { pid, path } => self.open(session, pid, path),
            Call::Check { pid, path } => {
                let user = session.processes.get(&pid).map_or(0, |process| process.user);
                self.count(2, 0);
                let path = &self.paths[path % self.paths.len()];
                self.check(session, path).map(|()| user + 1)
            }
            Call::Statistics => {
                let statistics = &self.statistics;
                let calls: i64 = statistics.calls.iter().map(StripedCounter::sum).sum();
                let (bytes, failed) = (statistics.bytes.sum(), statistics.failed.sum());
                Ok(u64::from(calls >= 0 && bytes >= 0 && failed >= 0))
            }
            Call::Replace { pid } => {
                let old = self.processes.insert(pid, Process::nth(pid));
                Ok(old.map_or(0, |process| process.user))
            }
        };
        done.unwrap_or_else(|failed| {
            self.statistics.failed.add(1);
            digest(failed.message().as_bytes())
        })
    }
}
