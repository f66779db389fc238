//! Steps that cancel, abandon, drop and forget.

use crate::world::{Checked, Kind, World};
use uring_core::ErrorKind;

impl World<'_> {
    pub(crate) fn pick(&self, pick: u16) -> Option<usize> {
        let slots = self.by_slot.len();
        if slots == 0 {
            return None;
        }
        self.by_slot[usize::from(pick) % slots]
    }

    pub(crate) fn cancel(&mut self, pick: u16) -> Checked {
        if let Some(&stale) = self.gone.iter().next() {
            match self.ring.cancel(stale) {
                Err(error) if error.kind() == ErrorKind::Stale => {}
                other => return Err(format!("a stale handle was taken for a live one: {other:?}")),
            }
        }
        let Some(at) = self.pick(pick) else { return Ok(()) };
        let Some(live) = self.ops[at].as_mut() else {
            return Ok(());
        };
        if self.ring.cancel(live.id.expect("named")).is_ok() {
            live.cancelled = true;
        }
        Ok(())
    }

    pub(crate) fn cancel_all(&mut self) -> Checked {
        self.ring.cancel_all().map_err(|e| e.to_string())?;
        self.ops
            .iter_mut()
            .flatten()
            .for_each(|live| live.cancelled = true);
        Ok(())
    }

    pub(crate) fn cancel_file(&mut self) -> Checked {
        use std::os::fd::AsFd;
        let done = self.ring.cancel_fd(self.disk.file.as_fd());
        done.map_err(|e| e.to_string())?;
        for live in self.ops.iter_mut().flatten() {
            if matches!(live.kind, Kind::WriteFile { .. } | Kind::ReadFile { .. }) {
                live.cancelled = true;
            }
        }
        Ok(())
    }

    /// Lets go of a token or callback by its handle.
    pub(crate) fn abandon(&mut self, pick: u16) -> Checked {
        let Some(at) = self.pick(pick) else { return Ok(()) };
        let Some(live) = self.ops[at] else { return Ok(()) };
        let id = live.id.expect("named");
        if self.inbox.lock().unwrap().iter().any(|got| got.at == at) {
            return Ok(());
        }
        if self.ring.abandon(id).is_ok() {
            self.end(at);
            self.release(live.kind, true);
        }
        Ok(())
    }

    pub(crate) fn drop_future(&mut self, pick: u16) -> Checked {
        if self.futures.is_empty() {
            return Ok(());
        }
        let which = usize::from(pick) % self.futures.len();
        let (at, future) = self.futures.swap_remove(which);
        drop(future);
        let live = self.end(at).ok_or("a future without its operation")?;
        self.release(live.kind, true);
        Ok(())
    }

    /// A forgotten future holds its slot for as long as the ring lives, so only one is.
    pub(crate) fn forget(&mut self) -> Checked {
        if self.forgotten > 0 || self.stuck {
            return Ok(());
        }
        if let Some((at, future)) = self.futures.pop() {
            std::mem::forget(future);
            self.forgotten += 1;
            let live = self.end(at).ok_or("a future without its operation")?;
            self.release(live.kind, true);
        }
        Ok(())
    }
}
