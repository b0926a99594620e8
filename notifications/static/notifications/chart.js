// @ts-check
/**
 * A measure drawn as SVG: bars, or a line over time. Widths are percentages, so that it fits any place.
 *
 * @import {Chartable} from "./tabular.js"
 */
const SVG = "http://www.w3.org/2000/svg";
const ROW = 40;
const HEIGHT = 180;
const TOP = 14;

/** @param {string} tag @param {Record<string, string | number>} attributes @param {...(Node | string)} children */
function s(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.append(...children);
  return element;
}

/** @param {number} value */
export const shortNumber = (value) => value.toLocaleString("en", { maximumFractionDigits: Math.abs(value) < 100 ? 2 : 0 });

/** @param {Chartable} data @param {number} measure which of its measures @returns {SVGElement} */
export function drawChart({ labels, measures, isSeries }, measure) {
  const { name, values } = measures[measure];
  const words = `${name}: ${labels.slice(0, 12).map((label, i) => `${label} ${shortNumber(values[i])}`).join(", ")}`;
  const [height, shapes] = isSeries ? line(labels, values) : bars(labels, values);
  return s("svg", { class: "chart", role: "img", "aria-label": words, width: "100%", height }, ...shapes);
}

/** @param {string[]} labels @param {number[]} values @returns {[number, Element[]]} */
function bars(labels, values) {
  const least = Math.min(0, ...values);
  const range = Math.max(0, ...values) - least || 1;
  const zero = (-least / range) * 100;
  const shapes = values.flatMap((value, i) => {
    const width = Math.max((Math.abs(value) / range) * 100, 0.4);
    const x = value < 0 ? zero - width : zero;
    const y = i * ROW;
    return [
      s("text", { x: 0, y: y + 14, class: "chart-label" }, clip(labels[i], 48)),
      s("text", { x: "100%", y: y + 14, class: "chart-value", "text-anchor": "end" }, shortNumber(value)),
      s("rect", { x: 0, y: y + 21, width: "100%", height: 8, rx: 4, class: "chart-track" }),
      s("rect", { x: `${x}%`, y: y + 21, width: `${width}%`, height: 8, rx: 4, class: "chart-bar" }),
    ];
  });
  return [labels.length * ROW - 4, shapes];
}

/** @param {string[]} labels @param {number[]} values @returns {[number, Element[]]} */
function line(labels, values) {
  const least = Math.min(0, ...values);
  const most = Math.max(...values);
  const y = (/** @type {number} */ value) => ((most - value) / (most - least || 1)) * 100;
  const x = (/** @type {number} */ i) => (i / (values.length - 1)) * 100;
  const path = values.map((value, i) => `${i ? "L" : "M"}${x(i).toFixed(2)} ${y(value).toFixed(2)}`).join("");
  const plot = { x: 0, y: TOP, width: "100%", height: HEIGHT, viewBox: "0 0 100 100", preserveAspectRatio: "none", overflow: "visible" };
  const scaled = { "vector-effect": "non-scaling-stroke" };
  return [HEIGHT + TOP + 26, [
    s("text", { x: "100%", y: 10, class: "chart-value", "text-anchor": "end" }, `max ${shortNumber(most)}`),
    s("svg", plot,
      s("path", { d: `${path}V100H0Z`, class: "chart-area" }),
      s("path", { d: `M0 ${y(0)}H100`, class: "chart-axis", ...scaled }),
      s("path", { d: path, class: "chart-line", ...scaled })),
    s("text", { x: 0, y: HEIGHT + TOP + 20, class: "chart-label" }, labels[0]),
    s("text", { x: "100%", y: HEIGHT + TOP + 20, class: "chart-label", "text-anchor": "end" }, labels.at(-1) ?? ""),
  ]];
}

/** @param {string} text @param {number} most */
const clip = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
