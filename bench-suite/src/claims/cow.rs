//! The claim about copy-on-write pages.

use crate::alone::in_fresh_process;
use crate::{Claim, Invalid, Row, Task};
use pooled_vec::{CowMemory, PAGE_BYTES};

pub(super) const CLAIMS: &[Claim] = &[Claim {
    id: "cow.save",
    krate: "pooled-vec",
    what: "memory (PSS) of 16 images of 32 MiB, 5 % of the pages of each written, against 16 copies",
    unit: "of 16 copies",
    cores: 1,
    run: cow,
}];

/// Proportional set size of this process, in bytes, as the kernel counts it.
fn pss() -> Result<u64, Invalid> {
    let text = std::fs::read_to_string("/proc/self/smaps_rollup")?;
    text.lines()
        .find_map(|line| {
            line.strip_prefix("Pss:")?
                .split_whitespace()
                .next()?
                .parse::<u64>()
                .ok()
        })
        .map(|kib| kib * 1024)
        .ok_or_else(|| Invalid("smaps_rollup has no Pss".into()))
}

const IMAGES: u64 = 16;
const IMAGE_BYTES: usize = 32 << 20;

/// Memory that other claims freed would be used again and not show: the images are made in a process of their own.
fn cow(task: &Task<'_>) -> Result<Row, Invalid> {
    let figures = in_fresh_process(task.claim.id)?;
    let [one, all] = figures[..] else {
        return Err(Invalid(format!("two figures were expected, not {figures:?}")));
    };
    if (one as usize) < IMAGE_BYTES {
        return Err(Invalid(format!("one image of {IMAGE_BYTES} bytes took {one}")));
    }
    let note = format!("one image {} MiB, sixteen {} MiB", one >> 20, all >> 20);
    Ok(Row::absolute(
        task.claim,
        all as f64 / (IMAGES * one) as f64,
        0.2,
        note,
    ))
}

/// Makes the images; bytes that one takes, and all together.
pub(crate) fn images() -> Result<Vec<u64>, Invalid> {
    let before = pss()?;
    let mut parent = CowMemory::new(IMAGE_BYTES);
    let page = [1; PAGE_BYTES];
    for at in (0..IMAGE_BYTES).step_by(PAGE_BYTES) {
        parent
            .write(at, &page)
            .map_err(|error| Invalid(error.to_string()))?;
    }
    let one = pss()?.saturating_sub(before);
    let mut images = vec![parent];
    for n in 1..IMAGES as usize {
        let image = images[0].fork();
        images.push(image);
        let pages = IMAGE_BYTES / PAGE_BYTES;
        for page in (n % 20..pages).step_by(20) {
            let written = images[n].write(page * PAGE_BYTES + 100, &[n as u8]);
            written.map_err(|error| Invalid(error.to_string()))?;
        }
    }
    let all = pss()?.saturating_sub(before);
    for (n, image) in images.iter().enumerate().skip(1) {
        let mut seen = [0; 2];
        let at = (n % 20) * PAGE_BYTES + 100;
        image
            .read(at, &mut seen)
            .map_err(|error| Invalid(error.to_string()))?;
        if seen != [n as u8, 1] {
            return Err(Invalid(format!("image {n} reads {seen:?}")));
        }
    }
    Ok(vec![one, all])
}
