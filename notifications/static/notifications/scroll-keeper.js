// @ts-check
/**
 * Where the reader is: stays at the end while they are there, else where they were, over reloads too.
 *
 * @import {TabMemory} from "./tab-memory.js"
 * @typedef {{run: string, top: number}} Anchor  a turn and where its top is in the window
 */

const NEAR_END_PX = 96;

export class ScrollKeeper {
  #turns;
  #latest;
  #memory;
  #name = "";
  #atEnd = true;
  #lastScroll = 0;
  /** @type {Anchor | null} to be kept in place while the page fills up, until the reader moves */
  #anchor = null;

  /** @param {HTMLElement} turns @param {HTMLButtonElement} latest @param {TabMemory} memory */
  constructor(turns, latest, memory) {
    this.#turns = turns;
    this.#latest = latest;
    this.#memory = memory;
    history.scrollRestoration = "manual";
    addEventListener("scroll", () => this.#scrolled(), { passive: true });
    addEventListener("pagehide", () => this.keep());
    for (const moved of ["wheel", "touchmove", "keydown", "pointerdown"]) {
      addEventListener(moved, () => (this.#anchor = null), { passive: true });
    }
    latest.onclick = () => this.toEnd();
  }

  /** Another thread is shown from now on. @param {string} name */
  open(name) {
    this.#name = `scroll:${name}`;
    this.#anchor = /** @type {Anchor | null} */ (this.#memory.read(this.#name, null));
    this.#atEnd = this.#anchor === null;
    this.#lastScroll = 0;
  }

  /** The thread has got its name. @param {string} name */
  rename(name) {
    this.#memory.write(this.#name, null);
    this.#name = `scroll:${name}`;
  }

  /** Earlier turns come in above: what is read stays where it is. */
  holdHere() {
    if (!this.#atEnd) this.#anchor ??= this.#here();
  }

  /** Remembers the place, for a reload or a return. */
  keep() {
    if (this.#name) this.#memory.write(this.#name, this.#atEnd ? null : (this.#anchor ?? this.#here()));
  }

  /** @returns {Anchor | null} */
  #here() {
    for (const turn of /** @type {HTMLCollectionOf<HTMLElement>} */ (this.#turns.children)) {
      const top = this.#topOf(turn);
      if (top + turn.offsetHeight > 0 && turn.dataset.run) return { run: turn.dataset.run, top };
    }
    return null;
  }

  /** After the page has changed. */
  settle() {
    if (this.#anchor) this.#hold(this.#anchor);
    else if (this.#atEnd) scrollTo({ top: document.documentElement.scrollHeight, behavior: "instant" });
    else this.#scrolled();
    this.#latest.hidden = this.#atEnd;
  }

  toEnd() {
    this.#anchor = null;
    this.#atEnd = true;
    scrollTo({ top: document.documentElement.scrollHeight });
    this.#latest.hidden = true;
  }

  /** @param {Anchor} anchor */
  #hold({ run, top }) {
    const turn = [...this.#turns.children].find((each) => /** @type {HTMLElement} */ (each).dataset.run === run);
    if (turn) scrollBy({ top: this.#topOf(/** @type {HTMLElement} */ (turn)) - top, behavior: "instant" });
  }

  /** Where it will be in the window when it has slid in. @param {HTMLElement} turn */
  #topOf(turn) {
    const before = turn.offsetParent === this.#turns ? 0 : this.#turns.offsetTop;
    return this.#turns.getBoundingClientRect().top + turn.offsetTop - before;
  }

  /** Only the reader scrolls up; content that grew below is no reason to stop following it. */
  #scrolled() {
    const { scrollHeight, clientHeight } = document.documentElement;
    if (this.#anchor) return;
    if (scrollHeight - clientHeight - scrollY < NEAR_END_PX) this.#atEnd = true;
    else if (scrollY < this.#lastScroll) this.#atEnd = false;
    this.#lastScroll = scrollY;
    this.#latest.hidden = this.#atEnd;
  }
}
