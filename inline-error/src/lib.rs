//! A 64-byte error with its message inline, an 8-byte boxed form, and an inline string.
