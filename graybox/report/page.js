"use strict";

// Tables: a click on a column's name sorts by it, a second one the other way round.
const figure = (cell) => {
  const found = cell.textContent.replace(/,/g, "").match(/[-+]?\d+(\.\d+)?/);
  if (!found) return null;
  const unit = { k: 1e3, M: 1e6, G: 1e9 }[(cell.textContent.match(/\d ([kMG])\b/) || [])[1]] || 1;
  return parseFloat(found[0]) * unit * (cell.textContent.trim().startsWith("<") ? 0.999 : 1);
};
for (const table of document.querySelectorAll("table.sortable")) {
  table.querySelectorAll("th").forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending";
    const numbers = head.classList.contains("figures");
    const rows = [...table.tBodies[0].rows];
    rows.sort((one, other) => {
      const [a, b] = [one.cells[column], other.cells[column]];
      if (!numbers) return a.textContent.localeCompare(b.textContent, "en", { numeric: true }) * (down ? -1 : 1);
      const [x, y] = [figure(a), figure(b)];
      if (x === null || y === null) return (x === null) - (y === null); // empty cells stay last
      return (x - y) * (down ? -1 : 1);
    });
    table.tBodies[0].append(...rows);
    table.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
  }));
}

// Print shows what the page folds away, and afterwards leaves it as the reader had it.
let folded = [];
addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("details:not([open])")];
  folded.forEach((one) => { one.open = true; });
});
addEventListener("afterprint", () => {
  folded.forEach((one) => { one.open = false; });
  folded = [];
});

// Pictures: a click, or Enter, shows them large.
const dialog = document.querySelector("dialog");
const enlarge = (picture) => {
  const shown = dialog.querySelector("img");
  shown.src = picture.src;
  shown.alt = picture.alt;
  dialog.showModal();
};
for (const picture of document.querySelectorAll("main img")) {
  picture.addEventListener("click", () => enlarge(picture));
  picture.addEventListener("keydown", (event) => { if (event.key === "Enter") enlarge(picture); });
}
dialog.addEventListener("click", () => dialog.close());

