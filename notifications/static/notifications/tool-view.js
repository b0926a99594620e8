// @ts-check
/**
 * A tool call: one line, which opens to its arguments and its result.
 *
 * @import {Tool} from "./run-state.js"
 */
import { h, setText } from "./dom.js";
import { clipped, duration, pretty, toolStatus } from "./format.js";
import { icon } from "./icons.js";
import { drawTable } from "./table-view.js";
import { tablesIn } from "./tabular.js";

const LONGEST = 20_000;
const MARKS = /** @type {Record<string, import("./icons.js").IconName>} */ ({ success: "check", cancelled: "minus" });

/** @param {Tool} tool */
export function drawTool(tool) {
  const summary = h("summary", {},
    h("span", { class: "tool-icon" }),
    h("span", { class: "tool-name", textContent: tool.name }),
    h("span", { class: "tool-brief", dir: "auto", textContent: brief(tool.arguments) }),
    h("span", { class: "tool-status" }),
    h("span", { class: "fold" }, icon("chevron")));
  const details = h("details", { class: "tool" }, summary);
  details.addEventListener("toggle", () => drawBody(details, tool));
  updateTool(details, tool);
  return details;
}

/** @param {HTMLDetailsElement} details @param {Tool} tool */
export function updateTool(details, tool) {
  if (details.dataset.status !== tool.status) {
    const mark = tool.status === "running" ? h("span", { class: "spinner" }) : icon(MARKS[tool.status] ?? "cross");
    details.querySelector(".tool-icon")?.replaceChildren(mark);
  }
  details.dataset.status = tool.status;
  const took = tool.durationMs === null ? "" : ` · ${duration(tool.durationMs)}`;
  const percent = tool.progress === null ? "" : ` ${Math.round(tool.progress)}%`;
  const words = tool.note ? `${tool.note}${percent}` : `${toolStatus(tool.status)}${percent}${took}`;
  setText(/** @type {HTMLElement} */ (details.querySelector(".tool-status")), words);
  if (details.open) drawBody(details, tool);
}

/** Only while it is open: results may be large. @param {HTMLDetailsElement} details @param {Tool} tool */
function drawBody(details, tool) {
  details.querySelector(".tool-body")?.remove();
  if (!details.open) return;
  const body = h("div", { class: "tool-body" }, ...block("Arguments", tool.arguments));
  if (tool.error) body.append(h("p", { class: "tool-error", dir: "auto", textContent: tool.error.message }));
  else if (tool.status === "running") body.append(h("p", { class: "muted", textContent: "Still running" }));
  else body.append(...result(tool.result));
  details.append(body);
}

/** As tables where it has some; the JSON is then folded. @param {unknown} value @returns {HTMLElement[]} */
export function result(value) {
  const tables = tablesIn(value);
  if (!tables.length) return block("Result", value);
  const title = h("p", { class: "block-title", textContent: "Result" });
  const json = h("details", { class: "raw" }, h("summary", { textContent: "As JSON" }));
  json.addEventListener("toggle", () => json.childElementCount > 1 || json.append(...block("Result as JSON", value).slice(1)));
  return [title, ...tables.map(drawTable), json];
}

/** @param {string} title @param {unknown} value @returns {HTMLElement[]} */
export function block(title, value) {
  const text = pretty(value) ?? "";
  const pre = h("pre", { dir: "auto", tabIndex: 0, role: "region", "aria-label": title, textContent: text.slice(0, LONGEST) });
  /** @type {HTMLElement[]} */
  const parts = [h("p", { class: "block-title", textContent: title }), pre];
  if (text.length > LONGEST) {
    const all = h("button", { type: "button", class: "quiet", textContent: `Show all ${text.length.toLocaleString("en")} characters` });
    all.onclick = () => {
      pre.textContent = text;
      pre.focus();
      all.remove();
    };
    parts.push(all);
  }
  return parts;
}

/** @param {unknown} value @returns {string} the arguments in a few words */
function brief(value) {
  if (!value || typeof value !== "object") return "";
  const parts = Object.entries(value).slice(0, 4);
  return clipped(parts.map(([name, part]) => `${name}: ${clipped(JSON.stringify(part) ?? "", 40)}`).join(", "), 90);
}
