// The page of a snapshot: the box for expressions, and keys.

import { listenToKeys } from "../run/keys.js";
import { Evaluator } from "./evaluate.js";

const form = document.querySelector("[data-evaluate-form]");
if (form) new Evaluator(form, document.querySelector("[data-evaluations]"));

const follow = (key) => document.querySelector(`a[data-key="${key}"]`)?.click();
listenToKeys({
  "[": () => follow("["),
  "]": () => follow("]"),
  e: () => document.getElementById("evaluate-code")?.focus(),
});

// One download menu at a time, closed by Escape.
document.addEventListener("toggle", closeOthers, true);
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  const open = event.target.closest("details.menu[open]");
  if (open === null) return;
  open.open = false;
  open.querySelector("summary").focus();
});

function closeOthers({ target }) {
  if (!target.matches("details.menu[open]")) return;
  for (const each of document.querySelectorAll("details.menu[open]")) if (each !== target) each.open = false;
}
