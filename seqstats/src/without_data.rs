//! What stands for `as_data.rs` without feature `serde`.

#[doc(hidden)]
#[macro_export]
macro_rules! __serde {
    ($name:ident) => {};
}
