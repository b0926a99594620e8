// @ts-check
/** Which agent: a button that opens the list of agents, each with what it does. A group of radio buttons to the keyboard. */
import { find, h, setText } from "./dom.js";

export class AgentPicker {
  #button = find("#agent");
  #panel = find("#agent-list");
  #onChange;
  value = "";

  /**
   * @param {{name: string, description: string}[]} agents @param {string} chosen the first one if there is no such agent
   * @param {(name: string) => void} onChange
   */
  constructor(agents, chosen, onChange) {
    this.#onChange = onChange;
    for (const { name, description } of agents) this.#panel.append(this.#option(name, description));
    this.#panel.addEventListener("toggle", (/** @type {ToggleEvent} */ event) => this.#toggled(event.newState === "open"));
    this.#panel.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      if (event.key !== "Enter") return;
      event.preventDefault();
      this.#close();
    });
    if (agents.length) this.choose((agents.find(({ name }) => name === chosen) ?? agents[0]).name);
    else setText(this.#button.firstElementChild, "No agents");
    this.#button.disabled = !agents.length;
  }

  /** @param {string} name @param {string} description */
  #option(name, description) {
    const radio = h("input", { type: "radio", name: "agent", value: name });
    radio.onchange = () => this.choose(name);
    const option = h("label", { class: "agent-option" }, radio,
      h("span", { class: "agent-option-words" },
        h("span", { class: "agent-option-name", textContent: name }),
        h("span", { class: "muted", dir: "auto", textContent: description })));
    option.onpointerup = () => setTimeout(() => this.#close());
    return option;
  }

  /** @param {string} name */
  choose(name) {
    const radio = [...this.#panel.querySelectorAll("input")].find(({ value }) => value === name);
    if (!radio) return;
    radio.checked = true;
    this.value = name;
    setText(this.#button.firstElementChild, name);
    this.#button.setAttribute("aria-label", `Agent: ${name}`);
    this.#onChange(name);
  }

  /** @param {boolean} isOpen */
  #toggled(isOpen) {
    this.#button.setAttribute("aria-expanded", String(isOpen));
    if (isOpen) this.#panel.querySelector("input:checked")?.focus();
  }

  #close() {
    this.#panel.hidePopover();
    find("#message").focus();
  }
}
