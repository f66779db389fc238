//! What each core is to be, decided and checked before anything is started: pure but for what it reads of the machine.

use super::builder::{Builder, Memory};
use crate::error::{ErrorKind, SetupError};
use crate::sys::ladder::Refusal;
use crate::sys::scheduling::{NICENESS, Scheduling, stack_min};
use crate::sys::{affinity, numa};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Most cores of one engine.
const CORES_MAX: usize = 1024;

/// Stack below which a core's own frames would not be safe, in bytes.
const STACK_MIN: usize = 64 << 10;

/// On which processors the threads of the cores may run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Affinity {
    /// Each on a processor of its own, in turn where there are fewer.
    #[default]
    Pinned,
    /// Wherever the scheduler puts them.
    None,
    /// Core *i* on the *i*-th of these.
    Map(Vec<usize>),
    /// On the processors that this interrupt is delivered to, in turn: data is used where the device leaves it. Where the
    /// kernel does not tell, as [`Pinned`](Affinity::Pinned), and the engine's report says so.
    Interrupt(u32),
}

/// Which processors have a core.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Cores {
    /// Each that this process may use.
    #[default]
    Allowed,
    Count(usize),
    Set(Vec<usize>),
}

/// What the plan reads of the machine; tests have others.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    pub(crate) possible: usize,
    pub(crate) allowed: Vec<usize>,
    pub(crate) proc: PathBuf,
    pub(crate) nodes: PathBuf,
}

impl Machine {
    pub(crate) fn read() -> io::Result<Self> {
        Ok(Self {
            possible: affinity::possible(),
            allowed: affinity::allowed()?,
            proc: PathBuf::from("/proc"),
            nodes: PathBuf::from(numa::SYSFS),
        })
    }
}

/// One core, as asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CorePlan {
    /// The processor whose threads the core serves first.
    pub(crate) home: usize,
    /// Where its thread may run; wherever it likes if empty.
    pub(crate) pin: Vec<usize>,
}

/// All of them.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) cores: Vec<CorePlan>,
    /// For each processor that may be asked about, the core that serves it.
    pub(crate) routes: Vec<usize>,
    /// Registered memory of each core, if there is room for it.
    pub(crate) memory: Option<Memory>,
    /// What was asked for in vain.
    pub(crate) refusals: Vec<Refusal>,
}

fn wrong(what: fmt::Arguments<'_>) -> SetupError {
    SetupError::new(ErrorKind::InvalidInput, what)
}

/// Checks what was asked for against the machine.
///
/// # Errors
/// With what was wrong, and what there is.
pub(crate) fn plan(asked: &Builder, machine: &Machine) -> Result<Plan, SetupError> {
    check_thread(asked)?;
    let exists = |cpu: usize| -> Result<(), SetupError> {
        if cpu < machine.possible {
            return Ok(());
        }
        let last = machine.possible - 1;
        Err(wrong(format_args!(
            "processor {cpu}: this machine has 0 to {last}"
        )))
    };
    let near = near(asked, machine)?;
    let mut refusals = Vec::new();
    let interrupt = match asked.affinity {
        Affinity::Interrupt(number) => match followed(&machine.proc, number, &near) {
            Ok(cpus) => Some(cpus),
            Err(refused) => {
                refusals.push(Refusal {
                    asked: format!("the processors of interrupt {number}"),
                    errno: refused.raw_os_error().unwrap_or(libc::EIO),
                });
                None
            }
        },
        _ => None,
    };
    let usable = interrupt.unwrap_or(near);
    let homes: Vec<usize> = match &asked.cores {
        Cores::Allowed => match &asked.affinity {
            Affinity::Map(map) => map.clone(),
            _ => usable,
        },
        Cores::Count(count) => (0..*count).map(|i| usable[i % usable.len()]).collect(),
        Cores::Set(set) => set.clone(),
    };
    if homes.is_empty() || homes.len() > CORES_MAX {
        let count = homes.len();
        return Err(wrong(format_args!("{count} cores: choose 1 to {CORES_MAX}")));
    }
    homes.iter().try_for_each(|&cpu| exists(cpu))?;
    let cores = match &asked.affinity {
        Affinity::None => homes.iter().map(|&home| CorePlan { home, pin: vec![] }).collect(),
        Affinity::Map(map) => {
            if map.len() != homes.len() {
                let (mapped, cores) = (map.len(), homes.len());
                return Err(wrong(format_args!(
                    "an affinity map of {mapped} processors for {cores} cores: name one for each"
                )));
            }
            map.iter().try_for_each(|&cpu| exists(cpu))?;
            map.iter()
                .map(|&cpu| CorePlan {
                    home: cpu,
                    pin: vec![cpu],
                })
                .collect()
        }
        Affinity::Pinned | Affinity::Interrupt(_) => homes
            .iter()
            .map(|&home| CorePlan {
                home,
                pin: vec![home],
            })
            .collect::<Vec<_>>(),
    };
    let routes = routes(&cores, machine.possible);
    let memory = asked.memory.filter(|memory| match memory.room(cores.len()) {
        Ok(()) => true,
        Err(refused) => {
            let Memory { slots, slot_bytes } = memory;
            refusals.push(Refusal {
                asked: format!("registered memory of {slots} slots of {slot_bytes} bytes a core"),
                errno: refused.raw_os_error().unwrap_or(libc::ENOMEM),
            });
            false
        }
    });
    Ok(Plan {
        memory,
        cores,
        routes,
        refusals,
    })
}

