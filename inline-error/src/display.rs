//! How an error is printed: in one line, padded where a width is asked for, the chain after it in the alternate form.

use crate::{InlineError, Kind};
use core::error::Error;
use core::fmt::{self, Alignment, Write};

impl<K: Kind> fmt::Display for InlineError<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let chain = f.alternate();
        let Some(width) = f.width() else {
            return write(self, f, chain);
        };
        let mut count = Count { bytes: 0, chars: 0 };
        write(self, &mut count, chain)?;
        let missing = width.saturating_sub(count.chars);
        let before = match f.align() {
            Some(Alignment::Right) => missing,
            Some(Alignment::Center) => missing / 2,
            _ => 0,
        };
        let fill = f.fill();
        (0..before).try_for_each(|_| f.write_char(fill))?;
        write(self, f, chain)?;
        (before..missing).try_for_each(|_| f.write_char(fill))
    }
}

fn write<K: Kind>(error: &InlineError<K>, to: &mut dyn Write, chain: bool) -> fmt::Result {
    let message = error.message();
    write!(to, "{}", error.kind())?;
    if !message.is_empty() {
        write!(to, ": {message}")?;
    }
    if !chain {
        return Ok(());
    }
    let mut source = error.source();
    // A source whose words are the end of the message (`io::Error`s come like that) is not said twice.
    let mut said = error.cause().filter(|cause| ends_in(message, *cause));
    while let Some(error) = source {
        if said.is_some_and(|said| core::ptr::addr_eq(said, error)) {
            said = None;
        } else {
            write!(to, ": {error}")?;
        }
        source = error.source();
    }
    Ok(())
}

/// Whether `message` is the words of `error`, or ends in a colon and them. Allocates nothing.
fn ends_in(message: &str, error: &(dyn Error + 'static)) -> bool {
    let mut count = Count { bytes: 0, chars: 0 };
    if write!(count, "{error}").is_err() {
        return false;
    }
    let Some(at) = message.len().checked_sub(count.bytes) else {
        return false;
    };
    let Some((head, tail)) = message.split_at_checked(at) else {
        return false;
    };
    (head.is_empty() || head.ends_with(": ")) && write!(Same { rest: tail }, "{error}").is_ok()
}

/// Counts what is written.
struct Count {
    bytes: usize,
    chars: usize,
}

impl Write for Count {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.bytes += text.len();
        self.chars += text.chars().count();
        Ok(())
    }
}

/// Fails at the first piece that is not the next of `rest`.
struct Same<'a> {
    rest: &'a str,
}

impl Write for Same<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.rest = self.rest.strip_prefix(text).ok_or(fmt::Error)?;
        Ok(())
    }
}
