//! What may change while rings run, published by RCU.
//!
//! A thread that drives a ring looks before each batch: a pointer compare while nothing has changed (claim
//! `cell.get.reader`), no lock and no shared write ever. Whoever changes the settings waits for nobody.

use rcu_map::{CellReader, RcuCell};

/// What the thread that drives a ring goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// Operations to keep in flight on each ring.
    pub depth: u32,
    /// Take no new work: drain and return.
    pub stop: bool,
}

/// Settings that any thread may change and every ring's thread reads.
///
/// ```
/// use uring_core::engine::SharedSettings;
/// let settings = SharedSettings::new(64);
/// let mut reader = settings.reader();
/// assert_eq!((reader.get().depth, reader.get().stop), (64, false));
/// settings.set_depth(8);
/// settings.stop();
/// assert_eq!((reader.get().depth, reader.get().stop), (8, true));
/// ```
#[derive(Debug)]
pub struct SharedSettings {
    cell: RcuCell<Settings>,
}

impl SharedSettings {
    /// Publishes the first settings: so much in flight, not stopped.
    pub fn new(depth: u32) -> Self {
        Self {
            cell: RcuCell::new(Settings { depth, stop: false }),
        }
    }

    /// The settings as they are now.
    pub fn get(&self) -> Settings {
        *self.cell.load_full()
    }

    /// A reader for one thread, which caches what it saw last.
    pub fn reader(&self) -> SettingsReader<'_> {
        SettingsReader {
            reader: self.cell.reader(),
        }
    }

    /// Changes the depth; every ring follows at its next batch.
    pub fn set_depth(&self, depth: u32) {
        self.change(|settings| settings.depth = depth);
    }

    /// Asks every ring to drain and return.
    pub fn stop(&self) {
        self.change(|settings| settings.stop = true);
    }

    /// Lets rings take work again.
    pub fn resume(&self) {
        self.change(|settings| settings.stop = false);
    }

    /// Publishes a changed copy; two changes at once both take effect.
    fn change(&self, change: impl Fn(&mut Settings)) {
        self.cell.rcu(|now| {
            let mut next = *now;
            change(&mut next);
            next
        });
    }
}

/// One thread's view of the settings.
#[derive(Debug)]
pub struct SettingsReader<'s> {
    reader: CellReader<Settings, &'s RcuCell<Settings>>,
}

impl SettingsReader<'_> {
    /// The settings now. A pointer compare while they have not changed.
    #[inline]
    pub fn get(&mut self) -> Settings {
        *self.reader.get()
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn changes_made_at_once_are_all_kept() {
        let settings = SharedSettings::new(1);
        std::thread::scope(|scope| {
            scope.spawn(|| (1..=1_000).for_each(|depth| settings.set_depth(depth)));
            scope.spawn(|| settings.stop());
        });
        assert_eq!(
            settings.get(),
            Settings {
                depth: 1_000,
                stop: true
            }
        );
        settings.resume();
        assert!(!settings.get().stop);
    }
}
