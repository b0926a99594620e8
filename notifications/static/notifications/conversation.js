// @ts-check
/**
 * The turns on the page, oldest first, drawn together once per animation frame; stays at the end while the reader is there.
 *
 * @import {RunView} from "./run-view.js"
 */
import { h } from "./dom.js";

const NEAR_END_PX = 96;

export class Conversation {
  /** @type {Map<string, RunView>} by run_id */
  #views = new Map();
  /** @type {Set<RunView>} */
  #live = new Set();
  /** @type {Set<RunView>} */
  #dirty = new Set();
  #frame = 0;
  #atEnd = true;
  #lastScroll = 0;

  /**
   * @param {HTMLElement} element @param {HTMLButtonElement} latest
   * @param {() => import("./run-view.js").Present} present
   */
  constructor(element, latest, present) {
    this.element = element;
    this.latest = latest;
    this.present = present;
    addEventListener("scroll", () => this.#scrolled(), { passive: true });
    latest.onclick = () => this.#toEnd();
  }

  /** @param {string} runId */
  view(runId) {
    return this.#views.get(runId);
  }

  /** What the reader just sent. @param {RunView} view */
  append(view) {
    this.element.append(view.element);
    this.#atEnd = true;
    this.changed(view);
  }

  /** A run by its id: ids sort by time. @param {RunView} view */
  insert(view) {
    const runId = /** @type {string} */ (view.state.runId);
    this.#views.set(runId, view);
    const later = [...this.element.children].find((turn) => {
      const other = turn instanceof HTMLElement ? turn.dataset.run : undefined;
      return other !== undefined && other > runId;
    });
    view.element.dataset.run = runId;
    this.element.insertBefore(view.element, later ?? null);
    this.changed(view);
  }

  /** The sent message has become a run; its events may have come first, after a reconnect. @param {RunView} view */
  accepted(view) {
    const runId = /** @type {string} */ (view.state.runId);
    const known = this.#views.get(runId);
    if (known && known !== view) {
      known.state.params = view.state.params;
      this.#live.delete(view);
      view.element.remove();
      return this.changed(known);
    }
    this.#views.set(runId, view);
  }

  /** @param {RunView} view */
  changed(view) {
    this.#dirty.add(view);
    if (!this.#frame) this.#frame = requestAnimationFrame(() => this.#render());
  }

  /** What changes by the second. */
  tick() {
    for (const view of this.#live) view.tick(this.present());
  }

  /** @param {string} words */
  divide(words) {
    const last = this.element.lastElementChild;
    if (!last || last.classList.contains("divider")) return;
    this.element.append(h("div", { class: "divider", role: "separator" }, h("span", { textContent: words })));
    this.#toEnd();
  }

  #render() {
    this.#frame = 0;
    const present = this.present();
    const views = [...this.#dirty];
    this.#dirty.clear();
    for (const view of views) {
      view.render(present);
      if (view.state.isLive && view.element.isConnected) this.#live.add(view);
      else this.#live.delete(view);
    }
    if (this.#atEnd) scrollTo({ top: document.documentElement.scrollHeight, behavior: "instant" });
    else this.#scrolled();
  }

  /** Only the reader scrolls up; content that grew below is no reason to stop following it. */
  #scrolled() {
    const { scrollHeight, clientHeight } = document.documentElement;
    if (scrollHeight - clientHeight - scrollY < NEAR_END_PX) this.#atEnd = true;
    else if (scrollY < this.#lastScroll) this.#atEnd = false;
    this.#lastScroll = scrollY;
    this.latest.hidden = this.#atEnd;
  }

  #toEnd() {
    this.#atEnd = true;
    scrollTo({ top: document.documentElement.scrollHeight });
  }
}
