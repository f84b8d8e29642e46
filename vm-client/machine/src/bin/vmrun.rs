//! `vmrun`: runs a program of a disk image on this computer, without a browser.

use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;

use anyhow::{Context, bail};
use clap::Parser;
use linux_abi::signal::Signal;
use vm_block::remote::native::NativeNetwork;
use vm_block::remote::{ImageRef, OpenOptions, RemoteStatus};
use vm_kernel::host::Host;
use vm_kernel::strace;
use vm_machine::native::{self, OsClock, OsEntropy, Pump, RawTerminal, TerminalConsole};
use vm_machine::{Machine, MachineOptions, Program, Running, Stdio, StreamSink};

/// Runs a program of a Linux disk image and exits with its status (128 + n when signal n ended it).
///
/// The disk is either an image of a store, fetched as it is needed, or an ext2 file. What the program writes is kept in
/// memory and gone afterwards, unless --write puts it into the ext2 file. On SIGUSR1 it prints what every task is doing.
#[derive(Parser)]
#[command(
    version,
    after_help = "Examples:\n  \
    vmrun --image http://127.0.0.1:8080/debian -- bash --login\n  \
    vmrun --image ./store/debian@v2 --env LANG=C.UTF-8 -- ls -l /\n  \
    vmrun --ext2 disk.img --strace -- /bin/true"
)]
struct Options {
    /// Image: STORE_OR_URL/NAME, with @TAG or @b3:HASH for another version than the newest.
    #[arg(long, value_name = "STORE_OR_URL/NAME", required_unless_present = "ext2", conflicts_with = "ext2")]
    image: Option<String>,
    /// A file with an ext2 file system.
    #[arg(long, value_name = "FILE")]
    ext2: Option<PathBuf>,
    /// Write changes into the ext2 file.
    #[arg(long, requires = "ext2")]
    write: bool,
    /// Another file with an ext2 file system, mounted at a directory; may be repeated. What is written to it is kept in memory.
    #[arg(long, value_name = "FILE:DIR")]
    disk: Vec<String>,
    /// Environment variable; may be repeated. HOME, PATH, TERM and LANG have defaults.
    #[arg(long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Working directory.
    #[arg(long, value_name = "DIR", default_value = "/")]
    cwd: String,
    /// User number.
    #[arg(long, default_value_t = 0)]
    uid: u32,
    /// Group number.
    #[arg(long, default_value_t = 0)]
    gid: u32,
    /// Guest memory, MiB.
    #[arg(long, value_name = "MIB", default_value_t = 512)]
    memory: u64,
    /// Host name of the guest.
    #[arg(long, default_value = "skiff")]
    hostname: String,
    /// Print every system call to standard error, in the form of strace(1).
    #[arg(long)]
    strace: bool,
    /// At the end, print to standard error what was used and what was missing.
    #[arg(long)]
    report: bool,
    /// Let the program be process 1, as an init is (/sbin/init of sysvinit or OpenRC).
    #[arg(long)]
    init: bool,
    /// Use streams even when standard input is a terminal.
    #[arg(long)]
    no_tty: bool,
    /// Program and arguments.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

struct ToStderr;

impl strace::Output for ToStderr {
    fn line(&self, text: &str) {
        eprintln!("{text}");
    }
}

struct StandardStreams;

impl StreamSink for StandardStreams {
    fn write(&self, fd: i32, bytes: &[u8]) {
        use std::io::Write;
        // A reader that went away shows at the next write as `closed`.
        let _ = match fd {
            1 => {
                let mut out = std::io::stdout().lock();
                out.write_all(bytes).and_then(|()| out.flush())
            }
            _ => std::io::stderr().lock().write_all(bytes),
        };
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    match run(options) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("vmrun: {error:#}");
            // As env(1) and nohup(1): 125 when the command itself failed.
            ExitCode::from(125)
        }
    }
}

fn run(options: Options) -> anyhow::Result<u8> {
    let clock = Rc::new(OsClock::default());
    let host = Host { clock: clock.clone(), entropy: Rc::new(OsEntropy), console: Rc::new(TerminalConsole) };
    let settings = MachineOptions { memory: options.memory << 20, hostname: options.hostname.clone() };
    let machine = Machine::new(host, &settings).map_err(anyhow::Error::msg)?;
    let pump = Pump::new(&machine, clock.clone());
    pump.report_on_signal().context("waiting for SIGUSR1")?;
    let network = mount(&options, &machine, &pump)?;
    mount_disks(&options.disk, &machine, &pump)?;

    let terminal = if options.no_tty { None } else { RawTerminal::enter() };
    let program = Program {
        file: options.command[0].clone(),
        argv: options.command.clone(),
        envp: environment(&options.env)?,
        cwd: options.cwd.clone(),
        uid: options.uid,
        gid: options.gid,
        stdio: if terminal.is_some() { Stdio::Console(1) } else { Stdio::Streams(Rc::new(StandardStreams)) },
    };
    if options.init {
        machine.kernel().replace_init().context("--init")?;
    }
    if options.strace {
        machine.trace(Some(Rc::new(ToStderr)));
    }
    let started = {
        let machine = Rc::clone(&machine);
        pump.run(async move { machine.start(program).await }, || false, |_| {})
    };
    let running = match started {
        Ok(running) => Rc::new(running),
        Err(error) => {
            drop(terminal);
            eprintln!("vmrun: {}: {}", options.command[0], error.message());
            // As shells: 127 when there is no such command, 126 when it cannot be run.
            return Ok(if error == linux_abi::Errno::ENOENT { 127 } else { 126 });
        }
    };
    pump.read_stdin();
    let status = drive(&pump, &machine, &running, terminal.is_some());
    machine.trace(None);
    let synced = {
        let machine = Rc::clone(&machine);
        pump.run(async move { machine.sync().await }, || false, |_| {})
    };
    drop(terminal);
    if let Err(error) = synced {
        bail!("writing the disk back: {error}");
    }
    if options.report {
        report(&machine, network.as_deref());
    }
    Ok(status.shell_code() as u8)
}

