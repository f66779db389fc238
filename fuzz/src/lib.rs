//! Fuzz targets, each a function from bytes that panics when a promise is broken.
//!
//! `cargo fuzz run --features libfuzzer message` looks for new inputs (nightly); `cargo test` here replays the
//! committed corpus on any compiler.

mod permit;
mod targets;

pub use permit::{permit_path, permit_rules};
pub use targets::{histogram, inline_string, message};

#[cfg(test)]
mod tests {
    use std::path::Path;

    fn replay(name: &str, target: fn(&[u8])) {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
        let mut inputs = 0;
        for entry in std::fs::read_dir(&corpus).expect("the corpus is committed") {
            target(&std::fs::read(entry.expect("readable").path()).expect("readable"));
            inputs += 1;
        }
        assert!(inputs >= 3, "{name} has {inputs} inputs");
        // Every prefix length of a fixed pattern too, so that a boundary next to the corpus is not missed.
        let pattern: Vec<u8> = (0..600u32)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
            .collect();
        (0..pattern.len()).for_each(|n| target(&pattern[..n]));
    }

    #[test]
    fn the_corpus_of_message_passes() {
        replay("message", super::message);
    }

    #[test]
    fn the_corpus_of_inline_string_passes() {
        replay("inline_string", super::inline_string);
    }

    #[test]
    fn the_corpus_of_histogram_passes() {
        replay("histogram", super::histogram);
    }

    #[test]
    fn c8_the_corpus_of_permit_path_passes() {
        replay("permit_path", super::permit_path);
    }

    #[test]
    fn c8_the_corpus_of_permit_rules_passes() {
        replay("permit_rules", super::permit_rules);
    }
}
