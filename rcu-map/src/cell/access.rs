//! `arc_swap`'s way to read a cell, so that code written against its trait takes ours.

#[cfg(all(feature = "arc-swap", not(any(loom, shuttle))))]
mod implementation {
    use crate::RcuCell;
    use arc_swap::access::Access;
    use std::sync::Arc;

    /// The guard is a count of the version: the trait's guard cannot borrow from the cell. Where that contends, read
    /// through [`RcuCell::reader`].
    impl<T: Send + Sync + 'static> Access<T> for RcuCell<T> {
        type Guard = Arc<T>;

        fn load(&self) -> Arc<T> {
            self.load_full()
        }
    }
}
