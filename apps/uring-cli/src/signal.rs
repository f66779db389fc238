//! Ctrl-C, and what else asks for the end, as a flag that every loop looks at.

use crate::failure::{Failure, FailureKind, refused};
use crate::sys;
use inline_error::InlineError;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::flag;
use sync_base::atomic::{AtomicBool, Ordering};
use sync_base::sync::Arc;

/// Whether the command was asked to end.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Makes SIGINT, SIGTERM and SIGHUP raise the flag; the second one ends the process at once, with status 130. What
    /// `nohup` ignores stays ignored, and a file over `ulimit -f` fails where it is written instead of killing.
    ///
    /// # Errors
    /// When the system takes no handler.
    pub fn on_signals() -> Result<Self, Failure> {
        let stop = Self::default();
        sys::ignore(SIGXFSZ);
        let hangs_up = (!sys::is_ignored(SIGHUP)).then_some(SIGHUP);
        for signal in [SIGINT, SIGTERM].into_iter().chain(hangs_up) {
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
