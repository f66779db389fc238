//! From a completion to its operation, and nothing else: what claim `batch.match` measures.

use super::table::{OpId, State, Table};

/// A table of operations in flight, each of which knows its place in a batch as the callback of a batch does.
pub struct Matching {
    table: Table,
}

impl std::fmt::Debug for Matching {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Matching").field(&self.table.in_use()).finish()
    }
}

impl Matching {
    /// Puts so many operations in flight; gives the `user_data` of each, in the order of their places.
    pub fn new(operations: u32) -> (Self, Vec<u64>) {
        let mut table = Table::new(operations);
        let ids = (0..operations).map(|place| {
            let slot = table.peek().expect("the table is as large");
            table.claim(slot);
            table.hot(slot).state = State::InFlight;
            // SAFETY: the slot is claimed and nothing is there; without a vtable nothing is ever dropped either.
            unsafe { table.cont_at(slot).cast::<u32>().write(place) };
            let generation = table.generation(slot);
            let ring = 0;
            OpId {
                slot,
                generation,
                ring,
            }
            .user_data()
        });
        let ids = ids.collect();
        (Self { table }, ids)
    }

    /// Finds the place that a completion is for: the look-up that a ring does, then the one that the callback does.
    #[inline]
    pub fn place(&mut self, user_data: u64) -> Option<u32> {
        let (slot, generation) = (user_data as u32, (user_data >> 32) as u32);
        self.table.in_flight(slot, generation)?;
        // SAFETY: `new` wrote a place for every slot that is in flight.
        Some(unsafe { self.table.cont_at(slot).cast::<u32>().read() })
    }
}
