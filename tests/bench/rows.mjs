// The rows of the benchmark: what runs, how much of it, and which of the goals it counts for.
//
// `compile` are the flags a program is built with. `command` is what runs in the guest; SIZE, ROUNDS and BUDGET stand for the
// numbers every program takes (programs/bench.h). `needs` is what must be in the image.

const PROGRAM = (name) => [`/bench/${name}`, "SIZE", "ROUNDS", "BUDGET"];
const LAUNCH = (...command) => ["/bench/launch", "SIZE", "ROUNDS", "BUDGET", ...command];
const SCRIPT = (interpreter, script) => [interpreter, script, "SIZE", "ROUNDS", "BUDGET"];

/** Goals of the project, as ratios to native; `must` is the one to reach. */
export const GROUPS = {
  integer: { title: "integer kernels, hashing, gzip", must: 3, goal: 1.8 },
  bytecode: { title: "bytecode, Python and Perl loops", must: 8, goal: 4 },
  calls: { title: "calls, indirect calls", must: 5, goal: 2.5 },
  scalar: { title: "scalar SSE2", must: 4, goal: 2.5 },
  packed: { title: "packed SSE", must: 6, goal: 3 },
  x87: { title: "x87, exact", must: 40, goal: 15 },
  exec: { title: "fork+exec of /bin/true", must: 4, goal: 2 },
  python: { title: "python3 start", must: 10, goal: 5 },
};

const BASE = ["-m32", "-O2", "-std=gnu17", "-static", "-fno-pie", "-no-pie"];
const SSE = ["-march=i686", "-msse2", "-mfpmath=sse"];
const I686 = ["-march=i686", "-mno-sse"];

/** Programs to build: name, source (without `.c`), flags. */
export const PROGRAMS = [
  ...["core", "sha256", "crc32", "calls", "icall", "bytecode", "mul64", "div64", "unaligned", "wordcopy"].map((name) => [name, name, I686]),
  ["nbody_x87", "nbody", ["-march=i686", "-mfpmath=387"]],
  ["nbody_sse", "nbody", [...SSE, "-fno-tree-vectorize"]],
  ...["simd_float", "simd_int", "search"].map((name) => [name, name, SSE]),
  ...["memcpy", "repmovs", "chase", "smc", "getppid", "statx", "pipe", "pagetouch", "fork", "launch", "write-text"].map((name) => [name, name, I686]),
].map(([name, source, flags]) => ({ name, source, flags: [...BASE, ...flags] }));

export const SCRIPTS = ["loop.py", "loop.pl", "loop.js"];

/** KiB of text that the gzip rows work on. */
export const TEXT_KIB = 3072;

export const ROWS = [
  { name: "core", what: "CoreMark-like: lists, matrices, states, CRC", group: "integer", size: 3000, command: PROGRAM("core") },
  { name: "sha256", what: "SHA-256", group: "integer", size: 200_000, command: PROGRAM("sha256") },
  { name: "crc32", what: "CRC-32 by table", group: "integer", size: 250, command: PROGRAM("crc32") },
  { name: "gzip", what: "gzip -6 of 3 MiB", group: "integer", size: 1, command: LAUNCH("/bin/gzip", "-nc6", "/bench/text"), needs: "/bin/gzip" },
  { name: "gunzip", what: "gzip -t of 3 MiB", group: "integer", size: 4, command: LAUNCH("/bin/gzip", "-t", "/bench/text.gz"), needs: "/bin/gzip" },
  { name: "mul64", what: "64-bit multiplication", group: "integer", size: 12_000_000, command: PROGRAM("mul64") },
  { name: "div64", what: "64-bit division", group: "integer", size: 3_000_000, command: PROGRAM("div64") },
  { name: "unaligned", what: "unaligned words", group: "integer", size: 10_000, command: PROGRAM("unaligned") },
  { name: "wordcopy", what: "copy by words in a loop", group: "integer", size: 2000, command: PROGRAM("wordcopy") },
  { name: "chase_1M", what: "pointer chase in 1 MiB", size: 1024, command: PROGRAM("chase"), fixed: true },
  { name: "chase_32M", what: "pointer chase in 32 MiB", size: 32_768, command: PROGRAM("chase"), fixed: true },
  { name: "calls", what: "recursive calls", group: "calls", size: 34, quick: 30, command: PROGRAM("calls") },
  { name: "icall", what: "indirect calls", group: "calls", size: 6_000_000, command: PROGRAM("icall") },
  { name: "bytecode", what: "bytecode interpreter", group: "bytecode", size: 70, command: PROGRAM("bytecode") },
  { name: "nbody_x87", what: "n-body on the x87", group: "x87", size: 300_000, command: PROGRAM("nbody_x87") },
  { name: "nbody_sse", what: "n-body in scalar SSE2", group: "scalar", size: 500_000, command: PROGRAM("nbody_sse") },
  { name: "simd_float", what: "packed floats", group: "packed", size: 800, command: PROGRAM("simd_float") },
  { name: "simd_int", what: "packed integers", group: "packed", size: 15_000, command: PROGRAM("simd_int") },
  { name: "search", what: "string search", group: "packed", size: 300, command: PROGRAM("search") },
  { name: "memcpy", what: "memcpy and memset", size: 150, command: PROGRAM("memcpy") },
  { name: "repmovs", what: "rep movs, stos, scas", size: 500, command: PROGRAM("repmovs") },
  { name: "smc", what: "self-modifying code", size: 50_000, command: PROGRAM("smc") },
  { name: "getppid", what: "system calls", size: 200_000, command: PROGRAM("getppid") },
  { name: "statx", what: "statx of a cached path", size: 50_000, command: PROGRAM("statx") },
  { name: "pipe", what: "pipe ping-pong", size: 5000, command: PROGRAM("pipe") },
  { name: "pagetouch", what: "page touch", size: 2, quick: 1, command: PROGRAM("pagetouch") },
  { name: "fork", what: "fork", size: 100, command: PROGRAM("fork") },
  { name: "forkexec", what: "fork+exec of /bin/true", group: "exec", size: 50, command: LAUNCH("/bin/true") },
  { name: "pystart", what: "python3 start", group: "python", size: 3, quick: 1, command: LAUNCH("/usr/bin/python3", "-c", "print(1)"), needs: "/usr/bin/python3" },
  { name: "pyloop", what: "Python loop", group: "bytecode", size: 150_000, command: SCRIPT("/usr/bin/python3", "/bench/loop.py"), needs: "/usr/bin/python3" },
  { name: "perlloop", what: "Perl loop", group: "bytecode", size: 100_000, command: SCRIPT("/usr/bin/perl", "/bench/loop.pl"), needs: "/usr/bin/perl" },
  { name: "nodestart", what: "node start", size: 1, command: LAUNCH("/usr/bin/node", "-e", "console.log(1)"), needs: "/usr/bin/node" },
  { name: "nodeloop", what: "node loop", size: 800_000, command: SCRIPT("/usr/bin/node", "/bench/loop.js"), needs: "/usr/bin/node" },
];

/** The command of a row with its numbers filled in. */
export function command(row, { quick, rounds, budgetMs }) {
  const size = !quick || row.fixed ? row.size : (row.quick ?? Math.max(1, Math.round(row.size / 5)));
  const numbers = { SIZE: size, ROUNDS: rounds, BUDGET: budgetMs };
  return row.command.map((word) => String(numbers[word] ?? word));
}
