//! Rules, mounts and policies against plain oracles, and against those who would get around them.
#![cfg(not(any(loom, shuttle)))]

mod drawn;
mod engine;
mod normal;
mod opened;
mod oracle;
mod patterns;
mod published;
mod raced;
mod refused;
mod ring;
mod rules;

use uring_core::permit;
