//! Files and slabs that every core's ring knows.
//!
//! The files live in one [`Files`] table, beside a list of what is registered. A change asks every core that lives, and has it
//! undone where one refuses.
//!
//! - **V1** one change at a time, under `change`; a core is started anew under it too. So a change finds every core either
//!   without a ring, or with one that has all that is listed.
//! - **V2** a core's ring has what is listed before the core takes its first message: it registers it while it is set up, and
//!   is not started anew where that is refused.
//! - **V3** a file is found by its handle once every ring has it, and no longer once it is closed: the word of the table is
//!   written after the last ring answered, and read by one load (W3).
//! - **V4** a slot is given back or retired by what emptied it: by the order that undoes a registration, or when every ring has
//!   unregistered the file. So no ring fills a slot that another has not emptied yet.
//!
//! While a change is under way some rings have the new file and some the old one; what it comes to is all or none.

use super::Engine;
use super::local::resident_here;
use super::order::{Answer, NotOnAll, OnCores, all_or_none, no_core, order};
use super::station::Shared;
use crate::buffer::{FixedBuf, RegisteredSlab};
use crate::error::{Error, ErrorKind, SetupError};
use crate::exec::home::Home;
use crate::file::{Files, FixedFd};
use crate::ring::Core;
use crate::ring::registry::Registry;
use epoch_fdtable::{Asymmetric, Handle, RegisteredFile};
use pooled_vec::Slab;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use sync_base::atomic::{AtomicU32, Ordering};

sync_base::global! {
    static NEXT_ENGINE: AtomicU32 = AtomicU32::new(0);
}

/// What all rings of one engine know.
#[derive(Debug)]
pub(crate) struct Everywhere {
    /// Tells this engine's handles from another's.
    engine: u32,
    files: Files,
    change: Mutex<Listed>,
}

#[derive(Debug, Default)]
pub(crate) struct Listed {
    files: Vec<Handle>,
    slabs: Vec<Weak<Spread>>,
}

/// A file that every core of one engine has registered, under one slot. A copy: [`fixed`] finds the slot as long as the file is
/// registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SharedFile {
    engine: u32,
    handle: Handle,
}

/// One slab that every core of one engine has registered. Cheap to clone; registered until the last clone and the last lease are
/// dropped, or [`Engine::unregister_slab`].
#[derive(Clone, Debug)]
pub struct SharedSlab {
    spread: Arc<Spread>,
}

#[derive(Debug)]
struct Spread {
    engine: u32,
    slab: Slab,
    /// Each core's handle; of a core that failed the one of its last life, which nobody asks for.
    handles: Box<[Mutex<Option<RegisteredSlab>>]>,
}

impl Spread {
    fn handle(&self, core: usize) -> MutexGuard<'_, Option<RegisteredSlab>> {
        self.handles[core].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a core that is started anew has to register first.
#[derive(Default)]
pub(crate) struct Inheritance {
    files: Vec<(u32, epoch_fdtable::Shared<RegisteredFile, Asymmetric>)>,
    slabs: Vec<Arc<Spread>>,
}

impl Inheritance {
    /// V2
    pub(crate) fn register(self, core: usize, ring: &Core) -> Result<(), SetupError> {
        for (slot, file) in self.files {
            let taken = ring.state.borrow().registry.take_this_file(slot);
            let filled = match taken {
                true => ring.set_slot(slot, file.as_fd().as_raw_fd()),
                false => Err(Error::of(ErrorKind::WouldBlock)),
            };
            filled.map_err(|error| error.explain("registering anew a file that every core has"))?;
        }
        for spread in self.slabs {
            let registered = ring.register_slab(spread.slab.clone())?;
            *spread.handle(core) = Some(registered);
        }
        Ok(())
    }
}

impl Everywhere {
    pub(crate) fn new(files: u32) -> Self {
        Self {
            // Relaxed: only has to differ.
            engine: NEXT_ENGINE.fetch_add(1, Ordering::Relaxed),
            // An update has both files for a moment, and a place is free a moment later than its file is closed.
            files: Files::new(files.min(1 << 20) + 16),
            change: Mutex::default(),
        }
    }

