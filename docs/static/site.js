// Marks tables and code that are wider than the page, and lets long names break after a dot or an underscore.
"use strict";

function mark(box) {
  const hidden = box.scrollWidth - box.clientWidth;
  box.classList.toggle("more-follows", hidden > 1 && box.scrollLeft < hidden - 1);
  if (hidden > 1 && !box.dataset.scrolls) {
    box.dataset.scrolls = "yes";
    box.tabIndex = 0; // so that the arrow keys scroll it
    const hint = document.createElement("p");
    hint.className = "scrolls";
    hint.textContent = "scrolls sideways \u2192";
    hint.setAttribute("aria-hidden", "true");
    const outer = box.closest("div.cell_input") || box.closest("div[class*=highlight-]") || box;
    outer.parentNode.insertBefore(hint, outer);
  }
}

function letBreak(element) {
  const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
  const found = [];
  while (walker.nextNode()) found.push(walker.currentNode);
  for (const text of found) {
    const parts = text.data.split(/(?<=[._(])/);
    if (parts.length < 2) continue;
    text.replaceWith(...parts.flatMap((part, number) => (number ? [document.createElement("wbr"), part] : [part])));
  }
}

document.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll("article h1, article h2, article dt.sig").forEach(letBreak);
  const boxes = [...document.querySelectorAll("article .table-wrapper, article .highlight pre")];
  const markAll = () => boxes.forEach(mark);
  for (const box of boxes) box.addEventListener("scroll", () => mark(box), { passive: true });
  window.addEventListener("resize", markAll);
  markAll();
});
