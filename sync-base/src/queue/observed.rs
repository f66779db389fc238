//! What every end of a queue can be asked.

/// The questions, answered by a field of the end.
macro_rules! observed {
    ($($field:ident).+) => {
        /// Values queued at one moment of the call. Lock-free.
        pub fn len(&self) -> usize {
            self.$($field).+.len()
        }

        /// Whether nothing was queued at one moment of the call.
        pub fn is_empty(&self) -> bool {
            self.len() == 0
        }

        /// The most values ever queued at once.
        pub fn capacity(&self) -> usize {
            self.$($field).+.capacity()
        }

        /// What the overrun policy dropped so far.
        pub fn drops(&self) -> Drops {
            self.$($field).+.drops()
        }
    };
}

pub(super) use observed;
