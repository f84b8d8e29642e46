#!/usr/bin/env node
// Runs a program of an image in Node, with this terminal or with pipes, and exits with its status.

import { constants } from "node:os";

import { CloudDevice, Linux } from "./index.js";
import { imageUrl, inProcess } from "./node.js";

const HELP = `usage: skiff run --image STORE_OR_URL/name[@tag|@b3:HASH] [OPTIONS] -- COMMAND [ARG...]

Runs COMMAND on a fresh copy of the image; changes are forgotten at the end. The exit status is the command's, 128 and the
number of the signal that ended it, 125 when the machine could not start and 127 when COMMAND could not be found.

  --image IMAGE   a store's directory or URL, and the image's name in it
  --env K=V       an environment variable (may be repeated)
  --cwd DIR       working directory (default /)
  --uid N         user (default 0)
  --gid N         group (default: the uid)
  --memory MIB    guest memory (default 512)
  --jit N|off     how often code is interpreted before it is compiled
  --x87 fast      x87 arithmetic in double precision (default exact)
  --profile       tell at the end where the program's time went and what the engine did
  --accesses      the same, and how its compiled code finds the bytes of memory accesses, which it counts and is slower for
  --hot FILE      keep a list of hot code there, so that the next run of the image compiles it early
  --timeout S     seconds until the command gets SIGTERM
  --stats         tell at the end what was read
`;

const usage = (message) => {
  process.stderr.write(`skiff: ${message}\n\n${HELP}`);
  process.exit(125);
};

function parse(words) {
  const options = { env: [], cwd: "/", uid: 0, memory: 512 };
  const number = (word, value) => {
    if (!/^\d+$/.test(value ?? "")) usage(`${word} wants a number, not ${JSON.stringify(value)}`);
    return Number(value);
  };
  if (words.length === 0 || words.includes("--help") && !words.includes("--")) {
    process.stdout.write(HELP);
    process.exit(0);
  }
  if (words[0] !== "run") usage(`there is no command ${words[0]}`);
  let at = 1;
  for (; at < words.length && words[at] !== "--"; at += 1) {
    const [word, ...inline] = words[at].split("=");
    const value = () => (inline.length ? inline.join("=") : words[(at += 1)]);
    switch (word) {
      case "--image": options.image = value(); break;
      case "--env": options.env.push(value()); break;
      case "--cwd": options.cwd = value(); break;
      case "--uid": options.uid = number(word, value()); break;
      case "--gid": options.gid = number(word, value()); break;
      case "--memory": options.memory = number(word, value()); break;
      case "--timeout": options.timeout = number(word, value()) * 1000; break;
      case "--jit": {
        const times = value();
        options.jit = times === "off" ? times : number(word, times);
        break;
      }
      case "--x87": {
        options.x87 = value();
        if (options.x87 !== "exact" && options.x87 !== "fast") usage(`--x87 is exact or fast, not ${options.x87}`);
        break;
      }
      case "--profile": options.profile = true; break;
      case "--accesses": options.profile = options.accesses = true; break;
      case "--hot": options.hot = value(); break;
      case "--stats": options.stats = true; break;
      default: usage(`unknown option ${words[at]}`);
    }
  }
  options.command = words.slice(at + 1);
  if (!options.image) usage("--image is missing");
  if (options.command.length === 0) usage("the command is missing: put it after --");
  return options;
}

async function main() {
  const options = parse(process.argv.slice(2));
  const [file, ...args] = options.command;
  const { stdin, stdout, stderr } = process;
  const terminal = stdin.isTTY && stdout.isTTY;
  let linux;
  try {
    linux = await Linux.create({
      mounts: [{ type: "ext2", path: "/", dev: new CloudDevice(imageUrl(options.image)) }],
      memory: options.memory * 1024 * 1024,
      jit: options.jit,
      x87: options.x87,
      countAccesses: options.accesses,
      worker: inProcess({ hotCodeFile: options.hot }),
      columns: stdout.columns ?? 80,
      rows: stdout.rows ?? 24,
      onNotice: ({ message }) => stderr.write(`skiff: ${message}\n`),
    });
  } catch (error) {
    stderr.write(`skiff: ${error.message}\n`);
    process.exit(125);
  }
  if (options.profile) await linux.startProfile();
  const env = [
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME=/root",
    `TERM=${process.env.TERM ?? "dumb"}`,
    ...options.env,
  ];
  const common = { env, cwd: options.cwd, uid: options.uid, gid: options.gid ?? options.uid, timeout: options.timeout };
  const write = (stream) => (data) => new Promise((resolve) => stream.write(data, resolve));
  let result;
  try {
    if (terminal) {
      linux.setCustomConsole(write(stdout), stdout.columns, stdout.rows);
      stdout.on("resize", () => linux.resizeConsole(stdout.columns, stdout.rows));
      stdin.setRawMode(true);
      stdin.on("data", (data) => linux.input(data));
      result = await linux.run(file, args, common);
    } else {
      const program = await linux.spawn(file, args, { ...common, stdin, stdout: write(stdout), stderr: write(stderr) });
      for (const name of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(name, () => program.kill(constants.signals[name]));
      result = await program.ended;
    }
  } catch (error) {
    stderr.write(`skiff: ${error.message}\n`);
    result = { status: error.errno === "ENOENT" ? 127 : error.errno ? 126 : 125 };
  } finally {
    if (terminal) stdin.setRawMode(false);
  }
  if (options.stats && linux.stats) {
    const { chunks, bytesFetched } = linux.stats;
    stderr.write(`skiff: read ${chunks} chunks, ${bytesFetched} bytes\n`);
  }
  if (options.profile) {
    stderr.write((await linux.timeProfile()).text.replace(/^(?=.)/gm, "skiff: "));
    for (const [name, value] of Object.entries(await linux.profile())) stderr.write(`skiff: ${name}: ${value}\n`);
  }
  await linux.delete();
  // Output to a pipe may still be on its way.
  await Promise.all([stdout, stderr].map((stream) => new Promise((resolve) => stream.write("", resolve))));
  process.exit(result.status);
}

await main();
