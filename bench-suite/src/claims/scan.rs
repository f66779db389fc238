//! Claims about rules: the scan of hashed prefixes alone, and a decision from the text of a path to its verdict.

use crate::{Claim, Contest, Invalid, Row, Task, Worker};
use std::collections::HashMap;
use std::hint::black_box;
use uring_core::permit::{Heads, Normal, Pattern, Rules, Search};

macro_rules! sizes {
    ($($scan:literal $decide:literal $rules:literal $over_scalar:literal),*) => {
        pub(super) const CLAIMS: &[Claim] = &[
            $(Claim {
                id: $scan,
                krate: "uring-core",
                what: concat!("first of ", $rules, " rules for a path whose prefixes are hashed, hits compared; half the paths match none"),
                unit: "CPU ns",
                cores: 1,
                run: |task| scan(task, $rules, $over_scalar),
            },)*
            $(Claim {
                id: $decide,
                krate: "uring-core",
                what: concat!("verdict of ", $rules, " rules on a path of 26 to 33 bytes as it came: normalised, hashed, scanned, compared"),
                unit: "CPU ns",
                cores: 1,
                run: |task| decide(task, $rules),
            },)*
        ];
    };
}
// How much faster than the scalar scan ours is to be.
sizes! {
    "scan.rules.4" "scan.decide.4" 4 1.0, "scan.rules.16" "scan.decide.16" 16 2.0,
    "scan.rules.64" "scan.decide.64" 64 4.0, "scan.rules.1024" "scan.decide.1024" 1024 4.0
}

/// Paths asked about: few enough that they and their hashes stay in the first cache, as a path just read does.
const ASKED: usize = 256;

/// Rules and paths: each rule a prefix of four components or a path of five, each path one that a rule matches or one that none does.
struct World {
    rules: Vec<(bool, String)>,
    paths: Vec<String>,
    /// The rule that decides, by path.
    expected: Vec<Option<usize>>,
}

impl World {
    fn new(count: usize) -> Self {
        let directory = |n: usize| format!("/srv/www/site{:03}/section{:02}", n * 7 % 997, n % 89);
        let rules: Vec<(bool, String)> = (0..count)
            .map(|n| match n % 2 {
                0 => (true, directory(n)),
                _ => (false, format!("{}/page", directory(n))),
            })
            .collect();
        let (mut paths, mut expected) = (Vec::new(), Vec::new());
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..ASKED {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let rule = (state >> 8) as usize % count;
            if state & 1 == 0 {
                paths.push(format!("{}/page", directory(rule)));
                expected.push(Some(rule));
            } else {
                paths.push(format!("{}/none", directory(rule + 5_000)));
                expected.push(None);
            }
        }
        Self {
            rules,
            paths,
            expected,
        }
    }

    fn compiled(&self, search: Search) -> Result<Rules, Invalid> {
        let rules = self.rules.iter().fold(Rules::builder(), |rules, (prefix, path)| {
            rules.allow(if *prefix {
                Pattern::prefix(path)
            } else {
                Pattern::exact(path)
            })
        });
        rules.build_by(search).map_err(|bad| Invalid(bad.to_string()))
    }
}

/// Asks about each path once, checked; then `n` times on the clock.
fn ask(
    worker: &mut Worker<'_>,
    world: &World,
    mut first: impl FnMut(usize) -> Option<usize>,
) -> Result<(), Invalid> {
    for (at, expected) in world.expected.iter().enumerate() {
        let got = first(at);
        if got != *expected {
            return Err(Invalid(format!(
                "{}: rule {got:?} instead of {expected:?}",
                world.paths[at]
            )));
        }
    }
    let number = |rule: Option<usize>| rule.map_or(0, |rule| rule + 1);
    let mut asked = 0;
    let sum = worker.measure(|n| {
        asked = n as usize;
        (0..asked).fold(0, |sum, at| sum + number(first(black_box(at % ASKED))))
    });
    let whole: usize = world.expected.iter().copied().map(number).sum();
    let rest = world.expected[..asked % ASKED].iter().copied().map(number);
    match asked / ASKED * whole + rest.sum::<usize>() {
        expected if expected == sum => Ok(()),
        expected => Err(Invalid(format!("rules added up to {sum} instead of {expected}"))),
    }
}

