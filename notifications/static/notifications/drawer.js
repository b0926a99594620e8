// @ts-check
/** The side bar on narrow windows: opened by a button, closed by Escape, its own button, the backdrop, or a choice in it. */
import { find } from "./dom.js";

export class Drawer {
  #button = find("#menu");
  #sidebar = find("#sidebar");

  constructor() {
    this.#button.onclick = () => this.#set(!this.isOpen);
    find("#backdrop").onclick = () => this.close();
    find("#close-menu").onclick = () => this.close();
    addEventListener("keydown", (event) => event.key === "Escape" && this.isOpen && this.close());
  }

  get isOpen() {
    return document.body.classList.contains("drawer-open");
  }

  close() {
    if (!this.isOpen) return;
    this.#set(false);
    this.#button.focus();
  }

  /** @param {boolean} isOpen */
  #set(isOpen) {
    document.body.classList.toggle("drawer-open", isOpen);
    this.#button.setAttribute("aria-expanded", String(isOpen));
    for (const other of document.querySelectorAll("#page, .skip")) /** @type {HTMLElement} */ (other).inert = isOpen;
    if (isOpen) /** @type {HTMLElement} */ (this.#sidebar.querySelector("button, input, a")).focus();
  }
}
