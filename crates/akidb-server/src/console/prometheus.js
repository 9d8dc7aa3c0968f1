// Prometheus' text format, as much of it as the curves need.

/** All samples as `[{name, labels, value}]`. */
export function parse(text) {
  const samples = [];
  for (const line of text.split("\n")) {
    const match = /^([A-Za-z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)/.exec(line);
    if (!match) continue;
    const labels = {};
    for (const [, name, value] of (match[2] ?? "").matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)) {
      labels[name] = value.replace(/\\(.)/g, (_, c) => (c === "n" ? "\n" : c));
    }
    const value = match[3] === "+Inf" ? Infinity : Number(match[3]);
    if (!Number.isNaN(value)) samples.push({ name: match[1], labels, value });
  }
  return samples;
}

/** The sum over all labels, or null where there is no such metric. */
export function total(samples, name) {
  const found = samples.filter((sample) => sample.name === name);
  return found.length === 0 ? null : found.reduce((sum, sample) => sum + sample.value, 0);
}

/** A histogram's counts up to each bound, over all wanted labels: a map from bound to count. */
export function buckets(samples, name, wanted) {
  const counts = new Map();
  for (const { name: found, labels, value } of samples) {
    if (found !== `${name}_bucket` || !wanted(labels)) continue;
    const bound = labels.le === "+Inf" ? Infinity : Number(labels.le);
    counts.set(bound, (counts.get(bound) ?? 0) + value);
  }
  return counts;
}

/** The quantile of what came between two readings, within its bucket by interpolation; null for nothing. */
export function quantile(before, after, q) {
  const bounds = [...after.keys()].sort((a, b) => a - b);
  const counts = bounds.map((bound) => after.get(bound) - (before.get(bound) ?? 0));
  const all = counts.at(-1) ?? 0;
  if (!(all > 0)) return null;
  const at = counts.findIndex((count) => count >= q * all);
  const [low, below] = at > 0 ? [bounds[at - 1], counts[at - 1]] : [0, 0];
  if (bounds[at] === Infinity) return low;
  return low + ((bounds[at] - low) * (q * all - below)) / Math.max(counts[at] - below, 1e-9);
}