/// What concerns each thread alone.
fn check_thread(asked: &Builder) -> Result<(), SetupError> {
    let stack_min = stack_min().max(STACK_MIN);
    if let Some(stack) = asked.stack_bytes.filter(|&bytes| bytes < stack_min) {
        return Err(wrong(format_args!(
            "a stack of {stack} bytes: choose {stack_min} or more"
        )));
    }
    if let Some(nice) = asked.nice.filter(|nice| !NICENESS.contains(nice)) {
        return Err(wrong(format_args!("niceness {nice}: choose -20 to 19")));
    }
    if let Some((name, _, priority)) = Scheduling::class(asked.scheduling) {
        let range = asked.scheduling.priorities();
        if !range.contains(&priority) {
            let (low, high) = (range.start(), range.end());
            return Err(wrong(format_args!(
                "priority {priority} for {name}: choose {low} to {high}"
            )));
        }
    }
    if !(1..=1 << 20).contains(&asked.mailbox) {
        let slots = asked.mailbox;
        return Err(wrong(format_args!(
            "a mailbox of {slots} messages: choose 1 to 1048576"
        )));
    }
    if let Some(Memory { slots, slot_bytes }) = asked.memory
        && (slots == 0 || slot_bytes == 0)
    {
        return Err(wrong(format_args!(
            "registered memory of {slots} slots of {slot_bytes} bytes: choose 1 or more of each, or ask for none"
        )));
    }
    Ok(())
}

/// Processors that this process may use, of the node where one was asked for.
fn near(asked: &Builder, machine: &Machine) -> Result<Vec<usize>, SetupError> {
    let Some(node) = asked.node else {
        return Ok(machine.allowed.clone());
    };
    let Some(cpus) = numa::processors(&machine.nodes, node) else {
        let nodes = numa::nodes(&machine.nodes);
        return Err(wrong(format_args!(
            "memory node {node}: this machine has {nodes:?}"
        )));
    };
    let near: Vec<usize> = machine
        .allowed
        .iter()
        .copied()
        .filter(|cpu| cpus.contains(cpu))
        .collect();
    if near.is_empty() {
        return Err(wrong(format_args!(
            "memory node {node}: this process may use none of its processors {cpus:?}"
        )));
    }
    Ok(near)
}

/// Those of an interrupt's processors that this process may use.
fn followed(proc: &Path, number: u32, usable: &[usize]) -> io::Result<Vec<usize>> {
    let cpus = affinity::of_interrupt(proc, number)?;
    let both: Vec<usize> = cpus.into_iter().filter(|cpu| usable.contains(cpu)).collect();
    if both.is_empty() {
        return Err(io::Error::from_raw_os_error(libc::EPERM));
    }
    Ok(both)
}

