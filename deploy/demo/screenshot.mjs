// Takes the README's picture: `node deploy/demo/screenshot.mjs` after `cargo xtask demo --no-serve`.

import { World, root } from "../../tests/browser/world.mjs";

const world = await World.start(process.argv[2] ?? `${root}target/debug/block-server`);
const context = await world.context({ viewport: { width: 960, height: 560 }, deviceScaleFactor: 1.5 });
const tab = await world.shell({ context });
for (const command of [
  "cat /etc/os-release | head -n 2; uname -m",
  "ls --color=auto -F /",
  "df -h / | tail -n 1; free -m | head -n 2",
  "python3 -c 'print(sum(i * i for i in range(1000)))'",
  "seq 1 500 | grep -c 7; ps -e | tail -n 3",
]) {
  await tab.type(`${command}\n`);
  await tab.prompt();
  await new Promise((resolve) => setTimeout(resolve, 300));
}
await new Promise((resolve) => setTimeout(resolve, 1200));
await tab.page.screenshot({ path: `${root}deploy/demo/screenshot.png` });
console.log(await tab.text());
console.log(await tab.page.evaluate(() => globalThis.skiff.stats));
await world.afterTest();
await world.stop();
