//! Formatting into 56 bytes first, so that only a message that does not fit costs an allocation.
//!
//! The pieces of a message arrive one by one (`fmt::Write`), and the message is formatted once, whatever its length:
//! the first piece that does not fit moves what is there to the heap. Where there is no heap (no feature `alloc`, or
//! no memory left) the message is cut at a character and *says so in its own text*: `...[+123 bytes]`.

use crate::InlineString;
use crate::raw::Line;
use crate::string::boundary_at_most;
#[cfg(feature = "alloc")]
use alloc::string::String;
use core::fmt::{self, Write};

/// Bytes of message that an error holds in place.
pub(crate) const INLINE: usize = 56;

/// Formats `args` into `line`, whose message is empty. Allocates only when it is longer than 56 bytes.
pub(crate) fn format_into<K: Copy>(line: &mut Line<K>, args: fmt::Arguments<'_>) {
    let mut writer = Writer::new(line);
    if writer.write_fmt(args).is_err() {
        // The writer itself never fails, so a `Display` of the caller's did; what it wrote before is kept.
        let _ = writer.write_str(FAILED);
    }
    writer.finish();
}

/// Formats `context`, a colon and `message` into `line`, whose message is empty. An empty part takes no colon; a context
/// that fails to format costs nothing of the message.
pub(crate) fn prefix_into<K: Copy>(line: &mut Line<K>, context: impl fmt::Display, message: &str) {
    let mut writer = Writer::new(line);
    if write!(writer, "{context}").is_err() {
        let _ = writer.write_str(FAILED);
    }
    if !message.is_empty() {
        if !writer.is_empty() {
            let _ = writer.write_str(": ");
        }
        let _ = writer.write_str(message);
    }
    writer.finish();
}

/// What a message says where a `Display` of the caller's failed.
const FAILED: &str = "[formatting failed]";

/// What stands in place of a message for which there was no memory beside a source.
#[cfg(feature = "alloc")]
pub(crate) const LOST: &str = "...[message lost: out of memory]";

/// Copies a text to the heap; `None` without memory.
#[cfg(feature = "alloc")]
pub(crate) fn try_copy(text: &str) -> Option<String> {
    let mut copy = String::new();
    copy.try_reserve_exact(text.len()).ok()?;
    copy.push_str(text);
    Some(copy)
}

/// Copies `text` into `line`, whose message is empty. Allocates only when it is longer than 56 bytes.
#[inline]
pub(crate) fn copy_into<K: Copy>(line: &mut Line<K>, text: &str) {
    if !line.push(text) {
        copy_long(line, text);
    }
}

#[cold]
#[inline(never)]
fn copy_long<K: Copy>(line: &mut Line<K>, text: &str) {
    let mut writer = Writer::new(line);
    writer.write_long(text);
    writer.finish();
}

struct Writer<'l, K> {
    line: &'l mut Line<K>,
    /// The whole message once it left the line.
    #[cfg(feature = "alloc")]
    heap: Option<String>,
    /// What is left of a message that is too long where there is no heap, and how many bytes of it are missing.
    /// Once there is this, all that follows is only counted.
    cut: Option<(InlineString<INLINE>, usize)>,
}

impl<'l, K: Copy> Writer<'l, K> {
    #[inline]
    fn new(line: &'l mut Line<K>) -> Self {
        Self {
            line,
            #[cfg(feature = "alloc")]
            heap: None,
            cut: None,
        }
    }

    #[inline]
    fn in_place(&self) -> bool {
        #[cfg(feature = "alloc")]
        if self.heap.is_some() {
            return false;
        }
        self.cut.is_none()
    }

    fn is_empty(&self) -> bool {
        self.in_place() && self.line.message().is_empty()
    }

    #[cold]
    #[inline(never)]
    fn write_long(&mut self, text: &str) {
        if let Some((_, lost)) = &mut self.cut {
            *lost = lost.saturating_add(text.len());
            return;
        }
        #[cfg(feature = "alloc")]
        {
            let mut heap = self.heap.take().unwrap_or_default();
            let moved = if heap.is_empty() { self.line.message() } else { "" };
            if heap.try_reserve(moved.len().saturating_add(text.len())).is_ok() {
                heap.push_str(moved);
                heap.push_str(text);
                self.heap = Some(heap);
                return;
            }
            if !heap.is_empty() {
                return self.start_cut(&heap, text);
            }
        }
        let (kept, _) = InlineString::<INLINE>::fitting(self.line.message());
        self.start_cut(&kept, text);
    }

    /// Keeps what fits in place of `kept` and `text` after it; the rest counts as lost.
    fn start_cut(&mut self, kept: &str, text: &str) {
        let (mut head, rest) = InlineString::fitting(kept);
        let lost = match rest {
            "" => head.push_fitting(text).len(),
            _ => rest.len().saturating_add(text.len()),
        };
        self.cut = Some((head, lost));
    }

    #[inline]
    fn finish(self) {
        #[cfg(feature = "alloc")]
        if let Some(heap) = self.heap {
            self.line.spill_to(heap);
            return;
        }
        if let Some((mut text, lost)) = self.cut {
            mark(&mut text, lost);
            self.line.cut(&text);
        }
    }
}

impl<K: Copy> Write for Writer<'_, K> {
    #[inline]
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if !(self.in_place() && self.line.push(text)) {
            self.write_long(text);
        }
        Ok(())
    }
}

/// Makes room at the end of `text` for a mark that says how many bytes of the message are missing.
#[cold]
fn mark(text: &mut InlineString<INLINE>, lost: usize) {
    const MARK: usize = "...[+ bytes]".len();
    let total = text.len().saturating_add(lost);
    let digits = total.checked_ilog10().unwrap_or(0) as usize + 1;
    // At most 20 digits: the mark takes at most 32 of the 56 bytes.
    text.truncate(boundary_at_most(text, INLINE - MARK - digits));
    let missing = total - text.len();
    let fits = write!(text, "...[+{missing} bytes]");
    debug_assert!(fits.is_ok(), "missing <= total, so its digits fit");
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    extern crate std;
    use super::*;
    use std::prelude::v1::*;

    fn cut(message: &str) -> InlineString<INLINE> {
        let (mut text, rest) = InlineString::fitting(message);
        mark(&mut text, rest.len());
        text
    }

    #[test]
    fn c9_a_cut_message_says_how_much_is_missing() {
        let long = "x".repeat(1000);
        let text = cut(&long);
        assert!(text.ends_with("...[+960 bytes]"), "{text}");
        assert_eq!(text.bytes().filter(|&b| b == b'x').count(), 1000 - 960);
    }

    #[test]
    fn c9_a_cut_never_splits_a_character() {
        for pad in 0..4 {
            let long = "x".repeat(pad) + &"\u{1F980}".repeat(40);
            let text = cut(&long);
            let (head, tail) = text.split_once("...[+").unwrap();
            assert!(long.starts_with(head));
            let missing: usize = tail.strip_suffix(" bytes]").unwrap().parse().unwrap();
            assert_eq!(head.len() + missing, long.len());
        }
    }

    #[test]
    fn the_mark_fits_at_every_count() {
        for lost in [1, 9, 10, usize::MAX - 56, usize::MAX] {
            let (mut full, _) = InlineString::fitting(&"y".repeat(56));
            mark(&mut full, lost);
            assert!(full.ends_with(" bytes]"));
        }
    }
}
