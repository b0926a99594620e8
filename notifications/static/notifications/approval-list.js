// @ts-check
/**
 * The approvals for which a run waits, below its steps, where folding them hides none.
 *
 * @import {Approval} from "./run-state.js"
 * @import {Decide} from "./approval-view.js"
 * @import {TabMemory} from "./tab-memory.js"
 * @import {Present} from "./run-view.js"
 */
import { ApprovalCard } from "./approval-view.js";
import { h } from "./dom.js";

export class ApprovalList {
  element = h("div", { class: "approvals" });
  /** @type {Map<Approval, ApprovalCard>} */
  #cards = new Map();
  #memory;
  #onDecide;

  /** @param {TabMemory} memory @param {Decide} onDecide */
  constructor(memory, onDecide) {
    this.#memory = memory;
    this.#onDecide = onDecide;
  }

  /** @param {Approval[]} open @returns {boolean} whether the reader was at one that is gone now */
  update(open) {
    let wasFocused = false;
    for (const [approval, card] of this.#cards) {
      if (open.includes(approval)) continue;
      wasFocused ||= card.element.contains(document.activeElement);
      if (approval.decision) approval.answered = card.answered;
      card.forget();
      card.element.remove();
      this.#cards.delete(approval);
    }
    for (const approval of open) {
      if (this.#cards.has(approval)) continue;
      const card = new ApprovalCard(approval, this.#memory, this.#onDecide);
      this.#cards.set(approval, card);
      this.element.append(card.element);
    }
    return wasFocused;
  }

  /** @param {Present} present */
  tick(present) {
    for (const card of this.#cards.values()) card.tick(present);
  }
}