    /// V1
    pub(crate) fn change(&self) -> MutexGuard<'_, Listed> {
        self.change.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn inheritance(&self, listed: &Listed) -> Inheritance {
        let files = listed.files.iter();
        Inheritance {
            files: files
                .filter_map(|&file| Some((self.files.slot(file)?, self.files.get(file)?)))
                .collect(),
            slabs: listed.slabs.iter().filter_map(Weak::upgrade).collect(),
        }
    }

    fn slot(&self, file: SharedFile) -> Result<u32, Error> {
        if file.engine != self.engine {
            return Err(Error::of(ErrorKind::InvalidInput));
        }
        // V3
        self.files.slot(file.handle).ok_or(Error::of(ErrorKind::Closed))
    }

    /// A file that is registered, kept open, and its slot.
    fn open(
        &self,
        file: SharedFile,
    ) -> Result<(u32, epoch_fdtable::Shared<RegisteredFile, Asymmetric>), NotOnAll> {
        let slot = self.slot(file).map_err(|error| {
            let why = match error.kind() {
                ErrorKind::Closed => "the file was unregistered",
                _ => "the file is another engine's: register it with this one",
            };
            NotOnAll::whole(error.kind(), why)
        })?;
        let kept = self.files.get(file.handle);
        kept.map(|kept| (slot, kept))
            .ok_or_else(|| NotOnAll::whole(ErrorKind::Closed, "the file was unregistered"))
    }
}

/// Finds the slot of a file that every core has, on the core that calls. Wait-free.
///
/// # Errors
/// [`ErrorKind::Closed`] when it was unregistered or updated; [`ErrorKind::InvalidInput`] outside of a core, and for another
/// engine's file.
pub fn fixed(file: SharedFile) -> Result<FixedFd, Error> {
    let slot = resident_here(|resident, _| resident.everywhere.slot(file));
    let slot = slot.unwrap_or(Err(Error::of(ErrorKind::InvalidInput)))?;
    let home = Home::current().ok_or(Error::of(ErrorKind::InvalidInput))?;
    Ok(FixedFd {
        ring: home.ring.id,
        slot,
    })
}

impl SharedSlab {
    /// Leases a free slot, registered with the ring of the core that calls; `None` outside of its engine's cores, when all are
    /// leased and when the slab was unregistered. One lock that no other core takes; allocates nothing.
    pub fn lease(&self) -> Option<FixedBuf> {
        let core = resident_here(|resident, core| {
            (resident.everywhere.engine == self.spread.engine).then_some(core)
        });
        self.spread.handle(core??).as_ref()?.lease()
    }

    /// The slots that are free now, of all cores together.
    pub fn available(&self) -> usize {
        self.spread.slab.available()
    }
}

type Cores = Vec<(usize, Shared)>;

fn without<T>(answered: OnCores<T>) -> Cores {
    answered
        .into_iter()
        .map(|(core, station, _)| (core, station))
        .collect()
}

/// Has cores do what undoes something. One that is late does it before anything that it is asked later (R2).
fn undo(cores: Cores, how: impl Fn(&Home) + Clone + Send + 'static) {
    order(cores, true, |_| {
        let how = how.clone();
        move |home: &Home| {
            how(home);
            Ok(())
        }
    });
}

/// Puts a descriptor into a slot of every core of the list: those that have it. Or has it undone and says which took part in
/// that.
fn set_everywhere(
    cores: Cores,
    slot: u32,
    to: RawFd,
    how_undone: impl Fn(&Home) + Clone + Send + 'static,
) -> Result<Cores, (Vec<usize>, NotOnAll)> {
    let answers = order(cores, false, |_| {
        move |home: &Home| {
            let ring = home.ring.id;
            let known = home.ring.check_registered(FixedFd { ring, slot });
            let set = known.and_then(|()| home.ring.set_slot(slot, to));
            set.map_err(|error| match error.kind() {
                ErrorKind::Stale => SetupError::new(
                    ErrorKind::Stale,
                    format_args!(
                        "slot {slot} was unregistered by a task there: unregister the file of all cores"
                    ),
                ),
                _ => error.explain("filling a slot of the registered files"),
            })
        }
    });
    all_or_none(answers).map(without).map_err(|(done, refused)| {
        let undone = done.iter().map(|(core, ..)| *core).collect();
        undo(without(done), how_undone);
        (undone, refused)
    })
}

fn put_back(home: &Home, slot: u32, before: RawFd) -> bool {
    let back = home.ring.set_slot(slot, before);
    debug_assert!(back.is_ok(), "a slot that was filled is filled again");
    back.is_ok()
}

impl Engine {
    fn everywhere(&self) -> &Everywhere {
        &self.inner.resident.everywhere
    }

