// Figures are drawn as they come near; the table is filtered; n and p go to the next claim and back; commands are copied.
const near = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) if (isIntersecting) {
    near.unobserve(target);
    if (!drawn.has(target)) draw(target);
  }
}, { rootMargin: "900px" });
for (const box of boxes) near.observe(box);

const buttons = [...document.querySelectorAll(".filter button")];
for (const button of buttons) button.addEventListener("click", () => {
  const chosen = button.getAttribute("aria-pressed") === "true" ? "" : button.value;
  for (const each of buttons) each.setAttribute("aria-pressed", String(each.value === chosen));
  for (const group of document.querySelectorAll(".index tbody")) {
    for (const row of group.rows) row.hidden = Boolean(chosen && row.dataset.verdict && row.dataset.verdict !== chosen);
    group.hidden = [...group.rows].every((row) => row.hidden || !row.dataset.verdict);
  }
  const shown = document.querySelectorAll(".index tr[data-verdict]:not([hidden])").length;
  document.getElementById("book:filtered").textContent = chosen ? `${shown} of the claims are listed: “${chosen}”. Press again to list all.` : "";
});

const claims = [...document.querySelectorAll(".claim")];
const topOf = (claim) => claim.getBoundingClientRect().top;
function go(step) {
  const at = claims.findLastIndex((claim) => topOf(claim) < 40); // the claim that is being read
  const between = at >= 0 && step < 0 && topOf(claims[at]) < -60; // first back to the beginning of this one
  const claim = claims[between ? at : at + step];
  if (!claim && at + step >= 0) return;
  if (!claim) { scrollTo(0, 0); return; }
  history.replaceState(null, "", `#${claim.id}`);
  claim.scrollIntoView();
  claim.querySelector("h3").focus({ preventScroll: true });
}
const STEPS = { n: 1, p: -1, ArrowRight: 1, ArrowLeft: -1 };
addEventListener("keydown", (event) => {
  const busy = event.ctrlKey || event.metaKey || event.altKey || event.shiftKey || event.target.closest("input, textarea, select, pre, .scroll");
  if (busy || !(event.key in STEPS)) return;
  event.preventDefault();
  go(STEPS[event.key]);
});

const links = new Map([...document.querySelectorAll("nav a")].map((link) => [link.hash.slice(1), link]));
const passing = new IntersectionObserver(() => {
  const claim = claims.findLast((each) => topOf(each) < innerHeight / 3);
  for (const link of document.querySelectorAll("nav [aria-current]")) link.removeAttribute("aria-current");
  for (const item of document.querySelectorAll("nav .current")) item.classList.remove("current");
  const link = claim && links.get(claim.id);
  if (!link) return;
  link.setAttribute("aria-current", "location");
  link.closest("ol ol").parentElement.classList.add("current");
  if (link.offsetParent) link.scrollIntoView({ block: "nearest" });
}, { rootMargin: "0px 0px -66% 0px", threshold: [0, 1] });
for (const claim of claims) passing.observe(claim);

for (const button of document.querySelectorAll(".copy")) button.addEventListener("click", async () => {
  const code = button.parentElement.querySelector("code");
  try {
    await navigator.clipboard.writeText(code.textContent);
    button.textContent = "copied";
  } catch { // a browser that refuses: the command is marked for copying by hand
    getSelection().selectAllChildren(code);
    button.textContent = "marked";
  }
  setTimeout(() => { button.textContent = "copy"; }, 2000);
});
