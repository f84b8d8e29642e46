//! Runs the programs beside this file on the kernel of this computer and in `vmrun`, and compares what they print and how
//! they end. The host's Linux is what says what is right; nothing here is recorded.
//!
//! Each program is built twice with `gcc -m32`: static, and dynamic with the host's 32-bit C library copied into the image.
//! The image is an ext2 file made by `mke2fs -d`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

/// How a program is linked.
#[derive(Clone, Copy, Debug)]
enum Linkage {
    Static,
    Dynamic,
}

impl Linkage {
    fn suffix(self) -> &'static str {
        match self {
            Self::Static => "static",
            Self::Dynamic => "dynamic",
        }
    }
}

/// How programs are compiled; `engines.mjs` reads this too.
const FLAGS: &str = include_str!("flags");

/// Longest time one program may take, here or there.
const PATIENCE: Duration = Duration::from_secs(120);

/// Libraries a dynamic program needs, wherever this distribution keeps them.
const LIBRARIES: [&str; 4] = ["ld-linux.so.2", "libc.so.6", "libm.so.6", "libgcc_s.so.1"];
const LIBRARY_DIRS: [&str; 4] = ["/usr/lib32", "/lib32", "/usr/lib/i386-linux-gnu", "/lib/i386-linux-gnu"];

fn programs_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/guest/programs")
}

fn work_dir() -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("guest");
    std::fs::create_dir_all(&dir).expect("the target directory can be written");
    dir
}

fn program_names() -> Vec<String> {
    let entries = std::fs::read_dir(programs_dir()).expect("tests/guest/programs is there");
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.path().file_name()?.to_str().map(str::to_owned))
        .filter_map(|name| name.strip_suffix(".c").map(str::to_owned))
        .collect();
    names.sort();
    names
}

fn check(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Builds everything once and gives the image.
fn image() -> &'static Path {
    static IMAGE: OnceLock<PathBuf> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let root = work_dir().join("root");
        let _ = std::fs::remove_dir_all(&root);
        for dir in ["bin", "dev", "etc", "lib", "lib32", "proc", "root", "sys", "tmp"] {
            std::fs::create_dir_all(root.join(dir)).expect("the target directory can be written");
        }
        check(Command::new("chmod").arg("1777").arg(root.join("tmp")));
        for name in program_names() {
            let source = programs_dir().join(format!("{name}.c"));
            for linkage in [Linkage::Static, Linkage::Dynamic] {
                let mut gcc = Command::new("gcc");
                gcc.args(FLAGS.split_whitespace());
                if matches!(linkage, Linkage::Static) {
                    gcc.arg("-static");
                }
                gcc.arg("-o").arg(root.join("bin").join(format!("{name}.{}", linkage.suffix()))).arg(&source);
                gcc.arg("-lm");
                check(&mut gcc);
            }
        }
        for library in LIBRARIES {
            let found = LIBRARY_DIRS.iter().map(|dir| Path::new(dir).join(library)).find(|path| path.exists());
            let found = found.unwrap_or_else(|| panic!("no 32-bit {library}: install gcc-multilib"));
            std::fs::copy(&found, root.join("lib32").join(library)).expect("libraries can be copied");
        }
        std::fs::copy(root.join("lib32/ld-linux.so.2"), root.join("lib/ld-linux.so.2")).expect("it can be copied");
        let image = work_dir().join("guest.ext2");
        let _ = std::fs::remove_file(&image);
        let mut mke2fs = Command::new("mke2fs");
        mke2fs.args(["-q", "-t", "ext2", "-b", "4096", "-d"]).arg(&root).arg(&image).arg("128M");
        // Everything in it belongs to root, whoever runs the tests.
        mke2fs.args(["-E", "root_owner=0:0"]);
        check(&mut mke2fs);
        image
    })
}

/// Runs a command to its end with nothing on standard input.
fn run(mut command: Command, what: &str) -> Output {
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LANG", "C");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let started = Instant::now();
    let (stdout, stderr) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
    let read = |mut from: Box<dyn std::io::Read + Send>| {
        std::thread::spawn(move || {
            let mut all = Vec::new();
            let _ = from.read_to_end(&mut all);
            all
        })
    };
    let (stdout, stderr) = (read(Box::new(stdout)), read(Box::new(stderr)));
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            break status;
        }
        if started.elapsed() > PATIENCE {
            let _ = child.kill();
            let _ = child.wait();
            panic!("{what} took longer than {PATIENCE:?}");
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    Output { status, stdout: stdout.join().expect("readers end"), stderr: stderr.join().expect("readers end") }
}

