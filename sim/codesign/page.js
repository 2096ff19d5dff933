"use strict";
// `DATA` holds designs of the front, a sample of all designs, and tables of best designs.
const $ = (id) => document.getElementById(id);
const COLOURS = ["#0072b2", "#009e73", "#e69f00", "#d55e00", "#cc79a7", "#56b4e9", "#8c6bb1", "#7f7f7f"];
const PARTS = ["#0072b2", "#56b4e9", "#009e73", "#e69f00", "#cc79a7", "#999999", "#d55e00"];
const LIMIT = { memory: "#0072b2", compute: "#d55e00", processor: "#999999" };
const colour = (index) => COLOURS[Math.min(index, COLOURS.length - 1)];
const by = Object.fromEntries(DATA.designs.map((d) => [d.number, d]));
const value = (d, name) => d.values[name];
// Axes of the limits and of the parallel coordinates; `better` is the direction.
const isChip = DATA.unit === "mm2";
const UNIT = isChip ? "mm²" : "kLUT";
const AXES = [
  { name: "tokens_per_s", title: "tokens/s", better: 1 },
  ...(isChip ? [{ name: "energy_j", title: "J/token", better: -1 }] : []),
  { name: DATA.area, title: UNIT, better: -1 },
  { name: "kl_nats", title: "KL nats", better: -1 },
];
const FLOOR = 1e-5; // a divergence of 0 on a logarithmic axis
const state = { design: DATA.answer, kl: Math.max(0.1, 1.01 * value(by[DATA.answer], "kl_nats")), ranges: {}, words: "", sort: null, down: false };

