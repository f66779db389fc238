//! Descriptor table with wait-free lookup, POSIX lowest-free insert and reuse detection.
