//! Lanes of tags, sixteen to a cache line, scanned in order for those that a path's prefixes equal.
//!
//! Lane `i` hits when its tag equals the path's tag *of the lane's depth*. Three ways to find the hits, which agree lane by lane;
//! `scalar` is the oracle. Which of the others the processor has is asked once, when a table is built: a [`Finder`] is the proof.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod scalar;
#[cfg(target_arch = "x86_64")]
mod sse2;

use super::heads::{Heads, depth_of};

/// Lanes in a line.
pub(super) const LANES: usize = 16;

/// Sixteen tags, and for each the two bytes of [`Heads::tags`] that it is compared with.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(super) struct Line {
    tags: [u16; LANES],
    picks: [u8; 2 * LANES],
}

const _: () = assert!(size_of::<Line>() == 64);

/// Tags in lines; the last may be short.
#[derive(Clone, Debug)]
pub(super) struct Lanes {
    lines: Box<[Line]>,
    len: usize,
}

impl Lanes {
    pub(super) fn new(tags: &[u16]) -> Self {
        let lines = tags.chunks(LANES).map(|tags| {
            let mut line = Line {
                tags: [0; LANES],
                picks: [0; 2 * LANES],
            };
            for (lane, &tag) in tags.iter().enumerate() {
                line.tags[lane] = tag;
                let low = 2 * depth_of(tag) as u8;
                line.picks[2 * lane..][..2].copy_from_slice(&[low, low + 1]);
            }
            line
        });
        Self {
            lines: lines.collect(),
            len: tags.len(),
        }
    }
}

/// How lanes are scanned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Finder(Way);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Scalar,
    /// Made only where the processor has SSE2.
    #[cfg(target_arch = "x86_64")]
    Sse2,
    /// Made only where the processor has AVX2.
    #[cfg(target_arch = "x86_64")]
    Avx2,
}

impl Finder {
    pub(super) const SCALAR: Self = Self(Way::Scalar);

    /// One that compares eight lanes at a time; `None` where the processor cannot.
    pub(super) fn sse2() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("sse2") {
            return Some(Self(Way::Sse2));
        }
        None
    }

    /// One that compares sixteen lanes at a time; `None` where the processor cannot.
    pub(super) fn avx2() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            return Some(Self(Way::Avx2));
        }
        None
    }

    /// The best that this processor has.
    pub(super) fn best() -> Self {
        Self::avx2().or_else(Self::sse2).unwrap_or(Self::SCALAR)
    }

    /// The first lane that hits and is accepted. Lanes are offered in order, each at most once.
    #[inline(always)]
    pub(super) fn first(
        self,
        lanes: &Lanes,
        heads: &Heads,
        mut accept: impl FnMut(usize) -> bool,
    ) -> Option<usize> {
        let mut from = 0;
        loop {
            let lane = self.next(&lanes.lines, lanes.len, from, heads)?;
            if accept(lane) {
                return Some(lane);
            }
            from = lane + 1;
        }
    }

    /// The first of `len` lanes, from lane `from` on, that hits.
    #[inline(always)]
    fn next(self, lines: &[Line], len: usize, from: usize, heads: &Heads) -> Option<usize> {
        let lane = match self.0 {
            Way::Scalar => scalar::next(lines, len, from, heads),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this way is made only where the processor has the instructions.
            Way::Sse2 => unsafe { sse2::next(lines, from, heads) },
            #[cfg(target_arch = "x86_64")]
            Way::Avx2 => {
                let [low, high] = heads.packed();
                // SAFETY: as above.
                unsafe { avx2::next(lines, from, low, high) }
            }
        };
        // What pads the last line may hit, and is no lane.
        (lane < len).then_some(lane)
    }
}

/// What a scan returns when no lane hits: no lane has this number.
const NONE: usize = usize::MAX;

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