function text(words) {
  return String(words).replace(/[&<>"]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c]);
}
function si(v) {
  if (!v) return "0";
  for (const [p, prefix] of [[12, "T"], [9, "G"], [6, "M"], [3, "k"], [0, ""], [-3, "m"], [-6, "µ"], [-9, "n"]]) {
    if (Math.abs(v) >= 0.9995 * 10 ** p) return `${Number((v / 10 ** p).toPrecision(3))}${prefix && " "}${prefix}`;
  }
  return v.toExponential(1);
}
// Areas are shown in mm² without a prefix, which would read as another unit.
const amount = (v, unit) => (unit === UNIT ? `${Number(v.toPrecision(3))} ${UNIT}` : `${si(v)}${unit}`);
const attrs = (more) => Object.entries(more).map(([k, v]) => ` ${k}="${text(v)}"`).join("");
const el = (tag, more, inside = "") => `<${tag}${attrs(more)}>${inside}</${tag}>`;
const label = (x, y, words, more = {}) => el("text", { x, y, ...more }, text(words));
const tip = (words) => `<title>${text(words)}</title>`;
const drawing = (w, h, inside, name, more = {}) =>
  `<div class="drawing"><svg viewBox="0 0 ${w} ${h}" style="max-width: ${Math.round(1.2 * w)}px" role="img" aria-label="${text(name)}"${attrs(more)}>${inside}</svg></div>`;

// Returns a logarithmic scale from values to pixels, with its inverse and its ticks.
function scale(values, from, to) {
  const kept = values.filter((v) => v > 0);
  const low = Math.log10(Math.min(...kept)) - 0.05, high = Math.log10(Math.max(...kept)) + 0.05;
  const at = (v) => from + ((Math.log10(Math.max(v, 10 ** low)) - low) / (high - low)) * (to - from);
  const ticks = [];
  const steps = high - low > 2.5 ? [1] : high - low > 1 ? [1, 3] : [1, 1.5, 2, 3, 5, 7];
  for (let p = Math.floor(low); p <= high; p += 1) {
    for (const s of steps) {
      const v = s * 10 ** p;
      if (Math.log10(v) >= low && Math.log10(v) <= high) ticks.push(v);
    }
  }
  return { at, ticks, inverse: (px) => 10 ** (low + ((px - from) / (to - from)) * (high - low)) };
}
const plain = (v) => (v && v < 1e-4 ? v.toExponential(1) : String(Number(v.toPrecision(2))));
const tick = (v, name) => (/mm²|kLUT|KL/.test(name) ? plain(v) : si(v));
function frame(sx, sy, box, xName, yName) {
  let out = "";
  for (const v of sx.ticks) {
    out += el("line", { x1: sx.at(v), x2: sx.at(v), y1: box.top, y2: box.bottom, class: "grid" });
    out += label(sx.at(v), box.bottom + 15, tick(v, xName), { "text-anchor": "middle", class: "dim" });
  }
  for (const v of sy.ticks) {
    out += el("line", { x1: box.left, x2: box.right, y1: sy.at(v), y2: sy.at(v), class: "grid" });
    out += label(box.left - 5, sy.at(v) + 4, tick(v, yName), { "text-anchor": "end", class: "dim" });
  }
  out += label((box.left + box.right) / 2, box.bottom + 32, xName, { "text-anchor": "middle" });
  const y = (box.top + box.bottom) / 2;
  return out + label(13, y, yName, { "text-anchor": "middle", transform: `rotate(-90 13 ${y})` });
}

// A design is kept by the ranges of all axes and by the words of the filter.
function isKept(d) {
  const own = Object.values(d.texts).join(" ").toLowerCase();
  return (
    AXES.every(({ name }) => {
      const range = state.ranges[name];
      const v = Math.max(value(d, name), FLOOR);
      return !range || (v >= range[0] && v <= range[1]);
    }) && state.words.toLowerCase().split(/\s+/).every((word) => own.includes(word))
  );
}
const label_of = (d) => `${d.texts.weights}/${d.texts.activations} on ${d.texts.rows} x ${d.texts.element}, ${d.texts.clock_mhz} MHz, ${d.texts.gb_per_s} GB/s: ${d.texts.tokens_per_s} tokens/s, ${isChip ? `${d.texts.energy_j} mJ, ` : ""}${d.texts[DATA.area]} ${UNIT}, KL ${d.texts.kl_nats}`;

function scatter() {
  const box = { left: 62, right: 500, top: 12, bottom: 300 };
  const draw = (xName, yName, xTitle, yTitle, cloudAt, isSized) => {
    const xs = DATA.designs.map((d) => Math.max(value(d, xName), FLOOR));
    const ys = DATA.designs.map((d) => Math.max(value(d, yName), FLOOR));
    const cloud = cloudAt ? DATA.cloud.map(cloudAt) : [];
    const sx = scale([...xs, ...cloud.map((p) => p[0])], box.left, box.right);
    const sy = scale([...ys, ...cloud.map((p) => p[1])], box.bottom, box.top);
    let out = frame(sx, sy, box, xTitle, yTitle);
    for (const [x, y] of cloud) out += el("circle", { cx: sx.at(x).toFixed(1), cy: sy.at(y).toFixed(1), r: 0.8, fill: "var(--soft)", opacity: 0.35 });
    DATA.designs.forEach((d, i) => {
      const r = isSized ? 3 + 5 * Math.min(1, Math.sqrt(value(d, DATA.area) / (isChip ? 1 : 80))) : 4;
      const isChosen = d.number === state.design;
      out += el("circle", {
        cx: sx.at(xs[i]).toFixed(1), cy: sy.at(ys[i]).toFixed(1), r: (isChosen ? r + 3 : r).toFixed(1), class: "point",
        "data-design": d.number, fill: colour(value(d, "class") - 1), opacity: isKept(d) ? 0.85 : 0.08,
        stroke: isChosen ? "var(--ink)" : "none", "stroke-width": 2.5,
      }, tip(label_of(d)));
    });
    const name = `${yTitle} against ${xTitle}`;
    return { html: drawing(512, 340, out, name, { tabindex: 0, "data-x": xName, "data-y": yName, class: "brush" }), sx, sy };
  };
  const first = isChip
    ? draw("tokens_per_s", "energy_j", "tokens/s, faster →", "J per token, ↓ is better", (c) => [c[3], c[2]], true)
    : draw("tokens_per_s", DATA.area, "tokens/s, faster →", "kLUT, ↓ is better", (c) => [c[3], c[1]], true);
  const second = draw(DATA.area, "kl_nats", `area in ${UNIT}, ← is better`, "KL in nats, ↓ is better", null, false);
  $("scatter").innerHTML = `<div>${first.html}</div><div>${second.html}${legend()}</div>`;
  $("scatter").querySelectorAll("svg.brush").forEach((svg, i) => brush(svg, box, [first, second][i]));
}
function legend() {
  const classes = [...new Set(DATA.designs.map((d) => value(d, "class")))].sort((a, b) => a - b);
  const items = classes.map((c) => {
    const own = DATA.designs.filter((d) => value(d, "class") === c).map((d) => value(d, "kl_nats"));
    const ends = [...new Set([plain(Math.min(...own)), plain(Math.max(...own))])];
    const range = ends.join(" to ");
    return `<span><svg width="12" height="12" style="display:inline;width:12px"><circle cx="6" cy="6" r="5" fill="${colour(c - 1)}"/></svg> class ${c}: KL ${range}</span>`;
  });
  return `<div class="facts soft">${items.join("")}</div>`;
}
function brush(svg, box, { sx, sy }) {
  let start = null;
  const point = (event) => {
    const r = svg.getBoundingClientRect(), w = svg.viewBox.baseVal;
    return [((event.clientX - r.left) / r.width) * w.width, ((event.clientY - r.top) / r.height) * w.height];
  };
  svg.addEventListener("pointerdown", (event) => { start = point(event); });
  svg.addEventListener("pointerup", (event) => {
    if (!start) return;
    const end = point(event), [x, y] = [svg.dataset.x, svg.dataset.y];
    if (Math.hypot(end[0] - start[0], end[1] - start[1]) > 6) {
      state.ranges[x] = [sx.inverse(Math.min(start[0], end[0])), sx.inverse(Math.max(start[0], end[0]))];
      state.ranges[y] = [sy.inverse(Math.max(start[1], end[1])), sy.inverse(Math.min(start[1], end[1]))];
      render();
    } else if (event.target.dataset.design) choose(Number(event.target.dataset.design));
    else { delete state.ranges[x]; delete state.ranges[y]; render(); }
    start = null;
  });
  svg.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const order = DATA.designs.filter(isKept).sort((a, b) => value(a, svg.dataset.x) - value(b, svg.dataset.x));
    const at = order.findIndex((d) => d.number === state.design);
    const next = order[Math.min(order.length - 1, Math.max(0, at + step))];
    if (next) choose(next.number, `#scatter svg[data-x=${svg.dataset.x}]`);
  });
}

