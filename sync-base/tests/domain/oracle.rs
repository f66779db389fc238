//! Random schedules of real threads against a naive model of what may be freed, and what must be.
//!
//! The threads take turns, one operation at a time, so that the model knows every section and its beginning. Frees happen
//! wherever the domain sees fit; each is judged in the order in which it happened.

use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use sync_base::Domain;
use sync_base::domain::Guard;

const ACTORS: usize = 4;

/// What a thread is told to do.
#[derive(Clone, Debug)]
enum Op {
    /// Begins a section, inside those it has.
    Pin,
    /// Ends one of its sections, whichever of the nested ones.
    Unpin(usize),
    /// Begins its newest section anew.
    Repin,
    /// Retires so many objects.
    Retire(u8),
    /// Retires an object whose destructor retires another.
    RetireParent,
    /// Hands over what it has retired.
    Flush,
    /// Frees what can be freed.
    Collect,
    /// Ends; another thread takes its place.
    Exit,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => Just(Op::Pin),
        6 => any::<usize>().prop_map(Op::Unpin),
        3 => Just(Op::Repin),
        8 => (1..12u8).prop_map(Op::Retire),
        2 => Just(Op::RetireParent),
        2 => Just(Op::Flush),
        2 => Just(Op::Collect),
        1 => Just(Op::Exit),
    ]
}

/// What happened to objects, in order.
#[derive(Clone, Copy, Debug)]
enum Event {
    Retired(usize),
    Freed(usize),
}

/// The events so far, and the next object's number.
#[derive(Debug, Default)]
struct Log {
    events: Vec<Event>,
    objects: usize,
}

type Shared = Arc<Mutex<Log>>;

/// An object that says when it is freed, and then retires its child if it has one.
struct Object {
    number: usize,
    log: Shared,
    parent: Option<Domain>,
}

impl Drop for Object {
    fn drop(&mut self) {
        self.log.lock().unwrap().events.push(Event::Freed(self.number));
        if let Some(domain) = &self.parent {
            retire(domain, &self.log, false);
        }
    }
}

fn retire(domain: &Domain, log: &Shared, parent: bool) {
    let number = {
        let mut log = log.lock().unwrap();
        let number = log.objects;
        log.objects += 1;
        log.events.push(Event::Retired(number));
        number
    };
    let object = Box::into_raw(Box::new(Object {
        number,
        log: Arc::clone(log),
        parent: parent.then(|| domain.clone()),
    }));
    // SAFETY: linked nowhere, retired once.
    unsafe { domain.retire_box(object) };
}

/// A thread that does one thing at a time.
struct Actor {
    tell: mpsc::Sender<Op>,
    done: mpsc::Receiver<()>,
    thread: JoinHandle<()>,
}

impl Actor {
    fn new(domain: &Domain, log: &Shared) -> Self {
        let (tell, told) = mpsc::channel();
        let (says, done) = mpsc::channel();
        let (domain, log) = (domain.clone(), Arc::clone(log));
        let thread = std::thread::spawn(move || {
            let mut guards: Vec<Guard<'_>> = Vec::new();
            for op in told {
                match op {
                    Op::Pin => guards.push(domain.pin()),
                    Op::Unpin(which) if !guards.is_empty() => drop(guards.swap_remove(which % guards.len())),
                    Op::Repin if !guards.is_empty() => {
                        let alone = guards.len() == 1;
                        assert_eq!(guards.last_mut().map(Guard::repin), Some(alone));
                    }
                    Op::Unpin(_) | Op::Repin => {}
                    Op::Retire(objects) => (0..objects).for_each(|_| retire(&domain, &log, false)),
                    Op::RetireParent => retire(&domain, &log, true),
                    Op::Flush => domain.flush(),
                    Op::Collect => _ = domain.collect(),
                    Op::Exit => break,
                }
                says.send(()).unwrap();
            }
        });
        Self { tell, done, thread }
    }

    fn run(&self, op: &Op) {
        self.tell.send(op.clone()).unwrap();
        self.done.recv().unwrap();
    }

    fn exit(self) {
        self.tell.send(Op::Exit).unwrap();
        self.thread.join().unwrap();
    }
}

/// What the model knows of an object that is not freed yet.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    /// When it was retired.
    since: u64,
    /// When its retirer handed it over, if it has.
    sealed: Option<u64>,
    /// Who retired it.
    actor: usize,
}

/// The naive model: sections with their beginnings, objects with theirs.
#[derive(Default)]
struct Model {
    now: u64,
    /// Depth and beginning of each actor's section.
    sections: [(usize, u64); ACTORS],
    waiting: BTreeMap<usize, Waiting>,
    freed: usize,
    seen: usize,
}

