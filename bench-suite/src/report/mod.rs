//! A run as a page, as drawings and as the tables that the documents show.

mod about;
mod curves;
mod page;
mod published;

pub use about::{About, about_file};
pub use curves::curves;
pub use page::{Family, families, page};
pub use published::{BENCHMARKS_TABLE, README_TABLE, drifted, publish, replace_between};