function winmap() {
  const most = state.kl, cell = { w: 104, h: 30 }, left = 78, top = 8;
  const rows = [...DATA.budgets.keys()].reverse();
  let out = '<defs><pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><line x1="0" y1="0" x2="0" y2="6" stroke="var(--ink)" stroke-width="1" opacity=".45"/></pattern></defs>';
  const names = new Map();
  rows.forEach((budget, line) => {
    out += label(left - 6, top + line * cell.h + 19, amount(DATA.budgets[budget], UNIT), { "text-anchor": "end", class: "dim" });
    DATA.memories.forEach((memory, column) => {
      const found = DATA.best[column][budget]
        .map(([speed, energy], i) => ({ speed, energy, pair: DATA.pairs[i] }))
        .filter((b) => b.speed > 0 && b.pair.kl <= most);
      const x = left + column * cell.w, y = top + line * cell.h;
      if (!found.length) {
        out += el("rect", { x, y, width: cell.w - 2, height: cell.h - 2, fill: "var(--shade)" }, tip("no design fits"));
        return;
      }
      const fastest = Math.max(...found.map((b) => b.speed));
      const near = found.filter((b) => b.speed >= 0.98 * fastest).sort((a, b) => a.energy - b.energy);
      const [win] = near;
      const tie = near.find((b) => b.pair.weights !== win.pair.weights && b.energy <= 1.05 * win.energy);
      if (!names.has(win.pair.weights)) names.set(win.pair.weights, names.size);
      const words = `${memory}, ${amount(DATA.budgets[budget], UNIT)}: ${win.pair.name}, ${si(win.speed)} tokens/s, ${isChip ? `${si(win.energy)}J, ` : ""}KL ${plain(win.pair.kl)}${tie ? `; tie: ${tie.pair.name}` : ""}`;
      out += el("rect", { x, y, width: cell.w - 2, height: cell.h - 2, fill: colour(names.get(win.pair.weights)), opacity: 0.55 }, tip(words));
      if (tie) out += el("rect", { x, y, width: cell.w - 2, height: cell.h - 2, fill: "url(#hatch)", "pointer-events": "none" });
      out += label(x + 4, y + 12, win.pair.weights.slice(0, 14), { "pointer-events": "none" });
      out += label(x + 4, y + 24, `${si(win.speed)} tok/s`, { "pointer-events": "none" });
    });
  });
  const bottom = top + rows.length * cell.h;
  DATA.memories.forEach((memory, column) => { out += label(left + column * cell.w + cell.w / 2, bottom + 14, memory, { "text-anchor": "middle", class: "dim" }); });
  const width = left + DATA.memories.length * cell.w;
  out += label(width / 2, bottom + 30, "memory bandwidth →, area budget ↑", { "text-anchor": "middle" });
  $("winmap").innerHTML = drawing(width, bottom + 38, out, "Winning format by memory and area");
  $("klout").textContent = Number.isFinite(most) ? plain(most) : "any";
}

