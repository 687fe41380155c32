// Figures that the server built with Plotly, drawn where an element says `data-figure="ADDRESS"`. They take their colours
// from the page: a trace's `meta.colour` names a custom property. `data-figure-version` changes when the figure does.

const CONFIG = { displayModeBar: false, responsive: true, displaylogo: false, doubleClick: "reset" };
const drawn = new Map();

function theme() {
  const style = getComputedStyle(document.documentElement);
  return (name) => style.getPropertyValue(name).trim();
}

/** The figure in the colours of the page. */
function inColours({ data, layout }) {
  const colour = theme();
  const line = colour("--line");
  const axes = Object.keys(layout).filter((key) => /^[xy]axis\d*$/.test(key));
  const themed = {
    ...layout,
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { ...layout.font, color: colour("--text-muted"), family: getComputedStyle(document.body).fontFamily },
    hoverlabel: { bgcolor: colour("--bg-raised"), bordercolor: line, font: { color: colour("--text") } },
    transition: { duration: 0 },
  };
  for (const key of axes)
    themed[key] = { ...layout[key], gridcolor: line, linecolor: line, zerolinecolor: line, automargin: true };
  const traces = data.map((trace) => {
    const own = trace.meta?.colour ? colour(trace.meta.colour) : colour("--accent");
    return {
      ...trace,
      line: { ...trace.line, color: own },
      marker: { ...trace.marker, color: own },
      ...(trace.error_y ? { error_y: { ...trace.error_y, color: own } } : {}),
    };
  });
  return { data: traces, layout: themed };
}

function goTo(event) {
  const step = event.points[0]?.customdata;
  if (Number.isInteger(step) && document.getElementById(`step-${step}`)) location.hash = `step-${step}`;
}

async function draw(place) {
  const address = place.dataset.figure;
  const known = drawn.get(address) ?? { box: document.createElement("div"), version: null, figure: null };
  drawn.set(address, known);
  // A part of the page that was fetched again has an empty place: the drawing moves back into it.
  if (known.figure !== null && known.box.parentElement !== place) place.replaceChildren(known.box);
  if (known.version === place.dataset.figureVersion) return;
  known.version = place.dataset.figureVersion;
  const response = await fetch(address, { headers: { Accept: "application/json" } });
  if (!response.ok) return; // what stands below the place is true as well
  known.figure = await response.json();
  const present = document.querySelector(`[data-figure="${CSS.escape(address)}"]`);
  if (known.box.parentElement !== present) present?.replaceChildren(known.box);
  paint(known);
}

async function paint({ box, figure }) {
  const { data, layout } = inColours(figure);
  const isNew = !box.classList.contains("js-plotly-plot");
  await Plotly.react(box, data, layout, CONFIG);
  box.setAttribute("role", "img");
  box.setAttribute("aria-label", `${layout.meta?.title ?? "Chart"}; the table below has the numbers`);
  if (isNew) box.on("plotly_click", goTo);
}

function drawAll() {
  for (const place of document.querySelectorAll("[data-figure]")) {
    if (place.dataset.figureVersion !== drawn.get(place.dataset.figure)?.version || place.childElementCount === 0) draw(place);
  }
}

if (window.Plotly) {
  new MutationObserver(drawAll).observe(document.querySelector("main") ?? document.body, {
    subtree: true,
    childList: true,
    attributeFilter: ["data-figure-version"],
  });
  matchMedia("(prefers-color-scheme: light)").addEventListener("change", () => {
    for (const known of drawn.values()) if (known.figure) paint(known);
  });
  drawAll();
}
