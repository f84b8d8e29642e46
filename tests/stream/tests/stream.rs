//! Every case against every server: `cargo test -p stream-tests [-- FILTER]`; names are `SERVER::MODULE::CASE`.
//!
//! Both kinds of block-server run here, beside each other. The Worker needs npm packages and a build of its own:
//! `cargo xtask test stream` and `worker` make them and set `SKIFF_STREAM=worker`.

mod cases;

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

use cases::Case;
use stream_tests::sample::Template;
use stream_tests::world::{Setup, Target, World};

fn main() -> ExitCode {
    let filters: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let targets = match std::env::var("SKIFF_STREAM").as_deref() {
        Ok("worker") => vec![Target::Worker],
        Ok("all") => Target::ALL.to_vec(),
        Ok("") | Err(_) => vec![Target::Directory, Target::Bucket],
        Ok(other) => {
            eprintln!("SKIFF_STREAM is {other:?}; it may be worker or all, or be absent");
            return ExitCode::FAILURE;
        }
    };
    let selected = |target: Target| -> Vec<(String, &'static Case)> {
        let named = cases::all().map(|case| (format!("{}::{}", target.name(), case.name), case));
        let wanted = |name: &str| filters.is_empty() || filters.iter().any(|filter| name.contains(filter));
        named.filter(|(name, case)| !case.not_on.contains(&target) && wanted(name)).collect()
    };
    if std::env::args().any(|argument| argument == "--list") {
        for (name, _) in targets.iter().flat_map(|target| selected(*target)) {
            println!("{name}: test");
        }
        return ExitCode::SUCCESS;
    }
    let template = Template::new();
    let results: Vec<(String, bool)> = std::thread::scope(|scope| {
        let parts = targets.iter().flat_map(|target| {
            let (apart, others): (Vec<_>, Vec<_>) = selected(*target).into_iter().partition(|(_, case)| case.apart);
            [(*target, others), (*target, apart)]
        });
        let template = &template;
        let threads: Vec<_> = parts.map(|(target, cases)| scope.spawn(move || run(target, cases, template))).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("catches what its cases throw")).collect()
    });
    let failed: Vec<&String> = results.iter().filter(|(_, passed)| !passed).map(|(name, _)| name).collect();
    for name in &failed {
        eprintln!("failed: {name}");
    }
    let result = if failed.is_empty() { "ok" } else { "FAILED" };
    println!("\ntest result: {result}. {} passed; {} failed; 0 ignored", results.len() - failed.len(), failed.len());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run(target: Target, cases: Vec<(String, &'static Case)>, template: &Template) -> Vec<(String, bool)> {
    // Cases that damage nothing share a server.
    let mut shared: HashMap<Setup, World> = HashMap::new();
    let mut results = Vec::new();
    for (name, case) in cases {
        let start = Instant::now();
        let run = catch_unwind(AssertUnwindSafe(|| {
            let mut own = None;
            let world = if case.own {
                own.insert(World::start(target, case.setup, template))
            } else {
                shared.entry(case.setup).or_insert_with(|| World::start(target, case.setup, template))
            };
            let mut runtime = tokio::runtime::Builder::new_multi_thread();
            let runtime = runtime.worker_threads(1).enable_all().build().expect("starts");
            runtime.block_on((case.run)(world));
            runtime.shutdown_background();
        }));
        let passed = run.is_ok();
        let result = if passed { "ok" } else { "FAILED" };
        println!("test {name} ... {result} ({:.1} s)", start.elapsed().as_secs_f64());
        results.push((name, passed));
    }
    results
}
