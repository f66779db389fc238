//! Sequence-locked statistics, wait-free-read latches and latency histograms.
