//! The command line.

use crate::failure::{Failure, refused};
use crate::output::print;
use clap::error::{ContextKind, ErrorKind};
use clap::{Args, Parser, Subcommand};
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

#[derive(Debug, Parser)]
#[command(
    name = "uring",
    version,
    about = "Benchmark and probe io_uring on this machine",
    max_term_width = 110
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Random reads through io_uring beside plain pread threads: page cache first, then O_DIRECT. The depth finds its place.
    Bench(BenchArgs),
    /// What this kernel and these limits allow, and what to change to get more.
    Probe(ProbeArgs),
}

/// Options of `uring bench`.
#[derive(Args, Clone, Debug)]
pub struct BenchArgs {
    /// Read this file, which is never written, instead of a file of random data made for the run; may be given several times
    #[arg(long, value_name = "FILE", conflicts_with = "dir")]
    pub file: Vec<PathBuf>,
    /// Make the file in this directory instead of one found on a real disk
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Size of the file made, or the part of --file that is read
    #[arg(
        long,
        value_name = "BYTES",
        default_value = "512MiB",
        allow_negative_numbers = true
    )]
    pub size: Bytes,
    /// Bytes an operation
    #[arg(
        long,
        value_name = "BYTES",
        default_value = "4KiB",
        allow_negative_numbers = true
    )]
    pub bs: Bytes,
    /// What to do: read, randread, write, randwrite, mix:70 (random, so many reads of a hundred)
    #[arg(long, value_name = "WORK", default_value = "randread")]
    pub rw: Rw,
    /// Leave the page cache out: O_DIRECT alone, or an error where that cannot be
    #[arg(long)]
    pub direct: bool,
    /// Seconds for each of the four runs: page cache and O_DIRECT, io_uring and pread; with --sweep, for each depth
    #[arg(
        long,
        visible_alias = "duration",
        value_name = "SECONDS",
        default_value_t = 3.0,
        allow_negative_numbers = true
    )]
    pub seconds: f64,
    /// Operations in flight on each core, fixed, instead of as many as the device can use
    #[arg(
        long = "static",
        visible_alias = "depth",
        value_name = "COUNT",
        allow_negative_numbers = true
    )]
    pub depth: Option<u32>,
    /// Keep the 99th percentile of the device's latency below so many milliseconds where the device can
    #[arg(
        long,
        value_name = "MS",
        conflicts_with = "depth",
        allow_negative_numbers = true
    )]
    pub target_p99: Option<f64>,
    /// Run every static depth from 1 to 128, then the depth that finds its place, and say how much of the best it reaches
    #[arg(long, conflicts_with = "depth")]
    pub sweep: bool,
    /// Cores to use, all by default
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true)]
    pub cores: Option<usize>,
    /// Write the figures as JSON; `-` is standard output, and the table then goes to standard error
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write a self-contained HTML page with plots; `-` as for --json
    #[arg(long, value_name = "FILE.html")]
    pub report: Option<PathBuf>,
}

/// What the operations of a run are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rw {
    /// At random places instead of one after the other.
    pub random: bool,
    /// Reads of a hundred operations.
    pub reads: u8,
}

impl Rw {
    /// Random reads, the default.
    pub const RANDREAD: Self = Self {
        random: true,
        reads: 100,
    };

    /// What its operations are called.
    pub fn noun(self) -> &'static str {
        match self.reads {
            100 => "reads",
            0 => "writes",
            _ => "operations",
        }
    }

    /// The plain system calls that do the same.
    pub fn calls(self) -> &'static str {
        match self.reads {
            100 => "pread",
            0 => "pwrite",
            _ => "pread+pwrite",
        }
    }

    /// Whether anything is written.
    pub fn writes(self) -> bool {
        self.reads < 100
    }
}

impl FromStr for Rw {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let of = |random, reads| Ok(Self { random, reads });
        match text {
            "read" => of(false, 100),
            "randread" => of(true, 100),
            "write" => of(false, 0),
            "randwrite" => of(true, 0),
            _ => {
                let reads = text.strip_prefix("mix:").and_then(|share| share.parse().ok());
                match reads {
                    Some(reads @ 0..=100) => of(true, reads),
                    _ => Err(
                        "write read, randread, write, randwrite or a share of reads such as mix:70".into(),
                    ),
                }
            }
        }
    }
}

impl fmt::Display for Rw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.random, self.reads) {
            (false, 100) => f.pad("sequential reads"),
            (true, 100) => f.pad("random reads"),
            (false, 0) => f.pad("sequential writes"),
            (true, 0) => f.pad("random writes"),
            (_, reads) => write!(f, "random, {reads} reads of a hundred"),
        }
    }
}

/// Options of `uring probe`.
#[derive(Args, Clone, Debug)]
pub struct ProbeArgs {
    /// Write the findings as JSON; `-` is standard output, and the text then goes to standard error
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// A number of bytes: plain, or with K, M, G, T, which are powers of 1024 with or without `iB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (digits, unit) = text.split_at(end);
        let shift = match unit.trim().to_ascii_lowercase().as_str() {
            "" | "b" => 0,
            "k" | "kb" | "kib" => 10,
            "m" | "mb" | "mib" => 20,
            "g" | "gb" | "gib" => 30,
            "t" | "tb" | "tib" => 40,
            _ => return Err("write a number of bytes such as 4096, 64KiB, 512MiB".into()),
        };
        let count: u64 = digits
            .parse()
            .map_err(|_| "write a number of bytes such as 512MiB".to_owned())?;
        let bytes = count
            .checked_mul(1 << shift)
            .ok_or("more bytes than there can be")?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
        match units
            .iter()
            .find(|(shift, _)| self.0 > 0 && self.0.is_multiple_of(1 << shift))
        {
            Some((shift, unit)) => write!(f, "{} {unit}", self.0 >> shift),
            None => write!(f, "{} B", self.0),
        }
    }
}

/// Reads the command line. Help and version are printed here and give `None`.
///
/// # Errors
/// One line that names what is wrong with it and what to do.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Option<Command>, Failure> {
    let error = match Cli::try_parse_from(args) {
        Ok(cli) => return Ok(Some(cli.command)),
        Err(error) => error,
    };
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        print(&error.render().to_string())?;
        return Ok(None);
    }
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand
    ) {
        return Err(refused(format_args!(
            "say what to do: `uring bench`, `uring probe`, `uring --help`"
        )));
    }
    let rendered = error.render().to_string();
    let cause = rendered
        .lines()
        .next()
        .unwrap_or_default()
        .trim_start_matches("error: ");
    let meant = [ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand]
        .iter()
        .find_map(|kind| error.get(*kind))
        .map(|value| format!("did you mean `{value}`? "))
        .unwrap_or_default();
    Err(refused(format_args!(
        "{cause}; {meant}`uring --help` and `uring bench --help` list what there is"
    )))
}