    /// Registers a file with every core's ring, under one slot, or with none. Tasks find it by [`fixed`].
    ///
    /// Reaches cores that are paused. A core that has failed gets it when it is [resumed](Engine::resume), before it takes
    /// work, and is not resumed where its new ring refuses. One message and one system call a core; waits five seconds at most
    /// for all of them, and five more where what some did has to be undone; a core that is busy by then undoes it before it
    /// does anything that it is asked later.
    ///
    /// The slot is never given to a second file but by [`update_file`](Engine::update_file): there are
    /// [`registered_files`](crate::Options::registered_files) of them for the engine's life.
    ///
    /// ```
    /// use uring_core::{engine::{Engine, fixed, run}, op::Read};
    /// # if uring_core::probe().refused.is_some() { return Ok(()) }
    /// let engine = Engine::builder().core_count(2).build()?;
    /// let file = std::fs::File::open("/proc/self/exe")?;
    /// let file = engine.register_file(file.into()).map_err(|(refused, _)| refused)?;
    /// let task = engine.spawn_on(1, move || async move {
    ///     run(Read::new(fixed(file).unwrap(), vec![0; 4]).at(0)).await.1
    /// })?;
    /// assert_eq!(task.wait()?, b"\x7fELF");
    /// engine.unregister_file(file)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The file comes back with the core that refused, why, and what helps: [`NotOnAll`].
    ///
    /// # Panics
    /// On a core's own thread, which would wait for itself.
    pub fn register_file(&self, file: OwnedFd) -> Result<SharedFile, (NotOnAll, OwnedFd)> {
        Home::refuse_to_block("Engine::register_file");
        let everywhere = self.everywhere();
        let mut listed = everywhere.change();
        let (slot, cores) = match self.fill(file.as_raw_fd()) {
            Ok(filled) => filled,
            Err(refused) => return Err((refused, file)),
        };
        let handle = match everywhere.named(file, slot) {
            Ok(handle) => handle,
            Err(refused) => {
                undo(cores, move |home| empty(home, slot));
                return Err(refused);
            }
        };
        listed.files.push(handle);
        let engine = everywhere.engine;
        Ok(SharedFile { engine, handle })
    }

    /// Puts a file into one slot, free before, of every core.
    fn fill(&self, fd: RawFd) -> Result<(u32, Cores), NotOnAll> {
        let cores = self.inner.living();
        let slot = common_slot(&cores)?;
        let filled = set_everywhere(cores.clone(), slot, fd, move |home| empty(home, slot));
        filled.map(|done| (slot, done)).map_err(|(undone, refused)| {
            // V4: there it was never filled.
            for (core, station) in cores {
                if !undone.contains(&core) {
                    station.registry.give_file_back(slot);
                }
            }
            refused
        })
    }

    /// Puts another file in the place of a registered one, on every core or on none. What is in flight ends on the old file;
    /// the old one is closed, and its handle finds nothing any more. Costs and waits as
    /// [`register_file`](Engine::register_file).
    ///
    /// Until it returns some cores have the new file already; where one refuses, these have the old one again.
    ///
    /// # Errors
    /// The new file comes back: [`ErrorKind::Stale`] for a core on which a task has unregistered the slot by itself, else as
    /// [`register_file`](Engine::register_file).
    ///
    /// # Panics
    /// As [`register_file`](Engine::register_file).
    pub fn update_file(&self, old: SharedFile, new: OwnedFd) -> Result<SharedFile, (NotOnAll, OwnedFd)> {
        Home::refuse_to_block("Engine::update_file");
        let everywhere = self.everywhere();
        let mut listed = everywhere.change();
        let (slot, before) = match everywhere.open(old) {
            Ok(open) => open,
            Err(refused) => return Err((refused, new)),
        };
        // Kept open by whoever may have to put it back.
        let before = Arc::new(before);
        let kept = Arc::clone(&before);
        let back = move |home: &Home| {
            put_back(home, slot, kept.as_fd().as_raw_fd());
        };
        let set = set_everywhere(self.inner.living(), slot, new.as_raw_fd(), back.clone());
        let cores = match set {
            Ok(cores) => cores,
            Err((_, refused)) => return Err((refused, new)),
        };
        let handle = match everywhere.named(new, slot) {
            Ok(handle) => handle,
            Err(refused) => {
                undo(cores, back);
                return Err(refused);
            }
        };
        drop((before, back));
        listed.files.retain(|&listed| listed != old.handle);
        listed.files.push(handle);
        everywhere.close(old.handle);
        let engine = everywhere.engine;
        Ok(SharedFile { engine, handle })
    }

