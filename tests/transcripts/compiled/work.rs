// What Rust's standard library asks of a kernel.
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{mpsc, Arc, Condvar, Mutex};
use std::time::{Duration, Instant};
use std::{env, fs, panic, thread};

fn main() {
    println!("hello from {} {}", env::consts::OS, env::consts::ARCH);
    let sum = Arc::new(AtomicU64::new(0));
    let all: Vec<_> = (0..16)
        .map(|n| {
            let sum = sum.clone();
            thread::spawn(move || (0..1000).for_each(|_| drop(sum.fetch_add(n, Ordering::Relaxed))))
        })
        .collect();
    all.into_iter().for_each(|thread| thread.join().unwrap());
    println!("threads {}", sum.load(Ordering::Relaxed));
    let (send, receive) = mpsc::channel();
    for n in 0..4 {
        let send = send.clone();
        thread::spawn(move || (0..100).for_each(|m| send.send(n * 100 + m).unwrap()));
    }
    drop(send);
    println!("channel {}", receive.iter().sum::<i32>());
    let pair = Arc::new((Mutex::new(false), Condvar::new()));
    let other = pair.clone();
    thread::spawn(move || {
        thread::sleep(Duration::from_millis(20));
        *other.0.lock().unwrap() = true;
        other.1.notify_all();
    });
    let mut ready = pair.0.lock().unwrap();
    while !*ready {
        ready = pair.1.wait(ready).unwrap();
    }
    let (_, late) = pair.1.wait_timeout(ready, Duration::from_millis(10)).unwrap();
    println!("condition {}", late.timed_out());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        stream.write_all(text.to_uppercase().as_bytes()).unwrap();
    });
    let mut stream = TcpStream::connect(at).unwrap();
    stream.write_all(b"over loopback").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    server.join().unwrap();
    println!("{answer}");
    println!("{:?}", TcpStream::connect("127.0.0.1:1").map(drop).unwrap_err().kind());
    let child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.as_ref().unwrap().write_all(b"through a child").unwrap();
    let done = child.wait_with_output().unwrap();
    println!("{} {}", String::from_utf8_lossy(&done.stdout), done.status);
    println!("{:?}", Command::new("/no/such/program").spawn().map(drop).unwrap_err().kind());
    fs::create_dir_all("rust/a/b").unwrap();
    fs::write("rust/a/b/file", "text").unwrap();
    let mut names: Vec<_> = fs::read_dir("rust/a").unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    println!("{names:?} {}", fs::read_to_string("rust/a/b/file").unwrap());
    fs::remove_dir_all("rust").unwrap();
    let map: HashMap<_, _> = (0..1000).map(|n| (n, n * n)).collect();
    println!("map {}", map[&31]);
    let start = Instant::now();
    thread::sleep(Duration::from_millis(15));
    println!("slept {}", start.elapsed() >= Duration::from_millis(15));
    panic::set_hook(Box::new(|info| println!("{}", info.location().unwrap().line())));
    println!("caught {}", panic::catch_unwind(|| [1, 2][env::args().count() + 1]).is_err());
    let deep = thread::Builder::new().stack_size(1 << 20).spawn(|| fill(1000)).unwrap();
    println!("deep {}", deep.join().unwrap());
    std::process::exit(5);
}

fn fill(depth: u64) -> u64 {
    let page = [depth; 64];
    if depth == 0 { page[0] } else { fill(depth - 1) + page[63] - depth + 1 }
}
