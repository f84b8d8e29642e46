//! The `image-tools` program: a thin skin over the library of the same name.

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Parser;
use image_tools::build::{BuildOptions, DEFAULT_FREE, Size, build};
use image_tools::export::{Layout, export};
use image_tools::inspect::inspect;
use image_tools::serve_check::{Way, serve_check};
use image_tools::verify::verify;
use image_tools::{Reader, Source, Store};
use vm_block::remote::native::NativeOptions;

mod bars;
mod cli;
mod duration;
mod publishing;
mod size;

use bars::Bars;
use cli::{Cli, Command};

const DAMAGED: u8 = 3;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let bars = Bars { quiet: cli.quiet };
    let network = NativeOptions { ca: cli.ca };
    match run(cli.command, &network, &bars) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("image-tools: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command, network: &NativeOptions, bars: &Bars) -> Result<ExitCode> {
    match command {
        Command::Build(args) => {
            let free = args.free.unwrap_or(DEFAULT_FREE);
            let first = args.first.map(|path| paths(&path)).transpose()?.unwrap_or_default();
            let options = BuildOptions {
                tags: args.output.tags,
                size: args.size.map_or(Size::Free(free), Size::Total),
                level: args.output.level,
                created: args.output.created,
                first,
                after: args.after,
                network: network.clone(),
                ..BuildOptions::new(&args.name)
            };
            make(&args.from, &args.store, &options, bars)
        }
        Command::Chunk(args) => {
            let options = BuildOptions {
                tags: args.output.tags,
                level: args.output.level,
                created: args.output.created,
                ..BuildOptions::new(&args.name)
            };
            make(&Source::Ext2(args.disk), &args.store, &options, bars)
        }
        Command::Inspect(args) => {
            let reader = Reader::open(&args.image, &args.network.with(network))?;
            let inspection = inspect(&reader)?;
            println!("{}", serde_json::to_string_pretty(&inspection)?);
            Ok(if inspection.errors.is_empty() { ExitCode::SUCCESS } else { DAMAGED.into() })
        }
        Command::Verify(args) => {
            let reader = match Reader::open_signed(&args.image, &args.network.with(network), args.key) {
                Err(error) if args.key.is_some() && error.is::<image_tools::Untrusted>() => {
                    eprintln!("image-tools: {error:#}");
                    return Ok(DAMAGED.into());
                }
                opened => opened?,
            };
            let verdict = verify(&reader, bars)?;
            verdict.errors.iter().for_each(|error| eprintln!("image-tools: {error}"));
            if !verdict.is_good() {
                println!("{}: {} errors, {} chunks are good", args.image, verdict.errors.len(), verdict.good);
                return Ok(DAMAGED.into());
            }
            println!("{}: all {} chunks and the file system are good", args.image, verdict.good);
            Ok(ExitCode::SUCCESS)
        }
        Command::Export(args) => {
            let layout = match args.layout {
                cli::Layout::File => Layout::File,
                cli::Layout::Github => Layout::Github,
            };
            let reader = Reader::open(&args.image, &args.network.with(network))?;
            let files = export(&reader, &args.to, layout, bars)?;
            println!("{}: {files} file(s), a disk of {}", args.to.display(), size::show(reader.manifest().image_size));
            Ok(ExitCode::SUCCESS)
        }
        Command::ServeCheck(args) => check_server(&args, network),
        Command::Push(args) => publishing::push(args, network, bars),
        Command::Pull(args) => publishing::pull(args, network, bars),
        Command::Diff(args) => publishing::diff(&args, network, bars),
        Command::Gc(args) => publishing::gc(&args, bars),
        Command::Keygen(args) => publishing::keygen(&args),
        Command::Sign(args) => publishing::sign(&args, network),
    }
}

fn make(source: &Source, store: &Path, options: &BuildOptions, bars: &Bars) -> Result<ExitCode> {
    let start = Instant::now();
    let built = build(source, &Store::create(store)?, options, bars)?;
    println!("{}/{}@b3:{}", store.display(), options.name, built.manifest);
    eprintln!(
        "a disk of {}: {} of {} chunks have data; {} new objects, {}; {:.1} s",
        size::show(built.size),
        built.chunked.stored,
        built.chunked.chunks,
        built.chunked.new_objects,
        size::show(built.chunked.new_bytes),
        start.elapsed().as_secs_f64(),
    );
    Ok(ExitCode::SUCCESS)
}

/// The lines of a list of paths; empty ones and comments apart.
fn paths(list: &Path) -> Result<Vec<Vec<u8>>> {
    let text = std::fs::read(list).with_context(|| format!("cannot read {}", list.display()))?;
    let lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    Ok(lines.filter(|line| !line.is_empty() && !line.starts_with(b"#")).map(<[u8]>::to_vec).collect())
}

fn check_server(args: &cli::ServeCheck, network: &NativeOptions) -> Result<ExitCode> {
    let mut errors = 0;
    for (way, name) in [(Way::Any, "WebSocket if there is one"), (Way::Http, "HTTP alone")] {
        let pass = serve_check(&args.image, way, args.sample, &args.network.with(network)).context(name)?;
        println!("{name}: used {:?}", pass.link);
        println!("  opened in {:.1} ms, first chunk after {:.1} ms", millis(pass.opening), millis(pass.first_chunk));
        println!(
            "  {} chunks verified, {:.0} MB/s of disk, {} received",
            pass.chunks,
            pass.megabytes_per_second(),
            size::show(pass.bytes)
        );
        if let Some(rtt) = pass.rtt {
            println!("  round trip {:.1} ms", millis(rtt));
        }
        pass.errors.iter().for_each(|error| eprintln!("image-tools: {error}"));
        errors += pass.errors.len();
    }
    Ok(if errors == 0 { ExitCode::SUCCESS } else { DAMAGED.into() })
}

fn millis(time: std::time::Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
