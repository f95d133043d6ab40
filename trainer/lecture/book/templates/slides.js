// A slide at a time: the arrow keys, a presenter's page keys, a swipe, or the two buttons.
const slides = [...document.querySelectorAll(".slide")];
const MIN_FIT = 0.4, STEP = 0.05; // of the text's size, for slides with more words than fit

function fit(slide) {
  const words = [slide, ...slide.querySelectorAll(".words")];
  const over = () => words.some((each) => each.scrollHeight > each.clientHeight + 1);
  for (let size = 1; size >= MIN_FIT; size -= STEP) {
    slide.style.setProperty("--fit", size.toFixed(2));
    if (!over()) return;
  }
}

function at() { return slides.findIndex((slide) => slide.classList.contains("current")); }

function show(number) {
  const place = Math.max(0, Math.min(slides.length - 1, number));
  for (const slide of slides) slide.classList.toggle("current", slide === slides[place]);
  history.replaceState(null, "", `#${slides[place].id}`);
  for (const slide of slides.slice(place, place + 2)) for (const box of slide.querySelectorAll(".plot")) if (!drawn.has(box)) draw(box);
}

const STEPS = { ArrowRight: 1, PageDown: 1, " ": 1, n: 1, ArrowLeft: -1, PageUp: -1, p: -1, Home: -Infinity, End: Infinity };
addEventListener("keydown", (event) => {
  const button = event.target.closest("button, a") && event.key === " ";
  if (event.ctrlKey || event.metaKey || event.altKey || button || !(event.key in STEPS)) return;
  event.preventDefault();
  show(at() + STEPS[event.key]);
});
for (const button of document.querySelectorAll(".steps button")) button.addEventListener("click", () => show(at() + Number(button.value)));
let start = null;
addEventListener("touchstart", (event) => { start = event.target.closest(".plot") ? null : event.touches[0].clientX; }, { passive: true });
addEventListener("touchend", (event) => {
  const moved = start === null ? 0 : event.changedTouches[0].clientX - start;
  if (Math.abs(moved) > 50) show(at() - Math.sign(moved));
});
const current = () => slides.findIndex((slide) => `#${slide.id}` === location.hash);
addEventListener("hashchange", () => show(current()));
addEventListener("resize", () => { if (!printing()) drawAll([...drawn]); }); // the text of a figure grows with the window
slides.forEach(fit);
show(current());
