//! What the documents show of the claims is what the committed run says.

use bench_suite::report::{drifted, publish};
use std::path::Path;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("a workspace")
}

#[test]
fn no_document_has_drifted_from_the_committed_run() {
    let drifted = drifted(root()).expect("the committed run");
    assert!(
        drifted.is_empty(),
        "these differ from docs/claims.json; `cargo xtask report --publish` makes them anew: {drifted:?}"
    );
}

#[test]
fn a_figure_changed_by_hand_is_drift_and_publishing_mends_it() {
    let copy = tempfile::tempdir().unwrap();
    for name in [
        "README.md",
        "docs/BENCHMARKS.md",
        "docs/claims.json",
        "docs/claims.about.json",
    ] {
        let to = copy.path().join(name);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(root().join(name), to).unwrap();
    }
    let written = publish(copy.path()).unwrap();
    assert!(!written.is_empty() && written.iter().all(|file| file.extension().unwrap() == "svg"));
    assert_eq!(drifted(copy.path()).unwrap(), Vec::<std::path::PathBuf>::new());
    let benchmarks = copy.path().join("docs/BENCHMARKS.md");
    let text = std::fs::read_to_string(&benchmarks).unwrap();
    let flattered = text.replacen("| **no** |", "| yes |", 1);
    assert_ne!(
        text, flattered,
        "a run without a miss would leave nothing to flatter"
    );
    std::fs::write(&benchmarks, flattered).unwrap();
    assert_eq!(drifted(copy.path()).unwrap(), std::slice::from_ref(&benchmarks));
    assert_eq!(publish(copy.path()).unwrap(), std::slice::from_ref(&benchmarks));
    assert_eq!(std::fs::read_to_string(benchmarks).unwrap(), text);
}
