//! Pooled memory in the hands of `bytes`, and secrets in the pool's.
#![cfg(not(any(loom, shuttle)))]

#[cfg(feature = "bytes")]
mod buffers {
    use bytes::{Buf, BufMut, Bytes};
    use pooled_vec::{Pool, PooledVec};

    #[test]
    fn frozen_memory_returns_to_the_pool_on_the_last_drop_wherever_it_is() {
        let pool = Pool::default();
        let mut buffer = pool.get();
        buffer.extend_from_slice(b"0123456789");
        let address = buffer.as_ptr();
        let whole = buffer.freeze();
        let parts: Vec<Bytes> = (0..10).map(|at| whole.slice(at..=at)).collect();
        drop(whole);
        std::thread::spawn(move || {
            for (at, part) in parts.iter().enumerate() {
                assert_eq!(&part[..], [b'0' + at as u8]);
            }
        })
        .join()
        .unwrap();
        let back = pool.get();
        assert_eq!((back.as_ptr(), pool.stats().allocations), (address, 1));
        assert!(back.is_empty());
    }

    #[test]
    fn frozen_bytes_outlive_their_pool() {
        let pool = Pool::default();
        let mut buffer = pool.get();
        buffer.push(5);
        let frozen = buffer.freeze();
        drop(pool);
        assert_eq!(&frozen[..], [5]);
        assert!(PooledVec::default().freeze().is_empty());
    }

    #[test]
    fn buf_mut_appends_beyond_the_first_capacity() {
        fn fill(mut out: impl BufMut) {
            for n in 0..3000u32 {
                out.put_u32(n);
            }
        }
        let mut buffer = PooledVec::new();
        fill(&mut buffer);
        assert_eq!(buffer.len(), 12_000);
        for n in 0..1000u32 {
            assert_eq!(buffer.get_u32(), n);
        }
        assert_eq!(buffer.remaining(), 8_000);
        let mut left = buffer.into_buf();
        for n in 1000..3000u32 {
            assert_eq!(left.get_u32(), n);
        }
        assert!(!left.has_remaining());
        assert_eq!(left.into_inner().len(), 8_000);
    }

    #[test]
    #[should_panic(expected = "cannot advance by 2: 1 bytes are left")]
    fn advancing_past_the_end_panics() {
        PooledVec::from(&b"x"[..]).into_buf().advance(2);
    }
}

#[cfg(feature = "zeroize")]
mod secrets {
    use pooled_vec::{Pool, PoolConfig, SecretVec};
    use std::alloc::{GlobalAlloc, Layout, System};
    use std::io::Write;
    use std::mem::MaybeUninit;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use zeroize::Zeroize;

    const SECRET: u8 = 0xd7;
    const RUN: usize = 48;

    /// Counts freed blocks in which a run of the secret is still to be read.
    struct Witness;
    static LEAKS: AtomicUsize = AtomicUsize::new(0);
    static LOOKED_AT: AtomicUsize = AtomicUsize::new(0);

    fn look(at: *const u8, len: usize) {
        let (mut run, mut leaked) = (0, false);
        for i in 0..len {
            // SAFETY: within the block; volatile, since the block may never have been written.
            run = if unsafe { at.add(i).read_volatile() } == SECRET {
                run + 1
            } else {
                0
            };
            leaked |= run >= RUN;
        }
        LOOKED_AT.fetch_add(1, Ordering::Relaxed);
        LEAKS.fetch_add(usize::from(leaked), Ordering::Relaxed);
    }

    // SAFETY: the system's allocator, looked at.
    unsafe impl GlobalAlloc for Witness {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            // SAFETY: passed on; zeroed, so that looking at it later reads nothing uninitialised.
            unsafe { System.alloc_zeroed(layout) }
        }

        unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
            look(at, layout.size());
            // SAFETY: passed on.
            unsafe { System.dealloc(at, layout) }
        }
        // `realloc` is the default one: alloc, copy, dealloc of the old block, which is looked at.
    }

    #[global_allocator]
    static WITNESS: Witness = Witness;

    /// One test: the counts are the process's.
    #[test]
    fn c4_no_freed_or_pooled_block_holds_a_secret() {
        // A plain vector that grows leaves its old block behind: the witness must see that, or it sees nothing.
        let mut plain = vec![SECRET; 512];
        plain.reserve_exact(100_000);
        plain.zeroize();
        drop(plain);
        assert_eq!(LEAKS.swap(0, Ordering::Relaxed), 1, "the witness works");

        // Everything freed: growth through every class and beyond, spare capacity, truncation.
        let pool = Pool::new(PoolConfig::new().idle_bytes_max(0));
        let mut secret = pool.secret(100);
        for _ in 0..3000 {
            secret.extend_from_slice(&[SECRET; 50]);
        }
        assert!(secret.capacity() >= 150_000 && secret.iter().all(|&b| b == SECRET));
        secret.write_all(&[SECRET; 1000]).unwrap();
        secret.push(SECRET);
        secret.truncate(100);
        drop(secret);
        let mut spare = pool.secret(4096);
        spare.extend_from_slice(&[SECRET; 4096]);
        let mut buffer = SecretVec::new();
        std::mem::swap(&mut spare, &mut buffer);
        drop((spare, buffer));
        // Unwinding counts as well.
        let unwound = std::panic::catch_unwind(|| {
            let mut secret = SecretVec::with_capacity(70_000);
            secret.extend_from_slice(&[SECRET; 70_000]);
            panic!("in the middle of it");
        });
        assert!(unwound.is_err());
        assert_eq!(LEAKS.load(Ordering::Relaxed), 0);
        assert!(LOOKED_AT.load(Ordering::Relaxed) > 5);

        // Everything kept: the next user of the memory finds zeros and the pool's own links.
        let pool = Pool::default();
        let mut secret = pool.secret(512);
        secret.extend_from_slice(&[SECRET; 512]);
        secret.extend_from_slice(&[SECRET; 512]); // The old block of 512 went to the pool.
        let mut zeroed = SecretVec::default();
        zeroed.zeroize();
        drop(secret);
        for bytes in [512, 4096] {
            let mut next = pool.with_capacity(bytes);
            // SAFETY: the witness zeroes what it allocates, so every byte was written.
            let read = |byte: &mut MaybeUninit<u8>| unsafe { byte.assume_init_read() };
            assert!(
                !next
                    .spare_capacity_mut()
                    .iter_mut()
                    .any(|byte| read(byte) == SECRET),
                "the next user of {bytes} bytes reads a secret"
            );
        }
        assert_eq!(
            pool.stats().allocations,
            1,
            "the growth went through the pool, which counts its own calls"
        );
    }
}
