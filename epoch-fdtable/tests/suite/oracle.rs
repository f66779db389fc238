//! Every operation against a naive model: a vector of options.

use super::{Census, Counted, Table, table};
use epoch_fdtable::{FdError, Flags, Handle};
use proptest::prelude::*;

const LIMIT: u32 = 150;

#[derive(Clone, Debug)]
enum Op {
    Insert,
    InsertFrom(u32),
    InsertAny,
    InsertAt(u32),
    Put(u32),
    Replace(u32),
    Remove(u32),
    Close(u32),
    Dup(u32),
    Dup2(u32, u32),
    SetFlags(u32, bool),
    CloseRange(u32, u32),
    Exec,
    Stale(usize),
    Limit(u32),
    Clear,
}

fn op() -> impl Strategy<Value = Op> {
    let number = || 0..LIMIT + 10;
    prop_oneof![
        12 => Just(Op::Insert),
        4 => number().prop_map(Op::InsertFrom),
        6 => Just(Op::InsertAny),
        4 => number().prop_map(Op::InsertAt),
        4 => number().prop_map(Op::Put),
        4 => number().prop_map(Op::Replace),
        8 => number().prop_map(Op::Remove),
        4 => number().prop_map(Op::Close),
        4 => number().prop_map(Op::Dup),
        4 => (number(), number()).prop_map(|(a, b)| Op::Dup2(a, b)),
        4 => (number(), any::<bool>()).prop_map(|(n, on)| Op::SetFlags(n, on)),
        1 => (number(), number()).prop_map(|(a, b)| Op::CloseRange(a, b)),
        1 => Just(Op::Exec),
        6 => any::<usize>().prop_map(Op::Stale),
        1 => (LIMIT / 2..=LIMIT).prop_map(Op::Limit),
        1 => Just(Op::Clear),
    ]
}

/// One open descriptor of the model.
#[derive(Clone, Debug)]
struct Entry {
    payload: u64,
    flags: Flags,
    handle: Handle,
}

/// The naive table.
struct Oracle {
    slots: Vec<Option<Entry>>,
    limit: u32,
    stale: Vec<Handle>,
}

impl Oracle {
    fn lowest(&self, floor: u32) -> Option<u32> {
        (floor..self.limit).find(|n| self.slots[*n as usize].is_none())
    }

    fn at(&self, number: u32) -> Option<&Entry> {
        self.slots.get(number as usize)?.as_ref()
    }

    fn open(&mut self, handle: Handle, payload: u64, flags: Flags) {
        let slot = &mut self.slots[handle.number() as usize];
        if let Some(old) = slot.replace(Entry {
            payload,
            flags,
            handle,
        }) {
            assert_ne!(old.handle, handle, "a generation given out twice");
            self.stale.push(old.handle);
        }
    }

    fn shut(&mut self, number: u32) -> Option<Entry> {
        let old = self.slots.get_mut(number as usize)?.take()?;
        self.stale.push(old.handle);
        Some(old)
    }
}

struct Run {
    table: Table<Counted>,
    oracle: Oracle,
    census: Census,
    payload: u64,
}

impl Run {
    fn value(&mut self) -> Counted {
        self.payload += 1;
        self.census.value(self.payload)
    }