/// The exit status as a shell and `vmrun` give it.
fn shell_status(output: &Output) -> i32 {
    use std::os::unix::process::ExitStatusExt as _;
    output.status.code().unwrap_or_else(|| 128 + output.status.signal().unwrap_or_default())
}

fn text(output: &Output) -> String {
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    let _ = write!(text, "{}", String::from_utf8_lossy(&output.stderr));
    let _ = writeln!(text, "status {}", shell_status(output));
    text
}

/// The lines that differ, with what both sides say.
fn difference(native: &str, guest: &str) -> String {
    let mut out = String::new();
    let (native, guest): (Vec<_>, Vec<_>) = (native.lines().collect(), guest.lines().collect());
    for index in 0..native.len().max(guest.len()) {
        let (here, there) = (native.get(index), guest.get(index));
        if here != there {
            let _ = writeln!(
                out,
                "line {}:\n  Linux: {}\n  vmrun: {}",
                index + 1,
                here.unwrap_or(&"-"),
                there.unwrap_or(&"-")
            );
        }
    }
    out
}

/// One program at a time: some of them measure time.
static TURN: Mutex<()> = Mutex::new(());

fn compare(name: &str, linkage: Linkage) {
    let _turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let image = image();
    let file = format!("{name}.{}", linkage.suffix());
    let mut native = Command::new(work_dir().join("root/bin").join(&file));
    native.current_dir("/tmp");
    let native = text(&run(native, &format!("{file} on this computer")));
    let mut guest = Command::new(env!("CARGO_BIN_EXE_vmrun"));
    guest.arg("--ext2").arg(image).args(["--memory", "256", "--cwd", "/tmp", "--env", "LANG=C", "--"]);
    guest.arg(format!("/bin/{file}"));
    let guest = text(&run(guest, &format!("{file} in vmrun")));
    assert!(native == guest, "{file} differs\n{}", difference(&native, &guest));
}

#[test]
fn what_a_program_wrote_is_a_clean_file_system() {
    let _turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let disk = work_dir().join("written.ext2");
    std::fs::copy(image(), &disk).expect("the image can be copied");
    let mut guest = Command::new(env!("CARGO_BIN_EXE_vmrun"));
    guest.arg("--ext2").arg(&disk).args(["--write", "--cwd", "/tmp", "--", "/bin/files.static"]);
    let output = run(guest, "files.static in vmrun");
    assert!(output.status.success(), "{}", text(&output));
    let fsck = Command::new("e2fsck").args(["-fn"]).arg(&disk).output().expect("e2fsck runs");
    assert!(fsck.status.success(), "{}", String::from_utf8_lossy(&fsck.stdout));
}

#[test]
fn what_nothing_knows_is_told_by_name_and_program() {
    let _turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let mut guest = Command::new(env!("CARGO_BIN_EXE_vmrun"));
    guest.arg("--ext2").arg(image()).args(["--report", "--", "/bin/unknown_requests.static"]);
    let report = String::from_utf8(run(guest, "unknown_requests.static").stderr).expect("reports are text");
    for wanted in [
        "unknown system call 4000 (?) by unknown_request",
        "unknown ioctl 0x4004abcd (type 0xab, number 205, 4 bytes) by unknown_request",
        "unknown prctl 2147418113 by unknown_request",
        "unknown fcntl 30583 by unknown_request",
        "unknown socket option (set) SOL_SOCKET 30583 by unknown_request",
        "unknown socket 0x4d2 type 1 protocol 0 by unknown_request",
    ] {
        assert!(report.lines().any(|line| line.starts_with(wanted)), "{wanted:?} is not in\n{report}");
    }
}

#[test]
fn a_core_file_is_one_that_readelf_understands() {
    let _turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let disk = work_dir().join("core.ext2");
    std::fs::copy(image(), &disk).expect("the image can be copied");
    let mut guest = Command::new(env!("CARGO_BIN_EXE_vmrun"));
    guest.arg("--ext2").arg(&disk).args(["--write", "--cwd", "/root", "--", "/bin/core_file.static", "dump"]);
    let output = run(guest, "core_file.static");
    assert_eq!(text(&output), "setrlimit(RLIMIT_CORE, &limit) = 0\nchild: killed by ABRT\ncore 1\nstatus 0\n");
    let core = work_dir().join("core");
    let _ = std::fs::remove_file(&core);
    check(Command::new("debugfs").arg("-R").arg(format!("dump /root/core {}", core.display())).arg(&disk));
    let told = Command::new("readelf").args(["-nl"]).arg(&core).output().expect("readelf runs");
    assert!(told.status.success() && told.stderr.is_empty(), "{}", String::from_utf8_lossy(&told.stderr));
    let told = String::from_utf8_lossy(&told.stdout);
    for wanted in
        ["CORE (Core file)", "NT_PRSTATUS", "NT_PRPSINFO", "NT_SIGINFO", "NT_AUXV", "NT_FILE", "/bin/core_file.static"]
    {
        assert!(told.contains(wanted), "{wanted} is not in\n{told}");
    }
    let content = std::fs::read(&core).expect("the core file was written");
    let marker = b"This is in the core file";
    assert!(content.windows(marker.len()).any(|bytes| bytes == marker), "the child's memory is not in its core file");
}

