// The line at the bottom.

const element = (id) => document.getElementById(id);

export class StatusLine {
  show({ cpu, diskWaiting, diskLatency, bytesFetched, overlayBytes, offline }) {
    element("cpu").textContent = `${Math.round(cpu * 100)}%`;
    element("cpu-dot").className = cpu > 0.02 ? "on" : "";
    element("disk").textContent = offline ? "waiting for server" : diskWaiting > 0 ? "reading" : "idle";
    element("disk-dot").className = offline ? "wait" : diskWaiting > 0 ? "on" : "";
    element("latency").textContent = diskLatency > 0 ? `${diskLatency.toFixed(diskLatency < 10 ? 1 : 0)} ms` : "-";
    element("fetched").textContent = size(bytesFetched);
    element("saved").textContent = size(overlayBytes);
  }

  persistent(kept) {
    element("mode").textContent = kept ? "changes are kept in this browser" : "changes are lost when this tab closes";
  }

  /** What the browser said when it was asked to keep them. */
  persistence(answer) {
    const [text, title] = {
      granted: ["changes are kept in this browser", "The browser promised to keep them"],
      denied: ["changes are kept while there is room", "The browser may clear them when the computer's disk gets full: export what matters"],
      unavailable: ["changes are kept while there is room", "This address is not secure (no HTTPS): the browser gives no promise. Export what matters"],
    }[answer];
    element("mode").textContent = text;
    element("mode").title = title;
  }
}

export function size(bytes) {
  if (bytes < 999_500) return `${Math.round(bytes / 1000)} kB`;
  if (bytes < 999_500_000) return `${(bytes / 1e6).toFixed(1)} MB`;
  return `${(bytes / 1e9).toFixed(2)} GB`;
}
