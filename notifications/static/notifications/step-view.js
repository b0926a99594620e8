// @ts-check
/**
 * The steps of a run: thoughts, tool calls, approvals, notes. Only the latest are in the page.
 *
 * @import {Step} from "./run-state.js"
 */
import { drawDecided } from "./approval-view.js";
import { h, setText } from "./dom.js";
import { drawTool, updateTool } from "./tool-view.js";

const LATEST = 50;
const MORE = 200;

export class StepList {
  /** @type {Map<Step, HTMLElement>} */
  #shown = new Map();
  #limit = LATEST;
  #list = h("ol", { class: "steps" });
  #earlier = h("button", { type: "button", class: "quiet earlier", hidden: true });

  /** @param {() => void} onChange */
  constructor(onChange) {
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
    setText(this.#earlier, `Show ${Math.min(hidden, MORE)} of ${hidden.toLocaleString("en")} earlier`);
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
    const element = h("li", { class: `step step-${step.kind}` }, this.#content(step));
    this.#shown.set(step, element);
    return element;
  }

  /** @param {Step} step */
  #redraw(step) {
    const element = /** @type {HTMLElement} */ (this.#shown.get(step));
    const details = /** @type {HTMLDetailsElement | null} */ (element.querySelector("details.tool"));
    if (step.kind === "tool" && details) updateTool(details, step);
    else element.replaceChildren(this.#content(step));
  }

  /** @param {Step} step @returns {HTMLElement} */
  #content(step) {
    switch (step.kind) {
      case "thinking":
        return h("span", { class: "thought", dir: "auto", textContent: step.text });
      case "tool":
        return drawTool(step);
      case "approval":
        return step.decision ? drawDecided(step) : h("span", { class: "note", dir: "auto", textContent: `Asked: ${step.reason}` });
      case "note":
        return h("span", { class: "note", dir: "auto", textContent: step.text });
    }
  }
}
