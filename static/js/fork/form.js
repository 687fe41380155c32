// The list of what a fork changes, kept true while the form is edited.

const SHOWN_CHARS = 160;
const form = document.getElementById("fork");
const list = document.getElementById("changes");

function short(text) {
  return text.length > SHOWN_CHARS ? `${text.slice(0, SHOWN_CHARS - 1)}…` : text;
}

/** Where two texts differ, with a little of what is around. */
function around(before, after) {
  let start = 0;
  while (start < before.length && before[start] === after[start]) start += 1;
  let end = 0;
  const most = Math.min(before.length, after.length) - start;
  while (end < most && before.at(-1 - end) === after.at(-1 - end)) end += 1;
  const from = Math.max(0, start - 20);
  return [before.slice(from, before.length - end), after.slice(from, after.length - end)];
}

function labelOf(field) {
  const label = field.labels?.[0]?.textContent.trim();
  return label || field.getAttribute("aria-label") || field.name;
}

function line(what, before, after) {
  const item = document.createElement("li");
  const name = document.createElement("strong");
  name.textContent = `${what}: `;
  const old = document.createElement("del");
  old.textContent = short(before);
  const fresh = document.createElement("ins");
  fresh.textContent = short(after) || "(nothing)";
  item.append(name, ...(before ? [old, " → "] : []), fresh);
  return item;
}

function changes() {
  const lines = [];
  for (const field of form.elements) {
    if (!field.name || field.type === "hidden" || field.name.startsWith("expression-")) continue;
    if (field.name.startsWith("variable-")) {
      const value = form.elements[field.name.replace("variable", "expression")].value.trim();
      if (field.value.trim()) lines.push(line(`Variable ${field.value.trim()}`, "", value));
    } else if (field.value !== field.defaultValue) {
      lines.push(line(labelOf(field), ...around(field.defaultValue, field.value)));
    }
  }
  return lines;
}

function draw() {
  const lines = changes();
  if (lines.length === 0) {
    const nothing = document.createElement("li");
    nothing.className = "muted";
    nothing.textContent = "Nothing yet: the model is asked again from here.";
    lines.push(nothing);
  }
  list.replaceChildren(...lines);
}

form.addEventListener("input", draw);
draw();
