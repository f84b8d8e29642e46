//! Measures the servers of streamed images, beside others and against what they must reach. `cargo xtask bench stream`
//! builds what is measured and runs this.
//!
//! - [`place`]: a store of its own, and the programs that serve it: block-server, nginx, the Worker.
//! - [`peer`]: connections that ask and count; [`figures`]: what comes of it.
//! - [`race`]: memory hits, closed loop; what a browser does with a chunk. [`crowd`]: open loop with idle clients beside it. [`boots`]: cold boots.
//! - [`layout`]: what one more small file costs.
//! - [`link`]: a line of our own between two network namespaces; [`far`]: what is measured over it.
//!
//! Clients and servers share this machine: compare columns, do not quote them as capacity.

mod boots;
mod crowd;
mod far;
mod figures;
mod layout;
mod link;
mod peer;
mod place;
mod race;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::{Parser, Subcommand};
use figures::Report;
use place::Place;

/// Measures the servers of streamed images.
#[derive(Parser)]
struct Options {
    /// The built block-server.
    #[arg(long, value_name = "FILE")]
    block_server: PathBuf,
    /// The project's root, with the built Worker in build/worker.
    #[arg(long, value_name = "DIR")]
    root: PathBuf,
    /// Where results.json goes.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// The built example `layout` of image-tools.
    #[arg(long, value_name = "FILE")]
    layout: PathBuf,
    /// Minutes of the open loop.
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// Seconds of each closed loop.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Less of everything: to see that it runs, not to quote.
    #[arg(long)]
    quick: bool,
    /// Puts the table between the marks in this file.
    #[arg(long, value_name = "FILE")]
    readme: Option<PathBuf>,
    /// Only these parts.
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "PART",
        default_value = "race,worker,browser,boots,link,layout,crowd"
    )]
    parts: Vec<String>,
}

impl Options {
    fn minutes(&self) -> f64 {
        if self.quick { 0.4 } else { self.minutes.max(0.05) }
    }

    fn seconds(&self) -> Duration {
        Duration::from_secs_f64(if self.quick { 1.0 } else { self.seconds.max(0.1) })
    }
}

/// What this program is called for by itself.
#[derive(Subcommand)]
enum Role {
    /// Answers echoes and sends bytes, at the far end of the link.
    Peer(link::PeerOptions),
    /// Measures the link and reads a disk over it, at the near end.
    Client(far::ClientOptions),
}

#[derive(Parser)]
struct RoleOptions {
    #[command(subcommand)]
    role: Role,
}

fn main() -> ExitCode {
    let is_role = std::env::args().nth(1).is_some_and(|word| word == "peer" || word == "client");
    let done = if is_role {
        match RoleOptions::parse().role {
            Role::Peer(options) => link::be_peer(&options),
            Role::Client(options) => far::be_client(&options),
        }
    } else {
        measure(&Options::parse())
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("stream-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure(options: &Options) -> Result<()> {
    let place = Place::make(&options.root, &options.block_server)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let seconds = options.seconds();
    let mut report = Report::default();
    for part in &options.parts {
        eprintln!("--> {part}");
        let measured = match part.as_str() {
            "race" => runtime.block_on(race::against_nginx(&place, seconds, &mut report)),
            "worker" => runtime.block_on(race::worker(&place, seconds, &mut report)),
            "browser" => race::browser(&place, &mut report),
            "boots" => runtime.block_on(boots::measure(&place, seconds, &mut report)),
            "link" => runtime.block_on(link::measure(&place, &mut report)),
            "crowd" => {
                let minutes = Duration::from_secs_f64(options.minutes() * 60.0);
                runtime.block_on(crowd::measure(&place, seconds, minutes, &mut report))
            }
            "layout" => layout::measure(&options.layout, options.quick, &mut report),
            other => {
                anyhow::bail!(
                    "there is no part {other:?}; there are race, worker, browser, boots, link, layout and crowd"
                )
            }
        };
        if let Err(error) = measured {
            report.left_out(part, &format!("{error:#}"));
        }
    }
    print!("{}", report.table());
    if let Some(readme) = &options.readme {
        report.put_into(readme)?;
    }
    report.write(&options.out)
}
