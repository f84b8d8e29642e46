//! A store made for measuring, and the programs that serve it.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use block_proto::envelope::Sealer;
use block_proto::section::{BootProfile, ProfileEntry};
use block_proto::{CHUNK_SIZE, Hash, Manifest, PAGE_CHUNKS, Section, SectionKind, TagRecord, key};
use tempfile::TempDir;

/// Chunks of the image; all are data.
pub(crate) const CHUNKS: u32 = 1024;
/// Chunks that its boots touch; WebVM's takes about as many.
pub(crate) const BOOT: u32 = 150;

/// Where everything is.
pub(crate) struct Place {
    dir: TempDir,
    pub(crate) root: PathBuf,
    block_server: PathBuf,
    pub(crate) manifest: Hash,
    pub(crate) chunks: Vec<Hash>,
    /// Mean size of a stored chunk.
    pub(crate) mean: f64,
}

/// What clients ask for.
#[derive(Clone, Copy)]
pub(crate) struct Load<'a> {
    pub(crate) manifest: Hash,
    pub(crate) chunks: &'a [Hash],
}

impl Load<'_> {
    /// The object that a connection asks for in its turn; each goes its own way through all of them.
    pub(crate) fn pick(&self, connection: usize, turn: usize) -> Hash {
        self.chunks[(connection * 131 + turn * 37) % self.chunks.len()]
    }
}

impl Place {
    pub(crate) fn make(root: &Path, block_server: &Path) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let store = dir.path().join("store");
        let mut sealer = Sealer::new(3)?;
        let mut stored = 0;
        let put = |key: &str, bytes: &[u8]| -> Result<()> {
            let path = store.join(key);
            std::fs::create_dir_all(path.parent().context("keys have folders")?)?;
            Ok(std::fs::write(path, bytes)?)
        };
        let mut chunks = Vec::new();
        for chunk in 0..CHUNKS {
            let object = chunk_bytes(chunk);
            let (hash, envelope) = (Hash::of(&object), sealer.seal(&object));
            stored += envelope.len();
            put(&key::object(&hash), &envelope)?;
            chunks.push(hash);
        }
        let mut page: Vec<u8> = chunks.iter().flat_map(|hash| *hash.as_bytes()).collect();
        page.resize(PAGE_CHUNKS * 32, 0);
        let page_hash = Hash::of(&page);
        put(&key::object(&page_hash), &sealer.seal(&page))?;
        let entries = (0..BOOT).map(|n| ProfileEntry {
            chunk: n * 3,
            first_touch_ms: u16::try_from(n * 10).unwrap_or(u16::MAX),
            runs_seen: 1,
        });
        let profile = BootProfile { entries: entries.collect() }.emit();
        let profile_hash = Hash::of(&profile);
        put(&key::object(&profile_hash), &sealer.seal(&profile))?;
        let size = u64::from(CHUNKS) * CHUNK_SIZE as u64;
        let section = Section { kind: SectionKind::BootProfile, flags: 0, count: BOOT, hash: profile_hash };
        let root_object = Manifest {
            image_size: size,
            created: 1,
            fs_uuid: [1; 16],
            sections: vec![section],
            pages: vec![page_hash],
        }
        .emit();
        let manifest = Hash::of(&root_object);
        put(&key::object(&manifest), &sealer.seal(&root_object))?;
        let record = TagRecord {
            name: "bench".into(),
            tag: "latest".into(),
            manifest,
            size,
            created: 1,
            transport: vec!["ws".into(), "http".into()],
            endpoints: vec![],
            sig: None,
        };
        put(&key::tag("bench", "latest"), &record.emit())?;
        let mean = stored as f64 / f64::from(CHUNKS);
        Ok(Self { dir, root: root.to_owned(), block_server: block_server.to_owned(), manifest, chunks, mean })
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    /// All of the image to be asked for, or so many chunks of it.
    pub(crate) fn load(&self, most: usize) -> Load<'_> {
        Load { manifest: self.manifest, chunks: self.chunks.get(..most.max(1)).unwrap_or(&self.chunks) }
    }

    /// Starts block-server, in a network namespace if one is named.
    pub(crate) fn block_server(&self, namespace: Option<&str>, listen: &str) -> Result<Served> {
        let mut command = in_namespace(namespace, &self.block_server);
        command.arg("--store").arg(self.store()).args(["--listen", listen, "--metrics-listen", "127.0.0.1:0"]);
        // Everybody here has one address, and asks for more than a classroom.
        for limit in ["connects", "objects", "token-objects", "fresh"] {
            command.args([format!("--limit-{limit}"), "off".to_owned()]);
        }
        command.env("RUST_LOG", "block_server=info,block_server::socket=warn").env("NO_COLOR", "1");
        command.args(["--log-format", "json"]);
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().context("starting block-server")?;
        let mut addresses = Vec::new();
        // It says where it listens, first or second, on either stream.
        let (told, tell) = std::sync::mpsc::channel();
        let outputs: [Box<dyn std::io::Read + Send>; 2] =
            [Box::new(child.stdout.take().context("is piped")?), Box::new(child.stderr.take().context("is piped")?)];
        for output in outputs {
            let told = told.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    let _ = told.send(line);
                }
            });
        }
        let mut served = Served { child, address: String::new(), metrics: None };
        let start = Instant::now();
        while addresses.len() < 2 {
            let left = Duration::from_secs(20).saturating_sub(start.elapsed());
            let line = tell.recv_timeout(left).context("block-server does not say where it listens")?;
            let Ok(line) = serde_json::from_str::<serde_json::Value>(&line) else { continue };
            let fields = &line["fields"];
            if let (Some(message), Some(address)) = (fields["message"].as_str(), fields["address"].as_str()) {
                addresses.push(address.to_owned());
                match message {
                    "listening" => served.address = address.to_owned(),
                    "metrics" => served.metrics = Some(address.to_owned()),
                    _ => {}
                }
            }
        }
        Ok(served)
    }

    /// Starts nginx over the same files.
    pub(crate) fn nginx(&self) -> Result<Served> {
        let port = free_port()?;
        let folder = self.dir.path().join("nginx");
        std::fs::create_dir_all(&folder)?;
        let (folder_text, store) = (folder.display(), self.store());
        let configuration = format!(
            "daemon off; worker_processes 2; pid {folder_text}/pid; error_log {folder_text}/error.log;\n\
             events {{ worker_connections 4096; }}\n\
             http {{ access_log off; sendfile on; tcp_nopush on; tcp_nodelay on; keepalive_requests 1000000000;\n\
             keepalive_timeout 600s; open_file_cache max=10000 inactive=600s; open_file_cache_valid 600s;\n\
             types {{ }} default_type application/vnd.vmdisk.object;\n\
             client_body_temp_path {folder_text}/b; proxy_temp_path {folder_text}/p; fastcgi_temp_path {folder_text}/f;\n\
             uwsgi_temp_path {folder_text}/u; scgi_temp_path {folder_text}/s;\n\
             server {{ listen 127.0.0.1:{port}; root {}; }} }}\n",
            store.display()
        );
        let file = folder.join("nginx.conf");
        std::fs::write(&file, configuration)?;
        // Its workers may run as another user, who must find the files.
        open_to_all(self.dir.path())?;
        let child =
            Command::new("nginx").arg("-c").arg(&file).arg("-p").arg(&folder).spawn().context("starting nginx")?;
        let served = Served { child, address: format!("127.0.0.1:{port}"), metrics: None };
        let start = Instant::now();
        while std::net::TcpStream::connect(&served.address).is_err() {
            if start.elapsed() > Duration::from_secs(10) {
                bail!("nginx does not listen; see {}", folder.join("error.log").display());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(served)
    }

    /// Starts the Worker in workerd over the same files.
    pub(crate) fn worker(&self) -> Result<Served> {
        let mut node = Command::new("node");
        node.current_dir(&self.root).arg("edge-worker/serve.mjs").arg("--store").arg(self.store());
        let mut child = node.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("starting node")?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("is piped")?).read_line(&mut line)?;
        let address = line.trim().split("http://").nth(1).map(|rest| rest.trim_end_matches('/').to_owned());
        let served = Served { child, address: address.unwrap_or_default(), metrics: None };
        if served.address.is_empty() {
            bail!("the Worker does not start; build it with `cargo xtask worker build`");
        }
        Ok(served)
    }
}

