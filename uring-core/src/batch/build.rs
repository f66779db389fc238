//! The graph as the caller builds it.

use super::member::Member;
use super::plan::{Edge, Wait};
use crate::ring::Operation;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;
use sync_base::atomic::{AtomicU64, Ordering};

/// The most operations of one batch.
pub const NODES_MAX: usize = 1024;

sync_base::global! {
    static NEXT_BATCH: AtomicU64 = AtomicU64::new(0);
}

/// Why a batch, or a change to one, was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BatchError {
    /// It has no operation: add one.
    Empty,
    /// It has [`NODES_MAX`] operations: submit it and go on in another.
    Full,
    /// The operation at this place would wait for itself, by way of others: leave one of the dependencies out.
    Cycle(usize),
    /// A node of another batch was named.
    Stranger,
    /// The operation at this place uses a file or buffer registered with another ring: register it with this one.
    OtherRing(usize),
}

impl fmt::Display for BatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the batch is empty: add an operation"),
            Self::Full => write!(
                f,
                "the batch has {NODES_MAX} operations, the most there may be: submit it and go on in another"
            ),
            Self::Cycle(at) => write!(
                f,
                "operation {at} waits for itself by way of others: leave one of the dependencies out"
            ),
            Self::Stranger => f.write_str("the node is one of another batch: use those that this batch gave"),
            Self::OtherRing(at) => write!(
                f,
                "operation {at} uses a file or buffer registered with another ring: register it with this one"
            ),
        }
    }
}

impl std::error::Error for BatchError {}

/// What was not taken, handed back with the reason.
#[derive(Debug)]
pub struct Refused<T> {
    /// What was given.
    pub value: T,
    /// Why it was not taken.
    pub error: BatchError,
}

impl<T> fmt::Display for Refused<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<T: fmt::Debug> std::error::Error for Refused<T> {}

/// Names an operation of a batch, and knows its type.
pub struct Node<O> {
    pub(super) batch: u64,
    pub(super) at: u16,
    op: PhantomData<fn() -> O>,
}

impl<O> Node<O> {
    /// Its place: operations count from 0 in the order in which they were added.
    pub fn index(self) -> usize {
        self.at as usize
    }
}

impl<O> Clone for Node<O> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<O> Copy for Node<O> {}

impl<O> fmt::Debug for Node<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Node").field(&self.at).finish()
    }
}

/// Operations, what they wait for, and what happens when one fails.
///
/// Building costs an allocation an operation, and none an edge once its list has grown. Nothing is submitted before
/// [`run_batch`](crate::Core::run_batch).
pub struct Batch {
    pub(super) id: u64,
    pub(super) members: Vec<Member>,
    pub(super) edges: Vec<Edge>,
    pub(super) fail_fast: bool,
    pub(super) deadline: Option<Duration>,
}

impl Batch {
    /// Starts an empty batch, in which a failure costs only what needs the operation that failed.
    pub fn new() -> Self {
        Self::with_capacity(0)
    }

    /// Starts an empty batch with room for so many operations.
    pub fn with_capacity(operations: usize) -> Self {
        Self {
            // Relaxed: a number drawn once; nothing is published with it.
            id: NEXT_BATCH.fetch_add(1, Ordering::Relaxed),
            members: Vec::with_capacity(operations.min(NODES_MAX)),
            edges: Vec::new(),
            fail_fast: false,
            deadline: None,
        }
    }

    /// Stops at the first operation that fails or falls short: what was not submitted is skipped, what is in flight is cancelled.
    pub fn fail_fast(&mut self) -> &mut Self {
        self.fail_fast = true;
        self
    }

    /// Bounds the whole: when so much time has passed since the first poll, what was not submitted is skipped, what is in
    /// flight is cancelled.
    pub fn deadline(&mut self, limit: Duration) -> &mut Self {
        self.deadline = Some(limit);
        self
    }

    /// Adds an operation, which waits for nothing until it is told to.
    ///
    /// # Errors
    /// [`BatchError::Full`] with the operation.
    pub fn add<O: Operation>(&mut self, op: O) -> Result<Node<O>, Refused<O>> {
        if self.members.len() == NODES_MAX {
            return Err(Refused {
                value: op,
                error: BatchError::Full,
            });
        }
        let at = self.members.len() as u16;
        self.members.push(Member::new(op));
        Ok(Node {
            batch: self.id,
            at,
            op: PhantomData,
        })
    }

    /// Has `later` start only when `earlier` succeeded, with every byte moved; otherwise it is skipped.
    ///
    /// # Errors
    /// [`BatchError::Stranger`] for nodes of another batch, [`BatchError::Cycle`] for an operation that needs itself. Longer
    /// cycles are found when the batch is submitted.
    pub fn needs<A, B>(&mut self, later: Node<A>, earlier: Node<B>) -> Result<(), BatchError> {
        self.edge(later, earlier, Wait::Success)
    }

    /// Has `later` start only when `earlier` is over, however it ended.
    ///
    /// # Errors
    /// As [`needs`](Self::needs).
    pub fn follows<A, B>(&mut self, later: Node<A>, earlier: Node<B>) -> Result<(), BatchError> {
        self.edge(later, earlier, Wait::End)
    }

    fn edge<A, B>(&mut self, later: Node<A>, earlier: Node<B>, wait: Wait) -> Result<(), BatchError> {
        if later.batch != self.id || earlier.batch != self.id {
            return Err(BatchError::Stranger);
        }
        if later.at == earlier.at {
            return Err(BatchError::Cycle(later.index()));
        }
        self.edges.push(Edge {
            from: earlier.at,
            to: later.at,
            wait,
        });
        Ok(())
    }

    /// How many operations were added.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether none was.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Takes an operation that was never submitted back, by putting the whole batch to its end: see [`Results::take`](super::Results::take).
    pub fn into_results(self) -> super::Results {
        super::Results::unsubmitted(self)
    }
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("operations", &self.members.len())
            .field("dependencies", &self.edges.len())
            .finish_non_exhaustive()
    }
}
