// The top of the page: what was asked, what came out, what it cost, what is left of its limits.

import { h, setClass, setIcon, setText } from "./dom.js";
import { STATUS_WORDS, bytes, cost, count, duration, inert, shapeOf, short } from "./format.js";
import { inheritedWords } from "./inherited.js";
import { TextView } from "./text.js";

/** Limits of the whole tree, in the order of interest: name, words, what is used, how to say it. */
const LIMITS = [
  ["max_cost_usd", "cost", (used) => used.cost_micro_usd / 1e6, (n) => cost(Math.round(n * 1e6))],
  ["max_tokens", "tokens", (used) => used.input_tokens + used.output_tokens, short],
  ["max_lm_calls", "LM calls", (used) => used.lm_calls, short],
  ["max_nodes", "nodes", (used) => used.nodes, short],
  ["max_wall_s", "time", (used, elapsed) => elapsed / 1000, (n) => duration(n * 1000)],
  ["max_output_bytes", "output", (used) => used.output_bytes, (n) => bytes(Math.round(n))],
];
const NEARLY = 0.8;
const NOTABLE = 0.01;

export class HeaderView {
  constructor(root, blobs) {
    const at = (name) => root.querySelector(`[data-show="${name}"]`);
    this.root = root;
    this.parts = Object.fromEntries(
      [
        "state",
        "question",
        "outcome",
        "outcome-title",
        "cost",
        "tokens",
        "calls",
        "nodes",
        "elapsed",
        "errors",
        "labels",
        "models",
        "limits",
        "stop",
      ].map((name) => [name, at(name)]),
    );
    this.stateIcon = this.parts.state.querySelector("svg");
    this.stateText = this.parts.state.querySelector("span");
    this.question = new TextView(blobs, { className: "text question" });
    this.answer = new TextView(blobs, { className: "text answer" });
    this.error = h("p.error-title");
    this.parts.outcome.append(this.answer.element, this.error);
    this.meters = new Map();
    this.inherited = new Map();
  }

  /** `now`: the time that the shown state is of. */
  update(tree, now) {
    if (tree.seq === 0) return;
    const { used } = tree;
    const elapsed = Math.max(0, (tree.finished_at ?? now) - (tree.started_at ?? now));
    this.#state(tree);
    this.#question(tree);
    this.#outcome(tree);
    setText(this.parts.cost, cost(used.cost_micro_usd, used.unpriced_calls));
    setText(this.parts.tokens, short(used.input_tokens + used.output_tokens));
    this.parts.tokens.title = `${count(used.input_tokens)} in, ${count(used.output_tokens)} out`;
    setText(this.parts.calls, count(used.lm_calls));
    setText(this.parts.nodes, count(used.nodes));
    setText(this.parts.elapsed, duration(elapsed));
    setText(this.parts.errors, count(used.errors));
    this.parts.errors.parentElement.hidden = used.errors === 0;
    for (const [name, words] of Object.entries(inheritedWords(tree))) this.#inherited(name, words);
    this.#labels(tree);
    this.#limits(tree, elapsed);
    this.parts.stop.hidden = tree.finished_at !== null;
  }

  #state(tree) {
    const shape = shapeOf(tree.status);
    setClass(this.parts.state, `status ${shape}`);
    setIcon(this.stateIcon, shape);
    setText(this.stateText, tree.stopping ? "stopping" : (STATUS_WORDS[tree.status] ?? tree.status));
  }

  /** Beside a figure, what of the kind the parent session spent. */
  #inherited(name, words) {
    let element = this.inherited.get(name);
    if (element === undefined) {
      if (!words) return;
      element = h("dd.inherited-figure");
      this.parts[name].after(element);
      this.inherited.set(name, element);
    }
    element.hidden = !words;
    setText(element, words);
  }

  #question(tree) {
    // Until its event is here (or for good, in a log with gaps) what the server wrote stays.
    if (tree.started_at === null) return;
    if (!this.question.element.isConnected) this.parts.question.replaceChildren(this.question.element);
    this.question.update(tree.question);
  }

  #outcome(tree) {
    const { outcome } = this.parts;
    outcome.hidden = tree.finished_at === null || (tree.answer === null && tree.error === null);
    if (outcome.hidden) return;
    setClass(outcome, `outcome ${shapeOf(tree.status)}`);
    setText(
      this.parts["outcome-title"],
      tree.answer === null ? "No answer" : tree.partial ? "Partial answer" : "Answer",
    );
    this.answer.element.hidden = tree.answer === null;
    if (tree.answer !== null) this.answer.update(tree.answer);
    this.error.hidden = tree.error === null;
    if (tree.error) setText(this.error, inert(`${tree.error.type}: ${tree.error.message}`));
  }

  #labels(tree) {
    const { config } = tree;
    // How well the code is shut in is known when the first sandbox is ready.
    const tier = tree.nodes.get(0)?.sandbox?.tier;
    const key = JSON.stringify([tree.labels, config.root_model, config.sub_model, config.provider, tier]);
    if (key === this.labelsKey) return;
    this.labelsKey = key;
    this.parts.labels.replaceChildren(...tree.labels.map((label) => h("span.chip.honest", null, label)));
    const models = [config.root_model];
    if (config.sub_model && config.sub_model !== config.root_model) models.push(`sub-calls ${config.sub_model}`);
    const context = tree.context.name ? `${tree.context.name} (${bytes(tree.context.size_bytes)})` : "";
    setText(
      this.parts.models,
      inert(
        [...models, config.provider && `sandbox ${[config.provider, tier].filter(Boolean).join(" / ")}`, context]
          .filter(Boolean)
          .join(" · "),
      ),
    );
  }

  #limits(tree, elapsed) {
    const allowed = tree.config.limits ?? {};
    const hit = new Set(tree.limits_hit.map(({ limit }) => limit));
    for (const [name, words, usedOf, say] of LIMITS) {
      if (typeof allowed[name] !== "number") continue;
      const used = usedOf(tree.used, elapsed);
      const share = allowed[name] > 0 ? Math.min(1, used / allowed[name]) : 1;
      const meter = this.#meter(name, words);
      meter.fill.style.width = `${share * 100}%`;
      setClass(
        meter.element,
        `limit${hit.has(name) ? " hit" : share >= NEARLY ? " nearly" : share < NOTABLE ? " idle" : ""}`,
      );
      meter.element.title = `${words}: ${say(used)} of ${say(allowed[name])} used, ${say(Math.max(0, allowed[name] - used))} left`;
      setText(meter.value, `${Math.round(share * 100)}%`);
      meter.bar.setAttribute("aria-valuenow", Math.round(share * 100));
    }
  }

  #meter(name, words) {
    let meter = this.meters.get(name);
    if (meter === undefined) {
      const fill = h("span.limit-fill");
      const value = h("span.limit-value");
      const bar = h(
        "span.limit-bar",
        { role: "meter", "aria-label": `${words} used`, "aria-valuemin": 0, "aria-valuemax": 100 },
        fill,
      );
      meter = { fill, value, bar, element: h("li", null, h("span.limit-name", null, words), bar, value) };
      this.parts.limits.append(meter.element);
      this.meters.set(name, meter);
    }
    return meter;
  }
}