impl Model {
    fn oldest_section(&self) -> Option<u64> {
        let open = self.sections.iter().filter(|(depth, _)| *depth > 0);
        open.map(|(_, began)| *began).min()
    }

    /// What the operation does to the sections; before its events are judged, since what it frees it frees afterwards.
    fn begin(&mut self, actor: usize, op: &Op) {
        self.now += 1;
        let (depth, began) = &mut self.sections[actor];
        match op {
            Op::Pin => {
                if *depth == 0 {
                    *began = self.now;
                }
                *depth += 1;
            }
            Op::Unpin(_) => *depth = depth.saturating_sub(1),
            Op::Repin if *depth == 1 => *began = self.now,
            Op::Exit => *depth = 0,
            _ => {}
        }
    }

    /// Judges what happened since the last time.
    fn judge(&mut self, actor: usize, log: &Shared) {
        let log = log.lock().unwrap();
        for event in &log.events[self.seen..] {
            match *event {
                Event::Retired(number) => {
                    let new = Waiting {
                        since: self.now,
                        sealed: None,
                        actor,
                    };
                    assert!(self.waiting.insert(number, new).is_none());
                }
                Event::Freed(number) => {
                    let waiting = self.waiting.remove(&number);
                    let waiting = waiting.unwrap_or_else(|| panic!("object {number} freed twice"));
                    let held = self.oldest_section().is_some_and(|began| began < waiting.since);
                    assert!(
                        !held,
                        "object {number} freed under a section that was open before it was retired"
                    );
                    self.freed += 1;
                }
            }
        }
        self.seen = log.events.len();
    }

    /// After an actor handed over what it had.
    fn sealed(&mut self, actor: usize) {
        let now = self.now;
        let mine = self.waiting.values_mut().filter(|w| w.actor == actor);
        mine.for_each(|w| w.sealed = w.sealed.or(Some(now)));
    }

    /// After a collection: what was handed over before every open section began is gone.
    fn collected(&self) {
        let oldest = self.oldest_section().unwrap_or(u64::MAX);
        for (number, waiting) in &self.waiting {
            let free = waiting
                .sealed
                .is_some_and(|sealed| sealed < oldest && sealed < self.now);
            assert!(
                !free,
                "object {number} was free of readers and not freed: {waiting:?}"
            );
        }
    }
}

fn play(batch: usize, ops: &[(usize, Op)]) {
    let domain = Domain::builder().batch(batch).build();
    let log = Shared::default();
    let mut model = Model::default();
    let mut actors: Vec<Actor> = (0..ACTORS).map(|_| Actor::new(&domain, &log)).collect();
    for (actor, op) in ops {
        model.begin(*actor, op);
        if matches!(op, Op::Exit) {
            let fresh = Actor::new(&domain, &log);
            std::mem::replace(&mut actors[*actor], fresh).exit();
        } else {
            actors[*actor].run(op);
        }
        model.judge(*actor, &log);
        if matches!(op, Op::Collect) {
            model.collected();
        }
        if matches!(op, Op::Flush | Op::Collect | Op::Exit) {
            model.sealed(*actor);
        }
    }
    for (actor, last) in actors.into_iter().enumerate() {
        model.begin(actor, &Op::Exit);
        last.exit();
        model.judge(actor, &log);
    }
    domain.collect();
    model.judge(0, &log);
    assert!(model.waiting.is_empty(), "never freed: {:?}", model.waiting);
    assert_eq!(
        model.freed,
        log.lock().unwrap().objects,
        "each object freed exactly once"
    );
    assert_eq!(domain.stats().garbage, 0);
    let stats = domain.stats();
    assert_eq!(stats.oldest_reader, None);
    // This thread's own, if a destructor retired on it.
    assert!(stats.records_live <= 1, "{} records", stats.records_live);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_freed_under_an_older_section_and_everything_once_in_the_end(
        batch in prop_oneof![Just(1usize), Just(4), Just(32), Just(256)],
        ops in proptest::collection::vec((0..ACTORS, op()), 1..120),
    ) {
        play(batch, &ops);
    }
}

/// The model itself can go red: the same judge, given a free that a section forbids.
#[test]
#[should_panic(expected = "freed under a section that was open before it was retired")]
fn the_model_objects_to_a_free_under_a_section() {
    let log = Shared::default();
    let mut model = Model::default();
    model.begin(0, &Op::Pin);
    model.begin(1, &Op::Retire(1));
    log.lock()
        .unwrap()
        .events
        .extend([Event::Retired(0), Event::Freed(0)]);
    model.judge(1, &log);
}
