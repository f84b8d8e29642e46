# Node.js 18: modules, files, streams, workers, an HTTP server and its clients, children, timers, signals.
export NODE_OPTIONS=--no-warnings
node -e 'console.log(process.version.split(".")[0], process.arch, process.platform, os.endianness())'
cat > basics.js <<'JS'
const crypto = require("crypto"), zlib = require("zlib"), fs = require("fs"), { promisify } = require("util");
console.log(crypto.createHash("sha256").update("abc").digest("hex"), zlib.gunzipSync(zlib.gzipSync("x".repeat(1e5))).length);
console.log([3, 1, 2].sort(), 2n ** 100n, new Intl.NumberFormat("en-US").format(1234567.891), JSON.stringify({ a: [1, { b: null }] }));
fs.mkdirSync("d/e", { recursive: true }); fs.writeFileSync("d/e/f", "text"); fs.appendFileSync("d/e/f", "more"); fs.symlinkSync("e/f", "d/l");
console.log(fs.readFileSync("d/l", "utf8"), fs.readdirSync("d", { withFileTypes: true }).map((e) => [e.name, e.isSymbolicLink()]), fs.statSync("d/e/f").size);
(async () => {
  const watcher = fs.watch("d/e"); const seen = new Promise((done) => watcher.once("change", (kind, name) => done([kind, name])));
  fs.writeFileSync("d/e/new", ""); console.log(await seen); watcher.close();
  await require("stream/promises").pipeline(fs.createReadStream(process.execPath, { end: 999999 }), crypto.createHash("md5"), async function* (h) { for await (const b of h) yield b.length + "\n"; }, fs.createWriteStream("out"));
  console.log(fs.readFileSync("out", "utf8").trim());
  const start = Date.now(); await promisify(setTimeout)(50); console.log(Date.now() - start >= 49);
  await Promise.all([1, 2, 3, 4].map((n) => fs.promises.writeFile("p" + n, String(n)))); console.log((await Promise.all([1, 2, 3, 4].map((n) => fs.promises.readFile("p" + n, "utf8")))).join());
  try { await fs.promises.open("nosuch") } catch (e) { console.log(e.code, e.errno, e.syscall) }
  process.on("exit", (code) => console.log("exit", code)); process.exitCode = 3;
})();
JS
node basics.js; echo $?
cat > workers.js <<'JS'
const { Worker, isMainThread, parentPort, workerData, MessageChannel } = require("worker_threads");
if (isMainThread) {
  const shared = new SharedArrayBuffer(8), cell = new Int32Array(shared);
  const all = [1, 2, 3, 4].map((n) => new Promise((done) => new Worker(__filename, { workerData: { n, shared } }).on("message", done).on("error", (e) => done(e.message))));
  Promise.all(all).then((r) => { console.log(r, Atomics.load(cell, 0)); const w = new Worker("throw new Error('inside')", { eval: true }); w.on("error", (e) => console.log(e.message)); w.on("exit", (c) => console.log("worker exit", c)); });
} else {
  const cell = new Int32Array(workerData.shared); for (let i = 0; i < 1000; i++) Atomics.add(cell, 0, 1);
  let sum = 0; for (let i = 0; i < 1e5 * workerData.n; i++) sum = (sum * 31 + i) | 0;
  if (workerData.n === 1) { Atomics.wait(cell, 1, 0, 10); } parentPort.postMessage([workerData.n, sum]);
}
JS
node workers.js; echo $?
cat > server.js <<'JS'
const http = require("http"), net = require("net"), { spawn, execFileSync, fork } = require("child_process"), dgram = require("dgram");
const server = http.createServer((q, s) => { let n = 0; q.on("data", (d) => (n += d.length)); q.on("end", () => { if (q.url === "/big") s.end(Buffer.alloc(3e5, 97)); else s.end(`${q.method} ${q.url} ${n}\n`); }); });
server.keepAliveTimeout = server.requestTimeout = server.headersTimeout = 0;
server.listen(0, "127.0.0.1", async () => {
  const { port } = server.address(), base = `http://127.0.0.1:${port}`;
  console.log(await (await fetch(base + "/a?b")).text(), (await (await fetch(base + "/big")).arrayBuffer()).byteLength);
  console.log(await (await fetch(base + "/post", { method: "POST", body: "y".repeat(200000) })).text());
  console.log((await Promise.all([...Array(20).keys()].map(async (n) => (await fetch(base + "/" + n)).status))).every((s) => s === 200));
  console.log(execFileSync("sh", ["-c", "cat; exit 0"], { input: "through sh" }).toString());
  const child = spawn("sh", ["-c", "echo out; echo err >&2; kill -TERM $$"]); let text = ""; child.stdout.on("data", (d) => (text += d)); child.stderr.on("data", (d) => (text += d));
  child.on("close", (code, signal) => { console.log(text.split("\n").sort().join(" "), code, signal);
    const unix = net.createServer((c) => c.pipe(c)).listen("/tmp/node.sock", () => { const c = net.connect("/tmp/node.sock", () => c.end("echo")); let got = ""; c.on("data", (d) => (got += d)); c.on("close", () => { console.log(got); unix.close(); const u = dgram.createSocket("udp4"); u.on("message", (m, r) => { console.log(m.toString(), r.address); u.close(); process.kill(process.pid, "SIGUSR2"); }); u.bind(0, "127.0.0.1", () => u.send("datagram", u.address().port, "127.0.0.1")); }); }); });
  process.on("SIGUSR2", () => { console.log("SIGUSR2"); const f = fork("child.js"); f.send(21); f.on("message", (m) => console.log("child says", m)); f.on("exit", (c) => { console.log("child", c); server.close(); server.closeAllConnections(); }); });
});
net.connect(1, "127.0.0.1").on("error", (e) => console.log(e.code));
JS
echo "process.on('message', (m) => { process.send(m * 2); process.disconnect(); })" > child.js
node server.js; echo $?
echo 'console.log(require("./m").x); import("./e.mjs").then((m) => console.log(m.default))' > c.js; echo 'exports.x = __filename.split("/").pop()' > m.js; echo 'import { readFileSync } from "node:fs"; export default await Promise.resolve(readFileSync("m.js").length)' > e.mjs; node c.js
printf 'let a = 5\na * 2\n[1,2].map(x => x + a)\n.exit\n' | node -i 2>&1 | tail -5 | head -4; node -e 'throw new TypeError("uncaught")' 2>&1 | grep -o 'TypeError: uncaught'; node --stack-size=200 -e 'let d = 0; (function f() { d++; f() })()' 2>&1 | grep -o RangeError | head -1
node -e 'const a = []; for (let i = 0; i < 200; i++) a.push(new Array(1e4).fill(i)); global.gc && gc(); const w = new WebAssembly.Module(new Uint8Array([0,97,115,109,1,0,0,0,1,7,1,96,2,127,127,1,127,3,2,1,0,7,7,1,3,97,100,100,0,0,10,9,1,7,0,32,0,32,1,106,11])); console.log(new WebAssembly.Instance(w).exports.add(2, 40), a.length)'
