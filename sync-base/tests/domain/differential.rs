//! The domain beside crossbeam-epoch: one random schedule for both, with a section a participant.
//!
//! Both have participants that need no thread of their own (our `Reader`, its `LocalHandle`), so a schedule runs on one
//! thread and the two see the same. Neither may free what a section holds; both have freed the same in the end, and where
//! nobody reads, after each collection. The sections that an object waits for are known, so the two also judge each
//! other: an object that one frees and the other holds back for ever is found.

use super::Drops;
use crossbeam_epoch::{Collector, LocalHandle};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use sync_base::{Domain, Reader};

const PARTICIPANTS: usize = 5;

#[derive(Clone, Debug)]
enum Op {
    Pin(usize),
    Unpin(usize),
    Repin(usize),
    Retire(u8),
    Collect,
    /// A participant leaves, and another comes.
    Renew(usize),
}

fn op() -> impl Strategy<Value = Op> {
    let who = || 0..PARTICIPANTS;
    prop_oneof![
        6 => who().prop_map(Op::Pin),
        6 => who().prop_map(Op::Unpin),
        3 => who().prop_map(Op::Repin),
        8 => (1..10u8).prop_map(Op::Retire),
        3 => Just(Op::Collect),
        1 => who().prop_map(Op::Renew),
    ]
}

/// Numbers of the objects that were freed.
type Freed = Arc<Mutex<BTreeSet<usize>>>;

struct Object {
    number: usize,
    freed: Freed,
    _drops: Counted,
}

/// Counts a drop besides, so that one object dropped twice is seen.
struct Counted(Drops);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        assert!(self.freed.lock().unwrap().insert(self.number), "freed twice");
    }
}

/// What the schedule is played on.
trait World {
    fn pin(&mut self, who: usize);
    fn unpin(&mut self, who: usize);
    fn repin(&mut self, who: usize);
    fn retire(&mut self, object: Box<Object>);
    fn collect(&mut self);
    fn renew(&mut self, who: usize);
}

/// Guards are kept as raw state: a participant's guard borrows the participant, so it is forgotten and made again.
struct Ours {
    domain: Domain,
    readers: Vec<Reader>,
    guards: Vec<Option<sync_base::domain::Guard<'static>>>,
}

impl Ours {
    fn new() -> Self {
        let domain = Domain::builder().batch(16).build();
        Self {
            readers: (0..PARTICIPANTS).map(|_| domain.reader()).collect(),
            guards: (0..PARTICIPANTS).map(|_| None).collect(),
            domain,
        }
    }
}

impl World for Ours {
    fn pin(&mut self, who: usize) {
        let guard = self.readers[who].pin();
        // SAFETY: dropped before the reader is: in `unpin`, `renew`, or with `guards`, which `Drop` empties first.
        self.guards[who] = Some(unsafe {
            std::mem::transmute::<sync_base::domain::Guard<'_>, sync_base::domain::Guard<'static>>(guard)
        });
    }
    fn unpin(&mut self, who: usize) {
        self.guards[who] = None;
    }
    fn repin(&mut self, who: usize) {
        assert!(self.guards[who].as_mut().is_some_and(|guard| guard.repin()));
    }
    fn retire(&mut self, object: Box<Object>) {
        // SAFETY: linked nowhere, retired once.
        unsafe { self.domain.retire_box(Box::into_raw(object)) };
    }
    fn collect(&mut self) {
        self.domain.collect();
    }
    fn renew(&mut self, who: usize) {
        self.guards[who] = None;
        self.readers[who] = self.domain.reader();
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        self.guards.clear();
    }
}

struct Theirs {
    collector: Collector,
    writer: LocalHandle,
    handles: Vec<LocalHandle>,
    guards: Vec<Option<crossbeam_epoch::Guard>>,
}

impl Theirs {
    fn new() -> Self {
        let collector = Collector::new();
        Self {
            writer: collector.register(),
            handles: (0..PARTICIPANTS).map(|_| collector.register()).collect(),
            guards: (0..PARTICIPANTS).map(|_| None).collect(),
            collector,
        }
    }
}

