// The built server as a deployment runs it: settings from everywhere at once, TLS by files, HTTP/2, its second address.

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { copyFile, mkdir, readFile, writeFile } from "node:fs/promises";
import { connect } from "node:http2";
import { get } from "node:https";
import { createRequire } from "node:module";
import { join } from "node:path";
import { connect as connectTls } from "node:tls";
import { promisify } from "node:util";

const require = createRequire(new URL("../../edge-worker/package.json", import.meta.url));
const WebSocket = require("ws");
const run = promisify(execFile);

export function tests(test, world) {
  const program = join(world.targetDir, "debug/block-server");

  /** A certificate for `localhost`, signed by itself. */
  async function certificate(folder, name) {
    const [key, cert] = [join(folder, `${name}.key`), join(folder, `${name}.crt`)];
    const words = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
    await run("openssl", [...words, "-subj", `/CN=${name}`, "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", cert]);
    return { key, cert, text: await readFile(cert) };
  }

  /** Starts it; `addresses` are those that it prints. */
  async function start(words, vars = {}) {
    const child = spawn(program, words, { env: { ...process.env, ...vars }, stdio: ["ignore", "pipe", "pipe"] });
    world.defer(() => child.kill("SIGKILL"));
    let [printed, log] = ["", ""];
    child.stdout.on("data", (data) => (printed += data));
    child.stderr.on("data", (data) => (log += data));
    const wanted = words.includes("--metrics-listen") || vars.BLOCK_SERVER_METRICS_LISTEN ? 2 : 1;
    for (let tries = 0; printed.split("\n").length <= wanted; tries += 1) {
      assert.ok(tries < 400 && child.exitCode === null, `it does not start:\n${log}`);
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
    const addresses = [...printed.matchAll(/(https?:\/\/\S+)/g)].map(([url]) => new URL(url));
    return { child, addresses, log: () => log };
  }

  /** A store with nothing in it. */
  async function emptyStore(folder) {
    const store = join(folder, "store");
    await mkdir(store);
    return store;
  }

  test("TLS by files: HTTP/1.1, HTTP/2 and WebSocket, and a certificate that is replaced", async () => {
    const folder = await world.folder();
    const site = join(folder, "site");
    await mkdir(site);
    await writeFile(join(site, "index.html"), "the page");
    const [one, two] = [await certificate(folder, "one"), await certificate(folder, "two")];
    const [cert, key] = [join(folder, "server.crt"), join(folder, "server.key")];
    await copyFile(one.cert, cert);
    await copyFile(one.key, key);
    const words = ["--store", await emptyStore(folder), "--static", site, "--listen", "127.0.0.1:0", "--tls-cert", cert, "--tls-key", key];
    const { addresses, child } = await start(words);
    assert.equal(addresses[0].protocol, "https:");
    const port = addresses[0].port;
    const trusted = { ca: one.text, host: "localhost", port, servername: "localhost" };

    const text = await new Promise((resolve, reject) => {
      get({ ...trusted, path: "/" }, (reply) => {
        assert.equal(reply.httpVersion, "1.1");
        let body = "";
        reply.on("data", (data) => (body += data)).on("end", () => resolve(body));
      }).on("error", reject);
    });
    assert.equal(text, "the page");

    const session = connect(`https://localhost:${port}`, { ca: one.text });
    world.defer(() => session.destroy());
    const ask = (path) =>
      new Promise((resolve, reject) => {
        const stream = session.request({ ":path": path });
        let status;
        stream.on("response", (headers) => (status = headers[":status"]));
        stream.on("error", reject).on("data", () => {}).on("end", () => resolve(status));
        stream.end();
      });
    // Many at once on one connection.
    assert.deepEqual(await Promise.all(["/healthz", "/", `/o/00/${"0".repeat(64)}`, "/t/a/b.json"].map(ask)), [200, 200, 404, 404]);
    assert.equal(session.alpnProtocol, "h2");

    const socket = new WebSocket(`wss://localhost:${port}/v1/ws`, ["vmdisk.v1"], { ca: one.text });
    await once(socket, "open");
    assert.equal(socket.protocol, "vmdisk.v1");
    socket.terminate();

    // Who does not trust it is not served in the clear.
    await assert.rejects(new Promise((resolve, reject) => get({ ...trusted, ca: two.text, path: "/" }, resolve).on("error", reject)));
    await assert.rejects(fetch(`http://127.0.0.1:${port}/healthz`));

    await copyFile(two.key, key);
    await copyFile(two.cert, cert);
    const shown = async () => {
      const tls = connectTls({ port, host: "localhost", servername: "localhost", rejectUnauthorized: false });
      await once(tls, "secureConnect");
      const { subject } = tls.getPeerCertificate();
      tls.destroy();
      return subject.CN;
    };
    for (let tries = 0; (await shown()) !== "two"; tries += 1) {
      assert.ok(tries < 900, "the new certificate is never taken");
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    const gone = once(child, "exit");
    child.kill("SIGTERM");
    assert.equal((await gone)[0], 0);
  }, { seconds: 120 });

  test("flags win over the environment, that over the file; metrics have an address of their own", async () => {
    const folder = await world.folder();
    const store = await emptyStore(folder);
    const file = join(folder, "server.toml");
    await writeFile(file, `store = ${JSON.stringify(store)}\nlisten = "127.0.0.1:1"\nallow-origin = ["https://file.example"]\nmemory-cache = "1M"\n`);
    const vars = { BLOCK_SERVER_LISTEN: "127.0.0.1:0", BLOCK_SERVER_ALLOW_ORIGIN: "https://variable.example", BLOCK_SERVER_METRICS_LISTEN: "127.0.0.1:0" };
    const { addresses } = await start(["--config", file, "--allow-origin", "https://flag.example"], vars);
    const [server, metrics] = addresses;
    const allowed = async (origin) => (await fetch(new URL("/t/a/b.json", server), { headers: { origin } })).headers.get("access-control-allow-origin");
    assert.equal(await allowed("https://flag.example"), "https://flag.example");
    for (const origin of ["https://file.example", "https://variable.example"]) assert.equal(await allowed(origin), null);
    assert.equal((await fetch(new URL("/metrics", server))).status, 404);
    assert.match(await (await fetch(metrics)).text(), /^block_server_connections \d+$/m);
    assert.equal((await fetch(new URL("/healthz", metrics))).status, 404);
  });

  test("tokens are printed, and never logged", async () => {
    const folder = await world.folder();
    const store = await emptyStore(folder);
    const stored = Buffer.from("x");
    await mkdir(join(store, "p/acme/t/mine"), { recursive: true });
    const record = { name: "mine", tag: "latest", manifest: createHash("sha256").update(stored).digest("hex"), size: 4096, created: 1 };
    await writeFile(join(store, "p/acme/t/mine/latest.json"), JSON.stringify(record));
    const secrets = join(folder, "secrets");
    await writeFile(secrets, "a secret of the tests alone, long enough to be one\n");
    const words = ["--store", store, "--listen", "127.0.0.1:0", "--token-secrets", secrets, "--log-format", "json"];
    const { addresses, child, log } = await start(words, { RUST_LOG: "trace" });
    const token = (await run(program, ["token", "--tenant", "acme", "--hours", "1", "--token-secrets", secrets])).stdout.trim();
    const url = new URL("/p/acme/t/mine/latest.json", addresses[0]);
    assert.equal((await fetch(url)).status, 401);
    assert.equal((await fetch(`${url}?t=${token}`)).status, 200);
    assert.equal((await fetch(url, { headers: { authorization: `Bearer ${token}` } })).status, 200);
    assert.equal((await fetch(new URL("/t/mine/latest.json", addresses[0]))).status, 404);
    const gone = once(child, "exit");
    child.kill("SIGTERM");
    await gone;
    assert.ok(!log().includes(token), "the token is in the log");
  });
}
