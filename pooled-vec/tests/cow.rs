//! Copy-on-write images against plain vectors.
#![cfg(not(any(loom, shuttle)))]

use pooled_vec::{CowMemory, OutOfBounds, PAGE_BYTES};
use proptest::prelude::*;

const MIB: usize = 1 << 20;

fn whole(image: &CowMemory) -> Vec<u8> {
    let mut bytes = vec![0xee; image.len()];
    image.read(0, &mut bytes).unwrap();
    bytes
}

#[test]
fn c15_a_fork_copies_nothing_until_a_write() {
    let mut parent = CowMemory::new(MIB);
    parent.write(0, &vec![1; MIB]).unwrap();
    let child = parent.fork();
    assert_eq!(
        (child.pages().shared, child.pages().own, child.pages().copied),
        (256, 0, 0)
    );
    assert_eq!(whole(&child), whole(&parent));
}

#[test]
fn c15_a_write_by_either_side_copies_one_page_and_the_other_keeps_its_own() {
    for parent_writes in [true, false] {
        let mut parent = CowMemory::new(MIB);
        parent.write(0, &vec![1; MIB]).unwrap();
        let mut child = parent.fork();
        let (writer, other) = if parent_writes {
            (&mut parent, &mut child)
        } else {
            (&mut child, &mut parent)
        };
        writer.write(3 * PAGE_BYTES + 7, &[2]).unwrap();
        assert_eq!((writer.pages().own, writer.pages().copied), (1, 1));
        assert_eq!(whole(other), vec![1; MIB]);
        let mut expected = vec![1; MIB];
        expected[3 * PAGE_BYTES + 7] = 2;
        assert_eq!(whole(writer), expected);
        other.write(3 * PAGE_BYTES, &[3]).unwrap();
        assert_eq!(
            other.pages().copied,
            0,
            "the last holder of a page writes in place"
        );
    }
}

#[test]
fn c15_an_image_alone_copies_nothing() {
    let mut image = CowMemory::new(MIB);
    image.write(0, &[1; 9000]).unwrap();
    drop(image.fork());
    image.write(0, &[2; 9000]).unwrap();
    assert_eq!(image.pages().copied, 0);
    assert_eq!((image.pages().own, image.pages().absent), (3, 253));
}

#[test]
fn c15_a_page_overwritten_whole_is_not_copied_first_and_others_keep_theirs() {
    let mut parent = CowMemory::new(2 * PAGE_BYTES);
    parent.write(0, &[1; 2 * PAGE_BYTES]).unwrap();
    let mut child = parent.fork();
    child.write(PAGE_BYTES, &[2; PAGE_BYTES]).unwrap();
    assert_eq!(whole(&parent), [1; 2 * PAGE_BYTES]);
    assert_eq!((child.pages().own, child.pages().shared), (1, 1));
}

#[test]
fn ranges_outside_are_errors_that_touch_nothing() {
    let mut image = CowMemory::new(5000);
    for (offset, len) in [(5001, 0), (5000, 1), (4999, 2), (usize::MAX, 1), (0, 5001)] {
        let error = OutOfBounds {
            offset,
            len,
            size: 5000,
        };
        assert_eq!(image.write(offset, &vec![9; len]), Err(error));
        assert_eq!(image.read(offset, &mut vec![9; len]), Err(error));
    }
    assert_eq!(image.write(5000, &[]), Ok(()));
    assert_eq!(whole(&image), vec![0; 5000]);
    assert!(CowMemory::new(0).is_empty());
}

#[test]
fn c15_readers_on_other_threads_see_their_image_while_others_write() {
    let mut parent = CowMemory::new(MIB);
    parent.write(0, &vec![1; MIB]).unwrap();
    std::thread::scope(|s| {
        for thread in 2..6u8 {
            let mut image = parent.fork();
            s.spawn(move || {
                let mut expected = vec![1; MIB];
                for round in 0..200usize {
                    let at = (round * 7919 * usize::from(thread)) % (MIB - 100);
                    image.write(at, &[thread; 100]).unwrap();
                    expected[at..at + 100].fill(thread);
                    if round % 50 == 0 {
                        let child = image.fork();
                        assert!(whole(&child) == expected);
                    }
                }
                assert!(whole(&image) == expected);
            });
        }
        for _ in 0..2 {
            let parent = &parent;
            s.spawn(move || (0..10).for_each(|_| assert!(whole(parent).iter().all(|&b| b == 1))));
        }
    });
    assert_eq!(parent.pages().own, 256, "every fork is gone");
}

