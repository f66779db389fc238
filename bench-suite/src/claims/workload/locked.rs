//! The twin made of locks, as the source documents found it: maps behind `RwLock`, the rest behind `Mutex`.

use super::calls::{Call, File, OPEN, PROCESSES, Process, Rule, Twin, allowed, digest, paths, rules};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, RwLock};

const SOUND: &str = "nobody panics";

type Table = Mutex<Vec<Option<Arc<File>>>>;

#[derive(Clone, Default)]
struct Statistics {
    calls: [u64; 3],
    bytes: u64,
    failed: u64,
}

pub(super) struct Locked {
    processes: RwLock<HashMap<u32, Arc<Process>>>,
    tables: RwLock<HashMap<u32, Arc<Table>>>,
    rules: RwLock<Vec<Rule>>,
    used: Mutex<u64>,
    statistics: Mutex<Statistics>,
    files: Vec<Arc<File>>,
    paths: Vec<String>,
}

/// Errors as the documents' kernel had them.
enum Failed {
    NotFound(String),
    Denied(String),
}

impl Failed {
    fn text(&self) -> &str {
        match self {
            Self::NotFound(text) | Self::Denied(text) => text,
        }
    }
}

const BUDGET: u64 = 1 << 30;

impl Locked {
    pub(super) fn new() -> Self {
        let files = File::all();
        let open = |pid: u32| {
            let file = |fd: u32| Some(Arc::clone(&files[(pid * 7 + fd) as usize % files.len()]));
            Arc::new(Mutex::new((0..OPEN).map(file).collect::<Vec<_>>()))
        };
        Self {
            processes: RwLock::new(
                (0..PROCESSES)
                    .map(|pid| (pid, Arc::new(Process::nth(pid))))
                    .collect(),
            ),
            tables: RwLock::new((0..PROCESSES).map(|pid| (pid, open(pid))).collect()),
            rules: RwLock::new(rules()),
            used: Mutex::new(0),
            statistics: Mutex::default(),
            paths: paths(),
            files,
        }
    }

    fn process(&self, pid: u32) -> Option<Arc<Process>> {
        self.processes.read().expect(SOUND).get(&pid).cloned()
    }

    fn table(&self, pid: u32) -> Option<Arc<Table>> {
        self.tables.read().expect(SOUND).get(&pid).cloned()
    }

    fn file(&self, pid: u32, fd: u32) -> Result<Arc<File>, Failed> {
        let table = self.table(pid);
        let file = table.and_then(|table| table.lock().expect(SOUND).get(fd as usize).cloned().flatten());
        file.ok_or_else(|| Failed::NotFound(format!("process {pid} has no descriptor {fd}")))
    }

    /// Reserves memory for a result, if the budget allows.
    fn result(&self, bytes: usize) -> Option<Vec<u8>> {
        let mut used = self.used.lock().expect(SOUND);
        (*used + bytes as u64 <= BUDGET).then(|| *used += bytes as u64)?;
        drop(used);
        Some(Vec::with_capacity(bytes))
    }

    fn give_back(&self, bytes: usize) {
        *self.used.lock().expect(SOUND) -= bytes as u64;
    }

    fn count(&self, kind: usize, bytes: usize) {
        let mut statistics = self.statistics.lock().expect(SOUND);
        statistics.calls[kind] += 1;
        statistics.bytes += bytes as u64;
    }

    fn check(&self, path: &str) -> Result<(), Failed> {
        if allowed(&self.rules.read().expect(SOUND), path) {
            return Ok(());
        }
        Err(Failed::Denied(format!("no rule allows {path}")))
    }

    fn open(&self, pid: u32, path: usize) -> Result<u64, Failed> {
        let path_text = &self.paths[path % self.paths.len()];
        self.check(path_text)?;
        let file = Arc::clone(&self.files[path % self.files.len()]);
        let missing = || Failed::NotFound(format!("no process {pid}"));
        let table = self.table(pid).ok_or_else(missing)?;
        let mut table = table.lock().expect(SOUND);
        let fd = match table.iter().position(Option::is_none) {
            Some(free) => {
                table[free] = Some(file);
                free
            }
            None => {
                table.push(Some(file));
                table.len() - 1
            }
        };
        drop(table);
        let again = self.table(pid).ok_or_else(missing)?;
        let closed = again.lock().expect(SOUND)[fd].take();
        Ok(fd as u64 + u64::from(closed.is_some()))
    }

    fn transfer(&self, pid: u32, fd: u32, at: usize, bytes: usize, write: bool) -> Result<u64, Failed> {
        let file = self.file(pid, fd)?;
        let full = || Failed::Denied(format!("{bytes} bytes are over the budget"));
        let mut result = self.result(bytes).ok_or_else(full)?;
        if write {
            result.resize(bytes, 0);
            file.write(at, &mut result);
        } else {
            file.read(at, bytes, &mut result);
        }
        let seen = digest(&result);
        drop(result);
        self.give_back(bytes);
        self.count(usize::from(write), bytes);
        Ok(seen)
    }
}

impl Twin for Locked {
    type Session<'t> = ();

    fn session(&self) {}

    fn call(&self, (): &mut (), call: Call) -> u64 {
        let done = match call {
            Call::Read { pid, fd, at, bytes } => self.transfer(pid, fd, at, bytes, false),
            Call::Write { pid, fd, at, bytes } => self.transfer(pid, fd, at, bytes, true),
            Call::Missing { pid, fd } => self.file(pid, fd).map(|_| 1),
            Call::Open { pid, path } => self.open(pid, path),
            Call::Check { pid, path } => {
                let user = self.process(pid).map_or(0, |process| process.user);
                self.count(2, 0);
                self.check(&self.paths[path % self.paths.len()])
                    .map(|()| user + 1)
            }
            Call::Statistics => {
                let seen = self.statistics.lock().expect(SOUND).clone();
                let calls: u64 = seen.calls.iter().sum();
                Ok(u64::from(calls.min(seen.bytes).min(seen.failed) < u64::MAX))
            }
            Call::Replace { pid } => {
                let old = self
                    .processes
                    .write()
                    .expect(SOUND)
                    .insert(pid, Arc::new(Process::nth(pid)));
                Ok(old.map_or(0, |process| process.user))
            }
        };
        done.unwrap_or_else(|failed| {
            self.statistics.lock().expect(SOUND).failed += 1;
            digest(failed.text().as_bytes())
        })
    }
}
