//! What surrounds the command fails: it says so in one line, ends, and loses nothing.
#![cfg(not(any(loom, shuttle)))]

use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The shortest run.
const SHORT: [&str; 7] = ["bench", "--seconds", "0.05", "--depth", "4", "--cores", "1"];

/// A command whose process ends with the thread that started it, however that ends, and to which signals do what they
/// do to a program that nobody has prepared.
fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null());
    // SAFETY: between fork and exec only these system calls are made, which are safe there.
    unsafe {
        command.pre_exec(|| {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGXFSZ] {
                libc::signal(signal, libc::SIG_DFL);
            }
            Ok(())
        })
    };
    command
}

fn uring<'a>(args: impl IntoIterator<Item = &'a str>) -> Command {
    let mut uring = command(env!("CARGO_BIN_EXE_uring").as_ref());
    uring.args(args);
    uring
}

/// Limits what the process to come may take.
fn limited(command: &mut Command, what: libc::__rlimit_resource_t, most: u64) -> &mut Command {
    let limit = libc::rlimit {
        rlim_cur: most,
        rlim_max: most,
    };
    // SAFETY: between fork and exec only this system call is made, which is safe there.
    unsafe {
        command.pre_exec(move || match libc::setrlimit(what, &limit) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        })
    }
}

/// Refuses io_uring to the process to come, as a container's profile does.
fn without_io_uring(command: &mut Command) -> &mut Command {
    let step = |code: u32, jt, jf, k| libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    };
    let program = [
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        step(
            libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
            0,
            1,
            libc::SYS_io_uring_setup as u32,
        ),
        step(
            libc::BPF_RET | libc::BPF_K,
            0,
            0,
            libc::SECCOMP_RET_ERRNO | libc::EPERM as u32,
        ),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    // SAFETY: between fork and exec only system calls are made, on memory that lives meanwhile.
    unsafe {
        command.pre_exec(move || {
            let filter = libc::sock_fprog {
                len: program.len() as u16,
                filter: program.as_ptr().cast_mut(),
            };
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
            match libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &filter) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            }
        })
    }
}

