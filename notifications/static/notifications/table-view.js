// @ts-check
/**
 * Tables of tool results as tables, and a button that draws what can be drawn.
 *
 * @import {Table} from "./tabular.js"
 */
import { drawChart, shortNumber } from "./chart.js";
import { h } from "./dom.js";
import { icon } from "./icons.js";
import { chartable } from "./tabular.js";

const ROWS = 50;

/** @param {Table} table */
export function drawTable(table) {
  const isNumber = table.columns.map((_, i) => table.rows.every((row) => row[i] === null || typeof row[i] === "number"));
  const body = h("tbody", {});
  const addRows = (/** @type {number} */ from, /** @type {number} */ to) => body.append(
    ...table.rows.slice(from, to).map((row) => h("tr", {}, ...row.map((cell, i) =>
      h("td", { class: isNumber[i] ? "number" : "", dir: "auto", textContent: cellText(cell) })))));
  addRows(0, ROWS);
  const grid = h("table", {},
    h("thead", {}, h("tr", {}, ...table.columns.map((name, i) =>
      h("th", { class: isNumber[i] ? "number" : "", scope: "col", dir: "auto", textContent: name })))), body);
  const scroller = h("div", { class: "table-scroll", tabIndex: 0, role: "region", "aria-label": table.title || "Table" }, grid);
  const figure = h("figure", { class: "table-figure" },
    table.title ? h("figcaption", { dir: "auto", textContent: table.title }) : null, scroller);
  if (table.rows.length > ROWS) figure.append(allRows(table.rows.length, () => addRows(ROWS, table.rows.length)));
  addChart(figure, table, { open: false });
  return figure;
}

/** @param {number} count @param {() => void} show */
function allRows(count, show) {
  const button = h("button", { type: "button", class: "quiet", textContent: `Show all ${count.toLocaleString("en")} rows` });
  button.onclick = () => {
    show();
    button.remove();
  };
  return button;
}

/** @param {unknown} cell */
function cellText(cell) {
  if (cell === null) return "–";
  return typeof cell === "number" ? shortNumber(cell) : String(cell);
}

/** The table of a drawn Markdown block. @param {HTMLTableElement} table @returns {Table} */
export function readTable(table) {
  const texts = (/** @type {HTMLTableRowElement} */ row) => [...row.cells].map((cell) => cell.textContent ?? "");
  const [head, ...rows] = [...table.rows].map(texts);
  return { title: "", columns: head ?? [], rows };
}

/**
 * A chart above the table, behind a button; nothing if the table has none to show.
 * @param {HTMLElement} place @param {Table} table @param {{open: boolean}} options
 * @returns {boolean} whether there is one
 */
export function addChart(place, table, { open }) {
  const data = chartable(table);
  if (!data) return false;
  let measure = data.measures.findIndex(({ name }) => /sum|total|amount|revenue/i.test(name));
  measure = Math.max(0, measure);
  const picture = h("div", { class: "chart-box" });
  const choices = data.measures.length < 2 ? [] : data.measures.slice(0, 6).map(({ name }, i) => {
    const choice = h("button", { type: "button", class: "chip", textContent: name, "aria-pressed": String(i === measure) });
    choice.onclick = () => {
      measure = i;
      choices.forEach((each, j) => each.setAttribute("aria-pressed", String(i === j)));
      draw();
    };
    return choice;
  });
  const draw = () => picture.replaceChildren(drawChart(data, measure));
  const panel = h("div", { class: "chart-panel", hidden: !open }, choices.length ? h("div", { class: "chips" }, ...choices) : null, picture);
  const toggle = h("button", { type: "button", class: "chip chart-toggle", "aria-expanded": String(open) }, icon("chart"), "Chart");
  toggle.onclick = () => {
    panel.hidden = !panel.hidden;
    toggle.setAttribute("aria-expanded", String(!panel.hidden));
    if (!panel.hidden) draw();
  };
  if (open) draw();
  place.append(toggle, panel);
  return true;
}
