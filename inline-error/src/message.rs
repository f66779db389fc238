//! Formatting into 56 bytes first, so that only a message that does not fit costs an allocation.
//!
//! The pieces of a message arrive one by one (`fmt::Write`), and the message is formatted once, whatever its length:
//! the first piece that does not fit moves what is there to the heap. Where there is no heap (no feature `alloc`, or
//! no memory left) the message is cut at a character and *says so in its own text*: `...[+123 bytes]`.

use crate::InlineString;
use crate::string::boundary_at_most;
#[cfg(feature = "alloc")]
use alloc::string::String;
use core::fmt::{self, Write};

/// Bytes of message that an error holds in place.
pub(crate) const INLINE: usize = 56;

/// A finished message.
pub(crate) enum Message {
    Inline(InlineString<INLINE>),
    /// Too long, and there was no heap to put it on. The text ends by saying how much is missing.
    Cut(InlineString<INLINE>),
    #[cfg(feature = "alloc")]
    Heap(String),
}

impl Message {
    /// Formats `args`. Allocates only when the message is longer than 56 bytes.
    #[inline]
    pub(crate) fn format(args: fmt::Arguments<'_>) -> Self {
        match args.as_str() {
            Some(text) => Self::copy_of(text),
            None => Self::format_pieces(args),
        }
    }

    #[inline]
    fn copy_of(text: &str) -> Self {
        match InlineString::copy_of(text) {
            Ok(text) => Self::Inline(text),
            Err(_) => Self::format_pieces(format_args!("{text}")),
        }
    }

    fn format_pieces(args: fmt::Arguments<'_>) -> Self {
        let mut writer = Writer::new();
        if writer.write_fmt(args).is_err() {
            // The writer itself never fails, so a `Display` of the caller's did; what it wrote before is kept.
            let _ = writer.write_str("[formatting failed]");
        }
        writer.finish()
    }
}

struct Writer {
    inline: InlineString<INLINE>,
    /// The whole message once it left `inline`.
    #[cfg(feature = "alloc")]
    heap: Option<String>,
    /// Bytes that found no room; once there are any, all that follows is only counted.
    lost: usize,
}

impl Writer {
    #[inline]
    fn new() -> Self {
        Self {
            inline: InlineString::new(),
            #[cfg(feature = "alloc")]
            heap: None,
            lost: 0,
        }
    }

    #[cold]
    #[inline(never)]
    fn write_long(&mut self, text: &str) {
        if self.lost == 0 && self.write_heap(text) {
            return;
        }
        let rest = if self.lost == 0 {
            self.inline.push_fitting(text)
        } else {
            text
        };
        self.lost = self.lost.saturating_add(rest.len());
    }

    /// Appends to the heap, moving there first if need be; says `false` when there is no memory for it.
    #[cfg(feature = "alloc")]
    fn write_heap(&mut self, text: &str) -> bool {
        let mut heap = self.heap.take().unwrap_or_default();
        let inline = if heap.is_empty() { self.inline.as_str() } else { "" };
        if heap.try_reserve(inline.len().saturating_add(text.len())).is_err() {
            if !heap.is_empty() {
                // Back to what fits in place; the rest counts as lost, and the heap's memory is given back.
                self.inline.clear();
                self.lost = self.inline.push_fitting(&heap).len();
            }
            return false;
        }
        heap.push_str(inline);
        heap.push_str(text);
        self.heap = Some(heap);
        true
    }

    #[cfg(not(feature = "alloc"))]
    fn write_heap(&mut self, _text: &str) -> bool {
        false
    }

    #[inline]
    fn finish(self) -> Message {
        #[cfg(feature = "alloc")]
        if let Some(heap) = self.heap {
            return Message::Heap(heap);
        }
        if self.lost == 0 {
            return Message::Inline(self.inline);
        }
        Message::Cut(marked(self.inline, self.lost))
    }
}

impl Write for Writer {
    #[inline]
    fn write_str(&mut self, text: &str) -> fmt::Result {
        #[cfg(feature = "alloc")]
        let in_place = self.heap.is_none() && self.lost == 0;
        #[cfg(not(feature = "alloc"))]
        let in_place = self.lost == 0;
        if !(in_place && self.inline.push_str(text).is_ok()) {
            self.write_long(text);
        }
        Ok(())
    }
}

/// Makes room at the end of `text` for a mark that says how many bytes of the message are missing.
#[cold]
fn marked(mut text: InlineString<INLINE>, lost: usize) -> InlineString<INLINE> {
    const MARK: usize = "...[+ bytes]".len();
    let total = text.len().saturating_add(lost);
    let digits = total.checked_ilog10().unwrap_or(0) as usize + 1;
    // At most 20 digits: the mark takes at most 32 of the 56 bytes.
    text.truncate(boundary_at_most(&text, INLINE - MARK - digits));
    let missing = total - text.len();
    let fits = write!(text, "...[+{missing} bytes]");
    debug_assert!(fits.is_ok(), "missing <= total, so its digits fit");
    text
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    fn cut(text: &str) -> InlineString<INLINE> {
        let mut writer = Writer::new();
        let rest = writer.inline.push_fitting(text);
        writer.lost = rest.len();
        match writer.finish() {
            Message::Cut(text) => text,
            _ => panic!("nothing was cut"),
        }
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
            let (full, _) = InlineString::fitting(&"y".repeat(56));
            assert!(marked(full, lost).ends_with(" bytes]"));
        }
    }
}
