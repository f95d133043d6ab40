"use strict";
// Draws the figures from the numbers in #data. Everything else on the page is there without it.
const data = JSON.parse(document.getElementById("data").textContent);
// Okabe and Ito's colours, which people with colour blindness can distinguish.
const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31", "#7a68a6"];
const dark = matchMedia("(prefers-color-scheme: dark)");
const narrow = matchMedia("(max-width: 48rem)");
const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
// plotly reads markup in texts: names from outside are shown as they are.
const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;");
const short = (text, most) => plain(text.length > most ? text.slice(0, most - 1) + "…" : text);
const colour = (arm) => (arm < COLOURS.length ? COLOURS[arm] : style("--soft"));
const faint = (hex, share) => hex.replace(/^#(..)(..)(..)$/, (_, r, g, b) =>
  `rgba(${parseInt(r, 16)},${parseInt(g, 16)},${parseInt(b, 16)},${share})`);
const metric = data.metric.replace("_", " ");
const form = data.share ? ".2%" : ".4f";
const hidden = new Set();

function layout(more) {
  const axis = { gridcolor: style("--line"), zerolinecolor: style("--line"), linecolor: style("--line"), automargin: true };
  const whole = {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false, hovermode: "closest",
    font: { family: "inherit", size: 13, color: style("--ink") }, margin: { l: 55, r: 15, t: 30, b: 45 },
    hoverlabel: { bgcolor: style("--panel"), bordercolor: style("--line"), font: { color: style("--ink") } },
    ...more,
  };
  for (const name of ["xaxis", "yaxis"]) whole[name] = { ...axis, ...(more[name] || {}) };
  return whole;
}

function draw(id, traces, more, height) {
  const place = document.getElementById(id);
  if (!place) return;
  if (height) place.style.height = `${height}px`;
  Plotly.react(place, traces, layout(more), { responsive: true, displayModeBar: false });
}

// Whole epochs only; of a single one plotly would label halves and less, and a line of one point is not seen.
const epochAxis = (last) => ({ title: { text: "epoch", standoff: 5 }, rangemode: "tozero", ...(last < 10 ? { dtick: 1, range: [0, last + 0.5] } : {}) });

function lines(quantity, chosen) {
  const traces = [];
  const over = chosen.over.value;
  for (const part of ["train", "validation"]) {
    if (quantity !== "lr" && !chosen[part].checked) continue;
    if (quantity === "lr" && part === "train") continue;
    const key = quantity === "lr" ? "lr" : `${part}_${quantity}`;
    const format = quantity === "accuracy" ? ".2%" : ".4g";
    const dash = part === "train" ? "dash" : "solid";
    const others = { x: [], y: [] };
    data.curves.forEach((arm, number) => {
      if (hidden.has(number) || !arm.runs.length) return;
      if (number >= COLOURS.length) { // drawn together: hundreds of lines of their own would take seconds
        for (const run of arm.runs) { others.x.push(...run[over], null); others.y.push(...run[key], null); }
        return;
      }
      const name = `${short(data.arms[number], 40)}${quantity === "lr" ? "" : part === "train" ? ", training" : ", validation"}`;
      const base = { type: "scatter", mode: "lines", connectgaps: true };
      if (chosen.single.checked && arm.runs.length > 1) for (const run of arm.runs)
        traces.push({ ...base, x: run[over], y: run[key], opacity: chosen.band.checked ? 0.45 : 0.9,
          line: { color: colour(number), width: 1, dash }, name: `${name}<br>${plain(run.name)}`,
          hovertemplate: `%{y:${format}} at %{x:.4~g}<extra>%{fullData.name}</extra>` });
      if (!chosen.band.checked && arm.runs.length > 1) return;
      const lone = arm.runs.length === 1 ? arm.runs[0] : null;
      const x = lone ? lone[over] : over === "epoch" ? arm.epochs : arm.mean.seconds;
      const mean = lone ? lone[key] : arm.mean[key], deviation = lone ? [] : arm.deviation[key];
      const there = mean.map((value, at) => at).filter((at) => mean[at] !== null && deviation[at] != null);
      if (there.length > 1 && part === "validation" && quantity !== "lr") {
        const upper = there.map((at) => mean[at] + deviation[at]);
        const lower = there.map((at) => Math.max(mean[at] - deviation[at], quantity === "loss" ? mean[at] / 100 : 0));
        traces.push({ ...base, x: [...there.map((at) => x[at]), ...there.map((at) => x[at]).reverse()],
          y: [...upper, ...lower.reverse()], fill: "toself", fillcolor: faint(colour(number), 0.18), line: { width: 0 },
          hoverinfo: "skip" });
      }
      traces.push({ ...base, ...(x.length === 1 ? { mode: "markers", marker: { symbol: part === "train" ? "circle-open" : "circle", size: 9 } } : {}), x, y: mean, name, line: { color: colour(number), width: part === "train" ? 1.5 : 2.5, dash },
        hovertemplate: `%{y:${format}} at %{x:.4~g}<extra>%{fullData.name}</extra>` });
    });
    if (others.x.length) traces.unshift({ type: "scatter", mode: "lines", ...others, hoverinfo: "skip",
      opacity: 0.5, line: { color: style("--soft"), width: 1, dash } });
  }
  return traces;
}

