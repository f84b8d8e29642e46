// What a JavaScript engine does all day: numbers, objects, arrays, strings, calls. SIZE ROUNDS BUDGET_MS, as bench.h has it.
const [size, rounds, budget] = process.argv.slice(2).map(Number);

function step(value, by) {
  return (Math.imul(value, 31) + by) & 0xffffff;
}

function work(count) {
  let total = 0;
  const counts = new Map();
  let items = [];
  for (let i = 0; i < count; i += 1) {
    total = step(total, i);
    counts.set(total & 255, (counts.get(total & 255) ?? 0) + 1);
    if ((i & 7) === 0) {
      items.push({ total, half: total / 2 });
    } else if ((i & 255) === 1) {
      items.sort((a, b) => a.half - b.half);
      total ^= items.slice(0, 20).map((item) => `${item.total}`).join(",").length;
      items = items.slice(-50);
    }
  }
  for (const key of [...counts.keys()].sort((a, b) => a - b)) total = step(total, counts.get(key));
  return total >>> 0;
}

const begin = performance.now();
for (let done = 0; done < rounds && (done < 2 || performance.now() - begin < budget); done += 1) {
  const start = performance.now();
  const value = work(size);
  console.log(`${(performance.now() - start).toFixed(3)} ${value.toString(16).padStart(8, "0")}`);
}
