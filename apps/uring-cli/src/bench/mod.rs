//! `uring bench`: random reads through io_uring beside plain `pread`, in one run.
//!
//! The two lanes take turns in slices, so that what the machine does meanwhile falls on both. Each figure is read from
//! the primitive that owns it:
//!
//! | figure | owner |
//! |---|---|
//! | operations, failures, system calls | flat-combine: the striped counters of the engine |
//! | p50, p99, p99.9, latency plot | seqstats: the histogram that each ring publishes |
//! | reads in the kernel | seqstats: the sequence lock that each ring publishes |
//! | buffers out | pooled-vec: the slab that the buffers are leased from |
//! | file and its registered slot | epoch-fdtable |
//! | depth, end of the run | rcu-map: the settings that every reader looks at |
//! | what failed | inline-error |

mod by_pread;
mod by_ring;
mod content;
mod course;
mod data_file;
mod figures;
mod gate;
mod progress;
mod run;
mod show;

pub use content::{Content, FULL_EVERY};
pub use course::{Course, Done, ReadError};
pub use data_file::{DataFile, SMALLEST_BLOCK, Step};
pub use figures::{Figures, Lane, Phase, Sample};
pub use gate::Gate;
pub use progress::Progress;
pub use show::{json, page, text};

use crate::args::BenchArgs;
use crate::failure::refused;
use crate::output::print;
use crate::{Failure, Output, Stop, sys};
use pooled_vec::{AlignedOptions, Slab};
use std::fs::File;
use std::time::Duration;
use uring_core::engine::SharedSettings;
use uring_core::file::Files;

/// How often each lane has its turn in a phase.
const TURNS: u32 = 3;

/// Everything that a run found.
#[derive(Debug)]
pub struct Results {
    /// The file, in words.
    pub place: String,
    /// Why there is no O_DIRECT phase, if there is none.
    pub no_direct: Option<String>,
    /// Reads in flight on each core.
    pub depth: u32,
    /// Bytes a read.
    pub block: usize,
    /// How many buffers there were.
    pub buffers: usize,
    /// Each lane in each phase.
    pub rows: Vec<Figures>,
}

/// Runs the command.
///
/// # Errors
/// One line for whatever is in the way.
pub fn main(args: &BenchArgs, stop: &Stop) -> Result<(), Failure> {
    let json_file = Output::claim_if("--json", args.json.as_ref())?;
    let page_file = Output::claim_if("--report", args.report.as_ref())?;
    for output in json_file.iter().chain(&page_file) {
        args.file
            .iter()
            .try_for_each(|file| output.spare("--file", file))?;
    }
    if let (Some(json_file), Some(page_file)) = (&json_file, &page_file) {
        page_file.apart(json_file)?;
    }
    let progress = Progress::new();
    let results = run(args, stop, &progress)?;
    drop(progress);
    // The files first: standard output may be a pipe whose reader has left. One that fails keeps no other from being told.
    let json_written = json_file.map_or(Ok(()), |file| file.write(&format!("{:#}\n", json(&results))));
    let page_written = page_file.map_or(Ok(()), |file| file.write(&page(&results).to_html()));
    let printed = print(&format!("{}\n", text(&results)));
    json_written.and(page_written).and(printed)
}

/// Makes or opens the file and runs every lane in every phase.
///
/// # Errors
/// One line for whatever is in the way; a failed or wrong read ends the run.
pub fn run(args: &BenchArgs, stop: &Stop, progress: &Progress) -> Result<Results, Failure> {
    let cpus = check(args)?;
    let seed = std::process::id() as u64 ^ 0x5eed;
    let mut step = |done: u64| {
        progress.say(format_args!("preparing the file: {} MiB", done >> 20));
        stop.check()
    };
    let file = match &args.file {
        Some(path) => DataFile::open(path, args.size, args.bs, &mut step)?,
        None => DataFile::make(args.dir.as_deref(), args.size, args.bs, seed, &mut step)?,
    };
    measure(args, &file, &cpus, stop, progress)
}

