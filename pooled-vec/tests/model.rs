//! A pooled vector is a `Vec<u8>`, whatever happened to its memory before.
#![cfg(not(any(loom, shuttle)))]

use pooled_vec::{Pool, PoolConfig, PooledVec};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Get { bytes: usize },
    Extend { which: usize, len: usize, value: u8 },
    Push { which: usize, value: u8 },
    Truncate { which: usize, len: usize },
    Shrink { which: usize },
    Clear { which: usize },
    Split { which: usize, at: usize },
    Take { which: usize },
    Swap { which: usize, len: usize },
    Drop { which: usize },
    DropElsewhere { which: usize },
    Trim,
    Flush,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let which = any::<usize>();
    let step = prop_oneof![
        4 => (0..1500usize).prop_map(|bytes| Step::Get { bytes }),
        4 => (which, 0..700usize, any::<u8>()).prop_map(|(which, len, value)| Step::Extend { which, len, value }),
        2 => (which, any::<u8>()).prop_map(|(which, value)| Step::Push { which, value }),
        1 => (which, 0..700usize).prop_map(|(which, len)| Step::Truncate { which, len }),
        1 => which.prop_map(|which| Step::Shrink { which }),
        1 => which.prop_map(|which| Step::Clear { which }),
        1 => (which, 0..700usize).prop_map(|(which, at)| Step::Split { which, at }),
        1 => which.prop_map(|which| Step::Take { which }),
        1 => (which, 0..3000usize).prop_map(|(which, len)| Step::Swap { which, len }),
        4 => which.prop_map(|which| Step::Drop { which }),
        1 => which.prop_map(|which| Step::DropElsewhere { which }),
        1 => Just(Step::Trim),
        1 => Just(Step::Flush),
    ];
    proptest::collection::vec(step, 1..120)
}

/// Applies one step to both, and says which pair it touched.
fn apply(pool: &Pool, live: &mut Vec<(PooledVec, Vec<u8>)>, step: Step) {
    let count = live.len();
    let pick = |which: usize| which % count.max(1);
    match step {
        Step::Get { bytes } => {
            let buffer = pool.with_capacity(bytes);
            assert!(buffer.is_empty() && buffer.capacity() >= bytes);
            live.push((buffer, Vec::new()));
        }
        Step::Trim => pool.trim(),
        Step::Flush => pool.flush(),
        _ if count == 0 => {}
        Step::Extend { which, len, value } => {
            let (ours, oracle) = &mut live[pick(which)];
            ours.extend_from_slice(&vec![value; len]);
            oracle.extend_from_slice(&vec![value; len]);
        }
        Step::Push { which, value } => {
            let (ours, oracle) = &mut live[pick(which)];
            ours.push(value);
            oracle.push(value);
        }
        Step::Truncate { which, len } => {
            let (ours, oracle) = &mut live[pick(which)];
            ours.truncate(len);
            oracle.truncate(len);
        }
        Step::Shrink { which } => live[pick(which)].0.shrink_to_fit(),
        Step::Clear { which } => {
            let (ours, oracle) = &mut live[pick(which)];
            ours.clear();
            oracle.clear();
        }
        Step::Split { which, at } => {
            let (ours, oracle) = &mut live[pick(which)];
            let at = at.min(ours.len());
            assert_eq!(ours.split_off(at), oracle.split_off(at));
        }
        Step::Take { which } => {
            let (ours, oracle) = &mut live[pick(which)];
            assert_eq!(std::mem::take(ours).into_vec(), std::mem::take(oracle));
        }
        Step::Swap { which, len } => {
            let (ours, oracle) = &mut live[pick(which)];
            **ours = vec![9; len];
            *oracle = vec![9; len];
        }
        Step::Drop { which } => drop(live.swap_remove(pick(which))),
        Step::DropElsewhere { which } => {
            let pair = live.swap_remove(pick(which));
            std::thread::spawn(move || drop(pair)).join().unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn any_history_of_pooled_vectors_is_one_of_vectors(steps in steps(), limit in 0..20_000usize, dies in 0..120usize) {
        let config = PoolConfig::new()
            .classes(&[64, 300, 1024])
            .first_capacity(300)
            .kept_bytes_max(2048)
            .per_thread(4)
            .idle_bytes_max(limit);
        let mut pool = Pool::new(config);
        let mut live = Vec::new();
        for (at, step) in steps.into_iter().enumerate() {
            if at == dies {
                pool = Pool::new(config); // The buffers that live go on without their pool.
            }
            apply(&pool, &mut live, step);
            for (ours, oracle) in &live {
                prop_assert_eq!(&**ours, oracle);
            }
            prop_assert!(pool.stats().idle_bytes <= limit);
        }
        drop(live);
        pool.trim();
        prop_assert_eq!(pool.stats().idle_bytes, 0);
    }
}
