// The profile over several blocks, and the trials that tuned each arm.
function drawProfile() {
  const { scores, arms } = data.profile;
  // A share holds up to its score where higher is better, else from its score on.
  const shape = data.sign > 0 ? "vh" : "hv";
  const base = { type: "scatter", mode: "lines", x: scores };
  const bands = arms.flatMap((arm, number) => [
    { ...base, y: arm.high, line: { width: 0, shape }, hoverinfo: "skip" },
    { ...base, y: arm.low, line: { width: 0, shape }, hoverinfo: "skip", fill: "tonexty", fillcolor: faint(colour(number), 0.15) },
  ]);
  const steps = arms.map((arm, number) => ({ ...base, y: arm.share, line: { width: 2.5, shape, color: colour(number) },
    name: short(arm.name, 40), hovertemplate: `%{y:.0%} of the runs at %{x:${form}}<extra>%{fullData.name}</extra>` }));
  draw("profile-plot", [...bands, ...steps], {
    xaxis: { title: { text: metric }, tickformat: data.share ? ".1~%" : "~g", range: [scores[0], scores.at(-1)], zeroline: false },
    yaxis: { title: { text: data.sign > 0 ? "share of runs at least this high" : "share of runs at most this high" },
      tickformat: ".0%", range: [-0.02, 1.02], zeroline: false }, margin: { l: 55, r: 15, t: 10, b: 45 } });
}

function drawTuning() {
  data.tuning.forEach((figure, at) => {
    const xs = figure.arms.flatMap((arm) => arm.points.map(([x]) => x));
    const decades = figure.log ? Math.log10(Math.max(...xs) / Math.min(...xs)) : 0;
    const key = plain(figure.key);
    const traces = figure.arms.flatMap((arm) => {
      const base = { type: "scatter", name: short(arm.name, 40),
        hovertemplate: `%{y:${form}} at ${key}=%{x:.4~g}<extra>%{fullData.name}</extra>` };
      return [
        // Beside other settings a point is no function of this one alone: a line would lead up and down.
        { ...base, mode: figure.alone ? "lines+markers" : "markers", x: arm.points.map(([x]) => x), y: arm.points.map(([, y]) => y),
          line: { color: colour(arm.place), width: 1.5 }, marker: { color: colour(arm.place), size: 7 } },
        { ...base, mode: "markers", x: [arm.chosen[0]], y: [arm.chosen[1]],
          hovertemplate: `%{y:${form}}: chosen, ${key}=%{x:.4~g}<extra>%{fullData.name}</extra>`,
          marker: { symbol: "diamond", size: 14, color: colour(arm.place), line: { width: 2, color: style("--ink") } } },
      ];
    });
    draw(`tuning-${at}`, traces, {
      xaxis: { title: { text: short(figure.title, 48) }, tickformat: "~g", zeroline: false,
        ...(figure.log ? { type: "log", dtick: decades > 1.5 ? Math.ceil(decades / 6) : "D2" } : {}) },
      yaxis: { tickformat: data.share ? ".0~%" : "~g", zeroline: false, ...(figure.log_scores ? { type: "log" } : {}) },
      title: { text: metric, font: { size: 14 } } });
  });
}