    /// Unregisters a file from every core's ring and closes it, or leaves it as it was. What is in flight ends; from then on
    /// the slot answers `EBADF`, and goes to no other file. Costs and waits as [`register_file`](Engine::register_file).
    ///
    /// # Errors
    /// As [`update_file`](Engine::update_file), but a slot that a task has unregistered by itself is no error.
    ///
    /// # Panics
    /// As [`register_file`](Engine::register_file).
    pub fn unregister_file(&self, file: SharedFile) -> Result<(), NotOnAll> {
        Home::refuse_to_block("Engine::unregister_file");
        let everywhere = self.everywhere();
        let mut listed = everywhere.change();
        let (slot, before) = everywhere.open(file)?;
        let before = Arc::new(before);
        let answers = order(self.inner.living(), false, |_| {
            move |home: &Home| {
                let retired = home.ring.state.borrow().registry.is_retired(slot);
                if !retired {
                    let set = home.ring.set_slot(slot, -1);
                    set.map_err(|error| error.explain("emptying a slot of the registered files"))?;
                }
                Ok(!retired)
            }
        });
        let none_lives = answers.is_empty();
        match all_or_none(answers) {
            Ok(done) => {
                for (_, station, emptied) in done {
                    if emptied {
                        station.registry.retire_file(slot);
                    }
                }
            }
            Err(_) if none_lives => {}
            Err((done, refused)) => {
                let emptied = done.into_iter().filter(|(.., emptied)| *emptied).collect();
                undo(without(emptied), move |home| {
                    put_back(home, slot, before.as_fd().as_raw_fd());
                });
                return Err(refused);
            }
        }
        drop(before);
        listed.files.retain(|&listed| listed != file.handle);
        everywhere.close(file.handle);
        Ok(())
    }

    /// Registers a slab with every core's ring, or with none: one pool of buffers for all of them. A core that is paused, has
    /// failed or is started anew: as for [`register_file`](Engine::register_file).
    ///
    /// Buffers that go from core to core, or work that comes to one core and then to another, want one pool; where each core's
    /// work is its own, [`registered_memory`](super::Builder::registered_memory) gives each a pool near it, which no other
    /// core touches. Each ring pins the memory again, and `RLIMIT_MEMLOCK` counts it each time.
    ///
    /// ```
    /// use pooled_vec::{AlignedOptions, Slab};
    /// use uring_core::{engine::{Engine, run}, op::Read};
    /// let engine = Engine::builder().core_count(2).build()?;
    /// let slab = engine.register_slab(Slab::new(4, 4096, AlignedOptions::new())?)?;
    /// let own = slab.clone();
    /// let task = engine.spawn_on(1, move || async move {
    ///     let file = std::fs::File::open("/proc/self/exe").unwrap();
    ///     run(Read::new(file, own.lease().unwrap()).at(0)).await.1[..4].to_vec()
    /// })?;
    /// assert_eq!(task.wait()?, b"\x7fELF");
    /// assert!(engine.unregister_slab(slab)?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// With the core that refused, why, and what helps: [`NotOnAll`].
    ///
    /// # Panics
    /// As [`register_file`](Engine::register_file).
    pub fn register_slab(&self, slab: Slab) -> Result<SharedSlab, NotOnAll> {
        Home::refuse_to_block("Engine::register_slab");
        let everywhere = self.everywhere();
        let mut listed = everywhere.change();
        let answers = order(self.inner.living(), false, |_| {
            let slab = slab.clone();
            move |home: &Home| home.ring.register_slab(slab)
        });
        let done = all_or_none(answers).map_err(|(done, refused)| {
            let cores = done
                .iter()
                .map(|(core, station, _)| (*core, Shared::clone(station)));
            let cores = cores.collect();
            drop(done);
            // What was dropped here leaves at the ring's next look.
            undo(cores, |home| home.ring.state.borrow_mut().take_back());
            refused
        })?;
        let handles: Box<[_]> = (0..self.core_count()).map(|_| Mutex::new(None)).collect();
        let engine = everywhere.engine;
        let spread = Spread {
            engine,
            slab,
            handles,
        };
        for (core, _, registered) in done {
            *spread.handle(core) = Some(registered);
        }
        let spread = Arc::new(spread);
        listed.slabs.retain(|slab| slab.strong_count() > 0);
        listed.slabs.push(Arc::downgrade(&spread));
        Ok(SharedSlab { spread })
    }

