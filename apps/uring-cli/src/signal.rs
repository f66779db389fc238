//! Ctrl-C as a flag that every loop looks at.

use crate::failure::{Failure, FailureKind, refused};
use inline_error::InlineError;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use sync_base::atomic::{AtomicBool, Ordering};
use sync_base::sync::Arc;

/// Whether the command was asked to end.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Makes SIGINT and SIGTERM raise the flag; the second one ends the process at once, with status 130.
    ///
    /// # Errors
    /// When the system takes no handler.
    pub fn on_signals() -> Result<Self, Failure> {
        let stop = Self::default();
        for signal in [SIGINT, SIGTERM] {
            flag::register_conditional_shutdown(signal, 130, Arc::clone(&stop.0))
                .and_then(|_| flag::register(signal, Arc::clone(&stop.0)))
                .map_err(|e| refused(format_args!("no handler for signal {signal}: {e}")))?;
        }
        Ok(stop)
    }

    /// Says whether to end.
    pub fn asked(&self) -> bool {
        // Relaxed: a flag that carries no data.
        self.0.load(Ordering::Relaxed)
    }

    /// Asks for the end, as a signal does.
    pub fn ask(&self) {
        // Relaxed: a flag that carries no data.
        self.0.store(true, Ordering::Relaxed);
    }

    /// Fails if the end was asked for.
    ///
    /// # Errors
    /// [`FailureKind::Interrupted`].
    pub fn check(&self) -> Result<(), Failure> {
        if !self.asked() {
            return Ok(());
        }
        let message = format_args!("interrupted: no file is left behind");
        Err(InlineError::new(FailureKind::Interrupted, message).boxed())
    }
}
