//! What caused an error, and the error's own number in front of it.

use crate::Errno;
use alloc::sync::Arc;
use core::error::Error;
use core::fmt;

/// A recorded source. Where the error has a number that the source does not lead to, it is a link of the chain itself:
/// the number in words, and the source behind it.
#[derive(Clone)]
pub(crate) struct Cause {
    number: Option<Errno>,
    error: Arc<dyn Error + Send + Sync>,
}

impl Cause {
    pub(crate) fn new(number: Option<Errno>, error: Arc<dyn Error + Send + Sync>) -> Self {
        let told = Errno::in_chain(&*error) == number;
        let number = if told { None } else { number };
        Self { number, error }
    }

    /// The same source behind another number.
    pub(crate) fn with_number(&self, number: Option<Errno>) -> Self {
        Self::new(number, self.error.clone())
    }

    /// The number that stands before the source.
    pub(crate) fn number(&self) -> Option<Errno> {
        self.number
    }

    /// The source itself.
    pub(crate) fn error(&self) -> &(dyn Error + 'static) {
        &*self.error
    }

    /// The first link of the chain.
    pub(crate) fn link(&self) -> &(dyn Error + 'static) {
        match self.number {
            Some(_) => self,
            None => self.error(),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.number {
            Some(number) => fmt::Display::fmt(&number, f),
            None => fmt::Display::fmt(&self.error, f),
        }
    }
}

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.number {
            Some(number) => fmt::Debug::fmt(&number, f),
            None => fmt::Debug::fmt(&self.error, f),
        }
    }
}

impl Error for Cause {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self.number {
            Some(_) => Some(self.error()),
            None => self.error.source(),
        }
    }
}
