// @ts-check
/** The page's icons: strokes on a grid of 20 by 20, drawn in the colour of the text. */

const SVG = "http://www.w3.org/2000/svg";
const PATHS = {
  plus: "M10 4.5v11M4.5 10h11",
  menu: "M3.5 6h13M3.5 10h13M3.5 14h13",
  search: "M9 14.5a5.5 5.5 0 1 0 0-11 5.5 5.5 0 0 0 0 11zM13 13l3.5 3.5",
  pencil: "M4 16l.8-3.4L13 4.4a1.5 1.5 0 0 1 2.1 0l.5.5a1.5 1.5 0 0 1 0 2.1l-8.2 8.2L4 16zM11.8 5.6l2.6 2.6",
  trash: "M4 5.5h12M8 5.5V4a.8.8 0 0 1 .8-.8h2.4a.8.8 0 0 1 .8.8v1.5M5.5 5.5l.7 10a1.2 1.2 0 0 0 1.2 1.1h5.2a1.2 1.2 0 0 0 1.2-1.1l.7-10M8.5 9v4.5M11.5 9v4.5",
  send: "M10 15.8V4.2M4.8 9.4L10 4.2l5.2 5.2",
  attach: "M16 9.2l-6.4 6.4a3.6 3.6 0 0 1-5.1-5.1l6.6-6.6a2.4 2.4 0 0 1 3.4 3.4l-6.6 6.6a1.2 1.2 0 0 1-1.7-1.7l6-6",
  close: "M5.5 5.5l9 9M14.5 5.5l-9 9",
  check: "M4.5 10.5l3.8 3.8 7.2-8",
  cross: "M5.8 5.8l8.4 8.4M14.2 5.8l-8.4 8.4",
  minus: "M5 10h10",
  copy: "M7.5 7.5V5a1 1 0 0 1 1-1H15a1 1 0 0 1 1 1v6.5a1 1 0 0 1-1 1h-2.5M5 7.5h6.5a1 1 0 0 1 1 1V15a1 1 0 0 1-1 1H5a1 1 0 0 1-1-1V8.5a1 1 0 0 1 1-1z",
  retry: "M15.5 10a5.5 5.5 0 1 1-1.7-4M15.5 3.5v3h-3",
  stop: "M6.5 6.5h7v7h-7z",
  chevron: "M7.5 5l5 5-5 5",
  down: "M10 4.5v11M5 10.5l5 5 5-5",
  table: "M3.5 5h13v10h-13zM3.5 8.5h13M8 8.5V15",
  chart: "M4 16V9.5M8 16V4M12 16V11.5M16 16V7",
  thought: "M10 3.5a5 5 0 0 1 3 9c-.6.5-1 1-1 1.8H8c0-.8-.4-1.3-1-1.8a5 5 0 0 1 3-9zM8.3 16.8h3.4",
  tool: "M15.8 6.3a3.8 3.8 0 0 1-5 4.9l-4.7 4.7a1.4 1.4 0 0 1-2-2l4.7-4.7a3.8 3.8 0 0 1 4.9-5l-2.3 2.3.4 1.7 1.7.4z",
  hand: "M10 3.5l6 2.3v4c0 3.3-2.5 5.7-6 6.9-3.5-1.2-6-3.6-6-6.9v-4zM7.5 10l1.8 1.8 3.3-3.5",
  exit: "M12 6V4.5a1 1 0 0 0-1-1H5a1 1 0 0 0-1 1v11a1 1 0 0 0 1 1h6a1 1 0 0 0 1-1V14M8.5 10H17M14.5 7.3L17 10l-2.5 2.7",
};

/** @typedef {keyof typeof PATHS} IconName */

/** @param {IconName} name @returns {SVGSVGElement} for the eye only: what it stands beside has the words */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  for (const [key, value] of Object.entries({ viewBox: "0 0 20 20", width: 20, height: 20, class: "icon", "aria-hidden": "true" })) {
    svg.setAttribute(key, String(value));
  }
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", PATHS[name]);
  svg.append(path);
  return svg;
}

/** Fills in what the template left open: `<span data-icon="plus">`. */
export function drawIcons() {
  for (const place of document.querySelectorAll("[data-icon]")) {
    place.replaceChildren(icon(/** @type {IconName} */ (/** @type {HTMLElement} */ (place).dataset.icon)));
  }
}