function bars() {
  const rows = DATA.equal, height = 22, left = 190, wide = 140;
  const measures = [["speed", "tokens/s →"], ...(isChip ? [["energy", "J/token, less is better"], ["density", "MACs per cycle and mm² of PEs"]] : []), ["kl", "KL nats, less is better", plain]];
  let out = "";
  measures.forEach(([name, title, shown = si], column) => {
    const most = Math.max(...rows.map((r) => r[name])) || 1, x = left + column * (wide + 60);
    out += label(x, 14, title);
    rows.forEach((row, line) => {
      const y = 24 + line * height;
      if (!column) out += label(left - 6, y + 14, `${row.weights} on ${row.pe}`.slice(0, 32), { "text-anchor": "end" });
      out += el("rect", { x, y: y + 3, width: Math.max(1, (row[name] / most) * wide), height: height - 8, fill: COLOURS[column] });
      out += label(x + Math.max(1, (row[name] / most) * wide) + 4, y + 14, shown(row[name]), { class: "dim" });
    });
  });
  $("equal").innerHTML = drawing(left + measures.length * (wide + 60), 34 + rows.length * height, out, "Formats in the same area");
}

function stacked(parts, unit, title) {
  const total = Object.values(parts).reduce((a, b) => a + b, 0);
  let x = 10, out = label(10, 14, `${title}: ${amount(total, unit)}`);
  Object.entries(parts).forEach(([name, part], i) => {
    const width = (part / total) * 480;
    out += el("rect", { x, y: 22, width: Math.max(0, width - 1), height: 34, fill: PARTS[i % PARTS.length] }, tip(`${name}: ${amount(part, unit)}`));
    x += width;
    out += el("rect", { x: 10, y: 66 + i * 18, width: 10, height: 10, fill: PARTS[i % PARTS.length] });
    out += label(26, 75 + i * 18, `${name}: ${amount(part, unit)}, ${((100 * part) / total).toFixed(1)} %`);
  });
  return drawing(500, 72 + Object.keys(parts).length * 18, out, title);
}
function parts(d) {
  const areas = Object.fromEntries(Object.entries(d.area).filter(([, v]) => v > 0));
  $("parts").innerHTML = `<div>${stacked(areas, UNIT, "area")}</div>${isChip ? `<div>${stacked(d.energy, "J", "energy of a token")}</div>` : ""}`;
}
function time(d) {
  const total = d.products.reduce((a, p) => a + p.time_s, 0), left = 90;
  let out = "";
  d.products.forEach((p, i) => {
    const y = 6 + i * 24, width = (p.time_s / total) * 380;
    out += label(left - 6, y + 14, p.name, { "text-anchor": "end" });
    out += el("rect", { x: left, y: y + 2, width: Math.max(1, width), height: 17, fill: LIMIT[p.limit] }, tip(`${si(p.macs)} MACs, ${si(p.bytes)}B`));
    const use = p.limit === "processor" ? "beside the array" : `${p.limit}, ${(100 * p.utilization).toFixed(0)} % of MACs`;
    out += label(left + Math.max(1, width) + 5, y + 15, `${si(p.time_s)}s, ${((100 * p.time_s) / total).toFixed(0)} %, ${use}`, { class: "dim" });
  });
  const y = 16 + d.products.length * 24;
  Object.entries(LIMIT).forEach(([name, fill], i) => {
    out += el("rect", { x: left + i * 130, y, width: 10, height: 10, fill }) + label(left + 15 + i * 130, y + 9, name === "processor" ? "processor (memory)" : `limited by ${name}`);
  });
  $("time").innerHTML = drawing(720, y + 18, out, "Time of each product");
}
function roofline(d) {
  const { macs_per_s: peak, bytes_per_s: rate, reached } = d.roofs;
  const box = { left: 70, right: 690, top: 12, bottom: 270 };
  const dots = d.products.filter((p) => p.limit !== "processor").map((p) => ({ ...p, x: p.macs / p.bytes, y: p.macs / p.time_s }));
  const ridge = peak / rate;
  const sx = scale([ridge / 6, ridge * 6, ...dots.map((p) => p.x)], box.left, box.right);
  const sy = scale([peak * 1.3, ...dots.map((p) => p.y), 0.85 * rate * reached * sx.inverse(box.left)], box.bottom, box.top);
  let out = frame(sx, sy, box, "MACs per byte of memory traffic", "MAC/s, ↑ is better");
  const path = (share) => {
    const low = sx.inverse(box.left), high = sx.inverse(box.right);
    return `M${box.left},${sy.at(low * rate * share)} L${sx.at(peak / rate / share)},${sy.at(peak)} L${sx.at(high)},${sy.at(peak)}`;
  };
  out += el("path", { d: path(1), fill: "none", stroke: "var(--ink)", "stroke-width": 1.6 });
  out += el("path", { d: path(reached), fill: "none", stroke: "var(--ink)", "stroke-dasharray": "5 4" });
  out += label(box.right - 4, sy.at(peak) - 6, `${si(peak)}MAC/s`, { "text-anchor": "end" });
  const labels = [];
  for (const p of dots) {
    out += el("circle", { cx: sx.at(p.x), cy: sy.at(p.y), r: 5, fill: LIMIT[p.limit] }, tip(`${p.name}: ${si(p.y)}MAC/s`));
    labels.push([sx.at(p.x) + 8, sy.at(p.y) + 4, p.name]);
  }
  // Labels one below the other, where dots are close.
  let last = -Infinity;
  for (const [x, y, words] of labels.sort((a, b) => a[1] - b[1])) {
    last = Math.max(y, last + 13);
    out += label(x, last, words);
  }
  $("roofline").innerHTML = drawing(710, 312, out, "Roofline");
}
function floorplan(d) {
  const areas = Object.entries(d.area).filter(([, v]) => v > 0).sort((a, b) => b[1] - a[1]);
  const total = areas.reduce((a, [, v]) => a + v, 0), side = 300;
  let out = "", box = { x: 5, y: 5, w: side, h: side }, left = total;
  areas.forEach(([name, area], i) => {
    const isLast = i === areas.length - 1, share = area / left, across = box.w >= box.h;
    const own = isLast ? { ...box } : across ? { ...box, w: box.w * share } : { ...box, h: box.h * share };
    out += el("rect", { x: own.x, y: own.y, width: Math.max(0, own.w - 1), height: Math.max(0, own.h - 1), fill: PARTS[i % PARTS.length], opacity: 0.75 }, tip(`${name}: ${amount(area, UNIT)}`));
    if (own.w > 7 * name.length && own.h > 16) out += label(own.x + 4, own.y + 14, name, { "pointer-events": "none" });
    out += el("rect", { x: side + 25, y: 12 + i * 18, width: 10, height: 10, fill: PARTS[i % PARTS.length] }) + label(side + 41, 21 + i * 18, `${name}, ${amount(area, UNIT)}`);
    box = across ? { ...box, x: box.x + own.w, w: box.w - own.w } : { ...box, y: box.y + own.h, h: box.h - own.h };
    left -= area;
  });
  const edge = (Math.sqrt(total) * 1000).toFixed(0);
  out += label(5, side + 22, isChip ? `${edge} µm x ${edge} µm if square; not placed` : `${amount(total, UNIT)}; not placed`);
  $("floorplan").innerHTML = drawing(side + 260, side + 30, out, "Floorplan to scale, not placed");
}
function parallel() {
  const top = 30, bottom = 240, gap = 170, left = 60;
  const scales = AXES.map(({ name, better }) => {
    const values = DATA.designs.map((d) => Math.max(value(d, name), FLOOR));
    return better > 0 ? scale(values, bottom, top) : scale(values, top, bottom);
  });
  let out = "";
  for (const d of [...DATA.designs].sort((a, b) => (a.number === state.design) - (b.number === state.design))) {
    const points = AXES.map(({ name }, i) => `${left + i * gap},${scales[i].at(Math.max(value(d, name), FLOOR)).toFixed(1)}`);
    const isChosen = d.number === state.design;
    out += el("polyline", { points: points.join(" "), fill: "none", stroke: isChosen ? "var(--ink)" : colour(value(d, "class") - 1), "stroke-width": isChosen ? 3 : 1, opacity: isChosen ? 1 : isKept(d) ? 0.45 : 0.04, "pointer-events": "none" });
  }
  AXES.forEach(({ name, title }, i) => {
    const x = left + i * gap, range = state.ranges[name];
    out += el("line", { x1: x, x2: x, y1: top, y2: bottom, class: "axis" });
    out += label(x, 16, `${title} ↑`, { "text-anchor": "middle" });
    for (const v of scales[i].ticks) out += label(x - 6, scales[i].at(v) + 4, tick(v, title), { "text-anchor": "end", class: "dim" });
    if (range) {
      const ends = range.map((v) => Math.min(bottom, Math.max(top, scales[i].at(v))));
      out += el("rect", { x: x - 7, y: Math.min(...ends), width: 14, height: Math.abs(ends[1] - ends[0]), fill: "var(--mark)", opacity: 0.35 });
    }
    out += el("rect", { x: x - 14, y: top, width: 28, height: bottom - top, fill: "transparent", "data-axis": i, style: "cursor: ns-resize" });
  });
  $("parallel").innerHTML = drawing(left + AXES.length * gap - 60, bottom + 14, out, "Objectives of every design");
  const svg = $("parallel").querySelector("svg");
  let start = null;
  const at = (event) => { const r = svg.getBoundingClientRect(); return ((event.clientY - r.top) / r.height) * svg.viewBox.baseVal.height; };
  svg.addEventListener("pointerdown", (event) => { if (event.target.dataset.axis) start = [Number(event.target.dataset.axis), at(event)]; });
  svg.addEventListener("pointerup", (event) => {
    if (!start) return;
    const [i, from] = start, to = at(event), { name } = AXES[i];
    const ends = [scales[i].inverse(from), scales[i].inverse(to)].sort((a, b) => a - b);
    if (Math.abs(to - from) > 4) state.ranges[name] = ends;
    else delete state.ranges[name];
    start = null;
    render();
  });
}

