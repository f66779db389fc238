//! The completion queue of the simulated kernel, and what does not fit it.

use super::fault::Fault;
use super::world::World;
use crate::sys::abi::Cqe;
use std::collections::VecDeque;
use sync_base::sync::{Arc, Mutex};

/// Data that reaches its address only when its completion is looked at.
pub(super) type Late = (u64, Box<[u8]>);

/// Completions that came after the ring was gone.
pub(super) type Relics = Arc<Mutex<Vec<Cqe>>>;

struct Posted {
    cqe: Cqe,
    late: Option<Late>,
}

pub(super) struct Queue {
    visible: VecDeque<Posted>,
    entries: usize,
    /// What found the queue full, oldest first.
    overflow: VecDeque<Posted>,
    relics: Option<Relics>,
}

impl Queue {
    pub(super) fn new(entries: u32) -> Self {
        Self {
            visible: VecDeque::new(),
            entries: entries as usize,
            overflow: VecDeque::new(),
            relics: None,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.visible.is_empty() && self.overflow.is_empty()
    }

    pub(super) fn visible(&self) -> usize {
        self.visible.len()
    }

    pub(super) fn overflowed(&self) -> bool {
        !self.overflow.is_empty()
    }

    /// The ring goes: what is posted from now on is kept for its heirs.
    pub(super) fn leave(&mut self) -> Relics {
        Arc::clone(self.relics.insert(Relics::default()))
    }

    /// Whether the ring is gone.
    pub(super) fn is_left(&self) -> bool {
        self.relics.is_some()
    }

    /// Takes the oldest completion out; data that was late reaches its buffer now.
    pub(super) fn pop(&mut self) -> Option<Cqe> {
        let Posted { cqe, late } = self.visible.pop_front()?;
        put_down(late);
        Some(cqe)
    }

    /// Brings in what overflowed, as far as there is room.
    pub(super) fn flush(&mut self) {
        while self.visible.len() < self.entries
            && let Some(posted) = self.overflow.pop_front()
        {
            self.visible.push_back(posted);
        }
    }

    pub(super) fn post(&mut self, cqe: Cqe, late: Option<Late>, world: &mut World) {
        world.delivered(&cqe);
        if let Some(relics) = &self.relics {
            put_down(late);
            relics.lock().unwrap_or_else(|e| e.into_inner()).push(cqe);
            return;
        }
        let full = self.visible.len() >= self.entries || world.draws(Fault::Overflow);
        if full && world.lossy {
            world.count(Fault::Dropped);
            return;
        }
        let posted = Posted { cqe, late };
        if full || self.overflowed() {
            world.count(Fault::Overflow);
            self.overflow.push_back(posted);
        } else {
            self.visible.push_back(posted);
        }
    }
}

fn put_down(late: Option<Late>) {
    if let Some((addr, bytes)) = late {
        // SAFETY: K2: memory of an entry, or a provided buffer, whose completion nobody has looked at before.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), addr as *mut u8, bytes.len()) };
    }
}
