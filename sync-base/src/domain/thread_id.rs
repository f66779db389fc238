//! The kernel's name for a thread, by which a stalled reader is reported.

#[cfg(not(any(loom, shuttle)))]
mod shipped {
    use std::cell::Cell;

    std::thread_local! { static ID: Cell<u32> = const { Cell::new(0) }; }

    /// The calling thread's kernel id.
    #[inline(always)]
    pub(in super::super) fn current() -> u32 {
        let id = ID.with(Cell::get);
        if id == 0 { ask() } else { id }
    }

    /// Whether `id` is the calling thread's; false if it has not asked for its own yet.
    #[inline(always)]
    pub(in super::super) fn is_mine(id: u32) -> bool {
        ID.with(Cell::get) == id
    }

    #[cold]
    fn ask() -> u32 {
        // SAFETY: takes nothing, cannot fail.
        let id = unsafe { libc::syscall(libc::SYS_gettid) } as u32;
        ID.with(|cached| cached.set(id));
        id
    }

    /// Forgets the id: the child of a fork is another thread to the kernel.
    pub(in super::super) fn after_fork_in_child() {
        ID.with(|cached| cached.set(0));
    }

    /// The name the thread goes by, cut to 15 bytes by the kernel; none if it has ended.
    pub(in super::super) fn name(id: u32) -> Option<String> {
        let name = std::fs::read_to_string(format!("/proc/self/task/{id}/comm")).ok()?;
        Some(name.trim_end().to_owned())
    }
}

#[cfg(any(loom, shuttle))]
mod shipped {
    /// A number for the calling thread; zero while loom tears its locals down.
    #[cfg(loom)]
    pub(in super::super) fn current() -> u32 {
        crate::interrupt::seat().map_or(0, |seat| seat as u32 + 1)
    }

    /// A number for the calling thread.
    #[cfg(not(loom))]
    pub(in super::super) fn current() -> u32 {
        use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
        BuildHasherDefault::<DefaultHasher>::default().hash_one(crate::thread::current().id()) as u32 | 1
    }

    pub(in super::super) fn is_mine(id: u32) -> bool {
        current() == id
    }

    pub(in super::super) fn name(_id: u32) -> Option<String> {
        None
    }
}

pub(super) use shipped::*;