/// Runs every lane in every phase on a file that is there.
///
/// # Errors
/// As [`run`].
pub fn measure(
    args: &BenchArgs,
    file: &DataFile,
    cpus: &[usize],
    stop: &Stop,
    progress: &Progress,
) -> Result<Results, Failure> {
    let threads = run::readers(Lane::Pread, Phase::Direct, cpus.len(), args.depth);
    let buffers = threads.max(cpus.len() * args.depth as usize);
    let slab = Slab::new(buffers, file.block, AlignedOptions::new()).map_err(|e| {
        refused(format_args!(
            "no memory for {buffers} buffers: {e}; give a smaller --depth or --bs"
        ))
    })?;
    let place = Place {
        args,
        file,
        slab: &slab,
        cpus,
        stop,
        progress,
    };
    let mut rows = place.phase(Phase::Cached, &file.cached)?;
    let mut no_direct = None;
    match &file.direct {
        Ok(direct) => rows.extend(place.phase(Phase::Direct, direct)?),
        Err(why) => no_direct = Some(why.clone()),
    }
    Ok(Results {
        place: file.place.clone(),
        no_direct,
        depth: args.depth,
        block: file.block,
        buffers,
        rows,
    })
}

/// Checks what no file is needed for; gives the processors to use.
fn check(args: &BenchArgs) -> Result<Vec<usize>, Failure> {
    let mut cpus = sys::processors();
    let there = cpus.len();
    let cores = args.cores.unwrap_or(there);
    if cores == 0 || cores > there {
        return Err(refused(format_args!(
            "--cores {cores}: this process has {there}; give 1 to {there}"
        )));
    }
    cpus.truncate(cores);
    if !(1..=16384).contains(&args.depth) {
        return Err(refused(format_args!("--depth {}: give 1 to 16384", args.depth)));
    }
    if !(args.seconds >= 0.05 && args.seconds <= 86_400.0) {
        // A number of three hundred digits would tell nobody anything.
        let seconds = match args.seconds {
            s if s.abs() >= 1e6 => format!("{s:e}"),
            s => s.to_string(),
        };
        return Err(refused(format_args!(
            "--seconds {seconds}: out of range; give 0.05 to 86400"
        )));
    }
    Ok(cpus)
}

/// What both phases share.
struct Place<'a> {
    args: &'a BenchArgs,
    file: &'a DataFile,
    slab: &'a Slab,
    cpus: &'a [usize],
    stop: &'a Stop,
    progress: &'a Progress,
}

impl Place<'_> {
    /// Lets the lanes take turns at reading through `open`.
    fn phase(&self, phase: Phase, open: &File) -> Result<Vec<Figures>, Failure> {
        let files = Files::new(16);
        let owned = open
            .try_clone()
            .map_err(|e| refused(format_args!("{e}; raise the open-files limit: `ulimit -n`")))?;
        let file = files
            .adopt(owned.into())
            .map_err(|(error, _)| refused(format_args!("{}", error.explain("taking over the file"))))?;
        let settings = SharedSettings::new(self.args.depth);
        let (cores, depth) = (self.cpus.len(), self.args.depth);
        let mut rows = [Lane::Ring, Lane::Pread].map(|lane| {
            let readers = run::readers(lane, phase, cores, depth);
            Figures::new(phase, lane, readers, run::allowed(lane, phase, cores, depth))
        });
        let length = Duration::from_secs_f64(self.args.seconds / f64::from(TURNS));
        for _ in 0..TURNS {
            for figures in &mut rows {
                let course = Course {
                    files: &files,
                    file,
                    content: &self.file.content,
                    blocks: self.file.blocks,
                    block: self.file.block,
                    slab: self.slab,
                    settings: &settings,
                    start: Gate::default(),
                    cpus: self.cpus,
                };
                run::slice(&course, figures, length, self.stop, self.progress)?;
            }
        }
        Ok(rows.into())
    }
}