/// A child that is gone when this is.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Self {
        Self(command.spawn().unwrap())
    }

    fn signal(&self, signal: i32) {
        // SAFETY: a signal to a child that has not been waited for.
        assert_eq!(unsafe { libc::kill(self.0.id() as i32, signal) }, 0);
    }

    /// A line of what the kernel tells about it.
    fn status(&self, name: &str) -> u64 {
        let told = fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap_or_default();
        let line = told.lines().find_map(|line| line.strip_prefix(name));
        u64::from_str_radix(line.unwrap_or("0").trim_start_matches(':').trim(), 16).unwrap_or(0)
    }

    /// Waits for the end; a child that does not come to it is the failure.
    #[track_caller]
    fn ended(mut self) -> Output {
        let mut status = None;
        let ended = wait_for(|| {
            status = self.0.try_wait().unwrap();
            status.is_some()
        });
        assert!(ended, "the command hangs");
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        if let Some(mut pipe) = self.0.stdout.take() {
            pipe.read_to_end(&mut stdout).unwrap();
        }
        if let Some(mut pipe) = self.0.stderr.take() {
            pipe.read_to_end(&mut stderr).unwrap();
        }
        let status = status.unwrap();
        Output {
            status,
            stdout,
            stderr,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[track_caller]
fn run(command: &mut Command) -> Output {
    Running::start(command.stdout(Stdio::piped()).stderr(Stdio::piped())).ended()
}

/// Polls with a bound far beyond what is needed.
fn wait_for(mut ready: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !ready() {
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    true
}

/// Asserts status 2 and one line that holds all of `words`.
#[track_caller]
fn refused(output: &Output, words: &[&str]) {
    let line = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{line}");
    assert_eq!(line.trim_end().lines().count(), 1, "{line}");
    for word in words {
        assert!(line.contains(word), "`{word}` is not in: {line}");
    }
}

/// A directory with a file of 64 KiB in it.
struct Home {
    dir: TempDir,
    data: String,
}

impl Home {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data").to_str().unwrap().to_owned();
        fs::write(&data, Self::bytes()).unwrap();
        Self { dir, data }
    }

    fn bytes() -> Vec<u8> {
        (0..65_536).map(|i| (i / 7) as u8).collect()
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    fn names(&self) -> usize {
        fs::read_dir(self.dir.path()).unwrap().count()
    }

    /// A short run over the file.
    fn bench(&self, more: &[&str]) -> Command {
        let file = ["--file", self.data.as_str()];
        uring(SHORT.iter().chain(&file).chain(more).copied())
    }
}

fn rings() -> bool {
    let refused = uring_core::probe().refused;
    if let Some(errno) = refused {
        eprintln!("skipped: io_uring is refused here (error {errno})");
    }
    refused.is_none()
}

#[test]
fn results_never_replace_the_data_file_by_whatever_name() {
    let home = Home::new();
    let (soft, hard) = (home.path("soft"), home.path("hard"));
    symlink(&home.data, &soft).unwrap();
    fs::hard_link(&home.data, &hard).unwrap();
    for flag in ["--json", "--report"] {
        for name in [&home.data, &soft, &hard] {
            let output = run(&mut home.bench(&[flag, name]));
            refused(&output, &[flag, "the same file as --file", "name another"]);
            assert_eq!(fs::read(&home.data).unwrap(), Home::bytes());
        }
    }
}

#[test]
fn two_results_never_share_a_file() {
    let home = Home::new();
    let (one, other) = (home.path("out"), home.path("other"));
    refused(
        &run(&mut home.bench(&["--json", &one, "--report", &one])),
        &["--report", "the same file as --json"],
    );
    assert_eq!(home.names(), 1, "a refusal leaves nothing behind");
    fs::write(&one, "old").unwrap();
    symlink(&one, &other).unwrap();
    refused(
        &run(&mut home.bench(&["--json", &one, "--report", &other])),
        &["--report", "the same file as --json"],
    );
    assert_eq!(fs::read(&one).unwrap(), b"old");
}

#[test]
fn results_may_go_to_devices_and_to_standard_output() {
    if !rings() {
        return;
    }
    let home = Home::new();
    let output = run(&mut home.bench(&["--json", "/dev/null", "--report", "/dev/null"]));
    assert!(output.status.success());
    let both = |told: &str| {
        let mut values = serde_json::Deserializer::from_str(told).into_iter::<serde_json::Value>();
        assert_eq!(values.next().unwrap().unwrap()["schema"], "uring-bench/1");
        assert!(
            told[values.byte_offset()..].contains("p99.9"),
            "the table follows"
        );
    };
    let output = run(&mut home.bench(&["--json", "/dev/stdout"]));
    both(&String::from_utf8(output.stdout).unwrap());
    // Standard output that is a file loses neither, under either name.
    let out = home.path("out");
    for name in ["/dev/stdout", &out] {
        let mut command = home.bench(&["--json", name]);
        let running = Running::start(command.stdout(File::create(&out).unwrap()));
        assert!(running.ended().status.success());
        both(&fs::read_to_string(&out).unwrap());
    }
}

fn fifo(path: &str) {
    let name = std::ffi::CString::new(path).unwrap();
    // SAFETY: the name ends in NUL.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
}

#[test]
fn a_pipe_with_a_name_is_refused_instead_of_waited_for() {
    let home = Home::new();
    let pipe = home.path("pipe");
    fifo(&pipe);
    refused(
        &run(&mut uring(["bench", "--file", &pipe])),
        &["--file", "not a regular file"],
    );
    for flag in ["--json", "--report"] {
        refused(
            &run(&mut home.bench(&[flag, &pipe])),
            &[flag, "a pipe that nobody reads"],
        );
    }
    refused(
        &run(&mut uring(["probe", "--json", &pipe])),
        &["--json", "a pipe that nobody reads"],
    );
}

/// A pipe that takes not one byte more; the reading end first.
fn full_pipe() -> (std::io::PipeReader, std::io::PipeWriter) {
    let (reader, writer) = std::io::pipe().unwrap();
    let fd = writer.as_raw_fd();
    let bytes = [0u8; 4096];
    // SAFETY: sets the flags of a descriptor that is open; writes from a buffer of the length said.
    unsafe {
        assert_eq!(libc::fcntl(fd, libc::F_SETFL, libc::O_NONBLOCK), 0);
        while libc::write(fd, bytes.as_ptr().cast(), bytes.len()) > 0 {}
        while libc::write(fd, bytes.as_ptr().cast(), 1) > 0 {}
        assert_eq!(libc::fcntl(fd, libc::F_SETFL, 0), 0);
    }
    (reader, writer)
}

#[test]
fn a_second_signal_ends_at_once_what_the_first_could_not() {
    let (_reader, writer) = full_pipe();
    for (first, second) in [(libc::SIGINT, libc::SIGINT), (libc::SIGHUP, libc::SIGTERM)] {
        let mut command = uring(["probe"]);
        let running = Running::start(command.stdout(writer.try_clone().unwrap()).stderr(Stdio::null()));
        assert!(
            wait_for(|| [first, second]
                .iter()
                .all(|s| running.status("SigCgt") >> (s - 1) & 1 == 1)),
            "no handler"
        );
        running.signal(first);
        assert!(
            wait_for(|| running.status("ShdPnd") == 0),
            "the first is not delivered"
        );
        running.signal(second);
        assert_eq!(running.ended().status.code(), Some(130));
    }
}

#[test]
fn a_hangup_ends_the_run_and_leaves_no_empty_result() {
    if !rings() {
        return;
    }
    let home = Home::new();
    let json = home.path("out.json");
    let mut command = uring(["bench", "--file", &home.data, "--seconds", "600", "--json", &json]);
    let running = Running::start(command.stdout(Stdio::null()).stderr(Stdio::piped()));
    let tasks = format!("/proc/{}/task", running.0.id());
    assert!(
        wait_for(|| fs::read_dir(&tasks).is_ok_and(|tasks| tasks.count() >= 2)),
        "the readers never started"
    );
    running.signal(libc::SIGHUP);
    let output = running.ended();
    assert_eq!(output.status.code(), Some(130));
    assert_eq!(home.names(), 1, "the data alone");
}

#[test]
fn standard_output_that_nobody_reads_costs_no_result() {
    let home = Home::new();
    let json = home.path("out.json");
    let mut commands = vec![uring(["probe", "--json", &json])];
    if rings() {
        commands.push(home.bench(&["--json", &json]));
    }
    for mut command in commands {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = Running::start(command.stdout(writer).stderr(Stdio::piped())).ended();
        assert_eq!(output.status.code(), Some(0));
        assert!(output.stderr.is_empty(), "quietly");
        let written = fs::read_to_string(&json).unwrap();
        assert!(serde_json::from_str::<serde_json::Value>(&written).is_ok());
        fs::remove_file(&json).unwrap();
    }
}

#[test]
fn standard_output_that_is_full_is_told_and_costs_no_result() {
    let home = Home::new();
    let json = home.path("out.json");
    let mut commands = vec![uring(["probe", "--json", &json])];
    if rings() {
        commands.push(home.bench(&["--json", &json]));
    }
    for mut command in commands {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = Running::start(command.stdout(full).stderr(Stdio::piped())).ended();
        refused(&output, &["standard output: no space left"]);
        let written = fs::read_to_string(&json).unwrap();
        assert!(serde_json::from_str::<serde_json::Value>(&written).is_ok());
        fs::remove_file(&json).unwrap();
    }
    // Nor does standard error that is full make more of it than the status says.
    let full = || OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = Running::start(uring(["--help"]).stdout(full()).stderr(full())).ended();
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_limit_on_the_size_of_files_is_told_instead_of_killing() {
    let home = Home::new();
    let dir = home.dir.path().to_str().unwrap();
    let mut command = uring(["bench", "--dir", dir, "--size", "1MiB"]);
    refused(
        &run(limited(&mut command, libc::RLIMIT_FSIZE, 4096)),
        &["ulimit -f"],
    );
    if rings() {
        let json = home.path("out.json");
        let mut command = home.bench(&["--json", &json]);
        refused(
            &run(limited(&mut command, libc::RLIMIT_FSIZE, 100)),
            &["--json", "ulimit -f"],
        );
    }
    assert_eq!(home.names(), 1);
}

/// A copy of the command that anybody may run, and a user with no other process to run it as where that can be had: no
/// limit on processes holds for root.
fn as_nobody_else(home: &Home) -> Option<(PathBuf, Option<u32>)> {
    let open = fs::Permissions::from_mode(0o755);
    fs::set_permissions(home.dir.path(), open.clone()).unwrap();
    let copy = home.dir.path().join("uring");
    fs::copy(env!("CARGO_BIN_EXE_uring"), &copy).unwrap();
    fs::set_permissions(&copy, open).unwrap();
    // SAFETY: asks for a number.
    if unsafe { libc::geteuid() } != 0 {
        return Some((copy, None));
    }
    let user = 61_234;
    let works = command(&copy).uid(user).arg("--version").output();
    if !works.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: root here cannot become another user");
        return None;
    }
    Some((copy, Some(user)))
}

#[test]
fn readers_that_cannot_be_started_are_one_line_and_nobody_waits_for_them() {
    if !rings() {
        return;
    }
    let home = Home::new();
    let Some((program, user)) = as_nobody_else(&home) else {
        return;
    };
    // With room for none; where a user can be had for it alone, for some.
    for most in [1, 8].into_iter().take(1 + usize::from(user.is_some())) {
        let mut command = command(&program);
        command.args(["bench", "--seconds", "0.05", "--depth", "64", "--cores", "1"]);
        command.args(["--file", &home.data]);
        user.map(|user| command.uid(user));
        let output = run(limited(&mut command, libc::RLIMIT_NPROC, most));
        if output.status.success() && String::from_utf8_lossy(&output.stdout).contains("O_DIRECT left out") {
            eprintln!("skipped: no O_DIRECT here, so there are never {most} readers");
            continue;
        }
        refused(&output, &["no thread for a reader", "smaller --static"]);
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_file_too_great_to_take_note_of_is_refused() {
    let home = Home::new();
    if File::create(&home.data).unwrap().set_len(4 << 40).is_err() {
        eprintln!("skipped: no file of 4 TiB here, not even an empty one");
        return;
    }
    let mut command = home.bench(&["--size", "4TiB", "--bs", "512"]);
    refused(
        &run(limited(&mut command, libc::RLIMIT_AS, 4 << 30)),
        &["--file", "no memory", "smaller --size", "greater --bs"],
    );
}

#[test]
fn a_result_that_may_not_be_replaced_is_told_so() {
    let home = Home::new();
    let Some((program, user)) = as_nobody_else(&home) else {
        return;
    };
    let json = home.path("out.json");
    fs::write(&json, "old").unwrap();
    fs::set_permissions(&json, fs::Permissions::from_mode(0o444)).unwrap();
    let mut command = command(&program);
    user.map(|user| command.uid(user));
    refused(
        &run(command.args(["probe", "--json", &json])),
        &[
            "--json",
            "permission denied",
            "make it writable or name another file",
        ],
    );
    assert_eq!(fs::read(&json).unwrap(), b"old");
}

/// containerd#9320: where the profile refuses io_uring, both commands work and say what carries the rings.
#[test]
fn e5_bench_and_probe_without_io_uring_work_and_say_so() {
    let dir = TempDir::new().unwrap();
    let mut bench = uring(SHORT);
    bench.args(["--size", "4MiB", "--dir", dir.path().to_str().unwrap()]);
    let output = without_io_uring(&mut bench).output().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        told.contains("a ring a core: fallback") && told.contains("Operation not permitted"),
        "{told}"
    );
    assert!(
        told.contains("a ring on the fallback") && told.contains("the fallback does"),
        "{told}"
    );
    assert!(told.contains("0 failed, 0 wrong"), "{told}");
    let mut probe = uring(["probe"]);
    let output = without_io_uring(&mut probe).output().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(
        told.contains("refused") && told.contains("work on the fallback"),
        "{told}"
    );
}
