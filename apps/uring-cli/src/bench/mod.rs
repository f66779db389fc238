//! `uring bench`: reads and writes through io_uring beside plain `pread` and `pwrite`, in one run.
//!
//! At a fixed depth the two lanes take turns in slices, so that what the machine does meanwhile falls on both. Left to itself the
//! depth has the whole time at once to find its place, and shows it. Each figure is read from the primitive that owns it:
//!
//! | figure | owner |
//! |---|---|
//! | operations, failures, system calls | flat-combine: the striped counters of the engine |
//! | p50, p99, p99.9, latency plot | seqstats: the histogram that each ring publishes |
//! | reads in the kernel | seqstats: the sequence lock that each ring publishes |
//! | buffers out | pooled-vec: the slab that the buffers are leased from |
//! | file and its registered slot | epoch-fdtable |
//! | depth over time | seqstats: the group that each ring's window publishes |
//! | end of the run | rcu-map: the settings that every reader looks at |
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
pub use course::{Course, Done, Part, ReadError};
pub use data_file::{DataFile, SMALLEST_BLOCK, Step};
pub use figures::{Depth, Figures, Lane, Phase, Sample};
pub use gate::Gate;
pub use progress::Progress;
pub use show::{json, page, text};

use crate::args::{BenchArgs, Rw};
use crate::failure::{FailureKind, cause, refused};
use crate::output::{print, print_beside};
use crate::{Failure, Output, Stop, sys};
use inline_error::InlineError;
use pooled_vec::{AlignedOptions, Slab};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Duration;
use uring_core::engine::SharedSettings;
use uring_core::file::Files;
use uring_core::pace::{Control, WindowOptions};

/// How often each lane has its turn in a phase at a fixed depth.
const TURNS: u32 = 3;
/// The static depths of a sweep.
pub const SWEEP: [u32; 8] = [1, 2, 4, 8, 16, 32, 64, 128];
/// The most that a window may find on a core, and the bytes of buffers that it may take.
const AUTO_MAX: u32 = 128;
const AUTO_BYTES: u64 = 64 << 20;
/// Threads a core of plain calls where no depth is given.
const PREADS: u32 = 64;
/// Blocks read back after a run that wrote.
const READ_BACK: u64 = 256;

/// Everything that a run found.
#[derive(Debug)]
pub struct Results {
    /// The file, in words.
    pub place: String,
    /// Why there is no O_DIRECT phase, if there is none.
    pub no_direct: Option<String>,
    /// Operations in flight on each core; `None` where the depth found its place.
    pub depth: Option<u32>,
    /// The target for p99 in milliseconds, where one was given.
    pub target_p99_ms: Option<f64>,
    /// What was done.
    pub rw: Rw,
    /// Whether static depths were swept.
    pub sweep: bool,
    /// Bytes an operation.
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
    let taken = json_file.iter().chain(&page_file).any(Output::is_stdout);
    let progress = Progress::new();
    let results = run(args, stop, &progress)?;
    drop(progress);
    // The files first: standard output may be a pipe whose reader has left. One that fails keeps no other from being told.
    let json_written = json_file.map_or(Ok(()), |file| file.write(&format!("{:#}\n", json(&results))));
    let page_written = page_file.map_or(Ok(()), |file| file.write(&page(&results).to_html()));
    let table = format!("{}\n", text(&results));
    let printed = if taken {
        print_beside(&table)
    } else {
        print(&table)
    };
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
    let files = match &args.file[..] {
        [] => vec![DataFile::make(
            args.dir.as_deref(),
            args.size,
            args.bs,
            seed,
            args.rw.writes(),
            &mut step,
        )?],
        paths => paths
            .iter()
            .map(|path| DataFile::open(path, args.size, args.bs, &mut step))
            .collect::<Result<_, _>>()?,
    };
    measure(args, &files, &cpus, stop, progress)
}

/// Runs every lane in every phase on files that are there.
///
/// # Errors
/// As [`run`].
pub fn measure(
    args: &BenchArgs,
    files: &[DataFile],
    cpus: &[usize],
    stop: &Stop,
    progress: &Progress,
) -> Result<Results, Failure> {
    let block = files[0].block;
    let threads = run::readers(
        Lane::Pread,
        Phase::Direct,
        cpus.len(),
        args.depth.unwrap_or(PREADS),
    );
    let most = args.depth.unwrap_or_else(|| auto_max(block));
    let buffers = threads.max(cpus.len() * most as usize);
    let slab = Slab::new(buffers, block, AlignedOptions::new()).map_err(|e| {
        refused(format_args!(
            "no memory for {buffers} buffers: {e}; give a smaller --static or --bs"
        ))
    })?;
    let place = Place {
        args,
        files,
        slab: &slab,
        cpus,
        stop,
        progress,
    };
    let no_direct = files.iter().find_map(|file| file.direct.as_ref().err().cloned());
    if let (true, Some(why)) = (args.direct, &no_direct) {
        return Err(refused(format_args!(
            "--direct: {why}; leave --direct out for the page cache alone"
        )));
    }
    let mut rows = Vec::new();
    // A sweep is about the device, and where there is one behind the file the page cache would hide it.
    if !args.direct && (!args.sweep || no_direct.is_some()) {
        let cached: Vec<&File> = files.iter().map(|file| &file.cached).collect();
        rows.extend(place.phase(Phase::Cached, &cached)?);
    }
    if no_direct.is_none() {
        let direct: Vec<&File> = files
            .iter()
            .filter_map(|file| file.direct.as_ref().ok())
            .collect();
        rows.extend(place.phase(Phase::Direct, &direct)?);
    }
    if args.rw.writes() {
        read_back(&files[0])?;
    }
    let places: Vec<&str> = files.iter().map(|file| file.place.as_str()).collect();
    Ok(Results {
        place: places.join("; "),
        no_direct,
        depth: args.depth,
        target_p99_ms: args.target_p99,
        rw: args.rw,
        sweep: args.sweep,
        block,
        buffers,
        rows,
    })
}

