// The fork form: what was recorded beside each changed field, the list of changes from the server, files as values.
// Only what was changed is sent: a field that is not there is as recorded, and the conversation may be long.

const PAUSE_MS = 300;
const MOST_FILE_BYTES = 1_000_000;
const form = document.getElementById("fork");
const list = document.getElementById("changes");
const loadError = document.getElementById("load-error");
let pause = 0;

const isLong = (text) => text.length > 80 || text.includes("\n");
const plain = (text) => text.replaceAll("\r\n", "\n").replace(/^\n+|\n+$/g, "");

/** What was recorded in a field: the server says it beside a field that it got changed, else it is the default. */
function recordedOf(field) {
  const said = field.closest(".field")?.querySelector(".was data");
  if (said) return said.hasAttribute("value") ? said.value : said.textContent;
  if (field.tagName !== "SELECT") return field.defaultValue;
  return [...field.options].find((option) => option.defaultSelected)?.value ?? field.options[0]?.value ?? "";
}

function recordedWords(field, recorded) {
  const option = field.tagName === "SELECT" && [...field.options].find((each) => each.value === recorded);
  return (option ? option.label : recorded) || field.placeholder || "empty";
}

function isChanged(field) {
  return plain(field.value) !== plain(recordedOf(field));
}

function beside(field, recorded) {
  const words = document.createElement("data");
  if (isLong(recorded)) {
    words.textContent = recorded;
    const box = document.createElement("details");
    const summary = document.createElement("summary");
    summary.textContent = "As recorded";
    const text = document.createElement("pre");
    text.append(words);
    box.append(summary, text);
    box.className = "was";
    return box;
  }
  words.value = recorded;
  words.dir = "auto";
  words.textContent = recordedWords(field, recorded);
  const line = document.createElement("p");
  line.className = "was";
  line.append("Recorded: ", words);
  return line;
}

function showRecorded(field) {
  const place = field.closest(".field");
  if (!place || field.name === "title") return;
  const shown = place.querySelector(".was");
  if (!isChanged(field)) {
    if (shown) shown.hidden = true;
  } else if (shown) shown.hidden = false;
  else field.after(beside(field, recordedOf(field)));
}

/** A model's name is asked for where there is one to choose, sampling where the model is not the root's own. */
function showModels() {
  for (const section of form.querySelectorAll("[data-model-of]")) {
    const choice = form.elements[section.dataset.modelOf].value;
    section.hidden = !(choice.startsWith("key:") || (choice === "recorded" && "named" in section.dataset));
  }
  for (const section of form.querySelectorAll("[data-sampling-of]")) {
    section.hidden = form.elements[section.dataset.samplingOf].value === "same";
  }
}

function showPair(pair) {
  const [, kind, value] = pair.querySelectorAll("input.code, select, textarea");
  value.hidden = kind.value === "delete";
  pair.querySelector(".load").hidden = value.hidden;
}

/** A file becomes the value of its row: as text, or as JSON when it is called so. */
async function load(input) {
  const [file] = input.files;
  input.value = "";
  if (!file) return;
  const [, kind, value] = input.closest(".pair").querySelectorAll("input.code, select, textarea");
  loadError.hidden = file.size <= MOST_FILE_BYTES;
  loadError.textContent = `${file.name} has ${file.size.toLocaleString()} bytes; the most is ${MOST_FILE_BYTES.toLocaleString()}.`;
  if (!loadError.hidden) return;
  try {
    value.value = new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer());
    kind.value = file.name.toLowerCase().endsWith(".json") ? "json" : "text";
    value.dispatchEvent(new Event("input", { bubbles: true }));
  } catch (error) {
    loadError.hidden = false;
    loadError.textContent = `${file.name} cannot be read as text in UTF-8: ${error.message}`;
  }
}

function edited(event) {
  const field = event.target;
  if (field.matches("[data-load]")) return;
  showRecorded(field);
  if (field.tagName === "SELECT") showModels();
  const pair = field.closest(".pair");
  if (pair) showPair(pair);
  refreshSoon();
}

function refreshSoon() {
  clearTimeout(pause);
  pause = setTimeout(refresh, PAUSE_MS);
}

function refresh() {
  // Nobody listens before htmx has been here: whoever types fast is faster.
  if (list.hasAttribute("data-htmx-powered")) list.dispatchEvent(new CustomEvent("refresh"));
  else refreshSoon();
}

form.addEventListener("input", edited);
form.addEventListener("change", (event) => {
  if (event.target.matches("[data-load]")) load(event.target);
});
form.addEventListener("formdata", ({ formData }) => {
  for (const field of form.elements) {
    const own = field.name && field.type !== "hidden" && field.closest(".field");
    if (own && !isChanged(field)) formData.delete(field.name);
  }
});
for (const pair of form.querySelectorAll(".pair")) showPair(pair);
showModels();
// What was typed before this ran.
const early = [...form.elements].filter((field) => field.name && field.type !== "hidden" && field.closest(".field") && isChanged(field));
for (const field of early) showRecorded(field);
if (early.length > 0) refreshSoon();
