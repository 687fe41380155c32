// Numbers, times and texts for people.

const whole = new Intl.NumberFormat("en-US");
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });

export const count = (n) => whole.format(n);

export function short(n) {
  if (n < 10_000) return whole.format(Math.round(n));
  for (const [unit, size] of [
    ["k", 1e3],
    ["M", 1e6],
    ["G", 1e9],
  ]) {
    if (n < size * 999.5) return `${(n / size).toPrecision(3)} ${unit}`;
  }
  return `${(n / 1e12).toPrecision(3)} T`;
}

/** Decimal units, as in runs/templatetags/quantities.py. */
export function bytes(n) {
  const units = ["B", "KB", "MB", "GB", "TB"];
  let value = n;
  let unit = 0;
  for (; value >= 999.5 && unit < units.length - 1; unit++) value /= 1000;
  return `${unit === 0 || value >= 99.95 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

export function duration(ms) {
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(ms < 10_000 ? 2 : 1)} s`;
  const s = Math.floor(ms / 1000);
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
}

/** Cost in US dollars; where some calls have no known price, the cost is "at least". */
export function cost(microUsd, unpricedCalls = 0) {
  if (microUsd === null || (microUsd === 0 && unpricedCalls > 0)) return "unknown";
  const usd = microUsd / 1e6;
  const text =
    usd === 0 ? "$0" : usd < 0.01 ? `$${usd.toFixed(5)}` : usd < 1 ? `$${usd.toFixed(4)}` : `$${usd.toFixed(2)}`;
  return unpricedCalls > 0 ? `≥ ${text}` : text;
}

export const time = (ms) => clock.format(new Date(ms));

export const plural = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;

const COLOURS = /\u001b\[[\d;:]*m/g;
/** Characters that could act on the reader instead of being read. */
const ACTING =
  /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]|\r\n?/g;

/** The text without terminal colours, and with code points in place of what would act on the reader. */
export function inert(text) {
  return text.replace(COLOURS, "").replace(ACTING, (found) => {
    if (found[0] === "\r") return "\n";
    return `⟨U+${found.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`;
  });
}

/** What a `Text` of the events says without asking the server: a string, or the head of a long one. */
export const headOf = (text) =>
  text === null || text === undefined ? "" : typeof text === "string" ? text : text.head;

/** The first words on one line, for rows and titles. */
export function firstWords(text, length = 120) {
  const head = headOf(text).slice(0, length * 3);
  const line = inert(head).replace(/\s+/g, " ").trim();
  return line.length > length ? `${line.slice(0, length)}…` : line;
}

export const STATUS_WORDS = {
  new: "starting",
  running: "running",
  waiting: "waiting for children",
  finished: "finished",
  limited: "ended by a limit",
  stopped: "stopped",
  failed: "failed",
  unknown: "start not in the log",
  ok: "ok",
  error: "error",
  interrupted: "interrupted",
  timeout: "timed out",
  killed: "killed",
  abandoned: "abandoned",
};

/** The status, of the seven that have a shape and a colour, that stands for any status of a node, step, cell or call. */
export const STATUS_SHAPES = {
  new: "running",
  running: "running",
  waiting: "waiting",
  finished: "finished",
  ok: "finished",
  limited: "limited",
  timeout: "failed",
  error: "failed",
  killed: "failed",
  failed: "failed",
  interrupted: "stopped",
  stopped: "stopped",
  abandoned: "stopped",
  unknown: "unknown",
};

export const shapeOf = (status) => STATUS_SHAPES[status] ?? "unknown";
