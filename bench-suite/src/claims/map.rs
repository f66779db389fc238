//! Claims about the map, the snapshot map and the cell.

use crate::{Claim, Curve};

mod cell;
mod get;
mod keys;
mod write;

use keys::Size;

macro_rules! claim {
    ($id:literal, $cores:literal, $unit:literal, $what:literal, $run:expr) => {
        Claim {
            id: $id,
            krate: "rcu-map",
            what: $what,
            unit: $unit,
            cores: $cores,
            run: $run,
        }
    };
}

pub(super) const CURVES: &[Curve] = &[Curve {
    claim: claim!(
        "map.get",
        1,
        "ns",
        "borrowed get by reader, 1k u64 keys, zipf",
        |t| get::by_reader::<u64>(t, Size::THOUSAND, 1, get::SMALL)
    ),
    run: |task, threads| get::by_reader::<u64>(task, Size::THOUSAND, threads, get::SMALL),
}];

pub(super) const CLAIMS: &[Claim] = &[
    claim!(
        "map.get.1t.u32",
        1,
        "ns",
        "borrowed get by reader, 1k u32 keys, zipf",
        |t| { get::by_reader::<u32>(t, Size::THOUSAND, 1, get::SMALL) }
    ),
    claim!(
        "map.get.1t.u64",
        1,
        "ns",
        "borrowed get by reader, 1k u64 keys, zipf",
        |t| { get::by_reader::<u64>(t, Size::THOUSAND, 1, get::SMALL) }
    ),
    claim!("map.get.2t.u32", 2, "ns", "the same on two threads, u32", |t| {
        get::by_reader::<u32>(t, Size::THOUSAND, 2, get::SMALL)
    }),
    claim!("map.get.2t.u64", 2, "ns", "the same on two threads, u64", |t| {
        get::by_reader::<u64>(t, Size::THOUSAND, 2, get::SMALL)
    }),
    claim!(
        "map.get.string.1k",
        1,
        "ns",
        "borrowed get by reader, 1k String keys, zipf",
        |t| { get::by_reader::<String>(t, Size::THOUSAND, 1, get::STRING) }
    ),
    claim!(
        "map.get.string.100k",
        1,
        "ns",
        "borrowed get by reader, 100k String keys, zipf",
        |t| { get::by_reader::<String>(t, Size::HUNDRED_THOUSAND, 1, get::STRING) }
    ),
    claim!(
        "map.get.shared",
        1,
        "ns",
        "get through &map, no reader, 1k u64 keys, zipf",
        get::shared
    ),
    claim!(
        "map.get.100k.u32",
        1,
        "ns",
        "borrowed get by reader, 100k u32 keys, zipf",
        |t| { get::by_reader::<u32>(t, Size::HUNDRED_THOUSAND, 1, get::LARGE) }
    ),
    claim!(
        "map.get.100k.u64",
        1,
        "ns",
        "borrowed get by reader, 100k u64 keys, zipf",
        |t| { get::by_reader::<u64>(t, Size::HUNDRED_THOUSAND, 1, get::LARGE) }
    ),
    claim!(
        "map.mixed.1k",
        2,
        "ns",
        "99.9 % get, 0.1 % replace, 1k u64 keys, two threads",
        |t| { write::mixed(t, Size::THOUSAND) }
    ),
    claim!(
        "map.mixed.100k",
        2,
        "ns",
        "99.9 % get, 0.1 % replace, 100k u64 keys, two threads",
        |t| { write::mixed(t, Size::HUNDRED_THOUSAND) }
    ),
    claim!(
        "map.replace.100",
        1,
        "ns",
        "replace, n = 100",
        |t| write::replace(t, 100)
    ),
    claim!("map.replace.1k", 1, "ns", "replace, n = 1,000", |t| {
        write::replace(t, 1_000)
    }),
    claim!("map.replace.10k", 1, "ns", "replace, n = 10,000", |t| {
        write::replace(t, 10_000)
    }),
    claim!("map.replace.100k", 1, "ns", "replace, n = 100,000", |t| {
        write::replace(t, 100_000)
    }),
    claim!("map.replace.1m", 1, "ns", "replace, n = 1,000,000", |t| {
        write::replace(t, 1_000_000)
    }),
    claim!(
        "map.insert.worst",
        1,
        "us",
        "p99.999 of single inserts up to 1M (quick: 250k)",
        write::worst_insert
    ),
    claim!(
        "map.iter",
        1,
        "ns",
        "iterate 100k u64 entries, per entry",
        write::iterate
    ),
    claim!(
        "snap.get",
        1,
        "ns",
        "SnapshotMap by cached reader, 1k u64 keys, zipf",
        cell::snapshot_get
    ),
    claim!(
        "snap.write",
        1,
        "ns",
        "SnapshotMap insert per entry it copies, 1k u64",
        cell::snapshot_write
    ),
    claim!(
        "cell.get.reader",
        1,
        "ns",
        "RcuCell read by reader",
        cell::by_reader
    ),
    claim!(
        "cell.get.shared",
        1,
        "ns",
        "RcuCell read through &cell",
        cell::shared
    ),
];
