//! What the documents allocate: result buffers, error texts.

use crate::{Contest, Invalid, Row, Task, Worker, allocations_on_this_thread};
use inline_error::InlineString;
use pooled_vec::Pool;
use std::ffi::CStr;
use std::hint::black_box;

/// Sizes of results, most of them small, one in 32 over the 64 KiB that a pool may keep.
fn size(n: u64) -> usize {
    const SIZES: [usize; 32] = {
        let mut sizes = [4096; 32];
        let mut at = 0;
        while at < 12 {
            sizes[at] = 512;
            at += 1;
        }
        sizes[24] = 16 << 10;
        sizes[28] = 64 << 10;
        sizes[31] = 128 << 10;
        sizes
    };
    SIZES[(n.wrapping_mul(0x9E37_79B9) >> 7) as usize % 32]
}

/// The document's pool: sixteen vectors a thread, none above 64 KiB, found without regard to size.
mod result_pool {
    use std::cell::RefCell;

    thread_local! {
        static POOL: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
    }

    pub(super) fn with<R>(bytes: usize, use_it: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        let pooled = POOL.with(|pool| pool.borrow_mut().pop());
        let mut vector = pooled.unwrap_or_else(|| Vec::with_capacity(4096));
        vector.reserve(bytes);
        let result = use_it(&mut vector);
        vector.clear();
        if vector.capacity() <= 64 * 1024 {
            POOL.with(|pool| {
                let mut pool = pool.borrow_mut();
                if pool.len() < 16 {
                    pool.push(vector);
                }
            });
        }
        result
    }
}

const FILL: [u8; 256] = [7; 256];

fn fill(vector: &mut Vec<u8>) -> u64 {
    vector.extend_from_slice(black_box(&FILL));
    u64::from(black_box(vector.as_slice())[255])
}

fn ours(bytes: usize) -> u64 {
    let mut buffer = Pool::global().with_capacity(bytes);
    buffer.extend_from_slice(black_box(&FILL));
    u64::from(black_box(buffer.as_slice())[255])
}

fn plain(bytes: usize) -> u64 {
    fill(&mut Vec::with_capacity(bytes))
}

fn theirs(bytes: usize) -> u64 {
    result_pool::with(bytes, fill)
}

fn results(w: &mut Worker<'_>, make: fn(usize) -> u64) -> Result<(), Invalid> {
    let sum = w.measure(|n| (0..n).fold(0u64, |sum, i| sum + make(size(i))));
    if sum == 7 * w.ops() {
        return Ok(());
    }
    Err(Invalid(format!("the last bytes added up to {sum}")))
}

fn counted(w: &mut Worker<'_>, make: fn(usize) -> u64) -> Result<(), Invalid> {
    // A first lap fills the pool: what the document speaks of is the steady state.
    (0..32).for_each(|n| {
        black_box(make(size(n)));
    });
    let before = allocations_on_this_thread();
    results(w, make)?;
    let calls = allocations_on_this_thread() - before;
    w.report(calls as f64 / w.ops() as f64);
    Ok(())
}

pub(super) fn calls(task: &Task<'_>) -> Result<Row, Invalid> {
    let mut contest = Contest::new(task);
    contest.fixed_ops(32 * 256);
    contest.ours("PooledVec", 1, |w| counted(w, ours));
    contest.peer("Vec", 1, |w| counted(w, plain));
    contest.peer("the document's pool", 1, |w| counted(w, theirs));
    contest.at_most(0.5, "Vec");
    contest.run()
}

pub(super) fn time(task: &Task<'_>) -> Result<Row, Invalid> {
    let mut contest = Contest::new(task);
    contest.ours("PooledVec", 1, |w| results(w, ours));
    contest.peer("Vec", 1, |w| results(w, plain));
    contest.peer("the document's pool", 1, |w| results(w, theirs));
    contest.at_most(0.95, "Vec");
    contest.run()
}

