"use strict";
// Draws the figures from the numbers in book:data, in the colours and the text size of the page. All else is there without it.
const figures = JSON.parse(document.getElementById("book:data").textContent);
const dark = matchMedia("(prefers-color-scheme: dark)");
const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const printing = () => document.documentElement.classList.contains("print");
const boxes = [...document.querySelectorAll(".plot")];
const drawn = new Set();
// Of Okabe and Ito's colours the blue alone is too dark for a dark page.
const BLUES = [[/#0072b2/gi, "#3b8ad0"], [/rgba\(0, ?114, ?178,/g, "rgba(59,138,208,"]];
document.documentElement.classList.add("js");

function template() {
  const size = parseFloat(getComputedStyle(document.documentElement).fontSize);
  const lines = { gridcolor: style("--line"), zerolinecolor: style("--line"), linecolor: style("--line") };
  const axis = { ...lines, automargin: true, title: { standoff: 0.6 * size, font: { size: 0.8 * size } } };
  const space = { ...lines, backgroundcolor: "rgba(0,0,0,0)", showbackground: false };
  return { layout: {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", hovermode: "closest",
    colorway: ["#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#8C8C8C"],
    font: { family: getComputedStyle(document.body).fontFamily, size: 0.8 * size, color: style("--ink") },
    margin: { l: 3 * size, r: 0.8 * size, t: 0.8 * size, b: 2.6 * size },
    hoverlabel: { bgcolor: style("--panel"), bordercolor: style("--line"), font: { color: style("--ink") } },
    legend: { orientation: "h", yanchor: "bottom", y: 1.01, x: 0, xanchor: "left", title: { font: { size: 0.8 * size } } },
    xaxis: axis, yaxis: axis, scene: { xaxis: space, yaxis: space, zaxis: space },
  } };
}

// What a figure states in pixels grows with the text of the page where that is large, as on a projector.
function enlarge(part, factor, name = "") {
  if (Array.isArray(part)) for (const each of part) if (each && typeof each === "object") enlarge(each, factor);
  if (!part || typeof part !== "object" || Array.isArray(part)) return;
  for (const [key, value] of Object.entries(part)) {
    const scales = /^(pad|margin)$/.test(name) || (/font$/.test(name) && key === "size") || (/^(line|marker)$/.test(name) && /^(size|width)$/.test(key));
    if (scales && typeof value === "number") part[key] = factor * value;
    else if (value && typeof value === "object" && key !== "customdata") enlarge(value, factor, key);
  }
}

// Plotly's own defaults, so that they grow, too.
function complete(traces) {
  for (const trace of traces) if (!trace.type || trace.type === "scatter") {
    trace.line = { width: 2, ...trace.line };
    trace.marker = { size: 6, ...trace.marker };
  }
}

function draw(box) {
  let text = JSON.stringify(figures[Number(box.dataset.figure)]);
  if (dark.matches && !printing()) for (const [from, to] of BLUES) text = text.replace(from, to);
  const figure = JSON.parse(text);
  const factor = parseFloat(getComputedStyle(document.documentElement).fontSize) / 16;
  complete(figure.data);
  if (factor > 1) enlarge(figure, factor);
  if (printing()) Object.assign(figure.layout, { updatemenus: [], sliders: [] }); // there is nothing to press on paper
  // A printed page has a width of its own, to which nothing adapts by itself.
  const size = printing() ? { autosize: false, width: box.clientWidth, height: box.clientHeight } : { autosize: true };
  if (drawn.has(box) && pictured(box)) { // made anew, an image would load when the paper is printed already
    Plotly.relayout(box, { ...size, template: template() });
    return;
  }
  drawn.add(box);
  Plotly.newPlot(box, { data: figure.data, frames: figure.frames || [], layout: { ...figure.layout, ...size, template: template() },
    config: { responsive: !printing(), displayModeBar: false } });
}

const pictured = (box) => figures[Number(box.dataset.figure)].data.some((trace) => trace.type === "image");
for (const box of boxes) if (pictured(box)) draw(box);
const drawAll = (list) => { for (const box of list) if (box.clientWidth) draw(box); };
dark.addEventListener("change", () => drawAll([...drawn]));

// On paper everything is drawn, in the light colours and the width of the paper, and what is collapsed is open.
const collapsed = [...document.querySelectorAll("details")].filter((each) => !each.open);
function setPrint(on) {
  if (on === printing()) return;
  const seen = [...drawn];
  document.documentElement.classList.toggle("print", on);
  for (const each of collapsed) each.open = on;
  drawAll(on ? boxes : seen);
}
addEventListener("beforeprint", () => setPrint(true));
addEventListener("afterprint", () => setPrint(false));
