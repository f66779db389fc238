//! The storm: millions of random operations on simulated rings under every fault, against a model of what must come.
//!
//! `URING_SIM=10000000` sets how many operations (60,000 unless said otherwise). A failure is shrunk to the fewest steps
//! that still fail and printed with its seed; `URING_SIM_SEED=N` runs that one alone.
#![cfg(not(any(loom, shuttle)))]

mod back;
mod loan;
mod model;
mod program;
mod release;
mod submit;
mod world;

use loan::Arena;
use program::{Random, Step, draw};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use uring_core::sim::{Fault, Faults, Simulation};
use uring_core::{LocalRing, Options, Ring, totals};
use world::{Any, Plant, World};

/// Steps of one program.
const STEPS: usize = 6000;

/// Descriptors are counted, so one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(|e| e.into_inner())
}

/// What one run did.
struct Told {
    operations: u64,
    report: uring_core::sim::Report,
}

/// What went wrong, and after how many steps.
#[derive(Debug)]
struct Failure {
    why: String,
    steps: usize,
}

fn faults(seed: u64, stuck: bool, plant: Option<Plant>) -> Faults {
    let faults = match seed % 4 {
        0 => Faults::none().one_in(Fault::Late, 4),
        _ => Faults::storm(),
    };
    let faults = match plant {
        None if seed.is_multiple_of(3) => faults.one_in(Fault::Duplicate, 16),
        _ => faults,
    };
    if stuck {
        faults.one_in(Fault::Stuck, 300)
    } else {
        faults
    }
}