function drawCurves() {
  const chosen = document.getElementById("toggles").elements;
  const epochs = Math.max(...data.curves.flatMap((arm) => arm.runs.map((run) => run.epoch.at(-1) ?? 0)));
  const xaxis = chosen.over.value === "epoch" ? epochAxis(epochs) : { title: { text: "seconds of training" }, rangemode: "tozero" };
  draw("accuracy", lines("accuracy", chosen), { xaxis, yaxis: { tickformat: ".0%" }, title: { text: "accuracy", font: { size: 14 } } });
  draw("loss", lines("loss", chosen), { xaxis, yaxis: { type: chosen.log.checked ? "log" : "linear", dtick: chosen.log.checked ? "D2" : undefined },
    title: { text: "loss", font: { size: 14 } } });
  draw("rate", lines("lr", chosen), { xaxis, yaxis: { tickformat: "~g", rangemode: "tozero" }, title: { text: "learning rate", font: { size: 14 } } });
}

function drawLegend() {
  const legend = document.getElementById("legend");
  if (data.arms.length < 2) return;
  data.arms.slice(0, COLOURS.length).forEach((name, number) => add(name, [number]));
  const others = data.arms.map((_, number) => number).slice(COLOURS.length);
  if (others.length) add(`the ${others.length} other arms`, others);
  function add(name, numbers) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = name;
    button.style.setProperty("--colour", colour(numbers[0]));
    button.setAttribute("aria-pressed", "true");
    button.addEventListener("click", () => {
      const shown = button.getAttribute("aria-pressed") === "true";
      button.setAttribute("aria-pressed", String(!shown));
      for (const number of numbers) shown ? hidden.add(number) : hidden.delete(number);
      drawCurves();
    });
    legend.append(button);
  }
}

function drawDots() {
  const shown = data.arms.map((_, number) => number).filter((number) => data.values[number].length).slice(0, data.max_arms);
  const y = (number) => short(data.arms[number], narrow.matches ? 22 : 48);
  const traces = shown.flatMap((number) => [
    { type: "scatter", mode: "markers", x: data.values[number].map(([, value]) => value), y: data.values[number].map(() => y(number)),
      text: data.values[number].map(([key]) => `${data.unit} ${plain(key)}`), marker: { color: faint(COLOURS[number] || "#808890", 0.55), size: 9 },
      hovertemplate: `%{x:${form}}<extra>%{text}</extra>` },
    { type: "scatter", mode: "markers", x: [data.means[number]], y: [y(number)],
      marker: { symbol: "line-ns", size: 20, line: { width: 3, color: colour(number) } }, hovertemplate: `mean %{x:${form}}<extra></extra>` },
  ]);
  draw("dots", traces, { xaxis: { title: { text: metric }, tickformat: data.share ? ".1~%" : "~g" },
    yaxis: { autorange: "reversed", type: "category" }, margin: { l: 55, r: 15, t: 10, b: 45 } }, 80 + 30 * Math.max(2, shown.length));
}

