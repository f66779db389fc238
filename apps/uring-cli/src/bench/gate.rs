//! A start gate that can be called off.
//!
//! Readers wait at it with their set-up done; the one who measures opens it, or calls the start off where a reader could
//! not be started. Unlike at a barrier nobody is counted, so one who never comes keeps nobody waiting.

use std::sync::{Condvar, Mutex, MutexGuard};

/// Where readers wait for the start.
#[derive(Debug, Default)]
pub struct Gate {
    said: Mutex<Said>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Said {
    #[default]
    Wait,
    Go,
    Abort,
}

impl Gate {
    /// Waits until something is said; `true` means go, `false` that there will be no start.
    #[must_use]
    pub fn wait(&self) -> bool {
        let waiting = self.changed.wait_while(self.lock(), |said| *said == Said::Wait);
        // A panic elsewhere cannot break one word.
        *waiting.unwrap_or_else(|e| e.into_inner()) == Said::Go
    }

    /// Lets everybody start.
    pub fn open(&self) {
        self.say(Said::Go);
    }

    /// Sends everybody home, unless they have started.
    pub fn abort(&self) {
        self.say(Said::Abort);
    }

    /// The first word counts.
    fn say(&self, word: Said) {
        let mut said = self.lock();
        if *said == Said::Wait {
            *said = word;
        }
        drop(said);
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(|e| e.into_inner())
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn whoever_waits_is_let_go_or_sent_home_and_the_first_word_counts() {
        for go in [true, false] {
            let gate = Gate::default();
            let told: Vec<bool> = std::thread::scope(|scope| {
                let waiting: Vec<_> = (0..4).map(|_| scope.spawn(|| gate.wait())).collect();
                if go {
                    gate.open();
                    gate.abort();
                } else {
                    gate.abort();
                    gate.open();
                }
                waiting.into_iter().map(|t| t.join().unwrap()).collect()
            });
            assert_eq!(told, [go; 4]);
            assert_eq!(gate.wait(), go, "one who comes late hears the same");
        }
    }
}
