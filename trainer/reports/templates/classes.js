// The accuracy by class, and the confusion matrix: shades with a number in each.
// Contrast of two colours, as WCAG 2 defines it: (L + 0.05) / (l + 0.05) of their relative luminances.
const luminance = (rgb) => rgb.map((part) => part / 255)
  .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
  .reduce((sum, part, at) => sum + part * [0.2126, 0.7152, 0.0722][at], 0);
// Black or white has a contrast of at least √21 = 4.58 to any colour, the other one less.
const readable = (rgb) => ((luminance(rgb) + 0.05) / 0.05 > 1.05 / (luminance(rgb) + 0.05) ? "#000000" : "#ffffff");
const shade = (share) => {
  const [low, high] = [channels(style("--panel")), channels(style("--accent"))];
  return low.map((part, at) => Math.round(part + share * (high[at] - part)));
};

function heat(id, columns, rows, z, texts, { hover, height, ends, titles, label = plain }) {
  const most = narrow.matches || printing() ? 12 : 20;
  const small = columns.length > most;
  const [low, high] = ends;
  const place = (value) => (value - low) / (high - low);
  const axis = (names, title, label) => {
    const every = Math.ceil(names.length / (narrow.matches ? 14 : printing() ? 24 : 40));
    const shown = names.map((_, at) => at).filter((at) => at % every === 0);
    return { ...rowAxis(names), tickvals: shown, ticktext: shown.map((at) => label(names[at])), showline: false, ticks: "",
      title: title ? { text: title, standoff: 8 } : undefined };
  };
  const traces = [{ type: "heatmap", z, colorscale: [[0, `rgb(${shade(0)})`], [1, `rgb(${shade(1)})`]], zmin: low, zmax: high,
    xgap: small ? 0 : 1, ygap: small ? 0 : 1, showscale: small, colorbar: { tickformat: ".0%", thickness: 12, outlinewidth: 0 },
    customdata: z.map((row, at) => row.map((_, column) => [plain(rows[at]), plain(columns[column]), texts[at][column] || 0])),
    hovertemplate: `${hover}<extra></extra>` }];
  if (!small) {
    const cells = z.flatMap((row, at) => row.map((value, column) => [column, at, value])).filter(([column, at, value]) => value !== null && texts[at][column] !== "");
    traces.push({ type: "scatter", mode: "text", x: cells.map(([column]) => column), y: cells.map(([, at]) => at), hoverinfo: "skip",
      text: cells.map(([column, at]) => String(texts[at][column])),
      textfont: { size: narrow.matches || printing() ? 10 : 13, color: cells.map(([, , value]) => readable(shade(place(value)))) } });
  }
  draw(id, traces, { xaxis: { ...axis(columns, titles[0], plain), range: [-0.5, columns.length - 0.5], side: "bottom" },
    yaxis: axis(rows, titles[1], label), margin: { l: 55, r: 15, t: 8, b: 45 } }, height);
}

function drawClasses() {
  const classes = data.classes;
  if (!classes) return;
  const cut = (text, most) => (text.length > most ? text.slice(0, most - 1) + "…" : text);
  const names = classes.names.map((name) => cut(name, 14));
  const shown = classes.arms.slice(0, data.max_arms);
  const label = (name) => (narrow.matches ? folded(name, 16) : short(name, 34));
  const accuracy = classes.accuracy.slice(0, data.max_arms);
  const known = accuracy.flat().filter((share) => share !== null);
  const [low, high] = [Math.min(...known), Math.max(...known)];
  heat("byclass", names, shown, accuracy, accuracy.map((row) => row.map((share) => (share === null ? "" : (100 * share).toFixed(0)))),
    { hover: "%{customdata[0]}, class %{customdata[1]}: %{z:.1%}", height: 110 + (printing() ? 22 : 30) * Math.max(2, shown.length),
      ends: low < high ? [low, high] : [0, 1], titles: ["class", ""], label });
  const totals = classes.confusion.map((row) => row.reduce((sum, count) => sum + count, 0));
  const shares = classes.confusion.map((row, at) => row.map((count) => (totals[at] ? count / totals[at] : null)));
  heat("confusion", names, names, shares, classes.confusion.map((row) => row.map((count) => count || "")),
    { hover: "true %{customdata[0]}, predicted %{customdata[1]}: %{customdata[2]} images, %{z:.1%}",
      height: Math.min(900, 130 + (printing() ? 21 : 28) * Math.max(4, names.length)), ends: [0, 1], titles: ["predicted class", "true class"] });
}
