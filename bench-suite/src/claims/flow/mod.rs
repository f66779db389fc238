//! Claims about the window: against static depths on this machine's disk, and against device models.
//!
//! On the disk every lane is a window on a ring of its own and reads random blocks of 4 KiB of one file past the page cache;
//! lanes take turns in slices, round after round, so that what the disk does meanwhile falls on all of them.

mod converge;
mod direct;
mod disk;
mod idle;
mod models;
mod sweep;

use crate::Claim;

pub(super) const CLAIMS: &[Claim] = &[
    Claim {
        id: "ring.direct.cpu0",
        krate: "uring-core",
        what: "O_DIRECT random 4 KiB reads, QD64, pinned to the first processor, beside raw rings that sleep and spin",
        unit: "reads/s",
        cores: 1,
        run: |task| direct::beside_raw(task, 0),
    },
    Claim {
        id: "ring.direct.cpu1",
        krate: "uring-core",
        what: "O_DIRECT random 4 KiB reads, QD64, pinned to the second processor, beside raw rings that sleep and spin",
        unit: "reads/s",
        cores: 2,
        run: |task| direct::beside_raw(task, 1),
    },
    Claim {
        id: "flow.auto.cpu0",
        krate: "uring-core",
        what: "O_DIRECT random 4 KiB reads with the window left to itself, first processor, beside static depths",
        unit: "reads/s",
        cores: 1,
        run: |task| sweep::auto(task, 0),
    },
    Claim {
        id: "flow.auto.cpu1",
        krate: "uring-core",
        what: "O_DIRECT random 4 KiB reads with the window left to itself, second processor, beside static depths",
        unit: "reads/s",
        cores: 2,
        run: |task| sweep::auto(task, 1),
    },
    Claim {
        id: "flow.target.cpu0",
        krate: "uring-core",
        what: "the same with a target of 2 ms for p99, first processor",
        unit: "reads/s",
        cores: 1,
        run: |task| sweep::target(task, 0),
    },
    Claim {
        id: "flow.target.cpu1",
        krate: "uring-core",
        what: "the same with a target of 2 ms for p99, second processor",
        unit: "reads/s",
        cores: 2,
        run: |task| sweep::target(task, 1),
    },
    Claim {
        id: "flow.converge",
        krate: "uring-core",
        what: "from a new ring to a settled window, O_DIRECT random 4 KiB reads",
        unit: "s",
        cores: 1,
        run: converge::from_new,
    },
    Claim {
        id: "flow.idle",
        krate: "uring-core",
        what: "the window's part of the CPU that an O_DIRECT read costs; wake-ups while nothing is in flight",
        unit: "share",
        cores: 1,
        run: idle::cost,
    },
    Claim {
        id: "flow.sim",
        krate: "uring-core",
        what: "device models, 256 callers: the least share of the best static throughput, seed 11 and a fresh one",
        unit: "share",
        cores: 1,
        run: models::every_row,
    },
];
