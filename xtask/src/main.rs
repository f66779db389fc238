//! `cargo xtask`: what CI and developers run, in Rust, so that `.ci/run` is one line.

mod ci;
mod claims;
mod instructions;
mod models;
mod mutants;
mod pgo;
mod report;
mod sanitize;
mod shell;
mod sim;
mod source;
mod tidy;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "CI and tools of the workspace")]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Everything that must pass before a change lands.
    Ci(ci::Options),
    /// The inner loop: every test and doc test of the workspace.
    Test,
    /// The house rules: imports, orderings, coverage, words, sizes.
    Tidy,
    /// The loom models.
    Loom(models::Options),
    /// Weakens each ordering in turn and runs the models: none may survive unexplained.
    Mutants(mutants::Options),
    /// Ten million random operations on simulated rings under every fault, against a model of what must come back.
    Sim(sim::Options),
    /// Measures the claims; arguments are those of bench-suite's `claims`.
    #[command(disable_help_flag = true)]
    Claims {
        /// `--list`, `--only PREFIX`, `--json FILE`, `--quick`, `--many-core`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Measures the claims, or takes a run of them, and renders a page with drawings into target/report.
    Report(report::Options),
    /// Instructions per operation against the committed counts, where valgrind is at hand.
    Instructions(instructions::Options),
    /// Records the syscall-like workload, builds by what it did, and measures what that is worth.
    Pgo(pgo::Options),
    /// The sanitizers of a nightly compiler: planted defects that each must find, then the test suites.
    Sanitize(sanitize::Options),
    /// Packages every library in one call.
    Package,
}

fn main() -> ExitCode {
    let root = shell::workspace_root();
    let outcome = match Arguments::parse().verb {
        Verb::Ci(options) => ci::run(&root, &options),
        Verb::Test => ci::test(&root),
        Verb::Tidy => tidy::run(&root),
        Verb::Loom(options) => models::run(&root, &options),
        Verb::Mutants(options) => mutants::run(&root, &options),
        Verb::Sim(options) => sim::run(&root, &options),
        Verb::Claims { arguments } => claims::run(&root, &arguments),
        Verb::Report(options) => report::run(&root, &options),
        Verb::Instructions(options) => instructions::run(&root, &options),
        Verb::Pgo(options) => pgo::run(&root, &options),
        Verb::Sanitize(options) => sanitize::run(&root, &options),
        Verb::Package => ci::package(&root),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("xtask: {why:#}");
            ExitCode::FAILURE
        }
    }
}
