// The import form: sends the file in parts, then goes to the page that shows how far the import is.

import { upload } from "../start/upload.js";

const form = document.getElementById("import-form");
const file = form.elements.file;
const box = document.getElementById("upload");
const problem = document.getElementById("upload-error");
const button = document.getElementById("import-button");
let running = null;

async function send() {
  const { begin, part, finish, cancel, kind } = form.dataset;
  const chosen = file.files[0];
  if (!chosen) {
    say("Choose the file of an exported session.");
    return;
  }
  say("");
  running = new AbortController();
  box.hidden = false;
  button.disabled = true;
  const fields = new FormData(form);
  fields.delete("file");
  try {
    const { address } = await upload(chosen, chosen.name, {
      addresses: { begin, part, finish, cancel },
      token: form.elements.csrfmiddlewaretoken.value,
      kind,
      fields,
      signal: running.signal,
      onProgress: (bytes) => show(bytes, chosen.size),
    });
    location.assign(address);
  } catch (error) {
    say(error.message);
    button.disabled = false;
    box.hidden = true;
  } finally {
    running = null;
  }
}

function show(bytes, size) {
  const bar = box.querySelector("progress");
  bar.max = size;
  bar.value = bytes;
  box.querySelector(".upload-text").textContent = `${megabytes(bytes)} of ${megabytes(size)}`;
}

function megabytes(bytes) {
  return bytes < 1e5 ? `${Math.round(bytes)} B` : `${(bytes / 1e6).toFixed(1)} MB`;
}

function say(text) {
  problem.textContent = text;
  problem.hidden = !text;
  if (text) file.focus();
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (!running) send();
});
box.querySelector("button").addEventListener("click", () => running?.abort());
