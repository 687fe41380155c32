// Light colours for Python: one pass, no parser, and never anything but text nodes and spans.

const TOKENS = new RegExp(
  [
    String.raw`(?<comment>#[^\n]*)`,
    String.raw`(?<string>\b(?:[rbfu]|rb|br|rf|fr)?(?:"""[\s\S]*?(?:"""|$)|'''[\s\S]*?(?:'''|$))|\b(?:[rbfu]|rb|br|rf|fr)?(?:"(?:\\.|[^"\\\n])*"?|'(?:\\.|[^'\\\n])*'?)|"""[\s\S]*?(?:"""|$)|'''[\s\S]*?(?:'''|$)|"(?:\\.|[^"\\\n])*"?|'(?:\\.|[^'\\\n])*'?)`,
    String.raw`(?<number>\b(?:0[xXoObB][\da-fA-F_]+|\d[\d_]*(?:\.\d[\d_]*)?(?:[eE][+-]?\d+)?j?)\b)`,
    String.raw`(?<word>[A-Za-z_]\w*)`,
  ].join("|"),
  "gi",
);

const KEYWORDS = new Set(
  (
    "False None True and as assert async await break class continue def del elif else except finally for from global if " +
    "import in is lambda match case nonlocal not or pass raise return try while with yield"
  ).split(" "),
);
/** What the REPL of a node offers beyond Python. */
const RLM = new Set(
  "context llm_query llm_query_batched rlm_query rlm_query_batched SHOW_VARS answer FINAL FINAL_VAR".split(" "),
);
const MAX_COLOURED_CHARS = 40_000;

/** Replace what is in `element` by `code`, coloured. */
export function showPython(element, code) {
  element.replaceChildren();
  if (code.length > MAX_COLOURED_CHARS) {
    element.textContent = code;
    return;
  }
  let end = 0;
  for (const match of code.matchAll(TOKENS)) {
    const className = classOf(match, code);
    if (className === null) continue;
    if (match.index > end) element.append(code.slice(end, match.index));
    const span = document.createElement("span");
    span.className = className;
    span.textContent = match[0];
    element.append(span);
    end = match.index + match[0].length;
  }
  if (end < code.length) element.append(code.slice(end));
}

function classOf(match, code) {
  const { comment, string, number, word } = match.groups;
  if (comment !== undefined) return "py-comment";
  if (string !== undefined) return "py-string";
  if (number !== undefined) return "py-number";
  if (KEYWORDS.has(word)) return "py-keyword";
  if (RLM.has(word)) return "py-rlm";
  return code[match.index + word.length] === "(" ? "py-name" : null;
}
