//! What a batch gave, in the order in which its operations were added.

use super::build::{Batch, Node};
use super::fate::{Cause, Fate};
use super::member::Member;
use crate::ring::{Operation, Outcome};
use std::fmt;

/// What a batch gave. Dropped, it drops buffers, and closes descriptors, that nobody took.
pub struct Results {
    batch: u64,
    fates: Vec<Fate>,
    parts: Vec<Option<(Outcome, Member)>>,
}

/// The completion of what did not run.
pub(super) const NOT_RUN: Outcome = Outcome {
    raw: -libc::ECANCELED,
    flags: 0,
};

impl Results {
    pub(super) fn new(batch: u64, fates: Vec<Fate>, parts: Vec<Option<(Outcome, Member)>>) -> Self {
        debug_assert_eq!(fates.len(), parts.len());
        Self { batch, fates, parts }
    }

    pub(super) fn unsubmitted(batch: Batch) -> Self {
        let parts: Vec<_> = batch
            .members
            .into_iter()
            .map(|member| Some((NOT_RUN, member)))
            .collect();
        Self {
            batch: batch.id,
            fates: vec![Fate::Skipped(Cause::Cancelled); parts.len()],
            parts,
        }
    }

    /// How each operation ended.
    pub fn fates(&self) -> &[Fate] {
        &self.fates
    }

    /// Whether every operation did all that it was asked to.
    pub fn is_success(&self) -> bool {
        self.fates.iter().all(|fate| fate.is_success())
    }

    /// Takes what an operation gives: as a rule the result and the buffer. One that was skipped gives the error
    /// [`Cancelled`](crate::ErrorKind::Cancelled) and its buffer; why it was skipped, [`fates`](Self::fates) says.
    ///
    /// `None` when it was taken before, or the node is one of another batch.
    pub fn take<O: Operation>(&mut self, node: Node<O>) -> Option<O::Output> {
        if node.batch != self.batch {
            return None;
        }
        let part = self.parts.get_mut(node.at as usize)?;
        let (outcome, member) = part.take_if(|(_, member)| member.is::<O>())?;
        member.finish::<O>(outcome)
    }
}

impl Drop for Results {
    fn drop(&mut self) {
        for (outcome, member) in self.parts.drain(..).flatten() {
            member.discard(outcome);
        }
    }
}

impl fmt::Debug for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Results").field(&self.fates).finish()
    }
}
