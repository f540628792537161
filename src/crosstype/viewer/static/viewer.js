"use strict";
const at = (id) => document.getElementById(id);
// viridis: its order is seen by readers with any colour vision, and in grey.
const VIRIDIS = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];
// Purple below 0, orange above.
const PURPLE_ORANGE = [[84, 39, 136], [153, 142, 195], [247, 247, 247], [241, 163, 64], [179, 88, 6]];
const NONE = { shows: "", token: "", tiles: [], values: [], weight: null };
let run, viewer, newest = 0, shown = { tiles: { xy_px: [] }, tissue: [], maps: [] }, patient = null;

async function ask(path) {
  const answer = await fetch(path);
  const said = await answer.json();
  if (!answer.ok) throw new Error(said.error ?? answer.statusText);
  return said;
}

// Everything from tables becomes text nodes, never markup.
function make(tag, text = "", className = "") {
  const it = document.createElement(tag);
  it.textContent = text;
  if (className) it.className = className;
  return it;
}

function options(select, pairs) {
  select.replaceChildren(...pairs.map(([value, text]) => {
    const it = make("option", text);
    it.value = value;
    return it;
  }));
}

function called(one, model) {
  const shares = one.probabilities[model];
  return shares ? run.classes[shares.indexOf(Math.max(...shares))] : "";
}

function list() {
  const words = at("search").value.trim().toLowerCase(), model = at("model").value, show = at("show").value;
  const kept = run.patients.filter((one) => {
    const right = called(one, model) === one.label;
    return `${one.id} ${one.site}`.toLowerCase().includes(words) &&
      (show === "all" || (show === "wrong" && !right) || (show === "right" && right) || show === `class ${one.label}`);
  });
  at("count").textContent = `${kept.length} of ${run.patients.length} patients`;
  at("patients").replaceChildren(...kept.map((one) => {
    const button = make("button", one.id), says = called(one, model);
    button.type = "button";
    button.setAttribute("aria-current", one === patient);
    const wrong = says && says !== one.label;
    button.append(make("small", `${one.label}${says ? `, called ${says}` : ""}`, wrong ? "wrong" : ""));
    button.addEventListener("click", () => choose(one));
    const item = document.createElement("li");
    item.append(button);
    return item;
  }));
}

function facts() {
  at("name").textContent = patient.id;
  at("facts").replaceChildren(...[["Label", patient.label], ["Site", patient.site || "unknown"], ["Slides", String(patient.slides.length)]]
    .flatMap(([name, value]) => [make("dt", name), make("dd", value)]));
  const shown = run.classes.length === 2 ? run.classes.slice(1) : run.classes;
  const head = document.createElement("tr");
  head.append(...["Model", ...shown].map((name) => Object.assign(make("th", name), { scope: "col" })));
  at("said").tHead.replaceChildren(head);
  at("said").tBodies[0].replaceChildren(...Object.entries(patient.probabilities).map(([model, shares]) => {
    const row = document.createElement("tr");
    row.append(Object.assign(make("th", model), { scope: "row" }),
      ...shown.map((name) => make("td", shares[run.classes.indexOf(name)].toFixed(3))));
    return row;
  }));
}

async function genes() {
  if (!patient) return;
  const asked = patient;
  const found = await ask(`/api/patients/${encodeURIComponent(asked.id)}/genes?search=${encodeURIComponent(at("gene").value.trim())}`);
  if (asked !== patient) return;
  at("genes").tBodies[0].replaceChildren(...found.map((one) => {
    const row = document.createElement("tr");
    row.append(Object.assign(make("th", one.gene), { scope: "row" }), make("td", one.z === null ? "–" : one.z.toFixed(2)), make("td", String(one.percentile)));
    return row;
  }));
}

async function choose(one) {
  patient = one;
  list();
  facts();
  options(at("which"), one.slides.map((slide) => [slide, slide]));
  await Promise.all([genes(), open()]);
}

async function open() {
  const slide = at("which").value, mine = ++newest;
  at("fault").hidden = true;
  viewer?.destroy();
  viewer = undefined;
  shown = { tiles: { xy_px: [] }, tissue: [], maps: [] };
  if (!slide) return say("This patient has no slide.");
  const found = await ask(`/api/slides/${encodeURIComponent(slide)}`);
  if (mine !== newest) return;  // another slide was chosen meanwhile
  shown = found;
  const names = [...new Set(shown.maps.map((one) => one.model))], before = at("map").value;
  options(at("map"), [["", "none"], ...names.map((name) => [name, name])]);
  at("map").value = names.includes(before) ? before : names[0] ?? "";
  parts();
  if (!shown.size) return say("This run knows the slide by its features only, so there is no picture of it.");
  at("nothing").hidden = true;
  const { width, height, tile_px, overlap_px } = shown.size;
  viewer = OpenSeadragon({
    element: at("zoom"), prefixUrl: "/openseadragon/images/", showNavigator: true, drawer: "canvas", maxZoomPixelRatio: 4,
    tileSources: { width, height, tileSize: tile_px, tileOverlap: overlap_px,
      getTileUrl: (level, x, y) => `/api/slides/${encodeURIComponent(slide)}/${level}/${x}_${y}.jpg` },
  });
  viewer.addHandler("tile-load-failed", () => { if (mine === newest) at("fault").hidden = false; });
  const canvas = document.createElement("canvas");
  canvas.id = "overlay";
  canvas.style.cssText = "position:absolute;inset:0;pointer-events:none";
  viewer.canvas.append(canvas);
  for (const event of ["update-viewport", "open", "resize"]) viewer.addHandler(event, () => draw(canvas));
  legend();
}

function say(text) {
  at("nothing").textContent = text;
  at("nothing").hidden = false;
  legend();
}

