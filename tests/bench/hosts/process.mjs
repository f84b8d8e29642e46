// Running a command on this computer to its end.

import { spawn } from "node:child_process";

const ENV = { PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", HOME: "/root", LANG: "C" };

/** Resolves to what the command printed; rejects with its complaint, or when it takes too long. */
export function run([file, ...words], { patienceMs, env = {}, cwd }) {
  return new Promise((resolve, reject) => {
    const child = spawn(file, words, { stdio: ["ignore", "pipe", "pipe"], env: { ...ENV, ...env }, cwd });
    const parts = { stdout: "", stderr: "" };
    for (const name of ["stdout", "stderr"]) child[name].on("data", (data) => (parts[name] += data));
    const timer = setTimeout(() => child.kill("SIGKILL"), patienceMs);
    child.on("error", reject);
    child.on("close", (status, signal) => {
      clearTimeout(timer);
      if (status === 0) return resolve(parts.stdout);
      const late = signal === "SIGKILL" ? `took longer than ${patienceMs / 1000} s` : `status ${status ?? signal}`;
      reject(new Error(`${late}: ${parts.stderr.trim().split("\n").at(-1)}`));
    });
  });
}