/// A command, in a network namespace if one is named.
pub(crate) fn in_namespace(namespace: Option<&str>, program: &Path) -> Command {
    match namespace {
        None => Command::new(program),
        Some(name) => {
            let mut ip = Command::new("ip");
            ip.args(["netns", "exec", name]).arg(program);
            ip
        }
    }
}

fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn open_to_all(dir: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    Ok(std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755))?)
}

/// A server that runs; ended when dropped.
pub(crate) struct Served {
    child: Child,
    /// `host:port`.
    pub(crate) address: String,
    /// The same of `/metrics`.
    pub(crate) metrics: Option<String>,
}

impl Served {
    /// Resident memory in KiB.
    pub(crate) fn resident_kib(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }

    /// Processor time so far.
    pub(crate) fn processor(&self) -> Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // Fields 14 and 15, counted behind the name, in hundredths of a second (see proc(5)).
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |n: usize| fields.get(n).and_then(|field| field.parse::<u64>().ok()).context("no such field");
        Ok(Duration::from_millis((ticks(11)? + ticks(12)?) * 10))
    }

    /// A number of `/metrics`, 0 if there is none yet.
    pub(crate) async fn metric(&self, name: &str) -> Result<u64> {
        let address = self.metrics.as_ref().context("no metrics")?;
        let mut http = crate::peer::Http::connect(address).await?;
        let text = String::from_utf8(http.get("/metrics").await?)?;
        let numbers = text.lines().filter(|line| line.starts_with(name)).filter_map(|line| line.rsplit(' ').next());
        Ok(numbers.filter_map(|number| number.parse::<u64>().ok()).sum())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        // As kill(1) would: servers end their children, too.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        for _ in 0..100 {
            if self.child.try_wait().is_ok_and(|status| status.is_some()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A chunk that compresses about three times, as those of systems do.
fn chunk_bytes(chunk: u32) -> Vec<u8> {
    let mut state = u64::from(chunk).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(CHUNK_SIZE + 64);
    while bytes.len() < CHUNK_SIZE {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
        bytes.extend_from_slice(&state.to_le_bytes());
        bytes.extend_from_slice(b"as text is");
    }
    bytes.truncate(CHUNK_SIZE);
    bytes
}
