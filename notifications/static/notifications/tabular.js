// @ts-check
/**
 * Finds the tables in JSON, and what of a table can be drawn. Pure.
 *
 * @typedef {{title: string, columns: string[], rows: unknown[][]}} Table
 * @typedef {{labels: string[], measures: {name: string, values: number[]}[], isSeries: boolean}} Chartable
 *   isSeries: the labels are times in order, to be joined by a line
 */

const DEEPEST = 4;
const MOST_TABLES = 12;
const MOST_BARS = 24;
const MOST_POINTS = 500;
const TIME = /^\d{4}(-\d{2}(-\d{2}([T ].*)?)?|-?Q[1-4]|-W\d{2})?$/;

/** @param {unknown} value @returns {value is Record<string, unknown>} */
const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

/** @param {unknown} value a JSON value @returns {Table[]} those found in it, with the names that lead to them */
export function tablesIn(value) {
  /** @type {Table[]} */
  const found = [];
  look(value, [], found);
  return found;
}

/** @param {unknown} value @param {string[]} path @param {Table[]} found */
function look(value, path, found) {
  if (path.length > DEEPEST || found.length >= MOST_TABLES) return;
  const table = asTable(value, path.join(" · "));
  if (table) return void found.push(table);
  if (Array.isArray(value)) for (const item of value.slice(0, MOST_TABLES)) look(item, [...path, nameOf(item)].filter(Boolean), found);
  else if (isObject(value)) for (const [name, item] of Object.entries(value)) look(item, [...path, name], found);
}

/** What sets one item of a list apart: its texts. @param {unknown} item */
const nameOf = (item) =>
  isObject(item) ? Object.values(item).filter((part) => typeof part === "string").join(", ").slice(0, 80) : "";

/** @param {unknown} value @param {string} title @returns {Table | null} */
function asTable(value, title) {
  if (isObject(value) && Array.isArray(value.columns) && Array.isArray(value.rows) && value.rows.every(Array.isArray)) {
    return { title, columns: value.columns.map(String), rows: value.rows };
  }
  if (!Array.isArray(value) || value.length < 2 || !value.every(isObject)) return null;
  const columns = [...new Set(value.flatMap((row) => Object.keys(row)))];
  const isFlat = value.every((row) => Object.values(row).every((cell) => !isObject(cell) && !Array.isArray(cell)));
  if (!isFlat || columns.length > 30) return null;
  return { title, columns, rows: value.map((row) => columns.map((column) => row[column] ?? null)) };
}

/** A cell as a number: also "8,900" and "71.6 %". @param {unknown} cell @returns {number} NaN if it is none */
export function numberOf(cell) {
  if (typeof cell === "number") return cell;
  if (typeof cell !== "string" || !/^[-−+]?[\d,. ]*\d[\d,. ]*\s?%?$/.test(cell.trim())) return NaN;
  return Number(cell.replace("−", "-").replace(/[,%\s]/g, ""));
}

/** One column of different labels, all others numbers. @param {Table} table @returns {Chartable | null} */
export function chartable({ columns, rows }) {
  if (columns.length < 2 || rows.length < 2 || rows.length > MOST_POINTS) return null;
  const cells = (/** @type {number} */ i) => rows.map((row) => String(row[i] ?? ""));
  const named = Math.max(0, columns.findIndex((_, i) => cells(i).some((cell) => Number.isNaN(numberOf(cell)))));
  const labels = cells(named);
  const isSeries = labels.every((label) => TIME.test(label)) && labels.every((label, i) => i === 0 || labels[i - 1] < label);
  const isLabelled = isSeries || labels.every((label) => Number.isNaN(numberOf(label)));
  if (!isLabelled || new Set(labels).size < labels.length || (!isSeries && rows.length > MOST_BARS)) return null;
  const measures = columns
    .map((name, i) => ({ name, values: rows.map((row) => numberOf(row[i])) }))
    .filter((_, i) => i !== named);
  return measures.every(({ values }) => values.every(Number.isFinite)) ? { labels, measures, isSeries } : null;
}
