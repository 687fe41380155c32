// What is selected and when, as the part of the address after "#": a link shows somebody else the same thing.

const NAME_CHARS = 200;

/** `{node, step, call, seq, watch}`; null where not said. `watch` is the name of a variable. */
export function parseAddress(hash) {
  const said = new URLSearchParams(hash.replace(/^#/, ""));
  const number = (name, least) => {
    const text = said.get(name) ?? "";
    return /^\d{1,15}$/.test(text) && Number(text) >= least ? Number(text) : null;
  };
  const watch = said.get("watch")?.slice(0, NAME_CHARS) || null;
  return {
    node: number("node", 0) ?? 0,
    step: number("step", 1),
    call: number("call", 1),
    seq: number("seq", 1),
    watch,
  };
}

export function formatAddress({ node = 0, step = null, call = null, seq = null, watch = null }) {
  const said = new URLSearchParams({ node });
  if (step !== null) said.set("step", step);
  if (call !== null) said.set("call", call);
  if (seq !== null) said.set("seq", seq);
  if (watch !== null) said.set("watch", watch.slice(0, NAME_CHARS));
  return `#${said}`;
}