impl World for Theirs {
    fn pin(&mut self, who: usize) {
        self.guards[who] = Some(self.handles[who].pin());
    }
    fn unpin(&mut self, who: usize) {
        self.guards[who] = None;
    }
    fn repin(&mut self, who: usize) {
        if let Some(guard) = &mut self.guards[who] {
            guard.repin();
        }
    }
    fn retire(&mut self, object: Box<Object>) {
        self.writer.pin().defer(move || drop(object));
    }
    fn collect(&mut self) {
        // Each flush moves the epoch by one at most and frees a bounded number of bags.
        (0..64).for_each(|_| self.writer.pin().flush());
    }
    fn renew(&mut self, who: usize) {
        self.guards[who] = None;
        self.handles[who] = self.collector.register();
    }
}

/// One of the two, with what it has freed.
struct Player<W> {
    world: W,
    freed: Freed,
    drops: Drops,
}

impl<W: World> Player<W> {
    fn new(world: W) -> Self {
        Self {
            world,
            freed: Freed::default(),
            drops: Drops::default(),
        }
    }

    fn retire(&mut self, number: usize) {
        self.world.retire(Box::new(Object {
            number,
            freed: Arc::clone(&self.freed),
            _drops: Counted(self.drops.clone()),
        }));
    }

    fn freed(&self) -> BTreeSet<usize> {
        self.freed.lock().unwrap().clone()
    }
}

/// Sections open now, by participant, each with the number of objects that had been retired when it began.
#[derive(Default)]
struct Sections([Option<usize>; PARTICIPANTS]);

impl Sections {
    /// Objects numbered from here on are held by some section.
    fn held_from(&self, retired: usize) -> usize {
        self.0.iter().flatten().min().copied().unwrap_or(retired)
    }
}

fn play(ops: &[Op]) {
    let (mut ours, mut theirs) = (Player::new(Ours::new()), Player::new(Theirs::new()));
    let (mut sections, mut retired) = (Sections::default(), 0usize);
    for op in ops {
        match *op {
            Op::Pin(who) if sections.0[who].is_none() => {
                ours.world.pin(who);
                theirs.world.pin(who);
                sections.0[who] = Some(retired);
            }
            Op::Unpin(who) => {
                ours.world.unpin(who);
                theirs.world.unpin(who);
                sections.0[who] = None;
            }
            Op::Repin(who) if sections.0[who].is_some() => {
                ours.world.repin(who);
                theirs.world.repin(who);
                sections.0[who] = Some(retired);
            }
            Op::Pin(_) | Op::Repin(_) => {}
            Op::Retire(objects) => {
                for _ in 0..objects {
                    ours.retire(retired);
                    theirs.retire(retired);
                    retired += 1;
                }
            }
            Op::Collect => {
                ours.world.collect();
                theirs.world.collect();
            }
            Op::Renew(who) => {
                ours.world.renew(who);
                theirs.world.renew(who);
                sections.0[who] = None;
            }
        }
        let held = sections.held_from(retired);
        for (name, freed) in [("ours", ours.freed()), ("crossbeam-epoch", theirs.freed())] {
            let early = freed.range(held..).next();
            assert_eq!(early, None, "{name} freed under a section that was open before");
        }
        if matches!(op, Op::Collect) && sections.0.iter().all(Option::is_none) {
            assert_eq!(
                ours.freed(),
                theirs.freed(),
                "nobody reads: both have freed everything"
            );
            assert_eq!(ours.freed().len(), retired);
        }
    }
    for who in 0..PARTICIPANTS {
        ours.world.unpin(who);
        theirs.world.unpin(who);
    }
    ours.world.collect();
    theirs.world.collect();
    assert_eq!(ours.freed(), theirs.freed());
    assert_eq!((ours.drops.count(), theirs.drops.count()), (retired, retired));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_schedule_frees_what_crossbeam_epoch_frees(ops in proptest::collection::vec(op(), 1..200)) {
        play(&ops);
    }
}
