// Numbers and texts as people read them.

export const similarity = (value) => value.toFixed(3).replace("-", "−").replace("−0.000", "0.000");

export const count = (n, one, many = `${one}s`) => `${n.toLocaleString("en")} ${n === 1 ? one : many}`;

/** At most `length` characters, never half of one. */
export function shorten(text, length) {
  const characters = Array.from(text.slice(0, 4 * length));
  return characters.length > length ? `${characters.slice(0, length - 1).join("")}…` : text;
}

export function bytes(n) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (n >= 1000 && unit < units.length - 1) {
    n /= 1000;
    unit++;
  }
  return `${n >= 100 || unit === 0 ? Math.round(n) : n.toFixed(1)} ${units[unit]}`;
}

/** Three digits that count. */
export function short(n) {
  if (n >= 10_000) return Math.round(n).toLocaleString("en");
  if (n >= 100 || Number.isInteger(n)) return Math.round(n).toLocaleString("en");
  return n.toPrecision(n < 1 ? 2 : 3);
}