// The occlusion viewer.
const colour = (share) => { // viridis, in a few steps
  const stops = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];
  const place = Math.min(Math.max(share, 0), 1) * (stops.length - 1), low = Math.min(Math.floor(place), stops.length - 2);
  return stops[low].map((from, part) => Math.round(from + (place - low) * (stops[low + 1][part] - from)));
};
for (const viewer of document.querySelectorAll(".viewer")) {
  const { images } = JSON.parse(viewer.querySelector("script").textContent);
  if (!images.length) continue;
  viewer.hidden = false;
  const [which, size, picture, map, bars, scale] =
    [".which", ".size", ".image", ".map", ".bars", ".scale"].map((name) => viewer.querySelector(name));
  let image, chosen, bytes, at, photo, fill;
  images.forEach((one, number) => which.add(new Option(`${number + 1}: ${one.name}`, number)));

  const load = (address) => new Promise((done) => { const made = new Image(); made.onload = () => done(made); made.src = address; });
  const value = (row, column, label) => bytes[(label * chosen.rows[2] + row) * chosen.columns[2] + column] / 255;
  const open = async () => {
    image = images[which.value];
    [photo, fill] = await Promise.all([load(image.picture), load(image.fill)]);
    const before = size.value;
    size.replaceChildren(...image.maps.map((one) => new Option(`${one.window} x ${one.window}`, one.window)));
    size.value = image.maps.some((one) => `${one.window}` === before) ? before : image.window;
    take();
  };
  const take = () => {
    chosen = image.maps.find((one) => `${one.window}` === size.value);
    bytes = Uint8Array.from(atob(chosen.bytes), (one) => one.charCodeAt(0));
    // It starts where the true class loses most.
    at = [0, 0];
    for (let row = 0; row < chosen.rows[2]; row++) for (let column = 0; column < chosen.columns[2]; column++)
      if (value(row, column, chosen.truth) < value(...at, chosen.truth)) at = [row, column];
    draw();
  };
  const draw = () => {
    const zoom = Math.max(1, Math.round(480 / image.width)), { width, height } = image;
    for (const canvas of [picture, map]) { canvas.width = width * zoom; canvas.height = height * zoom; }
    const centre = [chosen.rows[0] + at[0] * chosen.rows[1], chosen.columns[0] + at[1] * chosen.columns[1]];
    const half = (chosen.window - 1) / 2, top = Math.max(0, centre[0] - half), left = Math.max(0, centre[1] - half);
    const tall = Math.min(height, centre[0] + half + 1) - top, broad = Math.min(width, centre[1] + half + 1) - left;
    const onto = picture.getContext("2d");
    onto.imageSmoothingEnabled = false;
    onto.drawImage(photo, 0, 0, width * zoom, height * zoom);
    onto.drawImage(fill, left, top, broad, tall, left * zoom, top * zoom, broad * zoom, tall * zoom);
    if (image.box) {
      const [x0, y0, x1, y1] = image.box.map((place) => place * zoom);
      onto.strokeStyle = "#e7298a"; onto.lineWidth = 3; onto.strokeRect(x0, y0, x1 - x0, y1 - y0);
    }
    const drawn = map.getContext("2d");
    // Each value fills the pixels that are nearest to its centre.
    const edges = (axis, end) => Array.from({ length: axis[2] + 1 }, (_, place) =>
      place === 0 ? 0 : place === axis[2] ? end : axis[0] + (place - 0.5) * axis[1] + 0.5);
    const [ys, xs] = [edges(chosen.rows, height), edges(chosen.columns, width)];
    for (let row = 0; row < chosen.rows[2]; row++) for (let column = 0; column < chosen.columns[2]; column++) {
      drawn.fillStyle = `rgb(${colour(value(row, column, chosen.truth))})`;
      const [x, y] = [Math.floor(xs[column] * zoom), Math.floor(ys[row] * zoom)];
      drawn.fillRect(x, y, Math.ceil(xs[column + 1] * zoom) - x, Math.ceil(ys[row + 1] * zoom) - y);
    }
    drawn.strokeStyle = "#fff"; drawn.lineWidth = 3; drawn.strokeRect(left * zoom, top * zoom, broad * zoom, tall * zoom);
    scale.textContent = `probability of ${chosen.classes[chosen.truth]}: dark 0%, bright 100%`;
    bars.replaceChildren(...chosen.classes.map((name, label) => {
      const share = value(...at, label), bar = document.createElement("div"), line = document.createElement("div"), full = document.createElement("div");
      bar.className = label === chosen.truth ? "bar truth" : "bar";
      bar.append(`${name} ${Math.round(100 * share)}% (without the window ${Math.round(100 * chosen.whole[label])}%)`, full);
      line.style.width = `${100 * share}%`;
      full.append(line);
      return bar;
    }));
  };
  const move = (event) => {
    const edge = map.getBoundingClientRect();
    const place = (axis, share, length) => Math.min(axis[2] - 1, Math.max(0, Math.round((share * length - 0.5 - axis[0]) / axis[1])));
    at = [place(chosen.rows, (event.clientY - edge.top) / edge.height, image.height),
          place(chosen.columns, (event.clientX - edge.left) / edge.width, image.width)];
    draw();
  };
  map.addEventListener("pointermove", move);
  map.addEventListener("pointerdown", move);
  map.addEventListener("keydown", (event) => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!step) return;
    event.preventDefault();
    at = [Math.min(chosen.rows[2] - 1, Math.max(0, at[0] + step[0])), Math.min(chosen.columns[2] - 1, Math.max(0, at[1] + step[1]))];
    draw();
  });
  which.addEventListener("change", open);
  size.addEventListener("change", take);
  open();
}
