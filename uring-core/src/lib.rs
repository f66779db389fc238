//! A per-core io_uring engine that owns every operation until the kernel is done with it.