/// The core on each processor; processors without one are dealt out in turn.
fn routes(cores: &[CorePlan], processors: usize) -> Vec<usize> {
    let mut dealt = 0;
    (0..processors)
        .map(|cpu| {
            let own = cores.iter().position(|core| core.home == cpu);
            own.unwrap_or_else(|| {
                dealt += 1;
                (dealt - 1) % cores.len()
            })
        })
        .collect()
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    fn machine() -> (tempfile::TempDir, Machine) {
        let root = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        put("proc/irq/7/smp_affinity_list", "2\n");
        put("proc/irq/8/smp_affinity_list", "1-2\n");
        put("proc/irq/9/smp_affinity_list", "7\n");
        put("node/online", "0-1\n");
        put("node/node0/cpulist", "0-1\n");
        put("node/node1/cpulist", "2-3\n");
        let machine = Machine {
            possible: 8,
            allowed: vec![0, 1, 2],
            proc: root.path().join("proc"),
            nodes: root.path().join("node"),
        };
        (root, machine)
    }

    fn pins(builder: &Builder) -> Vec<Vec<usize>> {
        let (_root, machine) = machine();
        let plan = plan(builder, &machine).unwrap();
        plan.cores.into_iter().map(|core| core.pin).collect()
    }

    fn refusal(builder: &Builder) -> String {
        let (_root, machine) = machine();
        let error = plan(builder, &machine).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        error.to_string()
    }

    #[test]
    fn e4_every_processor_that_is_allowed_has_a_core() {
        assert_eq!(pins(&Builder::new()), [[0], [1], [2]]);
        assert_eq!(pins(&Builder::new().core_count(4)), [[0], [1], [2], [0]]);
        assert_eq!(pins(&Builder::new().cores([5, 2])), [[5], [2]]);
        let none = pins(&Builder::new().affinity(Affinity::None));
        assert_eq!(none, [[0; 0], [0; 0], [0; 0]]);
        let map = Builder::new().affinity(Affinity::Map(vec![2, 2, 0]));
        assert_eq!(pins(&map), [[2], [2], [0]]);
    }

    #[test]
    fn e4_each_processor_leads_to_its_own_core_and_the_others_are_dealt_out() {
        let (_root, machine) = machine();
        let plan = plan(&Builder::new().cores([2, 5]), &machine).unwrap();
        assert_eq!(plan.routes, [0, 1, 0, 0, 1, 1, 0, 1]);
    }

    #[test]
    fn a6_what_no_thread_can_have_is_a_clear_error() {
        let absent = "processor 8: this machine has 0 to 7";
        assert!(refusal(&Builder::new().cores([8])).contains(absent));
        assert!(refusal(&Builder::new().affinity(Affinity::Map(vec![8]))).contains(absent));
        assert!(refusal(&Builder::new().cores([])).contains("0 cores"));
        assert!(refusal(&Builder::new().core_count(2000)).contains("2000 cores"));
        let short = Builder::new().core_count(2).affinity(Affinity::Map(vec![1]));
        assert!(refusal(&short).contains("name one for each"));
        assert!(refusal(&Builder::new().stack_bytes(1024)).contains("a stack of 1024 bytes"));
        assert!(refusal(&Builder::new().nice(20)).contains("niceness 20: choose -20 to 19"));
        for priority in [0, 100] {
            let wrong = refusal(&Builder::new().scheduling(Scheduling::Fifo(priority)));
            let told = format!("priority {priority} for SCHED_FIFO: choose 1 to 99");
            assert!(wrong.contains(&told), "{wrong}");
        }
        assert!(refusal(&Builder::new().mailbox(0)).contains("a mailbox of 0 messages"));
        for (slots, bytes) in [(0, 4096), (4, 0)] {
            let told = refusal(&Builder::new().registered_memory(slots, bytes));
            let cause =
                format!("registered memory of {slots} slots of {bytes} bytes: choose 1 or more of each");
            assert!(told.contains(&cause), "{told}");
        }
    }

    #[test]
    fn a11_a_worker_node_narrows_the_processors_and_one_out_of_range_is_a_clear_error() {
        assert_eq!(pins(&Builder::new().numa_node(0)), [[0], [1]]);
        assert_eq!(pins(&Builder::new().numa_node(1)), [[2]]);
        let absent = refusal(&Builder::new().numa_node(2));
        assert!(
            absent.contains("memory node 2: this machine has [0, 1]"),
            "{absent}"
        );
    }

    #[test]
    fn a11_a_node_of_which_no_processor_is_allowed_is_a_clear_error() {
        let (_root, mut machine) = machine();
        machine.allowed = vec![0];
        let error = plan(&Builder::new().numa_node(1), &machine).unwrap_err();
        assert!(error.to_string().contains("may use none of its processors"));
    }

    #[test]
    fn a16_workers_follow_the_interrupt_over_a_mask_of_several_processors() {
        let follow = |number| Builder::new().affinity(Affinity::Interrupt(number));
        assert_eq!(pins(&follow(7)), [[2]]);
        assert_eq!(pins(&follow(8)), [[1], [2]]);
        assert_eq!(pins(&follow(8).core_count(3)), [[1], [2], [1]]);
    }

    #[test]
    fn a16_without_the_file_workers_are_pinned_as_ever_and_the_plan_says_so() {
        let (_root, machine) = machine();
        for (number, errno) in [(99, libc::ENOENT), (9, libc::EPERM)] {
            let asked = Builder::new().affinity(Affinity::Interrupt(number));
            let plan = plan(&asked, &machine).unwrap();
            assert_eq!(plan.cores.len(), 3);
            let told: Vec<_> = plan
                .refusals
                .iter()
                .map(|r| (r.asked.as_str(), r.errno))
                .collect();
            let what = format!("the processors of interrupt {number}");
            assert_eq!(told, [(what.as_str(), errno)]);
        }
    }
}