function drawSearch() {
  const search = data.search;
  if (!search) return;
  const dimensions = search.axes.map((axis) => {
    const dimension = { label: plain(axis.key.split(".").slice(-2).join(".")), values: axis.values };
    if (axis.labels) return { ...dimension, tickvals: axis.labels.map((_, at) => at), ticktext: axis.labels.map((text) => short(text, 18)) };
    if (!axis.log) return dimension;
    const values = axis.values.map(Math.log10);
    const ends = [Math.floor(Math.min(...values)), Math.ceil(Math.max(...values))];
    const ticks = Array.from({ length: ends[1] - ends[0] + 1 }, (_, at) => ends[0] + at);
    return { ...dimension, values, range: ends, tickvals: ticks, ticktext: ticks.map((power) => String(Number(`1e${power}`))) };
  });
  dimensions.push({ label: metric, values: search.values, tickformat: data.share ? ".0%" : ".3~g" });
  draw("parallel", [{ type: "parcoords", dimensions, labelfont: { size: 13 }, tickfont: { size: 12 }, rangefont: { size: 1, color: "rgba(0,0,0,0)" },
    line: { color: search.values, colorscale: "Cividis", reversescale: data.sign < 0, showscale: false } }], { margin: { l: 60, r: 60, t: 50, b: 25 } });
  const shares = Object.entries(search.importance).reverse();
  draw("importance", [{ type: "bar", orientation: "h", y: shares.map(([key]) => plain(key)), x: shares.map(([, share]) => share),
    marker: { color: COLOURS[0] }, text: shares.map(([, share]) => `${(100 * share).toFixed(0)} %`), textposition: "auto", hoverinfo: "skip" }],
    { xaxis: { tickformat: ".0%", range: [0, 1] }, title: { text: "importance", font: { size: 14 } } }, 100 + 32 * shares.length);
}

function heat(id, x, y, z, texts, more, height) {
  const scale = [[0, style("--panel")], [1, style("--accent")]];
  const small = x.length > 20 || narrow.matches && x.length > 12;
  draw(id, [{ type: "heatmap", x: x.map(plain), y: y.map(plain), z, text: texts, texttemplate: small ? "" : "%{text}", colorscale: scale, showscale: small,
    xgap: 1, ygap: 1, hovertemplate: more }], { xaxis: { type: "category", side: "bottom" }, yaxis: { autorange: "reversed", type: "category" },
    margin: { l: 55, r: 15, t: 8, b: 45 } }, height);
}

function drawClasses() {
  const classes = data.classes;
  if (!classes) return;
  const names = classes.names.map((name) => (name.length > 14 ? name.slice(0, 13) + "…" : name));
  const shown = classes.arms.slice(0, data.max_arms).map((name) => (name.length > 34 ? name.slice(0, 33) + "…" : name));
  heat("byclass", names, shown, classes.accuracy.slice(0, data.max_arms), classes.accuracy.map((row) => row.map((share) => (share === null ? "" : (100 * share).toFixed(0)))),
    "%{y}, class %{x}: %{z:.1%}<extra></extra>", 110 + 30 * Math.max(2, shown.length));
  const totals = classes.confusion.map((row) => row.reduce((sum, count) => sum + count, 0));
  const shares = classes.confusion.map((row, at) => row.map((count) => (totals[at] ? count / totals[at] : null)));
  heat("confusion", names, names.map((name) => `${name} `), shares, classes.confusion.map((row) => row.map((count) => count || "")),
    "true %{y}, taken for %{x}: %{text} images, %{z:.1%}<extra></extra>", 130 + 28 * Math.max(4, names.length));
}

