//! epoch-fdtable's registered files: a slot comes out once, with all that came before its binding.
#![cfg(loom)]

use epoch_fdtable::{Asymmetric, Handle, RegisteredFiles};
use loom_tests::{Bounds, check};
use std::fs::File;
use sync_base::cell::UnsafeCell;
use sync_base::sync::Arc;
use sync_base::{Domain, thread};

const TWO: Bounds = Bounds {
    threads: 3,
    quick: 2,
    deep: 3,
};

/// Files, and what the kernel holds under the one slot: whoever has the slot to himself may write it.
struct Kernel {
    files: RegisteredFiles,
    held: UnsafeCell<u32>,
}

// SAFETY: the cell is touched by whoever the slot's moves allow to; whether those order the touches is being checked.
unsafe impl Sync for Kernel {}
// SAFETY: as above.
unsafe impl Send for Kernel {}

impl Kernel {
    /// Tells the kernel what the slot names.
    fn tell(&self, what: u32) {
        // SAFETY: see `Sync`.
        self.held.with_mut(|held| unsafe { *held = what });
    }

    /// What the slot names now.
    fn ask(&self) -> u32 {
        // SAFETY: see `Sync`.
        self.held.with(|held| unsafe { *held })
    }
}

/// One file without a slot.
fn kernel() -> (Arc<Kernel>, Handle) {
    let domain = Domain::builder().batch(64).build();
    let files = RegisteredFiles::with_reclaim(2, Asymmetric::new(domain));
    let file = File::open("/dev/null").unwrap();
    let handle = files.adopt(file.into()).unwrap();
    let held = UnsafeCell::new(0);
    (Arc::new(Kernel { files, held }), handle)
}

fn spawn<A: Send + 'static>(
    kernel: &Arc<Kernel>,
    run: impl FnOnce(&Kernel) -> A + Send + 'static,
) -> thread::JoinHandle<A> {
    let kernel = Arc::clone(kernel);
    thread::spawn(move || run(&kernel))
}

#[test]
fn e2_a_slot_is_used_only_after_the_kernel_was_told() {
    check("fdtable.bind_against_slot", TWO, || {
        let (kernel, file) = kernel();
        let binder = spawn(&kernel, move |k| {
            k.tell(7);
            k.files.bind(file, 1).unwrap();
        });
        let user = spawn(&kernel, move |k| {
            k.files.pin().slot(file).map(|slot| (slot, k.ask()))
        });
        binder.join().unwrap();
        assert!(matches!(user.join().unwrap(), None | Some((1, 7))));
    });
}

#[test]
fn e2_whoever_takes_a_slot_back_has_it_alone() {
    check("fdtable.unbind_against_rebind", TWO, || {
        let (kernel, file) = kernel();
        kernel.tell(7);
        kernel.files.bind(file, 1).unwrap();
        // One takes the slot, has it name something else and gives it again: the other takes the one or the other.
        let again = spawn(&kernel, move |k| {
            let taken = k.files.unbind(file);
            if taken.is_some() {
                k.tell(8);
                k.files.bind(file, 1).unwrap();
            }
            taken
        });
        let taker = spawn(&kernel, move |k| {
            let taken = k.files.unbind(file);
            if taken.is_some() {
                k.tell(9);
            }
            taken
        });
        let (again, taken) = (again.join().unwrap(), taker.join().unwrap());
        assert!(again.is_some() || taken.is_some());
    });
}

#[test]
fn e2_a_close_beside_a_bind_hands_out_the_slot_or_refuses_it() {
    check("fdtable.bind_against_close", TWO, || {
        let (kernel, file) = kernel();
        let binder = spawn(&kernel, move |k| {
            k.tell(7);
            k.files.bind(file, 1).is_ok()
        });
        let closer = spawn(&kernel, move |k| {
            let (slot, _) = k.files.close(file).unwrap();
            slot.inspect(|_| assert_eq!(k.ask(), 7))
        });
        let (bound, slot) = (binder.join().unwrap(), closer.join().unwrap());
        assert_eq!(
            slot,
            bound.then_some(1),
            "a slot was lost, or came out of nowhere"
        );
    });
}
