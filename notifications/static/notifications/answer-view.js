// @ts-check
/**
 * What an agent answers: its messages as they grow, then its result if that says more.
 *
 * @import {RunState} from "./run-state.js"
 */
import { h } from "./dom.js";
import { MarkdownBlocks } from "./markdown.js";
import { addChart, readTable } from "./table-view.js";
import { result } from "./tool-view.js";

const EVERY_MS = 100;

export class AnswerView {
  element = h("div", { class: "answers" });
  /** @type {MarkdownBlocks[]} the messages' and, after them, the result's */
  #texts = [];
  #length = -1;
  #notBefore = 0;
  #isFinished = false;
  #hasCharts = false;
  #onDirty;

  /** @param {() => void} onDirty */
  constructor(onDirty) {
    this.#onDirty = onDirty;
  }

  /** At most ten times a second, and less often when drawing is slow. @param {RunState} state */
  render({ messages, isLive }) {
    const length = messages.reduce((sum, message) => sum + message.text.length, 0);
    if (length !== this.#length || (!isLive && !this.#isFinished)) this.#draw(messages, length, isLive);
    for (const text of this.#texts) if (!text.isDrawn) text.proceed(); // too long for one frame
    if (!this.#texts.every((text) => text.isDrawn)) this.#onDirty();
    else if (this.#isFinished && !this.#hasCharts) this.#addCharts();
  }

  /** @param {import("./run-state.js").Message[]} messages @param {number} length @param {boolean} isLive */
  #draw(messages, length, isLive) {
    const started = performance.now();
    if (isLive && started < this.#notBefore) {
      setTimeout(this.#onDirty, this.#notBefore - started);
      return;
    }
    this.#length = length;
    this.#isFinished = !isLive;
    messages.forEach(({ text }, index) => {
      const blocks = (this.#texts[index] ??= this.#newText());
      if (isLive) blocks.update(text);
      else blocks.finish(text);
    });
    const ended = performance.now();
    this.#notBefore = ended + Math.max(EVERY_MS, 4 * (ended - started));
  }

  #newText() {
    const element = h("div", { class: "answer prose", dir: "auto" });
    this.element.append(element);
    return new MarkdownBlocks(element);
  }

  /** The run has ended. @param {RunState} state */
  end(state) {
    const output = state.unseenOutput;
    if (typeof output === "string") {
      const text = this.#newText();
      text.finish(output);
      this.#texts.push(text);
    } else if (output !== null) {
      this.element.append(h("div", { class: "result" }, ...result(output)));
    } else if (state.status === "completed" && !state.streamed) {
      this.element.append(h("p", { class: "muted", textContent: "It finished without an answer." }));
    }
    this.#hasCharts = false;
  }

  /** The first table that can be drawn is. */
  #addCharts() {
    this.#hasCharts = true;
    let open = true;
    for (const table of this.element.querySelectorAll(".block-table > table")) {
      const block = /** @type {HTMLElement} */ (table.parentElement);
      if (block.querySelector(".chart-place")) continue;
      const place = h("div", { class: "chart-place" });
      if (!addChart(place, readTable(/** @type {HTMLTableElement} */ (table)), { open })) continue;
      open = false;
      block.append(place);
    }
  }
}