function drawByEpoch(id, title, layers, more) {
  const named = Object.entries(layers);
  const traces = named.map(([name, values], number) => ({ type: "scatter", mode: "lines+markers", x: data.layers.epochs, y: values,
    name: plain(data.layers.titles[name]), connectgaps: true, line: { color: colour(number % COLOURS.length), width: 2 },
    hovertemplate: "%{y:.3~g} after epoch %{x}<extra>%{fullData.name}</extra>" }));
  draw(id, traces, { title: { text: title, font: { size: 14 } }, xaxis: epochAxis(Math.max(...data.layers.epochs)), yaxis: more,
    showlegend: named.length > 0, legend: { orientation: "h", yref: "container", y: 0, yanchor: "bottom", font: { size: 11 } } });
}

function drawRidges(id, title, layers) {
  const named = Object.entries(layers).reverse();
  const traces = named.flatMap(([name, { low, high, counts }], number) => {
    const width = (high - low) / counts.length, most = Math.max(...counts, 1);
    const x = counts.map((_, bin) => low + (bin + 0.5) * width);
    const base = { type: "scatter", mode: "lines", x, hoverinfo: "skip", line: { color: COLOURS[0], width: 1.5 } };
    return [{ ...base, y: counts.map(() => number), line: { width: 0 } },
      { ...base, y: counts.map((count) => number + 0.85 * count / most), fill: "tonexty", fillcolor: faint(COLOURS[0], 0.25) }];
  });
  draw(id, traces, { title: { text: title, font: { size: 14 } }, xaxis: { tickformat: "~g" }, yaxis: { showgrid: false, zeroline: false,
    tickvals: named.map((_, number) => number), ticktext: named.map(([name]) => plain(data.layers.titles[name])) } });
}

function drawFilters(filters) {
  if (!filters.length) return;
  const colours = filters[0].length === 3, height = filters[0][0].length;
  const pixel = (filter, row, column) => [...(colours ? filter.map((plane) => plane[row][column]) : Array(3).fill(filter[0][row][column])), 1];
  const gap = [0, 0, 0, 0];
  const picture = Array.from({ length: height }, (_, row) =>
    filters.flatMap((filter) => [...filter[0][row].map((_, column) => pixel(filter, row, column)), gap]).slice(0, -1));
  draw("filters", [{ type: "image", colormodel: "rgba", z: picture, hoverinfo: "skip" }], { margin: { l: 5, r: 5, t: 5, b: 5 },
    xaxis: { visible: false }, yaxis: { visible: false, scaleanchor: "x" } });
}

function drawLayers() {
  if (!data.layers) return;
  const { quantities, histograms, filters } = data.layers;
  drawByEpoch("update_ratio", "update ÷ weights", quantities.update_ratio, { type: "log", tickformat: "~g", dtick: "D2" });
  drawByEpoch("gradient_norm", "norm of the gradient", quantities.gradient_norm, { type: "log", tickformat: "~g", dtick: "D2" });
  drawByEpoch("idle", "dead or saturated units", { ...quantities.dead, ...quantities.saturated }, { tickformat: ".0%", range: [0, 1] });
  drawByEpoch("weight_norm", "norm of the weights", quantities.weight_norm, { tickformat: "~g", rangemode: "tozero" });
  drawRidges("activation", "activations", histograms.activation);
  drawRidges("gradient", "gradients", histograms.gradient);
  drawFilters(filters);
}

// A section is drawn when it comes near: a page of hundreds of runs opens at once.
const sections = new Map([["runs", drawDots], ["curves", drawCurves], ["search", drawSearch], ["classes", drawClasses], ["layers", drawLayers]]);
const drawn = new Set();
const near = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) if (isIntersecting) {
    near.unobserve(target);
    drawn.add(target.id);
    sections.get(target.id)();
  }
}, { rootMargin: "600px" });

function redraw() {
  for (const name of drawn) sections.get(name)();
}

if (document.getElementById("toggles")) {
  drawLegend();
  document.getElementById("toggles").addEventListener("change", drawCurves);
  document.getElementById("toggles").addEventListener("submit", (event) => event.preventDefault());
}
for (const name of sections.keys()) if (document.getElementById(name)) near.observe(document.getElementById(name));
for (const query of [dark, narrow]) query.addEventListener("change", redraw);
addEventListener("beforeprint", () => sections.forEach((drawSection, name) => document.getElementById(name) && drawSection()));