    fn step(&mut self, op: &Op) {
        match *op {
            Op::Insert => self.insert(0),
            Op::InsertFrom(floor) => self.insert(floor),
            Op::InsertAny => {
                let value = self.value();
                match self.table.insert_any(value) {
                    Ok(handle) => {
                        assert!(
                            self.oracle.at(handle.number()).is_none() && handle.number() < self.oracle.limit
                        );
                        self.oracle.open(handle, self.payload, Flags::NONE);
                    }
                    Err(_) => assert_eq!(self.oracle.lowest(0), None),
                }
            }
            Op::InsertAt(n) => {
                let value = self.value();
                let free = n < self.oracle.limit && self.oracle.at(n).is_none();
                let result = self.table.insert_at(n, value, Flags::CLOSE_ON_FORK);
                assert_eq!(result.is_ok(), free);
                if let Ok(handle) = result {
                    self.oracle.open(handle, self.payload, Flags::CLOSE_ON_FORK);
                }
            }
            Op::Put(n) => {
                let value = self.value();
                let result = self.table.put(n, value, Flags::NONE);
                assert_eq!(result.is_ok(), n < self.oracle.limit);
                if let Ok(placed) = result {
                    let replaced = placed.replaced.as_ref().map(|old| old.payload);
                    assert_eq!(replaced, self.oracle.at(n).map(|old| old.payload));
                    self.oracle.open(placed.handle, self.payload, Flags::NONE);
                }
            }
            Op::Replace(n) => {
                let value = self.value();
                let flags = self.oracle.at(n).map(|old| old.flags);
                let result = self.table.replace(n, value);
                assert_eq!(result.is_ok(), flags.is_some());
                if let (Ok((handle, old)), Some(flags)) = (result, flags) {
                    assert_eq!(old.payload, self.oracle.at(n).unwrap().payload);
                    self.oracle.open(handle, self.payload, flags);
                }
            }
            Op::Remove(n) => {
                let removed = self.table.remove(n).map(|old| old.payload);
                assert_eq!(removed, self.oracle.shut(n).map(|old| old.payload));
            }
            Op::Close(n) => assert_eq!(self.table.close(n).is_ok(), self.oracle.shut(n).is_some()),
            Op::Dup(n) => {
                let expected = self.oracle.at(n).cloned().zip(self.oracle.lowest(0));
                let handle = self.table.dup(n).ok();
                assert_eq!(
                    handle.map(Handle::number),
                    expected.as_ref().map(|(_, number)| *number)
                );
                if let (Some(handle), Some((entry, _))) = (handle, expected) {
                    self.oracle.open(handle, entry.payload, Flags::NONE);
                }
            }
            Op::Dup2(from, to) => self.dup2(from, to),
            Op::SetFlags(n, on) => {
                let flags = if on { Flags::CLOSE_ON_EXEC } else { Flags::NONE };
                let before = self.table.set_flags(n, flags).ok();
                assert_eq!(before, self.oracle.at(n).map(|entry| entry.flags));
                if before.is_some() {
                    self.oracle.slots[n as usize].as_mut().unwrap().flags = flags;
                }
            }
            Op::CloseRange(a, b) => {
                let expected = (a..b).filter(|n| self.oracle.shut(*n).is_some()).count();
                assert_eq!(self.table.close_range(a..b).total(), expected);
            }
            Op::Exec => {
                let marked = |e: &Entry| e.flags.contains(Flags::CLOSE_ON_EXEC);
                let chosen: Vec<u32> = (0..LIMIT)
                    .filter(|n| self.oracle.at(*n).is_some_and(marked))
                    .collect();
                chosen
                    .iter()
                    .for_each(|n| assert!(self.oracle.shut(*n).is_some()));
                assert_eq!(self.table.close_on_exec().total(), chosen.len());
            }
            Op::Stale(at) if !self.oracle.stale.is_empty() => {
                let stale = self.oracle.stale[at % self.oracle.stale.len()];
                assert!(self.table.pin().get(stale).is_none());
                assert_eq!(
                    self.table.close(stale),
                    Err(FdError::NotOpen {
                        number: stale.number()
                    })
                );
            }
            Op::Stale(_) => {}
            Op::Limit(limit) => {
                self.table.set_limit(limit).unwrap();
                self.oracle.limit = limit;
            }
            Op::Clear => {
                let open = (0..LIMIT).filter(|n| self.oracle.shut(*n).is_some()).count();
                assert_eq!(self.table.clear(|_, removed| drop(removed)), open);
            }
        }
    }

    fn insert(&mut self, floor: u32) {
        let value = self.value();
        let expected = self.oracle.lowest(floor);
        let result = self.table.insert_from(floor, value, Flags::CLOSE_ON_EXEC);
        assert_eq!(result.as_ref().ok().map(|handle| handle.number()), expected);
        if let Ok(handle) = result {
            self.oracle.open(handle, self.payload, Flags::CLOSE_ON_EXEC);
        }
    }

    fn dup2(&mut self, from: u32, to: u32) {
        let entry = self.oracle.at(from).cloned();
        let result = self.table.dup2(from, to);
        assert_eq!(
            result.is_ok(),
            entry.is_some() && (to < self.oracle.limit || from == to)
        );
        if let (Ok(placed), Some(entry)) = (result, entry)
            && from != to
        {
            assert_eq!(
                placed.replaced.map(|old| old.payload),
                self.oracle.at(to).map(|old| old.payload)
            );
            self.oracle.open(placed.handle, entry.payload, Flags::NONE);
        }
    }

    fn compare(&self) {
        let pinned = self.table.pin();
        for number in 0..LIMIT + 10 {
            let entry = self.oracle.at(number);
            assert_eq!(pinned.get(number).map(|v| v.payload), entry.map(|e| e.payload));
            assert_eq!(self.table.flags(number), entry.map(|e| e.flags));
            assert_eq!(self.table.handle(number), entry.map(|e| e.handle));
        }
        let open = self.oracle.slots.iter().flatten().count();
        assert_eq!((self.table.len(), pinned.iter().count()), (open, open));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn c6_every_history_agrees_with_a_vector_of_options(ops in proptest::collection::vec(op(), 1..300)) {
        let census = Census::default();
        let oracle = Oracle { slots: vec![None; LIMIT as usize], limit: LIMIT, stale: Vec::new() };
        let mut run = Run { table: table(LIMIT), oracle, census: census.clone(), payload: 0 };
        for op in &ops {
            run.step(op);
        }
        run.compare();
        drop(run);
        let any: Table<u8> = table(1);
        census.settles_at(0, || any.collect());
    }
}