fn drive(pump: &Pump, machine: &Rc<Machine>, running: &Rc<Running>, console: bool) -> vm_kernel::task::WaitStatus {
    /// Unread input beyond this stays with the host.
    const AHEAD: usize = 1 << 20;
    let waiter = Rc::clone(running);
    pump.run(
        async move { waiter.wait().await },
        || console || running.stdin_queued() < AHEAD,
        |piece| match (piece, console) {
            (Some(bytes), true) => machine.console_input(1, bytes),
            (None, true) => running.kill(Signal::HUP),
            (Some(bytes), false) => running.write_stdin(bytes),
            (None, false) => running.close_stdin(),
        },
    )
}

type NetworkStatus = Box<dyn Fn() -> RemoteStatus>;

/// Mounts the root; what it returns tells how the network of an image does.
fn mount(options: &Options, machine: &Rc<Machine>, pump: &Pump) -> anyhow::Result<Option<NetworkStatus>> {
    let task = Rc::clone(machine);
    if let Some(path) = options.ext2.clone() {
        let name = path.display().to_string();
        let write = options.write;
        let mounted = pump.run(async move { native::mount_file(&task, &path, write).await }, || false, |_| {});
        return mounted.map(|()| None).with_context(|| format!("mounting {name}"));
    }
    let Some(name) = options.image.clone() else { bail!("no image given") };
    let image: ImageRef = name.parse().map_err(|error| anyhow::anyhow!("--image {name}: {error}"))?;
    let network = Rc::new(NativeNetwork::start().context("starting the network")?);
    // Not an option: others of the machine can read command lines.
    let token = std::env::var("SKIFF_TOKEN").ok().map(|token| token.parse()).transpose().context("SKIFF_TOKEN")?;
    let open = OpenOptions { token, ..OpenOptions::default() };
    let mounted = pump.run(async move { native::mount_image(&task, network, &image, open).await }, || false, |_| {});
    let status = mounted.with_context(|| format!("opening {name}"))?;
    Ok(Some(Box::new(status)))
}

fn mount_disks(disks: &[String], machine: &Rc<Machine>, pump: &Pump) -> anyhow::Result<()> {
    for disk in disks {
        let Some((file, point)) =
            disk.rsplit_once(':').filter(|(file, point)| !file.is_empty() && point.starts_with('/'))
        else {
            bail!("--disk {disk}: expected FILE:DIR with an absolute DIR");
        };
        let (machine, file, point) = (Rc::clone(machine), PathBuf::from(file), point.to_owned());
        let mounted = pump.run(async move { native::mount_file_at(&machine, &file, &point).await }, || false, |_| {});
        mounted.with_context(|| format!("mounting {disk}"))?;
    }
    Ok(())
}

fn environment(given: &[String]) -> anyhow::Result<Vec<String>> {
    let term = std::env::var("TERM").unwrap_or_else(|_| "dumb".to_owned());
    let mut out: Vec<String> = given.to_vec();
    if let Some(bad) = given.iter().find(|var| !var.contains('=')) {
        bail!("--env {bad}: expected NAME=VALUE");
    }
    for (name, value) in [
        ("HOME", "/root"),
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ("TERM", &term),
        ("LANG", "C.UTF-8"),
    ] {
        if !given.iter().any(|var| var.split('=').next() == Some(name)) {
            out.push(format!("{name}={value}"));
        }
    }
    Ok(out)
}

fn report(machine: &Machine, network: Option<&dyn Fn() -> RemoteStatus>) {
    let status = machine.status();
    eprintln!("tasks made:        {}", status.created);
    eprintln!("instructions:      {}", status.retired);
    eprintln!("memory in use:     {} of {} KiB", status.memory_used >> 10, status.memory_total >> 10);
    if let Some(network) = network.map(|status| status()) {
        eprintln!("objects received:  {} ({} bytes)", network.objects, network.bytes);
        eprintln!("objects refused:   {} damaged", network.damaged);
        eprintln!("connections lost:  {} ({} garbled)", network.losses, network.garbled);
        if let Some(error) = network.last_error {
            eprintln!("last trouble:      {error}");
        }
    }
    for line in machine.diagnostics().to_string().lines() {
        eprintln!("{line}");
    }
}
