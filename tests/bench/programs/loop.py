# What Python loops do all day: integers, lists, dictionaries, strings, calls. SIZE ROUNDS BUDGET_MS, as bench.h has it.
import sys
from time import perf_counter


def step(value, by):
    return (value * 31 + by) & 0xFFFFFF


def work(size):
    total = 0
    counts = {}
    items = []
    for i in range(size):
        total = step(total, i)
        key = total & 255
        counts[key] = counts.get(key, 0) + 1
        if i & 7 == 0:
            items.append(total)
        elif i & 255 == 1:
            items.sort()
            total ^= len(",".join(str(item) for item in items[:20]))
            items = items[-50:]
    for key in sorted(counts):
        total = step(total, counts[key])
    return total


size, rounds, budget = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]) / 1e3
begin = perf_counter()
done = 0
while done < rounds and (done < 2 or perf_counter() - begin < budget):
    start = perf_counter()
    value = work(size)
    print(f"{(perf_counter() - start) * 1e3:.3f} {value:08x}", flush=True)
    done += 1