/// The deepest that a window may go with blocks so large.
fn auto_max(block: usize) -> u32 {
    (AUTO_BYTES / block as u64).clamp(16, u64::from(AUTO_MAX)) as u32
}

/// Sees that what was written is in the file.
fn read_back(file: &DataFile) -> Result<(), Failure> {
    let mut bytes = vec![0; file.block];
    for n in 0..READ_BACK.min(file.blocks) {
        let number = n * file.blocks / READ_BACK.min(file.blocks);
        let offset = number * file.block as u64;
        let wrong = |what: std::fmt::Arguments<'_>| InlineError::new(FailureKind::Wrong, what).boxed();
        file.cached
            .read_exact_at(&mut bytes, offset)
            .map_err(|e| wrong(format_args!("reading back: {}", cause(&e))))?;
        if !file.content.holds(number, &bytes, true) {
            return Err(wrong(format_args!(
                "the block at offset {offset} is not what was written there"
            )));
        }
    }
    Ok(())
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
    if let Some(depth) = args.depth
        && !(1..=16384).contains(&depth)
    {
        return Err(refused(format_args!("--static {depth}: give 1 to 16384")));
    }
    if let Some(ms) = args.target_p99
        && !(ms > 0.0 && ms <= 1e6)
    {
        return Err(refused(format_args!(
            "--target-p99 {ms:e}: no p99 that a device could keep; give milliseconds such as 2"
        )));
    }
    if args.rw.writes() && !args.file.is_empty() {
        return Err(refused(format_args!(
            "--rw with writes and --file: a file of yours is never written; leave --file out, or choose --dir"
        )));
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
    files: &'a [DataFile],
    slab: &'a Slab,
    cpus: &'a [usize],
    stop: &'a Stop,
    progress: &'a Progress,
}

impl Place<'_> {
    /// The lanes of a phase, and how often each has its turn.
    fn lanes(&self) -> (Vec<(Lane, Depth)>, u32) {
        let fixed = |depth| (Lane::Ring, Depth::Static(depth));
        match (self.args.sweep, self.args.depth) {
            (true, _) => {
                let sweep = SWEEP.into_iter().map(fixed);
                (sweep.chain([(Lane::Ring, Depth::Auto)]).collect(), 1)
            }
            (false, Some(depth)) => (vec![fixed(depth), (Lane::Pread, Depth::Static(depth))], TURNS),
            (false, None) => (
                vec![(Lane::Ring, Depth::Auto), (Lane::Pread, Depth::Static(PREADS))],
                1,
            ),
        }
    }

    fn window(&self, depth: Depth) -> WindowOptions {
        let options = WindowOptions::new();
        match (depth, self.args.target_p99) {
            (Depth::Static(depth), _) => options.control(Control::Fixed(depth)),
            (Depth::Auto, None) => options,
            (Depth::Auto, Some(ms)) => options.target_p99(Duration::from_secs_f64(ms / 1e3)),
        }
    }

    /// Lets the lanes take turns at the files as they are open here.
    fn phase(&self, phase: Phase, open: &[&File]) -> Result<Vec<Figures>, Failure> {
        let owner = Files::new(16.max(open.len() as u32));
        let mut handles = Vec::new();
        for file in open {
            let owned = file
                .try_clone()
                .map_err(|e| refused(format_args!("{e}; raise the open-files limit: `ulimit -n`")))?;
            let adopted = owner.adopt(owned.into());
            handles.push(
                adopted.map_err(|(error, _)| {
                    refused(format_args!("{}", error.explain("taking over the file")))
                })?,
            );
        }
        let (cores, (lanes, turns)) = (self.cpus.len(), self.lanes());
        let most = |depth| match depth {
            Depth::Static(depth) => depth,
            Depth::Auto => auto_max(self.files[0].block),
        };
        let mut rows: Vec<Figures> = lanes
            .iter()
            .map(|&(lane, depth)| {
                let readers = run::readers(lane, phase, cores, most(depth));
                let allowed = run::allowed(lane, phase, cores, most(depth));
                Figures::new(phase, lane, readers, depth, allowed, self.args.rw)
            })
            .collect();
        let length = Duration::from_secs_f64(self.args.seconds / f64::from(turns));
        for _ in 0..turns {
            for figures in &mut rows {
                let settings = SharedSettings::new(most(figures.depth));
                let parts = handles.iter().zip(self.files).map(|(&file, data)| Part {
                    file,
                    content: &data.content,
                    blocks: data.blocks,
                });
                let course = Course {
                    files: &owner,
                    parts: parts.collect(),
                    rw: self.args.rw,
                    window: self.window(figures.depth),
                    block: self.files[0].block,
                    slab: self.slab,
                    settings: &settings,
                    start: Gate::default(),
                    cpus: self.cpus,
                };
                run::slice(&course, figures, length, self.stop, self.progress)?;
            }
        }
        Ok(rows)
    }
}