#[test]
fn floods_leave_the_machine_alive_and_nothing_behind() {
    let _turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let mut guest = Command::new(env!("CARGO_BIN_EXE_vmrun"));
    guest.arg("--ext2").arg(image()).args(["--memory", "96", "--", "/bin/floods.static", "flood"]);
    let output = run(guest, "floods.static");
    let mut wanted = String::new();
    for flood in ["warm", "fork bomb", "memory", "descriptors", "pipes", "sockets", "file", "threads", "timers"] {
        let _ = writeln!(wanted, "{flood}: over, tasks left 0, memory back");
    }
    wanted.push_str("a child afterwards: exited 7\nwrite = 5\nstatus 0\n");
    assert_eq!(text(&output), wanted);
}

#[test]
fn a_program_can_be_process_one() {
    let _turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let image = image();
    let mut native = Command::new("unshare");
    native.args(["--user", "--map-root-user", "--pid", "--fork", "--mount-proc"]);
    native.arg(work_dir().join("root/bin/process_one.static")).arg("one");
    let native = text(&run(native, "process_one on this computer"));
    let mut guest = Command::new(env!("CARGO_BIN_EXE_vmrun"));
    guest.arg("--ext2").arg(image).args(["--init", "--", "/bin/process_one.static", "one"]);
    let guest = text(&run(guest, "process_one in vmrun"));
    assert!(native == guest, "process_one differs\n{}", difference(&native, &guest));
    assert!(native.contains("orphan of 1"), "{native}");
}

#[test]
fn a_key_is_echoed_soon_beside_four_busy_loops() {
    use std::io::{Read as _, Write as _};
    let _turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let mut guest = Command::new(env!("CARGO_BIN_EXE_vmrun"));
    guest.arg("--ext2").arg(image()).args(["--", "/bin/echo_beside_loops.static"]);
    let mut guest = guest.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("vmrun starts");
    let (mut keys, mut echo) = (guest.stdin.take().expect("piped"), guest.stdout.take().expect("piped"));
    let mut delays: Vec<Duration> = (0..40)
        .map(|_| {
            std::thread::sleep(Duration::from_millis(20));
            let pressed = Instant::now();
            keys.write_all(b"k").expect("vmrun reads");
            let mut byte = [0];
            echo.read_exact(&mut byte).expect("vmrun writes");
            pressed.elapsed()
        })
        .collect();
    drop(keys);
    let mut rest = String::new();
    echo.read_to_string(&mut rest).expect("vmrun ends");
    assert!(guest.wait().expect("vmrun ends").success());
    assert_eq!(rest, "loop ended by 9\n".repeat(4));
    delays.sort();
    let (median, slowest) = (delays[delays.len() / 2], delays[delays.len() - 1]);
    println!("echo after {median:?}, at worst {slowest:?}");
    // No test is timed: what fails here is a console that starves while others compute.
    assert!(median < Duration::from_secs(1), "{median:?} of {delays:?}");
}

macro_rules! programs {
    ($($name:ident)*) => {
        $(mod $name {
            #[test]
            fn static_prints_what_linux_prints() {
                super::compare(stringify!($name), super::Linkage::Static);
            }

            #[test]
            fn dynamic_prints_what_linux_prints() {
                super::compare(stringify!($name), super::Linkage::Dynamic);
            }
        })*

        #[test]
        fn every_program_is_compared() {
            assert_eq!(program_names(), [$(stringify!($name)),*]);
        }
    };
}

programs! {
    aio
    auxiliary
    clocks
    code_generated
    code_processes
    code_writes
    control_cut
    core_file
    credentials
    deep_recursion
    direct_sockets
    echo_beside_loops
    epoll
    exec
    exec_state
    faults
    files
    floods
    fork_wait
    frames
    futex_ops
    hello
    interfaces
    job_control
    jobs
    ldt
    memory
    mmap_family
    numbers
    paths
    pi_locks
    pidfd
    pipes
    posix_mq
    process_one
    pthreads
    seals
    signal_delivery
    signals
    single_step
    stack_growth
    sysv_ipc
    tcp
    threads
    timers
    times
    transfers
    udp
    unix_rights
    unix_sockets
    unknown_requests
    unnamed_files
    unwinding
    wait_status
}
