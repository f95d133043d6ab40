"use strict";
// Draws the figures from the numbers in #data. Everything else on the page is there without it.
const data = JSON.parse(document.getElementById("data").textContent);
// The colours of the arms, by their names in page.css.
const COLOURS = Array.from({ length: 8 }, (_, arm) => `--arm-${arm}`);
const dark = matchMedia("(prefers-color-scheme: dark)");
const narrow = matchMedia("(max-width: 48rem)");
const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
// plotly reads markup in texts: names from outside are shown as they are.
const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;");
const short = (text, most) => plain(text.length > most ? text.slice(0, most - 1) + "…" : text);
// On two lines at most: names that begin alike must not look alike.
function folded(text, most) {
  const end = text.lastIndexOf(" ", most);
  return text.length <= most || end < 0 ? short(text, most) : `${plain(text.slice(0, end))}<br>${short(text.slice(end + 1), most)}`;
}
const colour = (arm) => style(COLOURS[arm] || "--soft");
const channels = (hex) => hex.match(/[0-9a-f]{2}/gi).map((pair) => parseInt(pair, 16));
const faint = (hex, share) => (hex.startsWith("#") ? `rgba(${channels(hex).join(",")},${share})` : hex);
const metric = data.scored;
const form = data.share ? ".2%" : ".4f";
const printing = () => document.documentElement.classList.contains("print");

function layout(more) {
  const axis = { gridcolor: style("--line"), zerolinecolor: style("--line"), linecolor: style("--line"), automargin: true };
  const whole = {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false, hovermode: "closest",
    font: { family: "inherit", size: printing() ? 11 : 13, color: style("--ink") }, margin: { l: 55, r: 15, t: 30, b: 45 },
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
  // A printed page has a width of its own, to which nothing adapts by itself.
  const size = printing() ? { autosize: false, width: place.clientWidth, height: place.clientHeight } : { autosize: true };
  Plotly.react(place, traces, layout({ ...more, ...size }), { responsive: !printing(), displayModeBar: false });
}

// Whole epochs only, from the first one: of a single one plotly would label halves and less.
const epochAxis = (first, last) => ({ title: { text: "epoch", standoff: 5 },
  range: last - first < 1 ? [first - 0.5, last + 0.5] : [first - 0.02 * (last - first), last + 0.02 * (last - first)],
  ...(last - first < 10 ? { dtick: 1, tick0: first } : { tickvals: epochTicks(first, last) }) });

function epochTicks(first, last) {
  const power = 10 ** Math.floor(Math.log10((last - first) / 4));
  const step = [5, 2, 1].map((factor) => factor * power).find((each) => (last - first) / each >= 4) || power;
  const ticks = [first];
  for (let tick = Math.ceil((first + 0.75 * step) / step) * step; tick <= last; tick += step) ticks.push(tick);
  return ticks;
}
