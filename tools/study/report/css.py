"""The style of a report: one column, dark on white, wide tables scroll in their box."""

from typing import Final

CSS: Final = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body {
  margin: 0 auto; max-width: 76rem; padding: 1rem 1rem 4rem; background: #fff; color: #1a1a1a;
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
  overflow-wrap: break-word; -webkit-text-size-adjust: 100%;
}
h1 { font-size: 1.8rem; line-height: 1.2; margin: 1rem 0 .25rem; }
h2 { font-size: 1.35rem; margin: 2.75rem 0 .75rem; padding-top: .75rem; }
h2 { border-top: 1px solid #d0d0d0; }
p, ul, dl { max-width: 46rem; }
a { color: #005a8f; }
nav ul { max-width: none; list-style: none; margin: .5rem 0; padding: 0; }
nav ul { display: flex; flex-wrap: wrap; gap: 0 1.25rem; }
nav a { display: inline-block; padding: .45rem 0; }
.lead { margin: 0; color: #444; }
.findings li { margin: .4rem 0; }
figure { margin: 0 0 2.5rem; }
figcaption { max-width: 46rem; margin-top: .75rem; }
.panels {
  display: grid; gap: 1.25rem 1.5rem;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 21.5rem), 1fr));
}
.panels > svg { display: block; width: 100%; max-width: 27rem; height: auto; overflow: visible; }
svg * { stroke-linecap: butt; stroke-linejoin: round; }
.legend {
  list-style: none; margin: 0 0 .75rem; padding: 0; max-width: none;
  display: flex; flex-wrap: wrap; gap: .15rem 1.5rem;
}
.legend li { display: flex; align-items: center; gap: .5rem; }
.swatch { width: 3.5rem; height: 1.2rem; flex: none; }
.scroll { overflow-x: auto; border: 1px solid #d0d0d0; border-radius: 4px; margin: 1rem 0; }
.scroll:focus-visible { outline: 3px solid #0072b2; }
table { border-collapse: collapse; min-width: 100%; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding: .6rem .75rem; font-weight: 600; }
caption span { display: inline-block; position: sticky; left: .75rem; }
caption span { max-width: calc(100vw - 4rem); }
th, td { padding: .4rem .75rem; text-align: right; border-top: 1px solid #e4e4e4; }
th, td { white-space: nowrap; }
thead th { vertical-align: bottom; white-space: normal; min-width: 5.5rem; background: #f4f4f4; }
tbody th, thead th:first-child { text-align: left; font-weight: 600; }
tbody tr:nth-child(even) { background: #fafafa; }
.failures td:last-child, .failures th:last-child {
  text-align: left; white-space: normal; min-width: 18rem;
}
summary { cursor: pointer; padding: .6rem 0; }
dl { display: grid; grid-template-columns: minmax(6rem, auto) 1fr; gap: .25rem 1.25rem; }
dt { font-weight: 600; }
dd { margin: 0; overflow-wrap: anywhere; }
@media (max-width: 36rem) {
  body { padding: .75rem .875rem 3rem; }
  h1 { font-size: 1.5rem; }
  dl { grid-template-columns: 1fr; gap: 0; }
  dd { margin-bottom: .6rem; }
}
@media (min-width: 36rem) {
  tbody th, thead th:first-child { position: sticky; left: 0; }
  tbody th { background: #fff; }
  tbody tr:nth-child(even) th { background: #fafafa; }
}
@media print { .scroll { overflow: visible; } figure, tr { break-inside: avoid; } }
"""
