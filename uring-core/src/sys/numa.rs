//! Nodes of memory, and which processors are near each.

use super::affinity::parse_list;
use std::io;
use std::path::Path;

/// Where the kernel tells.
pub(crate) const SYSFS: &str = "/sys/devices/system/node";

/// Processors of a node; `None` where there is no such node. Where the kernel tells of no nodes at all, node 0 is the
/// whole machine.
pub(crate) fn processors(sysfs: &Path, node: usize) -> Option<Vec<usize>> {
    match std::fs::read_to_string(sysfs.join(format!("node{node}/cpulist"))) {
        Ok(list) => parse_list(&list),
        Err(_) if node == 0 && !sysfs.exists() => Some((0..super::affinity::possible()).collect()),
        Err(_) => None,
    }
}

/// Numbers of the nodes that have memory or processors, as the kernel lists them: at least node 0.
pub(crate) fn nodes(sysfs: &Path) -> Vec<usize> {
    let told = std::fs::read_to_string(sysfs.join("online")).ok();
    told.and_then(|text| parse_list(&text))
        .filter(|nodes| !nodes.is_empty())
        .unwrap_or_else(|| vec![0])
}

/// Has what the calling thread touches first come from a node where that has room.
pub(crate) fn prefer(node: usize) -> io::Result<()> {
    const PREFERRED: i32 = 1;
    const BITS: usize = u64::BITS as usize;
    let mut mask = [0u64; 16];
    let Some(word) = mask.get_mut(node / BITS) else {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    };
    *word = 1 << (node % BITS);
    // SAFETY: reads as many bits as the mask has.
    let done = unsafe {
        libc::syscall(
            libc::SYS_set_mempolicy,
            PREFERRED,
            mask.as_ptr(),
            mask.len() * BITS,
        )
    };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn a11_nodes_are_read_and_one_that_is_not_there_has_no_processors() {
        let sysfs = tempfile::tempdir().unwrap();
        for (node, list) in [(0, "0-1\n"), (1, "2,3\n")] {
            let dir = sysfs.path().join(format!("node{node}"));
            std::fs::create_dir(&dir).unwrap();
            std::fs::write(dir.join("cpulist"), list).unwrap();
        }
        std::fs::write(sysfs.path().join("online"), "0-1\n").unwrap();
        assert_eq!(nodes(sysfs.path()), [0, 1]);
        assert_eq!(processors(sysfs.path(), 1), Some(vec![2, 3]));
        assert_eq!(processors(sysfs.path(), 2), None);
    }

    #[test]
    fn a11_a_machine_without_nodes_is_one_node() {
        let nowhere = Path::new("/nonexistent/node");
        assert_eq!(nodes(nowhere), [0]);
        assert!(processors(nowhere, 0).is_some_and(|cpus| !cpus.is_empty()));
        assert_eq!(processors(nowhere, 1), None);
    }
}
