// @ts-check
/**
 * An agent asks for leave: what it wants to do, with arguments that can be changed, until when, a comment, two buttons.
 *
 * @import {Approval} from "./run-state.js"
 * @import {TabMemory} from "./tab-memory.js"
 * @import {Present} from "./run-view.js"
 * @import {NetraError} from "./netra-client.js"
 * @typedef {{decision: "approve" | "reject", arguments?: Record<string, unknown>, comment?: string}} Said
 * @typedef {(approval: Approval, said: Said) => Promise<unknown>} Decide  done when the server has taken it
 */
import { ArgumentFields } from "./argument-fields.js";
import { h, setText } from "./dom.js";
import { clipped, ticking } from "./format.js";
import { icon } from "./icons.js";
import { block } from "./tool-view.js";

const MOST_COMMENT = 2000;
const DONE = { approve: "You approved this. The agent will go on.", reject: "You rejected this. The agent will go on." };
const DECIDED = /** @type {Record<string, Record<string, string>>} */ ({
  approved: { here: "You approved this.", elsewhere: "Approved elsewhere.", "": "Approved." },
  rejected: { here: "You rejected this.", elsewhere: "Rejected elsewhere.", "": "Rejected." },
  expired: { "": "It expired without an answer." },
});

/** One that has been decided, as a step of its run. @param {Approval} approval */
export function drawDecided(approval) {
  const { decision, answered, reason, name } = approval;
  const words = DECIDED[decision ?? ""];
  const head = h("p", { class: "approval-head" }, icon("hand"),
    h("strong", { textContent: words?.[answered ?? ""] ?? words?.[""] ?? String(decision) }));
  const asked = h("p", { dir: "auto", textContent: reason });
  const about = approval.arguments ? block(name ?? "Arguments", approval.arguments) : [];
  return h("div", { class: "approval", "data-decision": decision }, head, asked, ...about);
}

/** One that is open. It is waiting, sent, answered here, or expired; what is written in it survives a reload. */
export class ApprovalCard {
  /** @type {"waiting" | "sent" | "done" | "expired"} */
  #state = "waiting";
  /** @type {"approve" | "reject" | null} */
  #said = null;
  #approval;
  #onDecide;
  #memory;
  #fields;
  #comment = h("input", { maxLength: MOST_COMMENT, dir: "auto", autocomplete: "off" });
  #clock = h("span", { class: "approval-clock" });
  #words = h("p", { class: "approval-state" });
  #problem = h("p", { class: "problem", role: "alert", dir: "auto", hidden: true });
  #buttons;

  /** @param {Approval} approval @param {TabMemory} memory @param {Decide} onDecide */
  constructor(approval, memory, onDecide) {
    const { id, name, reason } = approval;
    const left = memory.read(this.#draft(id), { texts: {}, comment: "" });
    this.#approval = approval;
    this.#memory = memory;
    this.#onDecide = onDecide;
    this.#fields = new ArgumentFields(approval.arguments, id, left.texts);
    this.#comment.value = left.comment;
    this.#comment.id = `${id}-comment`;
    this.#buttons = [button("primary", "Approve", () => this.#decide("approve")), button("secondary", "Reject", () => this.#decide("reject"))];
    this.element = h("form", { class: "approval", "aria-label": name ? `Approval of ${name}` : `Approval: ${clipped(reason, 80)}` },
      h("p", { class: "approval-head" }, icon("hand"), h("strong", { textContent: "Your approval is needed" }), this.#clock),
      h("p", { class: "approval-reason", dir: "auto", textContent: reason }),
      name && h("p", { class: "tool-name", dir: "auto", textContent: name }),
      this.#fields.element,
      h("div", { class: "field" }, h("label", { htmlFor: this.#comment.id, textContent: "Comment (optional)" }), this.#comment),
      this.#problem, h("p", { class: "approval-buttons" }, ...this.#buttons), this.#words);
    this.element.onsubmit = (event) => event.preventDefault(); // Enter in a field must not approve anything
    this.element.addEventListener("input", () => this.#keep());
    this.#enter("waiting");
  }

  /** Now that it has been decided: where? @returns {"here" | "elsewhere"} */
  get answered() {
    return this.#said !== null && this.#approval.decision?.startsWith(this.#said) ? "here" : "elsewhere";
  }

  /** What changes by the second. @param {Present} present */
  tick({ now, online }) {
    const { expiresAt } = this.#approval;
    const left = expiresAt === null ? Infinity : expiresAt - now;
    if (left <= 0 && this.#state === "waiting") this.#enter("expired");
    setText(this.#clock, left === Infinity ? "" : left > 0 ? `expires in ${ticking(left)}` : "has expired");
    if (this.#state === "sent") setText(this.#words, online ? "Sending your answer" : "Your answer will be sent when the connection is back");
  }

  /** It has been decided: what was written in it is not needed any more. */
  forget() {
    this.#memory.write(this.#draft(this.#approval.id), null);
  }

  /** @param {"approve" | "reject"} decision */
  async #decide(decision) {
    if (this.#state !== "waiting") return;
    this.#complain("");
    if (decision === "approve" && !this.#fields.check()) return;
    const comment = this.#comment.value.trim();
    const changed = decision === "approve" ? this.#fields.values : undefined;
    this.#said = decision;
    this.#enter("sent");
    try {
      await this.#onDecide(this.#approval, { decision, ...(changed && { arguments: changed }), ...(comment && { comment }) });
      this.#enter("done", DONE[decision]);
    } catch (error) {
      this.#refused(/** @type {NetraError} */ (error));
    }
  }

  /** @param {NetraError} error */
  #refused({ code, message, frame }) {
    this.#said = null;
    this.#enter(code === "approval_closed" ? "expired" : "waiting");
    this.#complain(message);
    if (frame.field === "arguments") this.#fields.refuse(message);
  }

  /** @param {ApprovalCard["#state"]} state @param {string} [words] */
  #enter(state, words = "") {
    this.#state = state;
    const isOpen = state === "waiting";
    this.element.dataset.state = state;
    this.#fields.element.disabled = !isOpen;
    this.#comment.readOnly = !isOpen;
    for (const each of this.#buttons) each.setAttribute("aria-disabled", String(!isOpen)); // not disabled: that would lose the focus
    setText(this.#words, state === "expired" ? "It can no longer be answered." : words);
  }

  /** @param {string} sentence */
  #complain(sentence) {
    setText(this.#problem, sentence);
    this.#problem.hidden = !sentence;
  }

  #keep() {
    this.#memory.write(this.#draft(this.#approval.id), { texts: this.#fields.texts, comment: this.#comment.value });
  }

  /** @param {string} id */
  #draft(id) {
    return `approval:${id}`;
  }
}

/** @param {string} kind @param {string} words @param {() => void} act */
function button(kind, words, act) {
  const made = h("button", { type: "button", class: kind, textContent: words });
  made.onclick = act;
  return made;
}
