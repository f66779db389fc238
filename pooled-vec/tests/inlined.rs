//! What only reads a field is inlined into the callers' crates, which takes an attribute where nothing is generic.
#![cfg(not(any(loom, shuttle)))]

use std::path::Path;

/// Public functions of `&self` alone, of one line, without `#[inline]` among their attributes: `file: fn name`.
fn getters_left_out(file: &str, text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let mut left_out = Vec::new();
    for (at, window) in lines.windows(3).enumerate() {
        let Some(rest) = window[0]
            .strip_prefix("pub fn ")
            .or(window[0].strip_prefix("pub const fn "))
        else {
            continue;
        };
        let reads = rest.contains("(&self) -> ") && rest.ends_with('{') && window[2] == "}";
        // Attributes and comments above, up to the end of what comes before.
        let inline = lines[..at]
            .iter()
            .rev()
            .take_while(|line| line.starts_with("#[") || line.starts_with("//"))
            .any(|line| line.starts_with("#[inline"));
        if reads && !inline {
            left_out.push(format!("{file}: fn {}", rest.split('(').next().unwrap_or(rest)));
        }
    }
    left_out
}

#[test]
fn e12_getters_are_inlined() {
    let planted = "/// Reads.\npub fn size(&self) -> usize {\nself.size\n}\n#[inline]\npub fn len(&self) -> usize {\n0\n}\n";
    assert_eq!(
        getters_left_out("x.rs", planted),
        ["x.rs: fn size"],
        "the search finds one"
    );

    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut left_out = Vec::new();
    for entry in std::fs::read_dir(src).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        left_out.extend(getters_left_out(
            &path.file_name().unwrap().to_string_lossy(),
            &text,
        ));
    }
    assert!(left_out.is_empty(), "{left_out:#?}");
}
