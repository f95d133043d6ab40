// What happens inside the network: statistics of its layers, and the filters of the first one.
function drawByEpoch(id, title, layers, more) {
  const named = Object.entries(layers);
  const traces = named.map(([name, values], number) => ({ type: "scatter", mode: "lines+markers", x: data.layers.epochs, y: values,
    name: plain(data.layers.titles[name]), connectgaps: true, line: { color: colour(number % COLOURS.length), width: 2 },
    hovertemplate: "%{y:.3~g} after epoch %{x}<extra>%{fullData.name}</extra>" }));
  draw(id, traces, { title: { text: title, font: { size: 14 } }, xaxis: epochAxis(Math.min(...data.layers.epochs), Math.max(...data.layers.epochs)), yaxis: more,
    showlegend: named.length > 0, legend: { orientation: "h", yref: "container", y: 0, yanchor: "bottom", font: { size: 11 } } });
}

function drawRidges(id, title, layers) {
  const named = Object.entries(layers).reverse();
  const traces = named.flatMap(([name, { low, high, counts }], number) => {
    const width = (high - low) / counts.length, most = Math.max(...counts, 1);
    const x = counts.map((_, bin) => low + (bin + 0.5) * width);
    const base = { type: "scatter", mode: "lines", x, hoverinfo: "skip", line: { color: colour(0), width: 1.5 } };
    return [{ ...base, y: counts.map(() => number), line: { width: 0 } },
      { ...base, y: counts.map((count) => number + 0.85 * count / most), fill: "tonexty", fillcolor: faint(colour(0), 0.25) }];
  });
  draw(id, traces, { title: { text: title, font: { size: 14 } }, xaxis: { tickformat: "~g" }, yaxis: { showgrid: false, zeroline: false,
    tickvals: named.map((_, number) => number), ticktext: named.map(([name]) => plain(data.layers.titles[name])) } });
}

function drawFilters(filters) {
  if (!filters.length) return;
  const colours = filters[0].length === 3, height = filters[0][0].length;
  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const pixel = (filter, row, column) => {
    const values = filter.map((plane) => plane[row][column]);
    return [...(colours ? values : Array(3).fill(mean(values))), 1];
  };
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
