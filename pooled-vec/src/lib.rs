//! Tiered buffer pool, aligned and pinned buffers, object pool, copy-on-write pages.
