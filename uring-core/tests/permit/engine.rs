//! The engine's opens, on every core.

use super::ring::{Tree, all_of, says};
use uring_core::engine::Engine;
use uring_core::permit::{Mounts, PermitKind, Rules};

#[test]
fn c8_an_engine_opens_what_its_policy_grants_on_any_core_and_nothing_else() {
    let tree = Tree::new();
    tree.link("../outside/f", "root/out");
    let policy = all_of(tree.root());
    let engine = Engine::builder()
        .core_count(2)
        .policy(policy.clone())
        .build()
        .unwrap();
    let open = |path: &str| engine.open(path, libc::O_RDONLY).map(|open| open.wait());
    let from_anywhere = |engine: &Engine| {
        assert_eq!(says(open("/m/d/../d/f").unwrap().unwrap()), "inside");
        assert_eq!(open("/m/out").unwrap().unwrap_err().errno(), libc::ELOOP);
        for path in ["/etc/passwd", "/m/../etc/passwd", "/m2/d/f"] {
            assert_eq!(open(path).unwrap_err().kind(), PermitKind::Denied, "{path}");
        }
        assert_eq!(engine.open("d/f", 0).unwrap_err().kind(), PermitKind::Malformed);
    };
    std::thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(|| from_anywhere(&engine)))));
    // A task on each core, by the engine that it runs on.
    for core in 0..2 {
        let task = engine.spawn_on(core, || async {
            let engine = uring_core::engine::current().expect("a task of it");
            let opened = engine.open("/m/d/f", libc::O_RDONLY).unwrap().await.unwrap();
            (says(opened), engine.open("/x", 0).unwrap_err().kind())
        });
        let done = task.map_err(|_| "not sent").unwrap().wait();
        assert_eq!(done.unwrap(), ("inside".to_string(), PermitKind::Denied));
    }
    // Every core sees the next edition.
    policy
        .publish(
            Rules::builder().build().unwrap(),
            Mounts::builder().build().unwrap(),
        )
        .unwrap();
    assert_eq!(open("/m/d/f").unwrap_err().kind(), PermitKind::Denied);
    assert_eq!(engine.policy().unwrap().edition().number(), 2);
}

#[test]
fn c8_an_engine_without_a_policy_opens_what_the_process_may() {
    let tree = Tree::new();
    let engine = Engine::builder().core_count(1).build().unwrap();
    let opened = engine.open(tree.at("outside/f"), libc::O_RDONLY).unwrap().wait();
    assert_eq!(says(opened.unwrap()), "outside");
    assert!(engine.policy().is_none());
    assert_eq!(engine.open("a\0", 0).unwrap_err().kind(), PermitKind::Malformed);
}
