//! What the public interface asks of its users.
#![cfg(not(any(loom, shuttle)))]

use std::path::{Path, PathBuf};

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

/// Lines of a source that begin with one of these words, with the file's place below `src`.
fn lines_with(begin: &[&str]) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    assert!(files.len() > 30, "the sources are there");
    let mut found = Vec::new();
    for file in files {
        let place = file.strip_prefix(&root).unwrap().to_str().unwrap().to_string();
        let text = std::fs::read_to_string(&file).unwrap();
        let lines = text.lines().map(str::trim_start);
        let wanted = lines.filter(|line| begin.iter().any(|begin| line.starts_with(begin)));
        found.extend(wanted.map(|line| (place.clone(), line.to_string())));
    }
    found.sort();
    found
}

/// `pub unsafe fn` anywhere, so that one in a private module counts too.
#[test]
fn d5_the_one_unsafe_function_of_the_interface_is_the_escape_hatch() {
    let begin = ["pub unsafe fn", "pub const unsafe fn", "pub unsafe extern"];
    let found = lines_with(&begin);
    let [(place, line)] = &found[..] else {
        panic!("one escape hatch, and no other: {found:?}");
    };
    assert_eq!(place, "op/raw.rs");
    assert!(line.starts_with("pub unsafe fn new("), "{line}");
}

/// Traits that are unsafe to implement: two that users may, and two that this crate keeps to itself.
#[test]
fn d5_only_the_traits_of_buffers_are_unsafe_to_implement() {
    let found = lines_with(&["pub unsafe trait"]);
    let names: Vec<&str> = found
        .iter()
        .map(|(_, line)| {
            line["pub unsafe trait ".len()..]
                .split(|c: char| !c.is_alphanumeric())
                .next()
                .unwrap()
        })
        .collect();
    assert_eq!(names, ["IoBuf", "IoBufMut", "Multishot", "Operation"]);
}

/// The buffers that users have, each as the trait that it has.
#[test]
fn d5_every_buffer_that_users_have_is_one() {
    use uring_core::buffer::{IoBuf, IoBufMut, Lease, Slice};
    fn read_from<B: IoBuf>() {}
    fn written_to<B: IoBufMut>() {}
    read_from::<&'static [u8]>();
    read_from::<&'static str>();
    read_from::<std::sync::Arc<[u8]>>();
    read_from::<Lease>();
    written_to::<Vec<u8>>();
    written_to::<Box<[u8]>>();
    written_to::<pooled_vec::PooledVec>();
    written_to::<pooled_vec::AlignedBuf>();
    written_to::<pooled_vec::SlabBuf>();
    written_to::<uring_core::buffer::FixedBuf>();
    read_from::<Slice<&'static [u8]>>();
    written_to::<Slice<Vec<u8>>>();
    written_to::<Slice<pooled_vec::PooledVec>>();
    written_to::<Slice<pooled_vec::AlignedBuf>>();
    #[cfg(feature = "bytes")]
    {
        read_from::<bytes::Bytes>();
        written_to::<bytes::BytesMut>();
        read_from::<Slice<bytes::Bytes>>();
    }
}

/// A growable buffer is as long as what was read, a shared one goes out as it is.
#[cfg(feature = "bytes")]
#[test]
fn d7_bytes_go_out_and_come_in() {
    use std::sync::Arc;
    use std::time::Duration;
    use uring_core::{
        LocalRing,
        op::{Read, Write},
    };
    let ring = LocalRing::new().unwrap();
    let file = Arc::new(tempfile::tempfile().unwrap());
    let text = bytes::Bytes::from_static(b"shared text");
    let done = |token| ring.finish(token, Duration::from_secs(10)).unwrap();
    let token = ring
        .submit(Write::new(Arc::clone(&file), text.slice(7..)).at(0))
        .unwrap();
    assert_eq!(done(token).0, Ok(4));
    let token = ring
        .submit(Read::new(file, bytes::BytesMut::with_capacity(64)).at(0))
        .unwrap();
    let (read, buf) = ring.finish(token, Duration::from_secs(10)).unwrap();
    assert_eq!((read, &buf[..]), (Ok(4), &b"text"[..]));
}
