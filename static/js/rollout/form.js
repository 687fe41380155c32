// The form that starts a rollout: shows the fields of the chosen scorer, and what the branches may be expected to cost.

import { setText } from "../run/dom.js";
import { cost, plural } from "../run/format.js";

const form = document.querySelector("form[data-rests]");
const rests = JSON.parse(form.dataset.rests);
const estimate = form.querySelector('[data-show="estimate"]');

function showFields() {
  for (const input of form.querySelectorAll("[data-scorers]"))
    input.closest(".field").hidden = !input.dataset.scorers.split(" ").includes(form.elements.kind.value);
}

function showEstimate() {
  const steps = [...form.querySelectorAll('input[name="steps"]:checked')].map(({ value }) => value);
  const each = Number(form.elements.branches.value);
  if (steps.length === 0 || !(each > 0)) {
    setText(estimate, "Choose steps to see what their branches may be expected to cost.");
    return;
  }
  const sum = steps.reduce((total, step) => total + rests[step], 0) * each;
  const words = `${plural(steps.length * each, "branch", "branches")}, expected to cost about ${cost(sum)}`;
  setText(estimate, `${words}: what the session spent after ${steps.length === 1 ? "that step" : "those steps"}.`);
}

form.addEventListener("input", () => {
  showFields();
  showEstimate();
});
showFields();
showEstimate();
