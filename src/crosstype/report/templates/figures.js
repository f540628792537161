// A figure, or a picture of a patient, large in a dialog; and a figure as a file of its own.
const large = document.createElement("dialog");
if (document.querySelector("figure button")) {
  large.innerHTML = '<div tabindex="0" role="region"></div><p></p><form method="dialog"><button>Close</button></form>';
  document.body.append(large);
}
function enlarge(figure) {
  const drawn = figure.querySelector("svg, img"), home = drawn.parentElement;
  const said = figure.querySelector("figcaption > span").textContent;
  home.style.minHeight = `${home.offsetHeight}px`;
  large.firstChild.append(drawn);  // moved, not copied: ids stay unique in the page
  large.firstChild.setAttribute("aria-label", said);
  large.setAttribute("aria-label", said);
  large.children[1].textContent = said;
  large.addEventListener("close", () => { home.append(drawn); home.style.minHeight = ""; }, { once: true });
  large.showModal();
}
large.addEventListener("click", (event) => { if (event.target === large) large.close(); });
function save(figure) {
  const copy = figure.querySelector("svg").cloneNode(true), { width, height } = copy.viewBox.baseVal;
  copy.removeAttribute("style");
  copy.setAttribute("width", `${width}pt`);
  copy.setAttribute("height", `${height}pt`);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([new XMLSerializer().serializeToString(copy)], { type: "image/svg+xml" }));
  link.download = `${copy.dataset.name}.svg`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}
for (const figure of document.querySelectorAll("figure:has(button)")) {
  figure.querySelector(".drawing").addEventListener("click", () => enlarge(figure));
  figure.querySelector(".enlarge").addEventListener("click", () => enlarge(figure));
  figure.querySelector(".save")?.addEventListener("click", () => save(figure));
}
