// The value of every run, and the points of a search.
// Rows of a figure by their number, as two names may look alike once they are shortened.
const rowAxis = (names) => ({ tickvals: names.map((_, at) => at), ticktext: names, range: [names.length - 0.5, -0.5],
  showgrid: false, zeroline: false });

function drawDots() {
  const shown = data.arms.map((_, number) => number).filter((number) => data.values[number].length).slice(0, data.max_arms);
  const traces = shown.flatMap((number, row) => [
    { type: "scatter", mode: "markers", x: data.values[number].map(([, value]) => value), y: data.values[number].map(() => row),
      text: data.values[number].map(([key]) => `${data.unit} ${plain(key)}`), marker: { color: faint(colour(number), 0.55), size: 9 },
      hovertemplate: `%{x:${form}}<extra>%{text}</extra>` },
    { type: "scatter", mode: "markers", x: [data.means[number]], y: [row],
      marker: { symbol: "line-ns", size: 20, line: { width: 3, color: colour(number) } }, hovertemplate: `mean %{x:${form}}<extra></extra>` },
  ]);
  const names = shown.map((number) => narrow.matches ? folded(data.arms[number], 22) : short(data.arms[number], 48));
  draw("dots", traces, { xaxis: { title: { text: metric }, tickformat: data.share ? ".1~%" : "~g", zeroline: false },
    yaxis: { ...rowAxis(names), showgrid: true }, margin: { l: 55, r: 15, t: 10, b: 45 } }, 80 + (printing() ? 22 : 30) * Math.max(2, shown.length));
}

function dimensionOf(axis, order) {
  const shown = { label: plain(axis.key.split(".").slice(-2).join(".")), values: order.map((at) => axis.values[at]) };
  if (axis.labels) return { ...shown, tickvals: axis.labels.map((_, at) => at), ticktext: axis.labels.map((text) => short(text, 18)) };
  if (!axis.log) return shown;
  const values = shown.values.map(Math.log10);
  const ends = [Math.floor(Math.min(...values)), Math.ceil(Math.max(...values))];
  const ticks = Array.from({ length: ends[1] - ends[0] + 1 }, (_, at) => ends[0] + at);
  return { ...shown, values, range: ends, tickvals: ticks, ticktext: ticks.map((power) => String(Number(`1e${power}`))) };
}

function drawSearch() {
  const search = data.search;
  if (!search) return;
  const worth = (at) => data.sign * search.values[at];
  const order = search.values.map((_, at) => at).sort((a, b) => worth(a) - worth(b)); // the best line is drawn last
  const values = order.map((at) => search.values[at]);
  const ends = [Math.min(...values), Math.max(...values)];
  const range = data.sign < 0 ? ends.reverse() : ends; // the best end of the last axis is its upper one
  const dimensions = search.axes.map((axis) => dimensionOf(axis, order));
  dimensions.push({ label: metric, values, tickformat: data.share ? ".0%" : ".3~g", ...(range[0] === range[1] ? {} : { range }) });
  draw("parallel", [{ type: "parcoords", dimensions, labelfont: { size: 13 }, tickfont: { size: 12 }, rangefont: { size: 1, color: "rgba(0,0,0,0)" },
    line: { color: values.map((value) => data.sign * value), colorscale: [[0, style("--line")], [1, style("--accent")]], showscale: false } }],
    { margin: { l: 60, r: 60, t: 50, b: 25 } });
  const shares = Object.entries(search.importance).reverse();
  draw("importance", [{ type: "bar", orientation: "h", y: shares.map(([key]) => plain(key)), x: shares.map(([, share]) => share),
    marker: { color: colour(0) }, text: shares.map(([, share]) => `${(100 * share).toFixed(0)} %`), textposition: "auto", hoverinfo: "skip" }],
    { xaxis: { tickformat: ".0%", range: [0, 1] }, yaxis: { type: "category" }, title: { text: "importance", font: { size: 14 } } }, 100 + 32 * shares.length);
}