#[derive(Clone, Debug)]
enum Step {
    Write {
        image: usize,
        at: usize,
        len: usize,
        value: u8,
    },
    Fork {
        image: usize,
    },
    Drop {
        image: usize,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (any::<usize>(), 0..300_000usize, 0..10_000usize, any::<u8>())
            .prop_map(|(image, at, len, value)| Step::Write { image, at, len, value }),
        2 => any::<usize>().prop_map(|image| Step::Fork { image }),
        1 => any::<usize>().prop_map(|image| Step::Drop { image }),
    ];
    proptest::collection::vec(step, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn c15_any_history_reads_as_vectors_do(steps in steps()) {
        const SIZE: usize = 300_000; // Two leaves, the second not whole.
        let mut images = vec![(CowMemory::new(SIZE), vec![0u8; SIZE])];
        for step in steps {
            match step {
                Step::Write { image, at, len, value } => {
                    let count = images.len();
                    let (image, oracle) = &mut images[image % count];
                    let bytes = vec![value; len];
                    match oracle.get_mut(at..at + len) {
                        Some(part) => {
                            part.copy_from_slice(&bytes);
                            image.write(at, &bytes).unwrap();
                        }
                        None => prop_assert!(image.write(at, &bytes).is_err()),
                    }
                }
                Step::Fork { image } => {
                    let (image, oracle) = &images[image % images.len()];
                    let forked = (image.fork(), oracle.clone());
                    images.push(forked);
                }
                Step::Drop { image } if images.len() > 1 => {
                    let at = image % images.len();
                    images.swap_remove(at);
                }
                Step::Drop { .. } => {}
            }
        }
        for (image, oracle) in &images {
            prop_assert!(&whole(image) == oracle);
            let pages = image.pages();
            prop_assert_eq!(pages.own + pages.shared + pages.absent, SIZE.div_ceil(PAGE_BYTES));
        }
        if let [(image, _)] = &images[..] {
            prop_assert_eq!(image.pages().shared, 0, "alone: nothing is shared");
        }
    }
}

/// Proportional set size of this process, in bytes.
#[cfg(target_os = "linux")]
fn pss() -> Option<usize> {
    let text = std::fs::read_to_string("/proc/self/smaps_rollup").ok()?;
    let line = text.lines().find(|line| line.starts_with("Pss:"))?;
    line.split_whitespace()
        .nth(1)?
        .parse::<usize>()
        .ok()
        .map(|kib| kib * 1024)
}

/// Sixteen images, one page in twenty written in each: at most a fifth of sixteen copies, by the kernel's own count.
#[test]
#[cfg(target_os = "linux")]
fn c15_similar_images_save_four_fifths_of_their_memory() {
    const IMAGE: usize = 8 * MIB;
    let Some(before) = pss() else {
        println!("NOTICE: no /proc/self/smaps_rollup here");
        return;
    };
    let mut parent = CowMemory::new(IMAGE);
    parent.write(0, &vec![1; IMAGE]).unwrap();
    let mut images: Vec<_> = (0..15).map(|_| parent.fork()).collect();
    for (n, image) in images.iter_mut().enumerate() {
        for page in (n..IMAGE / PAGE_BYTES).step_by(20) {
            image.write(page * PAGE_BYTES + 11, &[2]).unwrap();
        }
    }
    let taken = pss().unwrap().saturating_sub(before);
    assert!(
        taken <= 16 * IMAGE / 5,
        "{taken} bytes for sixteen images of {IMAGE}"
    );
    assert_eq!(images[0].pages().own, IMAGE.div_ceil(PAGE_BYTES * 20));
}
