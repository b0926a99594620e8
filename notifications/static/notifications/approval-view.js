// @ts-check
/**
 * An agent asks for leave: what it wants to do, with arguments that can be changed, until when, and two buttons.
 *
 * @import {Approval} from "./run-state.js"
 * @typedef {"approve" | "reject"} Decision
 * @typedef {(approval: Approval, decision: Decision, changed: Record<string, unknown> | undefined) => void} Decide
 */
import { h, setText } from "./dom.js";
import { pretty, ticking } from "./format.js";
import { icon } from "./icons.js";
import { block } from "./tool-view.js";

const DECISIONS = /** @type {Record<string, string>} */ ({ approved: "You approved this.", rejected: "You rejected this.",
  expired: "It expired without an answer." });

/** @param {Approval} approval @param {Decide} onDecide */
export function drawApproval(approval, onDecide) {
  const head = h("p", { class: "approval-head" }, icon("hand"), h("strong", { textContent: "Your approval is needed" }),
    h("span", { class: "approval-clock", "data-expires": String(approval.expiresAt ?? "") }));
  const reason = h("p", { dir: "auto", textContent: approval.reason });
  if (approval.decision) {
    head.querySelector("strong")?.replaceChildren(DECISIONS[approval.decision] ?? approval.decision);
    return h("div", { class: "approval", "data-decision": approval.decision }, head, reason, ...block(approval.name, approval.arguments));
  }
  const fields = Object.entries(asObject(approval.arguments)).map(([name, value]) => new Field(name, value));
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const form = h("form", { class: "approval", "aria-label": `Approval of ${approval.name}` }, head, reason,
    h("p", { class: "tool-name", textContent: approval.name }), ...fields.map((field) => field.element), problem,
    h("p", { class: "approval-buttons" },
      h("button", { class: "primary", value: "approve", textContent: "Approve" }),
      h("button", { class: "secondary", value: "reject", textContent: "Reject" })));
  form.onsubmit = (event) => {
    event.preventDefault();
    const decision = /** @type {Decision} */ (/** @type {HTMLButtonElement} */ (event.submitter)?.value ?? "approve");
    const wrong = decision === "approve" ? fields.find((field) => field.problem) : undefined;
    problem.hidden = !wrong;
    setText(problem, wrong ? `${wrong.name}: ${wrong.problem}` : "");
    if (wrong) return wrong.input.focus();
    for (const button of form.querySelectorAll("button")) button.disabled = true;
    onDecide(approval, decision, decision === "approve" ? changes(fields) : undefined);
  };
  return form;
}

/** The clock of an open approval. @param {HTMLElement} root @param {number} now server time, ms */
export function tickApprovals(root, now) {
  for (const clock of root.querySelectorAll("form .approval-clock")) {
    const expires = Number(/** @type {HTMLElement} */ (clock).dataset.expires);
    if (expires) setText(clock, expires > now ? `expires in ${ticking(expires - now)}` : "has expired");
  }
}

/** The decision did not arrive. @param {HTMLElement} root */
export function reopenApprovals(root) {
  const buttons = /** @type {NodeListOf<HTMLButtonElement>} */ (root.querySelectorAll("form.approval button"));
  for (const button of buttons) button.disabled = false;
}

/** @param {unknown} value @returns {Record<string, unknown>} */
const asObject = (value) => (typeof value === "object" && value !== null ? /** @type {any} */ (value) : {});

/** All arguments, if one was changed. @param {Field[]} fields */
const changes = (fields) =>
  fields.some((field) => field.isChanged) ? Object.fromEntries(fields.map((field) => [field.name, field.value])) : undefined;

/** One argument: a text as it is, all else as JSON. */
class Field {
  /** @param {string} name @param {unknown} before */
  constructor(name, before) {
    this.name = name;
    this.before = before;
    this.text = pretty(before) ?? "";
    const isLong = this.text.length > 60 || this.text.includes("\n");
    this.input = h(isLong ? "textarea" : "input", { value: this.text, dir: "auto", spellcheck: false });
    if (isLong) /** @type {HTMLTextAreaElement} */ (this.input).rows = 4;
    this.element = h("label", { class: "field" }, h("span", { textContent: name }), this.input);
  }

  get isChanged() {
    return this.input.value !== this.text;
  }

  get problem() {
    if (!this.isChanged || typeof this.before === "string") return "";
    try {
      return typeof JSON.parse(this.input.value) === typeof this.before ? "" : `this must stay a ${typeof this.before}.`;
    } catch {
      return "this is not JSON.";
    }
  }

  get value() {
    if (!this.isChanged) return this.before;
    return typeof this.before === "string" ? this.input.value : JSON.parse(this.input.value);
  }
}