    /// Ends the leasing of a slab on every core. `true` when every ring has let go of the memory; `false` where one does later:
    /// when the last lease is gone, or when a core that is busy comes to it. No core can refuse. Waits five seconds at most.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for another engine's slab, [`ErrorKind::Closed`] when it was unregistered before.
    ///
    /// # Panics
    /// As [`register_file`](Engine::register_file).
    pub fn unregister_slab(&self, slab: SharedSlab) -> Result<bool, NotOnAll> {
        Home::refuse_to_block("Engine::unregister_slab");
        let everywhere = self.everywhere();
        if slab.spread.engine != everywhere.engine {
            return Err(NotOnAll::whole(
                ErrorKind::InvalidInput,
                "the slab is another engine's",
            ));
        }
        let mut listed = everywhere.change();
        let spread = slab.spread;
        let before = listed.slabs.len();
        listed
            .slabs
            .retain(|other| !std::ptr::eq(other.as_ptr(), &raw const *spread));
        if listed.slabs.len() == before {
            return Err(NotOnAll::whole(
                ErrorKind::Closed,
                "the slab was unregistered before",
            ));
        }
        let mut handles: Vec<_> = (0..spread.handles.len())
            .map(|core| spread.handle(core).take())
            .collect();
        let answers = order(self.inner.living(), true, |core| {
            let handle = handles[core].take();
            move |home: &Home| match handle {
                Some(handle) => home
                    .ring
                    .unregister_slab(handle)
                    .map_err(|error| error.explain("unregistering a slab")),
                None => Ok(true),
            }
        });
        let gone = |(_, _, answer)| matches!(answer, Answer::Done(true) | Answer::Gone);
        Ok(answers.into_iter().all(gone))
    }
}

impl Everywhere {
    /// Takes a file into the table under a slot that every ring has it in; V3.
    fn named(&self, file: OwnedFd, slot: u32) -> Result<Handle, (NotOnAll, OwnedFd)> {
        let adopted = self.files.adopt(file).map_err(|(error, file)| {
            let why = "the table of files is full: unregister one, or ask for more `registered_files`";
            (NotOnAll::whole(error.kind(), why), file)
        });
        adopted.inspect(|&handle| {
            let bound = self.files.bind(handle, slot);
            debug_assert!(bound.is_ok(), "nobody else has the handle");
        })
    }

    fn close(&self, file: Handle) {
        let closed = self.files.close(file);
        debug_assert!(closed.is_ok(), "V1: closed by nobody else");
    }
}

/// Empties a slot that no handle names and gives it back; V4.
fn empty(home: &Home, slot: u32) {
    if put_back(home, slot, -1) {
        home.ring.state.borrow().registry.give_file_back(slot);
    }
}

/// Takes a slot that is free on every core.
fn common_slot(cores: &[(usize, Shared)]) -> Result<u32, NotOnAll> {
    let registries: Vec<&Registry> = cores.iter().map(|(_, station)| &*station.registry).collect();
    if registries.is_empty() {
        return Err(no_core());
    }
    Registry::take_common_file(&registries).ok_or_else(|| {
        let refused = |core: Option<usize>, which: &str| {
            let why = format_args!(
                "{which}: ask for more of them by `registered_files` when the engine is built (a table longer than \
                 the limit on open files is refused: `ulimit -n`), or update a file instead of registering another"
            );
            NotOnAll {
                core,
                error: SetupError::new(ErrorKind::WouldBlock, why).into(),
            }
        };
        let full = cores.iter().find(|(_, station)| !station.registry.has_file());
        match full {
            Some((core, _)) => refused(Some(*core), "it has no slot for a file left"),
            None => refused(None, "no slot is free on every core"),
        }
    })
}
