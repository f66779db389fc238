//! Random submissions, drops, forgets, cancellations and timeouts: nothing is lost, duplicated, misattributed or leaked.
//!
//! `URING_CHAOS=10000000` sets the number of operations; an ordinary run does 60,000. Debug builds run it under the
//! ledger, which panics when the kernel is lent memory that it has already.
#![cfg(not(any(loom, shuttle)))]

use std::collections::HashMap;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;
use uring_core::buffer::{IoBuf, IoBufMut, Lease};
use uring_core::op::{Nop, Read, RecvLeased, Timeout, Within};
use uring_core::{Carrier, LocalRing, Op, OpId, Options, Ring, Taken, Token};

const LONG: Duration = Duration::from_secs(10);
const DEPTH: u32 = 64;

/// Every buffer carries a number, and is counted from birth to death.
struct Tagged {
    bytes: Box<[u8]>,
    tag: u64,
    alive: Arc<AtomicU64>,
}

impl Tagged {
    fn new(tag: u64, alive: &Arc<AtomicU64>) -> Self {
        alive.fetch_add(1, Ordering::Relaxed);
        Self {
            bytes: vec![0; 8].into(),
            tag,
            alive: Arc::clone(alive),
        }
    }
}

impl Drop for Tagged {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

// SAFETY: the box's block stays where it is and has one owner.
unsafe impl IoBuf for Tagged {
    fn stable_ptr(&self) -> *const u8 {
        self.bytes.as_ptr()
    }
    fn bytes_init(&self) -> usize {
        self.bytes.len()
    }
}

// SAFETY: as above.
unsafe impl IoBufMut for Tagged {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        self.bytes.as_mut_ptr()
    }
    fn bytes_total(&self) -> usize {
        self.bytes.len()
    }
    unsafe fn set_init(&mut self, _: usize) {}
}

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

type Socket = Arc<UnixStream>;
type Pending = Read<Tagged, Socket>;

#[derive(Default, Debug)]
struct Told {
    tokens: u64,
    rejected: u64,
    cancelled: u64,
    dropped: u64,
    forgotten: u64,
    leased: u64,
}

struct World<'r> {
    ring: &'r LocalRing,
    alive: Arc<AtomicU64>,
    random: Random,
    ours: Socket,
    theirs: UnixStream,
    /// A stream of its own for receives that pick their buffer, where nobody waits before them.
    leased: (Socket, UnixStream),
    group: &'r uring_core::buffer::BufGroup,
    tokens: HashMap<OpId, (Token<Pending>, u64)>,
    futures: Vec<Pin<Box<Op<'r, Pending>>>>,
    leases: Vec<Lease>,
    called: Arc<AtomicU64>,
    expected_calls: u64,
    told: Told,
}

impl<'r> World<'r> {
    fn step(&mut self, tag: u64) {
        match self.random.below(100) {
            0..15 => self.token(tag),
            15..25 => self.callback(tag),
            25..35 => self.future(tag),
            35..42 => self.leased_future(),
            42..46 => self.timeouts(),
            46..51 => drop(self.ring.submit(Nop::new())),
            51..60 => self.cancel(),
            60..80 => {
                drop(self.theirs.write(&tag.to_ne_bytes()));
                drop(self.leased.1.write(&tag.to_ne_bytes()));
            }
            80..85 => self.drop_future(),
            85..86 => self.forget(),
            86..90 => drop(self.leases.pop()),
            _ => self.turn(),
        }
    }

    fn drop_future(&mut self) {
        if !self.futures.is_empty() {
            drop(self.futures.swap_remove(0));
            self.told.dropped += 1;
        }
    }

    fn read(&self, tag: u64) -> Pending {
        Read::new(Arc::clone(&self.ours), Tagged::new(tag, &self.alive))
    }

    fn token(&mut self, tag: u64) {
        match self.ring.submit(self.read(tag)) {
            Ok(token) => drop(self.tokens.insert(token.id(), (token, tag))),
            Err(rejected) => {
                assert_eq!(
                    rejected.op.into_parts().0.tag,
                    tag,
                    "the very operation comes back"
                );
                self.told.rejected += 1;
            }
        }
    }

    fn callback(&mut self, tag: u64) {
        let called = Arc::clone(&self.called);
        let submitted = self.ring.submit_with(self.read(tag), move |(_, buf)| {
            assert_eq!(buf.tag, tag, "misattributed");
            called.fetch_add(1, Ordering::Relaxed);
        });
        match submitted {
            Ok(_) => self.expected_calls += 1,
            Err(_) => self.told.rejected += 1,
        }
    }

    fn future(&mut self, tag: u64) {
        let mut future = Box::pin(self.ring.run(self.read(tag)));
        let mut cx = Context::from_waker(Waker::noop());
        if std::future::Future::poll(future.as_mut(), &mut cx).is_pending() {
            self.futures.push(future);
        } else {
            self.told.rejected += 1;
        }
        if self.futures.len() > 16 {
            self.drop_future();
        }
    }

    /// A receive into a provided buffer, taken if it is there at once, else dropped in flight.
    fn leased_future(&mut self) {
        let mut receive = Box::pin(
            self.ring
                .run(RecvLeased::new(Arc::clone(&self.leased.0), self.group)),
        );
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..2 {
            if let std::task::Poll::Ready(got) = std::future::Future::poll(receive.as_mut(), &mut cx) {
                if let Ok(Some(lease)) = got {
                    self.leases.push(lease);
                    self.told.leased += 1;
                }
                return;
            }
            self.turn();
        }
    }