pub(super) fn short_string(task: &Task<'_>) -> Result<Row, Invalid> {
    const TEXT: &str = "Not found";
    // Each text is looked at where it lies: a copy of fresh bytes would be charged for its stall.
    let repeat = |w: &mut Worker<'_>, make: fn(&str) -> usize| {
        let sum = w.measure(|n| (0..n).fold(0usize, |sum, _| sum + make(black_box(TEXT))));
        if sum == TEXT.len() * w.ops() as usize {
            return Ok(());
        }
        Err(Invalid(format!("lengths added up to {sum}")))
    };
    let mut contest = Contest::new(task);
    contest.ours("InlineString", 1, |w| {
        repeat(w, |text| {
            black_box(&InlineString::<23>::copy_of(text))
                .as_ref()
                .map_or(0, |s| s.len())
        })
    });
    contest.peer("String", 1, |w| {
        repeat(w, |text| black_box(&String::from(text)).len())
    });
    #[cfg(feature = "peers")]
    contest.peer("compact_str", 1, |w| {
        repeat(w, |text| black_box(&compact_str::CompactString::from(text)).len())
    });
    contest.faster_than(23.0 / 8.0, "String");
    contest.note("the document's smartstring is unmaintained and was not measured");
    contest.run()
}

/// Every text that the C library has for an error number of the kernel's.
fn error_texts() -> Vec<String> {
    let text = |number: i32| {
        let mut bytes = [0u8; 256];
        // SAFETY: writes at most the length given, ended by a zero byte.
        let rc = unsafe { libc::strerror_r(number, bytes.as_mut_ptr().cast(), bytes.len()) };
        let text = CStr::from_bytes_until_nul(&bytes).ok()?.to_str().ok()?;
        (rc == 0 && !text.starts_with("Unknown")).then(|| text.to_owned())
    };
    (1..134).filter_map(text).collect()
}

pub(super) fn texts(task: &Task<'_>, bytes: usize, at_most: f64) -> Result<Row, Invalid> {
    let texts = error_texts();
    if texts.len() < 100 {
        return Err(Invalid(format!("only {} error texts were found", texts.len())));
    }
    let long = texts.iter().filter(|text| text.len() > bytes).count();
    let note = format!("{long} of {} texts are longer", texts.len());
    Ok(Row::absolute(
        task.claim,
        long as f64 / texts.len() as f64,
        at_most,
        note,
    ))
}

#[cfg(feature = "peers")]
fn blocks(w: &mut Worker<'_>, from: &impl std::alloc::GlobalAlloc) -> Result<(), Invalid> {
    use std::alloc::Layout;
    const KEPT: usize = 64;
    let layout = |n: u64| {
        let bytes = 64usize << ((n.wrapping_mul(0x9E37_79B9) >> 11) % 9);
        Layout::from_size_align(bytes, 8).unwrap_or(Layout::new::<[u64; 8]>())
    };
    let mut kept: Vec<Option<(*mut u8, Layout)>> = vec![None; KEPT];
    let give = |(block, layout)| {
        // SAFETY: allocated below with this layout, by this allocator.
        unsafe { from.dealloc(block, layout) }
    };
    w.measure(|n| {
        for i in 0..n {
            let layout = layout(i);
            // SAFETY: no layout is empty.
            let block = unsafe { from.alloc(layout) };
            assert!(!block.is_null(), "out of memory");
            // SAFETY: at least 64 bytes of our own.
            unsafe { block.write(1) };
            if let Some(old) = kept[i as usize % KEPT].replace((block, layout)) {
                give(old);
            }
        }
    });
    kept.into_iter().flatten().for_each(give);
    Ok(())
}

pub(super) fn allocator(task: &Task<'_>) -> Result<Row, Invalid> {
    let mut contest = Contest::new(task);
    #[cfg(feature = "peers")]
    {
        contest.ours("mimalloc", 1, |w| blocks(w, &mimalloc::MiMalloc));
        contest.peer("glibc", 1, |w| blocks(w, &std::alloc::System));
        contest.peer("jemalloc", 1, |w| blocks(w, &tikv_jemallocator::Jemalloc));
    }
    contest.at_most(0.9, "glibc");
    contest.note("64 blocks live at once; what it is worth to a whole program: uring-cli's README");
    contest.run()
}
