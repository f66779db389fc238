//! The claims, one file a family.

use crate::{Claim, Curve};

mod batch;
mod counter;
pub(crate) mod cow;
mod domain;
mod error;
mod fdtable;
mod flow;
mod headline;
mod map;
mod pool;
mod queue;
mod registered;
mod ring;
mod scan;
mod seq;
pub(crate) mod workload;

/// Every claim, in the order in which they are measured.
pub fn all() -> Vec<Claim> {
    [
        domain::CLAIMS,
        map::CLAIMS,
        fdtable::CLAIMS,
        counter::CLAIMS,
        queue::CLAIMS,
        seq::CLAIMS,
        pool::CLAIMS,
        cow::CLAIMS,
        error::CLAIMS,
        ring::CLAIMS,
        registered::CLAIMS,
        batch::CLAIMS,
        headline::CLAIMS,
        workload::CLAIMS,
        scan::CLAIMS,
        flow::CLAIMS,
    ]
    .concat()
}

/// What is worth a curve over the number of threads.
pub fn curves() -> Vec<Curve> {
    [map::CURVES, fdtable::CURVES, counter::CURVES, pool::CURVES].concat()
}
