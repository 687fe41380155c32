// The start form: shows the fields of the chosen source, uploads files as they are chosen, long pastes on submit.

import { upload } from "./upload.js";

const form = document.getElementById("start-form");
const box = document.getElementById("upload");
const problem = document.getElementById("upload-error");
const chosen = document.getElementById("chosen");
const state = document.getElementById("start-state");
const button = document.getElementById("start-button");
const file = form.elements.file;
const pasted = form.elements.text;
const { begin, part, finish, cancel } = form.dataset;
let running = null;
let contextSource = form.elements.context.value ? source() : "";

function source() {
  return form.elements.source.value;
}

function showSource() {
  for (const section of form.querySelectorAll("[data-source]")) {
    section.hidden = !section.dataset.source.split(" ").includes(source());
  }
  chosen.hidden = contextSource !== "" && contextSource !== source();
}

function showModelNames() {
  for (const section of form.querySelectorAll("[data-model-of]")) {
    section.hidden = !form.elements[section.dataset.modelOf].value.startsWith("key:");
  }
}

/** Offers the question kinds and sizes that the chosen example has. */
function showExample() {
  const example = form.querySelector('input[name="example"]:checked');
  if (!example) return;
  const kinds = new Set(["", ...example.dataset.kinds.split(" ")]);
  const { minBytes, maxBytes } = example.dataset;
  limitOptions(form.elements.example_question, (value) => kinds.has(value));
  limitOptions(form.elements.example_size, (value) => value === "" || (+value >= +minBytes && +value <= +maxBytes));
}

function limitOptions(select, fits) {
  for (const option of select.options) option.hidden = option.disabled = !fits(option.value);
  if (select.selectedOptions[0]?.disabled) select.selectedIndex = 0;
}

function say(text) {
  problem.hidden = !text;
  problem.textContent = text;
}

/** Uploads and puts the context into the form; false when that failed, with the reason on the page. */
async function send(blob, name) {
  running?.abort();
  const current = (running = new AbortController());
  say("");
  box.hidden = false;
  const since = performance.now();
  const from = source();
  const onProgress = (bytes) => showProgress(bytes, blob.size, since);
  onProgress(0);
  try {
    const { context: uuid } = await upload(blob, name, {
      addresses: { begin, part, finish, cancel },
      token: form.elements.csrfmiddlewaretoken.value,
      kind: form.elements.kind.value,
      signal: current.signal,
      onProgress,
    });
    form.elements.context.value = uuid;
    contextSource = from;
    await showContext(uuid);
    showSource();
    return true;
  } catch (error) {
    if (running === current) say(error.message);
    return false;
  } finally {
    if (running === current) {
      running = null;
      box.hidden = true;
    }
  }
}

function showProgress(bytes, size, since) {
  const bar = box.querySelector("progress");
  bar.max = size;
  bar.value = bytes;
  const seconds = (performance.now() - since) / 1000;
  const speed = seconds > 0.5 ? `, ${megabytes(bytes / seconds)}/s` : "";
  const text = bytes < size ? `${megabytes(bytes)} of ${megabytes(size)}${speed}` : "All sent. The server stores and checks it…";
  box.querySelector(".upload-text").textContent = text;
}

function megabytes(bytes) {
  return bytes < 1e5 ? `${Math.round(bytes)} B` : `${(bytes / 1e6).toFixed(1)} MB`;
}

async function showContext(uuid) {
  const response = await fetch(`/contexts/${uuid}/preview/`, { headers: { Accept: "text/html" } });
  if (!response.ok) return;
  // Our own template, escaped by the server; scripts in parsed documents do not run, and the policy forbids them too.
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  chosen.replaceChildren(...page.body.childNodes);
}

function forgetContext() {
  form.elements.context.value = "";
  contextSource = "";
  chosen.replaceChildren();
}

form.addEventListener("change", (event) => {
  const { name } = event.target;
  if (name === "source") showSource();
  if (name === "root" || name === "sub") showModelNames();
  if (name === "example") showExample();
  if (["example", "example_question", "example_size", "example_seed"].includes(name)) {
    document.getElementById("example-preview").replaceChildren();
  }
  if (["text", "path", "url", "kind"].includes(name)) forgetContext();
  if ((event.target === file || name === "kind") && source() === "upload") {
    forgetContext();
    if (file.files[0]) send(file.files[0], file.files[0].name);
  }
});

box.querySelector("button").addEventListener("click", () => {
  running?.abort();
  file.value = "";
});

form.addEventListener("submit", async (event) => {
  if (running) {
    event.preventDefault();
    say("The upload is not finished. Wait for it, or cancel it.");
    return;
  }
  // A context that belongs to another source is not what the person sees.
  if (contextSource && contextSource !== source()) form.elements.context.value = "";
  const long = source() === "paste" && !form.elements.context.value && pasted.value.length > +form.dataset.pastePartBytes;
  if (!long) {
    button.disabled = true;
    state.textContent = source() === "example" ? "Building the example…" : "Starting…";
    return;
  }
  event.preventDefault();
  if (await send(new Blob([pasted.value]), "pasted.txt")) {
    // The text has gone already; as a field it would be too large for a form.
    pasted.removeAttribute("name");
    form.requestSubmit();
  }
});

// Coming back by the browser's history, the page is as it was left: with its button off.
window.addEventListener("pageshow", () => {
  button.disabled = false;
  state.textContent = "";
  pasted.setAttribute("name", "text");
});

file.removeAttribute("name"); // it is uploaded here, in parts
for (const element of form.querySelectorAll("[data-needs-script]")) element.hidden = false;
showSource();
showModelNames();
showExample();
document.getElementById("errors")?.focus();