// What is known of the chosen model: attention, contribution, gene sets; a choice is kept if it can be.
function parts() {
  const found = shown.maps.filter((one) => one.model === at("map").value), before = at("shows").value;
  const name = (one) => one.token ? `gene set ${one.token}` : one.shows;
  options(at("shows"), found.map((one) => [name(one), name(one)]));
  if (found.some((one) => name(one) === before)) at("shows").value = before;
  at("shows").disabled = !found.length;
}

function chosen() {
  return shown.maps.filter((one) => one.model === at("map").value)[at("shows").selectedIndex] ?? NONE;
}

function legend() {
  const one = chosen(), signed = one.shows === "contribution";
  at("legend").hidden = !one.shows || !shown.tiles.xy_px.length;
  at("scale").classList.toggle("signed", signed);
  at("low").textContent = signed ? `against ${towards()}` : "low";
  at("high").textContent = signed ? `for ${towards()}` : "high";
  const what = one.token ? `attention of gene set ${one.token}, its ${one.tiles.length} highest tiles here`
    : signed ? "what the model's line hears of each tile" : "attention of the networks, by rank within the slide";
  const weight = one.weight === null ? "" : ` Weight of the networks in this patient's predictions: ${Math.round(100 * one.weight)}%.`;
  at("about").textContent = `${what}.${weight}`;
}

// Of two classes numbers are towards the second; of more, towards the label's.
function towards() {
  return run.classes.length === 2 ? run.classes[1] : patient.label;
}

function colour(share, colours) {
  const place = share * (colours.length - 1), low = Math.min(Math.floor(place), colours.length - 2), part = place - low;
  return colours[low].map((value, i) => Math.round(value + part * (colours[low + 1][i] - value)));
}

// The colour of each tile: by rank; contributions by value, 0 in the middle.
function tints() {
  const { shows, tiles, values } = chosen();
  if (shows === "contribution") {
    const most = Math.max(...values.map(Math.abs)) || 1;
    return new Map(tiles.map((tile, i) => [tile, colour(0.5 + values[i] / most / 2, PURPLE_ORANGE)]));
  }
  const order = tiles.map((tile, i) => i).sort((a, b) => values[a] - values[b]);
  return new Map(order.map((i, place) => [tiles[i], colour(order.length > 1 ? place / (order.length - 1) : 1, VIRIDIS)]));
}

function draw(canvas) {
  const box = viewer.container.getBoundingClientRect(), dense = window.devicePixelRatio || 1;
  canvas.width = box.width * dense;
  canvas.height = box.height * dense;
  canvas.style.width = `${box.width}px`;
  canvas.style.height = `${box.height}px`;
  const pen = canvas.getContext("2d"), item = viewer.world.getItemAt(0);
  if (!item) return;
  pen.scale(dense, dense);
  const tint = tints(), opacity = at("opacity").value / 100, side = shown.tiles.size_px;
  pen.lineWidth = 1;
  shown.tiles.xy_px.forEach(([x, y], tile) => {
    const from = item.imageToViewerElementCoordinates(new OpenSeadragon.Point(x, y));
    const to = item.imageToViewerElementCoordinates(new OpenSeadragon.Point(x + side, y + side));
    if (to.x < 0 || to.y < 0 || from.x > box.width || from.y > box.height) return;
    const size = [from.x, from.y, to.x - from.x, to.y - from.y];
    if (tint.has(tile)) {
      pen.fillStyle = `rgba(${tint.get(tile).join(",")},${opacity})`;
      pen.fillRect(...size);
    }
    if (at("outlines").checked) {
      pen.strokeStyle = "#0072B2";
      pen.strokeRect(...size);
    }
  });
  if (at("tissue").checked) {
    pen.strokeStyle = "#009E73";
    pen.lineWidth = 2;
    for (const ring of shown.tissue) {
      pen.beginPath();
      for (const [x, y] of ring) {
        const place = item.imageToViewerElementCoordinates(new OpenSeadragon.Point(x, y));
        pen.lineTo(place.x, place.y);
      }
      pen.closePath();
      pen.stroke();
    }
  }
  canvas.dataset.drawn = String(tint.size);
}

const redraw = () => { legend(); viewer?.forceRedraw(); };
let waiting;
const soon = (work) => () => { clearTimeout(waiting); waiting = setTimeout(work, 150); };

// OpenSeadragon calls it an error when pictures of a slide that was left no longer come; where they
// are missed the page itself says so (tile-load-failed).
const quietly = (tell) => (...said) => { if (!/^(Tile %s failed|Ignoring tile)/.test(said[0])) tell(...said); };
OpenSeadragon.console = { ...console, error: quietly(console.error), warn: quietly(console.warn) };

(async () => {
  run = await ask("/api/run");
  document.title = run.title;
  at("title").textContent = run.title;
  options(at("model"), run.models.map((name) => [name, name]));
  options(at("show"), [["all", "all"], ["wrong", "called wrongly"], ["right", "called rightly"], ...run.classes.map((name) => [`class ${name}`, name])]);
  at("search").addEventListener("input", list);
  at("model").addEventListener("change", list);
  at("show").addEventListener("change", list);
  at("which").addEventListener("change", open);
  at("map").addEventListener("change", () => { parts(); redraw(); });
  at("shows").addEventListener("change", redraw);
  at("opacity").addEventListener("input", redraw);
  at("outlines").addEventListener("change", redraw);
  at("tissue").addEventListener("change", redraw);
  at("gene").addEventListener("input", soon(genes));
  list();
  const first = run.patients.find((one) => one.slides.some((slide) => run.pictured.includes(slide))) ?? run.patients[0];
  if (first) await choose(first);
})();
