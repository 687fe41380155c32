// What is selected and when, as the part of the address after "#": a link shows somebody else the same thing.

/** `{node, step, call, seq}`; null where not said. */
export function parseAddress(hash) {
  const said = new URLSearchParams(hash.replace(/^#/, ""));
  const number = (name, least) => {
    const text = said.get(name) ?? "";
    return /^\d{1,15}$/.test(text) && Number(text) >= least ? Number(text) : null;
  };
  return { node: number("node", 0) ?? 0, step: number("step", 1), call: number("call", 1), seq: number("seq", 1) };
}

export function formatAddress({ node = 0, step = null, call = null, seq = null }) {
  const said = new URLSearchParams({ node });
  if (step !== null) said.set("step", step);
  if (call !== null) said.set("call", call);
  if (seq !== null) said.set("seq", seq);
  return `#${said}`;
}
