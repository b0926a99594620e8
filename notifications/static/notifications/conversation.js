// @ts-check
/**
 * The turns of one thread, oldest first, drawn together once per animation frame.
 *
 * @import {RunState} from "./run-state.js"
 * @import {Actions, Present} from "./run-view.js"
 * @import {ScrollKeeper} from "./scroll-keeper.js"
 */
import { RunView } from "./run-view.js";

export class Conversation {
  /** @type {Map<RunState, RunView>} */
  #views = new Map();
  /** @type {Set<RunView>} */
  #live = new Set();
  /** @type {Set<RunView>} */
  #dirty = new Set();
  #frame = 0;
  #element;
  #scroll;
  #present;
  #actions;

  /** @param {HTMLElement} element @param {ScrollKeeper} scroll @param {() => Present} present @param {Actions} actions */
  constructor(element, scroll, present, actions) {
    this.#element = element;
    this.#scroll = scroll;
    this.#present = present;
    this.#actions = actions;
  }

  clear() {
    this.#views.clear();
    this.#live.clear();
    this.#dirty.clear();
    this.#element.replaceChildren();
  }

  /** Shows a run, at its place: ids sort by time; what has none yet is last. @param {RunState} state */
  show(state) {
    if (!this.#views.has(state)) this.#views.set(state, new RunView(state, this.#actions));
    const view = /** @type {RunView} */ (this.#views.get(state));
    view.element.dataset.run = state.runId ?? "";
    if (!this.#nest(view)) this.#place(view);
    for (const [other, child] of this.#views) if (state.runId && other.parentRunId === state.runId) view.adopt(child);
    this.changed(state);
  }

  /** @param {RunView} view @returns {boolean} whether it stands in the run that started it */
  #nest(view) {
    const { parentRunId } = view.state;
    if (!parentRunId) return false;
    const parent = [...this.#views.values()].find(({ state }) => state.runId === parentRunId);
    parent?.adopt(view);
    return parent !== undefined;
  }

  /** @param {RunView} view */
  #place({ element, state: { runId } }) {
    const isLater = (/** @type {Element} */ turn) => {
      const other = /** @type {HTMLElement} */ (turn).dataset.run;
      return turn !== element && runId !== null && (!other || other > runId);
    };
    const next = [...this.#element.children].find(isLater) ?? null;
    if (element.parentElement !== this.#element || element.nextElementSibling !== next) this.#element.insertBefore(element, next);
  }

  /** @param {RunState} state */
  has(state) {
    return this.#views.has(state);
  }

  /** @param {RunState} state */
  remove(state) {
    this.#views.get(state)?.element.remove();
    this.#views.delete(state);
  }

  /** @param {RunState} state */
  changed(state) {
    const view = this.#views.get(state);
    if (view) this.dirty(view);
  }

  /** @param {RunView} view */
  dirty(view) {
    this.#dirty.add(view);
    if (!this.#frame) this.#frame = requestAnimationFrame(() => this.#render());
  }

  /** What changes by the second. */
  tick() {
    for (const view of this.#live) view.tick(this.#present());
  }

  #render() {
    this.#frame = 0;
    const present = this.#present();
    const views = [...this.#dirty];
    this.#dirty.clear();
    for (const view of views) {
      if (!view.element.isConnected) continue;
      view.render(present);
      if (view.state.isLive) this.#live.add(view);
      else this.#live.delete(view);
    }
    this.#scroll.settle();
  }
}
