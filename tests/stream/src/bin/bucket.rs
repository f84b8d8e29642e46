//! The S3 server of these tests as a program: `bucket FOLDER` serves the folders in it as buckets until its input ends. It
//! prints what a client of it wants in its environment, as JSON.

use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::channel;

use stream_tests::bucket;

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: bucket FOLDER");
        return ExitCode::from(2);
    };
    let (told, tell) = channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        runtime.expect("starts").block_on(bucket::serve(&folder, told));
    });
    let Ok(address) = tell.recv() else { return ExitCode::FAILURE };
    let environment = serde_json::json!({
        "AWS_ENDPOINT_URL": format!("http://{address}"), "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": bucket::KEY_ID, "AWS_SECRET_ACCESS_KEY": bucket::KEY,
    });
    println!("{environment}");
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    ExitCode::SUCCESS
}
