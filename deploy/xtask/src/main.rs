//! The project's tasks: `cargo xtask TASK`.
//!
//! Everything a fresh machine needs is found or installed here, each step says what it does, and a step whose inputs have
//! not changed since it last succeeded is skipped ([`stamp`]). Depends on nothing but `anyhow`, so that the first
//! `cargo xtask` starts in seconds; heavier tools (`deploy/bindgen`) are packages of their own that are built when needed.
//!
//! [`setup`] finds and installs tools ([`wasm_target`], [`apt`], [`node`]), [`client`] builds the browser client, [`demo`]
//! makes the demo image and serves it, [`worker`] builds, runs and checks the Worker ([`assets`] are what is deployed
//! beside it), [`smoke`] looks at a deployment from outside, [`suites`] runs every test, [`jit`] those of generated code,
//! [`transcripts`] compares programs with this computer's Linux, [`fidelity`] does the same with other people's test suites,
//! [`matrix`] writes down what came of both, [`durability`] crashes on purpose, [`faults`] breaks the network, [`soak`] works
//! for hours, [`bench`] measures, [`fuzz`] fuzzes, [`check`] formats and lints.

mod apt;
mod assets;
mod bench;
mod bindgen;
mod check;
mod client;
mod demo;
mod durability;
mod faults;
mod fidelity;
mod fuzz;
mod image;
mod jit;
mod matrix;
mod node;
mod setup;
mod shell;
mod smoke;
mod soak;
mod stamp;
mod suites;
mod transcripts;
mod wasm_target;
mod worker;

use std::process::ExitCode;

const HELP: &str = "\
usage: cargo xtask TASK [OPTIONS]

  demo    build the client and the demo image, serve both, print the address
            --port N        listen on this port (default 8080, or the next free one)
            --mirror URL    Debian mirror for the image (default: this machine's apt configuration)
            --rebuild       make the demo image again
            --no-serve      only build
  test    run every test: crates, instruction set, guest programs, file systems, browser
            SUITE...        only these (native, transcripts, jit, types, deploy, browser, engines; worker when it is named);
                            --filter TEXT passes a filter on to each
  transcripts  run the same scripts on this computer's Linux (a Debian i386 chroot) and in Skiff, and compare
            NAME...         only these; --fast: the few that `test` runs; --list: name them all
            --in PLACE      where Skiff runs: native (the default), node or chromium; may be repeated
            --patience N    wait N times as long, on a busy computer
            --release       build vmrun optimised
  fidelity  run other people's test suites on this computer's Linux and in Skiff, and compare test by test
            SUITE...        only these; --list: name them all; --only REGEX: only these tests
            --debug         build vmrun quickly
  matrix  write vm-client/kernel/COMPATIBILITY.md from tables and the results of the last runs
  durability  look at the disk after every commit, as if everything had crashed there, and kill processes
            --states N      so many states, so many processes (default 10000)
            --browser-kills N   instead: kill a real browser so often while its guest writes (--seed N)
  faults  guests read a disk over a network that delays, drops, cuts, damages and stalls, and goes away altogether
            --minutes N     for so long (default 60);  --seed N  the same faults again;  --json FILE  figures
  worker  the Cloudflare Worker: build, dev, serve, check, assets; see cargo xtask worker help
  smoke   check a deployed server from outside: cargo xtask smoke URL [--image NAME] [--token TOKEN]
  soak    hours of mixed guest work in Chromium and in Node; tells whether memory stays flat
            --minutes N     for so long (default 120);  --only HOST  chromium or node alone; stress, stress-ng in Node; or code, in Node, that
                            is never the same;  --image STORE/NAME  another image for Node;  --json FILE  figures
  setup   install what the other tasks need, and nothing else
  build   build the browser client into build/client and vm-client/browser/npm/wasm
  image   make the demo image in build/store (options of demo)
  bench   run one set of programs natively, under qemu-i386, in Skiff (Node, Chromium) and in v86, and compare
            --rows A,B      only these rows;  --hosts A,B  only these of native, qemu, node, chromium, v86
            --quick         less work;  --readme FILE  put table and chart there
            PART            another measurement: stream (--minutes N, --quick), interpreter, start, warm, speed, overlay, layout,
                            disk (what the guest's disk does in Chromium; --json FILE keeps the figures)
  fuzz    feed made-up messages, objects and disks to what reads them (needs a nightly toolchain)
            TARGET...       only these;  --seconds N, --runs N  at most (default 60 s each);  --at-once N
            --keep          put the smallest inputs with the same coverage into the repository
            instructions    random programs on this processor, the interpreter and generated code (tests/isa): --seed N,
                            --programs N, --cases N
  fmt     format all Rust code (--check: only tell)
  lint    rustfmt and clippy, warnings are errors
";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let task = arguments.next().unwrap_or_default();
    let rest: Vec<String> = arguments.collect();
    let done = match task.as_str() {
        "setup" => setup::everything().map(|()| true),
        "build" => client::build().map(|_| true),
        "image" => image::build(&rest).map(|_| true),
        "demo" => demo::run(&rest),
        "test" => suites::run(&rest),
        "transcripts" => transcripts::run(&rest),
        "fidelity" => fidelity::run(&rest),
        "matrix" => matrix::write().map(|()| true),
        "durability" => durability::run(&rest),
        "faults" => faults::run(&rest),
        "worker" => worker::run(&rest).map(|()| true),
        "smoke" => smoke::run(&rest),
        "soak" => soak::run(&rest),
        "bench" => bench::run(&rest).map(|()| true),
        "fuzz" => fuzz::run(&rest).map(|()| true),
        "fmt" => check::format(&rest).map(|()| true),
        "lint" => check::lint().map(|()| true),
        "" | "help" | "-h" | "--help" => {
            print!("{HELP}");
            Ok(true)
        }
        other => {
            eprint!("xtask: there is no task {other:?}\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
