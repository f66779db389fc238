//! `uring probe`: what this kernel and these limits allow, and what to change to get more.

use crate::args::ProbeArgs;
use crate::output::{print, print_beside};
use crate::{Failure, Output};
use serde_json::{Value, json};
use std::fmt::Write;
use uring_core::{Advice, Capability, Probe};

/// Runs the command.
///
/// # Errors
/// When the JSON file or standard output cannot be written.
pub fn main(args: &ProbeArgs) -> Result<(), Failure> {
    let file = Output::claim_if("--json", args.json.as_ref())?;
    let probe = uring_core::probe();
    let more = around();
    // The file first: standard output may be a pipe whose reader has left.
    let taken = file.as_ref().is_some_and(Output::is_stdout);
    let written = file.map_or(Ok(()), |file| file.write(&format!("{:#}\n", json(&probe, &more))));
    let text = text(&probe, &more);
    written.and(if taken { print_beside(&text) } else { print(&text) })
}

/// What was found, for a reader.
pub fn text(probe: &Probe, more: &[(String, String)]) -> String {
    let limits = &probe.limits;
    let mut out = String::new();
    let _ = writeln!(
        out,
        "kernel            {}",
        limits.kernel.as_deref().unwrap_or("unknown")
    );
    let _ = match (probe.refused, probe.best_rung) {
        (Some(errno), _) => writeln!(
            out,
            "io_uring          refused: {}\nrings             work on the fallback, epoll and threads; `Carrier::Uring` would be an error",
            std::io::Error::from_raw_os_error(errno)
        ),
        (None, Some(rung)) => writeln!(
            out,
            "io_uring          works; a ring of one thread is set up as \"{rung}\""
        ),
        (None, None) => writeln!(out, "io_uring          works"),
    };
    let _ = writeln!(
        out,
        "locked memory     {}",
        amount(limits.memlock_bytes, "bytes", "RLIMIT_MEMLOCK")
    );
    let _ = writeln!(
        out,
        "open files        {}",
        amount(limits.open_files, "", "RLIMIT_NOFILE")
    );
    let _ = writeln!(
        out,
        "io_uring_disabled {}",
        switch(limits.uring_disabled, limits.uring_group)
    );
    let seccomp = match limits.seccomp_filter {
        Some(true) => "a filter is installed, which may refuse operations",
        Some(false) => "no filter",
        None => "unknown",
    };
    let _ = writeln!(out, "seccomp           {seccomp}");
    let _ = writeln!(out, "processors        {}", limits.processors);
    for (name, value) in more {
        let _ = writeln!(out, "{name:<17} {value}");
    }
    section(&mut out, "set-up flags, each tried on a ring", &probe.setup);
    section(&mut out, "features of a ring", &probe.features);
    section(&mut out, "operations", &probe.operations);
    section(
        &mut out,
        "what a ring can know beforehand, each tried",
        &probe.registers,
    );
    let _ = writeln!(out, "\nto get more");
    if probe.advice.is_empty() {
        let _ = writeln!(out, "  nothing: everything that this program can use is here");
    }
    for Advice { found, remedy, .. } in &probe.advice {
        let _ = writeln!(out, "  {found}\n    -> {remedy}");
    }
    out
}

fn section(out: &mut String, title: &str, list: &[Capability]) {
    let here = list.iter().filter(|c| c.available).count();
    let _ = writeln!(out, "\n{title}: {here} of {}", list.len());
    for c in list {
        let mark = if c.available { "yes" } else { " no" };
        let refused = c.errno.filter(|_| !c.available);
        let refused = refused.map_or(String::new(), |e| format!(" (error {e})"));
        let since = format!("Linux {}", c.since);
        let _ = writeln!(out, "  {mark}  {:<18} {since:<11} {}{refused}", c.name, c.what);
    }
}

fn amount(value: Option<u64>, unit: &str, name: &str) -> String {
    match value {
        None => format!("unknown ({name})"),
        Some(u64::MAX) => format!("unlimited ({name})"),
        Some(value) => format!("{value} {unit}").trim_end().to_owned() + &format!(" ({name})"),
    }
}

fn switch(value: Option<u32>, group: Option<i64>) -> String {
    match (value, group) {
        (Some(0), _) => "0: open to all".into(),
        (Some(1), Some(group)) if group >= 0 => format!("1: for group {group} and the privileged"),
        (Some(1), _) => "1: for the privileged".into(),
        (Some(value), _) => format!("{value}: for nobody"),
        (None, _) => "no such switch (before Linux 6.6)".into(),
    }
}

/// What is around the kernel and bears on the figures, as far as it can be read.
pub fn around() -> Vec<(String, String)> {
    let read = |path: &str| Some(std::fs::read_to_string(path).ok()?.trim().to_owned());
    let governor = read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor");
    let governor = match governor.as_deref() {
        Some("performance") => "performance".to_owned(),
        Some(other) => format!("{other}; for steady figures: `cpupower frequency-set -g performance`"),
        None => "none to be seen (a virtual machine, or fixed clocks)".to_owned(),
    };
    let mut around = vec![("governor".to_owned(), governor)];
    for disk in std::fs::read_dir("/sys/block").into_iter().flatten().flatten() {
        let name = disk.file_name().to_string_lossy().into_owned();
        if let Some(scheduler) = read(&format!("/sys/block/{name}/queue/scheduler"))
            && !["loop", "ram", "zram"].iter().any(|skip| name.starts_with(skip))
        {
            let polls = read(&format!("/sys/block/{name}/queue/io_poll")).as_deref() == Some("1");
            let polls = if polls {
                "polling queues"
            } else {
                "no polling queues"
            };
            around.push((format!("disk {name}"), format!("scheduler {scheduler}, {polls}")));
        }
    }
    around
}

/// What was found, as data.
pub fn json(probe: &Probe, more: &[(String, String)]) -> Value {
    let list = |list: &[Capability]| -> Vec<Value> {
        let one = |c: &Capability| json!({ "name": c.name, "what": c.what, "since": c.since, "available": c.available, "errno": c.errno });
        list.iter().map(one).collect()
    };
    let limits = &probe.limits;
    let advice: Vec<_> = probe
        .advice
        .iter()
        .map(|a| json!({ "found": a.found, "remedy": a.remedy }))
        .collect();
    json!({
        "schema": "uring-probe/1",
        "kernel": limits.kernel,
        "refused_errno": probe.refused,
        "best_rung": probe.best_rung.map(|rung| rung.to_string()),
        "memlock_bytes": limits.memlock_bytes,
        "open_files": limits.open_files,
        "io_uring_disabled": limits.uring_disabled,
        "io_uring_group": limits.uring_group,
        "seccomp_filter": limits.seccomp_filter,
        "processors": limits.processors,
        "around": more.iter().map(|(k, v)| json!({ "name": k, "value": v })).collect::<Vec<_>>(),
        "setup": list(&probe.setup),
        "features": list(&probe.features),
        "operations": list(&probe.operations),
        "registers": list(&probe.registers),
        "advice": advice,
    })
}
