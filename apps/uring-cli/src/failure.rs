//! What the command says when it cannot go on: one line that names the cause and the remedy.

use inline_error::{BoxedError, InlineError};
use std::fmt;

inline_error::kinds! {
    /// Why the command ended; decides the exit status.
    pub enum FailureKind else Refused {
        /// The arguments make no sense, or this machine refuses what they ask for: status 2.
        Refused, is_refused = "refused" => [];
        /// Data came back wrong, or an operation failed in mid-run: status 1.
        Wrong, is_wrong = "wrong" => [EIO, EBADMSG];
        /// A signal asked for the end: status 130.
        Interrupted, is_interrupted = "interrupted" => [EINTR];
    }
}

/// A failure of the command; the message is the whole line that is printed.
pub type Failure = BoxedError<FailureKind>;

/// Makes a refusal, whose message names cause and remedy.
pub(crate) fn refused(message: fmt::Arguments<'_>) -> Failure {
    InlineError::new(FailureKind::Refused, message).boxed()
}

/// The cause in the fewest words: what the system says, without the number.
pub(crate) fn cause(error: &std::io::Error) -> String {
    let errno = error.raw_os_error().and_then(inline_error::Errno::new);
    match errno.and_then(|errno| errno.text()) {
        Some(text) => text.to_owned(),
        None => error.to_string(),
    }
}
