// @ts-check
/**
 * The steps of a run: thoughts, tool calls, approvals, notes. Only the latest are in the page.
 *
 * @import {Step, Tool, Approval} from "./run-state.js"
 */
import { h, setText } from "./dom.js";
import { clipped, duration, pretty, toolStatus } from "./format.js";

const LATEST = 50;
const MORE = 200;
const LONGEST = 20_000;

export class StepList {
  /** @type {Map<Step, HTMLElement>} */
  #shown = new Map();
  #limit = LATEST;
  #list = h("ol", { class: "steps" });
  #earlier = h("button", { type: "button", class: "earlier", hidden: true });

  /**
   * @param {{onChange: () => void, onDecide: (approval: Approval, decision: "approve" | "reject") => void}} options
   */
  constructor({ onChange, onDecide }) {
    this.onDecide = onDecide;
    this.element = h("div", { class: "step-list" }, this.#earlier, this.#list);
    this.#earlier.onclick = () => {
      this.#limit += MORE;
      onChange();
    };
  }

  /** @param {Step[]} steps @param {Set<Step>} changed */
  update(steps, changed) {
    const hidden = Math.max(0, steps.length - this.#limit);
    const wanted = steps.slice(hidden);
    this.#earlier.hidden = hidden === 0;
    setText(this.#earlier, `… ${hidden.toLocaleString("en")} earlier`);
    const keep = new Set(wanted);
    for (const [step, element] of this.#shown) if (!keep.has(step)) this.#drop(step, element);
    for (const step of changed) if (this.#shown.has(step)) this.#redraw(step);
    this.#prependMissing(wanted);
    for (const step of wanted) if (!this.#shown.has(step)) this.#list.append(this.#draw(step));
  }

  /** After "earlier" was asked for. @param {Step[]} wanted */
  #prependMissing(wanted) {
    const known = wanted.findIndex((step) => this.#shown.has(step));
    if (known > 0) this.#list.prepend(...wanted.slice(0, known).map((step) => this.#draw(step)));
  }

  /** @param {Step} step @param {HTMLElement} element */
  #drop(step, element) {
    element.remove();
    this.#shown.delete(step);
  }

  /** @param {Step} step @returns {HTMLElement} */
  #draw(step) {
    const element = h("li", { class: `step step-${step.kind}` }, ...this.#content(step));
    this.#shown.set(step, element);
    return element;
  }

  /** @param {Step} step */
  #redraw(step) {
    const element = /** @type {HTMLElement} */ (this.#shown.get(step));
    const details = element.querySelector("details");
    if (step.kind === "tool" && details) updateTool(details, step);
    else element.replaceChildren(...this.#content(step));
  }

  /** @param {Step} step @returns {HTMLElement[]} */
  #content(step) {
    switch (step.kind) {
      case "thinking":
        return [h("span", { class: "thought", dir: "auto", textContent: step.text })];
      case "tool":
        return [drawTool(step)];
      case "approval":
        return [drawApproval(step, this.onDecide)];
      case "note":
        return [h("span", { class: "note", textContent: step.text })];
    }
  }
}

/** @param {Tool} tool */
function drawTool(tool) {
  const summary = h("summary", {},
    h("span", { class: "tool-icon", "aria-hidden": "true" }),
    h("span", { class: "tool-name", textContent: tool.name }),
    h("span", { class: "tool-brief", dir: "auto", textContent: brief(tool.arguments) }),
    h("span", { class: "tool-status" }));
  const details = h("details", { class: "tool" }, summary);
  details.addEventListener("toggle", () => drawToolBody(details, tool));
  updateTool(details, tool);
  return details;
}

/** @param {HTMLElement} details @param {Tool} tool */
function updateTool(details, tool) {
  details.dataset.status = tool.status;
  const took = tool.durationMs === null ? "" : ` · ${duration(tool.durationMs)}`;
  const percent = tool.progress === null ? "" : ` ${Math.round(tool.progress)}%`;
  const words = tool.note ? `${tool.note}${percent}` : `${toolStatus(tool.status)}${percent}${took}`;
  setText(/** @type {HTMLElement} */ (details.querySelector(".tool-status")), words);
  if (/** @type {HTMLDetailsElement} */ (details).open) drawToolBody(/** @type {HTMLDetailsElement} */ (details), tool);
}

/** Only while it is open: results may be large. @param {HTMLDetailsElement} details @param {Tool} tool */
function drawToolBody(details, tool) {
  details.querySelector(".tool-body")?.remove();
  if (!details.open) return;
  const body = h("div", { class: "tool-body" }, ...block("Arguments", tool.arguments));
  if (tool.error) body.append(h("p", { class: "tool-error", dir: "auto", textContent: tool.error.message }));
  else if (tool.status === "running") body.append(h("p", { class: "muted", textContent: "Still running" }));
  else body.append(...block("Result", tool.result));
  details.append(body);
}

/** @param {string} title @param {unknown} value @returns {HTMLElement[]} */
export function block(title, value) {
  const text = pretty(value) ?? "";
  const pre = h("pre", { dir: "auto", tabIndex: 0, "aria-label": title, textContent: text.slice(0, LONGEST) });
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

/** @param {Approval} approval @param {(approval: Approval, decision: "approve" | "reject") => void} onDecide */
function drawApproval(approval, onDecide) {
  const button = (/** @type {"approve" | "reject"} */ decision, /** @type {string} */ label, /** @type {string} */ kind) => {
    const element = h("button", { type: "button", class: kind, textContent: label });
    element.onclick = () => {
      for (const each of element.parentElement?.children ?? []) /** @type {HTMLButtonElement} */ (each).disabled = true;
      onDecide(approval, decision);
    };
    return element;
  };
  const answer = approval.decision
    ? h("p", { class: "muted", textContent: `Decision: ${approval.decision}` })
    : h("p", { class: "approval-buttons" }, button("approve", "Approve", "primary"), button("reject", "Reject", "secondary"));
  return h("div", { class: "approval" },
    h("p", { dir: "auto", textContent: approval.reason }), ...block(approval.name, approval.arguments), answer);
}
