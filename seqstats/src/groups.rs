//! Worked groups of statistics, to use or to read as examples.

use crate::ratio;

crate::stats! {
    /// What a just-in-time compiler did.
    pub struct JitStats("jit") {
        /// Calls that ran compiled code.
        counter hits,
        /// Calls that ran interpreted code.
        counter misses,
        /// Functions compiled.
        counter compilations,
        /// Nanoseconds spent compiling.
        counter compile_ns,
        /// Functions thrown away to be compiled anew.
        counter deoptimizations,
        /// Bytes of compiled code held now.
        gauge code_bytes,
    }
}

impl JitStats {
    /// The share of calls that ran compiled code; 0 before the first call.
    pub fn hit_rate(&self) -> f64 {
        ratio(self.hits as f64, self.hits as f64 + self.misses as f64)
    }

    /// Mean nanoseconds a compilation took; 0 before the first.
    pub fn mean_compile_ns(&self) -> f64 {
        ratio(self.compile_ns as f64, self.compilations as f64)
    }
}

crate::stats! {
    /// What the sockets of a server did.
    pub struct SocketStats("socket") {
        /// Connections accepted.
        counter accepted,
        /// Connections that ended, in whatever way.
        counter closed,
        /// Messages received.
        counter messages_received,
        /// Messages sent.
        counter messages_sent,
        /// Bytes received.
        counter bytes_received,
        /// Bytes sent.
        counter bytes_sent,
        /// Operations that failed.
        counter errors,
        /// Connections open now.
        gauge open,
    }
}

impl SocketStats {
    /// Mean bytes a message received; 0 before the first.
    pub fn mean_message_bytes(&self) -> f64 {
        ratio(self.bytes_received as f64, self.messages_received as f64)
    }
}

crate::stats! {
    /// What an allocator or a pool did.
    pub struct MemoryStats("memory") {
        /// Allocations that succeeded.
        counter allocations,
        /// Allocations that failed.
        counter failures,
        /// Memory given back.
        counter frees,
        /// Bytes ever handed out.
        counter bytes_allocated,
        /// Bytes in use now.
        gauge bytes_used,
        /// The most bytes ever in use at once.
        gauge bytes_peak,
    }
}

impl MemoryStats {
    /// Counts an allocation in every statistic that it touches, modulo 2^64.
    pub fn allocated(&mut self, bytes: u64) {
        self.allocations = self.allocations.wrapping_add(1);
        self.bytes_allocated = self.bytes_allocated.wrapping_add(bytes);
        self.bytes_used = self.bytes_used.wrapping_add_unsigned(bytes);
        self.bytes_peak = self.bytes_peak.max(self.bytes_used);
    }

    /// Counts memory given back.
    pub fn freed(&mut self, bytes: u64) {
        self.frees = self.frees.wrapping_add(1);
        self.bytes_used = self.bytes_used.wrapping_sub_unsigned(bytes);
    }

    /// Mean bytes an allocation; 0 before the first.
    pub fn mean_bytes(&self) -> f64 {
        ratio(self.bytes_allocated as f64, self.allocations as f64)
    }
}

crate::stats! {
    /// What a table of processes, or of sessions, did.
    pub struct ProcessStats("process") {
        /// Processes started.
        counter started,
        /// Processes that ended by themselves.
        counter exited,
        /// Processes that were killed or crashed.
        counter killed,
        /// Requests served for them.
        counter requests,
        /// Nanoseconds of CPU time they used.
        counter cpu_ns,
        /// Processes alive now.
        gauge alive,
    }
}

impl ProcessStats {
    /// Mean nanoseconds of CPU time a request; 0 before the first.
    pub fn mean_request_ns(&self) -> f64 {
        ratio(self.cpu_ns as f64, self.requests as f64)
    }
}
