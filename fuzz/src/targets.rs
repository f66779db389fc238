//! What each target promises.

use inline_error::{InlineString, SyscallError, SyscallKind};
use seqstats::{Histogram, Recorder};

/// An error's message comes back whole, whatever its length and wherever its characters lie.
pub fn message(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let error = SyscallError::new(SyscallKind::NotFound, format_args!("{text}"));
    assert_eq!(error.message(), text);
    assert!(!error.is_cut());
    assert_eq!(error.is_inline(), text.len() <= SyscallError::INLINE);
    let outer = error.context("opening");
    assert!(outer.message().contains(text) || text.is_empty());
    assert_eq!(outer.kind(), SyscallKind::NotFound);
}

/// An inline string behaves as a `String` that refuses what does not fit. Each byte is an operation.
pub fn inline_string(data: &[u8]) {
    let (mut ours, mut oracle) = (InlineString::<16>::new(), String::new());
    for &byte in data {
        match byte % 5 {
            0 => drop((ours.pop(), oracle.pop()).0),
            1 => {
                let text = ["é", "abc", "", "€uro", "a longer text than fits"][usize::from(byte / 5) % 5];
                let rest = ours.push_fitting(text);
                oracle.push_str(&text[..text.len() - rest.len()]);
                assert!(
                    rest.chars()
                        .next()
                        .is_none_or(|c| c.len_utf8() > 16 - oracle.len())
                );
            }
            2 => {
                let text = ["😀", "xyz", "ü", "0123456789abcdef", ""][usize::from(byte / 5) % 5];
                let fits = oracle.len() + text.len() <= 16;
                assert_eq!(ours.push_str(text).is_ok(), fits);
                oracle.push_str(if fits { text } else { "" });
            }
            3 => {
                let to = (0..=usize::from(byte / 5).min(oracle.len()))
                    .rev()
                    .find(|&at| oracle.is_char_boundary(at));
                ours.truncate(to.unwrap_or(0));
                oracle.truncate(to.unwrap_or(0));
            }
            _ => assert_eq!(ours.free(), 16 - oracle.len()),
        }
        assert_eq!(ours.as_str(), oracle);
    }
}

/// Quantiles lie within 3 % of the exact ones, for values of eight bytes each.
pub fn histogram(data: &[u8]) {
    let mut values: Vec<u64> = data
        .chunks_exact(8)
        .map(|c| u64::from_le_bytes(c.try_into().expect("eight")) % 3_600_000_000_000 + 1)
        .collect();
    let histogram = <Histogram>::new();
    let Ok(mut recorder) = Recorder::try_claim(&histogram) else {
        panic!("a fresh histogram has no recorder yet")
    };
    values.iter().for_each(|&value| recorder.record(value));
    let snapshot = recorder.histogram().snapshot();
    assert_eq!(snapshot.count(), values.len() as u64);
    values.sort_unstable();
    for q in [0.0, 0.5, 0.9, 0.99, 0.999, 1.0] {
        let Some(last) = values.len().checked_sub(1) else {
            assert_eq!(snapshot.quantile(q), 0);
            continue;
        };
        let rank = ((q * values.len() as f64).ceil() as usize)
            .saturating_sub(1)
            .min(last);
        let (exact, got) = (values[rank] as f64, snapshot.quantile(q) as f64);
        assert!(
            (got - exact).abs() <= exact * 0.03 + 1.0,
            "q {q}: {got} for {exact}"
        );
    }
}
