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
    legend: { orientation: "h", yanchor: "bottom", y: 1.01, x: 0, xanchor: "left" },
    xaxis: axis, yaxis: axis, scene: { xaxis: space, yaxis: space, zaxis: space },
  } };
}

function draw(box) {
  let text = JSON.stringify(figures[Number(box.dataset.figure)]);
  if (dark.matches && !printing()) for (const [from, to] of BLUES) text = text.replace(from, to);
  const figure = JSON.parse(text);
  // A printed page has a width of its own, to which nothing adapts by itself.
  const size = printing() ? { autosize: false, width: box.clientWidth, height: box.clientHeight } : { autosize: true };
  if (printing()) Object.assign(figure.layout, { updatemenus: [], sliders: [] }); // there is nothing to press on paper
  drawn.add(box);
  Plotly.newPlot(box, { data: figure.data, frames: figure.frames || [], layout: { ...figure.layout, ...size, template: template() },
    config: { responsive: !printing(), displayModeBar: false } });
}

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
