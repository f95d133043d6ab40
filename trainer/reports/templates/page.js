// When the figures are drawn: as they come near, in other colours or widths, for print, and after the page loads itself again.
// A section is drawn when it comes near: a page of hundreds of runs opens at once.
const sections = new Map([["profile", drawProfile], ["runs", drawDots], ["curves", drawCurves], ["tuning", drawTuning], ["search", drawSearch],
  ["classes", drawClasses], ["layers", drawLayers]]);
for (const name of sections.keys()) if (!document.getElementById(name)) sections.delete(name);
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

const toggles = document.getElementById("toggles");
if (toggles) {
  drawLegend();
  toggles.addEventListener("change", drawCurves);
  toggles.addEventListener("submit", (event) => event.preventDefault());
}
for (const name of sections.keys()) near.observe(document.getElementById(name));
for (const query of [dark, narrow]) query.addEventListener("change", redraw);

// In print everything is drawn, in the light colours and the width of the paper, and collapsed comparisons are open.
const collapsed = [...document.querySelectorAll("details")].filter((each) => !each.open);
function setPrint(on) {
  if (on === printing()) return;
  document.documentElement.classList.toggle("print", on);
  for (const each of collapsed) each.open = on;
  if (on) for (const name of sections.keys()) drawn.add(name);
  redraw();
}
addEventListener("beforeprint", () => setPrint(true));
addEventListener("afterprint", () => setPrint(false));

// The page of a running study loads itself again: what was chosen and where one has read stays.
if (document.querySelector("meta[http-equiv=refresh]")) {
  const key = `place ${location.pathname}`;
  const fields = toggles ? [...toggles.elements].filter((field) => field.name) : [];
  try {
    const kept = JSON.parse(sessionStorage.getItem(key) || "null");
    if (kept) {
      for (const field of fields) if (field.name in kept.chosen) field[field.type === "checkbox" ? "checked" : "value"] = kept.chosen[field.name];
      for (const [name, drawSection] of sections) { drawn.add(name); drawSection(); } // or the page would still be too short
      scrollTo(0, kept.top);
    }
    addEventListener("pagehide", () => sessionStorage.setItem(key, JSON.stringify({ top: scrollY,
      chosen: Object.fromEntries(fields.map((field) => [field.name, field.type === "checkbox" ? field.checked : field.value])) })));
  } catch { /* a browser that keeps nothing: the page begins at its top */ }
}
