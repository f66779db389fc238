//! The headline figures of the five source documents: their design, ours and their baseline in one contest.
//!
//! The bound of each row is the document's own figure. *yes* says that ours reproduces it, *no* that it is refuted here,
//! *not here* that it needs other hardware. Each of their designs is one small module, made correct where it was not, so
//! that what is beaten is the idea and not a slip. Figures that other rows measure already (matching of completions,
//! copy-on-write images, operations a system call) are listed in docs/BENCHMARKS.md beside these.

use crate::Claim;

mod hints;
mod memory;
mod reads;
mod shared;

pub(super) const CLAIMS: &[Claim] = &[
    Claim {
        id: "headline.rcu.1t",
        krate: "rcu-map",
        what: "look a process up, one thread; the document: 10 to 50 times faster than DashMap",
        unit: "ns",
        cores: 1,
        run: |task| reads::processes(task, 1),
    },
    Claim {
        id: "headline.rcu.2t",
        krate: "rcu-map",
        what: "look a process up, two threads; the document: 10 to 50 times faster than DashMap",
        unit: "ns",
        cores: 2,
        run: |task| reads::processes(task, 2),
    },
    Claim {
        id: "headline.fdt",
        krate: "epoch-fdtable",
        what: "look a hot descriptor up and clone its handle, two threads; the document: 30 to 50 % faster than DashMap",
        unit: "ns",
        cores: 2,
        run: reads::descriptors,
    },
    Claim {
        id: "headline.seqlock",
        krate: "seqstats",
        what: "read statistics of 64 bytes; the document: zero overhead",
        unit: "ns",
        cores: 1,
        run: reads::statistics,
    },
    Claim {
        id: "headline.cell",
        krate: "flat-combine",
        what: "read a word that adapts; the document: about 10 times faster than a Mutex",
        unit: "ns",
        cores: 1,
        run: reads::word,
    },
    Claim {
        id: "headline.combining.2t",
        krate: "flat-combine",
        what: "add to a hot counter with its previous value, 2 threads; the document's combining against ours",
        unit: "CPU ns",
        cores: 2,
        run: |task| shared::counter(task, 2, 1.0),
    },
    Claim {
        id: "headline.combining.16c",
        krate: "flat-combine",
        what: "the same on 16 cores; the document: 8 times faster than fetch_add",
        unit: "CPU ns",
        cores: 16,
        run: |task| shared::counter(task, 16, 8.0),
    },
    Claim {
        id: "headline.queue",
        krate: "sync-base",
        what: "transfer one u64; the document: lock-free queues give 5 times the throughput of a locked ring",
        unit: "ns",
        cores: 2,
        run: shared::queue,
    },
    Claim {
        id: "headline.pool.calls",
        krate: "pooled-vec",
        what: "allocator calls per result buffer, 512 B to 128 KiB; the document: 50 to 80 % fewer",
        unit: "calls",
        cores: 1,
        run: memory::calls,
    },
    Claim {
        id: "headline.pool.time",
        krate: "pooled-vec",
        what: "get, fill the first 256 bytes and drop a result buffer, 512 B to 128 KiB; the document: 5 to 15 % less time",
        unit: "CPU ns",
        cores: 1,
        run: memory::time,
    },
    Claim {
        id: "headline.inline.speed",
        krate: "inline-error",
        what: "make and drop \"Not found\"; the document: 8 ns inline, 23 ns as String",
        unit: "CPU ns",
        cores: 1,
        run: memory::short_string,
    },
    Claim {
        id: "headline.inline.fits23",
        krate: "inline-error",
        what: "share of the kernel's error texts that do not fit 23 bytes; the document: 70 % fit",
        unit: "of all",
        cores: 1,
        run: |task| memory::texts(task, 23, 0.3),
    },
    Claim {
        id: "headline.inline.fits56",
        krate: "inline-error",
        what: "share of the kernel's error texts that do not fit 56 bytes; the document: 90 % fit",
        unit: "of all",
        cores: 1,
        run: |task| memory::texts(task, 56, 0.1),
    },
    Claim {
        id: "headline.allocator",
        krate: "uring-cli",
        what: "allocate and free 64 B to 16 KiB by mimalloc; the document: another allocator is 10 to 20 % faster",
        unit: "CPU ns",
        cores: 1,
        run: memory::allocator,
    },
    Claim {
        id: "headline.hints",
        krate: "bench-suite",
        what: "a check that hits its cache, the miss out of line and cold; the document: 5 to 10 % from hints",
        unit: "ns",
        cores: 1,
        run: hints::cold,
    },
];
