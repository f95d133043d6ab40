// The learning curves, and the buttons that choose what they show.
const hidden = new Set(); // arms that are not shown

function lines(quantity, chosen, keys) {
  const traces = [];
  const over = chosen.over.value;
  for (const part of quantity === "lr" ? ["validation"] : ["train", "validation"]) {
    if (quantity !== "lr" && !chosen[part].checked) continue;
    if (keys && !keys.includes(`${part}_${quantity}`)) continue; // a metric is of the validation alone
    const look = { key: quantity === "lr" ? "lr" : `${part}_${quantity}`, part, quantity, over, chosen };
    const others = { x: [], y: [] };
    data.curves.forEach((arm, number) => {
      if (hidden.has(number) || !arm.runs.length) return;
      if (number < COLOURS.length) traces.push(...linesOf(arm, number, look));
      // Drawn together: hundreds of lines of their own would take seconds.
      else for (const run of arm.runs) { others.x.push(...run[over], null); others.y.push(...run[look.key], null); }
    });
    if (others.x.length) traces.unshift({ type: "scatter", mode: "lines", ...others, hoverinfo: "skip",
      opacity: 0.5, line: { color: style("--soft"), width: 1, dash: part === "train" ? "dash" : "solid" } });
  }
  return traces;
}

function linesOf(arm, number, { key, part, quantity, over, chosen }) {
  const training = part === "train", dash = training ? "dash" : "solid", marked = !training && quantity !== "lr";
  const name = `${short(data.arms[number], 40)}${quantity === "lr" ? "" : training ? ", training" : ", validation"}`;
  const hovertemplate = `%{y:${quantity.endsWith("accuracy") ? ".2%" : ".4g"}} at %{x:.4~g}<extra>%{fullData.name}</extra>`;
  const base = { type: "scatter", mode: "lines", connectgaps: true, hovertemplate };
  const several = arm.runs.length > 1, traces = [];
  if (chosen.single.checked && several) for (const run of arm.runs)
    traces.push({ ...base, x: run[over], y: run[key], opacity: chosen.band.checked ? 0.45 : 0.9,
      line: { color: colour(number), width: 1, dash }, name: `${name}<br>${plain(run.name)}` });
  if (!chosen.band.checked && several) return traces;
  const lone = several ? null : arm.runs[0];
  const epochs = lone ? lone.epoch : arm.epochs;
  const x = lone ? lone[over] : over === "epoch" ? arm.epochs : arm.mean.seconds;
  const mean = lone ? lone[key] : arm.mean[key], deviation = lone ? [] : arm.deviation[key];
  const there = mean.map((_, at) => at).filter((at) => mean[at] !== null && deviation[at] != null);
  if (there.length > 1 && marked) {
    const upper = there.map((at) => mean[at] + deviation[at]);
    // A share is not below 0, nor is a positive loss on its log axis; a metric may be.
    const least = (value) => (quantity === "loss" && value > 0 ? value / 100 : quantity.endsWith("accuracy") ? 0 : -Infinity);
    const lower = there.map((at) => Math.max(mean[at] - deviation[at], least(mean[at])));
    traces.push({ ...base, x: [...there.map((at) => x[at]), ...there.map((at) => x[at]).reverse()],
      y: [...upper, ...lower.reverse()], fill: "toself", fillcolor: faint(colour(number), 0.18), line: { width: 0 },
      hoverinfo: "skip", hovertemplate: undefined });
  }
  const alone = x.length === 1 ? { mode: "markers", marker: { symbol: training ? "circle-open" : "circle", size: 9 } } : {};
  traces.push({ ...base, ...alone, x, y: mean, name, line: { color: colour(number), width: training ? 1.5 : 2.5, dash } });
  if (marked && x.length > 1) {
    const marks = [["best epoch", lone ? lone.best : arm.best, "diamond"], ["stopped early", lone && lone.stopped, "x-thin"]];
    for (const [what, epoch, symbol] of marks) {
      const at = epoch === null ? -1 : epochs.findLastIndex((each) => each <= epoch);
      if (at >= 0 && mean[at] !== null) traces.push({ type: "scatter", mode: "markers", x: [x[at]], y: [mean[at]],
        hovertemplate: `%{y:.4~g}: ${what}, ${epoch}<extra>%{fullData.name}</extra>`, name,
        marker: { symbol, size: 10, color: colour(number), line: symbol === "diamond" ? { width: 1.5, color: style("--ground") } : { width: 2.5, color: style("--ink") } } });
    }
  }
  return traces;
}

function drawCurves() {
  const chosen = document.getElementById("toggles").elements;
  const every = data.curves.flatMap((arm) => arm.runs.map((run) => run.epoch));
  const ends = [Math.min(...every.map((each) => each[0] ?? 1)), Math.max(...every.map((each) => each.at(-1) ?? 1))];
  const xaxis = chosen.over.value === "epoch" ? epochAxis(...ends) : { title: { text: "seconds of training" }, rangemode: "tozero" };
  const title = (text) => ({ text, font: { size: 14 } });
  draw("accuracy", lines("accuracy", chosen), { xaxis, yaxis: { tickformat: ".0%" }, title: title("accuracy") });
  draw("loss", lines("loss", chosen), { xaxis, title: title("loss"),
    yaxis: { type: chosen.log.checked ? "log" : "linear", dtick: chosen.log.checked ? "D2" : undefined } });
  data.further.forEach(({ name, keys }, at) => draw(`further-${at}`, lines(name, chosen, keys), { xaxis,
    yaxis: { tickformat: name.endsWith("accuracy") ? ".0%" : "~g" }, title: title(name.replaceAll("_", " ")) }));
  draw("rate", lines("lr", chosen), { xaxis, yaxis: { tickformat: "~g", rangemode: "tozero" }, title: title("learning rate") });
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
    button.style.setProperty("--colour", `var(${COLOURS[numbers[0]] || "--soft"})`);
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
