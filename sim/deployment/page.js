"use strict";
// `DATA` holds the grid; a cell is the prediction for one model, machine and format.
const $ = (id) => document.getElementById(id);
const COLOURS = ["#0072B2", "#D55E00", "#009E73", "#E69F00", "#56B4E9", "#CC79A7", "#999999", "#555555"];
const PHASE = { prefill: "#D55E00", decode: "#0072B2" };

function text(value) {
  return String(value).replace(/[&<>"]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c]);
}

function si(value) {
  for (const [power, prefix] of [[15, "P"], [12, "T"], [9, "G"], [6, "M"], [3, "k"]]) {
    if (value >= 10 ** power) return `${Number((value / 10 ** power).toPrecision(3))} ${prefix}`;
  }
  return `${Number(value.toPrecision(3))} `;
}

const label = (x, y, words, more = "") => `<text x="${x}" y="${y}" ${more}>${text(words)}</text>`;
const line = (x1, y1, x2, y2, more) => `<line x1="${x1}" y1="${y1}" x2="${x2}" y2="${y2}" ${more}/>`;

// Draws logarithmic or linear axes; returns functions from values to pixels, and the tick marks.
function axes({ width, height, x, y, logX, logY, xName, yName, xTicks }) {
  const box = { left: 70, right: width - 20, top: 14, bottom: height - 44 };
  const scale = (value, [low, high], log, from, to) => {
    const f = log ? Math.log10 : (v) => v;
    return from + ((f(value) - f(low)) / (f(high) - f(low) || 1)) * (to - from);
  };
  const atX = (v) => scale(v, x, logX, box.left, box.right);
  const atY = (v) => scale(v, y, logY, box.bottom, box.top);
  const ticks = ([low, high], log) => {
    if (!log) return [0, 1, 2, 3, 4].map((i) => low + ((high - low) * i) / 4);
    const out = [];
    for (let p = Math.ceil(Math.log10(low)); p <= Math.log10(high); p += 1) out.push(10 ** p);
    return out;
  };
  let marks = "";
  for (const v of xTicks || ticks(x, logX)) {
    marks += line(atX(v), box.top, atX(v), box.bottom, 'class="grid"');
    marks += label(atX(v), box.bottom + 16, si(v).trim(), 'text-anchor="middle"');
  }
  for (const v of ticks(y, logY)) {
    marks += line(box.left, atY(v), box.right, atY(v), 'class="grid"');
    marks += label(box.left - 6, atY(v) + 4, si(v).trim(), 'text-anchor="end"');
  }
  marks += label((box.left + box.right) / 2, height - 6, xName, 'text-anchor="middle"');
  marks += label(14, height / 2, yName, `text-anchor="middle" transform="rotate(-90 14 ${height / 2})"`);
  return { atX, atY, marks, box };
}

const svg = (width, height, inside, name) =>
  `<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${text(name)}">${inside}</svg>`;

// Returns left end and baseline of a label in the nearest free place next to a point, or nothing.
function place(taken, box, px, py, words) {
  const wide = 6 * words.length;
  for (let d = 0; d < 130; d += 4) {
    for (const [left, y] of [[px + 8, py + d], [px - 8 - wide, py + d], [px + 8, py - d], [px - 8 - wide, py - d]]) {
      const own = { left, right: left + wide, top: y - 8, bottom: y + 3 };
      const isInside = left > box.left && own.right < box.right && own.top > box.top && own.bottom < box.bottom;
      const isFree = taken.every((t) => t.left > own.right || t.right < left || t.top > own.bottom || t.bottom < own.top);
      if (isInside && isFree) {
        taken.push(own);
        return [left, y];
      }
    }
  }
  return null;
}

function roofline(cell) {
  const points = cell.points.filter((p) => p.ops > 0 && p.bytes > 0 && p.time_s > 0);
  const top = Math.max(...cell.roofs.map((r) => r.ops_per_s));
  const band = cell.slope.bytes_per_s;
  const xs = [...points.map((p) => p.ops / p.bytes), ...cell.roofs.map((r) => r.ops_per_s / band)];
  const x = [Math.min(...xs) / 3, Math.max(...xs) * 8];
  const y = [Math.min(...points.map((p) => p.ops / p.time_s), x[0] * band) / 3, top * 2.5];
  const a = axes({ width: 760, height: 430, x, y, logX: true, logY: true,
    xName: "operations for each byte of memory traffic", yName: "operations a second" });
  let out = a.marks + line(a.atX(x[0]), a.atY(x[0] * band), a.atX(top / band), a.atY(top), 'class="roof"');
  const [dx, dy] = [a.atX(top / band) - a.atX(x[0]), a.atY(top) - a.atY(x[0] * band)];
  const turn = `rotate(${(Math.atan2(dy, dx) * 180) / Math.PI} ${a.atX(x[0]) + dx / 2} ${a.atY(x[0] * band) + dy / 2})`;
  out += label(a.atX(x[0]) + dx / 2, a.atY(x[0] * band) + dy / 2 - 6, `${cell.slope.name} ${si(band)}B/s`,
    `text-anchor="middle" transform="${turn}"`);
  const taken = [];
  for (let i = 0; i <= 100; i += 1) {
    // The sloped line and the label in its middle take this place.
    const [px, py] = [a.atX(x[0]) + (dx * i) / 100, a.atY(x[0] * band) + (dy * i) / 100];
    const isNamed = Math.abs(i - 50) * Math.hypot(dx, dy) < 7000;
    taken.push({ left: px - 4, right: px + 4, top: py - (isNamed ? 20 : 4), bottom: py + 4 });
  }
  for (const roof of cell.roofs) {
    const dash = roof.is_native ? "" : 'stroke-dasharray="6 4"';
    out += line(a.atX(roof.ops_per_s / band), a.atY(roof.ops_per_s), a.box.right, a.atY(roof.ops_per_s), `class="roof" ${dash}`);
    const words = `${roof.name} ${si(roof.ops_per_s)}OP/s`;
    out += label(a.box.right, a.atY(roof.ops_per_s) - 5, words, 'text-anchor="end"');
    const [right, at] = [a.box.right, a.atY(roof.ops_per_s)];
    taken.push({ left: right - 7 * words.length, right, top: at - 16, bottom: at + 2 });
    taken.push({ left: a.atX(roof.ops_per_s / band), right, top: at - 2, bottom: at + 2 });
  }
  const drawn = [...points].sort((m, n) => n.time_s - m.time_s).map((p) => {
    const total = points.filter((q) => q.phase === p.phase).reduce((sum, q) => sum + q.time_s, 0);
    const [px, py] = [a.atX(p.ops / p.bytes), a.atY(p.ops / p.time_s)];
    const r = Math.max(3, 16 * Math.sqrt(p.time_s / total));
    const title = `${p.name} (${p.phase}): ${si(p.ops)}OP, ${si(p.bytes)}B, ${(p.time_s * 1e3).toPrecision(3)} ms, ${p.bound}`;
    out += `<circle cx="${px}" cy="${py}" r="${r}" fill="${PHASE[p.phase]}" class="point"><title>${text(title)}</title></circle>`;
    taken.push({ left: px - r, right: px + r, top: py - r, bottom: py + r });
    return { ...p, px, py };
  });
  for (const p of drawn) {
    const at = place(taken, a.box, p.px, p.py, p.name);
    if (at) out += label(...at, p.name, `fill="${PHASE[p.phase]}" class="small"`);
  }
  return svg(760, 430, out, "roofline");
}

function bars(cell) {
  let out = "";
  let row = 20;
  for (const phase of ["prefill", "decode"]) {
    const parts = cell.points.filter((p) => p.phase === phase);
    const total = parts.reduce((sum, p) => sum + p.time_s, 0);
    out += label(8, row, `${phase}: ${(total * 1e3).toPrecision(3)} ms`);
    let at = 8;
    parts.forEach((p, i) => {
      const wide = (p.time_s / total) * 740;
      out += `<rect x="${at}" y="${row + 6}" width="${wide}" height="26" fill="${COLOURS[i % COLOURS.length]}"><title>${text(`${p.name}: ${(p.time_s * 1e3).toPrecision(3)} ms, ${p.bound}`)}</title></rect>`;
      if (wide > 7 * p.name.length + 8) out += label(at + 4, row + 24, p.name, 'fill="white" class="small"');
      at += wide;
    });
    row += 58;
  }
  return svg(760, 116, out, "time of each kind of operator");
}

function curve(points, xName, yName) {
  const x = [points[0][0], points.at(-1)[0]];
  const a = axes({ width: 380, height: 250, x, y: [0, Math.max(...points.map((p) => p[1])) * 1.1],
    logX: true, logY: false, xName, yName, xTicks: points.map((p) => p[0]) });
  const path = points.map(([px, py]) => `${a.atX(px)},${a.atY(py)}`).join(" ");
  return svg(380, 250, `${a.marks}<polyline points="${path}" class="curve"/>`, `${yName} against ${xName}`);
}

function memory(cell) {
  const most = Math.max(cell.capacity_bytes ?? 0, cell.memory.reduce((sum, [, b]) => sum + b, 0));
  let at = 8;
  let out = "";
  cell.memory.forEach(([name, bytes], i) => {
    const wide = (bytes / most) * 740;
    out += `<rect x="${at}" y="8" width="${wide}" height="26" fill="${COLOURS[i]}"><title>${text(`${name}: ${si(bytes)}B`)}</title></rect>`;
    out += label(8 + i * 190, 52, `${name} ${si(bytes)}B`, `fill="${COLOURS[i]}" class="small"`);
    at += wide;
  });
  // Accelerators have no memory size in the data.
  if (cell.capacity_bytes === null) return svg(760, 60, out, "memory");
  const edge = 8 + (cell.capacity_bytes / most) * 740;
  out += line(edge, 2, edge, 40, 'class="roof"');
  out += label(752, 52, `capacity ${si(cell.capacity_bytes)}B`, 'text-anchor="end"');
  return svg(760, 60, out, "memory against capacity");
}

function show() {
  const cell = DATA.cells[[$("model").value, $("machine").value, $("format").value].join("|")];
  $("summary").innerHTML = cell.summary
    .map(([name, value]) => `<tr><th>${text(name)}</th><td>${text(value)}</td></tr>`).join("");
  $("notes").innerHTML = cell.notes.map((note) => `<li>${text(note)}</li>`).join("");
  $("roofline").innerHTML = roofline(cell);
  $("bars").innerHTML = bars(cell);
  $("memory").innerHTML = memory(cell);
  $("context").innerHTML = curve(cell.tpot_by_context, "context (tokens)", "ms a token");
  $("batch").innerHTML = curve(cell.tpot_by_batch, "batch", "ms a token");
}

for (const [id, names] of Object.entries(DATA.axes)) {
  $(id).innerHTML = names.map((name) => `<option>${text(name)}</option>`).join("");
  $(id).value = DATA.start[id];
  $(id).addEventListener("change", show);
}
show();