/// The scan alone: prefixes hashed beforehand.
fn hashed(worker: &mut Worker<'_>, world: &World, search: Search) -> Result<(), Invalid> {
    let rules = world.compiled(search)?;
    let paths: Vec<(Normal<'_>, Heads)> = world
        .paths
        .iter()
        .map(|path| {
            let path = Normal::of(path).map_err(|fault| Invalid(fault.to_string()))?;
            let heads = rules.heads(&path);
            Ok((path, heads))
        })
        .collect::<Result<_, Invalid>>()?;
    ask(worker, world, |at| {
        let (path, heads) = &paths[at];
        rules.decide_by(heads, path).rule
    })
}

fn whole(worker: &mut Worker<'_>, world: &World, search: Search) -> Result<(), Invalid> {
    let rules = world.compiled(search)?;
    ask(worker, world, |at| {
        let path = Normal::of(&world.paths[at]).ok()?;
        rules.decide(&path).rule
    })
}

/// Whether a rule matches, by comparing text.
fn matches(prefix: bool, pattern: &str, path: &[u8]) -> bool {
    match path.strip_prefix(pattern.as_bytes()) {
        Some([]) => true,
        Some([b'/', ..]) => prefix,
        _ => false,
    }
}

/// What the source document starts from: one rule after the other.
fn one_by_one(worker: &mut Worker<'_>, world: &World) -> Result<(), Invalid> {
    ask(worker, world, |at| {
        let path = Normal::of(&world.paths[at]).ok()?;
        let rules = &world.rules;
        rules
            .iter()
            .position(|(prefix, pattern)| matches(*prefix, pattern, path.as_bytes()))
    })
}

/// `HashMap` of std, asked for each prefix of the path.
fn by_prefix(worker: &mut Worker<'_>, world: &World) -> Result<(), Invalid> {
    let mut known: HashMap<&[u8], Vec<usize>> = HashMap::new();
    for (rule, (_, pattern)) in world.rules.iter().enumerate() {
        known.entry(pattern.as_bytes()).or_default().push(rule);
    }
    ask(worker, world, |at| {
        let path = Normal::of(&world.paths[at]).ok()?;
        let path = path.as_bytes();
        let ends = (1..=path.len()).filter(|&end| path.get(end).is_none_or(|&byte| byte == b'/'));
        let rules = ends.filter_map(|end| Some((end, known.get(&path[..end])?)));
        let hits = rules.filter_map(|(end, rules)| {
            rules
                .iter()
                .copied()
                .find(|&rule| world.rules[rule].0 || end == path.len())
        });
        hits.min()
    })
}

#[cfg(feature = "peers")]
fn globset(worker: &mut Worker<'_>, world: &World) -> Result<(), Invalid> {
    let mut set = globset::GlobSetBuilder::new();
    for (prefix, pattern) in &world.rules {
        let text = if *prefix {
            format!("{pattern}{{,/**}}")
        } else {
            pattern.clone()
        };
        let glob = globset::GlobBuilder::new(&text).literal_separator(true).build();
        set.add(glob.map_err(|bad| Invalid(bad.to_string()))?);
    }
    let set = set.build().map_err(|bad| Invalid(bad.to_string()))?;
    let mut hits = Vec::new();
    ask(worker, world, |at| {
        set.matches_into(&world.paths[at], &mut hits);
        hits.iter().copied().min()
    })
}

/// The ways that this processor has, by name; the first is what a table takes by itself.
const WAYS: [(&str, Search); 4] = [
    ("scalar", Search::Scalar),
    ("SSE2", Search::Sse2),
    ("AVX2", Search::Avx2),
    ("hash map, probed for each prefix", Search::Map),
];

fn scan(task: &Task<'_>, rules: usize, over_scalar: f64) -> Result<Row, Invalid> {
    let world = &World::new(rules);
    let mut contest = Contest::new(task);
    contest.ours("chosen by size and processor", 1, move |w| {
        hashed(w, world, Search::Auto)
    });
    contest.floor("the rule known, compared", 1, move |w| {
        ask(w, world, |at| {
            let rule = world.expected[at]?;
            let (prefix, pattern) = &world.rules[rule];
            matches(*prefix, pattern, world.paths[at].as_bytes()).then_some(rule)
        })
    });
    for (name, search) in WAYS {
        if search.is_available() {
            contest.peer(name, 1, move |w| hashed(w, world, search));
        }
    }
    contest
        .faster_than(over_scalar, "scalar")
        .at_most(1.05, "hash map, probed for each prefix");
    contest.run()
}

fn decide(task: &Task<'_>, rules: usize) -> Result<Row, Invalid> {
    let world = &World::new(rules);
    let mut contest = Contest::new(task);
    contest.ours("ours", 1, move |w| whole(w, world, Search::Auto));
    contest.floor("normalised and hashed", 1, move |w| {
        let rules = world.compiled(Search::Auto)?;
        ask(w, world, |at| {
            let path = Normal::of(&world.paths[at]).ok()?;
            black_box(rules.heads(&path));
            world.expected[at]
        })
    });
    contest.peer("ours, scalar", 1, move |w| whole(w, world, Search::Scalar));
    contest.peer("one rule after the other", 1, move |w| one_by_one(w, world));
    contest.peer("std HashMap, for each prefix", 1, move |w| by_prefix(w, world));
    #[cfg(feature = "peers")]
    contest.peer("globset", 1, move |w| globset(w, world));
    contest
        .faster_than(2.0, "std HashMap, for each prefix")
        .faster_than(2.0, "globset");
    if rules >= 64 {
        contest.at_most(1.0, "one rule after the other");
    }
    contest.run()
}