function table() {
  const shown = DATA.designs.filter(isKept);
  if (state.sort) {
    const sign = state.down ? -1 : 1;
    shown.sort((a, b) => {
      const [x, y] = [value(a, state.sort), value(b, state.sort)];
      return sign * (typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y)));
    });
  }
  const head = DATA.columns.map((c) => {
    const sorted = state.sort === c.name ? ` aria-sort="${state.down ? "descending" : "ascending"}"` : "";
    return `<th scope="col"${sorted} title="${text(`${c.kind}: ${c.meaning}`)}"><button data-column="${c.name}">${text(c.title)}</button><span class="kind">${c.kind}</span></th>`;
  });
  const body = shown.map((d) => `<tr data-design="${d.number}"${d.number === state.design ? ' class="chosen" aria-selected="true"' : ""}><td><button class="plain" data-design="${d.number}">${d.number}</button></td>${DATA.columns.map((c) => `<td>${text(d.texts[c.name])}</td>`).join("")}</tr>`);
  $("designs").innerHTML = `<thead><tr><th scope="col">design</th>${head.join("")}</tr></thead><tbody>${body.join("")}</tbody>`;
}
function facts(d) {
  const items = DATA.columns.filter((c) => d.texts[c.name] !== "").map((c) => `<span title="${text(`${c.kind}: ${c.meaning}`)}">${text(c.title)} <b>${text(d.texts[c.name])}</b></span>`);
  $("facts").innerHTML = `<span>design <b>${d.number}</b>${d.number === DATA.answer ? " (the answer)" : ""}</span>${items.join("")}`;
}
// One range input an axis: the worst value that is kept.
function limits() {
  $("limits").innerHTML = AXES.map(({ name, title, better }) => `<label>${text(title)} ${better > 0 ? "at least" : "at most"} <output id="out-${name}"></output><input type="range" id="limit-${name}" min="0" max="1000" value="${better > 0 ? 0 : 1000}"></label>`).join("") + '<span><button class="plain" id="clear">clear all</button></span>';
  for (const { name, better } of AXES) {
    const s = scale(DATA.designs.map((d) => Math.max(value(d, name), FLOOR)), 0, 1000);
    $(`limit-${name}`).addEventListener("input", (event) => {
      const at = Number(event.target.value), isOpen = at === (better > 0 ? 0 : 1000);
      if (isOpen) delete state.ranges[name];
      else state.ranges[name] = better > 0 ? [s.inverse(at), Infinity] : [0, s.inverse(at)];
      render();
    });
  }
  $("clear").addEventListener("click", () => {
    state.ranges = {}; state.words = ""; $("filter").value = "";
    for (const { name, better } of AXES) $(`limit-${name}`).value = better > 0 ? 0 : 1000;
    render();
  });
}

