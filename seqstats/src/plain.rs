//! What may lie in a seqlock: plain data.

use bytemuck::{AnyBitPattern, NoUninit};

/// Data of which every bit pattern is a value and every byte is initialised, so that it can be copied word by word
/// while somebody overwrites it.
///
/// A reader that loses the race holds a mixture of two values for a moment, before it finds out and throws the mixture
/// away. That is harmless only if the mixture is *some* value: a `bool` of 7, a dangling reference or an uninitialised
/// padding byte would be undefined behaviour at once. The two `bytemuck` traits prove it at compile time; derive
/// `bytemuck::Pod` for your own type.
///
/// ```
/// #[derive(Clone, Copy, bytemuck::Zeroable, bytemuck::Pod)]
/// #[repr(C)]
/// struct Pair { low: u32, high: u32 }
/// seqstats::SeqLock::new(Pair { low: 1, high: 2 });
/// seqstats::SeqLock::new([0u8; 3]);
/// ```
///
/// `c3_bool_is_refused`, for it has invalid bit patterns:
/// ```compile_fail,E0277
/// seqstats::SeqLock::new(true);
/// ```
/// `c3_reference_is_refused`, for the same reason:
/// ```compile_fail,E0277
/// static SEVEN: u8 = 7;
/// seqstats::SeqLock::new(&SEVEN);
/// ```
/// So has an enum, and an `Option` of anything:
/// ```compile_fail,E0277
/// seqstats::SeqLock::new(Some(1u64));
/// ```
/// `c3_padding_is_refused`, by the derive:
/// ```compile_fail,E0512
/// #[derive(Clone, Copy, bytemuck::Zeroable, bytemuck::Pod)]
/// #[repr(C)]
/// struct Padded { low: u8, high: u32 }
/// ```
/// Nor can one that is not marked at all:
/// ```compile_fail,E0277
/// #[derive(Clone, Copy)]
/// struct Unmarked { low: u32, high: u32 }
/// seqstats::SeqLock::new(Unmarked { low: 1, high: 2 });
/// ```
pub trait Plain: AnyBitPattern + NoUninit {}

impl<T: AnyBitPattern + NoUninit> Plain for T {}
