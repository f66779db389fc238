//! A snapshot in the text format that Prometheus scrapes.

use super::Snapshot;
use seqstats::{Exposition, ExpositionError};

pub(super) fn text(snapshot: &Snapshot) -> Result<String, ExpositionError> {
    let mut text = String::new();
    let mut to = Exposition::new(&mut text);
    to.group(&[(&[], snapshot.process)])?;
    let names: Vec<[(&str, &str); 1]> = snapshot
        .rings
        .keys()
        .map(|name| [("ring", name.as_str())])
        .collect();
    let rings: Vec<_> = names.iter().zip(snapshot.rings.values()).collect();
    let counts: Vec<_> = rings
        .iter()
        .map(|(label, ring)| (&label[..], ring.stats))
        .collect();
    to.group(&counts)?;
    let kinds: Vec<_> = snapshot
        .rings
        .iter()
        .flat_map(|(name, ring)| {
            let label = |op| [("ring", name.as_str()), ("op", op)];
            ring.kinds.iter().map(move |(op, stats)| (label(*op), *stats))
        })
        .collect();
    let kinds: Vec<_> = kinds
        .iter()
        .map(|(labels, stats)| (&labels[..], *stats))
        .collect();
    to.group(&kinds)?;
    let latencies: Vec<_> = rings
        .iter()
        .map(|(label, ring)| (&label[..], &ring.latency_ns))
        .collect();
    let help = "Nanoseconds from the first submission of a batch to the reap.";
    to.histogram("uring_latency_ns", help, &latencies)?;
    let windows: Vec<_> = rings
        .iter()
        .filter_map(|(label, ring)| Some((&label[..], ring.window.as_ref()?)))
        .collect();
    let counts: Vec<_> = windows
        .iter()
        .map(|(label, window)| (*label, window.stats))
        .collect();
    to.group(&counts)?;
    let seen: Vec<_> = windows
        .iter()
        .map(|(label, window)| (*label, &window.caller_ns))
        .collect();
    let help = "Nanoseconds from asking for a place to the reap.";
    to.histogram("uring_window_caller_ns", help, &seen)?;
    Ok(text)
}
