//! One line on standard error that says how far it is; nothing at all where that is no terminal.

use std::fmt;
use std::io::{IsTerminal, Write};

/// A line that is written over and over.
#[derive(Debug)]
pub struct Progress {
    live: bool,
}

impl Progress {
    /// Live on a terminal, silent elsewhere.
    pub fn new() -> Self {
        let live = std::io::stderr().is_terminal();
        Self { live }
    }

    /// Never says anything.
    pub const fn silent() -> Self {
        Self { live: false }
    }

    /// Replaces the line.
    pub fn say(&self, line: fmt::Arguments<'_>) {
        if self.live {
            let mut stderr = std::io::stderr().lock();
            let _ = write!(stderr, "\r\x1b[K{line}");
            let _ = stderr.flush();
        }
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.say(format_args!(""));
    }
}
