"use strict";
// Sort a table by a click on a heading, and hide the rows that do not contain the words in the filter field.
function makeSortable(table) {
  const headings = table.querySelectorAll("thead th");
  headings.forEach((heading, column) => {
    heading.querySelector("button").addEventListener("click", () => {
      const up = heading.getAttribute("aria-sort") !== "ascending";
      headings.forEach((each) => each.setAttribute("aria-sort", "none"));
      heading.setAttribute("aria-sort", up ? "ascending" : "descending");
      const value = (row) => row.children[column].dataset.value;
      const compare = (a, b) => {
        if (value(a) === "" || value(b) === "") return (value(a) === "") - (value(b) === ""); // no value: at the end
        const difference = Number(value(a)) - Number(value(b));
        const words = Number.isNaN(difference);
        return (up ? 1 : -1) * (words ? value(a).localeCompare(value(b), undefined, { numeric: true }) : difference);
      };
      table.tBodies[0].append(...[...table.tBodies[0].rows].sort(compare));
    });
  });
}

document.querySelectorAll("table:has(thead button)").forEach(makeSortable);
const filter = document.getElementById("filter");
if (filter) filter.addEventListener("input", () => {
  const words = filter.value.toLowerCase().split(/\s+/);
  for (const row of document.querySelectorAll("tbody tr"))
    row.hidden = !words.every((word) => row.textContent.toLowerCase().includes(word));
});
