"""Look and behaviour of the page."""

STYLESHEET = """
:root { color-scheme: light dark; --ink: #1a1a1a; --soft: #585858; --paper: #fff; --line: #d9d9d9;
        --shade: #f4f4f1; --mark: #0072b2; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8e8e6; --soft: #a9a9a5; --paper: #161718; --line: #3a3b3d; --shade: #222426;
          --mark: #6db9e8; } }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; margin: 0 auto;
       max-width: 72rem; padding: 1.5rem 1.25rem 3rem; color: var(--ink);
       background: var(--paper); }
h1 { font-size: 1rem; font-weight: 500; color: var(--soft); margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2.25rem 0 .5rem; }
.answer { font-size: 1.4rem; line-height: 1.35; font-weight: 600; margin: .4rem 0 1rem;
          max-width: 52rem; overflow-wrap: anywhere; }
.more { max-width: 52rem; margin: .4rem 0; overflow-wrap: anywhere; }
.notes { color: var(--soft); padding-left: 1.1rem; max-width: 52rem; }
.notes li { margin: .15rem 0; overflow-wrap: anywhere; }
.soft, dt, figcaption { color: var(--soft); font-size: .875rem; max-width: 52rem; }
figure { margin: 0; }
.wide { overflow-x: auto; }
figure .wide { background: #fff; border-radius: 6px; }
svg { display: block; width: 100%; min-width: 42rem; height: auto; }
.picture { background: #fff; border-radius: 6px; padding: .25rem; } .picture svg { min-width: 0; }
.small { display: none; }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .6rem; text-align: right; border-bottom: 1px solid var(--line);
         white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
th:first-child, td:first-child { position: sticky; left: 0; background: var(--paper); }
td:first-child { white-space: normal; min-width: 9rem; max-width: 20rem; overflow-wrap: anywhere; }
thead button { all: unset; cursor: pointer; font-weight: 600; }
thead button:focus-visible { outline: 2px solid var(--mark); outline-offset: 2px; }
th[aria-sort] { color: var(--mark); }
th[aria-sort=ascending] button::after { content: " \\2191"; }
th[aria-sort=descending] button::after { content: " \\2193"; }
tr.front td:first-child { font-weight: 650; } tr.source td { color: var(--soft); }
tr.new b { color: var(--mark); } td small { display: block; font-weight: 400; color: var(--soft); }
tbody tr:hover, tbody tr:hover td { background: var(--shade); } a { color: var(--mark); }
code { background: var(--shade); padding: .1rem .3rem; border-radius: 3px;
       overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: minmax(5rem, max-content) 1fr; gap: .25rem 1rem;
     font-size: .875rem; margin: .5rem 0; }
dd { margin: 0; overflow-wrap: anywhere; }
@media (max-width: 40rem) {
  body { padding: 1rem .75rem 2rem; } .answer { font-size: 1.1rem; }
  td:first-child { min-width: 8rem; max-width: 10rem; }
  .large { display: none; } .small { display: block; } }
@media print {
  :root { --ink: #000; --soft: #444; --paper: #fff; --shade: #fff; }
  body { max-width: none; padding: 0; font-size: 10pt; } .wide { overflow: visible; }
  svg { min-width: 0; } .large { display: block; } .small { display: none; }
  figure, tr { break-inside: avoid; } table { font-size: 7.5pt; }
  th, td { padding: .15rem .3rem; } }
"""

#: Sorts the table by the heading that is clicked, empty cells last. Without it: sorted by KL.
SCRIPT = """
document.querySelectorAll('thead button').forEach((button, column) => {
  button.addEventListener('click', () => {
    const head = button.parentElement, body = document.querySelector('tbody');
    const down = head.getAttribute('aria-sort') === 'ascending';
    document.querySelectorAll('th[aria-sort]').forEach(h => h.removeAttribute('aria-sort'));
    head.setAttribute('aria-sort', down ? 'descending' : 'ascending');
    const value = row => row.cells[column].dataset.value;
    const order = (a, b) => {
      const x = value(a), y = value(b);
      if (x === '' || y === '') return (x === '') - (y === '');
      const sign = down ? -1 : 1;
      return sign * (isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y);
    };
    body.append(...[...body.rows].sort(order));
  });
});
"""