    fn timeouts(&mut self) {
        let micros = Duration::from_micros(self.random.below(50));
        drop(self.ring.submit_with(Timeout::after(micros), |ended| {
            assert!(ended.is_ok() || ended.unwrap_err().is_cancelled())
        }));
        let op = Within::new(micros, self.read(u64::MAX));
        drop(
            self.ring
                .submit_with(op, |(_, buf)| assert_eq!(buf.tag, u64::MAX)),
        );
    }

    fn cancel(&mut self) {
        if let Some(&id) = self.tokens.keys().next()
            && self.ring.cancel(id).is_ok()
        {
            self.told.cancelled += 1;
        }
    }

    /// A forgotten future holds its slot for as long as the ring lives, so only a few are.
    fn forget(&mut self) {
        if self.told.forgotten < 4
            && let Some(future) = self.futures.pop()
        {
            std::mem::forget(future);
            self.told.forgotten += 1;
        }
    }

    fn turn(&mut self) {
        self.ring.wait(0, Duration::ZERO).unwrap();
        let (tokens, told) = (&mut self.tokens, &mut self.told);
        self.ring.reap(|done| {
            let id = done.id();
            let Some((_, tag)) = tokens.remove(&id) else {
                // A NOP, whose token was dropped.
                assert!(done.take::<Nop>().is_ok(), "a completion that nobody submitted");
                return;
            };
            let (_, buf) = done.take::<Pending>().expect("its type");
            assert_eq!(buf.tag, tag, "misattributed");
            told.tokens += 1;
        });
        let mut cx = Context::from_waker(Waker::noop());
        self.futures
            .retain_mut(|future| std::future::Future::poll(future.as_mut(), &mut cx).is_pending());
    }
}

fn operations() -> u64 {
    std::env::var("URING_CHAOS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(60_000)
}

#[test]
fn d7_random_operations_lose_duplicate_misattribute_and_leak_nothing() {
    randomly(Carrier::Auto, operations());
}

#[test]
fn d7_random_operations_on_the_fallback_lose_and_leak_nothing_either() {
    randomly(Carrier::Fallback, operations() / 3);
}

fn randomly(carrier: Carrier, operations: u64) {
    let alive = Arc::new(AtomicU64::new(0));
    let each = 20_000;
    for round in 0..operations.div_ceil(each) {
        let ring = LocalRing::with(&Options::new().depth(DEPTH).sq_entries(8).carrier(carrier)).unwrap();
        let group = ring.provide_buffers(8, 16).unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (leased, lessor) = UnixStream::pair().unwrap();
        theirs.set_nonblocking(true).unwrap();
        lessor.set_nonblocking(true).unwrap();
        let called = Arc::new(AtomicU64::new(0));
        let mut world = World {
            ring: &ring,
            alive: Arc::clone(&alive),
            random: Random(0x5DEE_CE66_D1CE_4E5B ^ (round + 1)),
            ours: Arc::new(ours),
            theirs,
            leased: (Arc::new(leased), lessor),
            group: &group,
            tokens: HashMap::new(),
            futures: Vec::new(),
            leases: Vec::new(),
            called: Arc::clone(&called),
            expected_calls: 0,
            told: Told::default(),
        };
        for tag in 0..each {
            world.step(tag);
        }
        world.futures.clear();
        world.leases.clear();
        ring.cancel_all().unwrap();
        let held = world.told.forgotten as usize;
        let mut rounds = 0;
        while ring.held() > held {
            ring.wait(1, Duration::from_millis(50)).unwrap();
            world.turn();
            rounds += 1;
            assert!(rounds < 1000, "{} operations never end", ring.held() - held);
        }
        assert!(world.tokens.is_empty(), "each token completed");
        assert_eq!(
            called.load(Ordering::Relaxed),
            world.expected_calls,
            "each callback ran once"
        );
        let told = &world.told;
        let all = [
            told.tokens,
            told.rejected,
            told.cancelled,
            told.dropped,
            told.forgotten,
            told.leased,
        ];
        assert!(
            all.iter().all(|&n| n > 0),
            "each kind of event happened: {told:?}"
        );
        assert_eq!(ring.stats().counts().stale, 0);
        assert_eq!(alive.load(Ordering::Relaxed), world.told.forgotten);
        assert_eq!(group.leased(), 0);
        let socket = Arc::clone(&world.ours);
        drop(world);
        drop(ring);
        assert_eq!(Arc::strong_count(&socket), 1, "every descriptor is back");
        assert_eq!(alive.load(Ordering::Relaxed), 0, "every buffer is back");
    }
}

#[test]
fn d5_ring_handed_around_threads_with_operations_in_flight_loses_nothing() {
    let mut ring = Ring::with(&Options::new().depth(8)).unwrap();
    let alive = Arc::new(AtomicU64::new(0));
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let ours = Arc::new(ours);
    for round in 0..200u64 {
        let tag = Tagged::new(round, &alive);
        let token = ring.submit(Read::new(Arc::clone(&ours), tag)).unwrap();
        ring.flush().unwrap();
        theirs.write_all(&round.to_ne_bytes()).unwrap();
        ring = std::thread::spawn(move || {
            let (read, buf) = ring.finish(token, LONG).unwrap();
            assert_eq!((read, buf.tag), (Ok(8), round));
            assert_eq!(buf.bytes[..], round.to_ne_bytes());
            ring
        })
        .join()
        .unwrap();
    }
    assert_eq!(alive.load(Ordering::Relaxed), 0);
    assert!(matches!(
        ring.submit(Nop::new()).map(|t| ring.take(t)),
        Ok(Taken::Pending(_))
    ));
}