function save() {
  const kept = DATA.designs.filter(isKept);
  const names = ["design", ...DATA.columns.map((c) => c.name)];
  const lines = kept.map((d) => [d.number, ...DATA.columns.map((c) => value(d, c.name) ?? "")].join(","));
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([[names.join(","), ...lines].join("\n") + "\n"], { type: "text/csv" }));
  link.download = "designs.csv";
  link.click();
}
function choose(number, focus) {
  state.design = number;
  render();
  if (focus) document.querySelector(focus)?.focus();
}
function remember() {
  const ranges = Object.entries(state.ranges).map(([name, [a, b]]) => `${name}=${Number(a.toPrecision(4))}~${b === Infinity ? "" : Number(b.toPrecision(4))}`);
  history.replaceState(null, "", `#${[`design=${state.design}`, ...ranges].join("&")}`);
}
function recall() {
  for (const part of location.hash.slice(1).split("&")) {
    const [name, words] = part.split("=");
    if (name === "design" && by[words]) state.design = Number(words);
    if (words && words.includes("~") && AXES.some((axis) => axis.name === name)) {
      const [a, b] = words.split("~");
      state.ranges[name] = [Number(a), b === "" ? Infinity : Number(b)];
    }
  }
}
function render() {
  const d = by[state.design];
  facts(d); scatter(); winmap(); time(d); parts(d); roofline(d); floorplan(d); parallel(); table();
  for (const { name, title, better } of AXES) {
    const range = state.ranges[name];
    $(`out-${name}`).textContent = range ? tick(better > 0 ? range[0] : range[1], title) : "any";
  }
  remember();
}

limits();
recall();
const kls = scale(DATA.pairs.map((p) => Math.max(p.kl, FLOOR)), 0, 1000);
$("kl").value = kls.at(state.kl);
$("kl").addEventListener("input", (event) => {
  const at = Number(event.target.value);
  state.kl = at >= 1000 ? Infinity : kls.inverse(at);
  winmap();
});
$("filter").addEventListener("input", (event) => { state.words = event.target.value; render(); });
$("save").addEventListener("click", save);
$("designs").addEventListener("click", (event) => {
  const column = event.target.dataset.column, row = event.target.closest("tr[data-design]");
  if (column) {
    state.down = state.sort === column ? !state.down : false;
    state.sort = column;
    table();
  } else if (row) choose(Number(row.dataset.design));
});
window.addEventListener("hashchange", () => { state.ranges = {}; recall(); render(); });
bars();
render();