fn options(seed: u64, simulation: &Simulation, stuck: bool) -> Options {
    let mut random = Random(seed ^ 0xd1b5);
    Options::new()
        .depth(2 + random.below(30) as u32)
        .sq_entries(4 << random.below(3))
        .drain_limit(Duration::from_millis(if stuck { 20 } else { 1000 }))
        .simulated(simulation)
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Runs a program in the world that the seed makes, from an empty process to an empty process.
fn run(seed: u64, program: &[Step], plant: Option<Plant>) -> Result<Told, Failure> {
    let stuck = plant.is_none() && seed % 40 == 5;
    let simulation = Simulation::new(seed).faults(faults(seed, stuck, plant));
    let arena = Arc::new(Arena::default());
    let before = descriptors();
    let mut options = options(seed, &simulation, stuck);
    if plant == Some(Plant::DroppingKernel) {
        options = options.simulated(&simulation.clone().drops_overflow());
    }
    let ring = if seed.is_multiple_of(2) {
        Any::Local(LocalRing::with(&options).unwrap())
    } else {
        Any::Moving(Ring::with(&options).unwrap())
    };
    // Leaked, and taken back below: what a defect left in disorder is not to be dropped in a panic.
    let ring: *mut Any = Box::into_raw(Box::new(ring));
    // SAFETY: alive until it is taken back, after all that borrows it.
    let on = unsafe { &*ring };
    let group = Box::into_raw(Box::new(on.provide_buffers(8, 16).unwrap()));
    // SAFETY: as above.
    let lent = unsafe { &*group };
    let mut world = Box::new(World::new(on, &simulation, &arena, lent, stuck, plant));
    let outcome = catch_unwind(AssertUnwindSafe(|| world.run(program)));
    let steps = world.steps_done;
    let failed = |why: String| Failure { why, steps };
    let why = match outcome {
        Ok(Ok(())) => None,
        Ok(Err(why)) => Some(why),
        Err(panic) => Some(match panic.downcast_ref::<String>() {
            Some(said) => format!("panic: {said}"),
            None => "panic".into(),
        }),
    };
    if let Some(why) = why {
        std::mem::forget(world);
        return Err(failed(why));
    }
    let operations = on.stats().counts().submitted;
    drop(world);
    // SAFETY: made by `Box::into_raw` above, borrowed by nobody any more.
    let (ring, group) = unsafe { (Box::from_raw(ring), Box::from_raw(group)) };
    drop(ring);
    simulation.settle();
    wait_for_the_reaper().map_err(failed)?;
    if group.leased() > 0 {
        return Err(failed(format!("{} leases are out", group.leased())));
    }
    let (alive, corrupt) = arena.audit();
    let report = simulation.report();
    if alive > 0 || corrupt > 0 || report.violations > 0 {
        return Err(failed(format!(
            "{alive} buffers are out, {corrupt} were written after they came back, {} touched in flight",
            report.violations
        )));
    }
    if descriptors() != before {
        return Err(failed(format!(
            "{} descriptors before, {} after",
            before,
            descriptors()
        )));
    }
    Ok(Told { operations, report })
}

/// Waits until what dropped rings left behind is freed.
fn wait_for_the_reaper() -> Result<(), String> {
    for _ in 0..2000 {
        if totals().abandoned.sum() == 0 {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Err("the reaper does not free what is over".into())
}

/// The fewest steps that still fail: the shortest prefix, then every piece that can be left out.
fn shrink(seed: u64, program: &[Step], first: Failure, plant: Option<Plant>) -> (Vec<Step>, Failure) {
    let mut least = program[..(first.steps + 1).min(program.len())].to_vec();
    let mut failure = match run(seed, &least, plant) {
        Err(failure) => failure,
        Ok(_) => {
            // It takes what came later: the end of the run.
            least = program.to_vec();
            first
        }
    };
    let mut piece = least.len() / 2;
    let mut runs = 0;
    while piece > 0 && runs < 3000 {
        let mut at = 0;
        while at < least.len() && runs < 3000 {
            let mut fewer = least.clone();
            fewer.drain(at..(at + piece).min(least.len()));
            runs += 1;
            match run(seed, &fewer, plant) {
                Err(smaller) => (least, failure) = (fewer, smaller),
                Ok(_) => at += piece,
            }
        }
        piece /= 2;
    }
    (least, failure)
}

fn seeds() -> Option<u64> {
    std::env::var("URING_SIM_SEED").ok().and_then(|n| n.parse().ok())
}

fn operations() -> u64 {
    let wanted = std::env::var("URING_SIM").ok().and_then(|n| n.parse().ok());
    wanted.unwrap_or(60_000)
}

/// Runs a seed; panics with the shrunk program if it fails.
fn storm(seed: u64) -> Told {
    let program = draw(seed, STEPS);
    match run(seed, &program, None) {
        Ok(told) => told,
        Err(first) => {
            let first_why = first.why.clone();
            let (least, failure) = shrink(seed, &program, first, None);
            panic!(
                "seed {seed} (URING_SIM_SEED={seed}): {first_why}\nshrunk to {} steps: {}\n{least:#?}",
                least.len(),
                failure.why
            );
        }
    }
}

#[test]
fn d7_simulated_storm_loses_duplicates_misattributes_and_leaks_nothing() {
    let _alone = alone();
    if let Some(seed) = seeds() {
        storm(seed);
        return;
    }
    let (mut done, mut counts) = (0, [0u64; Fault::ALL.len()]);
    let mut seed = 0;
    while done < operations() || seed < 30 {
        let told = storm(seed);
        done += told.operations;
        for (count, fault) in counts.iter_mut().zip(Fault::ALL) {
            *count += told.report.count(fault);
        }
        seed += 1;
    }
    println!("{done} operations in {seed} worlds");
    for (fault, count) in Fault::ALL.iter().zip(counts) {
        println!("{fault:<24} {count:>12}");
        // The ring's credits keep completions from being dropped: see the test of a kernel that would.
        assert_eq!(count == 0, *fault == Fault::Dropped, "{fault}: {count}");
    }
}

/// The oracle tells each planted defect, and shrinks the program to a few steps.
fn caught(plant: Plant) {
    let _alone = alone();
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let found = (1..40u64).find_map(|seed| {
        let program = draw(seed, 1500);
        let failure = run(seed, &program, Some(plant)).err()?;
        Some((seed, program, failure))
    });
    let (seed, program, failure) = found.unwrap_or_else(|| panic!("{plant:?} was not caught"));
    let why = failure.why.clone();
    let (least, _) = shrink(seed, &program, failure, Some(plant));
    std::panic::set_hook(hook);
    println!(
        "{plant:?}: seed {seed}: {why}; shrunk from {} to {} steps",
        program.len(),
        least.len()
    );
    assert!(
        least.len() * 10 <= program.len(),
        "{plant:?}: {} steps are left",
        least.len()
    );
    assert!(
        run(seed, &least, Some(plant)).is_err(),
        "the shrunk program replays"
    );
}

#[test]
fn d7_oracle_catches_a_buffer_freed_on_a_full_queue() {
    caught(Plant::FreedOnFullQueue);
}

#[test]
fn d7_oracle_catches_a_lost_completion() {
    caught(Plant::LostCompletion);
}

#[test]
fn d7_oracle_catches_a_wrong_generation() {
    caught(Plant::WrongGeneration);
}

#[test]
fn d7_oracle_catches_a_double_completion() {
    caught(Plant::DoubleCompletion);
}

#[test]
fn d7_oracle_catches_a_buffer_handed_back_early() {
    caught(Plant::EarlyHandBack);
}

#[test]
fn d7_oracle_catches_a_kernel_that_drops_completions() {
    caught(Plant::DroppingKernel);
}
